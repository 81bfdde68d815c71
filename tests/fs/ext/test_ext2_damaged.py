"""Damaged and hostile ext2 volumes: one sentence with the right status, no traceback, no hang, no
unbounded memory; what is sound is still read."""

from __future__ import annotations

import re
import struct
import tracemalloc

import pytest

from octavo.status import Status
from octavo.system import System
from tests.fs.ext.conftest import BLOCK, Good, patched, place, tried

pytestmark = pytest.mark.e2fsprogs


def test_the_good_one(good: Good, system: System) -> None:
    """All is read, and nothing is told: what the others are compared with."""
    out, told = tried(system, good[0])
    assert told == [] and out["small"] == out["fast"] == out["slow"] == b"smallsmall"
    assert len(out) == 8 and out["three"].endswith(b"3" * 9) and out["two"].startswith(b"2" * 65536)


EXTREMES = (0, 1, 2, 3, 7, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def test_fields_of_the_superblock(good: Good, system: System) -> None:
    """Each at its extremes, in 4 bytes and in 2; and what is told of some."""
    for at in range(0, 264, 4):
        for value in EXTREMES:
            tried(system, patched(good[0], (1024 + at, "I", value)))
    for at in (56, 58, 62, 88, 90):
        for value in EXTREMES[:8]:
            tried(system, patched(good[0], (1024 + at, "H", value)))
    for at, form, value, says in (
        (24, "I", 3, "blocks of 2**13 bytes"),
        (24, "I", 0xFFFFFFFF, "blocks of 2**4294967305 bytes"),
        (20, "I", 0, "first block 0"),
        (32, "I", 0, "0 blocks in a group"),
        (32, "I", 8193, "8193 blocks in a group"),
        (40, "I", 0, "0 inodes in a group"),
        (40, "I", 0xFFFFFFFF, "4294967295 inodes in a group"),
        (88, "H", 127, "inodes of 127 bytes"),
        (88, "H", 192, "inodes of 192 bytes"),
        (88, "H", 2048, "inodes of 2048 bytes"),
        (4, "I", 2, "2 blocks"),
        (0, "I", 0xFFFFFFFF, "4294967295 inodes"),
        (0, "I", 1, "1 inodes"),
        (76, "I", 2, "revision 2"),
    ):
        _, told = tried(system, patched(good[0], (1024 + at, form, value)))
        assert says in told[0].text and "ext2 volume that makes sense" in told[0].text


def test_inodes_that_are_elsewhere(good: Good, system: System) -> None:
    """Tables of inodes beyond the device, on the superblock, and where no inodes are."""
    descriptor = 2 * BLOCK + 8
    for table in (0, 1, 2, 1000, 1023, 1024, 0x7FFFFFFF, 0xFFFFFFFF):
        out, told = tried(system, patched(good[0], (descriptor, "I", table)))
        assert not out and len(told) == 1
        assert told[0].status in (Status.UNRECOGNIZED_VOLUME, Status.FILE_CORRUPT_ERROR)
    _, told = tried(system, patched(good[0], (good[1][""], "H", 0o100644)))
    assert told[0].status == Status.UNRECOGNIZED_VOLUME and "/: is no directory" in told[0].text


BESIDE = {"small": {"small", "fast", "slow"}}  # links that lead there


@pytest.mark.parametrize("name", ["small", "direct", "one", "two", "three"])
def test_places_that_cannot_be(name: str, good: Good, system: System) -> None:
    """Beyond the volume, on the superblock, the descriptors, the maps and the inodes, for data and
    for blocks of places: that file is refused, and no other.
    """
    data, at = good
    whole = tried(system, data)[0]
    tables = [1, 2, *struct.unpack_from("<3I", data, 2 * BLOCK)]
    tables.append(tables[-1] + 1)
    index = {"small": 0, "direct": 11, "one": 12, "two": 13, "three": 14}[name]
    spots = [at[name] + 40 + 4 * index]
    if index >= 12:  # and in the block of places that is there
        places = place(data, at[name], index) * BLOCK
        spots.append(next(p for p in range(places, places + BLOCK, 4) if any(data[p : p + 4])))
    others = {k: v for k, v in whole.items() if k not in BESIDE.get(name, {name})}
    for spot in spots:
        for bad in (*tables, 1024, 1025, 0x7FFFFFFF, 0xFFFFFFFF):
            out, told = tried(system, patched(data, (spot, "I", bad)))
            assert out == others and {e.status for e in told} == {Status.FILE_CORRUPT_ERROR}
            assert re.search(rf"disk:/{name}: inode \d+: block \d+ ", told[0].text)


def test_places_that_lead_in_circles(good: Good, system: System) -> None:
    """A block of places in itself, or used twice; data that is used so often that a file has more
    than the volume: refused, before much is read or kept.
    """
    data, at = good
    two = place(data, at["two"], 13)
    three = place(data, at["three"], 14)
    huge = (at["three"] + 4, "I", 0xFFFFFFFF), (at["three"] + 108, "I", 1)
    for changes in (
        [(two * BLOCK, "I", two)],
        [(three * BLOCK, "I", three)],
        [(three * BLOCK + 4 * i, "I", three + 1) for i in range(256)] + list(huge),
        [(at["one"] + 40 + 4 * 13, "I", place(data, at["one"], 12)), (at["one"] + 4, "I", 1 << 20)],
    ):
        _, told = tried(system, patched(data, *changes))
        assert len(told) == 1 and "has places of it twice" in told[0].text
    free = 700  # blocks that nobody uses: each full of one place
    bomb = patched(data, *huge)
    for i in range(256):
        struct.pack_into("<I", bomb, place(data, at["two"], 13) * BLOCK + 4 * i, free + i)
        bomb[(free + i) * BLOCK : (free + i + 1) * BLOCK] = struct.pack("<I", 1023) * 256
    struct.pack_into("<I", bomb, at["two"] + 4, 60000 * BLOCK)
    tracemalloc.start()
    try:
        _, told = tried(system, bomb)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert any("more blocks than the volume" in e.text for e in told)


def test_sizes_and_flags_that_cannot_be(good: Good, system: System) -> None:
    """A file larger than an inode can have, directories of no whole blocks, with holes, too long;
    links without a target; flags of features that the volume does not have.
    """
    data, at = good
    top = BLOCK * (12 + 256 + 256**2 + 256**3)

    def sized(size: int) -> list[tuple[int, str, int]]:
        return [(at["small"] + 4, "I", size & 0xFFFFFFFF), (at["small"] + 108, "I", size >> 32)]

    for changes, says in (
        (sized((1 << 64) - 1), "more than there can be"),
        (sized(top + 1), "more than there can be"),
        ([(at["dir"] + 4, "I", 0)], "has 0 bytes"),
        ([(at["dir"] + 4, "I", 1000)], "has 1000 bytes"),
        ([(at["dir"] + 4, "I", 2048)], "the record at byte 1024"),
        ([(at["dir"] + 4, "I", (16 << 20) + 1024)], "more than 16777216 bytes"),
        ([(at["dir"] + 40, "I", 0)], "the record at byte 0"),
        ([(at["fast"] + 40, "I", 0)], "link without a target"),
        ([(at["fast"] + 4, "I", 0)], "link without a target"),
        ([(at["slow"] + 40, "I", 0)], "link without a target"),
        ([(at["slow"] + 4, "I", 5000)], "link without a target"),
        ([(at["small"] + 32, "I", 0x80000)], "extents"),
        ([(at["small"] + 32, "I", 0x10000000)], "data in itself"),
        ([(at["small"] + 32, "I", 0x800)], "encrypted"),
        ([(at["small"] + 26, "H", 0)], "is not in use"),
    ):  # fmt: skip
        _, told = tried(system, patched(data, *changes))
        assert told and all(e.status == Status.FILE_CORRUPT_ERROR for e in told)
        assert all(says in e.text for e in told), told
    full = patched(
        data, (at["small"] + 4, "I", top & 0xFFFFFFFF), (at["small"] + 108, "I", top >> 32)
    )
    assert tried(system, full)[0]["small"][:5] == b"small"  # the last size that can be


def records(data: bytes, inode: int) -> dict[bytes, int]:
    """Where the records of a directory's first block are."""
    at = first = place(data, inode, 0) * BLOCK
    found = {}
    while at < first + BLOCK:
        length, named = struct.unpack_from("<HB", data, at + 4)
        found[data[at + 8 : at + 8 + named]] = at
        at += length
    return found


@pytest.mark.parametrize(
    "change",
    [
        (4, "H", 0), (4, "H", 4), (4, "H", 7), (4, "H", 8), (4, "H", 13), (4, "H", 2048),
        (4, "H", 0xFFFF), (6, "B", 0), (6, "B", 255), (8, "B", 0), (8, "B", 0x2F),
    ],
)  # fmt: skip
def test_records_that_make_no_sense(
    change: tuple[int, str, int], good: Good, system: System
) -> None:
    """Lengths that are none, names that are none: the sentence names the inode and the byte; the
    rest of the volume is read.
    """
    data, at = good
    there = records(data, at["dir"])[b"file"]
    out, told = tried(system, patched(data, (there + change[0], change[1], change[2])))
    byte = there - place(data, at["dir"], 0) * BLOCK
    assert len(told) == 1 and told[0].status == Status.FILE_CORRUPT_ERROR
    assert f"disk:/dir: inode {at['#dir']}: the record at byte {byte} " in told[0].text
    assert len(out) == 7 and out["small"] == b"smallsmall"


def test_directories_in_circles(good: Good, system: System) -> None:
    """One that is in itself, or above itself, is not entered; one in two places is listed once; a
    name of an inode that is none is listed and cannot be opened.
    """
    data, at = good
    names = records(data, at["dir"])
    for number, says in ((at["#dir"], "contains itself"), (2, "contains itself")):
        out, told = tried(system, patched(data, (names[b"below"], "I", number)))
        assert [says in e.text for e in told] == [True] and len(out) == 8
    top = records(data, at[""])
    below = struct.unpack_from("<I", data, names[b"below"])[0]
    out, told = tried(system, patched(data, (top[b"small"], "I", below)))
    assert any("is in two places" in e.text for e in told)
    for number in (0xFFFFFFFF, 1 << 20):
        out, told = tried(system, patched(data, (names[b"file"], "I", number)))
        assert f"its inode would be number {number}" in told[0].text and len(out) == 7
    out, told = tried(system, patched(data, (top[b"one"], "I", 0)))
    assert "one" not in out and told == []
    twice = bytearray(data)  # two names that are one
    twice[names[b"below"] + 6] = 4
    twice[names[b"below"] + 8 : names[b"below"] + 12] = b"file"
    out, _ = tried(system, twice)
    assert len(out) == 8
