/* SPDX-License-Identifier: MIT */
/*
 * The port of apic/ for host tests, and the CPU's side of APICv (SDM volume 3, chapter "APIC
 * Virtualization and Virtual Interrupts").
 */
#include "tests/unit/lib/apic_port_model.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "apic/port.h"

struct model model;
_Alignas(8) uint8_t model_ram[MODEL_RAM];

const struct apic_features model_all_features = {
    .tpr_shadow = true,
    .apic_accesses = true,
    .x2apic_mode = true,
    .register_virt = true,
    .interrupt_delivery = true,
    .posted_interrupts = true,
    .cmci = true,
    .physical_address_bits = 40,
};

static struct model_vcpu *vcpu_of(struct lapic *lapic)
{
    return &model.vcpu[lapic->id];
}

static void check(bool cond, const char *what)
{
    if (!cond) {
        fprintf(stderr, "model: %s\n", what);
        abort();
    }
}

/* --- The virtual-APIC page, as the CPU sees it ------------------------------------------------ */

static uint32_t *word(struct model_vcpu *vcpu, uint32_t offset)
{
    return (uint32_t *)(void *)&vcpu->page[offset];
}

static uint32_t *vector_word(struct model_vcpu *vcpu, uint32_t bank, unsigned vector)
{
    return word(vcpu, bank | (vector & 0xE0) >> 1);
}

static void set_bit(struct model_vcpu *vcpu, uint32_t bank, unsigned vector, bool value)
{
    uint32_t bit = 1U << (vector & 0x1F);
    uint32_t *at = vector_word(vcpu, bank, vector);
    *at = value ? *at | bit : *at & ~bit;
}

static int highest(struct model_vcpu *vcpu, uint32_t bank)
{
    for (int vector = 255; vector >= 0; vector--) {
        if ((*vector_word(vcpu, bank, (unsigned)vector) >> (vector & 0x1F) & 1) != 0) {
            return vector;
        }
    }
    return -1;
}

static uint8_t highest_or_0(struct model_vcpu *vcpu, uint32_t bank)
{
    int found = highest(vcpu, bank);
    return found < 0 ? 0 : (uint8_t)found;
}

static void ppr_virtualization(struct model_vcpu *vcpu)
{
    uint32_t vtpr = *word(vcpu, APIC_TPR);
    uint32_t class = vcpu->svi & 0xF0U;
    *word(vcpu, APIC_PPR) = (vtpr & 0xF0) >= class ? vtpr & 0xFF : class;
}

static int virtual_interrupt_delivery(struct model_vcpu *vcpu)
{
    uint8_t vector = vcpu->rvi;
    set_bit(vcpu, APIC_ISR, vector, true);
    vcpu->svi = vector;
    *word(vcpu, APIC_PPR) = vector & 0xF0U;
    set_bit(vcpu, APIC_IRR, vector, false);
    vcpu->rvi = highest_or_0(vcpu, APIC_IRR);
    return vector;
}

static int evaluate(struct model_vcpu *vcpu)
{
    bool recognized = (vcpu->rvi & 0xF0U) > (*word(vcpu, APIC_PPR) & 0xF0);
    return recognized && vcpu->interrupts_enabled ? virtual_interrupt_delivery(vcpu) : -1;
}

static void posted_interrupt_processing(struct model_vcpu *vcpu)
{
    vcpu->pi.control &= ~1ULL;
    for (unsigned vector = 0; vector < 256; vector++) {
        if ((vcpu->pi.pir[vector / 64] >> (vector % 64) & 1) != 0) {
            set_bit(vcpu, APIC_IRR, vector, true);
            vcpu->rvi = vector > vcpu->rvi ? (uint8_t)vector : vcpu->rvi;
        }
    }
    memset(&vcpu->pi.pir, 0, sizeof(vcpu->pi.pir));
}

static void hardware_eoi(struct model_vcpu *vcpu)
{
    uint8_t vector = vcpu->svi;
    set_bit(vcpu, APIC_ISR, vector, false);
    vcpu->svi = highest_or_0(vcpu, APIC_ISR);
    ppr_virtualization(vcpu);
    if ((vcpu->eoi_exit[vector / 64] >> (vector % 64) & 1) != 0) {
        lapic_eoi_induced(&vcpu->lapic, vector);
    }
}

/* --- The port --------------------------------------------------------------------------------- */

uint64_t apic_port_tsc(void)
{
    return model.tsc;
}

void apic_port_kick(struct lapic *lapic)
{
    vcpu_of(lapic)->kicks++;
    vcpu_of(lapic)->in_guest = false;
}

void apic_port_notify(struct lapic *lapic)
{
    struct model_vcpu *vcpu = vcpu_of(lapic);
    vcpu->notifications++;
    if (!vcpu->in_guest) {
        return;
    }
    if (lapic->vm->features.posted_interrupts) {
        posted_interrupt_processing(vcpu);
    } else {
        vcpu->in_guest = false;
    }
}

void apic_port_notify_self(struct lapic *lapic)
{
    check(!vcpu_of(lapic)->in_guest, "a notification to itself from guest mode");
    vcpu_of(lapic)->self_notifications++;
    vcpu_of(lapic)->notification_pending = true;
}

void apic_port_fresh_page(struct lapic *lapic)
{
    vcpu_of(lapic)->fresh_pages++;
    memset(vcpu_of(lapic)->page, 0, sizeof(vcpu_of(lapic)->page));
}

void apic_port_nmi(struct lapic *lapic)
{
    vcpu_of(lapic)->nmis++;
}

uint16_t apic_port_read_interrupt_status(struct lapic *lapic)
{
    return (uint16_t)(vcpu_of(lapic)->rvi | vcpu_of(lapic)->svi << 8);
}

void apic_port_write_interrupt_status(struct lapic *lapic, uint16_t status)
{
    struct model_vcpu *vcpu = vcpu_of(lapic);
    check(!vcpu->in_guest, "guest interrupt status written in guest mode");
    vcpu->status_writes++;
    vcpu->rvi = (uint8_t)status;
    vcpu->svi = (uint8_t)(status >> 8);
}

void apic_port_write_eoi_exit_bitmap(struct lapic *lapic, const uint64_t bitmap[4])
{
    struct model_vcpu *vcpu = vcpu_of(lapic);
    check(!vcpu->in_guest, "EOI-exit bitmap written in guest mode");
    vcpu->bitmap_writes++;
    memcpy(vcpu->eoi_exit, bitmap, sizeof(vcpu->eoi_exit));
}

void apic_port_write_tpr_threshold(struct lapic *lapic, uint8_t threshold)
{
    check(lapic->vm->features.tpr_shadow, "TPR threshold without TPR shadow");
    vcpu_of(lapic)->threshold_writes++;
    vcpu_of(lapic)->tpr_threshold = threshold;
}

void apic_port_refresh_controls(struct lapic *lapic)
{
    vcpu_of(lapic)->refreshes++;
}

int apic_port_acknowledge_extint(struct lapic *lapic)
{
    return model.acknowledge != NULL ? model.acknowledge(lapic) : -1;
}

void *apic_port_guest_memory(struct lapic *lapic, uint64_t address, uint64_t size)
{
    (void)lapic;
    bool inside = address >= MODEL_RAM_BASE && address < MODEL_RAM_BASE + MODEL_RAM &&
                  size <= MODEL_RAM_BASE + MODEL_RAM - address;
    return inside ? &model_ram[address - MODEL_RAM_BASE] : NULL;
}

void apic_port_log(struct lapic *lapic, const char *text, uint64_t value)
{
    (void)text;
    (void)value;
    vcpu_of(lapic)->logs++;
}

/* --- Driving it ------------------------------------------------------------------------------- */

/* What apic/ believes to be the virtual-APIC page of a protected local APIC: a touch ends the test. */
static void *forbidden_page(void)
{
    static void *page;
    if (page == NULL) {
        page = mmap(NULL, APIC_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        check(page != MAP_FAILED, "mmap");
    }
    return page;
}

void model_start(const struct apic_features *features, unsigned vcpus)
{
    memset(&model, 0, offsetof(struct model, vcpu));
    memset(model.vcpu, 0, vcpus * sizeof(model.vcpu[0]));
    memset(model_ram, 0, sizeof(model_ram));
    model.tsc = 1000000;
    apic_vm_init(&model.vm, features);
    for (unsigned i = 0; i < vcpus; i++) {
        struct model_vcpu *vcpu = &model.vcpu[i];
        vcpu->interrupts_enabled = true;
        if (features->protected) {
            lapic_init(&vcpu->lapic, &model.vm, i, vcpu->software_page, forbidden_page(),
                       &vcpu->pi);
        } else {
            lapic_init(&vcpu->lapic, &model.vm, i, vcpu->page, vcpu->page, &vcpu->pi);
        }
    }
}

void model_enable_all(void)
{
    for (unsigned i = 0; i < model.vm.vcpu_count; i++) {
        lapic_mmio_write(&model.vcpu[i].lapic, APIC_SVR, 4, 0x1FF);
    }
}

void model_enter_x2apic(unsigned index)
{
    struct lapic *lapic = &model.vcpu[index].lapic;
    lapic_write_base(lapic, lapic_read_base(lapic) | APIC_BASE_EXTD);
}

/*
 * SDM, "Updating Non-Register State": RVI and SVI, PPR virtualization, pending virtual interrupts. A kick
 * that came on the way waits behind the entry and ends guest mode at once.
 */
int model_enter(unsigned index)
{
    struct model_vcpu *vcpu = &model.vcpu[index];
    unsigned kicks = vcpu->kicks;
    vcpu->in_guest = false;
    lapic_after_exit(&vcpu->lapic);
    struct lapic_entry entry = lapic_before_entry(&vcpu->lapic, vcpu->interrupts_enabled);

    vcpu->in_guest = vcpu->kicks == kicks;
    if (!lapic_apicv_active(&vcpu->lapic)) {
        bool below = (*word(vcpu, APIC_TPR) >> 4 & 0xF) < vcpu->tpr_threshold;
        check(!below, "VM entry with TPR below its threshold");
        check(entry.inject < 0 || vcpu->interrupts_enabled, "injection with IF clear");
        return entry.inject;
    }
    check(entry.inject < 0 && !entry.interrupt_window, "injection with APICv active");
    check(vcpu->rvi == highest_or_0(vcpu, APIC_IRR), "RVI is not the highest vIRR");
    check(vcpu->svi == highest_or_0(vcpu, APIC_ISR), "SVI is not the highest vISR");
    ppr_virtualization(vcpu);
    if (vcpu->notification_pending) {
        vcpu->notification_pending = false;
        posted_interrupt_processing(vcpu);
    }
    return evaluate(vcpu);
}

int model_evaluate(unsigned index)
{
    check(model.vcpu[index].in_guest, "hardware step outside guest mode");
    return evaluate(&model.vcpu[index]);
}

void model_eoi(unsigned index)
{
    struct model_vcpu *vcpu = &model.vcpu[index];
    if (lapic_apicv_active(&vcpu->lapic)) {
        hardware_eoi(vcpu);
    } else if (lapic_mode(&vcpu->lapic) == LAPIC_X2APIC) {
        lapic_write_msr(&vcpu->lapic, 0x80B, 0);
    } else {
        lapic_mmio_write(&vcpu->lapic, APIC_EOI, 4, 0);
    }
}

void model_write_tpr(unsigned index, uint8_t value)
{
    struct model_vcpu *vcpu = &model.vcpu[index];
    bool active = lapic_apicv_active(&vcpu->lapic);
    if (!active && !model.vm.features.tpr_shadow) {
        lapic_write_cr8(&vcpu->lapic, value >> 4);
        return;
    }
    *word(vcpu, APIC_TPR) = value;
    if (active) {
        ppr_virtualization(vcpu);
    } else if (value >> 4 < vcpu->tpr_threshold) {
        lapic_tpr_below_threshold(&vcpu->lapic);
    }
}

void model_self_ipi(unsigned index, uint8_t vector)
{
    struct model_vcpu *vcpu = &model.vcpu[index];
    set_bit(vcpu, APIC_IRR, vector, true);
    vcpu->self_ipis[vector / 8] |= (uint8_t)(1U << vector % 8);
    vcpu->rvi = vector > vcpu->rvi ? vector : vcpu->rvi;
}

int model_highest(unsigned index, uint32_t bank)
{
    return highest(&model.vcpu[index], bank);
}

uint32_t model_read(unsigned index, uint32_t offset)
{
    return *word(&model.vcpu[index], offset);
}
