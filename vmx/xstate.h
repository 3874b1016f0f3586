/* SPDX-License-Identifier: MIT */
/*
 * x87, SSE, AVX and the rest of the XSAVE-managed state of vCPUs, XCR0 and IA32_XSS (SDM volume 1,
 * chapter "Managing State Using the XSAVE Feature Set"). Rivet itself uses none of it, so it changes
 * hands only when a CPU changes vCPU.
 */
#pragma once

#include <stdint.h>

struct vcpu;
struct xstate;

/*
 * Find out what this machine can save, and set CR4.OSFXSR, OSXMMEXCPT and OSXSAVE and clear CR0.TS and
 * EM on this CPU, for good. Every CPU, before vCPUs exist; the first call decides the supported set.
 */
void xstate_enable_cpu(void);

/* XCR0 bits that guests may set; IA32_XSS bits that guests may set. After xstate_enable_cpu. Any CPU. */
uint64_t xstate_supported_xcr0(void);
uint64_t xstate_supported_xss(void);

/* Allocate the state of a vCPU, as after power-up. NULL when out of memory. */
struct xstate *xstate_create(void);

/* Power-up reset; INIT leaves this state alone, so it is not called then. The state is not loaded on a CPU. */
void xstate_reset(struct xstate *xstate);

/* The guest's XCR0 and IA32_XSS. Owner of the vCPU. */
uint64_t xstate_xcr0(const struct xstate *xstate);
uint64_t xstate_xss(const struct xstate *xstate);

/* WRMSR IA32_XSS by the guest: 0, or ERR_GP. Owner, root mode, state loaded. */
int xstate_write_xss(struct xstate *xstate, uint64_t value);

/*
 * Load the vCPU's state into this CPU / save it from there. Called when a CPU changes vCPU, and before
 * a vCPU moves to another CPU. Root mode, interrupts off.
 */
void xstate_load(struct xstate *xstate);
void xstate_save(struct xstate *xstate);

/* The guest's PKRU, out of this CPU. Owner, state loaded; CR4.PKE set by the guest. */
uint32_t xstate_pkru(void);
