# A thin front for meson. Every target installs what it needs from the distribution when run as root.
B ?= build

.PHONY: all demo test unit asan fuzz bench fmt install deb clean deps tidy
all: $(B)/build.ninja
	@ninja -C $(B)

$(B)/build.ninja: meson.build | deps
	@meson setup $(B) --wipe >/dev/null 2>&1 || meson setup $(B)

deps:
	@tools/install-deps build

unit: all
	@meson test -C $(B) --suite unit --print-errorlogs

test: all
	@tools/install-deps test
	@tools/run-tests $(B)

fmt:
	@git ls-files '*.c' '*.h' | xargs clang-format-14 -i

install: all
	@meson install -C $(B)

clean:
	rm -rf $(B)
