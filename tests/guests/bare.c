/* The library of programs without a kernel. */
#include "bare.h"

void *memset(void *p, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);

void *memset(void *p, int c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile char *)p)[i] = (char)c;
	return p;
}

void *memcpy(void *to, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile char *)to)[i] = ((const char *)from)[i];
	return to;
}

void say(const char *text)
{
	while (*text)
		bare(BARE_PUT, (uint8_t)*text++, 0);
}

void say_number(uint64_t n)
{
	char digits[24];
	unsigned i = sizeof(digits);

	digits[--i] = '\0';
	do
		digits[--i] = (char)('0' + n % 10);
	while (n /= 10);
	say(digits + i);
}

/* Behind `key` where it begins a word; NULL: nowhere. */
static const char *find(const char *s, const char *key)
{
	bool begins = true;

	for (; *s; begins = *s++ == ' ') {
		size_t n = 0;

		while (begins && key[n] && s[n] == key[n])
			n++;
		if (begins && !key[n])
			return s + n;
	}
	return NULL;
}

uint64_t argument(const char *arguments, const char *key, uint64_t otherwise)
{
	const char *s = find(arguments, key);
	unsigned base = 10;
	uint64_t v = 0;

	if (!s)
		return otherwise;
	if (s[0] == '0' && s[1] == 'x') {
		base = 16;
		s += 2;
	}
	for (; *s && *s != ' '; s++)
		v = v * base + (uint64_t)(*s <= '9' ? *s - '0' : (*s | 32) - 'a' + 10);
	return v;
}

bool has_word(const char *arguments, const char *word)
{
	const char *s = find(arguments, word);

	return s && (!*s || *s == ' ');
}

uint32_t reg_read(const struct device *d, uint32_t offset)
{
	return *(volatile uint32_t *)(d->base + offset);
}

void reg_write(const struct device *d, uint32_t offset, uint32_t value)
{
	*(volatile uint32_t *)(d->base + offset) = value;
}

bool device_start(const struct device *d, uint64_t features)
{
	reg_write(d, VIRTIO_MMIO_STATUS, 0);
	reg_write(d, VIRTIO_MMIO_STATUS, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	features |= 1ull << VIRTIO_F_VERSION_1;
	for (uint32_t i = 0; i < 2; i++) {
		reg_write(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, i);
		uint32_t offered = reg_read(d, VIRTIO_MMIO_DEVICE_FEATURES);

		reg_write(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		reg_write(d, VIRTIO_MMIO_DRIVER_FEATURES, offered & (uint32_t)(features >> 32 * i));
	}
	reg_write(d, VIRTIO_MMIO_STATUS,
		  VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
	return reg_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_FEATURES_OK;
}

static void put_address(const struct device *d, uint32_t offset, const volatile void *p)
{
	reg_write(d, offset, (uint32_t)(uint64_t)p);
	reg_write(d, offset + 4, (uint32_t)((uint64_t)p >> 32));
}

uint32_t device_queue(const struct device *d, unsigned n, struct ring *r)
{
	reg_write(d, VIRTIO_MMIO_QUEUE_SEL, n);
	uint32_t size = reg_read(d, VIRTIO_MMIO_QUEUE_NUM_MAX);

	if (!size)
		return 0;
	if (size > RING)
		size = RING;
	r->avail_flags = r->avail_idx = 0;
	r->used_flags = r->used_idx = 0;
	reg_write(d, VIRTIO_MMIO_QUEUE_NUM, size);
	put_address(d, VIRTIO_MMIO_QUEUE_DESC_LOW, r->desc);
	put_address(d, VIRTIO_MMIO_QUEUE_DRIVER_LOW, &r->avail_flags);
	put_address(d, VIRTIO_MMIO_QUEUE_DEVICE_LOW, &r->used_flags);
	reg_write(d, VIRTIO_MMIO_QUEUE_READY, 1);
	return size;
}

void device_go(const struct device *d)
{
	reg_write(d, VIRTIO_MMIO_STATUS,
		  VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
			  VIRTIO_STATUS_DRIVER_OK);
}
