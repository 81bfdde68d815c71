"""Damaged and hostile ext2 volumes: one sentence with the right status, no traceback, no hang, no
unbounded memory; what is sound is still read.
"""

from __future__ import annotations

import re
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import octavo
from octavo.files import Volume
from octavo.fs.ext.layout import Superblock, parse_inode, parse_names, parse_superblock
from octavo.status import Status, StatusError
from octavo.system import System
from octavo.testing.bufferdisk import BufferDisk
from tests.fs.ext.trees import debugfs, make_ext, seen_by_debugfs

pytestmark = pytest.mark.e2fsprogs

BLOCK = 1024
MOUNT = {Status.UNRECOGNIZED_VOLUME}
READ = {
    Status.FILE_CORRUPT_ERROR,
    Status.ACCESS_DENIED,  # what has become a device
    Status.OBJECT_NAME_NOT_FOUND,  # what has become a link to nothing
    Status.OBJECT_PATH_NOT_FOUND,
    Status.FILE_IS_A_DIRECTORY,
    Status.REPARSE_POINT_NOT_RESOLVED,
}
MOST_READS = 4000  # requests of the device for one pass over a volume of 1 MiB


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, int]]:
    """A volume of 1 MiB, and the first byte of the inodes of some of its paths."""
    folder = tmp_path_factory.mktemp("good")
    tree = folder / "tree"
    (tree / "dir" / "below").mkdir(parents=True)
    (tree / "small").write_text("small")
    (tree / "direct").write_bytes(b"d" * 12 * BLOCK)
    (tree / "one").write_bytes(b"1" * 20 * BLOCK)
    (tree / "two").write_bytes(b"2" * 300 * BLOCK)
    with open(tree / "three", "wb") as file:
        file.seek((12 + 256 + 65536 + 300) * BLOCK)
        file.write(b"3" * BLOCK)
    (tree / "fast").symlink_to("small")
    (tree / "slow").symlink_to("./" * 40 + "small")
    (tree / "dir" / "file").write_text("file")
    image = make_ext(folder / "x.img", "1M", tree, "-b", "1024", "-I", "256")
    seen = seen_by_debugfs(image)
    at = {}
    numbers = {"": 2} | {path[1:].decode(): s.number for path, s in seen.items()}
    told = debugfs(image, [f"imap <{n}>" for n in numbers.values()])
    for path, text in zip(numbers, told, strict=True):
        found = re.search(rb"located at block (\d+), offset 0x([0-9a-f]+)", text)
        assert found
        at[path] = int(found[1]) * BLOCK + int(found[2], 16)
    at["#dir"] = numbers["dir"]
    return image.read_bytes(), at


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """A system on which all images are tried."""
    with octavo.boot("2M") as booted:
        yield booted


def sound(error: StatusError, wanted: set[Status]) -> None:
    """An error is one sentence of a status that may be."""
    assert error.status in wanted, error
    assert error.text and "\n" not in error.text and len(error.text) < 600


def read_all(volume: Volume, told: list[StatusError]) -> dict[str, bytes]:
    """Everything that a volume has: the beginnings and ends of its files. Adds what fails."""
    out = {}
    for here, entries in volume.walk("", told.append):
        for e in entries:
            assert (
                e.modified and e.created and e.flags and e.name.encode("utf-8", "surrogateescape")
            )
            if e.is_directory:
                continue
            path = f"{here}/{e.name}"
            try:
                info = volume.stat(path)
                assert info.is_directory or info.size >= 0
                with volume.open(path) as file:
                    data = file.read(64 * BLOCK)
                    file.seek(max(0, file.size - 9))
                    out[path.strip("/")] = data + file.read(9)
            except StatusError as error:
                told.append(error)
    return out


def tried(
    system: System, data: bytes | bytearray, wanted: set[Status] = READ
) -> tuple[dict[str, bytes], list[StatusError]]:
    """What is read of an image, and what is told. Nothing else than `wanted` is, and of mounting
    UNRECOGNIZED_VOLUME.
    """
    device = BufferDisk("disk", bytearray(data), read_only=True)
    try:
        volume = system.attach_device(device)
    except StatusError as error:
        sound(error, MOUNT)
        return {}, [error]
    told: list[StatusError] = []
    try:
        out = read_all(volume, told)
        volume.space()
    finally:
        system.unmount(volume.letter, discard=True)
    for each in told:
        sound(each, wanted)
    assert device.statistics().reads < MOST_READS
    return out, told


def patched(data: bytes, *changes: tuple[int, str, int]) -> bytearray:
    """A copy with numbers of these struct formats put at places."""
    out = bytearray(data)
    for at, form, value in changes:
        struct.pack_into("<" + form, out, at, value)
    return out


Good = tuple[bytes, dict[str, int]]


def place(data: bytes, inode: int, index: int) -> int:
    """A place in an inode that begins at a byte."""
    return int(struct.unpack_from("<I", data, inode + 40 + 4 * index)[0])


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


def test_cut_images(good: Good, system: System) -> None:
    """What lies before the cut is read; of the rest it is told that it is not there."""
    data, _ = good
    counts = []
    for size in [*range(512, 80 * 1024, 1536), *range(80 * 1024, len(data), 37 * 1024), len(data)]:
        out, told = tried(system, data[: size // 512 * 512])
        assert bool(told) == (size < len(data)) or len(out) == 8
        counts.append(len(out))
    assert counts[-1] == 8 and 0 in counts and len(set(counts)) > 3


def test_flipped_bytes(good: Good, system: System) -> None:
    """Of superblock, descriptors, inodes, directories and blocks of places, a sample of all."""
    data, at = good
    blocks = [place(data, at[p], 0) for p in ("", "dir", "dir/below", "slow")]
    blocks += [place(data, at["one"], 12), place(data, at["two"], 13), place(data, at["three"], 14)]
    bytes_of = [*range(1024, 1024 + 264), *range(2 * BLOCK, 2 * BLOCK + 32)]
    for inode in at.items():
        if inode[0] != "#dir":
            bytes_of += range(inode[1], inode[1] + 160)
    for block in blocks:
        bytes_of += [i for i in range(block * BLOCK, (block + 1) * BLOCK) if data[i]]
    random = Random(7)
    assert len(bytes_of) > 2000
    for spot in random.sample(bytes_of, 700):
        bad = bytearray(data)
        bad[spot] ^= random.choice((1, 0x80, 0xFF, random.randrange(1, 256)))
        tried(system, bad)
    system.check()


@settings(max_examples=150)
@given(st.data())
def test_any_damage(good: Good, system: System, draw: st.DataObject) -> None:
    """Some numbers anywhere in the first 64 KiB changed at once."""
    bad = bytearray(good[0])
    for _ in range(draw.draw(st.integers(1, 8))):
        at = draw.draw(st.integers(256, 16384)) * 4
        struct.pack_into(
            "<I", bad, at, draw.draw(st.one_of(st.integers(0, 1100), st.integers(0, 0xFFFFFFFF)))
        )
    tried(system, bad)


@given(st.binary(max_size=1200), st.integers(0, 1 << 44))
def test_any_superblock(data: bytes, size: int) -> None:
    """None, or a StatusError, or one whose places are on the device."""
    block = data.ljust(1024, b"\0")
    try:
        found = parse_superblock(block[:56] + b"\x53\xef" + block[58:], size, "x")
    except StatusError as error:
        sound(error, MOUNT)
        return
    assert found and found.limit * found.block <= size and found.group_inodes and found.group


@given(st.binary(max_size=64), st.booleans(), st.sampled_from([1024, 4096]))
def test_any_records(data: bytes, types: bool, block: int) -> None:
    """Names that are some, or a StatusError; any inode."""
    volume = Superblock("ext2", "", 0, block, 99, 0, 0, 9, 99, 99, 99, 99, 128, types, True)
    almost = struct.pack("<IHBB", 5, block - 4, 1, 1) + b"x"  # a record that leaves 4 bytes
    for body in (data.ljust(2 * block, b"\0"), data.rjust(block, b"\0"), almost.ljust(block)):
        try:
            for name, inode in parse_names(body, 0, volume, "x"):
                assert name and "/" not in name and "\0" not in name and inode
        except StatusError as error:
            sound(error, {Status.FILE_CORRUPT_ERROR})
    assert parse_inode((data * 3)[:160].ljust(160, b"\0"), block).size < 1 << 64


def test_the_longest_directory_that_is_read(tmp_path: Path, system: System) -> None:
    """16 MiB, most of them the same block again and again: each name is kept once."""
    (tmp_path / "tree" / "dir").mkdir(parents=True)
    (tmp_path / "tree" / "dir" / "file").write_text("x")
    image = make_ext(tmp_path / "x.img", "20M", tmp_path / "tree", "-b", "4096", "-I", "128")
    number = seen_by_debugfs(image)[b"/dir"].number
    told = debugfs(image, [f"imap <{number}>", f"blocks <{number}>"])
    found = re.search(rb"located at block (\d+), offset 0x([0-9a-f]+)", told[0])
    assert found
    inode, block = int(found[1]) * 4096 + int(found[2], 16), int(told[1])
    data = bytearray(image.read_bytes())
    free = 2000  # blocks that nobody uses: one of 4 blocks of places, and those 4
    for at in range(4):
        struct.pack_into("<I", data, free * 4096 + 4 * at, free + 1 + at)
        data[(free + 1 + at) * 4096 : (free + 2 + at) * 4096] = struct.pack("<I", block) * 1024
    data[inode + 40 : inode + 100] = struct.pack("<15I", *[block] * 12, free + 1, free, 0)
    data[(free + 1) * 4096 : (free + 2) * 4096] = struct.pack("<I", block) * 1024
    struct.pack_into("<I", data, free * 4096, free + 5)
    data[(free + 5) * 4096 : (free + 6) * 4096] = struct.pack("<I", block) * 1024
    for blocks, fits in ((4096, True), (4097, False)):
        struct.pack_into("<I", data, inode + 4, blocks * 4096)
        out, problems = tried(system, data)
        assert ("dir/file" in out) == fits and len(out) == 2 * fits
        assert ["more than 16777216 bytes" in e.text for e in problems] == [True] * (not fits)


def test_a_run_into_the_tables_of_the_next_group(tmp_path: Path, system: System) -> None:
    """The last block of a run is the first of another group, and its map of blocks."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"x" * 2 * BLOCK)
    options = ("-b", "1024", "-g", "256", "-N", "64", "-O", "^resize_inode")
    image = make_ext(tmp_path / "x.img", "1M", tmp_path / "tree", *options)
    data = image.read_bytes()
    groups = [struct.unpack_from("<3I", data, 2 * BLOCK + 32 * i) for i in range(4)]
    first = next(m for i, (m, _, _) in enumerate(groups) if m == 1 + 256 * i)
    number = seen_by_debugfs(image)[b"/file"].number
    found = re.search(
        rb"block (\d+), offset 0x([0-9a-f]+)", debugfs(image, [f"imap <{number}>"])[0]
    )
    assert found
    inode = int(found[1]) * BLOCK + int(found[2], 16)
    for run, fits in (((first - 2, first - 1), True), ((first - 1, first), False)):
        bad = patched(data, (inode + 40, "I", run[0]), (inode + 44, "I", run[1]))
        out, told = tried(system, bad)
        assert ("file" in out) == fits
        assert [f"block {first} is a table" in e.text for e in told] == [True] * (not fits)
