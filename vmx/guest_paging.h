/* SPDX-License-Identifier: MIT */
/*
 * Guest-linear to guest-physical addresses by the guest's own paging (SDM volume 3, chapter "Paging"):
 * none, 32-bit, PAE, 4-level and 5-level, with permission checks and accessed and dirty flags. Pure
 * logic, tested on the host.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What an access wants; the bits are those of the page-fault error code. */
enum { ACCESS_READ = 0, ACCESS_WRITE = 2, ACCESS_FETCH = 16 };

/* The registers that paging depends on. */
struct paging {
    uint64_t cr0, cr3, cr4, efer, rflags;
    uint64_t pdpte[4]; /* PAE paging: the CPU's PDPTE registers */
    unsigned cpl;
    unsigned physical_bits; /* MAXPHYADDR */
    bool pages_1g;          /* CPUID.80000001H:EDX.Page1GB */
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

/*
 * Where the walk for a linear address leaves RAM: the level of its first entry that is not there (1: a
 * 4-KiB page's), 0 when all are RAM. Changes no flag.
 */
unsigned paging_level_outside_ram(const struct paging *paging, uint64_t linear);
