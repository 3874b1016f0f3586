/* SPDX-License-Identifier: MIT */
/* Loads a VM's kernel by the boot protocol that its file speaks. */
#include "guest/loader.h"

static int load_linux(const struct boot_request *request, bool initrd_expected,
                      struct vcpu_boot_state *state, struct complaint *complaint)
{
    if (request->module_count > 0) {
        return COMPLAIN(complaint, "a 'module' line for a Linux kernel: expected 'initrd'");
    }
    if (initrd_expected && request->initrd.size == 0) {
        return COMPLAIN(complaint,
                        "no initrd: expected an 'initrd vm=%s' line, or the word noinitrd",
                        request->name);
    }
    return linux_load(request, state, complaint);
}

static int load_multiboot(const struct boot_request *request, struct vcpu_boot_state *state,
                          struct complaint *complaint)
{
    if (request->initrd.size > 0) {
        return COMPLAIN(complaint, "an 'initrd' line for a multiboot kernel: expected 'module'");
    }
    return multiboot_load(request, state, complaint);
}

const char *loader_load(const struct boot_request *request, bool initrd_expected,
                        struct vcpu_boot_state *state, struct complaint *complaint)
{
    const struct boot_file *file = &request->kernel;

    if (linux_is_image(file)) {
        int error = load_linux(request, initrd_expected, state, complaint);
        return error == RIVET_OK ? "Linux" : NULL;
    }
    if (multiboot_is_image(file)) {
        int error = load_multiboot(request, state, complaint);
        return error == RIVET_OK ? "multiboot" : NULL;
    }
    complaint_write(complaint,
                    "the file of %lu bytes is no kernel: expected a bzImage or a multiboot "
                    "kernel",
                    file->size);
    return NULL;
}
