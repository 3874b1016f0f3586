/* SPDX-License-Identifier: MIT */
/*
 * Hypercalls: KVM's numbers and convention (Linux, Documentation/virt/kvm/x86/hypercalls.rst), and
 * Rivet's own in a range that KVM does not use (docs/guests.md).
 */
#include "apic/paravirt.h"
#include "apic/regs.h"
#include "apic/vm.h"
#include "lib/error.h"
#include "vmx/decode.h"
#include "vmx/event.h"
#include "vmx/exits.h"
#include "vmx/guest_memory.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"

enum { KVM_HC_VAPIC_POLL_IRQ = 1, KVM_HC_SEND_IPI = 10 };
enum { RIVET_HC_SET_VAPIC = 0x52560001 }; /* "RV", 1 */
enum { KVM_EPERM = -1, KVM_EINVAL = -22, KVM_ENOSYS = -1000 };

/* Outside of 64-bit mode the guest has 32-bit registers; what is above is left over from before. */
static uint64_t width(void)
{
    return guest_code_mode() == DECODE_64 ? UINT64_MAX : UINT32_MAX;
}

static uint64_t argument(const struct vcpu *vcpu, unsigned reg)
{
    return vcpu->gpr[reg] & width();
}

/* Send the message to the APIC ids first + n for each bit n of bits. */
static int64_t send_to_bits(struct vcpu *vcpu, uint64_t bits, uint64_t first,
                            struct apic_message *message)
{
    int64_t delivered = 0;
    for (; bits != 0; bits &= bits - 1) {
        uint64_t id = first + (unsigned)__builtin_ctzll(bits);
        if (id >= vcpu->vm->vcpu_count) {
            continue; /* also keeps the broadcast id out */
        }
        message->destination = (uint32_t)id;
        delivered += apic_vm_deliver(&vcpu->vm->apic, message);
    }
    return delivered;
}

/*
 * RBX, RCX: bits 0-63 and 64-127; RDX: the APIC id of bit 0; RSI: ICR, fixed or NMI, its destination
 * fields 0. Returns how many got it.
 */
static int64_t send_ipi(struct vcpu *vcpu)
{
    uint64_t first = (uint32_t)vcpu->gpr[RDX];
    uint64_t icr = argument(vcpu, RSI);
    struct apic_message message = {
        .x2apic_format = true,
        .delivery_mode = (uint8_t)field_get(APIC_ICR_DELIVERY_MODE, icr),
        .vector = icr & APIC_ICR_VECTOR,
        .assert_level = true,
        .source = &vcpu->lapic,
    };
    bool known =
        message.delivery_mode == APIC_DELIVERY_FIXED || message.delivery_mode == APIC_DELIVERY_NMI;

    if (!known || (icr & (APIC_ICR_SHORTHAND | APIC_ICR_LOGICAL)) != 0) {
        return KVM_EINVAL;
    }
    return send_to_bits(vcpu, argument(vcpu, RBX), first, &message) +
           send_to_bits(vcpu, argument(vcpu, RCX), first + 64, &message);
}

/*
 * RBX: guest-physical address of this vCPU's vapic word, 4-byte aligned, 0: none. What is RAM now stays
 * RAM: a VM's memory map is made before it runs and never changes. The word is looked up at each use
 * all the same.
 */
static int64_t set_vapic(struct vcpu *vcpu)
{
    return lapic_set_vapic(&vcpu->lapic, argument(vcpu, RBX)) == RIVET_OK ? 0 : KVM_EINVAL;
}

static int64_t hypercall(struct vcpu *vcpu)
{
    if (guest_cpl() != 0) {
        return KVM_EPERM;
    }
    switch (argument(vcpu, RAX)) {
    case KVM_HC_VAPIC_POLL_IRQ:
        return 0; /* the exit itself has looked for interrupts */
    case KVM_HC_SEND_IPI:
        return send_ipi(vcpu);
    case RIVET_HC_SET_VAPIC:
        return set_vapic(vcpu);
    default:
        return KVM_ENOSYS;
    }
}

void exit_vmcall(struct vcpu *vcpu)
{
    vcpu->gpr[RAX] = (uint64_t)hypercall(vcpu) & width();
    event_instruction_done(vcpu);
}
