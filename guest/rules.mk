# SPDX-License-Identifier: MIT
# Compiles the guests' DSDT; guest/dsdt.c includes the result. Included by the Makefile.

dsdt_header := $(BUILD)/guest/dsdt_aml.h

# iasl dates its listing in comments: only the bytes are kept.
$(dsdt_header): guest/dsdt.asl guest/rules.mk
	$(call say,IASL,$<)
	$(Q)mkdir -p $(@D)
	$(Q)iasl -vs -p $(BUILD)/guest/dsdt -tc $< >$(BUILD)/guest/iasl.log || \
	    { cat $(BUILD)/guest/iasl.log; exit 1; }
	$(Q)sed -n '/^unsigned char/,/^};/p' $(BUILD)/guest/dsdt.hex >$@

$(BUILD)/obj/guest/dsdt.c.o: $(dsdt_header)
$(BUILD)/obj/guest/dsdt.c.o: freestanding += -I$(BUILD)/guest
$(BUILD)/unit/obj/guest/dsdt.c.o: $(dsdt_header)
$(BUILD)/unit/obj/guest/dsdt.c.o: host_flags += -I$(BUILD)/guest
lint: $(dsdt_header)
tidy_flags += -I$(BUILD)/guest
