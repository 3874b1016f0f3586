/* SPDX-License-Identifier: MIT */
/*
 * Guest-linear to guest-physical addresses by the guest's own paging (SDM volume 3, chapter "Paging"),
 * with permission checks and accessed and dirty flags, and copies in and out. The walk is pure logic
 * over struct paging, tested on the host.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/* What an access wants; the bits are those of the page-fault error code. */
enum { ACCESS_READ = 0, ACCESS_WRITE = 2, ACCESS_FETCH = 16 };

/* The registers that paging depends on. */
struct paging {
    uint64_t cr0, cr3, cr4, efer, rflags;
    uint64_t pdpte[4]; /* PAE paging: the CPU's PDPTE registers */
    unsigned cpl;
    unsigned physical_bits; /* MAXPHYADDR */
    uint32_t pkru;          /* when CR4.PKE is set */
    /* Host pointer to the paging-structure entry (size 4 or 8) at gpa; NULL when that is not RAM. */
    void *(*entry)(void *context, uint64_t gpa, unsigned size);
    void *context;
};

/* The exception that an access raises. */
struct fault {
    uint8_t vector;
    uint32_t error_code;
    uint64_t address; /* CR2, for #PF */
};

/*
 * Translate a linear address (canonical, or below 4 GiB outside IA-32e mode) for one access that does
 * not cross a page. 0 and *gpa, with accessed and dirty flags set as the CPU would; ERR_GP and *fault,
 * a #PF, with no flag changed. An entry outside RAM reads all ones, like the bus.
 */
int paging_translate(const struct paging *paging, uint64_t linear, unsigned access, uint64_t *gpa,
                     struct fault *fault);

/* The paging registers of the vCPU as they are now. Owner, root mode, VMCS current, state loaded. */
void guest_paging(struct vcpu *vcpu, struct paging *paging);

/*
 * Linear address of size bytes at segment:offset (vmx/segment.h), checked as the CPU checks a data
 * access or fetch: 0, or ERR_GP and *fault (#GP, #SS). Owner, VMCS current.
 */
int guest_linear(struct vcpu *vcpu, unsigned segment, uint64_t offset, unsigned size,
                 unsigned access, uint64_t *linear, struct fault *fault);

/*
 * Copy size bytes between host memory and guest-linear memory, RAM only. 0; ERR_GP and *fault when the
 * guest's paging forbids it; ERR_NOT_FOUND when a byte is not RAM. Nothing is written unless all of it
 * can be. size at most a page. Owner, root mode, VMCS current.
 */
int guest_read_linear(struct vcpu *vcpu, uint64_t linear, void *to, unsigned size, unsigned access,
                      struct fault *fault);
int guest_write_linear(struct vcpu *vcpu, uint64_t linear, const void *from, unsigned size,
                       struct fault *fault);

/* Default operand and address size of the guest's code: an enum decode_mode. VMCS current. */
unsigned guest_code_mode(void);

/* Raise a fault in the guest. Owner, root mode, VMCS current; ends the handling of the exit. */
void guest_raise(struct vcpu *vcpu, const struct fault *fault);
