/* SPDX-License-Identifier: MIT */
/* Extended state of vCPUs (SDM volume 1, chapter "Managing State Using the XSAVE Feature Set"). */

#include "vmx/xstate.h"

#include "arch/cpuid.h"
#include "arch/memory.h"
#include "arch/msr.h"
#include "arch/x86.h"
#include "lib/bits.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vmx/event.h"
#include "vmx/exits.h"
#include "vmx/vcpu.h"

/* What guests may enable where the CPU has it. MPX and AMX are not offered. */
#define OFFERED_XCR0 \
    (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_OPMASK | XCR0_ZMM_HI256 | XCR0_HI16_ZMM | XCR0_PKRU)
#define XCR0_AVX512 (XCR0_OPMASK | XCR0_ZMM_HI256 | XCR0_HI16_ZMM)

/* XSAVE area, legacy region and header (SDM volume 1, "Format of an XSAVE Area"). */
enum {
    XSAVE_FCW = 0,
    XSAVE_FTW = 4,
    XSAVE_MXCSR = 24,
    XSAVE_XSTATE_BV = 512,
};

/* Power-up values (SDM volume 3, "Processor State After Reset"). */
enum { FCW_RESET = 0x0040, FTW_RESET = 0xFF /* 5555H abridged */, MXCSR_RESET = 0x1F80 };

struct xstate {
    uint8_t *area; /* XSAVE area, standard format, for all supported components */
    uint64_t xcr0;
    uint64_t xss;
};

static uint64_t supported_xcr0;
static bool has_xss;

static uint32_t area_size(void)
{
    uint32_t size = 576;
    for (unsigned i = 2; i < 63; i++) {
        if (supported_xcr0 & BIT(i)) {
            struct cpuid part = cpuid_read(0x0D, i);
            if (part.eax + part.ebx > size) {
                size = part.eax + part.ebx;
            }
        }
    }
    return size;
}

void xstate_enable_cpu(void)
{
    if (!(cpuid_read(1, 0).ecx & CPUID_1_ECX_XSAVE)) {
        fatal("this CPU has no XSAVE (CPUID.01H:ECX bit 26), which Rivet needs");
    }
    write_cr0(read_cr0() & ~(CR0_EM | CR0_TS));
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE);
    if (supported_xcr0 == 0) {
        struct cpuid leaf = cpuid_read(0x0D, 0);
        supported_xcr0 = ((uint64_t)leaf.edx << 32 | leaf.eax) & OFFERED_XCR0;
        has_xss = cpuid_read(0x0D, 1).eax & BIT32(3);
    }
}

uint64_t xstate_supported_xcr0(void)
{
    return supported_xcr0;
}

uint64_t xstate_supported_xss(void)
{
    return 0;
}

void xstate_reset(struct xstate *xstate)
{
    uint16_t fcw = FCW_RESET;
    uint32_t mxcsr = MXCSR_RESET;
    uint64_t present = XCR0_X87;

    memset(xstate->area, 0, area_size());
    memcpy(xstate->area + XSAVE_FCW, &fcw, sizeof(fcw));
    xstate->area[XSAVE_FTW] = FTW_RESET;
    memcpy(xstate->area + XSAVE_MXCSR, &mxcsr, sizeof(mxcsr));
    memcpy(xstate->area + XSAVE_XSTATE_BV, &present, sizeof(present));
    xstate->xcr0 = XCR0_X87;
    xstate->xss = 0;
}

struct xstate *xstate_create(void)
{
    struct xstate *xstate = memory_alloc_page();
    if (!xstate) {
        return NULL;
    }
    xstate->area = memory_alloc(area_size(), PAGE_SIZE);
    if (!xstate->area) {
        memory_free(xstate, PAGE_SIZE);
        return NULL;
    }
    xstate_reset(xstate);
    return xstate;
}

uint64_t xstate_xcr0(const struct xstate *xstate)
{
    return xstate->xcr0;
}

uint64_t xstate_xss(const struct xstate *xstate)
{
    return xstate->xss;
}

int xstate_write_xss(struct xstate *xstate, uint64_t value)
{
    if (value & ~xstate_supported_xss()) {
        return ERR_GP;
    }
    xstate->xss = value;
    wrmsr(IA32_XSS, value);
    return RIVET_OK;
}

void xstate_load(struct xstate *xstate)
{
    xsetbv(0, supported_xcr0);
    __asm__ volatile("xrstor64 (%0)"
                     :
                     : "r"(xstate->area), "a"((uint32_t)supported_xcr0),
                       "d"((uint32_t)(supported_xcr0 >> 32))
                     : "memory");
    xsetbv(0, xstate->xcr0);
    if (has_xss) {
        wrmsr(IA32_XSS, xstate->xss);
    }
}

void xstate_save(struct xstate *xstate)
{
    xsetbv(0, supported_xcr0);
    __asm__ volatile("xsave64 (%0)"
                     :
                     : "r"(xstate->area), "a"((uint32_t)supported_xcr0),
                       "d"((uint32_t)(supported_xcr0 >> 32))
                     : "memory");
}

/* RDPKRU needs CR4.PKE, and the register keeps the guest's value in root mode. */
uint32_t xstate_pkru(void)
{
    uint64_t cr4 = read_cr4();
    uint32_t pkru, high;

    write_cr4(cr4 | CR4_PKE);
    __asm__ volatile("rdpkru" : "=a"(pkru), "=d"(high) : "c"(0));
    write_cr4(cr4);
    return pkru;
}

/* SDM volume 1, "XSETBV": which combinations of XCR0 are allowed. */
static bool xcr0_valid(uint64_t value)
{
    if ((value & ~supported_xcr0) || !(value & XCR0_X87)) {
        return false;
    }
    if ((value & XCR0_AVX) && !(value & XCR0_SSE)) {
        return false;
    }
    if (value & XCR0_AVX512) {
        return (value & XCR0_AVX) && (value & XCR0_AVX512) == XCR0_AVX512;
    }
    return true;
}

/* #UD (CR4.OSXSAVE) and #GP for CPL come before the exit. */
void exit_xsetbv(struct vcpu *vcpu)
{
    uint64_t value = vcpu->gpr[RDX] << 32 | (uint32_t)vcpu->gpr[RAX];

    if ((uint32_t)vcpu->gpr[RCX] != 0 || !xcr0_valid(value)) {
        event_raise_code(vcpu, EXCEPTION_GP, 0);
        return;
    }
    vcpu->xstate->xcr0 = value;
    xsetbv(0, value);
    event_instruction_done(vcpu);
}
