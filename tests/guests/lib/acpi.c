/* SPDX-License-Identifier: MIT */
/* CPUs as the ACPI MADT lists them (ACPI specification, "Multiple APIC Description Table"). */
#include "tests/guests/lib/acpi.h"

#include "tests/guests/lib/guest.h"

struct rsdp {
    char signature[8];
    uint8_t checksum;
    char oem[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
} __attribute__((packed));

struct table {
    char signature[4];
    uint32_t length;
    uint8_t rest[28];
} __attribute__((packed));
_Static_assert(sizeof(struct table) == 36, "ACPI table header");

enum { BIOS_AREA = 0xE0000, BIOS_AREA_END = 0x100000, EBDA_SEGMENT = 0x40E, EBDA_BYTES = 1024 };
enum { MADT_ENTRIES = sizeof(struct table) + 8 };
enum { MADT_LOCAL_APIC = 0, MADT_LOCAL_X2APIC = 9, MADT_ENABLED = 1 };

static uint32_t load32(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

static const struct rsdp *scan(uintptr_t from, uintptr_t to)
{
    for (uintptr_t at = from; at < to; at += 16) {
        if (memcmp((const void *)at, "RSD PTR ", 8) == 0) {
            return (const struct rsdp *)at;
        }
    }
    return NULL;
}

static const struct rsdp *find_rsdp(void)
{
    uint16_t segment;
    /* The compiler must not reason about an object at this address. */
    const uint8_t *pointer = (const uint8_t *)EBDA_SEGMENT;
    __asm__("" : "+r"(pointer));
    memcpy(&segment, pointer, sizeof(segment));
    uintptr_t ebda = (uintptr_t)segment << 4;
    const struct rsdp *rsdp = ebda == 0 ? NULL : scan(ebda, ebda + EBDA_BYTES);
    return rsdp != NULL ? rsdp : scan(BIOS_AREA, BIOS_AREA_END);
}

static const struct table *find_table(const char *signature)
{
    const struct rsdp *rsdp = find_rsdp();
    if (rsdp == NULL) {
        return NULL;
    }
    bool wide = rsdp->revision >= 2 && rsdp->xsdt != 0;
    const struct table *root = (const void *)(uintptr_t)(wide ? rsdp->xsdt : rsdp->rsdt);
    unsigned size = wide ? 8 : 4;
    const uint8_t *end = (const uint8_t *)root + root->length;
    for (const uint8_t *at = (const uint8_t *)(root + 1); at + size <= end; at += size) {
        uint64_t address = 0;
        memcpy(&address, at, size);
        const struct table *table = (const void *)(uintptr_t)address;
        if (memcmp(table->signature, signature, 4) == 0) {
            return table;
        }
    }
    return NULL;
}

/* One MADT entry: whether it is an enabled CPU, and which. */
static bool entry_cpu(const uint8_t *entry, uint32_t *id)
{
    if (entry[0] == MADT_LOCAL_APIC) {
        *id = entry[3];
        return (load32(entry + 4) & MADT_ENABLED) != 0;
    }
    if (entry[0] == MADT_LOCAL_X2APIC) {
        *id = load32(entry + 4);
        return (load32(entry + 8) & MADT_ENABLED) != 0;
    }
    return false;
}

unsigned acpi_list_cpus(uint32_t *apic_ids, unsigned size)
{
    const struct table *madt = find_table("APIC");
    unsigned found = 0;
    if (madt == NULL) {
        return 0;
    }
    const uint8_t *end = (const uint8_t *)madt + madt->length;
    for (const uint8_t *entry = (const uint8_t *)madt + MADT_ENTRIES;
         entry + 2 <= end && entry[1] >= 2 && found < size; entry += entry[1]) {
        if (entry_cpu(entry, &apic_ids[found])) {
            found++;
        }
    }
    return found;
}
