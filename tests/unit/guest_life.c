/* SPDX-License-Identifier: MIT */
/*
 * The whole of guest/ on a model of vmx/ and arch/: VMs from modules, their start, reset and end,
 * the last words, and the statistics.
 */
/* links: guest/guest.c guest/config.c guest/words.c guest/backing.c guest/loader.c guest/linux.c */
/* links: guest/multiboot.c guest/elf.c guest/ram.c guest/complaint.c guest/acpi.c guest/dsdt.c */
/* links: guest/firmware.c guest/serial.c guest/terminal.c guest/rtc.c guest/calendar.c */
/* links: guest/power.c guest/pci.c guest/testdev.c guest/pic.c guest/pit.c guest/isa_irq.c */
/* links: debug/stats_report.c lib/print.c tests/unit/lib/guest_machine.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "guest/fields.h"
#include "guest/guest.h"
#include "tests/unit/lib/guest_machine.h"

static struct boot_info info;
static uint8_t kernel[0x2000]; /* multiboot, loaded at 2 MiB */

static int setup(void **state)
{
    (void)state;
    machine_prepare();
    memset(&info, 0, sizeof(info));
    memset(kernel, 0xF4, sizeof(kernel));
    const uint32_t header[] = { 0x1BADB002, 1 << 16,  0U - 0x1BADB002 - (1 << 16),
                                0x200000,   0x200000, 0,
                                0,          0x200020 };
    memcpy(kernel, header, sizeof(header));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    machine_forget();
    return 0;
}

static void add(const char *cmdline)
{
    struct boot_module *module = &info.modules[info.module_count++];

    module->start = (uintptr_t)kernel;
    module->size = sizeof(kernel);
    strcpy(module->cmdline, cmdline);
}

static void (*after_start)(void);

static void configure_and_go_on(void)
{
    guest_configure(&info);
    after_start();
}

/* Configure and start, then let the scenario happen. */
static void run(void (*scenario)(void))
{
    after_start = scenario;
    machine_run(configure_and_go_on);
}

static void nothing_more(void)
{
}

static void first_powers_off(void)
{
    machine.vms[0]->vcpus[0]->stats.exits[12] = 5;
    machine.vms[0]->vcpus[0]->stats.exits[10] = 70;
    machine.vms[0]->vcpus[0]->stats.injected = 3;
    vm_stop(machine.vms[0], VM_POWERED_OFF, 0);
}

static void test_one_vm(void **state)
{
    (void)state;
    add("kernel vm=a mem=8M vcpus=2");
    run(first_powers_off);
    assert_int_equal(outcome->started, 1);
    assert_true(outcome->powered_off);
    assert_int_equal(outcome->boot_states[0].rip, 0x200020);
    assert_string_equal(
        outcome->said,
        "vm a: multiboot, 2 vCPUs, 8 MiB\n"
        "vm a: powered off\n"
        "exits of vm a, vcpu 0:\n"
        "            70  CPUID\n"
        "             5  HLT\n"
        "            75  exits in all\n"
        "  interrupts: 3 injected, 0 posted, 0 synced, 0 EOI exits, 0 timer, 0 halts\n"
        "  guest mode: 0 ticks\n"
        "exits of vm a, vcpu 1:\n"
        "             0  exits in all\n"
        "  interrupts: 0 injected, 0 posted, 0 synced, 0 EOI exits, 0 timer, 0 halts\n"
        "  guest mode: 0 ticks\n"
        "end: ok\n");
}

static void test_hold(void **state)
{
    (void)state;
    machine.options = "hold";
    add("kernel vm=a mem=8M");
    run(first_powers_off);
    assert_false(outcome->powered_off);
    assert_non_null(strstr(outcome->said, "end: ok\nhold: "));
}

static void both_exit(void)
{
    vm_stop(machine.vms[1], VM_DEBUG_EXIT, 0);
    machine_check(strstr(outcome->said, "end: ") == NULL, "the end came too early");
    vm_stop(machine.vms[0], VM_DEBUG_EXIT, 7);
}

static void test_debug_exit_codes(void **state)
{
    (void)state;
    add("kernel vm=a mem=8M testdev");
    add("kernel vm=b mem=8M testdev");
    run(both_exit);
    assert_non_null(strstr(outcome->said, "vm b: ended: debug-exit code 0\n"));
    assert_non_null(strstr(outcome->said, "vm a: ended: debug-exit code 7\n"));
    assert_non_null(strstr(outcome->said, "end: failed: 1 of 2 VMs\n"));
    assert_true(outcome->powered_off);
}

static void first_is_killed(void)
{
    vm_stop(machine.vms[0], VM_KILLED, 0);
}

static void test_killed(void **state)
{
    (void)state;
    add("kernel vm=a mem=8M");
    run(first_is_killed);
    assert_non_null(strstr(outcome->said, "vm a: killed\n"));
    assert_non_null(strstr(outcome->said, "end: failed: 1 of 1 VMs\n"));
}

/* A mistake keeps one VM out, and the end says so although the other ended well. */
static void test_mistake_beside_a_healthy_vm(void **state)
{
    (void)state;
    add("kernel vm=bad memory=8M");
    add("kernel vm=good mem=8M");
    run(first_powers_off);
    assert_int_equal(outcome->started, 1);
    assert_non_null(strstr(outcome->said, "error: module 1 (kernel vm=bad memory=8M): "));
    assert_non_null(strstr(outcome->said, "vm good: powered off\n"));
    assert_non_null(strstr(outcome->said, "end: failed: 1 of 2 VMs\n"));
}

static void test_no_module(void **state)
{
    (void)state;
    run(nothing_more);
    assert_string_equal(outcome->said,
                        "error: no modules: expected 'module2 FILE kernel vm=NAME ...' in the boot "
                        "menu entry\nend: failed: no VM\n");
    assert_true(outcome->powered_off);
}

/* The VM that asked too much was created before its memory was refused. */
static void second_powers_off(void)
{
    vm_stop(machine.vms[1], VM_POWERED_OFF, 0);
}

static void test_too_much_memory(void **state)
{
    (void)state;
    add("kernel vm=big mem=4G");
    add("kernel vm=good mem=64M");
    run(second_powers_off);
    assert_non_null(strstr(outcome->said, "error: module 1 (kernel vm=big mem=4G): mem=4096M: this "
                                          "machine has 72 MiB free for guests\n"));
    assert_non_null(strstr(outcome->said, "vm good: multiboot, 1 vCPU, 64 MiB\n"));
}

/* A VM that could not be built gives its memory back to the next one. */
static void test_failed_vm_gives_memory_back(void **state)
{
    (void)state;
    add("kernel vm=a mem=64M");
    info.modules[0].size = 100;
    put32(kernel + 4, 0); /* no load addresses, and no ELF */
    put32(kernel + 8, 0U - 0x1BADB002);
    add("kernel vm=b mem=64M");
    run(nothing_more);
    const char *text = "multiboot kernel that is no ELF file and has no load addresses\n";
    const char *once = strstr(outcome->said, text);
    assert_non_null(once);
    assert_non_null(strstr(once + 1, text)); /* not: out of memory */
    assert_non_null(strstr(outcome->said, "end: failed: 2 of 2 VMs\n"));
}

static void test_no_vcpus(void **state)
{
    (void)state;
    machine.vcpus_fail = true;
    add("kernel vm=a mem=8M");
    run(nothing_more);
    assert_non_null(strstr(outcome->said, "not enough memory for the VM's own tables"));
    assert_non_null(strstr(outcome->said, "end: failed: 1 of 1 VMs\n"));
}

static void test_files_that_do_not_belong(void **state)
{
    (void)state;
    add("kernel vm=a mem=8M");
    add("initrd vm=a");
    run(nothing_more);
    assert_non_null(strstr(outcome->said, "an 'initrd' line for a multiboot kernel: expected "
                                          "'module'\n"));
}

static void test_no_kernel_at_all(void **state)
{
    (void)state;
    memset(kernel, 'x', sizeof(kernel));
    add("kernel vm=a mem=8M");
    run(nothing_more);
    assert_non_null(strstr(outcome->said,
                           "the file of 8192 bytes is no kernel: expected a bzImage or "
                           "a multiboot kernel\n"));
}

static void test_missing_initrd(void **state)
{
    (void)state;
    put16(kernel + 0x1FE, 0xAA55);
    put32(kernel + 0x202, 0x53726448);
    put16(kernel + 0x206, 0);
    add("kernel vm=a mem=8M");
    run(nothing_more);
    assert_non_null(strstr(outcome->said, "no initrd: expected an 'initrd vm=a' line, or the word "
                                          "noinitrd\n"));
    memset(outcome, 0, sizeof(*outcome));
    strcpy(info.modules[0].cmdline, "kernel vm=a mem=8M noinitrd");
    run(nothing_more);
    assert_non_null(strstr(outcome->said, "boot protocol 0.00: expected 2.12 or later\n"));
}

static void test_home_cpus(void **state)
{
    (void)state;
    add("kernel vm=a mem=2M vcpus=3");
    add("kernel vm=b mem=2M vcpus=3 cpus=3,1");
    add("kernel vm=c mem=2M vcpus=2");
    put32(kernel + 12, 0x100000); /* load at 1 MiB: there are only two */
    put32(kernel + 16, 0x100000);
    put32(kernel + 28, 0x100020);
    run(nothing_more);
    const unsigned expected[3][3] = { { 0, 1, 2 }, { 3, 1, 3 }, { 3, 0, 0 } };
    assert_int_equal(outcome->started, 3);
    assert_memory_equal(outcome->homes[0], expected[0], 3 * sizeof(unsigned));
    assert_memory_equal(outcome->homes[1], expected[1], 3 * sizeof(unsigned));
    assert_memory_equal(outcome->homes[2], expected[2], 2 * sizeof(unsigned));
}

static void test_apicv_off(void **state)
{
    (void)state;
    machine.options = "apicv=off";
    add("kernel vm=a mem=8M");
    add("kernel vm=b mem=8M");
    run(nothing_more);
    assert_int_equal(outcome->inhibited, 2);
    memset(outcome, 0, sizeof(*outcome));
    machine.options = "apicv=on";
    run(nothing_more);
    assert_int_equal(outcome->inhibited, 0);
    machine.options = "apicv=toggle";
    run(nothing_more);
    assert_int_equal(outcome->toggled, 2);
    assert_int_equal(outcome->cycled, 0);
    machine.options = "state=cycle";
    run(nothing_more);
    assert_int_equal(outcome->cycled, 2);
}

/* The one VM is refused with that text. */
static void expect_refusal(const char *text)
{
    memset(outcome, 0, sizeof(*outcome));
    run(nothing_more);
    assert_int_equal(outcome->started, 0);
    assert_non_null(strstr(outcome->said, text));
    assert_non_null(strstr(outcome->said, "end: failed: 1 of 1 VMs"));
}

static void look_at_protection(void)
{
    machine_check(machine.vms[0]->apic.features.protected, "protected");
    machine_check(!machine.vms[1]->apic.features.protected, "not protected");
    machine_check(machine.vms[0]->pic == NULL, "testdev without an 8259 pair");
    machine_check(machine.vms[1]->pic != NULL, "testdev with one");
}

static void test_protected(void **state)
{
    (void)state;
    add("kernel vm=a mem=8M protected testdev");
    add("kernel vm=b mem=8M testdev");
    run(look_at_protection);
    assert_int_equal(outcome->started, 2);
}

static void test_protected_needs_apicv(void **state)
{
    (void)state;
    add("kernel vm=a mem=8M protected");
    machine.options = "apicv=off";
    expect_refusal("protected: the option apicv=off takes APICv away");
    machine.options = "apicv=toggle";
    expect_refusal("protected: the option apicv=toggle takes APICv away");
    machine.options = "apicv=on";
    machine.lacks = "process posted interrupts";
    expect_refusal("protected: this machine has no \"process posted interrupts\"");
}

static void look_at_devices(void)
{
    uint64_t before = atomic_load(&machine.vms[0]->device_deadline);

    machine.vms[0]->on_device_deadline(machine.vms[0], before);
    machine_check(atomic_load(&machine.vms[0]->device_deadline) > before, "the timer ticks");
    machine_check(machine.vms[0]->pic != NULL && machine.vms[1]->pic == NULL,
                  "an 8259 pair for those who ask");
    machine_check(machine.vms[0]->acknowledge_extint(machine.vms[0]) == 0x08,
                  "the timer's interrupt");
    vm_request_reset(machine.vms[0]);
    machine_check(machine.vms[0]->acknowledge_extint(machine.vms[0]) == 0x0F, "none after a reset");
}

static void test_legacy_interrupts(void **state)
{
    (void)state;
    add("kernel vm=a mem=8M pic");
    add("kernel vm=b mem=8M");
    run(look_at_devices);
    assert_true(outcome->boot_states[0].virtual_wire);
    assert_false(outcome->boot_states[1].virtual_wire);
}

static void first_resets(void)
{
    uint8_t *ram = machine.last_ram;

    ram[0x200000] = 0;  /* the guest has overwritten its kernel */
    ram[0x5000] = 0x77; /* and left something elsewhere */
    outcome->boot_states[0].rip = 0;
    vm_request_reset(machine.vms[0]);
    outcome->first_byte = ram[0x200000];
    outcome->scratch_byte = ram[0x5000];
    vm_stop(machine.vms[0], VM_POWERED_OFF, 0);
}

static void test_reset_loads_everything_again(void **state)
{
    (void)state;
    add("kernel vm=a mem=8M testdev");
    run(first_resets);
    assert_int_equal(outcome->first_byte, kernel[0]);
    assert_int_equal(outcome->scratch_byte, 0);
    assert_int_equal(outcome->boot_states[0].rip, 0x200020);
    assert_non_null(strstr(outcome->said, "vm a: reset\nvm a: powered off\n"));
    assert_non_null(strstr(outcome->said, "end: ok\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_vm, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(test_debug_exit_codes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mistake_beside_a_healthy_vm, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_module, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_much_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_vm_gives_memory_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_vcpus, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files_that_do_not_belong, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_kernel_at_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_initrd, setup, teardown),
        cmocka_unit_test_setup_teardown(test_home_cpus, setup, teardown),
        cmocka_unit_test_setup_teardown(test_protected, setup, teardown),
        cmocka_unit_test_setup_teardown(test_protected_needs_apicv, setup, teardown),
        cmocka_unit_test_setup_teardown(test_apicv_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_legacy_interrupts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset_loads_everything_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
