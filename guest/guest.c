/* SPDX-License-Identifier: MIT */
/* All the virtual machines of this boot: from modules to running guests to the end. */
#include "guest/guest.h"

#include <stdatomic.h>

#include "arch/cpu.h"
#include "arch/memory.h"
#include "arch/options.h"
#include "arch/tsc.h"
#include "debug/stats_report.h"
#include "drivers/power.h"
#include "guest/acpi.h"
#include "guest/backing.h"
#include "guest/config.h"
#include "guest/firmware.h"
#include "guest/host_clock.h"
#include "guest/loader.h"
#include "guest/pci.h"
#include "guest/pic.h"
#include "guest/pit.h"
#include "guest/power.h"
#include "guest/rtc.h"
#include "guest/terminal.h"
#include "guest/testdev.h"
#include "guest/serial.h"
#include "lib/bits.h"
#include "lib/log.h"
#include "vmx/apicv_toggle.h"
#include "vmx/state_cycle.h"
#include "vmx/capabilities.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"

_Static_assert((int)CONFIG_MAX_EXTRAS <= (int)BOOT_MAX_FILES,
               "every module line fits into a boot request");

/* One VM with its devices. Written by the boot CPU before the VM runs, then by its devices. */
struct guest {
    const struct vm_config *config;
    struct vm *vm;
    struct ram ram;
    struct boot_request request;
    struct terminal terminal;
    struct serial serial;
    struct rtc rtc;
    struct power power;
    struct pci pci;
    struct testdev *testdev; /* NULL without the word testdev */
    struct pic pic;          /* these two with the words pic or testdev */
    struct pit pit;
    _Atomic bool running;
};

static struct config config;
static struct guest guests[CONFIG_MAX_VMS];
static unsigned guest_count; /* those that were started: guests[0 .. guest_count-1] */
static unsigned described;   /* VMs that somebody meant to describe */
static atomic_uint still_running;
static atomic_uint ended_well;

/* --- The end ---------------------------------------------------------------------------------- */

/* Last words, which tools/boot reads, and power off. Once, on whatever CPU. */
static void finish(void)
{
    unsigned failed = described - ended_well;

    for (unsigned i = 0; i < guest_count; i++) {
        stats_report(guests[i].vm);
    }
    if (described == 0) {
        log_info("end: failed: no VM");
    } else if (failed > 0) {
        log_info("end: failed: %u of %u VMs", failed, described);
    } else {
        log_info("end: ok");
    }
    if (option_given("hold")) {
        log_info("hold: the machine stays on");
        return;
    }
    power_off();
}

/* Say how the VM ended; whether it ended well. */
static bool report_end(const struct vm *vm)
{
    switch (atomic_load(&vm->end)) {
    case VM_POWERED_OFF:
        log_info("vm %s: powered off", vm->name);
        return true;
    case VM_DEBUG_EXIT:
        log_info("vm %s: ended: debug-exit code %u", vm->name, vm->end_code);
        return vm->end_code == 0;
    default:
        log_info("vm %s: killed", vm->name);
        return false;
    }
}

/* The console's input goes to the first VM that still runs. */
static void move_focus(void)
{
    for (unsigned i = 0; i < guest_count; i++) {
        if (guests[i].running) {
            terminal_focus(&guests[i].terminal);
            return;
        }
    }
}

/* A test of Rivet itself (option fault=): an access that is a panic where the VM is protected. */
static void touch_apic_page(const struct vm *vm)
{
    if (option_is("fault", "apic-page")) {
        const void *page = vm->vcpus[0]->lapic.virtual_page;
        log_info("fault: the virtual-APIC page of VM %s begins with %x", vm->name,
                 *(const volatile uint32_t *)page);
    }
}

static void on_end(struct vm *vm)
{
    struct guest *guest = vm->guest;

    touch_apic_page(vm);
    guest->running = false;
    terminal_flush(&guest->terminal);
    if (report_end(vm)) {
        atomic_fetch_add(&ended_well, 1);
    }
    if (atomic_fetch_sub(&still_running, 1) == 1) {
        finish();
    } else {
        move_focus();
    }
}

/* --- The 8259 pair and the 8254 ---------------------------------------------------------------- */

/* A protected local APIC cannot take their interrupts (ExtINT). */
static bool has_pic(const struct guest *guest)
{
    return (guest->config->pic || guest->config->testdev) && !guest->config->protected;
}

static void on_device_deadline(struct vm *vm, uint64_t now)
{
    struct guest *guest = vm->guest;

    pit_poll(&guest->pit, now);
}

static int add_pic(struct guest *guest)
{
    if (!has_pic(guest)) {
        return RIVET_OK;
    }
    guest->vm->on_device_deadline = on_device_deadline;
    int error = pic_init(&guest->pic, guest->vm);
    return error == RIVET_OK ? pit_init(&guest->pit, guest->vm, tsc_hz()) : error;
}

/* --- Boot state ------------------------------------------------------------------------------- */

/*
 * Fill cleared guest memory and set vCPU 0 to its start. The protocol's name, or NULL and a
 * complaint.
 */
static const char *load(struct guest *guest, struct vcpu_boot_state *state,
                        struct complaint *complaint)
{
    firmware_write(&guest->ram);
    if (has_pic(guest)) {
        firmware_write_vectors(&guest->ram);
    }
    guest->request.rsdp = acpi_write_tables(&guest->ram, guest->config->vcpus);
    const char *protocol = loader_load(&guest->request, !guest->config->noinitrd, state, complaint);
    if (protocol != NULL) {
        state->virtual_wire = has_pic(guest) && !state->long_mode;
    }
    return protocol;
}

/*
 * A PC's firmware leaves its timer ticking and its 8259 pair at work. Linux, which starts by its 64-bit
 * protocol, learns from the ACPI tables that there are none, and finds them at rest.
 */
static void reset_pic(struct guest *guest, const struct vcpu_boot_state *state)
{
    if (has_pic(guest)) {
        pit_reset(&guest->pit, state->virtual_wire, rdtsc());
        pic_reset(&guest->pic, state->virtual_wire);
    }
}

static void on_reset(struct vm *vm)
{
    struct guest *guest = vm->guest;
    struct vcpu_boot_state state;
    struct complaint complaint;

    log_info("vm %s: reset", vm->name);
    terminal_flush(&guest->terminal);
    ioapic_init(&vm->apic.ioapic);
    serial_reset(&guest->serial);
    power_reset_state(&guest->power);
    pci_reset(&guest->pci);
    if (guest->testdev != NULL) {
        testdev_reset(guest->testdev);
    }
    ram_clear(&guest->ram);
    const char *protocol = load(guest, &state, &complaint);
    ASSERT(protocol != NULL); /* the modules are as they were when it worked */
    reset_pic(guest, &state);
    vcpu_set_boot_state(vm->vcpus[0], &state);
}

static void on_hold(struct vm *vm, bool hold)
{
    struct guest *guest = vm->guest;
    serial_hold(&guest->serial, hold);
}

/* --- Start-up --------------------------------------------------------------------------------- */

static int add_testdev(struct guest *guest)
{
    if (!guest->config->testdev) {
        return RIVET_OK;
    }
    guest->testdev = memory_alloc(sizeof(*guest->testdev), PAGE_SIZE);
    if (guest->testdev == NULL) {
        return ERR_NO_MEMORY;
    }
    return testdev_init(guest->testdev, guest->vm, &guest->ram);
}

static int add_devices(struct guest *guest, const struct rtc_source *clock)
{
    struct vm *vm = guest->vm;

    int error = serial_init(&guest->serial, vm, &guest->terminal);
    if (error == RIVET_OK) {
        error = rtc_init(&guest->rtc, vm, &guest->ram, clock);
    }
    if (error == RIVET_OK) {
        error = power_init(&guest->power, vm);
    }
    if (error == RIVET_OK) {
        error = pci_init(&guest->pci, vm, &guest->power);
    }
    if (error == RIVET_OK) {
        error = add_testdev(guest);
    }
    if (error == RIVET_OK) {
        error = add_pic(guest);
    }
    return error;
}

/* CPUs given by cpus= in turn; without it all CPUs in turn, going on where the last VM stopped. */
static unsigned home_cpu(const struct vm_config *vm, unsigned index)
{
    static unsigned next;

    if (vm->cpu_count > 0) {
        return vm->cpus[index % vm->cpu_count];
    }
    return next++ % cpu_count();
}

static int add_vcpus(struct guest *guest)
{
    for (unsigned i = 0; i < guest->config->vcpus; i++) {
        if (vcpu_create(guest->vm, i, home_cpu(guest->config, i)) == NULL) {
            return ERR_NO_MEMORY;
        }
    }
    return RIVET_OK;
}

/* The reset vector's place at the top of the first 4 GiB. */
static int map_firmware(struct guest *guest)
{
    void *host = ram_at(&guest->ram, FIRMWARE_START, FIRMWARE_SIZE);

    return vm_map(guest->vm, FIRMWARE_ALIAS, (uintptr_t)host, FIRMWARE_SIZE, EPT_READ | EPT_EXEC);
}

static struct boot_file file_of(const struct boot_info *info, int module)
{
    if (module < 0) {
        return (struct boot_file){ NULL, 0, "" };
    }
    const struct boot_module *from = &info->modules[module];
    return (struct boot_file){ (const uint8_t *)(uintptr_t)from->start, from->size,
                               config_arguments(from) };
}

static void describe_files(struct guest *guest, const struct boot_info *info)
{
    const struct vm_config *vm = guest->config;
    struct boot_request *request = &guest->request;

    *request = (struct boot_request){ .ram = &guest->ram, .name = vm->name };
    request->kernel = file_of(info, vm->kernel);
    request->initrd = file_of(info, vm->initrd);
    for (unsigned i = 0; i < vm->extra_count; i++) {
        request->modules[request->module_count++] = file_of(info, vm->extras[i]);
    }
}

static int out_of_memory(struct complaint *complaint)
{
    return COMPLAIN(complaint, "not enough memory for the VM's own tables: %lu KiB are free",
                    memory_free_bytes() >> 10);
}

/* What a protected VM needs of the machine and of Rivet's options. */
static int check_protected(const struct vm_config *vm, struct complaint *complaint)
{
    if (!vm->protected) {
        return RIVET_OK;
    }
    if (option_is("apicv", "off") || option_is("apicv", "toggle")) {
        return COMPLAIN(complaint,
                        "protected: the option apicv=%s takes APICv away, and a "
                        "protected VM cannot be without",
                        option_is("apicv", "off") ? "off" : "toggle");
    }
    const char *missing = vmx_missing_for_protected();
    if (missing != NULL) {
        return COMPLAIN(complaint, "protected: this machine has no \"%s\"", missing);
    }
    return RIVET_OK;
}

/* Everything about a VM but its vCPUs' first step. */
static int build(struct guest *guest, const struct boot_info *info, const struct rtc_source *clock,
                 struct complaint *complaint)
{
    const struct vm_config *vm_config = guest->config;
    struct vcpu_boot_state state;

    int error = check_protected(vm_config, complaint);
    if (error != RIVET_OK) {
        return error;
    }
    guest->vm = vm_create(vm_config->name);
    if (guest->vm == NULL) {
        return out_of_memory(complaint);
    }
    guest->vm->guest = guest;
    guest->vm->apic.features.no_x2apic = vm_config->nox2apic;
    guest->vm->apic.features.protected = vm_config->protected;
    guest->vm->on_end = on_end;
    guest->vm->on_reset = on_reset;
    guest->vm->on_hold = on_hold;
    ram_plan(&guest->ram, vm_config->memory);
    error = backing_allocate(&guest->ram, guest->vm, complaint);
    if (error != RIVET_OK) {
        return error;
    }
    describe_files(guest, info);
    const char *protocol = load(guest, &state, complaint);
    if (protocol == NULL) {
        return ERR_INVALID;
    }
    if (map_firmware(guest) != RIVET_OK || add_vcpus(guest) != RIVET_OK ||
        add_devices(guest, clock) != RIVET_OK) {
        return out_of_memory(complaint);
    }
    reset_pic(guest, &state);
    vcpu_set_boot_state(guest->vm->vcpus[0], &state);
    log_info("vm %s: %s, %u vCPU%s, %lu MiB", guest->vm->name, protocol, vm_config->vcpus,
             vm_config->vcpus == 1 ? "" : "s", vm_config->memory >> 20);
    return RIVET_OK;
}

/* Build one described VM into the next free guest; a failure is reported and leaves it free. */
static void add_guest(const struct vm_config *vm_config, const struct boot_info *info,
                      const struct rtc_source *clock)
{
    struct guest *guest = &guests[guest_count];
    struct complaint complaint;

    guest->config = vm_config;
    if (build(guest, info, clock, &complaint) != RIVET_OK) {
        config_mistake(info, vm_config->kernel, "%s", complaint.text);
        backing_free(&guest->ram);
        return;
    }
    if (option_is("apicv", "off")) {
        apicv_set_inhibit(&guest->vm->apic, APICV_INHIBIT_OPTION, true);
    } else if (option_is("apicv", "toggle")) {
        apicv_toggle_start(guest->vm);
    }
    if (option_is("state", "cycle")) {
        state_cycle_start(guest->vm);
    }
    guest_count++;
}

static void start(void)
{
    terminal_start(guest_count > 1);
    still_running = guest_count;
    for (unsigned i = 0; i < guest_count; i++) {
        guests[i].running = true;
    }
    for (unsigned i = 0; i < guest_count; i++) {
        vm_start(guests[i].vm);
    }
}

void guest_configure(const struct boot_info *info)
{
    struct rtc_source clock = host_clock_read();

    if (info->module_count == 0) {
        log_info(
            "error: no modules: expected 'module2 FILE kernel vm=NAME ...' in the boot menu entry");
    }
    config_read(info, cpu_count(), &config);
    described = config.vm_count + config.strays;
    for (unsigned i = 0; i < config.vm_count; i++) {
        if (!config.vms[i].failed) {
            add_guest(&config.vms[i], info, &clock);
        }
    }
    if (guest_count == 0) {
        finish();
        return;
    }
    start();
}
