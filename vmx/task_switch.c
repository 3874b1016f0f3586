/* SPDX-License-Identifier: MIT */
/*
 * Hardware task switches (SDM volume 3, "Task Switching"). The CPU has checked privileges, the new TSS's
 * selector and its descriptor before the exit; what is left is to move the state and to check the new
 * task's segments. Faults before the new task register is loaded belong to the old task, later ones to
 * the new task.
 */
#include "vmx/task_switch.h"

#include <stddef.h>

#include "lib/bits.h"
#include "lib/error.h"
#include "lib/string.h"
#include "vmx/cr.h"
#include "vmx/event.h"
#include "vmx/guest_memory.h"
#include "vmx/segment.h"
#include "vmx/task.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"
#include "vmx/vmcs.h"

/* Exit qualification. */
enum { SOURCE_CALL = 0, SOURCE_IRET = 1, SOURCE_JMP = 2, SOURCE_GATE = 3 };
#define QUALIFICATION_SELECTOR 0xFFFFULL
#define QUALIFICATION_SOURCE   (3ULL << 30)

#define SELECTOR_RPL   3U
#define SELECTOR_LDT   4U
#define SELECTOR_INDEX 0xFFF8U

#define RIGHTS_TSS_WIDE BIT32(3) /* of the type: a 32-bit TSS */
#define RIGHTS_BUSY     BIT32(1)
#define RIGHTS_BIG      BIT32(14)
#define RIGHTS_UNUSABLE BIT32(16)
#define RIGHTS_V8086    0xF3U
#define RIGHTS_CODE_3   0xFBU

#define EFLAGS_LOADED  (RFLAGS_FIXED | 0x3F7FD5ULL)
#define DR6_BT         BIT(15)
#define DR7_LOCAL      0x155ULL /* L0 to L3, LE */
#define ERROR_CODE_EXT 1U

struct task_switch {
    struct vcpu *vcpu;
    unsigned source;
    uint16_t selector;   /* of the new TSS */
    uint64_t descriptor; /* of the new TSS */
    struct task_segment tss;
    bool wide;
    uint32_t event;      /* interruption information of what went through the gate; 0: none */
    uint32_t error_code; /* of that event */
    uint32_t ext;        /* ERROR_CODE_EXT when it came from outside the program */
    struct task task;    /* the new one */
};

/* --- Memory as the processor itself accesses it ------------------------------------------------- */

/* One part within a page; to, or from, or neither: only check that it can be accessed. */
static int copy_part(struct vcpu *vcpu, const struct paging *paging, uint64_t linear, void *to,
                     const void *from, unsigned size, unsigned access, struct fault *fault)
{
    uint64_t gpa;
    int error = paging_translate(paging, linear, access, &gpa, fault);
    if (error) {
        return error;
    }
    uint8_t *memory = vm_memory(vcpu->vm, gpa, size);
    if (to != NULL && memory != NULL) {
        memcpy(to, memory, size);
    } else if (to != NULL) {
        memset(to, 0xFF, size); /* nothing there, as on the bus */
    }
    if (from != NULL && memory != NULL) {
        memcpy(memory, from, size);
    }
    return 0;
}

/* An access with supervisor privilege whatever CPL is ("Implicit Supervisor-Mode Accesses"). */
static int copy(struct vcpu *vcpu, uint32_t linear, void *to, const void *from, unsigned size,
                unsigned access, struct fault *fault)
{
    struct guest_mmu mmu;

    guest_mmu_load(&mmu, vcpu);
    mmu.paging.cpl = 0;
    mmu.paging.rflags &= ~RFLAGS_AC;
    for (unsigned done = 0; done < size;) {
        uint32_t at = linear + done;
        unsigned room = (unsigned)(PAGE_SIZE - (at & (PAGE_SIZE - 1)));
        unsigned part = size - done < room ? size - done : room;
        int error =
            copy_part(vcpu, &mmu.paging, at, to != NULL ? (uint8_t *)to + done : NULL,
                      from != NULL ? (const uint8_t *)from + done : NULL, part, access, fault);
        if (error) {
            return error;
        }
        done += part;
    }
    return 0;
}

static int read(struct vcpu *vcpu, uint32_t linear, void *to, unsigned size, struct fault *fault)
{
    return copy(vcpu, linear, to, NULL, size, ACCESS_READ, fault);
}

static int write(struct vcpu *vcpu, uint32_t linear, const void *from, unsigned size,
                 struct fault *fault)
{
    return copy(vcpu, linear, NULL, from, size, ACCESS_WRITE, fault);
}

static int probe_write(struct vcpu *vcpu, uint32_t linear, unsigned size, struct fault *fault)
{
    return copy(vcpu, linear, NULL, NULL, size, ACCESS_WRITE, fault);
}

/* --- The old task ------------------------------------------------------------------------------- */

static bool is_wide(uint64_t rights)
{
    return (rights & RIGHTS_TSS_WIDE) != 0;
}

static uint32_t gdt_entry(uint16_t selector)
{
    return (uint32_t)vmread(VMCS_GUEST_GDTR_BASE) + (selector & SELECTOR_INDEX);
}

/* Instructions and software interrupts are over; exceptions and interrupts have saved their RIP. */
static uint32_t return_address(const struct task_switch *to)
{
    uint32_t type = to->event & EVENT_TYPE;
    bool instruction = to->event == 0 || type == EVENT_TYPE_SOFTWARE_INTERRUPT ||
                       type == EVENT_TYPE_PRIVILEGED_SOFTWARE_EXCEPTION ||
                       type == EVENT_TYPE_SOFTWARE_EXCEPTION;
    uint64_t length = instruction ? vmread(VMCS_EXIT_INSTRUCTION_LENGTH) : 0;
    return (uint32_t)(vmread(VMCS_GUEST_RIP) + length);
}

static void read_current(const struct task_switch *to, struct task *task)
{
    uint64_t nt = to->source == SOURCE_IRET ? RFLAGS_NT : 0;

    *task = (struct task){
        .eip = return_address(to),
        .eflags = (uint32_t)(vmread(VMCS_GUEST_RFLAGS) & ~nt),
    };
    for (unsigned i = 0; i < 8; i++) {
        task->gpr[i] = (uint32_t)(i == RSP ? vmread(VMCS_GUEST_RSP) : to->vcpu->gpr[i]);
    }
    for (unsigned i = SEGMENT_ES; i <= SEGMENT_GS; i++) {
        task->selector[i] = (uint16_t)vmread(vmcs_segment(VMCS_GUEST_ES_SELECTOR, i));
    }
}

static int set_busy(struct vcpu *vcpu, uint16_t selector, bool busy, struct fault *fault)
{
    uint64_t descriptor;
    int error = read(vcpu, gdt_entry(selector), &descriptor, sizeof(descriptor), fault);
    if (error) {
        return error;
    }
    descriptor = busy ? descriptor | DESCRIPTOR_BUSY : descriptor & ~DESCRIPTOR_BUSY;
    return write(vcpu, gdt_entry(selector), &descriptor, sizeof(descriptor), fault);
}

/* Only the dynamic fields are written. */
static int save_old(const struct task_switch *to, bool wide, struct fault *fault)
{
    uint8_t image[TSS_SIZE_MAX] = { 0 };
    struct task old;
    unsigned start = wide ? TSS_DYNAMIC_32 : TSS_DYNAMIC_16;
    unsigned end = wide ? TSS_DYNAMIC_32_END : TSS_DYNAMIC_16_END;
    uint32_t base = (uint32_t)vmread(VMCS_GUEST_TR_BASE);

    /* The upper halves of selector fields keep what they were. */
    int error = read(to->vcpu, base + start, image + start, end - start, fault);
    if (error) {
        return error;
    }
    read_current(to, &old);
    task_store(&old, wide, image);
    return write(to->vcpu, base + start, image + start, end - start, fault);
}

/* --- The point of no return ----------------------------------------------------------------------- */

static bool nests(const struct task_switch *to)
{
    return to->source == SOURCE_CALL || to->source == SOURCE_GATE;
}

/* Read the new TSS, and see that all that will be written can be. */
static int prepare(struct task_switch *to, struct fault *fault)
{
    uint8_t image[TSS_SIZE_MAX];
    struct vcpu *vcpu = to->vcpu;
    bool old_wide = is_wide(vmread(VMCS_GUEST_TR_ACCESS_RIGHTS));
    uint32_t old_base = (uint32_t)vmread(VMCS_GUEST_TR_BASE);
    uint16_t old = (uint16_t)vmread(VMCS_GUEST_TR_SELECTOR);

    int error = read(vcpu, gdt_entry(to->selector), &to->descriptor, sizeof(to->descriptor), fault);
    if (error) {
        return error;
    }
    to->tss = task_segment(to->descriptor);
    to->wide = is_wide(to->tss.rights);
    error = read(vcpu, to->tss.base, image, to->wide ? TSS_SIZE_32 : TSS_SIZE_16, fault);
    if (!error) {
        error = probe_write(vcpu, old_base, old_wide ? TSS_SIZE_32 : TSS_SIZE_16, fault);
    }
    if (!error && nests(to)) {
        error = probe_write(vcpu, to->tss.base, sizeof(uint16_t), fault);
    }
    if (!error) {
        error = probe_write(vcpu, gdt_entry(to->selector), sizeof(uint64_t), fault);
    }
    if (!error) {
        error = probe_write(vcpu, gdt_entry(old), sizeof(uint64_t), fault);
    }
    task_load(&to->task, to->wide, image);
    return error;
}

/* Old TSS, busy flags, link. Nothing of it faults after prepare. */
static int write_tasks(struct task_switch *to, struct fault *fault)
{
    struct vcpu *vcpu = to->vcpu;
    uint16_t old = (uint16_t)vmread(VMCS_GUEST_TR_SELECTOR);

    int error = save_old(to, is_wide(vmread(VMCS_GUEST_TR_ACCESS_RIGHTS)), fault);
    if (!error && !nests(to)) {
        error = set_busy(vcpu, old, false, fault);
    }
    if (!error && nests(to)) {
        error = write(vcpu, to->tss.base, &old, sizeof(old), fault);
        to->task.eflags |= RFLAGS_NT;
    }
    if (!error && to->source != SOURCE_IRET) {
        error = set_busy(vcpu, to->selector, true, fault);
    }
    return error;
}

static void load_task_register(const struct task_switch *to)
{
    vmwrite(VMCS_GUEST_TR_SELECTOR, to->selector);
    vmwrite(VMCS_GUEST_TR_BASE, to->tss.base);
    vmwrite(VMCS_GUEST_TR_LIMIT, to->tss.limit);
    vmwrite(VMCS_GUEST_TR_ACCESS_RIGHTS, to->tss.rights | RIGHTS_BUSY);
}

/* The event is delivered by the switch: it will not be injected again. */
static void end_event(struct vcpu *vcpu)
{
    uint64_t state = vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE);
    bool nmi = vcpu->delivery_interrupted && (vcpu->event.info & EVENT_TYPE) == EVENT_TYPE_NMI;

    state &= ~(INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS);
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE, nmi ? state | INTERRUPTIBILITY_NMI : state);
    vcpu->event.info = 0;
    vcpu->delivery_interrupted = false;
}

/* --- The new task ------------------------------------------------------------------------------- */

static int load_registers(const struct task_switch *to)
{
    const struct task *task = &to->task;

    vmwrite(VMCS_GUEST_RIP, task->eip);
    vmwrite(VMCS_GUEST_RFLAGS, (task->eflags & EFLAGS_LOADED) | RFLAGS_FIXED);
    for (unsigned i = 0; i < 8; i++) {
        if (i == RSP) {
            vmwrite(VMCS_GUEST_RSP, task->gpr[i]);
        } else {
            to->vcpu->gpr[i] = task->gpr[i];
        }
    }
    vmwrite(VMCS_GUEST_DR7, vmread(VMCS_GUEST_DR7) & ~DR7_LOCAL);
    int error = cr0_write(to->vcpu, cr0_read() | CR0_TS);
    if (!error && to->wide && (cr0_read() & CR0_PG) != 0) {
        error = cr3_switch(to->vcpu, task->cr3);
    }
    return error;
}

static void write_segment(unsigned segment, uint16_t selector, struct task_segment value)
{
    vmwrite(vmcs_segment(VMCS_GUEST_ES_SELECTOR, segment), selector);
    vmwrite(vmcs_segment(VMCS_GUEST_ES_BASE, segment), value.base);
    vmwrite(vmcs_segment(VMCS_GUEST_ES_LIMIT, segment), value.limit);
    vmwrite(vmcs_segment(VMCS_GUEST_ES_ACCESS_RIGHTS, segment), value.rights);
}

/*
 * Selectors without descriptors: until CS and SS are loaded they are what they were, but no longer
 * those of virtual-8086 mode, in which the new task is not.
 */
static void forget_segments(const struct task *task, bool was_v8086)
{
    for (unsigned i = SEGMENT_ES; i <= SEGMENT_GS; i++) {
        if (i != SEGMENT_CS && i != SEGMENT_SS) {
            write_segment(i, task->selector[i], (struct task_segment){ .rights = RIGHTS_UNUSABLE });
        }
    }
    vmwrite(VMCS_GUEST_CS_SELECTOR, task->selector[SEGMENT_CS]);
    vmwrite(VMCS_GUEST_SS_SELECTOR, task->selector[SEGMENT_SS]);
    if (was_v8086) {
        vmwrite(VMCS_GUEST_CS_ACCESS_RIGHTS, RIGHTS_CODE_3);
    }
    write_segment(SEGMENT_LDTR, task->ldtr, (struct task_segment){ .rights = RIGHTS_UNUSABLE });
}

static void load_v8086_segments(const struct task *task)
{
    for (unsigned i = SEGMENT_ES; i <= SEGMENT_GS; i++) {
        struct task_segment value = { (uint32_t)task->selector[i] << 4, 0xFFFF, RIGHTS_V8086 };
        write_segment(i, task->selector[i], value);
    }
}

static int refuse(const struct task_switch *to, uint16_t selector, unsigned vector,
                  struct fault *fault)
{
    uint32_t code = (selector & ~SELECTOR_RPL) | to->ext;
    *fault = (struct fault){ .vector = (uint8_t)vector, .error_code = code };
    return ERR_GP;
}

/* Linear address of a selector's descriptor; false when its table does not reach so far. */
static bool find_descriptor(uint16_t selector, uint32_t *linear)
{
    bool local = (selector & SELECTOR_LDT) != 0;
    uint64_t limit = vmread(local ? VMCS_GUEST_LDTR_LIMIT : VMCS_GUEST_GDTR_LIMIT);
    uint64_t base = vmread(local ? VMCS_GUEST_LDTR_BASE : VMCS_GUEST_GDTR_BASE);
    uint32_t index = selector & SELECTOR_INDEX;

    if (local && (vmread(VMCS_GUEST_LDTR_ACCESS_RIGHTS) & RIGHTS_UNUSABLE) != 0) {
        return false;
    }
    *linear = (uint32_t)base + index;
    return index + 7 <= limit;
}

static int load_segment(const struct task_switch *to, unsigned segment, uint16_t selector,
                        struct fault *fault)
{
    uint64_t descriptor;
    uint32_t linear;
    unsigned cpl = to->task.selector[SEGMENT_CS] & SELECTOR_RPL;

    if ((selector & ~SELECTOR_RPL) == 0) {
        bool needed = segment == SEGMENT_CS || segment == SEGMENT_SS;
        return needed ? refuse(to, selector, EXCEPTION_TS, fault) : 0;
    }
    if (!find_descriptor(selector, &linear)) {
        return refuse(to, selector, EXCEPTION_TS, fault);
    }
    int error = read(to->vcpu, linear, &descriptor, sizeof(descriptor), fault);
    if (error) {
        return error;
    }
    unsigned vector = task_check(segment, selector, descriptor, cpl);
    if (vector != 0) {
        return refuse(to, selector, vector, fault);
    }
    if (segment != SEGMENT_LDTR && (descriptor & DESCRIPTOR_ACCESSED) == 0) {
        descriptor |= DESCRIPTOR_ACCESSED;
        error = write(to->vcpu, linear, &descriptor, sizeof(descriptor), fault);
    }
    if (!error) {
        write_segment(segment, selector, task_segment(descriptor));
    }
    return error;
}

static int load_segments(const struct task_switch *to, bool was_v8086, struct fault *fault)
{
    static const uint8_t order[] = { SEGMENT_CS, SEGMENT_SS, SEGMENT_ES,
                                     SEGMENT_DS, SEGMENT_FS, SEGMENT_GS };
    bool v8086 = (to->task.eflags & RFLAGS_VM) != 0;

    forget_segments(&to->task, was_v8086 && !v8086);
    if (v8086) {
        load_v8086_segments(&to->task);
    }
    int error = load_segment(to, SEGMENT_LDTR, to->task.ldtr, fault);
    for (unsigned i = 0; !v8086 && !error && i < ARRAY_SIZE(order); i++) {
        error = load_segment(to, order[i], to->task.selector[order[i]], fault);
    }
    return error;
}

/* The error code of the exception that went through a task gate goes onto the new task's stack. */
static int push_error_code(const struct task_switch *to, struct fault *fault)
{
    struct guest_mmu mmu;
    unsigned size = to->wide ? 4 : 2;
    bool big = (vmread(VMCS_GUEST_SS_ACCESS_RIGHTS) & RIGHTS_BIG) != 0;
    uint64_t mask = big ? 0xFFFFFFFFU : 0xFFFFU;
    uint64_t rsp = vmread(VMCS_GUEST_RSP);
    uint64_t offset = (rsp - size) & mask, linear;

    guest_mmu_load(&mmu, to->vcpu);
    int error = guest_linear(&mmu, SEGMENT_SS, offset, size, ACCESS_WRITE, &linear, fault);
    if (!error) {
        error = guest_write_linear(&mmu, linear, &to->error_code, size, fault);
    }
    if (error == ERR_GP) {
        return error;
    }
    vmwrite(VMCS_GUEST_RSP, (rsp & ~mask) | offset);
    return 0;
}

/* All that happens in the context of the new task. */
static int enter(const struct task_switch *to, bool was_v8086, struct fault *fault)
{
    *fault = (struct fault){ .vector = EXCEPTION_GP };
    struct fault segment_fault = *fault;
    int error = load_registers(to);
    int segments = load_segments(to, was_v8086, &segment_fault);
    if (error) {
        return ERR_GP; /* of two faults the registers' #GP comes first */
    }
    if (segments) {
        *fault = segment_fault;
        return ERR_GP;
    }
    if ((to->event & EVENT_ERROR_CODE) != 0) {
        return push_error_code(to, fault);
    }
    return 0;
}

/* --- The exit ------------------------------------------------------------------------------------- */

static void begin(struct task_switch *to, struct vcpu *vcpu)
{
    uint64_t qualification = vmread(VMCS_EXIT_QUALIFICATION);

    *to = (struct task_switch){
        .vcpu = vcpu,
        .source = (unsigned)field_get(QUALIFICATION_SOURCE, qualification),
        .selector = (uint16_t)(qualification & QUALIFICATION_SELECTOR),
    };
    if (to->source == SOURCE_GATE && vcpu->delivery_interrupted) {
        uint32_t type = vcpu->event.info & EVENT_TYPE;
        to->event = vcpu->event.info;
        to->error_code = vcpu->event.error_code;
        to->ext = type <= EVENT_TYPE_HARDWARE_EXCEPTION ||
                          type == EVENT_TYPE_PRIVILEGED_SOFTWARE_EXCEPTION
                      ? ERROR_CODE_EXT
                      : 0;
    }
}

void exit_task_switch(struct vcpu *vcpu)
{
    struct task_switch to;
    struct fault fault;

    begin(&to, vcpu);
    if (prepare(&to, &fault) != 0 || write_tasks(&to, &fault) != 0) {
        guest_raise(vcpu, &fault);
        return;
    }
    bool was_v8086 = (vmread(VMCS_GUEST_RFLAGS) & RFLAGS_VM) != 0;
    load_task_register(&to);
    end_event(vcpu);
    if (enter(&to, was_v8086, &fault) != 0) {
        guest_raise(vcpu, &fault);
    } else if (to.task.trap) {
        write_dr6(read_dr6() | DR6_BT);
        event_raise(vcpu, EXCEPTION_DB);
    }
}
