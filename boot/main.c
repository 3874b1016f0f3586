/* SPDX-License-Identifier: MIT */
/* From the boot loader to running guests: the order of things. */
#include <stdint.h>

#include "arch/acpi.h"
#include "arch/boot_info.h"
#include "arch/exception.h"
#include "arch/memory.h"
#include "arch/options.h"
#include "arch/paging.h"
#include "arch/smp.h"
#include "arch/tsc.h"
#include "boot/ending.h"
#include "boot/multiboot2.h"
#include "boot/version.h"
#include "drivers/console.h"
#include "drivers/host_apic.h"
#include "drivers/host_ioapic.h"
#include "guest/guest.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vmx/vcpu.h"
#include "vmx/vmx.h"

static struct boot_info info;

static void check_command_lines(void)
{
    options_check();
    for (unsigned i = 0; i < info.module_count; i++) {
        if (strlen(info.modules[i].cmdline) == BOOT_CMDLINE_SIZE - 1) {
            log_warn("module %u: command line longer than %d characters is cut", i + 1,
                     BOOT_CMDLINE_SIZE - 1);
        }
    }
}

static void start_console(const char *problem)
{
    options_init(info.cmdline);
    console_init(info.cmdline);
    log_init(&boot_log_host);
    log_set_debug(option_is("log", "debug"));
    log_info("Rivet %s", RIVET_VERSION);
    if (problem != NULL) {
        fatal("%s", problem);
    }
    check_command_lines();
}

static void start_machine(void)
{
    memory_init(&info);
    paging_init(&info);
    smp_protect_stacks();
    acpi_init(&info);
    host_apic_init();
    host_ioapic_init();
    tsc_calibrate();
    host_apic_timer_init();
    smp_start();
}

/* Boot CPU, from boot/entry.S: interrupts off, first 4 GiB identity mapped, the loader's registers. */
void main(uint32_t magic, uint32_t information)
{
    exception_init();
    smp_init_boot_cpu();
    start_console(multiboot2_read(magic, (const void *)(uintptr_t)information, &info));
    start_machine();
    smp_call_all(vmx_check_cpu);
    smp_call_all(vmx_enable_cpu);
    guest_configure(&info);
    console_enable_interrupts();
    smp_release(vcpu_scheduler_run);
    vcpu_scheduler_run();
}
