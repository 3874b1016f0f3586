/* SPDX-License-Identifier: MIT */
/*
 * The guest's local APIC: one 4 KiB register page that hardware reads as the virtual-APIC page, and
 * the object state around it (SDM volume 3, chapters "Advanced Programmable Interrupt Controller"
 * and "APIC Virtualization and Virtual Interrupts").
 *
 * Ownership. vIRR, vISR, vPPR, RVI, SVI belong to the CPU that owns the vCPU (or to its hardware in
 * guest mode). Everybody else, including devices and the vCPU's own timer, hands an interrupt over
 * by setting its bit in PIR and then ON, whether APICv is active or not; the owner moves PIR into
 * vIRR before each entry. So switching APICv never races with a poster. TMR bits are written by the
 * poster with locked operations before PIR.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "apic/timer.h"
#include "apic/vm.h"

enum lapic_mode { LAPIC_DISABLED, LAPIC_XAPIC, LAPIC_X2APIC };

/* Posted-interrupt descriptor (SDM volume 3, table "Format of Posted-Interrupt Descriptor"). */
struct pi_desc {
    _Atomic uint64_t pir[4];  /* one bit per vector */
    _Atomic uint64_t control; /* ON 0, SN 1, NV 23:16, NDST 63:32 */
    uint64_t reserved[3];
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct pi_desc) == 64, "hardware reads 64 bytes");

/*
 * lapic->events: pending INIT and SIPI with the SIPI's vector, published by one atomic operation.
 */
enum lapic_event {
    LAPIC_EVENT_INIT = 1 << 0,
    LAPIC_EVENT_SIPI = 1 << 1,
    LAPIC_EVENT_SIPI_VECTOR = 0xFF << 8,
};

/* lapic->requests: what any CPU asks the owner to do in its next lapic_before_entry. */
enum lapic_request {
    LAPIC_REQUEST_APICV = 1 << 0,     /* inhibition or mode changed: apply */
    LAPIC_REQUEST_EOI_EXITS = 1 << 1, /* I/O APIC routes changed: compute the EOI-exit bitmap */
    LAPIC_REQUEST_ERROR = 1 << 2,     /* an ESR bit was set: raise LVT error */
    LAPIC_REQUEST_LINT0 = 1 << 3,     /* the LINT0 pin rose */
    LAPIC_REQUEST_EXTINT = 1 << 4,    /* an ExtINT message came: APICv must pause */
};

/*
 * Registers whose meaning depends on the mode, as set by lapic_set_state: the mode may follow it.
 */
struct lapic_restored {
    bool valid; /* until the vCPU runs */
    uint32_t id, ldr;
    uint64_t icr;
    uint64_t deadline;
    uint32_t errors;
};

/* What is shared with the guest by its own wish, see apic/paravirt.h. */
struct lapic_paravirt {
    uint64_t pv_eoi; /* MSR_KVM_PV_EOI_EN */
    uint64_t vapic;  /* guest-physical address; 0: none */
    uint8_t vapic_tpr;
    bool pv_eoi_offered, vapic_published; /* since the last entry */
};

struct lapic {
    uint8_t *page;         /* the registers; the virtual-APIC page too, unless protected */
    uint8_t *virtual_page; /* the virtual-APIC page, where TPR, PPR, ISR and IRR are */
    struct pi_desc *pi;    /* 64-byte aligned */
    struct apic_vm *vm;
    uint32_t id;               /* x2APIC id = index of the vCPU in its VM */
    uint64_t base;             /* IA32_APIC_BASE as the guest reads it */
    int64_t tsc_offset;        /* guest TSC - host TSC; written by lapic_set_tsc_offset only */
    _Atomic uint32_t events;   /* enum lapic_event */
    _Atomic bool apicv_active; /* written by the owner in lapic_before_entry */

    /* Owned by apic/. */
    _Atomic uint32_t requests;        /* enum lapic_request */
    _Atomic uint32_t esr_pending;     /* errors detected since ESR was last written */
    _Atomic uint32_t extint;          /* enum lapic_extint */
    _Atomic uint64_t level_posted[4]; /* level-triggered vectors posted and not yet EOIed */
    _Atomic uint64_t eoi_exits[4];    /* the EOI-exit bitmap last published; posters look at it */
    struct lapic_timer timer;
    struct lapic_restored restored;
    struct lapic_paravirt paravirt;
    bool software_enabled;       /* SVR bit 8 as last handled */
    uint64_t old_route_exits[4]; /* part of eoi_exits that no route asks for any more */
    uint8_t lint0_accepted;      /* level-triggered vector of LINT0 without EOI; 0: none */
    bool status_stale;           /* vIRR or vISR changed: RVI and SVI must be published */
    uint8_t tpr_threshold;       /* as last published; 0xFF: unknown */

    /* Of a protected local APIC, apic/protected.h. */
    _Atomic uint64_t held_back[4]; /* level-triggered vectors that wait for the EOI-exit bitmap */
    bool confirmed_halt;           /* hardware found nothing deliverable in this HLT */
    uint16_t confirmed_status;     /* with that guest interrupt status */
};

/* What the next VM entry must carry, decided by lapic_before_entry. */
struct lapic_entry {
    int inject;            /* vector to inject as external interrupt, in service already; or -1 */
    bool interrupt_window; /* an interrupt waits that cannot be injected now: open the window */
};

/* What lapic_take_events found. */
struct lapic_events {
    bool init; /* reset as INIT does, then wait for SIPI (boot CPU: start at the reset vector) */
    int sipi;  /* -1, or the start-up vector: only for one that waits, or that INIT makes wait */
};

/*
 * Life. page is a zeroed 4 KiB page, pi a zeroed descriptor; the vCPU is not running. virtual_page is
 * the same page, or for a protected local APIC one of its own. The local APIC comes out of power-up
 * reset in xAPIC mode (a protected one in x2APIC mode), BSP flag set for id 0.
 */
void lapic_init(struct lapic *lapic, struct apic_vm *vm, uint32_t id, void *page,
                void *virtual_page, struct pi_desc *pi);

/*
 * Power-up reset (init = false) or INIT (true: id, base and x2APIC mode are kept). Owner, root
 * mode.
 */
void lapic_reset(struct lapic *lapic, bool init);

enum lapic_mode lapic_mode(const struct lapic *lapic);
static inline bool lapic_apicv_active(const struct lapic *lapic)
{
    return atomic_load_explicit(&lapic->apicv_active, memory_order_relaxed);
}

/* Is its virtual-APIC page off limits (docs/interrupts.md, "Protected local APICs")? Any CPU. */
static inline bool lapic_is_protected(const struct lapic *lapic)
{
    return lapic->vm->features.protected;
}

/* Guest accesses. All: owner, root mode, VMCS current. */

/*
 * WRMSR IA32_APIC_BASE; ERR_GP for reserved bits and illegal transitions (SDM, "x2APIC State
 * Transitions"), and for any change of a protected local APIC's.
 */
int lapic_write_base(struct lapic *lapic, uint64_t value);
uint64_t lapic_read_base(const struct lapic *lapic);

/* RDMSR/WRMSR of 800H-8FFH and IA32_TSC_DEADLINE (6E0H); ERR_GP as the SDM says. */
int lapic_read_msr(struct lapic *lapic, uint32_t msr, uint64_t *value);
int lapic_write_msr(struct lapic *lapic, uint32_t msr, uint64_t value);

/*
 * For the MSR bitmap while "virtualize x2APIC mode" is in use, the guest being in x2APIC mode: bit n of
 * 0-63 says that the CPU may read (write) MSR 800H + n itself. The others and those above must exit,
 * because hardware would not raise the #GP due, would read a stale value, or does not virtualize it.
 * The answer holds until the next apic_port_refresh_controls. Owner.
 */
uint64_t lapic_direct_reads(const struct lapic *lapic);
uint64_t lapic_direct_writes(const struct lapic *lapic);

/* Access to the 4 KiB xAPIC window; offset 0..0xFFF, size 1, 2, 4 or 8. Only in xAPIC mode. */
uint64_t lapic_mmio_read(struct lapic *lapic, uint32_t offset, unsigned size);
void lapic_mmio_write(struct lapic *lapic, uint32_t offset, unsigned size, uint64_t value);

/*
 * Exit reason 56, APIC write: hardware has stored the value in the virtual-APIC page at offset
 * already.
 */
void lapic_apic_write(struct lapic *lapic, uint32_t offset);

/* Exit reason 45, virtualized EOI of vector: hardware has updated vISR, SVI and vPPR already. */
void lapic_eoi_induced(struct lapic *lapic, uint8_t vector);

/* Exit reason 43, TPR below threshold. */
void lapic_tpr_below_threshold(struct lapic *lapic);

/* MOV to/from CR8 when the TPR shadow is off; value 0..15 (the caller has checked). */
void lapic_write_cr8(struct lapic *lapic, uint8_t value);
uint8_t lapic_read_cr8(const struct lapic *lapic);

/* Timer. */

/* The guest's TSC moved against the host's: deadlines move with it. Owner. */
void lapic_set_tsc_offset(struct lapic *lapic, int64_t offset);

/* Host TSC at which the timer fires next; UINT64_MAX when it is not armed. Owner. */
uint64_t lapic_timer_deadline(const struct lapic *lapic);

/* Fire the timer when it is due at host TSC now; periodic: re-arm without drift. Owner. */
void lapic_timer_poll(struct lapic *lapic, uint64_t now);

/* Around VM entry. Owner, interrupts off, VMCS current. */

/*
 * Apply a pending APICv change, move PIR into vIRR, and with APICv active publish RVI, else choose
 * the interrupt to inject. can_inject: RFLAGS.IF set, no STI/MOV-SS shadow, and the entry carries
 * no other event. A chosen vector is moved from vIRR to vISR here.
 */
struct lapic_entry lapic_before_entry(struct lapic *lapic, bool can_inject);

/*
 * After every exit, before anything else looks at this local APIC: take over what the guest did by
 * way of shared memory (apic/paravirt.h).
 */
void lapic_after_exit_slow(struct lapic *lapic);
static inline void lapic_after_exit(struct lapic *lapic)
{
    if (lapic->paravirt.pv_eoi_offered || lapic->paravirt.vapic_published) {
        lapic_after_exit_slow(lapic);
    }
}

/*
 * Blocked vCPUs. lapic_has_interrupt: is an interrupt deliverable by priority (vIRR or PIR above
 * vPPR), whatever IF says? Owner. Returns the vector or -1. lapic_has_extint: does the 8259 pair ask
 * for attention here? It has no priority, and a vector only when it is acknowledged. Any CPU.
 */
int lapic_has_interrupt(struct lapic *lapic);
bool lapic_has_extint(const struct lapic *lapic);

/*
 * A protected vCPU in HLT, RFLAGS.IF set. halt_begins: the guest has executed HLT. may_wake: an
 * interrupt may be deliverable; only hardware knows, in an entry with activity state HLT. confirm:
 * it stayed in HLT there until an external-interrupt exit, which virtual-interrupt delivery goes
 * before; so there is none until something is posted. Owner, VMCS current.
 */
void lapic_halt_begins(struct lapic *lapic);
bool lapic_may_wake(struct lapic *lapic);
void lapic_confirm_halt(struct lapic *lapic);

/* Must the owner pass through lapic_before_entry, although nothing is posted? Any CPU. */
static inline bool lapic_has_requests(const struct lapic *lapic)
{
    return atomic_load(&lapic->requests) != 0 || lapic_has_extint(lapic);
}

/*
 * Descriptor state for the scheduler. load: the vCPU is about to run on the CPU with that APIC id
 * (NV := notification vector, NDST := host_apic_id (shifted left by 8 when the host is in xAPIC
 * mode), SN clear). block: it is about to block (NV := wake-up vector);
 * returns false if ON turned out to be set: do not block. put: runnable but not running.
 */
void lapic_load(struct lapic *lapic, uint32_t host_apic_id, uint8_t notification_vector);
bool lapic_block(struct lapic *lapic, uint8_t wakeup_vector);
void lapic_put(struct lapic *lapic);

/* INIT and SIPI: take what is pending; SIPI is dropped unless wait_for_sipi. Owner. */
struct lapic_events lapic_take_events(struct lapic *lapic, bool wait_for_sipi);

/* Delivery, any CPU: see apic_vm_deliver in apic/vm.h. */

/*
 * Raise the interrupt of one local source (thermal, PMI, CMCI, LINT0, LINT1) as its LVT entry at
 * offset says; a masked entry drops it. Owner, root mode.
 */
void lapic_local_interrupt(struct lapic *lapic, uint32_t offset);

/*
 * Level of the LINT0 pin, to which a PC wires the 8259 pair. Any CPU; takes no lock of apic/. While
 * it is high and LVT0 is in ExtINT mode, or the local APIC is disabled by its base MSR, the owner
 * gets a vector by apic_port_acknowledge_extint as soon as the guest accepts interrupts. In other
 * modes a rise raises LVT0's interrupt, in fixed level-triggered mode the level does.
 */
void lapic_set_lint0(struct lapic *lapic, bool level);

/*
 * Does LINT0 ask for what may not wait for RFLAGS.IF, an NMI or INIT? Any CPU. Before it decides whether
 * HLT goes on, the owner raises what LINT0 asks for, in root mode.
 */
static inline bool lapic_lint0_asks(const struct lapic *lapic)
{
    return (atomic_load(&lapic->requests) & LAPIC_REQUEST_LINT0) != 0;
}
void lapic_raise_lint0(struct lapic *lapic);

/*
 * The state in which a PC's firmware leaves the boot processor: enabled, LINT0 ExtINT, LINT1 NMI
 * (MultiProcessor Specification, "Virtual Wire Mode"). Owner, after reset.
 */
void lapic_set_virtual_wire(struct lapic *lapic);

/*
 * One message for this local APIC (destination already decided); whether it was accepted. Any CPU;
 * takes no lock of apic/.
 */
bool lapic_accept(struct lapic *lapic, const struct apic_message *message);
