/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's memory as its instructions see it: segmentation (SDM volume 3, "Protection"), then paging
 * (vmx/guest_paging.h), and copies in and out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmx/guest_paging.h"

struct vcpu;

/*
 * What translation depends on, read once: valid until the guest runs again or its registers change. The
 * guest's tables are read anew for each address.
 */
struct guest_mmu {
    struct vcpu *vcpu;
    struct paging paging;
    bool code_64; /* in 64-bit mode */
    /* The piece of the VM's memory that was looked up last. */
    uint64_t piece_gpa, piece_size;
    uint8_t *piece;
};

/* Owner, root mode, VMCS current, state loaded. */
void guest_mmu_load(struct guest_mmu *mmu, struct vcpu *vcpu);

/*
 * Linear address of size bytes at segment:offset (vmx/segment.h), checked as the CPU checks a data
 * access or fetch: 0, or ERR_GP and *fault (#GP, #SS). Owner, VMCS current.
 */
int guest_linear(const struct guest_mmu *mmu, unsigned segment, uint64_t offset, unsigned size,
                 unsigned access, uint64_t *linear, struct fault *fault);

/* A linear range of at most a page, in its one or two guest-physical parts; size[1] may be 0. */
struct guest_span {
    uint64_t gpa[2];
    unsigned size[2];
};

/*
 * Translate size bytes at linear, for one access of the guest. 0, or ERR_GP and *fault. Owner, root
 * mode, VMCS current.
 */
int guest_translate(struct guest_mmu *mmu, uint64_t linear, unsigned size, unsigned access,
                    struct guest_span *span, struct fault *fault);

/*
 * Copy size bytes between host memory and guest-linear memory, RAM only. 0; ERR_GP and *fault when the
 * guest's paging forbids it; ERR_NOT_FOUND when a byte is not RAM. Nothing is written unless all of it
 * can be. size at most a page. Owner, root mode, VMCS current.
 */
int guest_read_linear(struct guest_mmu *mmu, uint64_t linear, void *to, unsigned size,
                      unsigned access, struct fault *fault);
int guest_write_linear(struct guest_mmu *mmu, uint64_t linear, const void *from, unsigned size,
                       struct fault *fault);

/* Default operand and address size of the guest's code: an enum decode_mode. VMCS current. */
unsigned guest_code_mode(void);

/* Bytes of the guest's stack pointer (2, 4, 8); its current privilege level. VMCS current. */
unsigned guest_stack_size(void);
unsigned guest_cpl(void);

/* Raise a fault in the guest. Owner, root mode, VMCS current; ends the handling of the exit. */
void guest_raise(struct vcpu *vcpu, const struct fault *fault);
