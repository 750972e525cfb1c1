/* The few ACPI tables by which a stock kernel finds processors, interrupts, virtio-mmio and the power button. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "machine/memory.h"

/* Ports of the hardware-reduced power interface (ACPI 6.5, 4.8.3.7 and 4.8.4.6). */
enum {
	ACPI_PORT_SLEEP_CONTROL = 0x600,
	ACPI_PORT_SLEEP_STATUS = 0x601,
	ACPI_PORT_RESET = 0x602,
	ACPI_SLEEP_ENABLE = 0x20,
	ACPI_SLEEP_TYPE_S5 = 5, /* in bits 2..4 of sleep control */
	ACPI_RESET_VALUE = 1,
};

/* Where the tables lie: not RAM in the memory map. */
enum { ACPI_BASE = 0xe0000, ACPI_SIZE = 0x10000 };

struct acpi_virtio {
	uint64_t base; /* of the registers, below 4 GB */
	uint32_t size;
	uint32_t gsi;
};

struct acpi_machine {
	unsigned vcpus;
	const struct acpi_virtio *virtio;
	unsigned virtio_n;
};

enum { IOAPIC_BASE = 0xfec00000u, LAPIC_BASE = 0xfee00000u };

/* Writes RSDP, XSDT, FADT, DSDT and MADT into memory at ACPI_BASE; the RSDP is first. 0 or -errno. */
int acpi_write(const struct memory *m, const struct acpi_machine *what, struct err *e);
