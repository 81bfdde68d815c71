"""Partition tables: what sfdisk makes is listed as sfdisk lists it; damaged, looping and lying
tables end in sentences. Partitions as devices, and which one mount takes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import octavo
from octavo.cli.main import run as octavo_run
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.storage.mbr import MOST_LINKS
from octavo.storage.partition import UNITS, Entry, Partition
from octavo.storage.partitions import PartitionTable
from octavo.testing.bufferdisk import BufferDisk
from tests.conftest import blank_image, run
from tests.lent import Lent
from tests.storage.tables import (
    MIB,
    SCRIPTS,
    Row,
    by_sfdisk,
    by_us,
    done,
    gpt_disk,
    gpt_entry,
    listed,
    mbr_disk,
    sfdisk,
    table_sector,
)


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
        ((6, 0, 1), 0, "partition 1 begins at sector 0, where the table is"),
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


def test_a_part_that_is_closed_twice_is_closed_once(tmp_path: Path) -> None:
    """The image behind it stays open for who has another part of it."""
    with octavo.boot("4M") as system:
        disk = ImageDisk(blank_image(tmp_path / "disk.img", MIB), system.scheduler)
        disk.share()
        one, other = (Partition(disk, Entry(i, "", i * 4096, 4096)) for i in (1, 2))
        one.close()
        one.close()
        assert not disk.closed
        other.close()
        assert disk.closed
