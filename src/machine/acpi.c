/*
 * ACPI, as little as Linux needs.
 *
 * Debian's kernels are built without virtio-mmio devices on the command line: they look for ACPI devices with
 * the identifier LNRO0005, whose _CRS gives a register page and an interrupt. So there is a DSDT with one
 * such device each, an MADT that names the local APICs and the I/O APIC, and an FADT that says "hardware
 * reduced": no legacy timer, no PIC, power off and reset through two byte-wide ports (ACPI 6.5, 4.1).
 *
 * Trust: input is ours. Threads: before vCPUs run. #syscalls: none
 */
#include "machine/acpi.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/buf.h"

enum { TABLE_MAX = 16384, HEADER = 36 };

static void add8(struct buf *b, uint8_t v)
{
	buf_add(b, &v, 1);
}

static void add16(struct buf *b, uint16_t v)
{
	v = htole16(v);
	buf_add(b, &v, 2);
}

static void add32(struct buf *b, uint32_t v)
{
	v = htole32(v);
	buf_add(b, &v, 4);
}

static void add64(struct buf *b, uint64_t v)
{
	v = htole64(v);
	buf_add(b, &v, 8);
}

static void add_zeroes(struct buf *b, size_t n)
{
	while (n--)
		add8(b, 0);
}

/* 5.2.6 System Description Table Header; length and checksum are filled at the end. */
static void table_begin(struct buf *b, const char *signature, uint8_t revision)
{
	buf_init(b, TABLE_MAX);
	buf_add(b, signature, 4);
	add32(b, 0);
	add8(b, revision);
	add8(b, 0);
	buf_add(b, "WARREN", 6);
	buf_add(b, "WARRENVM", 8);
	add32(b, 1);
	buf_add(b, "WRRN", 4);
	add32(b, 1);
}

static void set_checksum(uint8_t *p, size_t len, size_t at)
{
	uint8_t sum = 0;

	p[at] = 0;
	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + p[i]);
	p[at] = (uint8_t)-sum;
}

/* Where the next table goes. */
struct place {
	const struct memory *m;
	uint64_t next;
};

/* Puts a finished table into memory; its address, or 0. Frees the buffer. */
static uint64_t table_end(struct buf *b, struct place *p)
{
	uint64_t at = p->next;

	if (b->error || b->len > ACPI_BASE + ACPI_SIZE - at) {
		buf_fini(b);
		return 0;
	}
	uint32_t len = htole32((uint32_t)b->len);

	memcpy(b->data + 4, &len, 4);
	set_checksum((uint8_t *)b->data, b->len, 9);
	if (memory_write(p->m, GPA(at), b->data, b->len))
		at = 0;
	p->next = (p->next + b->len + 15) & ~15ull;
	buf_fini(b);
	return at;
}

/* AML, ACPI 6.5 chapter 20. A package's length counts its own bytes: 20.2.4. */
static void add_package(struct buf *b, const void *op, size_t op_len, const struct buf *body)
{
	size_t n = body->len;

	if (body->error && !b->error)
		b->error = body->error;
	buf_add(b, op, op_len);
	if (n + 1 < 64) {
		add8(b, (uint8_t)(n + 1));
	} else if (n + 2 < 4096) {
		n += 2;
		add8(b, (uint8_t)(1 << 6 | (n & 15)));
		add8(b, (uint8_t)(n >> 4));
	} else {
		n += 3;
		add8(b, (uint8_t)(2 << 6 | (n & 15)));
		add8(b, (uint8_t)(n >> 4));
		add8(b, (uint8_t)(n >> 12));
	}
	buf_add(b, body->data, body->len);
}

enum { AML_NAME = 0x08, AML_BYTE = 0x0a, AML_DWORD = 0x0c, AML_STRING = 0x0d };

static void add_name(struct buf *b, const char *segment)
{
	add8(b, AML_NAME);
	buf_add(b, segment, 4);
}

/* Name(_CRS, Buffer{Memory32Fixed, Interrupt, EndTag}): 6.4.3.4 and 6.4.3.6 */
static void add_resources(struct buf *b, const struct acpi_virtio *v)
{
	static const uint8_t op = 0x11;
	struct buf body = BUF_INIT(256);

	add8(&body, AML_BYTE);
	add8(&body, 12 + 9 + 2);
	add8(&body, 0x86); /* Memory32Fixed, read and write */
	add16(&body, 9);
	add8(&body, 1);
	add32(&body, (uint32_t)v->base);
	add32(&body, v->size);
	add8(&body, 0x89); /* Interrupt: consumer, edge, active high, exclusive */
	add16(&body, 6);
	add8(&body, 3);
	add8(&body, 1);
	add32(&body, v->gsi);
	add16(&body, 0x0079); /* end tag without checksum */
	add_name(b, "_CRS");
	add_package(b, &op, 1, &body);
	buf_fini(&body);
}

static void add_virtio_device(struct buf *b, const struct acpi_virtio *v, unsigned i)
{
	static const uint8_t op[] = { 0x5b, 0x82 };
	static const char hex[] = "0123456789ABCDEF";
	char name[5] = { 'V', 'I', hex[i >> 4 & 15], hex[i & 15], 0 };
	struct buf body = BUF_INIT(512);

	buf_add(&body, name, 4);
	add_name(&body, "_HID");
	add8(&body, AML_STRING);
	buf_add(&body, "LNRO0005", 9);
	add_name(&body, "_UID");
	add8(&body, AML_BYTE);
	add8(&body, (uint8_t)i);
	add_name(&body, "_CCA"); /* DMA is coherent */
	add8(&body, 1);
	add_resources(&body, v);
	add_package(b, op, sizeof(op), &body);
	buf_fini(&body);
}

static uint64_t write_dsdt(struct place *p, const struct acpi_machine *what)
{
	static const uint8_t scope = 0x10, package = 0x12;
	struct buf b, body = BUF_INIT(TABLE_MAX);

	table_begin(&b, "DSDT", 2);
	buf_add(&body, "\\_SB_", 5);
	for (unsigned i = 0; i < what->virtio_n; i++)
		add_virtio_device(&body, &what->virtio[i], i);
	add_package(&b, &scope, 1, &body);
	buf_clear(&body);
	add8(&body, 2); /* elements */
	add8(&body, AML_BYTE);
	add8(&body, ACPI_SLEEP_TYPE_S5);
	add8(&body, 0);
	add_name(&b, "_S5_");
	add_package(&b, &package, 1, &body);
	buf_fini(&body);
	return table_end(&b, p);
}

/* 5.2.3.2 Generic Address Structure: a byte-wide port */
static void add_port(struct buf *b, uint64_t port)
{
	add8(b, 1);
	add8(b, 8);
	add8(b, 0);
	add8(b, 1);
	add64(b, port);
}

/* 5.2.9 */
static uint64_t write_fadt(struct place *p, uint64_t dsdt)
{
	struct buf b;

	table_begin(&b, "FACP", 6);
	add_zeroes(&b, 109 - HEADER);
	add16(&b, 1 << 2 | 1 << 5);	       /* at 109, IAPC_BOOT_ARCH: no VGA, no CMOS clock */
	add8(&b, 0);			       /* 111 */
	add32(&b, 1u << 20 | 1u << 10);	       /* 112: hardware reduced, reset register */
	add_port(&b, ACPI_PORT_RESET);	       /* 116 */
	add8(&b, ACPI_RESET_VALUE);	       /* 128 */
	add16(&b, 0);			       /* 129: ARM */
	add8(&b, 5);			       /* 131: minor revision */
	add64(&b, 0);			       /* 132: no FACS */
	add64(&b, dsdt);		       /* 140 */
	add_zeroes(&b, 244 - 148);	       /* PM event blocks and GPEs: none */
	add_port(&b, ACPI_PORT_SLEEP_CONTROL); /* 244 */
	add_port(&b, ACPI_PORT_SLEEP_STATUS);  /* 256 */
	add64(&b, 0);			       /* 268: hypervisor vendor */
	return table_end(&b, p);
}

/* 5.2.12 */
static uint64_t write_madt(struct place *p, unsigned vcpus)
{
	struct buf b;

	table_begin(&b, "APIC", 5);
	add32(&b, LAPIC_BASE);
	add32(&b, 0);
	for (unsigned i = 0; i < vcpus; i++) { /* 5.2.12.2: enabled */
		add8(&b, 0);
		add8(&b, 8);
		add8(&b, (uint8_t)i);
		add8(&b, (uint8_t)i);
		add32(&b, 1);
	}
	add8(&b, 1); /* 5.2.12.3 */
	add8(&b, 12);
	add8(&b, 0);
	add8(&b, 0);
	add32(&b, IOAPIC_BASE);
	add32(&b, 0);
	return table_end(&b, p);
}

static uint64_t write_xsdt(struct place *p, const uint64_t *tables, unsigned n)
{
	struct buf b;

	table_begin(&b, "XSDT", 1);
	for (unsigned i = 0; i < n; i++)
		add64(&b, tables[i]);
	return table_end(&b, p);
}

/* 5.2.5.3 */
static int write_rsdp(const struct memory *m, uint64_t xsdt)
{
	struct buf b = BUF_INIT(64);

	buf_add(&b, "RSD PTR ", 8);
	add8(&b, 0);
	buf_add(&b, "WARREN", 6);
	add8(&b, 2);
	add32(&b, 0);
	add32(&b, 36);
	add64(&b, xsdt);
	add32(&b, 0);
	int r = b.error;

	if (!r) {
		set_checksum((uint8_t *)b.data, 20, 8);
		set_checksum((uint8_t *)b.data, 36, 32);
		r = memory_write(m, GPA(ACPI_BASE), b.data, b.len);
	}
	buf_fini(&b);
	return r;
}

int acpi_write(const struct memory *m, const struct acpi_machine *what, struct err *e)
{
	struct place p = { m, ACPI_BASE + 64 };
	uint64_t dsdt = write_dsdt(&p, what);
	uint64_t tables[2] = { dsdt ? write_fadt(&p, dsdt) : 0, write_madt(&p, what->vcpus) };
	uint64_t xsdt = tables[0] && tables[1] ? write_xsdt(&p, tables, 2) : 0;

	if (!xsdt || write_rsdp(m, xsdt))
		return err_set(e, -ENOSPC, "ACPI tables for %u devices and %u vCPUs do not fit",
			       what->virtio_n, what->vcpus);
	return 0;
}
