# A thin front for meson. Every target installs what it needs from the distribution when run as root.
B ?= build

.PHONY: all deps unit test tour demo bench bed asan fuzz fmt install deb clean
all: $(B)/build.ninja
	@ninja -C $(B)

$(B)/build.ninja: meson.build | deps
	@meson setup $(B) --wipe >/dev/null 2>&1 || meson setup $(B)

deps:
	@tools/install-deps build

# cmocka may have come only now: then the build learns of it.
$(B)/.test: | $(B)/build.ninja
	@tools/install-deps test
	@tools/install-deps bed || true # without it the vm wall's cases are skipped
	@meson introspect --tests $(B) | grep -q '"unit"' || meson setup --reconfigure $(B) >/dev/null
	@touch $@

unit: $(B)/.test all
	@tools/run-tests $(B) --only unit

test: $(B)/.test all
	@tools/run-tests $(B) $(T)

demo: all
	@tools/demo $(B)

bench: all
	@tools/install-deps bench
	@bench/run --build $(B) $(T)

# How the pv hypervisor works, stop by stop.
tour:
	@tools/tour

# make bed CMD='...': runs a command line on a machine with true hardware virtualization, emulated.
bed: all
	@tools/install-deps bed
	@tools/bed --build $(B) '$(subst ','\'',$(value CMD))'

# The tests in a build with AddressSanitizer and UndefinedBehaviorSanitizer; T are arguments of tools/run-tests.
asan: deps
	@tools/install-deps test clang
	@[ -f build-asan/build.ninja ] || CC=clang meson setup build-asan -Db_sanitize=address,undefined \
	  -Db_lundef=false -Db_pie=false >/dev/null
	@ninja -C build-asan
	@tools/run-tests build-asan $(or $(ONLY),--only unit --only integration) $(T)

# Every fuzz target for S seconds; T: --coverage, names of targets.
S ?= 20
fuzz: deps
	@tools/install-deps clang
	@tools/run-fuzz --seconds $(S) $(T)

fmt:
	@tools/sort-commands
	@git ls-files '*.c' '*.h' | xargs clang-format-14 -i

install: all
	@meson install -C $(B) --no-rebuild

deb: all
	@tools/make-deb $(B)

clean:
	rm -rf $(B)
