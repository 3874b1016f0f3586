/* SPDX-License-Identifier: MIT */
/* The modules' command lines as a list of VMs. */
#include "guest/config.h"

#include "guest/words.h"
#include "lib/bits.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/print.h"
#include "lib/string.h"

enum { SHOWN_WORDS = 60, MISTAKE_SIZE = 256 };

#define DEFAULT_MEMORY MIB(256)
#define MIN_MEMORY     MIB(2)
#define MAX_MEMORY     GIB(256)

#define KERNEL_WORDS "vm=, vcpus=, mem=, cpus=, testdev, pic, nox2apic, protected, noinitrd or --"

/* A module's command line while it is being read. */
struct line {
    const struct boot_info *info;
    struct config *config;
    int module;
    unsigned cpu_count; /* of the machine */
};

const char *config_arguments(const struct boot_module *module)
{
    const char *text = module->cmdline;
    struct word word;

    while (word_next(&text, &word)) {
        if (word_is(word, "--")) {
            while (*text == ' ' || *text == '\t') {
                text++;
            }
            return text;
        }
    }
    return "";
}

/* Length of the words before "--", as far as a message shows them. */
static int shown_length(const char *cmdline)
{
    const char *text = cmdline;
    const char *end = cmdline;
    struct word word;

    while (word_next(&text, &word) && !word_is(word, "--")) {
        end = word.text + word.length;
    }
    return end - cmdline < SHOWN_WORDS ? (int)(end - cmdline) : SHOWN_WORDS;
}

void config_mistake(const struct boot_info *info, int module, const char *format, ...)
{
    const char *cmdline = info->modules[module].cmdline;
    char text[MISTAKE_SIZE];
    va_list args;

    va_start(args, format);
    lib_vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    log_info("error: module %d (%.*s): %s", module + 1, shown_length(cmdline), cmdline, text);
}

/* Arguments for "%.*s". */
#define SHOW(word) (int)(word).length, (word).text

#define MISTAKE(line, ...) config_mistake((line)->info, (line)->module, __VA_ARGS__)

/* --- One word of a kernel line: false when it is wrong, after saying so ----------------------- */

static bool read_vcpus(const struct line *line, struct vm_config *vm, struct word value)
{
    uint64_t number;

    if (word_number(value, VM_MAX_VCPUS, &number) != RIVET_OK || number == 0) {
        MISTAKE(line, "vcpus=%.*s: expected a number from 1 to %d", SHOW(value), VM_MAX_VCPUS);
        return false;
    }
    vm->vcpus = (unsigned)number;
    return true;
}

static bool read_memory(const struct line *line, struct vm_config *vm, struct word value)
{
    uint64_t bytes;

    if (word_size(value, &bytes) != RIVET_OK || bytes < MIN_MEMORY || bytes > MAX_MEMORY ||
        !is_aligned(bytes, PAGE_SIZE)) {
        MISTAKE(line, "mem=%.*s: expected a size from 2M to 256G, as 512M, in steps of 4K",
                SHOW(value));
        return false;
    }
    vm->memory = bytes;
    return true;
}

static bool read_cpus(const struct line *line, struct vm_config *vm, struct word value)
{
    if (word_list(value, line->cpu_count - 1, vm->cpus, MAX_CPUS, &vm->cpu_count) != RIVET_OK) {
        MISTAKE(line, "cpus=%.*s: expected a list as 0,2-3 of this machine's CPUs, 0 to %u",
                SHOW(value), line->cpu_count - 1);
        return false;
    }
    return true;
}

/* The words that switch something on: where in the VM's description, or NULL. */
static bool *find_switch(struct vm_config *vm, struct word word)
{
    const struct {
        const char *name;
        bool *on;
    } switches[] = {
        { "testdev", &vm->testdev },   { "pic", &vm->pic },
        { "nox2apic", &vm->nox2apic }, { "protected", &vm->protected },
        { "noinitrd", &vm->noinitrd },
    };
    for (unsigned i = 0; i < ARRAY_SIZE(switches); i++) {
        if (word_is(word, switches[i].name)) {
            return switches[i].on;
        }
    }
    return NULL;
}

static bool read_kernel_word(const struct line *line, struct vm_config *vm, struct word word)
{
    struct word value;
    bool *on = find_switch(vm, word);

    if (on != NULL) {
        *on = true;
        return true;
    }
    if (word_value(word, "vm", &value)) {
        return true;
    }
    if (word_value(word, "vcpus", &value)) {
        return read_vcpus(line, vm, value);
    }
    if (word_value(word, "mem", &value)) {
        return read_memory(line, vm, value);
    }
    if (word_value(word, "cpus", &value)) {
        return read_cpus(line, vm, value);
    }
    MISTAKE(line, "unknown word '%.*s': expected %s", SHOW(word), KERNEL_WORDS);
    return false;
}

/* Words that contradict each other. */
static bool check_words(const struct line *line, const struct vm_config *vm)
{
    if (vm->protected && (vm->pic || vm->nox2apic)) {
        MISTAKE(line, "protected and %s: expected only one of the two",
                vm->pic ? "pic" : "nox2apic");
        return false;
    }
    return true;
}

/* --- Names ------------------------------------------------------------------------------------ */

static bool is_name(struct word word)
{
    if (word.length == 0 || word.length >= VM_NAME_SIZE) {
        return false;
    }
    for (size_t i = 0; i < word.length; i++) {
        char c = word.text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.') {
            return false;
        }
    }
    return true;
}

/* The NAME of vm=NAME in a module's words; false after saying that it is missing or unfit. */
static bool read_name(const struct line *line, struct word *name)
{
    const char *text = line->info->modules[line->module].cmdline;
    struct word word;

    while (word_next(&text, &word) && !word_is(word, "--")) {
        if (word_value(word, "vm", name)) {
            if (!is_name(*name)) {
                MISTAKE(line, "vm=%.*s: expected a name of 1 to %d letters, digits, '-', '_', '.'",
                        SHOW(*name), VM_NAME_SIZE - 1);
                return false;
            }
            return true;
        }
    }
    MISTAKE(line, "no vm=NAME: expected the name of the VM that this module is for");
    return false;
}

static struct vm_config *find_vm(struct config *config, struct word name)
{
    for (unsigned i = 0; i < config->vm_count; i++) {
        if (word_is(name, config->vms[i].name)) {
            return &config->vms[i];
        }
    }
    return NULL;
}

static struct vm_config *add_vm(struct config *config, struct word name, int kernel)
{
    struct vm_config *vm = &config->vms[config->vm_count++];

    *vm = (struct vm_config){ .kernel = kernel, .initrd = -1, .vcpus = 1 };
    vm->memory = DEFAULT_MEMORY;
    memcpy(vm->name, name.text, name.length);
    return vm;
}

/* --- Lines ------------------------------------------------------------------------------------ */

/* Text behind the first word, and that word. False for an empty line. */
static bool first_word(const struct boot_module *module, const char **rest, struct word *kind)
{
    *rest = module->cmdline;
    return word_next(rest, kind);
}

static void read_kernel_line(const struct line *line, const char *rest)
{
    struct config *config = line->config;
    struct word name, word;

    if (!read_name(line, &name)) {
        config->strays++;
        return;
    }
    struct vm_config *vm = find_vm(config, name);
    if (vm != NULL) {
        MISTAKE(line, "vm=%s has a kernel already, module %d: expected one kernel for each VM",
                vm->name, vm->kernel + 1);
        vm->failed = true;
        return;
    }
    if (config->vm_count == CONFIG_MAX_VMS) {
        MISTAKE(line, "vm=%.*s: one VM too many: expected at most %d", SHOW(name), CONFIG_MAX_VMS);
        config->strays++;
        return;
    }
    vm = add_vm(config, name, line->module);
    while (!vm->failed && word_next(&rest, &word) && !word_is(word, "--")) {
        vm->failed = !read_kernel_word(line, vm, word);
    }
    vm->failed = vm->failed || !check_words(line, vm);
}

/* Whether an initrd or module line has no words but vm= (and "--" where that is allowed). */
static bool check_other_words(const struct line *line, const char *rest, bool arguments)
{
    struct word word, value;

    while (word_next(&rest, &word)) {
        if (arguments && word_is(word, "--")) {
            return true;
        }
        if (!word_value(word, "vm", &value)) {
            MISTAKE(line, "unknown word '%.*s': expected vm=%s", SHOW(word),
                    arguments ? " or --" : "");
            return false;
        }
    }
    return true;
}

/* Give the VM its initrd; false after saying why not. */
static bool add_initrd(const struct line *line, struct vm_config *vm)
{
    if (vm->initrd >= 0) {
        MISTAKE(line, "vm=%s has an initrd already, module %d: expected one", vm->name,
                vm->initrd + 1);
        return false;
    }
    if (line->info->modules[line->module].size == 0) {
        MISTAKE(line, "the file is empty: expected an initrd for vm=%s", vm->name);
        return false;
    }
    vm->initrd = line->module;
    return true;
}

static bool add_extra(const struct line *line, struct vm_config *vm)
{
    if (vm->extra_count == CONFIG_MAX_EXTRAS) {
        MISTAKE(line, "one module too many for vm=%s: expected at most %d", vm->name,
                CONFIG_MAX_EXTRAS);
        return false;
    }
    vm->extras[vm->extra_count++] = line->module;
    return true;
}

static void read_other_line(const struct line *line, const char *rest, bool initrd)
{
    struct word name;

    if (!read_name(line, &name)) {
        line->config->strays++;
        return;
    }
    struct vm_config *vm = find_vm(line->config, name);
    if (vm == NULL) {
        MISTAKE(line, "vm=%.*s has no kernel: expected a 'kernel vm=%.*s' line", SHOW(name),
                SHOW(name));
        line->config->strays++;
        return;
    }
    if (!check_other_words(line, rest, !initrd) ||
        !(initrd ? add_initrd(line, vm) : add_extra(line, vm))) {
        vm->failed = true;
    }
}

/* Kernel lines come first, so that the others may stand before theirs. */
static void read_line(const struct line *line, bool kernels)
{
    const char *rest;
    struct word kind;
    bool any = first_word(&line->info->modules[line->module], &rest, &kind);

    if (any && word_is(kind, "kernel")) {
        if (kernels) {
            read_kernel_line(line, rest);
        }
    } else if (kernels) {
        return;
    } else if (any && (word_is(kind, "initrd") || word_is(kind, "module"))) {
        read_other_line(line, rest, word_is(kind, "initrd"));
    } else if (any) {
        MISTAKE(line, "unknown word '%.*s': expected kernel, initrd or module", SHOW(kind));
        line->config->strays++;
    } else {
        MISTAKE(line, "no words: expected kernel, initrd or module after the file's name");
        line->config->strays++;
    }
}

void config_read(const struct boot_info *info, unsigned cpu_count, struct config *config)
{
    config->vm_count = 0;
    config->strays = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < info->module_count; i++) {
            struct line line = { info, config, (int)i, cpu_count };
            read_line(&line, pass == 0);
        }
    }
}
