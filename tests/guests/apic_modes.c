/* SPDX-License-Identifier: MIT */
/*
 * IA32_APIC_BASE and the modes of the local APIC (SDM volume 3, "Local APIC Status and Location" and
 * "Extended XAPIC (x2APIC)"): which transitions there are, and what each keeps.
 */
#include "arch/cpuid.h"
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/guest.h"

enum { VECTOR = 0x51, VECTOR_SPURIOUS = 0xEF };
enum { X2APIC_MSR_FIRST = 0x800, X2APIC_MSR_LAST = 0x8FF };

static const uint64_t default_base = 0xFEE00000;

static uint64_t with_mode(uint64_t mode)
{
    return (rdmsr(IA32_APIC_BASE) & ~(APIC_BASE_EN | APIC_BASE_EXTD)) | mode;
}

static bool base_refuses(uint64_t value)
{
    uint64_t before = rdmsr(IA32_APIC_BASE);
    return !guest_try_wrmsr(IA32_APIC_BASE, value) && rdmsr(IA32_APIC_BASE) == before;
}

static bool cpuid_apic(void)
{
    return (cpuid_read(1, 0).edx & CPUID_1_EDX_APIC) != 0;
}

static void test_base(void)
{
    uint64_t base = rdmsr(IA32_APIC_BASE);
    report((base & APIC_BASE_ADDRESS) == default_base, "the base is FEE00000H");
    report((base & APIC_BASE_BSP) != 0, "BSP is set on the boot CPU");
    report((base & APIC_BASE_EN) != 0, "the local APIC is enabled");
    report((base & ~(APIC_BASE_ADDRESS | APIC_BASE_EN | APIC_BASE_EXTD | APIC_BASE_BSP)) == 0,
           "reserved bits read 0");
    bool refused = true;
    for (unsigned bit = 0; bit < 8; bit++) {
        refused = base_refuses(base | BIT(bit)) && refused;
    }
    report(refused, "bits 7:0 are reserved");
    report(base_refuses(base | BIT(9)), "bit 9 is reserved");
    unsigned width = cpuid_read(0x80000008, 0).eax & 0xFF;
    refused = true;
    for (unsigned bit = width; bit < 64; bit++) {
        refused = base_refuses(base | BIT(bit)) && refused;
    }
    report(refused, "bits above the physical-address width are reserved");
}

static unsigned count_x2apic_msrs(void)
{
    unsigned works = 0;
    uint64_t value;
    for (uint32_t msr = X2APIC_MSR_FIRST; msr <= X2APIC_MSR_LAST; msr++) {
        works += guest_try_rdmsr(msr, &value);
        works += guest_try_wrmsr(msr, 0);
    }
    return works;
}

/* From xAPIC mode. */
static void test_xapic(void)
{
    report(base_refuses(with_mode(APIC_BASE_EXTD)), "xAPIC: EXTD without EN is #GP");
    report(count_x2apic_msrs() == 0, "xAPIC: MSRs 800H-8FFH are #GP");
    report(cpuid_apic(), "xAPIC: CPUID shows the local APIC");
    report(guest_try_wrmsr(IA32_APIC_BASE, rdmsr(IA32_APIC_BASE)), "xAPIC to xAPIC is no fault");
}

static void report_reset_state(const char *way)
{
    bool lvts = true;
    for (unsigned reg = APIC_LVT_TIMER; reg <= APIC_LVT_ERROR; reg += 0x10) {
        lvts = apic_read(reg) == LVT_MASKED && lvts;
    }
    bool vectors = true;
    for (unsigned i = 0; i < 8; i++) {
        vectors = (apic_read(APIC_ISR + i * 16) | apic_read(APIC_TMR + i * 16) |
                   apic_read(APIC_IRR + i * 16)) == 0 &&
                  vectors;
    }
    report(apic_read(APIC_SVR) == SVR_RESET, "%s: SVR is FFH", way);
    report(apic_read(APIC_TPR) == 0 && apic_read(APIC_PPR) == 0, "%s: TPR and PPR are 0", way);
    report(lvts, "%s: the LVT entries are 10000H", way);
    report(vectors, "%s: IRR, ISR and TMR are 0", way);
    report(apic_read(APIC_INITIAL_COUNT) == 0 && apic_read(APIC_CURRENT_COUNT) == 0,
           "%s: the timer's counts are 0", way);
    report(apic_read(APIC_DIVIDE) == 0, "%s: the divide configuration is 0", way);
    report(apic_read(APIC_ICR) == 0, "%s: ICR is 0", way);
    if (!apic_is_x2apic()) {
        report(apic_read(APIC_LDR) == 0, "%s: LDR is 0", way);
        report(apic_read(APIC_DFR) == 0xFFFFFFFF, "%s: DFR is FFFFFFFFH", way);
        report(apic_read(APIC_ICR_HIGH) == 0, "%s: ICR bits 63:32 are 0", way);
    }
}

/* Something other than the reset value everywhere, one interrupt pending and one in service. */
static void make_dirty(void)
{
    arrivals_clear();
    arrivals_record_in_service(VECTOR);
    apic_enable(VECTOR_SPURIOUS);
    apic_write(APIC_LVT_TIMER, LVT_MASKED | VECTOR);
    apic_write(APIC_LVT_LINT1, LVT_MASKED | VECTOR);
    apic_write(APIC_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_INITIAL_COUNT, 0x7FFFFFFF);
    if (!apic_is_x2apic()) {
        apic_write(APIC_LDR, 0x01000000);
        apic_write(APIC_DFR, 0x0FFFFFFF);
    }
    apic_self_ipi(VECTOR);
    guest_take_interrupts();
    apic_self_ipi(VECTOR);
    apic_write(APIC_TPR, 0x30);
    report(arrivals(VECTOR) == 1 && apic_vector_bit(APIC_ISR, VECTOR) &&
               apic_vector_bit(APIC_IRR, VECTOR),
           "one interrupt is in service, one pending");
}

static void test_disable(void)
{
    uint32_t id = apic_id();
    make_dirty();
    report(guest_try_wrmsr(IA32_APIC_BASE, with_mode(0)), "xAPIC to disabled");
    report(!cpuid_apic(), "disabled: CPUID does not show the local APIC");
    report(count_x2apic_msrs() == 0, "disabled: MSRs 800H-8FFH are #GP");
    report(base_refuses(with_mode(APIC_BASE_EXTD)), "disabled: EXTD without EN is #GP");
    report(base_refuses(with_mode(APIC_BASE_EXTD | APIC_BASE_EN)), "disabled to x2APIC is #GP");
    report(guest_try_wrmsr(IA32_APIC_BASE, with_mode(0)), "disabled to disabled is no fault");
    guest_take_interrupts();
    report(arrivals(VECTOR) == 1, "disabled: what was pending is not delivered");
    report(guest_try_wrmsr(IA32_APIC_BASE, with_mode(APIC_BASE_EN)), "disabled to xAPIC");
    report(cpuid_apic(), "enabled again: CPUID shows the local APIC");
    report_reset_state("enabled again");
    report(apic_id() == id, "enabled again: the id is the same");
    guest_take_interrupts();
    report(arrivals(VECTOR) == 1, "enabled again: what was pending is forgotten");
}

/* SDM, "x2APIC State Transitions": "x2APIC After xAPIC". */
static void test_xapic_to_x2apic(void)
{
    uint32_t id = apic_id();
    make_dirty();
    uint32_t svr = apic_read(APIC_SVR);
    apic_write(APIC_ICR_HIGH, 0x55000000);
    report(guest_try_wrmsr(IA32_APIC_BASE, with_mode(APIC_BASE_EN | APIC_BASE_EXTD)),
           "xAPIC to x2APIC");
    report(cpuid_apic(), "x2APIC: CPUID shows the local APIC");
    report(apic_read(APIC_SVR) == svr && apic_read(APIC_TPR) == 0x30, "SVR and TPR are kept");
    report(apic_read(APIC_LVT_LINT1) == (LVT_MASKED | VECTOR), "the LVT is kept");
    report(apic_vector_bit(APIC_ISR, VECTOR) && apic_vector_bit(APIC_IRR, VECTOR),
           "IRR and ISR are kept");
    report(apic_read(APIC_PPR) == (VECTOR & 0xF0), "PPR is that of the interrupt in service");
    report(apic_id() == id, "the x2APIC id is the xAPIC id");
    report(apic_read(APIC_LDR) == ((id & 0xFFFF0) << 12 | BIT32(id & 0xF)), "LDR follows the id");
    arrivals_record(VECTOR);
    apic_write(APIC_TPR, 0);
    apic_eoi();
    guest_take_interrupts();
    report(arrivals(VECTOR) == 2, "the pending interrupt is delivered after EOI");
}

/* From x2APIC mode; ends in xAPIC mode. */
static void test_leave_x2apic(void)
{
    report(base_refuses(with_mode(APIC_BASE_EN)), "x2APIC to xAPIC is #GP");
    report(base_refuses(with_mode(APIC_BASE_EXTD)), "x2APIC: EXTD without EN is #GP");
    report(guest_try_wrmsr(IA32_APIC_BASE, rdmsr(IA32_APIC_BASE)), "x2APIC to x2APIC is no fault");
    make_dirty();
    report(guest_try_wrmsr(IA32_APIC_BASE, with_mode(0)), "x2APIC to disabled");
    report(!cpuid_apic(), "disabled: CPUID does not show the local APIC");
    report(count_x2apic_msrs() == 0, "disabled: MSRs 800H-8FFH are #GP");
    report(guest_try_wrmsr(IA32_APIC_BASE, with_mode(APIC_BASE_EN)), "disabled to xAPIC");
    report_reset_state("from x2APIC");
    wrmsr(IA32_APIC_BASE, with_mode(APIC_BASE_EN | APIC_BASE_EXTD));
    report_reset_state("again in x2APIC");
    apic_reset_to_xapic();
}

static void test_x2apic(void)
{
    if (!apic_has_x2apic()) {
        report_skip("no x2APIC mode");
        return;
    }
    test_xapic_to_x2apic();
    test_leave_x2apic();
}

/* "Relocating the Local APIC Registers": the window moves to any page. */
static void test_relocation(void)
{
    const uintptr_t moved = 0xFEF00000;
    uint64_t base = rdmsr(IA32_APIC_BASE);
    uint32_t version = apic_read(APIC_VERSION);
    arrivals_clear();
    arrivals_record(VECTOR);
    apic_enable(VECTOR_SPURIOUS);
    apic_write(APIC_TPR, 0x20);
    wrmsr(IA32_APIC_BASE, moved | (base & 0xFFF));
    report(rdmsr(IA32_APIC_BASE) == (moved | (base & 0xFFF)), "the new base reads back");
    report(apic_read(APIC_VERSION) == version, "the registers are at the new base");
    report(apic_read(APIC_TPR) == 0x20, "with the values they had");
    apic_self_ipi(VECTOR);
    guest_take_interrupts();
    report(arrivals(VECTOR) == 1 && !apic_vector_bit(APIC_ISR, VECTOR),
           "a self-IPI and its EOI work there");
    wrmsr(IA32_APIC_BASE, base);
    report(apic_read(APIC_TPR) == 0x20, "moved back the registers still have their values");
    apic_self_ipi(VECTOR);
    guest_take_interrupts();
    report(arrivals(VECTOR) == 2, "and interrupts arrive");
}

/* The window hides what memory there is at its address, and leaves it as it is. */
static void test_relocation_over_memory(void)
{
    static _Alignas(4096) uint8_t memory[4096];
    uint64_t base = rdmsr(IA32_APIC_BASE);
    uint32_t version = apic_read(APIC_VERSION);
    memset(memory, 0x5A, sizeof(memory));
    arrivals_clear();
    arrivals_record(VECTOR);
    apic_enable(VECTOR_SPURIOUS);
    wrmsr(IA32_APIC_BASE, (uintptr_t)memory | (base & 0xFFF));
    report(apic_read(APIC_VERSION) == version, "over memory: the registers are there");
    apic_write(APIC_TPR, 0x20);
    report(apic_read(APIC_TPR) == 0x20, "over memory: they can be written");
    apic_self_ipi(VECTOR);
    guest_take_interrupts();
    report(arrivals(VECTOR) == 1 && !apic_vector_bit(APIC_ISR, VECTOR),
           "over memory: a self-IPI and its EOI work");
    wrmsr(IA32_APIC_BASE, (uintptr_t)memory | (base & 0xFFF & ~(uint64_t)APIC_BASE_EN));
    report(memory[APIC_VERSION] == 0x5A, "disabled: the memory is there");
    wrmsr(IA32_APIC_BASE, base);
    bool same = true;
    for (unsigned i = 0; i < sizeof(memory); i++) {
        same = ((volatile uint8_t *)memory)[i] == 0x5A && same;
    }
    report(same, "moved back: the memory is unchanged");
    apic_enable(VECTOR_SPURIOUS);
    apic_self_ipi(VECTOR);
    guest_take_interrupts();
    report(arrivals(VECTOR) == 2, "moved back: interrupts arrive");
}

void guest_main(void)
{
    static const struct guest_test tests[] = {
        { "base", test_base },
        { "xapic", test_xapic },
        { "disable", test_disable },
        { "x2apic", test_x2apic },
        { "relocation", test_relocation },
        { "relocation over memory", test_relocation_over_memory },
    };
    guest_run_tests(tests, ARRAY_SIZE(tests));
}
