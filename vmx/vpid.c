/* SPDX-License-Identifier: MIT */
/* INVVPID and INVEPT (SDM volume 3, "Invalidating Cached Translation Information"). */

#include "vmx/vpid.h"

#include "arch/cpu.h"
#include "lib/log.h"
#include "vmx/capabilities.h"
#include "vmx/vcpu.h"

enum { INVVPID_SINGLE_CONTEXT = 1, INVVPID_ALL_CONTEXTS = 2 };
enum { INVEPT_SINGLE_CONTEXT = 1, INVEPT_ALL_CONTEXTS = 2 };

void vpid_flush(const struct vcpu *vcpu)
{
    struct {
        uint64_t vpid, linear;
    } descriptor = { vcpu->vpid, 0 };
    bool single = vmx_capabilities()->ept_vpid & EPT_CAP_INVVPID_SINGLE;
    uint64_t type = single ? INVVPID_SINGLE_CONTEXT : INVVPID_ALL_CONTEXTS;
    bool failed;

    if (vcpu->vpid == 0) {
        return; /* every VM entry and exit invalidates VPID 0 */
    }
    __asm__ volatile("invvpid %[descriptor], %[type]"
                     : "=@ccbe"(failed)
                     : [descriptor] "m"(descriptor), [type] "r"(type)
                     : "memory");
    if (failed) {
        panic("INVVPID of type %u failed for VPID %u", (unsigned)type, vcpu->vpid);
    }
}

void ept_flush(uint64_t eptp)
{
    struct {
        uint64_t eptp, reserved;
    } descriptor = { eptp, 0 };
    bool single = vmx_capabilities()->ept_vpid & EPT_CAP_INVEPT_SINGLE;
    uint64_t type = single ? INVEPT_SINGLE_CONTEXT : INVEPT_ALL_CONTEXTS;
    bool failed;

    __asm__ volatile("invept %[descriptor], %[type]"
                     : "=@ccbe"(failed)
                     : [descriptor] "m"(descriptor), [type] "r"(type)
                     : "memory");
    if (failed) {
        panic("INVEPT of type %u failed for EPT pointer %llx", (unsigned)type,
              (unsigned long long)eptp);
    }
}
