"""Binary firmware maps: E820, UEFI, Multiboot; damaged ones; the recorded maps."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavo.boot.firmware_map import normalise
from octavo.machine.firmware import FirmwareRange, MemoryKind
from octavo.machine.mapsources import load_firmware_map, recorded_maps
from octavo.machine.rawmaps import FORMS, parse_raw
from octavo.status import StatusError
from tests.places import DATA

RECORDED = DATA / "pc-6g.e820"  # what SeaBIOS wrote for INT 15h E820
CODES = {
    MemoryKind.USABLE: (1, 7),
    MemoryKind.RESERVED: (2, 0),
    MemoryKind.ACPI: (3, 9),
    MemoryKind.NVS: (4, 10),
    MemoryKind.UNUSABLE: (5, 8),
}
RANGES = [
    FirmwareRange(0, 0x9F000, MemoryKind.USABLE),
    FirmwareRange(0xF0000, 0x100000, MemoryKind.RESERVED),
    FirmwareRange(0x100000, 0x7FE0000, MemoryKind.USABLE),
    FirmwareRange(0x7FE0000, 0x7FF0000, MemoryKind.ACPI),
    FirmwareRange(0x7FF0000, 0x8000000, MemoryKind.NVS),
    FirmwareRange(0x100000000, 0x140000000, MemoryKind.USABLE),
]


def e820(ranges: list[FirmwareRange], size: int) -> bytes:
    """The ranges as raw E820 entries."""
    return b"".join(
        struct.pack("<QQII", r.start, r.end - r.start, CODES[r.kind][0], 1)[:size] for r in ranges
    )


def uefi(ranges: list[FirmwareRange], size: int) -> bytes:
    """The ranges as UEFI descriptors."""
    return b"".join(
        struct.pack("<IIQQQQ", CODES[r.kind][1], 0, r.start, 0, (r.end - r.start) >> 12, 0xF).ljust(
            size, b"\0"
        )
        for r in ranges
    )


def multiboot1(ranges: list[FirmwareRange], size: int) -> bytes:
    """The ranges as Multiboot 1 entries of `size` bytes after the size field."""
    return b"".join(
        struct.pack("<IQQI", size, r.start, r.end - r.start, CODES[r.kind][0]).ljust(
            size + 4, b"\0"
        )
        for r in ranges
    )


def multiboot2(kind: int, entry: int, body: bytes) -> bytes:
    """An information structure with a command line tag, a map tag and an end tag."""
    tags = struct.pack("<II", 1, 13) + b"loud\0" + b"\0" * 3
    tags += struct.pack("<IIII", kind, 16 + len(body), entry, 0) + body
    tags += b"\0" * (-len(tags) % 8) + struct.pack("<II", 0, 8)
    return struct.pack("<II", 8 + len(tags), 0) + tags


@pytest.mark.parametrize("size", [20, 24])
def test_e820(size: int) -> None:
    """Both sizes are told apart."""
    assert parse_raw(e820(RANGES, size), "x") == RANGES


@pytest.mark.parametrize("size", [40, 48, 56, 96])
def test_uefi_descriptors_of_any_size(size: int) -> None:
    """The size is found, or taken from the caller's form."""
    assert parse_raw(uefi(RANGES, size), "x") == RANGES
    assert parse_raw(uefi(RANGES, size), "x", "uefi") == RANGES


@pytest.mark.parametrize("size", [20, 24])
def test_multiboot(size: int) -> None:
    """Version 1, and version 2 with its own map and with a UEFI one."""
    assert parse_raw(multiboot1(RANGES, size), "x") == RANGES
    assert parse_raw(multiboot2(6, 24, e820(RANGES, 24)), "x") == RANGES
    assert parse_raw(multiboot2(17, 48, uefi(RANGES, 48)), "x") == RANGES


def test_a_recorded_table_is_its_text(tmp_path: Path) -> None:
    """What SeaBIOS returned and the recorded map made from it are the same; the form can be
    named.
    """
    assert (
        load_firmware_map(str(RECORDED))
        == load_firmware_map("pc-6g")
        == load_firmware_map(f"e820:{RECORDED}")
    )
    qemu = tmp_path / "etc-e820"
    qemu.write_bytes(
        b"".join(RECORDED.read_bytes()[i : i + 20] for i in range(0, RECORDED.stat().st_size, 24))
    )
    assert load_firmware_map(str(qemu)) == load_firmware_map("pc-6g")


def test_empty_and_wrapping_entries() -> None:
    """Length 0 goes; RAM that wraps goes; what is reserved reaches to the end of the address space;
    attribute bit 0 clear goes.
    """
    top = (1 << 64) - 0x1000
    data = (
        struct.pack("<QQII", 0, 0, 1, 1)
        + struct.pack("<QQII", top, 0x2000, 1, 1)
        + struct.pack("<QQII", top, 0x2000, 2, 1)
    )
    data += struct.pack("<QQII", 0x1000, 0x1000, 1, 0) + struct.pack(
        "<QQII", 0x100000, 0x100000, 1, 1
    )
    found = parse_raw(data, "x", "e820")
    assert found == [
        FirmwareRange(top, 1 << 64, MemoryKind.RESERVED),
        FirmwareRange(0x100000, 0x200000, MemoryKind.USABLE),
    ]


def test_specific_purpose_memory_is_reserved() -> None:
    """RAM of any type with the attribute; what is no RAM stays what it is."""
    kinds = [(kind, attribute) for kind in (7, 1, 3, 4, 9) for attribute in (0xF, 0x4000F)]
    data = b"".join(
        struct.pack("<IIQQQQ", kind, 0, i << 20, 0, 16, attribute)
        for i, (kind, attribute) in enumerate(kinds)
    )
    found = [r.kind for r in parse_raw(data, "x")]
    assert (
        found[1:8:2] == [MemoryKind.RESERVED] * 4
        and MemoryKind.RESERVED not in found[::2]
        and found[9] == MemoryKind.ACPI
    )


@pytest.mark.parametrize(
    ("data", "form", "says"),
    [
        (b"\0" * 7, "e820", "7 bytes are no whole number of"),
        (struct.pack("<QQI", 0, 4096, 99), "e820", "entry 0: type 0x63"),
        (uefi(RANGES, 40), "uefi", ""),
        (uefi(RANGES, 40).replace(b"\x07", b"\x17", 1), "uefi", "no descriptor size"),
        (
            multiboot1(RANGES, 20)[:-1],
            "multiboot1",
            "entry at byte 120 has size 20, and 23 bytes are left",
        ),
        (struct.pack("<I", 3) + b"\0" * 20, "multiboot1", "entry at byte 0 has size 3"),
        (multiboot2(6, 24, e820(RANGES, 24))[:-8], "multiboot2", "total size at byte 0"),
        (multiboot2(6, 7, e820(RANGES, 24)), "multiboot2", "entries of 7 bytes"),
        (multiboot2(3, 7, b""), "multiboot2", "no memory map tag"),
        (b"", "", "as multiboot1, it has no range"),
    ],
)
def test_damaged_tables(data: bytes, form: str, says: str) -> None:
    """One sentence that names the entry or the field."""
    if not says:
        assert parse_raw(data, "x", form) == RANGES
        return
    with pytest.raises(StatusError, match="x: not a firmware map") as error:
        parse_raw(data, "x", form)
    assert says in error.value.text


@given(data=st.binary(max_size=400), form=st.sampled_from(["", *FORMS]))
def test_any_bytes_are_a_map_or_an_error(data: bytes, form: str) -> None:
    """No crash, and whatever comes out can be normalised."""
    try:
        found = parse_raw(data, "x", form)
    except StatusError:
        return
    normalise(found, 1 << 52)


def test_ten_machines_from_8_mib_to_2_tib() -> None:
    """PC BIOS, ISA, OVMF, a server of four nodes, and one beyond 1 TiB; each has as much RAM as its
    name says, but for 3 %.
    """
    names = recorded_maps()
    assert len(names) >= 10
    for name in names:
        size = name.split("-")[-1]
        nominal = int(size[:-1]) << {"m": 20, "g": 30, "t": 40}[size[-1]]
        found = sum(
            r.end - r.start for r in normalise(load_firmware_map(name), 1 << 52) if r.kind.ram
        )
        assert 0.90 * nominal <= found <= nominal, (name, found / nominal)
