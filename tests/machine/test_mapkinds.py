"""What the kinds of memory are called in firmware maps, and what only looks like such a name."""

from __future__ import annotations

import pytest

from octavo.machine.firmware import FirmwareRange, MemoryKind
from octavo.machine.mapsources import parse_text
from tests.maplines import PC, K, log


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("soft reserved", K.RESERVED),
        ("Soft Reserved", K.RESERVED),
        ("persistent (type 7)", K.RESERVED),
        ("persistent (type 12)", K.RESERVED),
        ("type 20", K.RESERVED),
        ("(type 9)", K.RESERVED),
        ("ACPI non-volatile storage", K.NVS),
        ("(ACPI NVS)", K.NVS),
        ("System RAM", K.USABLE),
        ("unusable", K.UNUSABLE),
        ("type 5", K.UNUSABLE),
        ("ACPI\tNVS", K.NVS),
        ("ACPI\u00a0NVS", K.NVS),
        ("ACPI  NVS", K.NVS),
        ("RAM holding coreboot tables", K.RESERVED),
        ("RAM holding firmware code", K.RESERVED),
        ("usable RAM", K.USABLE),
        ("usable Jun 19 18:06:35 host kernel: more", K.USABLE),
        ("reserved by the BIOS", K.RESERVED),
        ("(usable) # mine", K.USABLE),
    ],
)
def test_kinds_of_all_kernels(word: str, kind: MemoryKind) -> None:
    """Old and new names, without a remark."""
    found = parse_text(log(PC) + f"BIOS-e820: [mem 0x0000000100000000-0x00000001ffffffff] {word}\n")
    assert found == [*PC, FirmwareRange(1 << 32, 2 << 32, kind)] and not found.notes


@pytest.mark.parametrize(
    "word",
    [
        "RAM (unusable)",
        "usable (reserved)",
        "usable by nobody",
        "RAM, bad",
        "RAM buffer",
        "available for PCI devices",
        "Usable but slow",
        "usable-reserved",
        "(usable) ==> (reserved)",
        "usable -> ACPI data",
        "usable [reserved]",
        "Loader Data: lost",
        "type 1 of none",
        "ACPI of no kind",
    ],
)
def test_a_kind_that_goes_on_in_words_is_unknown(word: str) -> None:
    """What turns the name round behind it counts: reserved, and told, as in a list."""
    for line in (
        f"BIOS-e820: [mem 0x0000000100000000-0x00000001ffffffff] {word}\n",
        f"base_addr = 0x100000000, length = 0x100000000, {word}\n",
    ):
        found = parse_text(line + "NX protection: active\n")
        assert found == [FirmwareRange(1 << 32, 2 << 32, K.RESERVED)]
        assert found.notes == (
            f"map, line 1: the kind {word!r} is unknown, and is taken as reserved",
        )
    efi_word = parse_text(
        f"efi: mem00: [{word.replace('[', '(').replace(']', ')')}|   |WB] range=[0x0-0xfffff] (1MB)"
    )
    assert (
        efi_word == [FirmwareRange(0, 0x100000, K.RESERVED)] and "is unknown" in efi_word.notes[0]
    )


def test_types_of_xen_that_have_no_name() -> None:
    """It writes them without parentheses, in its old form and its new one."""
    for line in (
        "[0000000100000000, 00000001ffffffff] type 12",
        "(XEN)  [0000000100000000, 00000001ffffffff] type 12",
        "(XEN)  0000000100000000 - 0000000200000000 type 12",
    ):
        assert parse_text(
            log(PC, "Xen") * ("-" in line) + log(PC, "Xen 4.15") * ("-" not in line) + line
        ) == [*PC, FirmwareRange(1 << 32, 2 << 32, K.RESERVED)]


@pytest.mark.parametrize(
    "front",
    [
        "",
        "[    0.000000] ",
        "> [    0.000000][    T0] ",
        "Jun 19 18:06:35 host kernel: ",
        "<6>[    0.000000] ",
    ],
)
def test_half_a_name_in_the_next_line(front: str) -> None:
    """Whatever stands in front of each line."""
    text = "".join(
        line.replace("ACPI NVS", f"ACPI\n{front}NVS") + "\n" for line in log(PC).splitlines()
    )
    assert parse_text(text) == PC and not parse_text(text).notes


def test_specific_purpose_memory_is_no_ram() -> None:
    """As in binary tables; by its flag, by an unknown attribute, or by number."""
    for line in (
        "efi: mem00: [Conventional Memory|   |  |  |SP|  |   |WB|WT|WC|UC] "
        "range=[0x0-0xfffff] (1MB)",
        "efi: mem00: [Conventional Memory|attr=0x000000000004000f] range=[0x0-0xfffff] (1MB)",
        "efi: mem00: type=7, attr=0x4000f, range=[0x0-0x100000) (1MB)",
    ):
        assert parse_text(line) == [FirmwareRange(0, 0x100000, K.RESERVED)]
