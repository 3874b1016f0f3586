/* SPDX-License-Identifier: MIT */
/*
 * Interrupts that a CPU sends to itself: routes, destinations, priorities, order (SDM volume 3,
 * "Issuing Interprocessor Interrupts", "Handling Interrupts", "Task Priority in IA-32e Mode").
 *
 * guest: protected='test=x2apic'
 */
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/guest.h"

enum { VECTOR = 0x51, VECTOR_SAME_CLASS = 0x5E, VECTOR_HIGHER = 0x61, VECTOR_LOWER = 0x41 };
enum { VECTOR_NMI = 2, VECTOR_LOWEST = 0x1F, VECTOR_SPURIOUS = 0xEF };

static const char *mode;

static void reset_arrivals(void)
{
    arrivals_clear();
    arrivals_record(VECTOR);
    arrivals_record(VECTOR_SAME_CLASS);
    arrivals_record(VECTOR_HIGHER);
    arrivals_record(VECTOR_LOWER);
    arrivals_record(VECTOR_LOWEST);
    arrivals_record(VECTOR_NMI);
    apic_enable(VECTOR_SPURIOUS);
}

/* How many arrive when this command is sent. */
static unsigned send(uint32_t destination, uint32_t command)
{
    reset_arrivals();
    apic_send_ipi(destination, command | ICR_ASSERT | VECTOR);
    guest_take_interrupts();
    return arrivals_total();
}

static void test_physical(void)
{
    uint32_t broadcast = apic_is_x2apic() ? 0xFFFFFFFF : 0xFF;
    report(send(apic_id(), 0) == 1, "%s: physical, to the own id", mode);
    report(send(apic_id() + 64, 0) == 0, "%s: physical, to an id that nobody has", mode);
    report(send(broadcast, 0) == 1, "%s: physical broadcast", mode);
    report(send(apic_id() + 64, ICR_SELF) == 1, "%s: self, whatever the destination", mode);
    report(send(apic_id() + 64, ICR_ALL) == 1, "%s: all including self", mode);
    report(send(apic_id(), ICR_OTHERS) == 0, "%s: all excluding self", mode);
    report(send(apic_id(), ICR_NMI) == 1 && arrivals(VECTOR_NMI) == 1, "%s: NMI, physical", mode);
    report(send(0, ICR_OTHERS | ICR_NMI) == 0, "%s: NMI to all excluding self", mode);
    if (apic_is_x2apic()) {
        reset_arrivals();
        apic_write(APIC_SELF_IPI, VECTOR);
        guest_take_interrupts();
        report(ARRIVALS_WERE(VECTOR), "%s: self-IPI register", mode);
    }
}

static void test_flat(void)
{
    apic_write(APIC_DFR, 0xFFFFFFFF);
    apic_write(APIC_LDR, 0x14000000);
    report(send(0x04, ICR_LOGICAL) == 1, "flat: one bit of LDR");
    report(send(0x10, ICR_LOGICAL) == 1, "flat: the other bit of LDR");
    report(send(0xF4, ICR_LOGICAL) == 1, "flat: among other bits");
    report(send(0xEB, ICR_LOGICAL) == 0, "flat: no bit of LDR");
    report(send(0xFF, ICR_LOGICAL) == 1, "flat: broadcast");
    report(send(0x04, ICR_LOGICAL | ICR_LOWEST_PRIORITY) == 1, "flat: lowest priority");
    apic_write(APIC_LDR, 0);
    report(send(0x04, ICR_LOGICAL) == 0, "flat: LDR 0 matches nothing");
}

static void test_cluster(void)
{
    apic_write(APIC_DFR, 0x0FFFFFFF);
    apic_write(APIC_LDR, 0x32000000);
    report(send(0x32, ICR_LOGICAL) == 1, "cluster: cluster and member");
    report(send(0x33, ICR_LOGICAL) == 1, "cluster: one of two members");
    report(send(0x31, ICR_LOGICAL) == 0, "cluster: another member");
    report(send(0x22, ICR_LOGICAL) == 0, "cluster: the same member of another cluster");
    report(send(0xFF, ICR_LOGICAL) == 1, "cluster: broadcast");
    report(send(0x32, ICR_LOGICAL | ICR_LOWEST_PRIORITY) == 1, "cluster: lowest priority");
    apic_write(APIC_LDR, 0);
    apic_write(APIC_DFR, 0xFFFFFFFF);
}

static void test_x2apic_cluster(void)
{
    uint32_t ldr = apic_read(APIC_LDR);
    report(send(ldr, ICR_LOGICAL) == 1, "x2APIC cluster: the own LDR");
    report(send(ldr | 0x8001, ICR_LOGICAL) == 1, "x2APIC cluster: among other members");
    report(send((ldr & 0xFFFF0000) | (~ldr & 0xFFFF), ICR_LOGICAL) == 0,
           "x2APIC cluster: all other members");
    report(send(ldr + 0x10000, ICR_LOGICAL) == 0, "x2APIC cluster: another cluster");
    report(send(0xFFFFFFFF, ICR_LOGICAL) == 1, "x2APIC cluster: broadcast");
    report(send(ldr, ICR_LOGICAL | ICR_LOWEST_PRIORITY) == 1, "x2APIC cluster: lowest priority");
    uint64_t command = (uint64_t)ldr << 32 | ICR_LOGICAL | ICR_ASSERT | VECTOR;
    wrmsr(IA32_X2APIC_ICR, command);
    report(rdmsr(IA32_X2APIC_ICR) == command, "x2APIC: ICR reads back, all 64 bits");
    guest_take_interrupts();
}

static void test_icr_xapic(void)
{
    reset_arrivals();
    apic_write(APIC_ICR_HIGH, 0x5A000000);
    apic_write(APIC_ICR, ICR_SELF | ICR_ASSERT | VECTOR);
    report(apic_read(APIC_ICR_HIGH) == 0x5A000000, "xAPIC: ICR high reads back");
    report(apic_read(APIC_ICR) == (ICR_SELF | ICR_ASSERT | VECTOR), "xAPIC: ICR low reads back");
    apic_write(APIC_ICR_HIGH, 0x33000000);
    guest_take_interrupts();
    report(ARRIVALS_WERE(VECTOR), "xAPIC: a write of ICR high sends nothing");
}

static void test_all_vectors(void)
{
    reset_arrivals();
    for (unsigned vector = 32; vector < 256; vector++) {
        arrivals_record((uint8_t)vector);
    }
    bool each = true;
    for (unsigned vector = 32; vector < 256; vector++) {
        apic_self_ipi((uint8_t)vector);
        guest_take_interrupts();
        each = arrivals((uint8_t)vector) == 1 && each;
    }
    report(each && arrivals_total() == 224, "%s: each vector from 32 to 255 arrives", mode);
    arrivals_clear();
    for (unsigned vector = 32; vector < 256; vector += 5) {
        apic_self_ipi((uint8_t)vector);
    }
    guest_take_interrupts();
    while (apic_read(APIC_IRR + 0x10) != 0) {
        guest_take_interrupts();
    }
    report(arrivals_total() == 45, "%s: many pending at once all arrive", mode);
    report(send(0, ICR_SELF) == 1, "%s: and then the next one", mode);
    apic_self_ipi(VECTOR_LOWEST);
    guest_take_interrupts();
    report(arrivals(VECTOR_LOWEST) == 1, "%s: vector 31 is legal", mode);
}

static void test_pending(void)
{
    reset_arrivals();
    apic_self_ipi(VECTOR);
    apic_self_ipi(VECTOR);
    report(apic_vector_bit(APIC_IRR, VECTOR) && !apic_vector_bit(APIC_ISR, VECTOR),
           "%s: a pending vector is in IRR, not in ISR", mode);
    guest_take_interrupts();
    report(ARRIVALS_WERE(VECTOR), "%s: sent twice while pending it arrives once", mode);
    report(!apic_vector_bit(APIC_IRR, VECTOR) && !apic_vector_bit(APIC_ISR, VECTOR),
           "%s: after EOI it is in neither", mode);
    arrivals_record_in_service(VECTOR);
    apic_self_ipi(VECTOR);
    guest_take_interrupts();
    apic_self_ipi(VECTOR);
    report(apic_vector_bit(APIC_IRR, VECTOR) && apic_vector_bit(APIC_ISR, VECTOR),
           "%s: one may be in service and one pending", mode);
    arrivals_record(VECTOR);
    apic_eoi();
    guest_take_interrupts();
    report(arrivals(VECTOR) == 3, "%s: and both are handled", mode);
    apic_eoi();
    guest_take_interrupts();
    report(arrivals(VECTOR) == 3, "%s: EOI with nothing in service does nothing", mode);
}

static void test_order(void)
{
    reset_arrivals();
    apic_self_ipi(VECTOR_LOWER);
    apic_self_ipi(VECTOR);
    apic_self_ipi(VECTOR_HIGHER);
    apic_self_ipi(VECTOR_SAME_CLASS);
    guest_take_interrupts();
    guest_take_interrupts();
    report(ARRIVALS_WERE(VECTOR_HIGHER, VECTOR_SAME_CLASS, VECTOR, VECTOR_LOWER),
           "%s: pending vectors arrive from the highest to the lowest", mode);
}

static void test_ppr(void)
{
    reset_arrivals();
    apic_write(APIC_TPR, 0x35);
    report(apic_read(APIC_PPR) == 0x35, "%s: with nothing in service PPR is TPR", mode);
    arrivals_record_in_service(VECTOR);
    apic_self_ipi(VECTOR);
    guest_take_interrupts();
    report(apic_read(APIC_PPR) == 0x50, "%s: PPR is the class in service above TPR", mode);
    apic_write(APIC_TPR, 0x72);
    report(apic_read(APIC_PPR) == 0x72, "%s: PPR is TPR above the class in service", mode);
    apic_write(APIC_TPR, 0);
    report(apic_read(APIC_PPR) == 0x50, "%s: PPR falls with TPR", mode);
    apic_eoi();
    report(apic_read(APIC_PPR) == 0, "%s: PPR falls with EOI", mode);
}

static void test_tpr(void)
{
    reset_arrivals();
    apic_write(APIC_TPR, VECTOR & 0xF0);
    apic_self_ipi(VECTOR_SAME_CLASS);
    apic_self_ipi(VECTOR_LOWER);
    guest_take_interrupts();
    report(arrivals_total() == 0, "%s: TPR holds back its own class and those below", mode);
    apic_self_ipi(VECTOR_HIGHER);
    guest_take_interrupts();
    report(ARRIVALS_WERE(VECTOR_HIGHER), "%s: but no class above", mode);
    guest_sti();
    apic_write(APIC_TPR, 0x4F);
    guest_cli();
    report(ARRIVALS_WERE(VECTOR_HIGHER, VECTOR_SAME_CLASS),
           "%s: lowering TPR delivers what is above it now", mode);
    guest_sti();
    write_cr8(3);
    __asm__ volatile("nop");
    guest_cli();
    report(arrivals(VECTOR_LOWER) == 1, "%s: so does lowering CR8", mode);
}

static void test_cr8(void)
{
    reset_arrivals();
    apic_write(APIC_TPR, 0xA7);
    report(read_cr8() == 0xA, "%s: CR8 is TPR bits 7:4", mode);
    write_cr8(0x6);
    report(apic_read(APIC_TPR) == 0x60, "%s: writing CR8 sets TPR bits 7:4 and clears 3:0", mode);
    uint64_t value = 0x10;
    report(FAULT_OF("movq %0, %%cr8",
                    :
                    : "r"(value)) == EXCEPTION_GP,
           "%s: bits above 3 of CR8 are reserved", mode);
    value = 1ULL << 32;
    report(FAULT_OF("movq %0, %%cr8",
                    :
                    : "r"(value)) == EXCEPTION_GP,
           "%s: bits above 31 too", mode);
    report(apic_read(APIC_TPR) == 0x60, "%s: a refused write changes nothing", mode);
    bool all = true;
    for (uint64_t class = 0; class < 16; class ++) {
        write_cr8(class);
        all = read_cr8() == class && apic_read(APIC_TPR) == class << 4 && all;
    }
    report(all, "%s: CR8 holds 0 to 15", mode);
    write_cr8(0);
}

static volatile bool nested_early;

/* Sends one of each kind while VECTOR is in service, with interrupts on. */
static void handle_nesting(struct interrupt_frame *frame)
{
    arrivals_note((uint8_t)frame->vector);
    apic_self_ipi(VECTOR_LOWER);
    apic_self_ipi(VECTOR_SAME_CLASS);
    guest_take_interrupts();
    nested_early = arrivals_total() != 1;
    apic_self_ipi(VECTOR_HIGHER);
    guest_take_interrupts();
    apic_eoi();
}

static void test_nesting(void)
{
    reset_arrivals();
    interrupt_set_handler(VECTOR, handle_nesting);
    apic_self_ipi(VECTOR);
    guest_take_interrupts();
    guest_take_interrupts();
    report(!nested_early, "%s: no nesting of the same class and those below", mode);
    report(ARRIVALS_WERE(VECTOR, VECTOR_HIGHER, VECTOR_SAME_CLASS, VECTOR_LOWER),
           "%s: a higher class nests, the others follow by priority", mode);
}

static void test_eoi_order(void)
{
    reset_arrivals();
    arrivals_record_in_service(VECTOR_LOWER);
    arrivals_record_in_service(VECTOR);
    arrivals_record_in_service(VECTOR_HIGHER);
    static const uint8_t vectors[] = { VECTOR_LOWER, VECTOR, VECTOR_HIGHER };
    for (unsigned i = 0; i < ARRAY_SIZE(vectors); i++) {
        apic_self_ipi(vectors[i]);
        guest_take_interrupts();
    }
    report(ARRIVALS_WERE(VECTOR_LOWER, VECTOR, VECTOR_HIGHER), "%s: three are in service", mode);
    apic_eoi();
    report(!apic_vector_bit(APIC_ISR, VECTOR_HIGHER) && apic_vector_bit(APIC_ISR, VECTOR) &&
               apic_vector_bit(APIC_ISR, VECTOR_LOWER),
           "%s: EOI ends the highest one", mode);
    apic_eoi();
    report(!apic_vector_bit(APIC_ISR, VECTOR) && apic_vector_bit(APIC_ISR, VECTOR_LOWER),
           "%s: the next EOI the one below", mode);
    report(apic_read(APIC_PPR) == (VECTOR_LOWER & 0xF0), "%s: PPR follows", mode);
    apic_eoi();
    report(!apic_vector_bit(APIC_ISR, VECTOR_LOWER), "%s: and the last EOI the last one", mode);
}

static void run_all(const char *name)
{
    mode = name;
    test_physical();
    test_all_vectors();
    test_pending();
    test_order();
    test_ppr();
    test_tpr();
    test_cr8();
    test_nesting();
    test_eoi_order();
    if (apic_is_x2apic()) {
        test_x2apic_cluster();
    } else {
        test_icr_xapic();
        test_flat();
        test_cluster();
    }
}

void guest_main(void)
{
    apic_run_both_modes(run_all);
}
