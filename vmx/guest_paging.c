/* SPDX-License-Identifier: MIT */
/* Walks a guest's paging structures (SDM volume 3, chapter "Paging"). */

#include "vmx/guest_paging.h"

#include "arch/x86.h"
#include "lib/bits.h"
#include "lib/error.h"

/* Bits of a paging-structure entry; the low ones are the same in all modes. */
#define ENTRY_P       BIT(0)
#define ENTRY_RW      BIT(1)
#define ENTRY_US      BIT(2)
#define ENTRY_A       BIT(5)
#define ENTRY_D       BIT(6)
#define ENTRY_PS      BIT(7)
#define ENTRY_ADDRESS 0x000FFFFFFFFFF000ULL
#define ENTRY_KEY     0x7800000000000000ULL
#define ENTRY_XD      BIT(63)

#define EFER_LMA_BIT BIT(10)
#define EFER_NXE_BIT BIT(11)

#define PF_KEY BIT(5)

enum { LEVELS_MAX = 5 };

/* One walk: the entries passed, top first. */
struct walk {
    const struct paging *paging;
    uint64_t linear;
    unsigned access;
    unsigned entry_size; /* 4 or 8 */
    uint64_t reserved;   /* bits that must be 0 in each entry of 8 bytes */
    unsigned count;
    void *entry[LEVELS_MAX];
    uint64_t leaf;
    unsigned page_shift;
    unsigned outside;  /* level of the first entry outside RAM, or 0 */
    uint64_t all, any; /* bits that every entry, that some entry has */
};

static bool ia32e(const struct paging *paging)
{
    return paging->efer & EFER_LMA_BIT;
}

static int page_fault(const struct walk *walk, uint64_t reason, struct fault *fault)
{
    const struct paging *paging = walk->paging;
    bool execute_disable = (paging->cr4 & CR4_PAE) && (paging->efer & EFER_NXE_BIT);
    uint64_t code = reason | (walk->access & ACCESS_WRITE);

    if (paging->cpl == 3) {
        code |= PF_USER;
    }
    if ((walk->access & ACCESS_FETCH) && (execute_disable || (paging->cr4 & CR4_SMEP))) {
        code |= PF_FETCH;
    }
    *fault = (struct fault){ EXCEPTION_PF, (uint32_t)code, walk->linear };
    return ERR_GP;
}

/* Bits that must be 0 in an entry of 8 bytes of any level. */
static uint64_t reserved_in_all(const struct paging *paging)
{
    uint64_t beyond = ~0ULL << paging->physical_bits;
    uint64_t reserved = beyond & (ia32e(paging) ? BIT(52) - 1 : BIT(63) - 1);
    return paging->efer & EFER_NXE_BIT ? reserved : reserved | ENTRY_XD;
}

/* Bits that must be 0 in an entry; shift is that of the page it maps, or 0 when it names a table. */
static uint64_t reserved_bits(const struct walk *walk, unsigned level, unsigned shift)
{
    const struct paging *paging = walk->paging;

    if (walk->entry_size == 4) {
        if (shift != 22) {
            return 0;
        }
        unsigned bits = paging->physical_bits < 40 ? paging->physical_bits : 40;
        return (BIT(22) - 1) & ~(BIT(bits - 19) - 1);
    }
    uint64_t reserved = walk->reserved;
    if (shift > 12) {
        reserved |= (BIT(shift) - 1) & ~(BIT(13) - 1);
    }
    if (level >= 4 || (level == 3 && !paging->pages_1g)) {
        reserved |= ENTRY_PS;
    }
    return reserved;
}

static bool maps_page(const struct walk *walk, unsigned level, uint64_t entry)
{
    if (level == 1) {
        return true;
    }
    if (!(entry & ENTRY_PS) || level > 3) {
        return false;
    }
    return walk->entry_size == 8 || (walk->paging->cr4 & CR4_PSE);
}

static uint64_t load_entry(const struct walk *walk, void *entry)
{
    if (!entry) {
        return walk->entry_size == 4 ? ~0U : ~0ULL;
    }
    if (walk->entry_size == 4) {
        return __atomic_load_n((uint32_t *)entry, __ATOMIC_RELAXED);
    }
    return __atomic_load_n((uint64_t *)entry, __ATOMIC_RELAXED);
}

/* Follow the structures from the table at that address, which is of the given level, to the leaf. */
static int walk_tables(struct walk *walk, uint64_t table, unsigned level, struct fault *fault)
{
    const struct paging *paging = walk->paging;
    unsigned size = walk->entry_size;
    unsigned index_bits = size == 4 ? 10 : 9;
    uint64_t index_mask = BIT(index_bits) - 1;

    for (unsigned shift = 12 + (level - 1) * index_bits;; level--, shift -= index_bits) {
        uint64_t index = walk->linear >> shift & index_mask;
        void *pointer = paging->entry(paging->context, table + index * size, size);
        uint64_t entry = load_entry(walk, pointer);

        if (!pointer && !walk->outside) {
            walk->outside = level;
        }
        if (!(entry & ENTRY_P)) {
            return page_fault(walk, 0, fault);
        }
        bool leaf = maps_page(walk, level, entry);
        if (entry & reserved_bits(walk, level, leaf ? shift : 0)) {
            return page_fault(walk, PF_PRESENT | PF_RESERVED, fault);
        }
        walk->entry[walk->count++] = pointer;
        walk->all &= entry;
        walk->any |= entry;
        if (leaf) {
            walk->leaf = entry;
            walk->page_shift = shift;
            return 0;
        }
        table = entry & ENTRY_ADDRESS;
    }
}

static bool is_user(const struct walk *walk)
{
    return walk->all & ENTRY_US;
}

static bool key_forbids(const struct walk *walk)
{
    const struct paging *paging = walk->paging;
    if (!(paging->cr4 & CR4_PKE) || !ia32e(paging) || !is_user(walk) ||
        (walk->access & ACCESS_FETCH)) {
        return false;
    }
    uint32_t rights = paging->pkru >> (2 * field_get(ENTRY_KEY, walk->leaf));
    bool write = walk->access & ACCESS_WRITE;
    bool write_checked = paging->cpl == 3 || (paging->cr0 & CR0_WP);
    return (rights & 1) || ((rights & 2) && write && write_checked);
}

/* SDM volume 3, "Determination of Access Rights". */
static bool rights_forbid(const struct walk *walk)
{
    const struct paging *paging = walk->paging;
    bool write = walk->access & ACCESS_WRITE;
    bool fetch = walk->access & ACCESS_FETCH;
    bool writable = walk->all & ENTRY_RW;
    bool user = is_user(walk);

    if (fetch && (walk->any & ENTRY_XD)) {
        return true;
    }
    if (paging->cpl == 3) {
        return !user || (write && !writable);
    }
    if (user && fetch && (paging->cr4 & CR4_SMEP)) {
        return true;
    }
    if (user && !fetch && (paging->cr4 & CR4_SMAP) && !(paging->rflags & RFLAGS_AC)) {
        return true;
    }
    return write && !writable && (paging->cr0 & CR0_WP);
}

static void set_bits(const struct walk *walk, unsigned i, uint64_t bits)
{
    void *entry = walk->entry[i];
    if (!entry || (load_entry(walk, entry) & bits) == bits) {
        return;
    }
    if (walk->entry_size == 4) {
        __atomic_fetch_or((uint32_t *)entry, (uint32_t)bits, __ATOMIC_RELAXED);
    } else {
        __atomic_fetch_or((uint64_t *)entry, bits, __ATOMIC_RELAXED);
    }
}

static void set_accessed_and_dirty(const struct walk *walk)
{
    if ((walk->all & ENTRY_A) && (!(walk->access & ACCESS_WRITE) || (walk->leaf & ENTRY_D))) {
        return;
    }
    for (unsigned i = 0; i < walk->count; i++) {
        bool dirty = i == walk->count - 1 && (walk->access & ACCESS_WRITE);
        set_bits(walk, i, ENTRY_A | (dirty ? ENTRY_D : 0));
    }
}

static uint64_t page_address(const struct walk *walk)
{
    uint64_t offset_mask = BIT(walk->page_shift) - 1;
    uint64_t page = walk->leaf & ENTRY_ADDRESS & ~offset_mask;
    if (walk->entry_size == 4 && walk->page_shift == 22) {
        page = (walk->leaf & 0xFFC00000U) | (walk->leaf >> 13 & 0xFF) << 32; /* PSE-36 */
    }
    return page | (walk->linear & offset_mask);
}

static int walk_by_mode(struct walk *walk, struct fault *fault)
{
    const struct paging *paging = walk->paging;
    uint64_t root = paging->cr3 & ENTRY_ADDRESS;

    if (ia32e(paging)) {
        return walk_tables(walk, root, paging->cr4 & CR4_LA57 ? 5 : 4, fault);
    }
    if (paging->cr4 & CR4_PAE) {
        uint64_t pdpte = paging->pdpte[walk->linear >> 30 & 3];
        if (!(pdpte & ENTRY_P)) {
            return page_fault(walk, 0, fault);
        }
        return walk_tables(walk, pdpte & ENTRY_ADDRESS, 2, fault);
    }
    walk->entry_size = 4;
    return walk_tables(walk, root & 0xFFFFF000U, 2, fault);
}

static struct walk new_walk(const struct paging *paging, uint64_t linear, unsigned access)
{
    return (struct walk){
        .paging = paging,
        .linear = linear,
        .access = access,
        .entry_size = 8,
        .reserved = reserved_in_all(paging),
        .all = ~0ULL,
    };
}

unsigned paging_level_outside_ram(const struct paging *paging, uint64_t linear)
{
    struct walk walk = new_walk(paging, linear, ACCESS_READ);
    struct fault unused;
    if (paging->cr0 & CR0_PG) {
        walk_by_mode(&walk, &unused);
    }
    return walk.outside;
}

int paging_translate(const struct paging *paging, uint64_t linear, unsigned access, uint64_t *gpa,
                     struct fault *fault)
{
    struct walk walk = new_walk(paging, linear, access);
    if (!(paging->cr0 & CR0_PG)) {
        *gpa = linear;
        return 0;
    }
    int error = walk_by_mode(&walk, fault);
    if (error) {
        return error;
    }
    bool key = key_forbids(&walk);
    if (key || rights_forbid(&walk)) {
        return page_fault(&walk, PF_PRESENT | (key ? PF_KEY : 0), fault);
    }
    set_accessed_and_dirty(&walk);
    *gpa = page_address(&walk);
    return 0;
}
