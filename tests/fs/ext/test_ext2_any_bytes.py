"""ext2 volumes that were cut, with any bytes changed, or as long as they may be."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from octavo.fs.ext.layout import Superblock, parse_inode, parse_names, parse_superblock
from octavo.status import Status, StatusError
from octavo.system import System
from tests.fs.ext.conftest import BLOCK, MOUNT, Good, patched, place, sound, tried
from tests.fs.ext.trees import debugfs, make_ext, seen_by_debugfs


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
