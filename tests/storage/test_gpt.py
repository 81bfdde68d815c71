"""GPT: headers, arrays and entries that are damaged or lie."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from octavo.storage.partition import UNITS
from tests.storage.tables import (
    EFI,
    LINUX,
    MIB,
    SCRIPTS,
    by_sfdisk,
    by_us,
    gpt_disk,
    gpt_entry,
    gpt_header,
    listed,
    mbr_disk,
    sfdisk,
    table_sector,
)

TWO = [gpt_entry(40, 49, EFI, "boot"), gpt_entry(100, 100, LINUX, "")]


@pytest.mark.parametrize("unit", UNITS)
def test_every_byte_of_a_gpt_header(unit: int) -> None:
    """Changed in the header, or in its entries: the backup is used, and that is told; in the
    backup: that is told. Without both there are no partitions, and a sentence.
    """
    good = gpt_disk(TWO, unit)
    wanted = listed(good)
    assert by_us(wanted) == [
        (1, EFI, 40 * unit, 10 * unit, "boot"),
        (2, LINUX, 100 * unit, unit, ""),
    ]
    assert wanted.faults == []
    last = len(good) - unit
    array = -(-16 * 128 // unit) * unit
    for place in range(92 + 256):
        main = unit + place if place < 92 else 2 * unit + place - 92
        copy = last + place if place < 92 else last - array + place - 92
        for at, says in ((main, "its backup is used"), (copy, "the backup of the GPT header")):
            bad = bytearray(good)
            bad[at] ^= 0x41
            table = listed(bad)
            assert by_us(table) == by_us(wanted) and len(table.faults) == 1
            assert says in table.faults[0], place
        bad[main] ^= 0x41
        table = listed(bad)
        assert [e.type for e in table.entries] == ["0xEE"] and table.scheme == "MBR"
        assert "partition 1 stands for GPT partitions" in table.faults[0]
        assert "no backup of it is whole" in table.faults[0]


@pytest.mark.fdisk
def test_a_bad_primary_as_sfdisk_sees_it(tmp_path: Path) -> None:
    """sfdisk uses the backup, too."""
    disk = sfdisk(tmp_path / "disk.img", 64 * MIB, SCRIPTS["names"])
    good = by_sfdisk(disk)
    data = bytearray(disk.read_bytes())
    data[512 + 40] ^= 1
    disk.write_bytes(data)
    assert by_us(listed(data)) == good == by_sfdisk(disk)
    assert listed(data).faults == [
        "the checksum of the GPT header in sector 1 is wrong: its backup is used"
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"length": 91}, "claims to have 91 bytes"),
        ({"length": 513}, "claims to have 513 bytes"),
        ({"length": 1 << 31}, "claims to have 2147483648 bytes"),
        ({"here": 2}, "says that it is in sector 2"),
        ({"crc": 1}, "checksum of the entries"),
    ],
)
def test_headers_that_lie(change: dict[str, int], says: str) -> None:
    """With a right checksum: the backup is used."""
    if change.get("length", 0) > 1 << 20:
        disk = gpt_disk(TWO)
        struct.pack_into("<I", disk, 512 + 12, change["length"])
    else:
        disk = gpt_disk(TWO, **change)
    table = listed(disk)
    assert len(table.entries) == 2 and says in table.faults[0]


@pytest.mark.parametrize(
    ("entries", "count", "size", "says"),
    [
        (2, 8193, 128, "claims to have 8193 entries"),
        (2, 0xFFFFFFFF, 4096, "claims to have 4294967295 entries"),
        (2, 4, 64, "entries of 64 bytes"),
        (2, 4, 0, "entries of 0 bytes"),
        (2, 4, 192, "entries of 192 bytes"),
        (2, 4, 8192, "entries of 8192 bytes"),
        (2, 4, 0xFFFFFFFF, "entries of 4294967295 bytes"),
        (0, 4, 128, "would begin at sector 0"),
        (1, 4, 128, "would begin at sector 1,"),
        (1000, 4, 128, "would begin at sector 1000"),
        (999, 5, 128, "would begin at sector 999"),
        ((1 << 64) - 1, 4, 128, "would begin at sector 18446744073709551615"),
    ],
)
def test_arrays_that_lie(entries: int, count: int, size: int, says: str) -> None:
    """Too many, too long, too short, elsewhere: with a right checksum of the header."""
    disk = gpt_disk(TWO)
    disk[512 : 512 + 92] = gpt_header(1, 999, entries, b"", count, size)
    table = listed(disk)
    assert len(table.entries) == 2 and says in table.faults[0]


@pytest.mark.parametrize("size", [128, 256, 512, 1024, 4096])
def test_longer_entries(size: int) -> None:
    """Their first 128 bytes count."""
    table = listed(gpt_disk(TWO, size=size))
    assert [e.name for e in table.entries] == ["boot", ""] and not table.faults


def test_entries_that_are_wrong() -> None:
    """At the last sector and behind it, backwards, in one another; names of any kind."""
    last = (1 << 64) - 1
    for row, number, says in (
        (gpt_entry(999, 999), 1, ""),
        (gpt_entry(999, 1000), 1, "ends at sector 1000, and the device has 1000"),
        (gpt_entry(1000, 1000), 0, "begins at sector 1000, and the device has 1000"),
        (gpt_entry(0, 5), 0, "begins at sector 0, where the table is"),
        (gpt_entry(50, 49), 0, "begins at sector 50 and ends before, at sector 49"),
        (gpt_entry(last, last), 0, f"begins at sector {last}"),
        (gpt_entry(9, last), 1, f"ends at sector {last}"),
    ):
        table = listed(gpt_disk([row]))
        assert len(table.entries) == number and len(table.faults) == bool(says)
        assert says in "".join(table.faults)
    table = listed(gpt_disk([gpt_entry(50, 90), gpt_entry(60, 61), gpt_entry(90, 95)]))
    assert table.faults == [
        "partition 2 begins in partition 1",
        "partition 3 begins in partition 1",
    ]
    for name, wanted in (
        ("x" * 36, "x" * 36),
        ("a\0b", "a"),
        ("\U0001f4be" * 18, "\U0001f4be" * 18),
    ):
        assert listed(gpt_disk([gpt_entry(50, 90, LINUX, name)])).entries[0].name == wanted
    lone = gpt_entry(50, 90)[:56] + b"\x00\xd8a\0" + bytes(68)
    listed(gpt_disk([lone])).entries[0].name.encode()


def test_where_a_gpt_is_looked_for() -> None:
    """With an MBR of other partitions there is none; without an MBR it is told; a cut disk has no
    backup, and says so.
    """
    disk = gpt_disk(TWO)
    disk[:512] = bytes(512)
    table = listed(disk)
    assert table.scheme == "GPT" and len(table.entries) == 2
    assert table.faults == ["there is no MBR in sector 0 that stands for the GPT"]
    disk[:512] = table_sector([(6, 10, 50)])
    assert [e.type for e in listed(disk).entries] == ["0x06"]
    disk[:512] = table_sector([(6, 10, 50), (0xEE, 1, 999)])  # a hybrid: the GPT is what counts
    assert listed(disk).scheme == "GPT"
    disk[512:600] = bytes(88)
    disk[999 * 512 : 999 * 512 + 88] = bytes(88)
    table = listed(disk)
    assert [e.type for e in table.entries] == ["0x06", "0xEE"]
    assert "partition 2 stands for GPT partitions" in table.faults[0]


def test_cut_disks() -> None:
    """At every sector: partitions that begin on the disk, and a sentence for what is missing."""
    disk = gpt_disk(TWO)
    for sectors in range(1000):
        table = listed(disk[: sectors * 512])
        assert all(0 < e.start < sectors * 512 for e in table.entries)
        assert table.faults or sectors < 2
    chain = {0: [(5, 100, 900)], 100: [(6, 5, 50), (5, 300, 90)], 400: [(6, 5, 50)]}
    disk = bytearray(mbr_disk(chain, 1000))
    for sectors in range(1000):
        table = listed(disk[: sectors * 512])
        assert all(0 < e.start < sectors * 512 for e in table.entries)
