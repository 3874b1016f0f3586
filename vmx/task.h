/* SPDX-License-Identifier: MIT */
/*
 * Task-state segments and the checks on the segments of a new task (SDM volume 3, chapter "Task
 * Management"). Pure logic, tested on the host; vmx/task_switch.c does the rest.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { TSS_SIZE_16 = 44, TSS_SIZE_32 = 104, TSS_SIZE_MAX = TSS_SIZE_32 };

/* Where the fields that a task switch writes lie together: from EIP to the last segment register. */
enum { TSS_DYNAMIC_16 = 0x0E, TSS_DYNAMIC_16_END = 0x2A };
enum { TSS_DYNAMIC_32 = 0x20, TSS_DYNAMIC_32_END = 0x60 };

/* What a TSS holds of a task. */
struct task {
    uint32_t eip, eflags;
    uint32_t gpr[8];      /* in the order of their encoding */
    uint16_t selector[6]; /* in the order of vmx/segment.h; a 16-bit TSS has no FS and GS */
    uint16_t ldtr;
    uint32_t cr3; /* only in a 32-bit TSS */
    bool trap;    /* debug trap flag, only in a 32-bit TSS */
};

/* Put a task into the dynamic fields of a TSS of TSS_SIZE_16 or (wide) TSS_SIZE_32 bytes. */
void task_store(const struct task *task, bool wide, uint8_t *tss);

/*
 * Read a whole TSS. Of a 16-bit one the upper halves of general registers become ones, as processors
 * have it, those of EIP and EFLAGS 0, FS and GS null.
 */
void task_load(struct task *task, bool wide, const uint8_t *tss);

/* A segment descriptor as the VMCS wants it. */
struct task_segment {
    uint32_t base, limit, rights;
};
struct task_segment task_segment(uint64_t descriptor);

/* Descriptor bits. */
#define DESCRIPTOR_ACCESSED BIT(40) /* code and data */
#define DESCRIPTOR_BUSY     BIT(41) /* TSS */

/*
 * "Exception Conditions Checked During a Task Switch": may the segment register (vmx/segment.h, with
 * LDTR) of a new task hold this descriptor? selector is not null. cpl: the RPL of the new CS. 0, or the
 * vector of the fault: #TS, #NP or #SS.
 */
unsigned task_check(unsigned segment, uint16_t selector, uint64_t descriptor, unsigned cpl);
