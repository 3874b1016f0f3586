/* SPDX-License-Identifier: MIT */
/*
 * The registers of the local APIC in both modes: what can be read and written, and which bits (SDM
 * volume 3, "Local APIC Register Address Map", "x2APIC Register Address Space", "Reserved Bit
 * Checking", "Local APIC State After It Has Been Software Disabled").
 *
 * guest: protected='test=version,x2apic,x2apic-software-disable'
 */
#include "arch/cpuid.h"
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/guest.h"

enum { VECTOR = 0x51, VECTOR_SPURIOUS = 0xEF, X2APIC_MSR = 0x800 };
enum { VERSION_EOI_SUPPRESSION = 1 << 24, SVR_EOI_SUPPRESSION = 1 << 12 };
enum { MCG_CMCI_P = 1 << 10 };

static bool has_cmci(void)
{
    uint64_t mcg_cap = 0;
    return (cpuid_read(1, 0).edx & CPUID_1_EDX_MCA) != 0 &&
           guest_try_rdmsr(IA32_MCG_CAP, &mcg_cap) && (mcg_cap & MCG_CMCI_P) != 0;
}

static void test_version(void)
{
    uint32_t version = apic_read(APIC_VERSION);
    unsigned max_lvt = version >> 16 & 0xFF;
    report((version & 0xFF) >= 0x10 && (version & 0xFF) <= 0x15,
           "the version is that of an integrated APIC");
    report(max_lvt == (has_cmci() ? 6 : 5), "the maximum LVT entry counts CMCI if it exists");
    report((version & 0xFE00FF00) == 0, "reserved bits of the version register are 0");
}

/* Writes of all ones and of zeros; whether what can be read back is just these bits. */
static bool writable_bits_are(unsigned reg, uint32_t bits, uint32_t fixed_ones)
{
    uint32_t before = apic_read(reg);
    apic_write(reg, bits | fixed_ones);
    bool ones = apic_read(reg) == (bits | fixed_ones);
    apic_write(reg, fixed_ones);
    bool zeros = apic_read(reg) == fixed_ones;
    apic_write(reg, before);
    return ones && zeros;
}

static bool write_is_ignored(unsigned reg)
{
    uint32_t before = apic_read(reg);
    apic_write(reg, ~before);
    return apic_read(reg) == before;
}

static void report_common_bits(const char *mode)
{
    apic_enable(VECTOR_SPURIOUS);
    report(writable_bits_are(APIC_TPR, 0xFF, 0), "%s: TPR has bits 7:0", mode);
    report(writable_bits_are(APIC_DIVIDE, 0xB, 0), "%s: divide has bits 3, 1 and 0", mode);
    report(writable_bits_are(APIC_LVT_TIMER, 0x300FF, 0), "%s: LVT timer", mode);
    report(writable_bits_are(APIC_LVT_THERMAL, 0x107FF, 0), "%s: LVT thermal", mode);
    report(writable_bits_are(APIC_LVT_PMI, 0x107FF, 0), "%s: LVT performance counters", mode);
    apic_write(APIC_LVT_ERROR, LVT_MASKED);
    report(writable_bits_are(APIC_LVT_ERROR, 0x100FF, 0), "%s: LVT error", mode);
    /* LINT0 may carry the 8259s: masked throughout, and the line of LINT1 is quiet. */
    apic_write(APIC_LVT_LINT0, LVT_MASKED);
    report(writable_bits_are(APIC_LVT_LINT0, 0x0A7FF, LVT_MASKED), "%s: LVT LINT0", mode);
    report(writable_bits_are(APIC_LVT_LINT1, 0x0A7FF, LVT_MASKED), "%s: LVT LINT1", mode);
    uint32_t svr = SVR_ENABLED;
    if ((apic_read(APIC_VERSION) & VERSION_EOI_SUPPRESSION) != 0) {
        svr |= SVR_EOI_SUPPRESSION;
    }
    report(writable_bits_are(APIC_SVR, svr | 0xFF, 0),
           "%s: SVR has vector, enable, and EOI suppression if the version says so", mode);
}

static void test_xapic(void)
{
    report_common_bits("xAPIC");
    report(writable_bits_are(APIC_LDR, 0xFF000000, 0), "xAPIC: LDR has bits 31:24");
    report(writable_bits_are(APIC_DFR, 0xF0000000, 0x0FFFFFFF),
           "xAPIC: DFR has bits 31:28, the others are 1");
    report(writable_bits_are(APIC_ICR_HIGH, 0xFF000000, 0), "xAPIC: ICR high has bits 31:24");
    report(write_is_ignored(APIC_VERSION), "xAPIC: the version cannot be written");
    report(write_is_ignored(APIC_PPR), "xAPIC: PPR cannot be written");
    report(write_is_ignored(APIC_CURRENT_COUNT), "xAPIC: the current count cannot be written");
    bool ignored = true;
    for (unsigned i = 0; i < 8; i++) {
        ignored = write_is_ignored(APIC_ISR + i * 16) && write_is_ignored(APIC_TMR + i * 16) &&
                  write_is_ignored(APIC_IRR + i * 16) && ignored;
    }
    report(ignored, "xAPIC: ISR, TMR and IRR cannot be written");
    apic_write(APIC_LVT_LINT1, LVT_MASKED | 0x5000);
    report((apic_read(APIC_LVT_LINT1) & 0x5000) == 0,
           "xAPIC: delivery status and remote IRR of LINT1 are read-only");
    apic_write(APIC_LVT_LINT1, LVT_MASKED);
}

enum { READ = 1, WRITE = 2 };

/* SDM, table "Local APIC Register Address Map Supported by x2APIC". */
static unsigned x2apic_access(unsigned index)
{
    switch (index << 4) {
    case APIC_ID:
    case APIC_VERSION:
    case APIC_PPR:
    case APIC_LDR:
    case APIC_CURRENT_COUNT:
    case APIC_ISR ... APIC_IRR + 0x70:
        return READ;
    case APIC_EOI:
    case APIC_SELF_IPI:
        return WRITE;
    case APIC_LVT_CMCI:
        return has_cmci() ? READ | WRITE : 0;
    case APIC_TPR:
    case APIC_SVR:
    case APIC_ESR:
    case APIC_ICR:
    case APIC_LVT_TIMER ... APIC_LVT_ERROR:
    case APIC_INITIAL_COUNT:
    case APIC_DIVIDE:
        return READ | WRITE;
    default:
        return 0;
    }
}

/* A value that the register takes and that changes nothing. */
static uint64_t harmless(unsigned index)
{
    unsigned reg = index << 4;
    if (reg == APIC_SELF_IPI) {
        return VECTOR;
    }
    if (reg == APIC_EOI || reg == APIC_ESR || (x2apic_access(index) & READ) == 0) {
        return 0;
    }
    return reg == APIC_ICR ? ICR_SELF | VECTOR : rdmsr(X2APIC_MSR + index);
}

static void test_x2apic_access(void)
{
    for (unsigned index = 0; index < 0x40; index++) {
        uint64_t value = 0;
        unsigned access = x2apic_access(index);
        bool readable = guest_try_rdmsr(X2APIC_MSR + index, &value);
        bool writable = guest_try_wrmsr(X2APIC_MSR + index, harmless(index));
        report(readable == ((access & READ) != 0) && writable == ((access & WRITE) != 0),
               "x2APIC: MSR %xh %s be read, %s be written", X2APIC_MSR + index,
               (access & READ) != 0 ? "can" : "cannot", (access & WRITE) != 0 ? "can" : "cannot");
        report(value >> 32 == 0 || index << 4 == APIC_ICR, "x2APIC: MSR %xh, bits 63:32 read 0",
               X2APIC_MSR + index);
    }
    unsigned others = 0;
    for (uint32_t msr = X2APIC_MSR + 0x40; msr < X2APIC_MSR + 0x100; msr++) {
        uint64_t value;
        others += guest_try_rdmsr(msr, &value) || guest_try_wrmsr(msr, 0);
    }
    report(others == 0, "x2APIC: MSRs 840H-8FFH are #GP");
}

static void report_reserved(unsigned reg, uint64_t allowed, const char *name)
{
    uint64_t value = harmless(reg >> 4);
    bool refused = true;
    for (unsigned bit = 0; bit < 64; bit++) {
        if ((allowed & BIT(bit)) == 0) {
            refused = !guest_try_wrmsr(X2APIC_MSR + (reg >> 4), value | BIT(bit)) && refused;
        }
    }
    report(refused, "x2APIC: reserved bits of %s are #GP", name);
}

static void test_x2apic_reserved(void)
{
    bool suppression = (apic_read(APIC_VERSION) & VERSION_EOI_SUPPRESSION) != 0;
    bool deadline = (cpuid_read(1, 0).ecx & CPUID_1_ECX_TSC_DEADLINE) != 0;
    report_reserved(APIC_TPR, 0xFF, "TPR");
    report_reserved(APIC_EOI, 0, "EOI");
    report_reserved(APIC_ESR, 0, "ESR");
    /* Bit 9, focus checking, is defined for some processors only. */
    report_reserved(APIC_SVR, 0x3FF | (suppression ? SVR_EOI_SUPPRESSION : 0), "SVR");
    report_reserved(APIC_ICR, 0xFFFFFFFF000CDFFF, "ICR"); /* 12: read-only or reserved */
    report_reserved(APIC_SELF_IPI, 0xFF, "SELF IPI");
    report_reserved(APIC_LVT_TIMER, deadline ? 0x710FF : 0x310FF, "LVT timer");
    report_reserved(APIC_LVT_THERMAL, 0x117FF, "LVT thermal");
    report_reserved(APIC_LVT_PMI, 0x117FF, "LVT performance counters");
    report_reserved(APIC_LVT_LINT0, 0x1F7FF, "LVT LINT0");
    report_reserved(APIC_LVT_LINT1, 0x1F7FF, "LVT LINT1");
    report_reserved(APIC_LVT_ERROR, 0x110FF, "LVT error");
    report_reserved(APIC_INITIAL_COUNT, 0xFFFFFFFF, "initial count");
    report_reserved(APIC_DIVIDE, 0xB, "divide configuration");
}

static void test_x2apic(void)
{
    if (!apic_has_x2apic()) {
        report_skip("no x2APIC mode");
        return;
    }
    arrivals_record(VECTOR);
    apic_enter_x2apic();
    apic_enable(VECTOR_SPURIOUS);
    report(apic_read(APIC_ID) == cpuid_read(0xB, 0).edx, "the x2APIC id is that of CPUID leaf BH");
    test_x2apic_access();
    guest_take_interrupts();
    test_x2apic_reserved();
    report_common_bits("x2APIC");
    guest_take_interrupts();
}

/* "Local APIC State After It Has Been Software Disabled". */
static void report_software_disabled(const char *mode)
{
    arrivals_clear();
    arrivals_record(VECTOR);
    apic_enable(VECTOR_SPURIOUS);
    apic_write(APIC_LVT_TIMER, VECTOR);
    apic_write(APIC_LVT_ERROR, VECTOR);
    apic_self_ipi(VECTOR);
    apic_write(APIC_SVR, VECTOR_SPURIOUS);
    report(apic_read(APIC_LVT_TIMER) == (LVT_MASKED | VECTOR) &&
               apic_read(APIC_LVT_ERROR) == (LVT_MASKED | VECTOR),
           "%s, software disabled: all LVT mask bits are set", mode);
    apic_write(APIC_LVT_TIMER, VECTOR);
    report((apic_read(APIC_LVT_TIMER) & LVT_MASKED) != 0,
           "%s, software disabled: they cannot be reset", mode);
    report(apic_vector_bit(APIC_IRR, VECTOR), "%s, software disabled: IRR is held", mode);
    apic_write(APIC_SVR, SVR_ENABLED | VECTOR_SPURIOUS);
    report((apic_read(APIC_LVT_TIMER) & LVT_MASKED) != 0,
           "%s: enabled again the LVT entries stay masked", mode);
    guest_take_interrupts();
    report(arrivals(VECTOR) == 1, "%s: the held interrupt is delivered", mode);
    apic_write(APIC_SVR, VECTOR_SPURIOUS);
    apic_self_ipi(VECTOR);
    report(!apic_vector_bit(APIC_IRR, VECTOR),
           "%s, software disabled: a fixed interrupt is not accepted", mode);
    apic_write(APIC_SVR, SVR_ENABLED | VECTOR_SPURIOUS);
    guest_take_interrupts();
    report(arrivals(VECTOR) == 1, "%s: nor delivered when it is enabled again", mode);
}

static void test_software_disable(void)
{
    if (apic_is_x2apic()) {
        apic_reset_to_xapic();
    }
    report_software_disabled("xAPIC");
}

static void test_x2apic_software_disable(void)
{
    if (apic_has_x2apic()) {
        apic_enter_x2apic();
        report_software_disabled("x2APIC");
    }
}

void guest_main(void)
{
    static const struct guest_test tests[] = {
        { "version", test_version },
        { "xapic", test_xapic },
        { "x2apic", test_x2apic },
        { "software-disable", test_software_disable },
        { "x2apic-software-disable", test_x2apic_software_disable },
    };
    guest_run_tests(tests, ARRAY_SIZE(tests));
}
