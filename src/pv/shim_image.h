/* The shim's ELF file as bytes, made at build time by tools/embed. */
#pragma once

#include <stddef.h>

extern const unsigned char shim_image[];
extern const size_t shim_image_size;
