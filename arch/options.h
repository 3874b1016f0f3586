/* SPDX-License-Identifier: MIT */
/* Rivet's own command line: "name=value" and "name" words after the image's name in GRUB's entry. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Find the last word "name=value" (or plain "name": empty value) of text. Returns whether there is
 * one; its value is copied (cut to size) when value is not NULL. Pure.
 */
bool options_find(const char *text, const char *name, char *value, size_t size);

/* Remember the command line for option_is and option_given. Boot CPU, first thing. */
void options_init(const char *text);

/*
 * Warn of every word that no part of Rivet knows, and of values that an option does not accept; each
 * one log line naming the word and what was expected. Boot CPU, when the console is up.
 */
void options_check(void);

/* Whether the command line says name=value. Any CPU after options_init. */
bool option_is(const char *name, const char *value);

/* Whether the word is on the command line, with or without a value. Any CPU after options_init. */
bool option_given(const char *name);
