"""Partition tables: what sfdisk makes is listed as sfdisk lists it; damaged, looping and lying
tables end in sentences. Partitions as devices, and which one mount takes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import octavo
from octavo.cli.main import run as octavo_run
from octavo.status import Status, StatusError
from octavo.storage.gpt import MOST_ARRAY
from octavo.storage.mbr import MOST_LINKS
from octavo.storage.partition import UNITS, Entry, Partition
from octavo.storage.partitions import PartitionTable, partitions
from octavo.testing.bufferdisk import BufferDisk
from tests.conftest import blank_image, run
from tests.lent import Lent

T = TypeVar("T")
MIB = 1 << 20
LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
EFI = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
MOST_READS = 1200  # of sectors, for any table


def done(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    raise AssertionError("it waits")


def listed(data: bytes | bytearray, unit: int = 512, size: int = 0) -> PartitionTable:
    """What `partitions` says of a disk that begins with `data` and has zeros behind, if it has more
    bytes. It reads a bounded number of times, within the disk.
    """
    device = BufferDisk("disk", bytearray(512))
    device.size = size or len(data)
    reads = 0

    async def read(offset: int, length: int) -> bytes:
        nonlocal reads
        reads += 1
        assert reads < MOST_READS and 0 <= length <= MOST_ARRAY
        assert offset >= 0 and offset + length <= device.size
        return bytes(data[offset : offset + length]).ljust(length, b"\0")

    return done(partitions(device, read, unit))


def by_sfdisk(disk: Path) -> list[tuple[int, str, int, int, str]]:
    """(number, type, first byte, bytes, name) of each partition as sfdisk lists them."""
    printed = run("sfdisk", "-J", disk)
    table = json.loads(printed[printed.index("{") :])["partitiontable"]
    out = []
    for part in table.get("partitions", []):
        kind, unit = part["type"], table["sectorsize"]
        kind = kind if len(kind) > 2 else f"0x{int(kind, 16):02X}"
        number = int(part["node"].removeprefix(str(disk)).lstrip("p"))
        out.append((number, kind, part["start"] * unit, part["size"] * unit, part.get("name", "")))
    return sorted(out)


def by_us(table: PartitionTable) -> list[tuple[int, str, int, int, str]]:
    """The same of `partitions`."""
    return [(e.number, e.type, e.start, e.size, e.name) for e in table.entries]


def sfdisk(path: Path, size: int, script: str) -> Path:
    """A disk with a table made by sfdisk."""
    blank_image(path, size)
    path.with_suffix(".script").write_text(script)
    run("sh", "-c", f"sfdisk -q {path} < {path.with_suffix('.script')}")
    return path


# -- by sfdisk -------------------------------------------------------------------------------------

SCRIPTS = {
    "one": "label: dos\n,,c,*\n",
    "four": "label: dos\n,8M,83\n,8M,82\n,8M,ef\n,,7\n",
    "gaps": "label: dos\n4: start=4096,size=100,type=6\n2: start=90000,size=7,type=da\n",
    "logical": "label: dos\n1: size=9M,type=c\n2: size=40M,type=f\n5: size=5M\n6: size=6M\n"
    "7: size=1M,type=1\n8: type=8e\n",
    "logical only": "label: dos\n,,5\n,5M,83\n,5M,83\n",
    "no logical": "label: dos\n,,85\n",
    "twenty": "label: dos\n,,5\n" + ",1M,83\n" * 20,
    "backwards": "label: dos\n1: start=2048,size=120000,type=5\n5: start=90000,size=900,type=6\n"
    "6: start=50000,size=900,type=83\n7: start=9000,size=900,type=83\n",
    "empty": "label: dos\n",
    "gpt": "label: gpt\n,10M,U\n,,L\n",
    "names": 'label: gpt\nsize=1M,name="EFI böot"\nsize=1M,name="\U0001f4be 日本"\nsize=1M,'
    'name="123456789012345678901234567890123456"\n',
    "gpt gaps": "label: gpt\n7: size=1M\n128: start=90000,size=1\n3: size=3M\n",
    "short array": "label: gpt\ntable-length: 4\n,1M\n,1M\n",
    "long array": "label: gpt\ntable-length: 1000\n" + ",100K\n" * 60,
    "gpt empty": "label: gpt\n",
}


@pytest.mark.fdisk
@pytest.mark.parametrize("name", SCRIPTS)
def test_as_sfdisk_lists_them(name: str, tmp_path: Path) -> None:
    """Numbers, types, places, sizes and names; there is nothing to say against them."""
    disk = sfdisk(tmp_path / "disk.img", 64 * MIB, SCRIPTS[name])
    table = listed(disk.read_bytes())
    assert by_us(table) == by_sfdisk(disk) and table.faults == []
    assert table.scheme == ("GPT" if "gpt" in SCRIPTS[name] else "MBR")
    assert len(table.entries) == SCRIPTS[name].count("\n") - 1 or "table-length" in SCRIPTS[name]


@pytest.mark.fdisk
def test_links_without_a_partition_are_not_counted(tmp_path: Path) -> None:
    """A logical partition that was deleted leaves a table without one: sfdisk counts on."""
    disk = sfdisk(tmp_path / "disk.img", 64 * MIB, SCRIPTS["logical"])
    data = bytearray(disk.read_bytes())
    first = listed(data).entries[1].start
    second = first + 512 * int(struct.unpack_from("<I", data, first + 446 + 16 + 8)[0])
    assert data[second + 510 : second + 512] == b"\x55\xaa"
    data[second + 446 : second + 462] = bytes(16)
    disk.write_bytes(data)
    assert by_us(listed(data)) == by_sfdisk(disk)
    assert [e.number for e in listed(data).entries] == [1, 2, 5, 6, 7]


@pytest.mark.fdisk
def test_sectors_of_4096_bytes(tmp_path: Path) -> None:
    """A GPT that fdisk makes on a disk with such sectors says so itself; an MBR is told."""
    for label, start in (("g", 256), ("o", 256)):
        disk = blank_image(tmp_path / f"{label}.img", 64 * MIB)
        typed = f"{label}\nn\n" + ("" if label == "g" else "p\n") + "1\n\n+10M\nn\n"
        typed += ("" if label == "g" else "p\n") + "2\n\n\nw\n"
        (tmp_path / "typed").write_text(typed)
        run("sh", "-c", f"fdisk -b 4096 {disk} < {tmp_path / 'typed'}")
        lines = run("fdisk", "-b", "4096", "-l", "-o", "Start,Sectors", disk).splitlines()
        wanted = [tuple(int(n) * 4096 for n in x.split()) for x in lines[-2:]]
        table = listed(disk.read_bytes(), 4096)
        assert [(e.start, e.size) for e in table.entries] == wanted and not table.faults
        assert table.entries[0].start == start * 4096 and table.entries[0].unit == 4096
        if label == "g":
            assert by_us(listed(disk.read_bytes(), 512)) == by_us(table)


# -- MBR -------------------------------------------------------------------------------------------

Row = tuple[int, int, int]  # type, first sector, sectors


def table_sector(rows: Sequence[Row]) -> bytes:
    """A sector with a partition table."""
    packed = b"".join(struct.pack("<B3xB3xII", 0, *row) for row in rows)
    return bytes(446) + packed.ljust(64, b"\0") + b"\x55\xaa"


def mbr_disk(sectors: Mapping[int, Sequence[Row]], size: int = 20000, unit: int = 512) -> bytes:
    """A disk of `size` sectors, with tables in some of them."""
    disk = bytearray(size * unit)
    for at, rows in sectors.items():
        disk[at * unit : at * unit + 512] = table_sector(rows)
    return bytes(disk)


CHAINS: list[tuple[dict[int, Sequence[Row]], list[int], str]] = [
    # a chain that leads to itself, back, into a partition, before, behind, beyond the disk
    ({100: [(6, 10, 90), (5, 0, 100)]}, [5], "leads to sector 100, where it has been"),
    (
        {100: [(6, 10, 90), (5, 500, 100)], 600: [(6, 10, 90), (5, 0, 100)]},
        [5, 6],
        "leads to sector 100, where it has been",
    ),
    ({100: [(6, 10, 90), (5, 50, 100)]}, [5], "leads to sector 150, where it has been"),
    ({100: [(0, 0, 0), (5, 0xFFFFFFFF, 9)]}, [], "sector 4294967395, which is outside"),
    ({100: [(6, 10, 90), (5, 10000, 9)]}, [5], "sector 10100, which is outside"),
    ({100: [(6, 10, 90), (5, 5000, 9)]}, [5], "sector 5100, where there is no table"),
    # partitions on a table, on another one, on the disk's end and behind it
    ({100: [(6, 0, 90)]}, [], "partition 5 lies on one before it"),
    (
        {100: [(6, 10, 900), (5, 950, 9)], 1050: [(6, 0xFFFFFF9C, 90)]},
        [5],
        "partition 6 begins at sector 4294968246",
    ),
    (
        {100: [(6, 10, 1900), (5, 2000, 9)], 2100: [(6, 1, 0xFFFFFFFF)]},
        [5, 6],
        "partition 6 ends at sector 4294969395, and",
    ),
    (
        {100: [(6, 1000, 500), (5, 10, 9)], 110: [(6, 1, 1500)]},
        [5],
        "partition 6 lies on one before it",
    ),
    ({100: [(6, 9000, 9500)]}, [5], "partition 5 ends behind the extended partition"),
    ({100: [(6, 30000, 5)]}, [], "partition 5 begins at sector 30100, and the device has 20000"),
    ({}, [], "partition 2 is an extended one, whose chain leads to sector 100, where there is no"),
]


@pytest.mark.parametrize("case", range(len(CHAINS)))
def test_chains_that_are_wrong(case: int) -> None:
    """What is before the fault is listed, and the fault is told."""
    chain, numbers, says = CHAINS[case]
    table = listed(mbr_disk({0: [(6, 10, 50), (0xF, 100, 9000), (0x83, 19000, 10)], **chain}))
    assert [e.number for e in table.entries] == [1, 2, 3, *numbers]
    assert (
        len(table.faults) == 1 + (numbers == [5, 6] and "ends" in says) and says in table.faults[0]
    )


def test_logical_partitions_that_touch() -> None:
    """In any order: before one that was made earlier, a table behind a partition."""
    for chain in (
        {1000: [(6, 1100, 500), (5, 600, 9)], 1600: [(6, 1, 499)]},
        {1000: [(6, 100, 500), (5, 50, 9)], 1050: [(6, 1, 49)]},
        {1000: [(6, 1, 99), (5, 100, 9)], 1100: [(6, 1, 49)]},
    ):
        table = listed(mbr_disk({0: [(5, 1000, 9000)], **chain}))
        assert [e.number for e in table.entries] == [1, 5, 6] and table.faults == []


def test_a_chain_is_bounded() -> None:
    """The last table that is read, and the one after it."""
    for count in (MOST_LINKS, MOST_LINKS + 1):
        chain: dict[int, Sequence[Row]] = {
            100 + 20 * i: [(6, 1, 10), (5, 20 * (i + 1), 20)] for i in range(count - 1)
        }
        chain[100 + 20 * (count - 1)] = [(6, 1, 10)]
        table = listed(mbr_disk({0: [(5, 100, 19000)], **chain}))
        assert len(table.entries) == 1 + MOST_LINKS
        assert [str(MOST_LINKS) in f for f in table.faults] == [True] * (count - MOST_LINKS)


def test_primary_partitions_that_are_wrong() -> None:
    """At the disk's last sector and behind it, without sectors, on one another, twice extended."""
    for row, number, says in (
        ((6, 19999, 1), 1, ""),
        ((6, 19999, 2), 1, "partition 1 ends at sector 20000, and the device has 20000 sectors"),
        ((6, 20000, 1), 0, "partition 1 begins at sector 20000, and the device has 20000"),
        ((6, 0, 1), 0, "partition 1 begins at sector 0"),
        ((6, 1, 0), 0, "partition 1 has no sectors"),
    ):
        table = listed(mbr_disk({0: [row]}))
        assert len(table.entries) == number
        assert says in "".join(table.faults) and bool(says) == bool(table.faults)
    table = listed(mbr_disk({0: [(6, 100, 100), (6, 199, 10), (6, 200, 10), (6, 210, 5)]}))
    assert len(table.entries) == 4
    assert table.faults == [
        "partition 2 begins in partition 1",
        "partition 3 begins in partition 2",
    ]
    table = listed(mbr_disk({0: [(5, 100, 100), (0xF, 300, 100)], 100: [], 300: [(6, 1, 5)]}))
    assert [e.number for e in table.entries] == [1, 2] and "second extended" in table.faults[0]


@pytest.mark.parametrize("unit", UNITS)
def test_units_of_an_mbr(unit: int) -> None:
    """Primary and logical partitions are counted in the sectors that the caller names."""
    disk = mbr_disk({0: [(6, 10, 50), (5, 100, 900)], 100: [(0x83, 2, 5)]}, 2000, unit)
    assert [(e.start, e.size, e.unit) for e in listed(disk, unit).entries] == [
        (10 * unit, 50 * unit, unit),
        (100 * unit, 900 * unit, unit),
        (102 * unit, 5 * unit, unit),
    ]


def test_no_table() -> None:
    """Nothing is said of a disk without one."""
    for data in (b"", bytes(512), bytes(4096), b"\xff" * 4096, table_sector([(6, 1, 1)])[:511]):
        assert listed(data) == PartitionTable()
    bad = bytearray(mbr_disk({0: [(6, 10, 50)]}))
    bad[446 + 48] = 1  # neither active nor not
    assert listed(bad) == PartitionTable()
    assert listed(mbr_disk({0: []})).scheme == "MBR"


# -- GPT -------------------------------------------------------------------------------------------


def gpt_header(
    at: int, other: int, entries: int, array: bytes, count: int, size: int, **change: int
) -> bytes:
    """A header with its checksum; `change` sets its `length`, `here` or `crc`."""
    data = struct.pack(
        "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, change.get("length", 92), 0, 0,
        change.get("here", at), other, 34, 900, bytes(16), entries, count, size,
        change.get("crc", crc32(array)),
    )  # fmt: skip
    length = change.get("length", 92)
    return data[:16] + struct.pack("<I", crc32(data.ljust(length, b"\0"))) + data[20:]


def gpt_entry(first: int, last: int, kind: str = LINUX, name: str = "") -> bytes:
    """An entry."""
    text = name.encode("utf-16-le").ljust(72, b"\0")
    return struct.pack("<16s16sQQQ", UUID(kind).bytes_le, bytes(16), first, last, 0) + text


def gpt_disk(
    rows: Sequence[bytes], unit: int = 512, sectors: int = 1000, size: int = 128, **change: int
) -> bytearray:
    """A disk of 1,000 sectors with a GPT: 16 entries, and their backup."""
    array = b"".join(row.ljust(size, b"\0") for row in rows).ljust(16 * size, b"\0")
    disk = bytearray(sectors * unit)
    disk[:512] = table_sector([(0xEE, 1, sectors - 1)])
    disk[2 * unit : 2 * unit + len(array)] = array
    header = gpt_header(1, sectors - 1, 2, array, 16, size, **change)
    disk[unit : unit + len(header)] = header
    there = sectors - 1 - -(-len(array) // unit)
    disk[there * unit : there * unit + len(array)] = array
    header = gpt_header(sectors - 1, 1, there, array, 16, size)
    disk[(sectors - 1) * unit : (sectors - 1) * unit + len(header)] = header
    return disk


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
        (gpt_entry(0, 5), 0, "begins at sector 0"),
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


# -- any bytes -------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.data())
def test_random_tables(data: st.DataObject) -> None:
    """Random rows in random sectors, random bytes anywhere: a table and sentences, in a bounded
    number of reads; what is listed begins on the disk.
    """
    rows = st.tuples(
        st.sampled_from([0, 5, 6, 0xF, 0x83, 0xEE]), st.integers(0, 70), st.integers(0, 70)
    )
    chain = data.draw(st.dictionaries(st.integers(0, 63), st.lists(rows, max_size=4), max_size=20))
    disk = bytearray(mbr_disk(chain, 64))
    if data.draw(st.booleans()):
        disk = gpt_disk(
            [gpt_entry(*data.draw(st.tuples(*[st.integers(0, 70)] * 2))) for _ in "123"], 512, 64
        )
    for at, part in data.draw(
        st.lists(st.tuples(st.integers(0, 32767), st.binary(max_size=64)), max_size=5)
    ):
        disk[at : at + len(part)] = part
    disk = disk[: data.draw(st.integers(0, 64)) * 512]
    for unit in UNITS:
        table = listed(disk, unit)
        assert all(0 < e.start < len(disk) and e.size > 0 for e in table.entries)
        assert len({e.number for e in table.entries}) == len(table.entries)
        assert all(f and "\n" not in f for f in table.faults)


# -- partitions as devices -------------------------------------------------------------------------


def test_a_partition_is_a_device_of_its_own() -> None:
    """Its bytes are those of the disk from its first on; nobody gets beyond them."""
    inner = BufferDisk("disk", bytearray(range(256)) * 40)
    part = Partition(inner, Entry(3, "0x83", 1024, 2048))
    assert part.size == 2048 and part.name == "disk, partition 3"
    lent, before = Lent(), bytes(inner.buffer)
    request = lent.read(1024, 1024)
    done(part.submit([request]))
    assert request.frames.read() == before[2048:3072]
    done(part.submit([lent.write(0, bytes(512))]))
    assert bytes(inner.buffer) == before[:1024] + bytes(512) + before[1536:]
    for place in (-512, 1536, 2048, 1 << 62):
        for request in (lent.read(place, 1024), lent.write(place, bytes(1024))):
            with pytest.raises(StatusError) as caught:
                done(part.submit([request]))
            assert caught.value.status == Status.IO_DEVICE_ERROR
    assert Partition(inner, Entry(1, "0x83", 9728, 4096)).size == 512  # as far as the disk goes
    assert Partition(inner, Entry(1, "0x83", 1024, 1000)).size == 512  # in whole sectors


# -- mount -----------------------------------------------------------------------------------------


@pytest.mark.fdisk
@pytest.mark.parametrize("script", ["logical", "gpt", "names", "long array"])
def test_mount_takes_the_first_that_has_a_volume(script: str, tmp_path: Path) -> None:
    """In each partition that is large enough in turn, logical ones and those of a GPT."""
    disk = sfdisk(tmp_path / "disk.img", 64 * MIB, SCRIPTS[script])
    empty = disk.read_bytes()
    for entry in [e for e in listed(empty).entries if e.kind != "extended"][:6]:
        small = blank_image(tmp_path / "small.img", min(entry.size, 4 * MIB))
        assert octavo_run(["mkfs", "--force", str(small)]) == 0
        end = entry.start + small.stat().st_size
        put(disk, entry.start, small.read_bytes())
        with octavo.open_image(disk) as volume:
            volume.write_bytes("a", b"b" * 3000)
            assert volume.core.name.endswith(f"partition {entry.number}")
        after = disk.read_bytes()
        assert after[: entry.start] == empty[: entry.start] and after[end:] == empty[end:]
        assert after != empty
        put(disk, entry.start, empty[entry.start : end])


def put(disk: Path, place: int, data: bytes) -> None:
    """Writes bytes into a file."""
    with open(disk, "r+b") as file:
        file.seek(place)
        file.write(data)
