/* SPDX-License-Identifier: MIT */
/* Rivet's own page tables: identity mapping with W^X (SDM volume 3, "4-Level Paging"). */
#include "arch/paging.h"

#include <stddef.h>

#include "arch/cpu.h"
#include "arch/cpuid.h"
#include "arch/descriptor.h"
#include "arch/memory.h"
#include "arch/msr.h"
#include "arch/page_table.h"
#include "arch/smp.h"
#include "arch/x86.h"
#include "lib/bits.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"

_Static_assert((int)MAX_CPUS <= 512, "all windows are in one page table");

extern uint8_t image_start[], image_text_end[], image_rodata_end[], image_end[]; /* linker.ld */

enum { REGION_RAM = 1, REGION_ACPI = 3, REGION_NVS = 4 };

static struct page_table table;

/* One page of linear addresses for each CPU, in the upper half, where nothing is identity-mapped. */
#define WINDOWS (~0ULL << 39)
static uint64_t *window_entries;

/* Added at the front by the boot CPU before VMs run, never removed. */
static struct paging_hole *holes;

static void map(uint64_t start, uint64_t end, uint64_t rights)
{
    if (page_table_map(&table, start, end - start, rights) != RIVET_OK) {
        fatal("paging: no memory for page tables; less than a page is free");
    }
}

static bool is_memory(const struct boot_region *region)
{
    return region->type == REGION_RAM || region->type == REGION_ACPI || region->type == REGION_NVS;
}

static void map_regions(const struct boot_info *info)
{
    map(0, GIB(4), PTE_DEVICE);
    for (unsigned i = 0; i < info->region_count; i++) {
        const struct boot_region *region = &info->regions[i];
        uint64_t end = align_up(region->start + region->size, PAGE_SIZE);
        if (is_memory(region) && end > region->start && end <= PAGE_TABLE_LIMIT) {
            map(align_down(region->start, PAGE_SIZE), end, PTE_DATA);
        }
    }
}

static void map_image(void)
{
    uint64_t text = (uintptr_t)image_start;
    uint64_t rodata = (uintptr_t)image_text_end;
    uint64_t data = (uintptr_t)image_rodata_end;
    map(text, rodata, PTE_TEXT);
    map(rodata, data, PTE_RODATA);
    map(data, (uintptr_t)image_end, PTE_DATA);
}

/* The memory types that PTE_DEVICE and PTE_DATA count on; firmware may have left others. */
static void set_pat(void)
{
    if (rdmsr(IA32_PAT) != PAT_RESET) {
        wbinvd();
        wrmsr(IA32_PAT, PAT_RESET);
        wbinvd();
    }
}

void paging_init_cpu(void)
{
    set_pat();
    wrmsr(IA32_EFER, EFER_LME | EFER_LMA | EFER_NXE);
    write_cr3(paging_root());
    write_cr0(CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG);
    write_cr4(CR4_PAE | CR4_MCE);
}

void paging_init(const struct boot_info *info)
{
    bool has_1g = cpuid_read(0x80000001, 0).edx & CPUID_80000001_EDX_PAGE1GB;
    if (page_table_init(&table, has_1g, memory_alloc_page) != RIVET_OK) {
        fatal("paging: no memory for page tables; less than a page is free");
    }
    map_regions(info);
    map_image();
    paging_unmap_page(0);
    window_entries = page_table_open_page(&table, WINDOWS);
    if (window_entries == NULL) {
        fatal("paging: no memory for page tables; less than a page is free");
    }
    ASSERT(paging_root() < GIB(4)); /* other CPUs load it in 32-bit mode */
    paging_init_cpu();
}

uint64_t paging_root(void)
{
    return (uintptr_t)table.root;
}

bool paging_is_mapped(uint64_t start, uint64_t size)
{
    return page_table_is_mapped(&table, start, size);
}

void paging_unmap_page(uint64_t address)
{
    map(address, address + PAGE_SIZE, PTE_NONE);
    invlpg((void *)(uintptr_t)address);
}

static void flush_tlb(void)
{
    write_cr3(paging_root());
}

void paging_withdraw(struct paging_hole *hole)
{
    map(hole->address, hole->address + PAGE_SIZE, PTE_NONE);
    smp_call_all(flush_tlb);
    hole->next = holes;
    holes = hole;
}

void paging_wipe(uint64_t address)
{
    unsigned index = this_cpu()->index;
    void *window = (void *)(uintptr_t)(WINDOWS + index * PAGE_SIZE);

    /* A full barrier: the page walk of the next line must find the entry. */
    __atomic_store_n(&window_entries[index], address | PTE_DATA, __ATOMIC_SEQ_CST);
    memset(window, 0, PAGE_SIZE);
    __atomic_store_n(&window_entries[index], PTE_NONE, __ATOMIC_SEQ_CST);
    invlpg(window);
}

const char *paging_hole_name(uint64_t address)
{
    for (const struct paging_hole *hole = holes; hole != NULL; hole = hole->next) {
        if (address - hole->address < PAGE_SIZE) {
            return hole->name;
        }
    }
    return NULL;
}
