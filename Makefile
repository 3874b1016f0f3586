# SPDX-License-Identifier: MIT
# Builds Rivet, its test guests and its tests, all outside the source tree.
# `make help` lists the targets. Variables: BUILD (folder for all output), CC (gcc or clang), V=1
# (show commands), FUZZ_TIME (seconds for each fuzzer), RUN_INTERACTIVE=1 (leave `make run`'s guest
# at its shell). Use another BUILD for another CC.

BUILD ?= build
V ?= 0
FUZZ_TIME ?= 20
ifeq ($(origin CC),default)
CC := gcc
endif
Q := $(if $(filter 1,$(V)),,@)
parallel = $(MAKE) --no-print-directory -j$(shell nproc)
say = $(if $(Q),@printf '  %-8s%s\n' $(1) $(patsubst $(BUILD)/%,%,$(2)))

.SUFFIXES:
.DELETE_ON_ERROR:
.PHONY: all help run test test-long unit unit-binaries fuzz-binaries guests machine system reproducible format lint coverage fuzz model \
        prove-bochs kut bench deps clean

all: $(BUILD)/rivet.elf  ## build Rivet (the default)

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  \1\t\2/p' Makefile | expand -t 16

# --- Rivet -------------------------------------------------------------------------------------

folders := boot arch vmx apic nested drivers guest debug lib
sources := $(sort $(wildcard $(addsuffix /*.c,$(folders)) $(addsuffix /*.S,$(folders))))
objects := $(sources:%=$(BUILD)/obj/%.o)

warnings     := -Wall -Wextra -Werror
relocatable  := -ffile-prefix-map=$(CURDIR)=. -ffile-prefix-map=$(BUILD)/=build/ \
                $(if $(findstring clang,$(CC)),-ffile-compilation-dir=.)
freestanding := -std=gnu11 -ffreestanding -mno-red-zone -mgeneral-regs-only -fno-pic \
                -mcmodel=small -fno-stack-protector -fno-omit-frame-pointer -fcf-protection=none \
                -fno-asynchronous-unwind-tables -fno-strict-aliasing -O2 -g -I. $(warnings) \
                $(relocatable)
LDFLAGS      := -m elf_x86_64 -nostdlib -static -z max-page-size=0x1000 -z noexecstack \
                --build-id=none --fatal-warnings

$(BUILD)/obj/%.c.o: %.c Makefile
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(freestanding) -MMD -MP -c -o $@ $<

$(BUILD)/obj/%.S.o: %.S Makefile
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(freestanding) -D__ASSEMBLER__ -MMD -MP -c -o $@ $<

# The image carries its own symbol table for backtraces. Link 1 has an empty table, link 2 one of
# the right size, link 3 the right addresses; the table of link 3 must equal the one it contains.
$(BUILD)/link/symbols.0.S: tools/symtab
	$(Q)mkdir -p $(@D)
	$(Q)tools/symtab </dev/null >$@

$(BUILD)/link/symbols.%.S: $(BUILD)/link/rivet.%.elf tools/symtab
	$(Q)nm -n $< | tools/symtab >$@

$(BUILD)/link/symbols.%.o: $(BUILD)/link/symbols.%.S
	$(Q)$(CC) -c -o $@ $<

link = $(LD) $(LDFLAGS) -T linker.ld -o $@ $(objects) $(1)

$(BUILD)/link/rivet.1.elf: $(objects) $(BUILD)/link/symbols.0.o linker.ld
	$(Q)$(call link,$(BUILD)/link/symbols.0.o)

$(BUILD)/link/rivet.2.elf: $(objects) $(BUILD)/link/symbols.1.o linker.ld
	$(Q)$(call link,$(BUILD)/link/symbols.1.o)

$(BUILD)/rivet.elf: $(objects) $(BUILD)/link/symbols.2.o linker.ld
	$(call say,LINK,$@)
	$(Q)$(call link,$(BUILD)/link/symbols.2.o)
	$(Q)nm -n $@ | tools/symtab | cmp - $(BUILD)/link/symbols.2.S

.SECONDARY:

# --- Test guests: 64-bit code in a 32-bit ELF, as multiboot 1 wants it ------------------------------

guest_names := $(patsubst tests/guests/%.c,%,$(sort $(wildcard tests/guests/*.c)))
guest_lib   := $(patsubst %,$(BUILD)/obj/%.o,\
                 $(sort $(wildcard tests/guests/lib/*.c tests/guests/lib/*.S)))
guest_elves := $(guest_names:%=$(BUILD)/guests/%.elf)

guests: $(guest_elves)  ## build the test guests

# Of Rivet's lib/ a guest takes what it calls.
$(BUILD)/guests/lib.a: $(patsubst %,$(BUILD)/obj/%.o,$(filter lib/%,$(sources)))
	$(Q)mkdir -p $(@D)
	$(Q)rm -f $@ && ar rcD $@ $^

$(BUILD)/guests/%.elf: $(BUILD)/obj/tests/guests/%.c.o $(guest_lib) $(BUILD)/guests/lib.a \
                       tests/guests/lib/guest.ld
	$(call say,GUEST,$@)
	$(Q)$(LD) $(LDFLAGS) -T tests/guests/lib/guest.ld -o $@.64 $(filter %.o %.a,$^)
	$(Q)objcopy -O elf32-i386 $@.64 $@

$(BUILD)/bench/%.elf: $(BUILD)/obj/tests/bench/%.c.o $(guest_lib) $(BUILD)/guests/lib.a \
                      tests/guests/lib/guest.ld
	$(call say,GUEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(LD) $(LDFLAGS) -T tests/guests/lib/guest.ld -o $@.64 $(filter %.o %.a,$^)
	$(Q)objcopy -O elf32-i386 $@.64 $@

# --- Host tests: tests/unit/NAME.c says in comments what it links: `links: FILES`, `libs: -lX` ------

unit_names := $(patsubst tests/unit/%.c,%,$(sort $(wildcard tests/unit/*.c)))
fuzz_names := $(patsubst tests/fuzz/%.c,%,$(sort $(wildcard tests/fuzz/*.c)))
sanitizers := -fsanitize=address,undefined -fno-sanitize-recover=all
UNIT_FLAGS ?= -O1 $(sanitizers)
FUZZ_CC    ?= clang
# What a fuzzer compares with: its branches are no coverage worth reaching, and slow to count.
uncounted  := tests/unit/lib/apic_reference%.c tests/unit/lib/apic_port_model.c
host_flags := -std=gnu11 -g -fno-omit-frame-pointer -I. $(warnings) $(relocatable)

header_field = $(shell sed -n 's|.*\b$(1): *\([^*]*\).*|\1|p' $(2))
host_objects = $(patsubst %,$(BUILD)/$(1)/obj/%.o,$(2) $(call header_field,links,$(2)))

$(BUILD)/unit/obj/%.o: % Makefile
	$(call say,HOSTCC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(host_flags) $(UNIT_FLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/fuzz/obj/%.o: % Makefile
	$(call say,FUZZCC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(host_flags) -O1 $(if $(filter $(uncounted),$<),,-fsanitize=fuzzer-no-link) \
	    $(sanitizers) -MMD -MP -c -o $@ $<

define unit_rule
$(BUILD)/unit/$(1): $(call host_objects,unit,tests/unit/$(1).c)
	$$(call say,HOSTLD,$$@)
	$(Q)$(CC) $(UNIT_FLAGS) -o $$@ $$^ $(call header_field,libs,tests/unit/$(1).c) -lcmocka
endef
define fuzz_rule
$(BUILD)/fuzz/$(1): $(call host_objects,fuzz,tests/fuzz/$(1).c)
	$$(call say,FUZZLD,$$@)
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer $(sanitizers) -o $$@ $$^ \
	    $(call header_field,libs,tests/fuzz/$(1).c)
endef
$(foreach name,$(unit_names),$(eval $(call unit_rule,$(name))))
$(foreach name,$(fuzz_names),$(eval $(call fuzz_rule,$(name))))

unit-binaries: $(unit_names:%=$(BUILD)/unit/%)
fuzz-binaries: $(fuzz_names:%=$(BUILD)/fuzz/%)

# --- Running ---------------------------------------------------------------------------------------

deps:  ## install the Debian packages that building and testing need (root)
	tools/deps build boot unit qemu

run:  ## boot Debian Linux under Rivet on Bochs, from a fresh machine
	$(Q)tools/deps build boot
	$(Q)$(parallel) all
	$(Q)BUILD=$(BUILD) tools/run-debian

test:  ## unit tests, guest tests and system tests; ends with `N passed, N failed`
	$(Q)tools/deps build boot unit qemu fuzz model
	$(Q)$(parallel) all guests unit-binaries fuzz-binaries machine
	$(Q)tests/run --build $(BUILD) reproducible proof unit guests system

test-long: test  ## `make test`, then shapes of machines and guests that it leaves out
	$(Q)tests/run --build $(BUILD) long

# The test emulator and the Debian guest, for what boots them.
machine:
	$(Q)tools/bochs/build >/dev/null
	$(Q)tools/debian $(BUILD)/debian

unit: unit-binaries  ## unit tests only
	$(Q)tests/run --build $(BUILD) unit

system: all guests machine  ## guest and system tests only
	$(Q)tests/run --build $(BUILD) guests system

# A second build, from another folder, must give the same bytes.
reproducible: $(BUILD)/rivet.elf  ## check that two builds are byte-identical
	$(Q)rm -rf $(BUILD)/again && mkdir -p $(BUILD)/again
	$(Q)cp -r Makefile linker.ld tools $(wildcard $(folders)) $(BUILD)/again
	$(Q)$(MAKE) --no-print-directory -C $(BUILD)/again BUILD=b CC=$(CC) all >$(BUILD)/again/log
	cmp $(BUILD)/rivet.elf $(BUILD)/again/b/rivet.elf

prove-bochs: guests  ## show that each patch of the test emulator is needed and works
	tools/bochs/prove $(BUILD)

kut: $(BUILD)/rivet.elf machine  ## kvm-unit-tests, built in KUT=FOLDER (KUT32=FOLDER for i386), under Rivet; ONLY=REGEX selects
	$(Q)test -n "$(KUT)" || { echo "make kut: KUT=folder with built tests is missing" >&2; exit 2; }
	$(Q)tools/kut --build $(BUILD) --only '$(ONLY)' $(if $(KUT32),--i386 $(KUT32)) $(KUT)

bench: $(BUILD)/rivet.elf $(BUILD)/bench/operations.elf machine  ## ticks per operation, with APICv and without; KUT=FOLDER: kvm-unit-tests' vmexit too
	$(Q)tools/bench --build $(BUILD) $(KUT)

# --- Quality -----------------------------------------------------------------------------------------

test_c   := $(sort $(wildcard tests/bench/*.c tests/guests/*.c tests/guests/lib/*.c tests/unit/*.c \
              tests/unit/*/*.c tests/fuzz/*.c))
headers  := $(sort $(wildcard $(addsuffix /*.h,$(folders)) tests/*/*.h tests/*/lib/*.h))
c_files  := $(filter %.c,$(sources))
# Options that gcc knows and clang-tidy's clang may not.
tidy_flags := $(filter-out -fcf-protection=none $(relocatable),$(freestanding))

format:  ## let clang-format rewrite every C file
	clang-format -i $(filter %.c,$(sources)) $(headers) $(test_c)

lint:  ## clang-format, cppcheck and clang-tidy over the whole tree
	$(Q)tools/deps lint
	$(Q)clang-format --dry-run -Werror $(c_files) $(headers) $(test_c)
	$(Q)cppcheck -q --std=c11 --platform=unix64 --error-exitcode=1 --inline-suppr -I. \
	    --library=tools/cppcheck.cfg --enable=warning,performance,portability \
	    --suppress=missingIncludeSystem --suppress=unmatchedSuppression $(c_files)
	$(Q)printf '%s\n' $(c_files) | \
	    xargs -P $(shell nproc) -n 4 sh -c 'clang-tidy --quiet "$$@" -- $(tidy_flags)' -

coverage:  ## line and branch coverage of the unit tests; fails if that of apic/ is low
	$(Q)tools/deps unit coverage
	$(Q)$(parallel) unit-binaries BUILD=$(BUILD)/coverage \
	    UNIT_FLAGS="-O0 --coverage -fprofile-update=atomic"
	$(Q)find $(BUILD)/coverage -name '*.gcda' -delete
	$(Q)tests/run --build $(BUILD)/coverage unit
	$(Q)gcovr --root . --object-directory $(BUILD)/coverage --exclude tests/ --print-summary \
	    --sort-uncovered $(BUILD)/coverage
	$(Q)echo "apic/ needs 95 % of its lines and 90 % of its branches:"
	$(Q)gcovr --root . --object-directory $(BUILD)/coverage --filter apic/ --branches \
	    --fail-under-line 95 --fail-under-branch 90 --sort-uncovered $(BUILD)/coverage

fuzz:  ## run each fuzzer for FUZZ_TIME seconds
	$(Q)tools/deps fuzz
	$(Q)$(parallel) fuzz-binaries
	$(Q)for name in $(fuzz_names); do \
	    echo "fuzz: $$name for $(FUZZ_TIME) s"; \
	    mkdir -p $(BUILD)/fuzz/corpus/$$name tests/fuzz/seeds/$$name; \
	    $(BUILD)/fuzz/$$name -max_total_time=$(FUZZ_TIME) -print_final_stats=1 -verbosity=0 \
	        -artifact_prefix=$(BUILD)/fuzz/$$name- \
	        $(BUILD)/fuzz/corpus/$$name tests/fuzz/seeds/$$name || exit 1; \
	done

model:  ## verify the Promela models in tests/model, and that their mutants fail
	$(Q)tools/deps model
	tools/model $(BUILD)/model $(sort $(wildcard tests/model/*.pml))

clean:  ## remove the build folder
	rm -rf $(BUILD)

include $(wildcard $(addsuffix /rules.mk,$(folders)))
-include $(objects:.o=.d) $(guest_lib:.o=.d) $(guest_names:%=$(BUILD)/obj/tests/guests/%.c.d) \
  $(BUILD)/obj/tests/bench/operations.c.d
-include $(shell find $(BUILD)/unit/obj $(BUILD)/fuzz/obj -name '*.d' 2>/dev/null)
