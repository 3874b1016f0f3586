/* SPDX-License-Identifier: MIT */
/* The VGA text screen, 80 x 25. */
#pragma once

/* Clear the screen. Boot CPU, once. */
void vga_text_init(void);

/* Show one byte: newline, return, backspace and tab act, terminal escape sequences are left out. */
void vga_text_put(char byte);
