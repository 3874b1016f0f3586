/* SPDX-License-Identifier: MIT */
/* The guests' DSDT: power off, and the two devices that are found through ACPI (docs/guests.md). */
DefinitionBlock ("", "DSDT", 2, "RIVET ", "RIVETVM ", 1)
{
    /* SLP_TYP for the sleep control register of the FADT. */
    Name (\_S5, Package () { 5, 0, 0, 0 })

    Scope (\_SB)
    {
        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Name (_STA, 0x0F)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F8, 0x03F8, 1, 8)
                Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 4 }
            })
        }

        /* Without an interrupt: it tells the time, and does not wake anybody. */
        Device (RTC0)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_STA, 0x0F)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 1, 2)
            })
        }
    }
}
