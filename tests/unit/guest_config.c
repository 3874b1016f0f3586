/* SPDX-License-Identifier: MIT */
/* Module command lines to VMs: what is accepted, and the one line for each mistake. */
/* links: guest/config.c guest/words.c lib/print.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "guest/config.h"

static struct boot_info info;
static struct config config;
static char said[4096]; /* all log lines, each with a newline */
static unsigned lines;

void log_info(const char *format, ...)
{
    size_t used = strlen(said);
    va_list args;

    va_start(args, format);
    used += (size_t)vsnprintf(said + used, sizeof(said) - used, format, args);
    va_end(args);
    assert_true(used + 2 <= sizeof(said));
    strcpy(said + used, "\n");
    lines++;
}

static int start(void **state)
{
    (void)state;
    memset(&info, 0, sizeof(info));
    said[0] = '\0';
    lines = 0;
    return 0;
}

static void add(const char *cmdline, uint64_t size)
{
    struct boot_module *module = &info.modules[info.module_count++];

    module->size = size;
    strcpy(module->cmdline, cmdline);
}

static void read_config(void)
{
    config_read(&info, 4, &config);
}

/* One mistake in one kernel line, beside a VM that is not affected. */
static void expect_mistake(const char *cmdline, const char *line)
{
    start(NULL);
    add(cmdline, 1000);
    add("kernel vm=other -- x", 1000);
    read_config();
    assert_string_equal(said, line);
    const struct vm_config *other = &config.vms[config.vm_count - 1];
    assert_string_equal(other->name, "other");
    assert_false(other->failed);
    assert_int_equal(config.strays + config.vm_count, 2);
    assert_true(config.strays == 1 || config.vms[0].failed);
}

static void test_everything(void **state)
{
    (void)state;
    add("kernel vm=debian vcpus=2 mem=512M cpus=1,3 testdev pic nox2apic noinitrd -- console=ttyS0 a=b",
        1000);
    add("initrd vm=debian", 2000);
    add("kernel  vm=kut protected", 1000);
    add("module vm=kut -- NR_CPUS=1", 10);
    read_config();
    assert_int_equal(lines, 0);
    assert_int_equal(config.vm_count, 2);
    assert_int_equal(config.strays, 0);

    const struct vm_config *vm = &config.vms[0];
    assert_string_equal(vm->name, "debian");
    assert_false(vm->failed);
    assert_int_equal(vm->kernel, 0);
    assert_int_equal(vm->initrd, 1);
    assert_int_equal(vm->vcpus, 2);
    assert_int_equal(vm->memory, 512 << 20);
    assert_int_equal(vm->cpu_count, 2);
    assert_int_equal(vm->cpus[0], 1);
    assert_int_equal(vm->cpus[1], 3);
    assert_true(vm->testdev);
    assert_true(vm->pic);
    assert_true(vm->nox2apic);
    assert_true(vm->noinitrd);
    assert_false(vm->protected);
    assert_string_equal(config_arguments(&info.modules[0]), "console=ttyS0 a=b");

    vm = &config.vms[1];
    assert_string_equal(vm->name, "kut");
    assert_true(vm->protected);
    assert_int_equal(vm->initrd, -1);
    assert_int_equal(vm->vcpus, 1);
    assert_int_equal(vm->memory, 256 << 20);
    assert_int_equal(vm->cpu_count, 0);
    assert_false(vm->testdev);
    assert_int_equal(vm->extra_count, 1);
    assert_int_equal(vm->extras[0], 3);
    assert_string_equal(config_arguments(&info.modules[2]), "");
    assert_string_equal(config_arguments(&info.modules[3]), "NR_CPUS=1");
}

static void test_initrd_may_come_first(void **state)
{
    (void)state;
    add("initrd vm=a", 5);
    add("kernel vm=a --", 5);
    read_config();
    assert_int_equal(lines, 0);
    assert_int_equal(config.vms[0].kernel, 1);
    assert_int_equal(config.vms[0].initrd, 0);
}

static void test_words_behind_the_dashes_are_the_guests(void **state)
{
    (void)state;
    add("kernel vm=a -- vm=b vcpus=99 nonsense -- more", 5);
    read_config();
    assert_int_equal(lines, 0);
    assert_string_equal(config.vms[0].name, "a");
    assert_string_equal(config_arguments(&info.modules[0]), "vm=b vcpus=99 nonsense -- more");
}

static void test_no_modules(void **state)
{
    (void)state;
    read_config();
    assert_int_equal(config.vm_count, 0);
    assert_int_equal(config.strays, 0);
}

static void test_mistakes_in_kernel_lines(void **state)
{
    (void)state;
    expect_mistake("kernel vm=a memory=1G -- x",
                   "error: module 1 (kernel vm=a memory=1G): unknown word 'memory=1G': expected "
                   "vm=, vcpus=, mem=, cpus=, testdev, pic, nox2apic, protected, noinitrd or "
                   "--\n");
    expect_mistake("kernel vm=a protected pic",
                   "error: module 1 (kernel vm=a protected pic): "
                   "protected and pic: expected only one of the two\n");
    expect_mistake("kernel vm=a nox2apic protected -- x",
                   "error: module 1 (kernel vm=a nox2apic protected): protected and nox2apic: "
                   "expected only one of the two\n");
    expect_mistake(
        "kernel vm=a vcpus=0",
        "error: module 1 (kernel vm=a vcpus=0): vcpus=0: expected a number from 1 to 16\n");
    expect_mistake("kernel vm=a vcpus=17 foo",
                   "error: module 1 (kernel vm=a vcpus=17 foo): vcpus=17: expected a number from 1 "
                   "to 16\n");
    expect_mistake(
        "kernel vm=a vcpus=two",
        "error: module 1 (kernel vm=a vcpus=two): vcpus=two: expected a number from 1 to "
        "16\n");
    expect_mistake(
        "kernel vm=a mem=512",
        "error: module 1 (kernel vm=a mem=512): mem=512: expected a size from 2M to 256G, "
        "as 512M, in steps of 4K\n");
    expect_mistake("kernel vm=a mem=1M",
                   "error: module 1 (kernel vm=a mem=1M): mem=1M: expected a size from 2M to 256G, "
                   "as 512M, in steps of 4K\n");
    expect_mistake("kernel vm=a mem=2049K",
                   "error: module 1 (kernel vm=a mem=2049K): mem=2049K: expected a size from 2M to "
                   "256G, as 512M, in steps of 4K\n");
    expect_mistake("kernel vm=a cpus=1,4",
                   "error: module 1 (kernel vm=a cpus=1,4): cpus=1,4: expected a list as 0,2-3 of "
                   "this machine's CPUs, 0 to 3\n");
}

static void test_mistakes_in_names(void **state)
{
    (void)state;
    expect_mistake("kernel mem=1G -- vm=a",
                   "error: module 1 (kernel mem=1G): no vm=NAME: expected the name of the VM that "
                   "this module is for\n");
    expect_mistake("kernel vm=",
                   "error: module 1 (kernel vm=): vm=: expected a name of 1 to 15 letters, digits, "
                   "'-', '_', '.'\n");
    expect_mistake("kernel vm=sixteen-letters-",
                   "error: module 1 (kernel vm=sixteen-letters-): vm=sixteen-letters-: expected a "
                   "name of 1 to 15 letters, digits, '-', '_', '.'\n");
    expect_mistake("kernel vm=a|b",
                   "error: module 1 (kernel vm=a|b): vm=a|b: expected a name of 1 to 15 letters, "
                   "digits, '-', '_', '.'\n");
}

static void test_mistakes_of_kind(void **state)
{
    (void)state;
    expect_mistake("kernal vm=a", "error: module 1 (kernal vm=a): unknown word 'kernal': expected "
                                  "kernel, initrd or module\n");
    expect_mistake("", "error: module 1 (): no words: expected kernel, initrd or module after the "
                       "file's name\n");
    expect_mistake("initrd vm=b", "error: module 1 (initrd vm=b): vm=b has no kernel: expected a "
                                  "'kernel vm=b' line\n");
    expect_mistake("module vm=b -- x",
                   "error: module 1 (module vm=b): vm=b has no kernel: expected "
                   "a 'kernel vm=b' line\n");
    expect_mistake("initrd",
                   "error: module 1 (initrd): no vm=NAME: expected the name of the VM that "
                   "this module is for\n");
}

static void test_two_kernels_for_one_vm(void **state)
{
    (void)state;
    add("kernel vm=a", 5);
    add("kernel vm=b", 5);
    add("kernel vm=a mem=1G", 5);
    read_config();
    assert_string_equal(said, "error: module 3 (kernel vm=a mem=1G): vm=a has a kernel already, "
                              "module 1: expected one kernel for each VM\n");
    assert_int_equal(config.vm_count, 2);
    assert_int_equal(config.strays, 0);
    assert_true(config.vms[0].failed);
    assert_false(config.vms[1].failed);
}

/* A bad line that belongs to a VM keeps that VM from starting. */
static void expect_bad_extra(const char *cmdline, uint64_t size, const char *line)
{
    start(NULL);
    add("kernel vm=a", 5);
    add("initrd vm=b", 5);
    add("kernel vm=b", 5);
    add(cmdline, size);
    read_config();
    assert_string_equal(said, line);
    assert_int_equal(config.vm_count, 2);
    assert_int_equal(config.strays, 0);
    assert_false(config.vms[0].failed);
    assert_true(config.vms[1].failed);
}

static void test_mistakes_in_initrd_and_module_lines(void **state)
{
    (void)state;
    expect_bad_extra("initrd vm=b", 7,
                     "error: module 4 (initrd vm=b): vm=b has an initrd already, "
                     "module 2: expected one\n");
    expect_bad_extra("initrd vm=b mem=5", 7,
                     "error: module 4 (initrd vm=b mem=5): unknown word 'mem=5': expected vm=\n");
    expect_bad_extra("module vm=b foo -- x", 7,
                     "error: module 4 (module vm=b foo): unknown word 'foo': expected vm= or --\n");
}

static void test_empty_initrd(void **state)
{
    (void)state;
    add("kernel vm=a", 5);
    add("initrd vm=a", 0);
    read_config();
    assert_string_equal(said,
                        "error: module 2 (initrd vm=a): the file is empty: expected an initrd "
                        "for vm=a\n");
    assert_true(config.vms[0].failed);
}

static void test_too_many(void **state)
{
    char line[64];

    (void)state;
    for (int i = 0; i <= CONFIG_MAX_VMS; i++) {
        snprintf(line, sizeof(line), "kernel vm=v%d", i);
        add(line, 5);
    }
    for (int i = 0; i <= CONFIG_MAX_EXTRAS; i++) {
        add("module vm=v3", 5);
    }
    read_config();
    assert_string_equal(
        said, "error: module 17 (kernel vm=v16): vm=v16: one VM too many: expected at most "
              "16\n"
              "error: module 26 (module vm=v3): one module too many for vm=v3: expected at "
              "most 8\n");
    assert_int_equal(config.vm_count, CONFIG_MAX_VMS);
    assert_int_equal(config.strays, 1);
    assert_true(config.vms[3].failed);
}

static void test_long_lines_are_shown_in_part(void **state)
{
    (void)state;
    add("kernel vm=a mem=512M vcpus=1 testdev noinitrd cpus=0,0,0,0,0,0,0,0,0,0,0,0,0 oops", 5);
    read_config();
    assert_non_null(strstr(said, "(kernel vm=a mem=512M vcpus=1 testdev noinitrd cpus=0,0,0,0,0): "
                                 "unknown word 'oops'"));
    assert_int_equal(lines, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_everything, start),
        cmocka_unit_test_setup(test_initrd_may_come_first, start),
        cmocka_unit_test_setup(test_words_behind_the_dashes_are_the_guests, start),
        cmocka_unit_test_setup(test_no_modules, start),
        cmocka_unit_test_setup(test_mistakes_in_kernel_lines, start),
        cmocka_unit_test_setup(test_mistakes_in_names, start),
        cmocka_unit_test_setup(test_mistakes_of_kind, start),
        cmocka_unit_test_setup(test_two_kernels_for_one_vm, start),
        cmocka_unit_test_setup(test_mistakes_in_initrd_and_module_lines, start),
        cmocka_unit_test_setup(test_empty_initrd, start),
        cmocka_unit_test_setup(test_too_many, start),
        cmocka_unit_test_setup(test_long_lines_are_shown_in_part, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
