/* SPDX-License-Identifier: MIT */
/*
 * VM-execution, VM-exit and VM-entry controls: their bits, which of them Rivet wants, and what comes
 * out against what a CPU allows (SDM volume 3, "VM-Execution Control Fields" ff. and appendix "VMX
 * Capability Reporting Facility"). Pure logic.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/bits.h"

/* Pin-based VM-execution controls */
#define PIN_EXTERNAL_INTERRUPT_EXITING BIT32(0)
#define PIN_NMI_EXITING                BIT32(3)
#define PIN_VIRTUAL_NMIS               BIT32(5)
#define PIN_PREEMPTION_TIMER           BIT32(6)
#define PIN_POSTED_INTERRUPTS          BIT32(7)

/* Primary processor-based VM-execution controls */
#define PRIMARY_INTERRUPT_WINDOW_EXITING BIT32(2)
#define PRIMARY_USE_TSC_OFFSETTING       BIT32(3)
#define PRIMARY_HLT_EXITING              BIT32(7)
#define PRIMARY_INVLPG_EXITING           BIT32(9)
#define PRIMARY_MWAIT_EXITING            BIT32(10)
#define PRIMARY_RDPMC_EXITING            BIT32(11)
#define PRIMARY_RDTSC_EXITING            BIT32(12)
#define PRIMARY_CR3_LOAD_EXITING         BIT32(15)
#define PRIMARY_CR3_STORE_EXITING        BIT32(16)
#define PRIMARY_TERTIARY_CONTROLS        BIT32(17)
#define PRIMARY_CR8_LOAD_EXITING         BIT32(19)
#define PRIMARY_CR8_STORE_EXITING        BIT32(20)
#define PRIMARY_USE_TPR_SHADOW           BIT32(21)
#define PRIMARY_NMI_WINDOW_EXITING       BIT32(22)
#define PRIMARY_MOV_DR_EXITING           BIT32(23)
#define PRIMARY_UNCONDITIONAL_IO_EXITING BIT32(24)
#define PRIMARY_USE_IO_BITMAPS           BIT32(25)
#define PRIMARY_MONITOR_TRAP_FLAG        BIT32(27)
#define PRIMARY_USE_MSR_BITMAPS          BIT32(28)
#define PRIMARY_MONITOR_EXITING          BIT32(29)
#define PRIMARY_PAUSE_EXITING            BIT32(30)
#define PRIMARY_SECONDARY_CONTROLS       BIT32(31)

/* Secondary processor-based VM-execution controls */
#define SECONDARY_VIRTUALIZE_APIC_ACCESSES   BIT32(0)
#define SECONDARY_ENABLE_EPT                 BIT32(1)
#define SECONDARY_DESCRIPTOR_TABLE_EXITING   BIT32(2)
#define SECONDARY_ENABLE_RDTSCP              BIT32(3)
#define SECONDARY_VIRTUALIZE_X2APIC_MODE     BIT32(4)
#define SECONDARY_ENABLE_VPID                BIT32(5)
#define SECONDARY_WBINVD_EXITING             BIT32(6)
#define SECONDARY_UNRESTRICTED_GUEST         BIT32(7)
#define SECONDARY_APIC_REGISTER_VIRT         BIT32(8)
#define SECONDARY_VIRTUAL_INTERRUPT_DELIVERY BIT32(9)
#define SECONDARY_PAUSE_LOOP_EXITING         BIT32(10)
#define SECONDARY_RDRAND_EXITING             BIT32(11)
#define SECONDARY_ENABLE_INVPCID             BIT32(12)
#define SECONDARY_ENABLE_VM_FUNCTIONS        BIT32(13)
#define SECONDARY_VMCS_SHADOWING             BIT32(14)
#define SECONDARY_ENABLE_ENCLS_EXITING       BIT32(15)
#define SECONDARY_RDSEED_EXITING             BIT32(16)
#define SECONDARY_ENABLE_PML                 BIT32(17)
#define SECONDARY_ENABLE_XSAVES              BIT32(20)
#define SECONDARY_MODE_BASED_EXECUTE         BIT32(22)
#define SECONDARY_TSC_SCALING                BIT32(25)

/* VM-exit controls */
#define EXIT_SAVE_DEBUG_CONTROLS     BIT32(2)
#define EXIT_HOST_ADDRESS_SPACE_SIZE BIT32(9)
#define EXIT_LOAD_PERF_GLOBAL_CTRL   BIT32(12)
#define EXIT_ACKNOWLEDGE_INTERRUPT   BIT32(15)
#define EXIT_SAVE_PAT                BIT32(18)
#define EXIT_LOAD_PAT                BIT32(19)
#define EXIT_SAVE_EFER               BIT32(20)
#define EXIT_LOAD_EFER               BIT32(21)
#define EXIT_SAVE_PREEMPTION_TIMER   BIT32(22)

/* VM-entry controls */
#define ENTRY_LOAD_DEBUG_CONTROLS   BIT32(2)
#define ENTRY_IA32E_MODE_GUEST      BIT32(9)
#define ENTRY_LOAD_PERF_GLOBAL_CTRL BIT32(13)
#define ENTRY_LOAD_PAT              BIT32(14)
#define ENTRY_LOAD_EFER             BIT32(15)

/* The control words, each with its capability MSR. */
enum control_word {
    CONTROL_PIN,
    CONTROL_PRIMARY,
    CONTROL_SECONDARY,
    CONTROL_EXIT,
    CONTROL_ENTRY,
    CONTROL_WORDS,
};

struct control_rule {
    enum control_word word;
    uint32_t bit;     /* one bit */
    bool required;    /* Rivet cannot live without */
    bool on_demand;   /* must be available, but is off in a new VMCS */
    const char *name; /* the SDM's */
};

/* What a CPU allows: the capability MSRs (31:0 allowed 0-settings, 63:32 allowed 1-settings). */
struct control_capabilities {
    uint64_t word[CONTROL_WORDS];
};

/* Outcome: for each word the bits that are available, and the value a new VMCS starts with. */
struct control_result {
    uint32_t available[CONTROL_WORDS]; /* of the bits in the table */
    uint32_t value[CONTROL_WORDS];
};

/* The table of rules, in SDM order; *count entries. Any context. */
const struct control_rule *control_rules(unsigned *count);

/* Number and SDM name of the capability MSR of a word. Any context. */
uint32_t control_msr(enum control_word word);
const char *control_msr_name(enum control_word word);

/*
 * Choose the controls for a CPU. Optional controls that depend on one that is missing are dropped
 * too. Returns NULL, or the first required rule that the CPU does not allow. Pure.
 */
const struct control_rule *control_negotiate(const struct control_capabilities *capabilities,
                                             struct control_result *result);
