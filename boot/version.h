/* SPDX-License-Identifier: MIT */
/* The version that Rivet's first line names. */
#pragma once

#define RIVET_VERSION "0.1"
