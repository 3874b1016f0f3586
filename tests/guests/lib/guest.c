/* SPDX-License-Identifier: MIT */
/* Entry, command line, console, reports and end of a test guest. */
#include "tests/guests/lib/guest.h"

#include "lib/print.h"
#include "lib/spinlock.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/interrupts.h"

enum { COM1 = 0x3F8, UART_IER = 1, UART_FCR = 2, UART_LCR = 3, UART_MCR = 4, UART_LSR = 5 };
enum { LCR_8N1 = 0x03, LCR_DLAB = 0x80, MCR_DTR_RTS = 0x03, LSR_THRE = 0x20, LSR_TEMT = 0x40 };

enum { PIC1_DATA = 0x21, PIC2_DATA = 0xA1 };

enum { DEBUG_EXIT_PORT = 0xF4, BOCHS_SHUTDOWN_PORT = 0x8900, PIIX4_PM1_CONTROL = 0xB004 };
enum { PM1_SLP_EN = 0x2000 };

/* Multiboot 1 information structure: what is used of it. */
struct multiboot_info {
    uint32_t flags;
    uint32_t mem_lower;
    uint32_t mem_upper;
    uint32_t boot_device;
    uint32_t command_line;
};
enum { MULTIBOOT_INFO_COMMAND_LINE = 0x04 };

uint32_t guest_multiboot_info; /* written by boot.S */

static struct spinlock console_lock;
static char command_line[512];
static unsigned tests;
static unsigned failures;

static void uart_init(void)
{
    outb(COM1 + UART_IER, 0);
    outb(COM1 + UART_LCR, LCR_DLAB | LCR_8N1);
    outb(COM1, 1); /* 115200 baud */
    outb(COM1 + UART_IER, 0);
    outb(COM1 + UART_LCR, LCR_8N1);
    outb(COM1 + UART_FCR, 0x07); /* FIFOs on and empty */
    outb(COM1 + UART_MCR, MCR_DTR_RTS);
}

static void uart_wait(uint8_t lsr_bit)
{
    while ((inb(COM1 + UART_LSR) & lsr_bit) == 0) {
        cpu_relax();
    }
}

static void put_line(const char *prefix, const char *format, va_list args)
{
    char line[256];
    lib_vsnprintf(line, sizeof(line), format, args);
    spin_lock(&console_lock);
    for (const char *p = prefix; *p != '\0'; p++) {
        uart_wait(LSR_THRE);
        outb(COM1, (uint8_t)*p);
    }
    for (const char *p = line; *p != '\0'; p++) {
        uart_wait(LSR_THRE);
        outb(COM1, (uint8_t)*p);
    }
    if (prefix[0] != '\0') {
        uart_wait(LSR_THRE);
        outb(COM1, '\n');
    }
    spin_unlock(&console_lock);
}

void guest_print(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put_line("", format, args);
    va_end(args);
}

static void count(bool passed)
{
    __atomic_add_fetch(&tests, 1, __ATOMIC_RELAXED);
    if (!passed) {
        __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
    }
}

bool report(bool passed, const char *format, ...)
{
    va_list args;
    count(passed);
    va_start(args, format);
    put_line(passed ? "PASS: " : "FAIL: ", format, args);
    va_end(args);
    return passed;
}

void guest_fail(const char *format, ...)
{
    va_list args;
    count(false);
    va_start(args, format);
    put_line("FAIL: ", format, args);
    va_end(args);
    guest_end();
}

void report_skip(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put_line("SKIP: ", format, args);
    va_end(args);
}

void guest_end(void)
{
    guest_print("SUMMARY: %u tests, %u failed\n", tests, failures);
    uart_wait(LSR_TEMT);
    outb(DEBUG_EXIT_PORT, failures != 0);
    for (const char *p = "Shutdown"; *p != '\0'; p++) {
        outb(BOCHS_SHUTDOWN_PORT, (uint8_t)*p);
    }
    outw(PIIX4_PM1_CONTROL, PM1_SLP_EN);
    cpu_halt_forever();
}

static void read_command_line(void)
{
    const struct multiboot_info *info = (const void *)(uintptr_t)guest_multiboot_info;
    if ((info->flags & MULTIBOOT_INFO_COMMAND_LINE) == 0) {
        return;
    }
    const char *line = (const char *)(uintptr_t)info->command_line;
    size_t length = strnlen(line, sizeof(command_line) - 1);
    memcpy(command_line, line, length);
    for (size_t i = 0; i < length; i++) {
        if (command_line[i] == ' ') {
            command_line[i] = '\0'; /* words become strings */
        }
    }
}

const char *guest_option(const char *key)
{
    size_t length = strlen(key);
    const char *end = command_line + sizeof(command_line) - 1;
    for (const char *word = command_line; word < end; word += strlen(word) + 1) {
        if (strncmp(word, key, length) == 0 && word[length] == '=') {
            return word + length + 1;
        }
    }
    return NULL;
}

uint64_t guest_option_number(const char *key, uint64_t fallback)
{
    const char *text = guest_option(key);
    if (text == NULL || *text == '\0') {
        return fallback;
    }
    uint64_t value = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        value = value * 10 + (uint64_t)(*text - '0');
    }
    if (*text != '\0') {
        guest_fail("option %s is not a decimal number", key);
    }
    return value;
}

bool guest_wants(const char *test)
{
    const char *wanted = guest_option("test");
    size_t length = strlen(test);

    while (wanted != NULL && *wanted != '\0') {
        if (strncmp(wanted, test, length) == 0 &&
            (wanted[length] == '\0' || wanted[length] == ',')) {
            return true;
        }
        for (; *wanted != '\0' && *wanted != ','; wanted++) {
        }
        wanted += *wanted == ',';
    }
    return wanted == NULL;
}

void guest_run_tests(const struct guest_test *tests, size_t total)
{
    for (size_t i = 0; i < total; i++) {
        if (guest_wants(tests[i].name)) {
            guest_print("%s\n", tests[i].name);
            tests[i].run();
        }
    }
}

uint64_t guest_wait(const volatile uint64_t *flag, uint64_t ticks)
{
    uint64_t start = rdtsc();
    while (*flag == 0 && rdtsc() - start < ticks) {
        cpu_relax();
    }
    return *flag;
}

static _Noreturn void start_boot_cpu(void)
{
    outb(PIC1_DATA, 0xFF);
    outb(PIC2_DATA, 0xFF);
    uart_init();
    interrupts_init();
    cpu_load_tables(0);
    read_command_line();
    guest_main();
    guest_end();
}

/* Called by boot.S on every CPU, with the number it was started under. */
_Noreturn void guest_enter(unsigned cpu);

void guest_enter(unsigned cpu)
{
    if (cpu == 0) {
        start_boot_cpu();
    }
    cpu_serve(cpu);
}
