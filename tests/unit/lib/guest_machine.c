/* SPDX-License-Identifier: MIT */
/* A model of vmx/, arch/ and apic/ as guest/ sees them. */
#include "tests/unit/lib/guest_machine.h"

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

#include "guest/host_clock.h"
#include "lib/bits.h"
#include "lib/error.h"

enum { CPUS = 4, MEMORY = 64 << 20, POOL = MEMORY + (8 << 20), EXIT_BUG = 99 };

struct outcome *outcome;
struct machine_model machine;
static uint8_t *pool;
static uint64_t pool_used;

void machine_check(bool right, const char *what)
{
    if (!right) {
        fprintf(stderr, "model: %s\n", what);
        _exit(EXIT_BUG);
    }
}

void machine_prepare(void)
{
    outcome =
        mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    machine = (struct machine_model){ .options = "" };
}

void machine_forget(void)
{
    munmap(outcome, sizeof(*outcome));
}

void machine_run(void (*scenario)(void))
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        pool = aligned_alloc(MIB(2), POOL);
        scenario();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

void log_info(const char *format, ...)
{
    size_t used = strlen(outcome->said);
    va_list args;

    va_start(args, format);
    used += (size_t)vsnprintf(outcome->said + used, sizeof(outcome->said) - used, format, args);
    va_end(args);
    machine_check(used + 2 <= sizeof(outcome->said), "the log is full");
    strcpy(outcome->said + used, "\n");
}

_Noreturn void panic(const char *format, ...)
{
    machine_check(false, format);
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
    return strstr(machine.options, word) != NULL;
}

bool option_given(const char *name)
{
    return strstr(machine.options, name) != NULL;
}

unsigned cpu_count(void)
{
    return CPUS;
}

/* Memory comes from one pool; only the block handed out last can be given back. */
void *memory_alloc(uint64_t size, uint64_t align)
{
    machine_check(is_aligned(align, 4096), "alignment below a page");
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
    machine_check((uint8_t *)start + align_up(size, 4096) == pool + pool_used,
                  "freed something else");
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
    machine_check(handler != NULL, "no input handler");
}

const char *exit_reason_name(unsigned reason)
{
    return reason == 10 ? "CPUID" : reason == 12 ? "HLT" : "?";
}

const char *vmx_missing_for_protected(void)
{
    return machine.lacks;
}

struct vm *vm_create(const char *name)
{
    struct vm *vm = calloc(1, sizeof(*vm));

    strcpy(vm->name, name);
    vm->id = outcome->creations;
    machine.vms[outcome->creations++] = vm;
    return vm;
}

int vm_map(struct vm *vm, uint64_t gpa, uint64_t hpa, uint64_t size, unsigned rights)
{
    (void)vm;
    machine_check(is_aligned(gpa | hpa | size, 4096), "mapping below a page");
    if (gpa == 0) {
        machine.last_ram = (uint8_t *)(uintptr_t)hpa;
    }
    if (gpa == 0xFFFF0000) {
        machine_check(hpa == (uintptr_t)machine.last_ram + 0xF0000 && size == 0x10000,
                      "BIOS alias");
        machine_check(rights == (EPT_READ | EPT_EXEC), "the BIOS alias is read-only");
    } else {
        machine_check(rights == EPT_RWX, "RAM rights");
    }
    return RIVET_OK;
}

int vm_add_io(struct vm *vm, uint16_t port, unsigned count, const struct io_ops *ops, void *device)
{
    machine_check(vm->io_count < VM_MAX_IO, "too many port regions");
    vm->io[vm->io_count++] = (struct io_region){ port, count, ops, device };
    return RIVET_OK;
}

int vm_add_mmio(struct vm *vm, uint64_t gpa, uint64_t size, const struct io_ops *ops, void *device)
{
    machine_check(vm->mmio_count < VM_MAX_MMIO, "too many MMIO regions");
    vm->mmio[vm->mmio_count++] = (struct io_region){ gpa, size, ops, device };
    return RIVET_OK;
}

struct vcpu *vcpu_create(struct vm *vm, unsigned index, unsigned home_cpu)
{
    if (machine.vcpus_fail) {
        return NULL;
    }
    struct vcpu *vcpu = calloc(1, sizeof(*vcpu));
    vcpu->vm = vm;
    vcpu->index = index;
    machine_check(index == vm->vcpu_count, "vCPUs are created in order");
    vm->vcpus[vm->vcpu_count++] = vcpu;
    outcome->homes[vm->id][index] = home_cpu;
    return vcpu;
}

void vcpu_set_boot_state(struct vcpu *vcpu, const struct vcpu_boot_state *state)
{
    machine_check(vcpu->index == 0, "only vCPU 0 boots");
    outcome->boot_states[vcpu->vm->id] = *state;
}

void vm_start(struct vm *vm)
{
    machine_check(outcome->boot_states[vm->id].rip != 0, "started without a boot state");
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
    machine_check(reason == APICV_INHIBIT_OPTION && set, "another reason");
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

void state_cycle_start(struct vm *vm)
{
    (void)vm;
    outcome->cycled++;
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
