/* SPDX-License-Identifier: MIT */
/* The UART (COM1) of a VM, against the PC16550D data sheet and what Linux's 8250 driver probes. */
/* links: guest/serial.c guest/isa_irq.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "guest/pic.h"
#include "guest/serial.h"
#include "lib/error.h"

enum { RBR = 0, THR = 0, IER = 1, IIR = 2, FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };

static struct vm vm;
static struct serial serial;
static struct terminal terminal;
static const struct io_ops *ports;
static char output[256];
static unsigned output_size, flushes, edges;
static bool line;

int vm_add_io(struct vm *to, uint16_t port, unsigned count, const struct io_ops *ops, void *device)
{
    assert_ptr_equal(to, &vm);
    assert_int_equal(port, 0x3F8);
    assert_int_equal(count, 8);
    assert_ptr_equal(device, &serial);
    ports = ops;
    return RIVET_OK;
}

void ioapic_set_line(struct apic_vm *apic, unsigned pin, bool level)
{
    assert_ptr_equal(apic, &vm.apic);
    assert_int_equal(pin, 4);
    assert_true(level != line); /* only changes are told */
    line = level;
    edges += level;
}

void pic_set_line(struct pic *pic, unsigned irq, bool level)
{
    (void)pic;
    fail_msg("line %u to %d of a VM without 8259s", irq, level);
}

void terminal_init(struct terminal *to, const char *name,
                   void (*receive)(void *device, uint8_t byte), void *device)
{
    *to = (struct terminal){ .name = name, .receive = receive, .device = device };
}

void terminal_put(struct terminal *to, uint8_t byte)
{
    assert_ptr_equal(to, &terminal);
    output[output_size++] = (char)byte;
}

void terminal_flush(struct terminal *to)
{
    assert_ptr_equal(to, &terminal);
    flushes++;
}

static int setup(void **state)
{
    (void)state;
    output_size = flushes = edges = 0;
    line = false;
    memset(output, 0, sizeof(output));
    assert_int_equal(serial_init(&serial, &vm, &terminal), RIVET_OK);
    return 0;
}

static void type(const char *text)
{
    while (*text != '\0') {
        terminal.receive(terminal.device, (uint8_t)*text++);
    }
}

static void test_reset_values(void **state)
{
    (void)state;
    assert_int_equal(serial_read(&serial, IER), 0);
    assert_int_equal(serial_read(&serial, IIR), 0x01);
    assert_int_equal(serial_read(&serial, LCR), 0);
    assert_int_equal(serial_read(&serial, MCR), 0);
    assert_int_equal(serial_read(&serial, LSR), 0x60);
    assert_int_equal(serial_read(&serial, MSR), 0xB0);
}

static void test_registers_keep_their_bits(void **state)
{
    (void)state;
    serial_write(&serial, IER, 0xFF);
    assert_int_equal(serial_read(&serial, IER), 0x0F);
    serial_write(&serial, MCR, 0xFF & ~0x10);
    assert_int_equal(serial_read(&serial, MCR), 0x0F);
    serial_write(&serial, SCR, 0xA5);
    assert_int_equal(serial_read(&serial, SCR), 0xA5);
    serial_write(&serial, LSR, 0);
    serial_write(&serial, MSR, 0);
    assert_int_equal(serial_read(&serial, LSR), 0x60);
    assert_int_equal(serial_read(&serial, MSR), 0xB0);
    serial_write(&serial, LCR, 0x83);
    serial_write(&serial, THR, 0x34);
    serial_write(&serial, IER, 0x12);
    assert_int_equal(serial_read(&serial, RBR), 0x34);
    assert_int_equal(serial_read(&serial, IER), 0x12);
    serial_write(&serial, LCR, 0x03);
    assert_int_equal(serial_read(&serial, IER), 0x0F);
    assert_int_equal(output_size, 0);
}

/* As Linux tells UART types apart: a 16550A has FIFO bits, and no EFR, UUE or 64-byte FIFO. */
static void test_probe_finds_a_16550a(void **state)
{
    (void)state;
    serial_write(&serial, FCR, 0x01);
    assert_int_equal(serial_read(&serial, IIR) >> 6, 3);
    serial_write(&serial, LCR, 0xBF);
    assert_int_not_equal(serial_read(&serial, FCR), 0);
    serial_write(&serial, LCR, 0);
    serial_write(&serial, FCR, 0x21);
    assert_int_equal(serial_read(&serial, IIR) & 0x20, 0);
    serial_write(&serial, IER, 0x40);
    assert_int_equal(serial_read(&serial, IER) & 0x40, 0);
    serial_write(&serial, FCR, 0);
    assert_int_equal(serial_read(&serial, IIR) >> 6, 0);
}

static void test_output(void **state)
{
    (void)state;
    for (const char *c = "hello\n"; *c != '\0'; c++) {
        assert_int_equal(serial_read(&serial, LSR) & 0x20, 0x20);
        serial_write(&serial, THR, (uint8_t)*c);
    }
    assert_string_equal(output, "hello\n");
}

static void test_input_waits_in_order(void **state)
{
    char text[101];

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        text[i] = (char)('!' + i % 90);
    }
    text[100] = '\0';
    serial_write(&serial, FCR, 0x01);
    type(text);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(serial_read(&serial, LSR), 0x61);
        assert_int_equal(serial_read(&serial, RBR), text[i]);
    }
    assert_int_equal(serial_read(&serial, LSR), 0x60);
}

static void test_receive_interrupt_and_timeout(void **state)
{
    (void)state;
    serial_write(&serial, FCR, 0x41); /* trigger at 4 */
    serial_write(&serial, MCR, 0x08);
    serial_write(&serial, IER, 0x01);
    assert_false(line);
    type("a");
    assert_true(line);
    assert_int_equal(serial_read(&serial, IIR), 0xCC); /* below the trigger level: time-out */
    type("bcd");
    assert_int_equal(serial_read(&serial, IIR), 0xC4);
    serial_read(&serial, RBR);
    assert_int_equal(serial_read(&serial, IIR), 0xCC);
    assert_true(line);
    serial_read(&serial, RBR);
    serial_read(&serial, RBR);
    serial_read(&serial, RBR);
    assert_false(line);
    assert_int_equal(serial_read(&serial, IIR), 0xC1);
    assert_int_equal(edges, 1);
}

static void test_transmit_interrupt(void **state)
{
    (void)state;
    serial_write(&serial, MCR, 0x08);
    serial_write(&serial, IER, 0x02); /* enabling reports that THR is empty */
    assert_true(line);
    assert_int_equal(serial_read(&serial, IIR), 0x02); /* reading it resets it */
    assert_false(line);
    assert_int_equal(serial_read(&serial, IIR), 0x01);
    serial_write(&serial, THR, 'x'); /* empty again at once: a new edge */
    assert_true(line);
    assert_int_equal(edges, 2);
    assert_int_equal(flushes, 0);
    serial_write(&serial, IER, 0x00);
    assert_false(line);
    assert_int_equal(flushes, 1);
    serial_write(&serial, IER, 0x02);
    assert_true(line);
}

static void test_receive_comes_before_transmit(void **state)
{
    (void)state;
    serial_write(&serial, MCR, 0x08);
    serial_write(&serial, IER, 0x03);
    type("a");
    assert_int_equal(serial_read(&serial, IIR), 0x04);
    serial_read(&serial, RBR);
    assert_true(line);
    assert_int_equal(serial_read(&serial, IIR), 0x02);
    assert_false(line);
}

static void test_out2_gates_the_interrupt(void **state)
{
    (void)state;
    serial_write(&serial, IER, 0x01);
    type("a");
    assert_false(line);
    serial_write(&serial, MCR, 0x08);
    assert_true(line);
    serial_write(&serial, MCR, 0x00);
    assert_false(line);
}

static void test_loop_back(void **state)
{
    (void)state;
    serial_write(&serial, MCR, 0x1A); /* loop, OUT2, RTS: what Linux probes with */
    assert_int_equal(serial_read(&serial, MSR) & 0xF0, 0x90);
    serial_write(&serial, MCR, 0x15); /* loop, OUT1, DTR */
    assert_int_equal(serial_read(&serial, MSR) & 0xF0, 0x60);
    serial_write(&serial, THR, 'q');
    assert_int_equal(output_size, 0);
    assert_int_equal(serial_read(&serial, LSR), 0x61);
    assert_int_equal(serial_read(&serial, RBR), 'q');
    type("z"); /* the line is cut off */
    assert_int_equal(serial_read(&serial, LSR), 0x60);
    serial_write(&serial, MCR, 0x00);
    assert_int_equal(serial_read(&serial, RBR), 'z');
}

/* Linux measures the FIFO by filling it in loop-back mode. */
static void test_fifo_holds_sixteen(void **state)
{
    (void)state;
    serial_write(&serial, FCR, 0x07);
    serial_write(&serial, MCR, 0x10);
    for (unsigned i = 0; i < 20; i++) {
        serial_write(&serial, THR, (uint8_t)i);
    }
    assert_int_equal(serial_read(&serial, LSR), 0x63); /* overrun, once */
    assert_int_equal(serial_read(&serial, LSR), 0x61);
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(serial_read(&serial, RBR), i);
    }
    assert_int_equal(serial_read(&serial, LSR), 0x60);
    serial_write(&serial, THR, 1);
    serial_write(&serial, FCR, 0x03);
    assert_int_equal(serial_read(&serial, LSR), 0x60); /* cleared */
}

static void test_modem_deltas(void **state)
{
    (void)state;
    serial_write(&serial, MCR, 0x10);
    serial_read(&serial, MSR);
    serial_write(&serial, IER, 0x08);
    serial_write(&serial, MCR, 0x16); /* RTS and OUT1 on: CTS changed; RI counts when it goes */
    assert_int_equal(serial_read(&serial, IIR), 0x00);
    assert_int_equal(serial_read(&serial, MSR), 0x51);
    assert_int_equal(serial_read(&serial, IIR), 0x01);
    serial_write(&serial, MCR, 0x12);
    assert_int_equal(serial_read(&serial, MSR), 0x14);
}

static void test_overrun_is_an_error_interrupt(void **state)
{
    (void)state;
    serial_write(&serial, MCR, 0x08);
    serial_write(&serial, IER, 0x04);
    for (unsigned i = 0; i < SERIAL_BACKLOG + 1; i++) {
        type("x");
    }
    assert_false(line);
    type("y");
    assert_true(line);
    assert_int_equal(serial_read(&serial, IIR), 0x06);
    assert_int_equal(serial_read(&serial, LSR), 0x63);
    assert_false(line);
}

static void test_reset_drops_the_interrupt(void **state)
{
    (void)state;
    serial_write(&serial, MCR, 0x08);
    serial_write(&serial, IER, 0x02);
    assert_true(line);
    serial_reset(&serial);
    assert_false(line);
    test_reset_values(state);
}

/* A 16-bit access reaches two registers. */
static void test_wide_access(void **state)
{
    (void)state;
    ports->write(&serial, SCR, 1, 0x77);
    assert_int_equal(ports->read(&serial, MSR, 2), 0x77B0);
    ports->write(&serial, THR, 2, 0x0341);
    assert_string_equal(output, "A");
    assert_int_equal(serial_read(&serial, IER), 0x03);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reset_values, setup),
        cmocka_unit_test_setup(test_registers_keep_their_bits, setup),
        cmocka_unit_test_setup(test_probe_finds_a_16550a, setup),
        cmocka_unit_test_setup(test_output, setup),
        cmocka_unit_test_setup(test_input_waits_in_order, setup),
        cmocka_unit_test_setup(test_receive_interrupt_and_timeout, setup),
        cmocka_unit_test_setup(test_transmit_interrupt, setup),
        cmocka_unit_test_setup(test_receive_comes_before_transmit, setup),
        cmocka_unit_test_setup(test_out2_gates_the_interrupt, setup),
        cmocka_unit_test_setup(test_loop_back, setup),
        cmocka_unit_test_setup(test_fifo_holds_sixteen, setup),
        cmocka_unit_test_setup(test_modem_deltas, setup),
        cmocka_unit_test_setup(test_overrun_is_an_error_interrupt, setup),
        cmocka_unit_test_setup(test_reset_drops_the_interrupt, setup),
        cmocka_unit_test_setup(test_wide_access, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
