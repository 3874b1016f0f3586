/* SPDX-License-Identifier: MIT */
/*
 * Control registers, EFER, XCR0, debug registers and address MSRs: which values raise #GP, and what of
 * them CPUID shows (SDM volume 3, "Control Registers", "Debug Registers", "Extended Control Registers";
 * volume 2, MOV to control registers, XSETBV, CPUID).
 */
#include "arch/cpuid.h"
#include "tests/guests/lib/guest.h"
#include "tests/guests/lib/interrupts.h"

static unsigned try_cr0(uint64_t value)
{
    return FAULT_OF("movq %0, %%cr0", : : "r"(value) : "memory");
}

static unsigned try_cr3(uint64_t value)
{
    return FAULT_OF("movq %0, %%cr3", : : "r"(value) : "memory");
}

static unsigned try_cr4(uint64_t value)
{
    return FAULT_OF("movq %0, %%cr4", : : "r"(value) : "memory");
}

static unsigned try_xsetbv(uint32_t index, uint64_t value)
{
    return FAULT_OF("xsetbv", : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static void test_cr0(void)
{
    uint64_t cr0 = read_cr0();
    report(try_cr0(cr0 & ~CR0_PE) == EXCEPTION_GP, "CR0: PG without PE is #GP");
    report(try_cr0(cr0 & ~CR0_PG) == EXCEPTION_GP, "CR0: clearing PG in 64-bit mode is #GP");
    report(try_cr0((cr0 | CR0_NW) & ~CR0_CD) == EXCEPTION_GP, "CR0: NW without CD is #GP");
    bool refused = true;
    for (unsigned bit = 32; bit < 64; bit++) {
        refused = try_cr0(cr0 | BIT(bit)) == EXCEPTION_GP && refused;
    }
    report(refused, "CR0: bits 63:32 are #GP");
    report(read_cr0() == cr0, "CR0: a refused write changes nothing");
    uint64_t bits = CR0_MP | CR0_EM | CR0_TS | CR0_AM | CR0_WP | CR0_NE;
    report(try_cr0(cr0 | bits) == NO_FAULT && (read_cr0() & bits) == bits,
           "CR0: MP, EM, TS, NE, WP and AM can be set");
    report(try_cr0(cr0 & ~(bits & ~CR0_NE)) == NO_FAULT && (read_cr0() & bits & ~CR0_NE) == 0,
           "CR0: MP, EM, TS, WP and AM can be cleared");
    report((try_cr0(cr0 & ~CR0_ET) == NO_FAULT) && (read_cr0() & CR0_ET) != 0, "CR0: ET is 1");
    report(try_cr0(cr0 | CR0_CD | CR0_NW) == NO_FAULT &&
               (read_cr0() & (CR0_CD | CR0_NW)) == (CR0_CD | CR0_NW),
           "CR0: CD and NW can be set");
    write_cr0(cr0 | CR0_TS);
    __asm__ volatile("clts");
    report((read_cr0() & CR0_TS) == 0, "CLTS clears TS");
    write_cr0((cr0 | CR0_TS) & ~CR0_MP);
    __asm__ volatile("lmsw %w0" : : "r"(CR0_MP | CR0_EM));
    report((read_cr0() & 0xF) == (CR0_PE | CR0_MP | CR0_EM),
           "LMSW writes MP, EM, TS, and keeps PE");
    uint64_t smsw;
    __asm__ volatile("smsw %0" : "=r"(smsw));
    report((smsw & 0xFFFF) == (read_cr0() & 0xFFFF), "SMSW reads CR0");
    write_cr0(cr0);
}

static void test_cr3(void)
{
    uint64_t cr3 = read_cr3();
    unsigned width = cpuid_read(0x80000008, 0).eax & 0xFF;
    report(width >= 36 && width <= 52, "the physical-address width is 36 to 52");
    bool refused = true;
    for (unsigned bit = width; bit < 61; bit++) {
        refused = try_cr3(cr3 | BIT(bit)) == EXCEPTION_GP && refused;
    }
    report(refused, "CR3: bits above the physical-address width are #GP");
    report(try_cr3(cr3 | CR3_PWT | CR3_PCD) == NO_FAULT && read_cr3() == (cr3 | CR3_PWT | CR3_PCD),
           "CR3: PWT and PCD can be set");
    report(try_cr3(cr3 | BIT(63)) == EXCEPTION_GP, "CR3: bit 63 without PCIDE is #GP");
    write_cr3(cr3);
}

/* Bits of CR4 and what in CPUID says that they exist; 0: not listed here. */
static bool cr4_bit_exists(unsigned bit)
{
    struct cpuid leaf1 = cpuid_read(1, 0);
    struct cpuid leaf7 = cpuid_read(7, 0);
    switch (BIT(bit)) {
    case CR4_VME:
    case CR4_PVI:
        return (leaf1.edx & CPUID_1_EDX_VME) != 0;
    case CR4_VMXE:
        return (leaf1.ecx & CPUID_1_ECX_VMX) != 0;
    case CR4_SMXE:
        return (leaf1.ecx & CPUID_1_ECX_SMX) != 0;
    case CR4_PCIDE:
        return (leaf1.ecx & CPUID_1_ECX_PCID) != 0;
    case CR4_OSXSAVE:
        return (leaf1.ecx & CPUID_1_ECX_XSAVE) != 0;
    case CR4_FSGSBASE:
        return (leaf7.ebx & BIT32(0)) != 0;
    case CR4_SMEP:
        return (leaf7.ebx & BIT32(7)) != 0;
    case CR4_SMAP:
        return (leaf7.ebx & BIT32(20)) != 0;
    case CR4_UMIP:
        return (leaf7.ecx & BIT32(2)) != 0;
    case CR4_PKE:
        return (leaf7.ecx & BIT32(3)) != 0;
    case CR4_KL:
        return (leaf7.ecx & BIT32(23)) != 0;
    case CR4_PKS:
        return (leaf7.ecx & BIT32(31)) != 0;
    default:
        return bit <= 10;
    }
}

static void test_cr4(void)
{
    uint64_t cr4 = read_cr4();
    for (unsigned bit = 0; bit < 25; bit++) {
        /* LA57 cannot change in 64-bit mode; CET needs more than its CPUID bits. */
        if (BIT(bit) == CR4_LA57 || BIT(bit) == CR4_CET) {
            continue;
        }
        bool takes = try_cr4(cr4 | BIT(bit)) == NO_FAULT;
        bool kept = (read_cr4() & BIT(bit)) != 0;
        write_cr4(cr4);
        bool exists = cr4_bit_exists(bit);
        report(takes == exists && kept == exists, "CR4: bit %u can be set just when it exists",
               bit);
    }
    bool refused = true;
    for (unsigned bit = 26; bit < 64; bit++) {
        refused = (bit == 32 || try_cr4(cr4 | BIT(bit)) == EXCEPTION_GP) && refused; /* 32: FRED */
    }
    report(refused, "CR4: reserved bits are #GP");
    report(try_cr4(cr4 & ~CR4_PAE) == EXCEPTION_GP, "CR4: clearing PAE in 64-bit mode is #GP");
    report(try_cr4(cr4 ^ CR4_LA57) == EXCEPTION_GP, "CR4: changing LA57 in 64-bit mode is #GP");
    report(read_cr4() == cr4, "CR4: a refused write changes nothing");
}

static void test_pcid(void)
{
    if ((cpuid_read(1, 0).ecx & CPUID_1_ECX_PCID) == 0) {
        report_skip("no PCID");
        return;
    }
    uint64_t cr3 = read_cr3();
    uint64_t cr4 = read_cr4();
    write_cr3(cr3 | CR3_PCD);
    report(try_cr4(cr4 | CR4_PCIDE) == EXCEPTION_GP, "CR4: PCIDE with CR3 bits 11:0 not 0 is #GP");
    write_cr3(cr3);
    report(try_cr4(cr4 | CR4_PCIDE) == NO_FAULT, "CR4: PCIDE with PCID 0");
    report(try_cr3(cr3 | 0xABC) == NO_FAULT && read_cr3() == (cr3 | 0xABC), "CR3 holds a PCID");
    report(try_cr3(cr3 | BIT(63)) == NO_FAULT && read_cr3() == cr3,
           "CR3: bit 63 is accepted with PCIDE and not stored");
    write_cr4(cr4);
}

static void test_efer(void)
{
    uint64_t efer = rdmsr(IA32_EFER);
    report((efer & (EFER_LME | EFER_LMA)) == (EFER_LME | EFER_LMA), "EFER: LME and LMA are 1");
    report(!guest_try_wrmsr(IA32_EFER, efer & ~EFER_LME), "EFER: clearing LME with paging is #GP");
    bool refused = true;
    for (unsigned bit = 0; bit < 64; bit++) {
        bool defined = (BIT(bit) & (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)) != 0;
        refused = (defined || !guest_try_wrmsr(IA32_EFER, efer | BIT(bit))) && refused;
    }
    report(refused, "EFER: reserved bits are #GP");
    report(guest_try_wrmsr(IA32_EFER, efer | EFER_SCE | EFER_NXE) &&
               rdmsr(IA32_EFER) == (efer | EFER_SCE | EFER_NXE),
           "EFER: SCE and NXE can be set");
    wrmsr(IA32_EFER, efer & ~(EFER_SCE | EFER_NXE));
    report(rdmsr(IA32_EFER) == (efer & ~(EFER_SCE | EFER_NXE)), "EFER: and cleared");
    wrmsr(IA32_EFER, efer);
}

static void test_xcr0(void)
{
    struct cpuid leaf1 = cpuid_read(1, 0);
    uint64_t cr4 = read_cr4();
    if ((leaf1.ecx & CPUID_1_ECX_XSAVE) == 0) {
        report_skip("no XSAVE");
        return;
    }
    write_cr4(cr4 & ~CR4_OSXSAVE);
    report((cpuid_read(1, 0).ecx & CPUID_1_ECX_OSXSAVE) == 0, "CPUID: OSXSAVE is 0 without CR4's");
    report(try_xsetbv(0, 1) == EXCEPTION_UD, "XSETBV without CR4.OSXSAVE is #UD");
    write_cr4(cr4 | CR4_OSXSAVE);
    report((cpuid_read(1, 0).ecx & CPUID_1_ECX_OSXSAVE) != 0, "CPUID: OSXSAVE follows CR4");
    uint64_t old = xgetbv(0);
    struct cpuid leaf = cpuid_read(0xD, 0);
    uint64_t supported = (uint64_t)leaf.edx << 32 | leaf.eax;
    report((supported & 3) == 3, "CPUID: x87 and SSE state exist");
    report(try_xsetbv(0, old & ~XCR0_X87) == EXCEPTION_GP, "XCR0: bit 0 cleared is #GP");
    report(try_xsetbv(0, XCR0_X87 | XCR0_AVX) == EXCEPTION_GP, "XCR0: AVX without SSE is #GP");
    report(try_xsetbv(0, XCR0_X87 | XCR0_SSE | XCR0_OPMASK) == EXCEPTION_GP,
           "XCR0: part of AVX-512 is #GP");
    report(try_xsetbv(0, XCR0_X87 | XCR0_SSE | XCR0_BNDREG) == EXCEPTION_GP,
           "XCR0: one half of MPX is #GP");
    report(try_xsetbv(1, 3) == EXCEPTION_GP, "XSETBV with ECX = 1 is #GP");
    bool refused = true;
    for (unsigned bit = 0; bit < 64; bit++) {
        if ((supported & BIT(bit)) == 0) {
            refused = try_xsetbv(0, supported | BIT(bit)) == EXCEPTION_GP && refused;
        }
    }
    report(refused, "XCR0: what CPUID does not list is #GP");
    report(try_xsetbv(0, 1) == NO_FAULT && xgetbv(0) == 1, "XCR0: x87 alone is enough");
    uint32_t smallest = cpuid_read(0xD, 0).ebx;
    report(smallest == 576, "CPUID: leaf DH then says 576 bytes");
    report(try_xsetbv(0, supported) == NO_FAULT && xgetbv(0) == supported,
           "XCR0: all that CPUID lists can be set");
    leaf = cpuid_read(0xD, 0);
    report(leaf.ebx == leaf.ecx, "CPUID: leaf DH then says the largest size");
    if ((supported & XCR0_AVX) != 0) {
        struct cpuid avx = cpuid_read(0xD, 2);
        xsetbv(0, XCR0_X87 | XCR0_SSE | XCR0_AVX);
        report(cpuid_read(0xD, 0).ebx == avx.eax + avx.ebx, "CPUID: leaf DH follows XCR0");
    }
    xsetbv(0, old);
    write_cr4(cr4);
}

static void test_debug_registers(void)
{
    uint64_t value = BIT(32);
    report(FAULT_OF("movq %0, %%dr7", : : "r"(value)) == EXCEPTION_GP, "DR7: bit 32 is #GP");
    report(FAULT_OF("movq %0, %%dr6", : : "r"(value)) == EXCEPTION_GP, "DR6: bit 32 is #GP");
    value = 0x1234567890ABCDEF;
    write_dr0(value);
    report(read_dr0() == value, "DR0 holds 64 bits");
    write_dr0(0);
    write_dr7(0);
    report(read_dr7() == DR7_RESET, "DR7: bit 10 is 1");
    write_dr7(DR7_RESET | BIT(12) | BIT(14) | BIT(15));
    report((read_dr7() & (BIT(12) | BIT(14) | BIT(15))) == 0, "DR7: bits 15, 14 and 12 read 0");
    write_dr7(DR7_RESET);
    write_dr6(0);
    report((read_dr6() & 0xFFFF0FF0) == 0xFFFE0FF0 || (read_dr6() & 0xFFFF0FF0) == 0xFFFF0FF0,
           "DR6: reserved bits are 1");
    write_dr6(DR6_RESET);
    uint64_t cr4 = read_cr4();
    write_cr4(cr4 | CR4_DE);
    report(FAULT_OF("movq %%dr4, %0", : "=r"(value)) == EXCEPTION_UD, "DR4 with CR4.DE is #UD");
    report(FAULT_OF("movq %%dr5, %0", : "=r"(value)) == EXCEPTION_UD, "DR5 with CR4.DE is #UD");
    write_cr4(cr4 & ~CR4_DE);
    report(FAULT_OF("movq %%dr5, %0",
                    : "=r"(value)) == NO_FAULT &&
               value == read_dr7(),
           "DR5 without CR4.DE is DR7");
    write_cr4(cr4);
}

static void test_address_msrs(void)
{
    static const struct {
        uint32_t msr;
        const char *name;
    } msrs[] = {
        { IA32_FS_BASE, "FS_BASE" },
        { IA32_GS_BASE, "GS_BASE" },
        { IA32_KERNEL_GS_BASE, "KERNEL_GS_BASE" },
        { IA32_LSTAR, "LSTAR" },
        { IA32_CSTAR, "CSTAR" },
        { IA32_SYSENTER_EIP, "SYSENTER_EIP" },
        { IA32_SYSENTER_ESP, "SYSENTER_ESP" },
    };
    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
        uint64_t old = rdmsr(msrs[i].msr);
        bool refused = !guest_try_wrmsr(msrs[i].msr, 0x0000800000000000) &&
                       !guest_try_wrmsr(msrs[i].msr, 0x8000000000000000) &&
                       rdmsr(msrs[i].msr) == old;
        bool taken = guest_try_wrmsr(msrs[i].msr, 0xFFFF800000001000) &&
                     rdmsr(msrs[i].msr) == 0xFFFF800000001000;
        wrmsr(msrs[i].msr, old);
        report(refused && taken, "%s takes canonical addresses only", msrs[i].name);
    }
}

static void test_pat(void)
{
    uint64_t old = rdmsr(IA32_PAT);
    static const uint8_t reserved[] = { 2, 3, 8, 0x10, 0x80, 0xFF };
    bool refused = true;
    for (unsigned entry = 0; entry < 8; entry++) {
        for (unsigned i = 0; i < ARRAY_SIZE(reserved); i++) {
            uint64_t value = field_set(0xFFULL << entry * 8, old, reserved[i]);
            refused = !guest_try_wrmsr(IA32_PAT, value) && refused;
        }
    }
    report(refused && rdmsr(IA32_PAT) == old, "PAT: reserved types are #GP");
    report(guest_try_wrmsr(IA32_PAT, 0x0706050401000607) && rdmsr(IA32_PAT) == 0x0706050401000607,
           "PAT: all types can be used");
    wrmsr(IA32_PAT, old);
}

void guest_main(void)
{
    static const struct guest_test tests[] = {
        { "cr0", test_cr0 },
        { "cr3", test_cr3 },
        { "cr4", test_cr4 },
        { "pcid", test_pcid },
        { "efer", test_efer },
        { "xcr0", test_xcr0 },
        { "debug-registers", test_debug_registers },
        { "address-msrs", test_address_msrs },
        { "pat", test_pat },
    };
    guest_run_tests(tests, ARRAY_SIZE(tests));
}
