/* SPDX-License-Identifier: MIT */
/* A vCPU's memory as its instructions see it (SDM volume 3, chapters "Protection" and "Paging"). */

#include "vmx/guest_memory.h"

#include "arch/msr.h"
#include "arch/x86.h"
#include "lib/bits.h"
#include "lib/error.h"
#include "lib/string.h"
#include "vmx/cpuid.h"
#include "vmx/cr.h"
#include "vmx/decode.h"
#include "vmx/event.h"
#include "vmx/segment.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"
#include "vmx/vmcs.h"
#include "vmx/xstate.h"

/* Access rights of a segment register in the VMCS (SDM volume 3, "Guest Register State"). */
#define SEGMENT_TYPE_ACCESSIBLE  BIT(1) /* data: writable; code: readable */
#define SEGMENT_TYPE_EXPAND_DOWN BIT(2)
#define SEGMENT_TYPE_CODE        BIT(3)
#define SEGMENT_DPL              (3ULL << 5)
#define SEGMENT_L                BIT(13)
#define SEGMENT_DB               BIT(14)
#define SEGMENT_UNUSABLE         BIT(16)

static bool in_64_bit_mode(void)
{
    return (vmread(VMCS_GUEST_EFER) & EFER_LMA) &&
           (vmread(VMCS_GUEST_CS_ACCESS_RIGHTS) & SEGMENT_L);
}

unsigned guest_code_mode(void)
{
    if (in_64_bit_mode()) {
        return DECODE_64;
    }
    return vmread(VMCS_GUEST_CS_ACCESS_RIGHTS) & SEGMENT_DB ? DECODE_32 : DECODE_16;
}

unsigned guest_stack_size(void)
{
    if (in_64_bit_mode()) {
        return 8;
    }
    return vmread(VMCS_GUEST_SS_ACCESS_RIGHTS) & SEGMENT_DB ? 4 : 2;
}

unsigned guest_cpl(void)
{
    return (unsigned)field_get(SEGMENT_DPL, vmread(VMCS_GUEST_SS_ACCESS_RIGHTS));
}

/*
 * Host address of size bytes of the VM's memory that do not cross a page, or NULL. A guest's tables, code and
 * data often share a large page of EPT: then one look-up serves all of them.
 */
static uint8_t *memory(struct guest_mmu *mmu, uint64_t gpa, unsigned size)
{
    uint64_t offset = gpa - mmu->piece_gpa;
    if (offset < mmu->piece_size && mmu->piece_size - offset >= size) {
        return mmu->piece + offset;
    }
    uint64_t hpa, left;
    unsigned rights;
    if (ept_lookup(&mmu->vcpu->vm->ept, gpa, &hpa, &rights, &left) != RIVET_OK) {
        return NULL;
    }
    mmu->piece_gpa = gpa;
    mmu->piece_size = left;
    mmu->piece = (uint8_t *)(uintptr_t)hpa;
    return mmu->piece;
}

static void *paging_entry(void *context, uint64_t gpa, unsigned size)
{
    return memory(context, gpa, size);
}

static void read_pdptes(struct paging *paging)
{
    paging->pdpte[0] = vmread(VMCS_GUEST_PDPTE0);
    paging->pdpte[1] = vmread(VMCS_GUEST_PDPTE1);
    paging->pdpte[2] = vmread(VMCS_GUEST_PDPTE2);
    paging->pdpte[3] = vmread(VMCS_GUEST_PDPTE3);
}

static void read_paging(struct paging *paging, struct guest_mmu *mmu)
{
    *paging = (struct paging){
        .cr0 = cr0_read(),
        .cr3 = vmread(VMCS_GUEST_CR3),
        .cr4 = cr4_read(),
        .efer = vmread(VMCS_GUEST_EFER),
        .rflags = vmread(VMCS_GUEST_RFLAGS),
        .cpl = guest_cpl(),
        .physical_bits = cpuid_physical_address_bits(),
        .pages_1g = cpuid_offers_1g_pages(),
        .entry = paging_entry,
        .context = mmu,
    };
    if ((paging->cr0 & CR0_PG) && (paging->cr4 & CR4_PAE) && !(paging->efer & EFER_LMA)) {
        read_pdptes(paging);
    }
    if (paging->cr4 & CR4_PKE) {
        paging->pkru = xstate_pkru();
    }
}

void guest_mmu_load(struct guest_mmu *mmu, struct vcpu *vcpu)
{
    mmu->vcpu = vcpu;
    read_paging(&mmu->paging, mmu);
    mmu->code_64 = in_64_bit_mode();
    mmu->piece_gpa = 0;
    mmu->piece_size = 0;
}

static int segment_fault(unsigned segment, struct fault *fault)
{
    *fault = (struct fault){ .vector = segment == SEGMENT_SS ? EXCEPTION_SS : EXCEPTION_GP };
    return ERR_GP;
}

static bool is_canonical(const struct guest_mmu *mmu, uint64_t linear)
{
    unsigned unused = mmu->paging.cr4 & CR4_LA57 ? 64 - 57 : 64 - 48;
    return (uint64_t)((int64_t)(linear << unused) >> unused) == linear;
}

static int linear_64(const struct guest_mmu *mmu, unsigned segment, uint64_t offset, unsigned size,
                     uint64_t *linear, struct fault *fault)
{
    uint64_t base = 0;
    if (segment == SEGMENT_FS || segment == SEGMENT_GS) {
        base = vmread(vmcs_segment(VMCS_GUEST_ES_BASE, segment));
    }
    *linear = base + offset;
    if (!is_canonical(mmu, *linear) || !is_canonical(mmu, *linear + size - 1)) {
        return segment_fault(segment, fault);
    }
    return 0;
}

static bool type_forbids(uint64_t rights, unsigned access)
{
    if (access & ACCESS_FETCH) {
        return false;
    }
    if (access & ACCESS_WRITE) {
        return (rights & SEGMENT_TYPE_CODE) || !(rights & SEGMENT_TYPE_ACCESSIBLE);
    }
    return (rights & SEGMENT_TYPE_CODE) && !(rights & SEGMENT_TYPE_ACCESSIBLE);
}

static bool limit_forbids(uint64_t rights, uint32_t limit, uint64_t first, uint64_t last)
{
    bool expand_down = !(rights & SEGMENT_TYPE_CODE) && (rights & SEGMENT_TYPE_EXPAND_DOWN);
    if (expand_down) {
        return first <= limit || last > (rights & SEGMENT_DB ? 0xFFFFFFFFU : 0xFFFFU);
    }
    return last > limit;
}

/* Real mode and virtual-8086 mode know limits but no types. */
static bool types_apply(const struct guest_mmu *mmu)
{
    return (mmu->paging.cr0 & CR0_PE) && !(mmu->paging.rflags & RFLAGS_VM);
}

int guest_linear(const struct guest_mmu *mmu, unsigned segment, uint64_t offset, unsigned size,
                 unsigned access, uint64_t *linear, struct fault *fault)
{
    if (mmu->code_64) {
        return linear_64(mmu, segment, offset, size, linear, fault);
    }
    uint64_t rights = vmread(vmcs_segment(VMCS_GUEST_ES_ACCESS_RIGHTS, segment));
    uint32_t limit = (uint32_t)vmread(vmcs_segment(VMCS_GUEST_ES_LIMIT, segment));

    if ((rights & SEGMENT_UNUSABLE) || (types_apply(mmu) && type_forbids(rights, access)) ||
        limit_forbids(rights, limit, offset, offset + size - 1)) {
        return segment_fault(segment, fault);
    }
    *linear = (vmread(vmcs_segment(VMCS_GUEST_ES_BASE, segment)) + offset) & 0xFFFFFFFFU;
    return 0;
}

int guest_translate(struct guest_mmu *mmu, uint64_t linear, unsigned size, unsigned access,
                    struct guest_span *span, struct fault *fault)
{
    unsigned first = (unsigned)(PAGE_SIZE - (linear & (PAGE_SIZE - 1)));

    span->size[0] = size < first ? size : first;
    span->size[1] = size - span->size[0];
    int error = paging_translate(&mmu->paging, linear, access, &span->gpa[0], fault);
    if (!error && span->size[1]) {
        uint64_t next = linear + first;
        if (!mmu->code_64) {
            next &= 0xFFFFFFFFU;
        }
        error = paging_translate(&mmu->paging, next, access, &span->gpa[1], fault);
    }
    return error;
}

/* Host addresses of both parts; ERR_NOT_FOUND when one is not RAM. */
static int span_memory(struct guest_mmu *mmu, const struct guest_span *span, uint8_t *part[2])
{
    for (unsigned i = 0; i < 2; i++) {
        part[i] = span->size[i] ? memory(mmu, span->gpa[i], span->size[i]) : NULL;
        if (span->size[i] && !part[i]) {
            return ERR_NOT_FOUND;
        }
    }
    return 0;
}

int guest_read_linear(struct guest_mmu *mmu, uint64_t linear, void *to, unsigned size,
                      unsigned access, struct fault *fault)
{
    struct guest_span span;
    uint8_t *part[2];

    int error = guest_translate(mmu, linear, size, access, &span, fault);
    if (!error) {
        error = span_memory(mmu, &span, part);
    }
    if (error) {
        return error;
    }
    memcpy(to, part[0], span.size[0]);
    if (span.size[1]) {
        memcpy((uint8_t *)to + span.size[0], part[1], span.size[1]);
    }
    return 0;
}

int guest_write_linear(struct guest_mmu *mmu, uint64_t linear, const void *from, unsigned size,
                       struct fault *fault)
{
    struct guest_span span;
    uint8_t *part[2];

    int error = guest_translate(mmu, linear, size, ACCESS_WRITE, &span, fault);
    if (!error) {
        error = span_memory(mmu, &span, part);
    }
    if (error) {
        return error;
    }
    memcpy(part[0], from, span.size[0]);
    if (span.size[1]) {
        memcpy(part[1], (const uint8_t *)from + span.size[0], span.size[1]);
    }
    return 0;
}

void guest_raise(struct vcpu *vcpu, const struct fault *fault)
{
    if (fault->vector == EXCEPTION_PF) {
        event_raise_page_fault(vcpu, fault->address, fault->error_code);
    } else if (fault->vector == EXCEPTION_UD) {
        event_raise(vcpu, fault->vector);
    } else {
        event_raise_code(vcpu, fault->vector, fault->error_code);
    }
}
