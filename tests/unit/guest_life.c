/* SPDX-License-Identifier: MIT */
/*
 * The whole of guest/ on a model of vmx/ and arch/: VMs from modules, their start, reset and end,
 * the last words, and the statistics. Each scenario runs in a child
 * process, as a machine runs it once.
 */
/* links: guest/guest.c guest/config.c guest/words.c guest/backing.c guest/loader.c guest/linux.c */
/* links: guest/multiboot.c guest/elf.c guest/ram.c guest/complaint.c guest/acpi.c guest/dsdt.c */
/* links: guest/firmware.c guest/serial.c guest/terminal.c guest/rtc.c guest/calendar.c */
/* links: guest/power.c guest/pci.c guest/testdev.c guest/pic.c guest/pit.c guest/isa_irq.c */
/* links: debug/stats_report.c lib/print.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest/fields.h"
#include "guest/guest.h"
#include "guest/host_clock.h"
#include "lib/bits.h"
#include "lib/error.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"

enum { CPUS = 4, MAX_VMS = 17, MEMORY = 64 << 20, POOL = MEMORY + (8 << 20), EXIT_BUG = 99 };

/* What a scenario leaves for its test to look at; shared between the two processes. */
struct outcome {
    char said[16384];
    bool powered_off;
    unsigned started, inhibited, toggled, creations;
    unsigned homes[MAX_VMS][VM_MAX_VCPUS];
    struct vcpu_boot_state boot_states[MAX_VMS];
    uint64_t memory_left;
    uint8_t first_byte, scratch_byte; /* of the kernel and of low memory, when a scenario looks */
};
static struct outcome *outcome;

/* --- The model -------------------------------------------------------------------------------- */

static struct vm *vms[MAX_VMS];
static uint8_t *pool;
static uint64_t pool_used;
static uint8_t *last_ram; /* host address of guest-physical 0 of the VM mapped last */
static const char *options = "";
static bool vcpus_fail;

static void check(bool right, const char *what)
{
    if (!right) {
        fprintf(stderr, "model: %s\n", what);
        _exit(EXIT_BUG);
    }
}

void log_info(const char *format, ...)
{
    size_t used = strlen(outcome->said);
    va_list args;

    va_start(args, format);
    used += (size_t)vsnprintf(outcome->said + used, sizeof(outcome->said) - used, format, args);
    va_end(args);
    check(used + 2 <= sizeof(outcome->said), "the log is full");
    strcpy(outcome->said + used, "\n");
}

_Noreturn void panic(const char *format, ...)
{
    check(false, format);
    abort();
}

_Noreturn void power_off(void)
{
    outcome->powered_off = true;
    _exit(0);
}

bool option_is(const char *name, const char *value)
{
    char word[32];

    snprintf(word, sizeof(word), "%s=%s", name, value);
    return strstr(options, word) != NULL;
}

bool option_given(const char *name)
{
    return strstr(options, name) != NULL;
}

unsigned cpu_count(void)
{
    return CPUS;
}

/* Memory comes from one pool; only the block handed out last can be given back. */
void *memory_alloc(uint64_t size, uint64_t align)
{
    check(is_aligned(align, 4096), "alignment below a page");
    size = align_up(size, 4096);
    if (size > POOL - pool_used) {
        return NULL;
    }
    void *block = pool + pool_used;
    pool_used += size;
    memset(block, 0, size);
    return block;
}

void memory_free(void *start, uint64_t size)
{
    check((uint8_t *)start + align_up(size, 4096) == pool + pool_used, "freed something else");
    pool_used -= align_up(size, 4096);
}

uint64_t memory_free_bytes(void)
{
    return POOL - pool_used;
}

uint64_t memory_largest_piece(void)
{
    return POOL - pool_used;
}

struct rtc_source host_clock_read(void)
{
    return (struct rtc_source){ 1700000000, 0, 1000000000 };
}

void console_write(const char *text, size_t size)
{
    (void)text;
    (void)size;
}

void console_set_input_handler(void (*handler)(char byte))
{
    check(handler != NULL, "no input handler");
}

const char *exit_reason_name(unsigned reason)
{
    return reason == 10 ? "CPUID" : reason == 12 ? "HLT" : "?";
}

struct vm *vm_create(const char *name)
{
    struct vm *vm = calloc(1, sizeof(*vm));

    strcpy(vm->name, name);
    vm->id = outcome->creations;
    vms[outcome->creations++] = vm;
    return vm;
}

int vm_map(struct vm *vm, uint64_t gpa, uint64_t hpa, uint64_t size, unsigned rights)
{
    (void)vm;
    check(is_aligned(gpa | hpa | size, 4096), "mapping below a page");
    if (gpa == 0) {
        last_ram = (uint8_t *)(uintptr_t)hpa;
    }
    if (gpa == 0xFFFF0000) {
        check(hpa == (uintptr_t)last_ram + 0xF0000 && size == 0x10000, "BIOS alias");
        check(rights == (EPT_READ | EPT_EXEC), "the BIOS alias is read-only");
    } else {
        check(rights == EPT_RWX, "RAM rights");
    }
    return RIVET_OK;
}

int vm_add_io(struct vm *vm, uint16_t port, unsigned count, const struct io_ops *ops, void *device)
{
    check(vm->io_count < VM_MAX_IO, "too many port regions");
    vm->io[vm->io_count++] = (struct io_region){ port, count, ops, device };
    return RIVET_OK;
}

int vm_add_mmio(struct vm *vm, uint64_t gpa, uint64_t size, const struct io_ops *ops, void *device)
{
    check(vm->mmio_count < VM_MAX_MMIO, "too many MMIO regions");
    vm->mmio[vm->mmio_count++] = (struct io_region){ gpa, size, ops, device };
    return RIVET_OK;
}

struct vcpu *vcpu_create(struct vm *vm, unsigned index, unsigned home_cpu)
{
    if (vcpus_fail) {
        return NULL;
    }
    struct vcpu *vcpu = calloc(1, sizeof(*vcpu));
    vcpu->vm = vm;
    vcpu->index = index;
    check(index == vm->vcpu_count, "vCPUs are created in order");
    vm->vcpus[vm->vcpu_count++] = vcpu;
    outcome->homes[vm->id][index] = home_cpu;
    return vcpu;
}

void vcpu_set_boot_state(struct vcpu *vcpu, const struct vcpu_boot_state *state)
{
    check(vcpu->index == 0, "only vCPU 0 boots");
    outcome->boot_states[vcpu->vm->id] = *state;
}

void vm_start(struct vm *vm)
{
    check(outcome->boot_states[vm->id].rip != 0, "started without a boot state");
    outcome->started++;
}

void vm_stop(struct vm *vm, enum vm_end end, uint32_t code)
{
    vm->end = end;
    vm->end_code = code;
    vm->on_end(vm);
}

void vm_request_reset(struct vm *vm)
{
    vm->on_reset(vm);
}

bool apicv_set_inhibit(struct apic_vm *vm, enum apicv_inhibit reason, bool set)
{
    (void)vm;
    check(reason == APICV_INHIBIT_OPTION && set, "another reason");
    outcome->inhibited++;
    return true;
}

void ioapic_init(struct ioapic *ioapic)
{
    ioapic->line_state = 0;
}

void ioapic_set_line(struct apic_vm *vm, unsigned pin, bool level)
{
    (void)vm;
    (void)pin;
    (void)level;
}

void apicv_toggle_start(struct vm *vm)
{
    (void)vm;
    outcome->toggled++;
}

/* What a VM with an 8259 pair asks of apic/ and the clock. */
void lapic_set_lint0(struct lapic *lapic, bool level)
{
    (void)lapic;
    (void)level;
}

void apic_vm_set_extint_source(struct apic_vm *vm, enum apic_extint_source source)
{
    atomic_store(&vm->extint_source, source);
}

void apic_port_kick(struct lapic *lapic)
{
    (void)lapic;
}

uint64_t apic_port_tsc(void)
{
    return 0;
}

uint64_t tsc_hz(void)
{
    return 1000000000;
}

/* --- Modules and scenarios -------------------------------------------------------------------- */

static struct boot_info info;
static uint8_t kernel[0x2000]; /* multiboot, loaded at 2 MiB */

static int setup(void **state)
{
    (void)state;
    outcome =
        mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(&info, 0, sizeof(info));
    options = "";
    vcpus_fail = false;
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
    munmap(outcome, sizeof(*outcome));
    return 0;
}

static void add(const char *cmdline)
{
    struct boot_module *module = &info.modules[info.module_count++];

    module->start = (uintptr_t)kernel;
    module->size = sizeof(kernel);
    strcpy(module->cmdline, cmdline);
}

/* Configure and start, then let the scenario happen; the machine's end ends the child. */
static void run(void (*scenario)(void))
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        pool = aligned_alloc(MIB(2), POOL);
        guest_configure(&info);
        if (scenario != NULL) {
            scenario();
        }
        outcome->memory_left = memory_free_bytes();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void nothing_more(void)
{
}

static void first_powers_off(void)
{
    vms[0]->vcpus[0]->stats.exits[12] = 5;
    vms[0]->vcpus[0]->stats.exits[10] = 70;
    vms[0]->vcpus[0]->stats.injected = 3;
    vm_stop(vms[0], VM_POWERED_OFF, 0);
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
    options = "hold";
    add("kernel vm=a mem=8M");
    run(first_powers_off);
    assert_false(outcome->powered_off);
    assert_non_null(strstr(outcome->said, "end: ok\nhold: "));
}

static void both_exit(void)
{
    vm_stop(vms[1], VM_DEBUG_EXIT, 0);
    check(strstr(outcome->said, "end: ") == NULL, "the end came too early");
    vm_stop(vms[0], VM_DEBUG_EXIT, 7);
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
    vm_stop(vms[0], VM_KILLED, 0);
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
    vm_stop(vms[1], VM_POWERED_OFF, 0);
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
    vcpus_fail = true;
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
    options = "apicv=off";
    add("kernel vm=a mem=8M");
    add("kernel vm=b mem=8M");
    run(nothing_more);
    assert_int_equal(outcome->inhibited, 2);
    memset(outcome, 0, sizeof(*outcome));
    options = "apicv=on";
    run(nothing_more);
    assert_int_equal(outcome->inhibited, 0);
    options = "apicv=toggle";
    run(nothing_more);
    assert_int_equal(outcome->toggled, 2);
}

static void look_at_devices(void)
{
    uint64_t before = atomic_load(&vms[0]->device_deadline);

    vms[0]->on_device_deadline(vms[0], before);
    check(atomic_load(&vms[0]->device_deadline) > before, "the timer ticks");
    check(vms[0]->pic != NULL && vms[1]->pic == NULL, "an 8259 pair for those who ask");
    check(vms[0]->acknowledge_extint(vms[0]) == 0x08, "the timer's interrupt");
    vm_request_reset(vms[0]);
    check(vms[0]->acknowledge_extint(vms[0]) == 0x0F, "none after a reset");
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
    uint8_t *ram = last_ram;

    ram[0x200000] = 0;  /* the guest has overwritten its kernel */
    ram[0x5000] = 0x77; /* and left something elsewhere */
    outcome->boot_states[0].rip = 0;
    vm_request_reset(vms[0]);
    outcome->first_byte = ram[0x200000];
    outcome->scratch_byte = ram[0x5000];
    vm_stop(vms[0], VM_POWERED_OFF, 0);
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
        cmocka_unit_test_setup_teardown(test_apicv_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_legacy_interrupts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset_loads_everything_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
