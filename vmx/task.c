/* SPDX-License-Identifier: MIT */
/* Task-state segments and the checks on the segments of a new task (SDM volume 3, "Task Management"). */
#include "vmx/task.h"

#include "arch/x86.h"
#include "lib/bits.h"
#include "lib/string.h"
#include "vmx/segment.h"

/* Fields of a TSS, in the 16-bit and the 32-bit format, and how many segment registers each has. */
enum { CR3_32 = 0x1C, LDTR_16 = 0x2A, LDTR_32 = 0x60, TRAP_32 = 0x64 };
enum { IP_16 = 0x0E, FLAGS_16 = 0x10, AX_16 = 0x12, ES_16 = 0x22, SEGMENTS_16 = 4 };
enum { EIP_32 = 0x20, EFLAGS_32 = 0x24, EAX_32 = 0x28, ES_32 = 0x48, SEGMENTS_32 = 6 };

/* Descriptor type bits, code and data segments. */
enum { TYPE_WRITABLE = 2, TYPE_READABLE = 2, TYPE_CONFORMING = 4, TYPE_CODE = 8 };
enum { TYPE_LDT = 2 };

#define RIGHTS_S     BIT32(4)
#define RIGHTS_DPL   0x60U
#define RIGHTS_P     BIT32(7)
#define SELECTOR_RPL 3U
#define SELECTOR_LDT 4U

static uint32_t get(const uint8_t *at, unsigned size)
{
    uint32_t value = 0;
    memcpy(&value, at, size);
    return value;
}

static void put(uint8_t *at, uint32_t value, unsigned size)
{
    memcpy(at, &value, size);
}

void task_store(const struct task *task, bool wide, uint8_t *tss)
{
    unsigned size = wide ? 4 : 2;
    unsigned segments = wide ? SEGMENTS_32 : SEGMENTS_16;

    put(tss + (wide ? EIP_32 : IP_16), task->eip, size);
    put(tss + (wide ? EFLAGS_32 : FLAGS_16), task->eflags, size);
    for (size_t i = 0; i < 8; i++) {
        put(tss + (wide ? EAX_32 : AX_16) + i * size, task->gpr[i], size);
    }
    for (size_t i = 0; i < segments; i++) {
        put(tss + (wide ? ES_32 : ES_16) + i * size, task->selector[i], 2);
    }
}

void task_load(struct task *task, bool wide, const uint8_t *tss)
{
    unsigned size = wide ? 4 : 2;
    unsigned segments = wide ? SEGMENTS_32 : SEGMENTS_16;

    *task = (struct task){ 0 };
    task->eip = get(tss + (wide ? EIP_32 : IP_16), size);
    task->eflags = get(tss + (wide ? EFLAGS_32 : FLAGS_16), size);
    for (size_t i = 0; i < 8; i++) {
        uint32_t upper = wide ? 0 : 0xFFFF0000U;
        task->gpr[i] = upper | get(tss + (wide ? EAX_32 : AX_16) + i * size, size);
    }
    for (size_t i = 0; i < segments; i++) {
        task->selector[i] = (uint16_t)get(tss + (wide ? ES_32 : ES_16) + i * size, 2);
    }
    task->ldtr = (uint16_t)get(tss + (wide ? LDTR_32 : LDTR_16), 2);
    if (wide) {
        task->cr3 = get(tss + CR3_32, 4);
        task->trap = (get(tss + TRAP_32, 2) & 1) != 0;
    }
}

struct task_segment task_segment(uint64_t descriptor)
{
    uint32_t limit = (uint32_t)(descriptor & 0xFFFF) | (uint32_t)(descriptor >> 32 & 0xF0000);
    bool pages = (descriptor & BIT(55)) != 0;

    return (struct task_segment){
        .base = (uint32_t)(descriptor >> 16 & 0xFFFFFF) | (uint32_t)(descriptor >> 32 & 0xFF000000),
        .limit = pages ? limit << 12 | 0xFFF : limit,
        .rights = (uint32_t)(descriptor >> 40) & 0xF0FF,
    };
}

/* Is it of the right kind? */
static bool fits(unsigned segment, uint16_t selector, uint32_t rights)
{
    unsigned type = rights & 0xF;
    bool code = (type & TYPE_CODE) != 0;

    if (segment == SEGMENT_LDTR) {
        return (rights & RIGHTS_S) == 0 && type == TYPE_LDT && (selector & SELECTOR_LDT) == 0;
    }
    if ((rights & RIGHTS_S) == 0) {
        return false;
    }
    switch (segment) {
    case SEGMENT_CS:
        return code;
    case SEGMENT_SS:
        return !code && (type & TYPE_WRITABLE) != 0;
    default:
        return !code || (type & TYPE_READABLE) != 0;
    }
}

static bool privileged(unsigned segment, uint16_t selector, uint32_t rights, unsigned cpl)
{
    unsigned dpl = (unsigned)field_get(RIGHTS_DPL, rights), rpl = selector & SELECTOR_RPL;
    bool conforming = (rights & (TYPE_CODE | TYPE_CONFORMING)) == (TYPE_CODE | TYPE_CONFORMING);

    switch (segment) {
    case SEGMENT_LDTR:
        return true;
    case SEGMENT_CS:
        return conforming ? dpl <= rpl : dpl == rpl;
    case SEGMENT_SS:
        return dpl == cpl && rpl == cpl;
    default:
        return conforming || (dpl >= cpl && dpl >= rpl);
    }
}

/* Only of CS is the privilege checked before the present bit. */
unsigned task_check(unsigned segment, uint16_t selector, uint64_t descriptor, unsigned cpl)
{
    uint32_t rights = task_segment(descriptor).rights;
    bool allowed = privileged(segment, selector, rights, cpl);

    if (!fits(segment, selector, rights) || (segment == SEGMENT_CS && !allowed)) {
        return EXCEPTION_TS;
    }
    if ((rights & RIGHTS_P) != 0) {
        return allowed ? 0 : EXCEPTION_TS;
    }
    if (segment == SEGMENT_LDTR) {
        return EXCEPTION_TS;
    }
    return segment == SEGMENT_SS ? EXCEPTION_SS : EXCEPTION_NP;
}
