"""Which volume of a disk is mounted, and what an image is that has none."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

import octavo
from octavo.status import Status, StatusError
from tests.command import call
from tests.conftest import blank_image, fsck, run
from tests.fs.fat.oddities import MIB
from tests.fs.fat.patches import patch

# -- 2.4: partitions -------------------------------------------------------------------------------


def disk_with(path: Path, parts: list[tuple[int, bytes]]) -> Path:
    """A disk with an MBR and partitions of these types and contents, 1 MiB apart at least."""
    table, body, at = b"", b"", 2048
    for kind, data in parts:
        data = data.ljust(-(-len(data) // MIB) * MIB, b"\0")
        table += struct.pack("<B3xB3xII", 0, kind, at, len(data) // 512)
        body, at = body + data, at + len(data) // 512
    path.write_bytes((bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa").ljust(MIB, b"\0") + body)
    return path


@pytest.mark.parametrize(
    "kind",
    [
        0x01,
        0x04,
        0x06,
        0x0B,
        0x0C,
        0x0E,
        0x11,
        0x14,
        0x16,
        0x1B,
        0x1C,
        0x1E,
        0xEF,
        0x07,
        0xDA,
        0x83,
    ],
)
def test_partition_types(kind: int, filled: Path, tmp_path: Path) -> None:
    """A partition is found for what is in it; what lies before it does not change."""
    disk = disk_with(tmp_path / "disk.img", [(kind, filled.read_bytes())])
    with octavo.open_image(disk) as volume:
        assert volume.read_bytes("a.bin") == b"a" * 3000
        volume.write_bytes("new", b"x")
        assert volume.check() == []
    assert disk.read_bytes()[MIB : 2 * MIB] != filled.read_bytes()[:MIB]
    assert not any(disk.read_bytes()[512:MIB])


def test_the_first_partition_that_has_a_volume(filled: Path, tmp_path: Path) -> None:
    """Not formatted, damaged, and of another type, each before a good one; FAT's types come
    first.
    """
    good = filled.read_bytes()
    bad = good[:11] + bytes(20) + good[31:]
    with octavo.open_image(filled) as volume:
        volume.write_bytes("second", b"2")
    second = filled.read_bytes()
    for parts, expected in [
        ([(6, bytes(MIB)), (6, good)], False),
        ([(6, bad), (0x83, b"\xff" * MIB), (0xEF, good), (6, second)], False),
        ([(0x07, good), (0x0C, second)], True),
        ([(0x83, bytes(MIB)), (0x1E, second), (0x06, good)], True),
        ([(0xEE, bytes(MIB)), (0xEF, second)], True),  # a hybrid of MBR and GPT
        ([(0x0F, good), (0x06, second)], True),
    ]:
        with octavo.open_image(disk_with(tmp_path / "disk.img", parts), read_only=True) as volume:
            assert volume.exists("second") == expected


def test_a_volume_without_partitions_comes_first(filled: Path) -> None:
    """A boot sector that makes sense is one, whatever its last bytes look like as a table."""
    patch(filled, 446, struct.pack("<B3xB3xII", 0, 6, 2048, 2048))
    with octavo.open_image(filled) as volume:
        assert volume.read_bytes("a.bin") == b"a" * 3000 and ", partition" not in volume.core.name


@pytest.mark.parametrize(
    ("label", "whole"), [("gpt", "fat"), ("dos", "fat"), ("dos", "ext2")]
)  # a GPT's entries lie where the superblock of ext2 was
@pytest.mark.fdisk
@pytest.mark.e2fsprogs
def test_a_volume_that_was_there_before_the_table(
    label: str, whole: str, filled: Path, tmp_path: Path
) -> None:
    """A GPT is believed; of an MBR neither is taken, and nothing is written; both can be named."""
    disk = tmp_path / "whole.img"
    if whole == "fat":
        call("mkfs", "--size", "32M", disk)
    else:
        subprocess.run(["mke2fs", "-q", "-t", "ext2", disk, "32M"], check=True)
    kind = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7" if label == "gpt" else "6"
    table = f"label: {label}\nstart=2048,type={kind}\n"
    subprocess.run(["sfdisk", "-q", disk], input=table, text=True, check=True)
    before = disk.read_bytes()
    alone = octavo.open_image(disk, read_only=True)  # no volume in the partition yet
    if label == "gpt":
        with pytest.raises(StatusError, match="partition 1 of type basic data: has"), alone:
            pass
    else:
        with alone as volume:
            assert volume.kind == ("ext2" if whole == "ext2" else "FAT16")
    part = filled.read_bytes()
    disk.write_bytes(before[:MIB] + part + before[MIB + len(part) :])
    before = disk.read_bytes()
    if label == "gpt":
        assert call("cat", f"{disk}:/a.bin") == "a" * 3000
    else:
        with pytest.raises(StatusError, match="img#0 is the whole, .*img#1 the part"):
            octavo.open_image(disk).__enter__()
        assert "destroys the other" in call("check", "--repair", disk, code=1)
    assert disk.read_bytes() == before
    assert call("cat", f"{disk}#1:/a.bin") == "a" * 3000
    assert call("ls", f"{disk}#0:/") == ("lost+found/\n" if whole == "ext2" else "")
    if (label, whole) == ("dos", "fat"):  # and is meant again when it is mounted anew
        call("resize", f"{disk}#0", "40M")
        assert disk.stat().st_size == 40 * MIB


def test_a_sentence_for_each_partition_when_there_is_no_volume(tmp_path: Path) -> None:
    """What is in each of them, and why that is no volume."""
    disk = disk_with(
        tmp_path / "disk.img",
        [(6, bytes(MIB)), (0x83, b"\1" * MIB), (5, bytes(MIB)), (0xEE, bytes(MIB))],
    )
    with pytest.raises(StatusError) as caught, octavo.open_image(disk):
        pass
    assert caught.value.status == Status.UNRECOGNIZED_VOLUME
    parts = caught.value.text.split("; ")
    assert len(parts) == 4 and all(f"partition {i + 1}" in part for i, part in enumerate(parts))
    for i, why in enumerate(["only zeros", "257 bytes per sector", "extended", "GPT"]):
        assert why in parts[i]
    for first, count in ((0, 100), (1 << 31, 100), (2048, 0), (10240, 5)):
        patch(disk, 446 + 8, struct.pack("<II", first, count))
        with pytest.raises(StatusError, match="partition 1"), octavo.open_image(disk):
            pass


@pytest.mark.dosfstools
@pytest.mark.parametrize(
    ("sector", "own"), [(512, 512), (2048, 2048), (4096, 4096), (2048, 512), (4096, 512)]
)
def test_a_table_that_counts_larger_sectors(sector: int, own: int, tmp_path: Path) -> None:
    """The sectors of an MBR are the disk's: the volume is found, read and written; what is before
    it does not change.
    """
    inner = blank_image(tmp_path / "inner.img", 16 * MIB)
    run("mkfs.fat", "-S", str(own), "-F", "16", "-s", "1", inner)
    first = 2048 if sector == 512 else 256
    table = struct.pack("<B3xB3xII", 0, 6, first, 16 * MIB // sector)
    disk = tmp_path / "disk.img"
    head = (bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa").ljust(first * sector, b"\0")
    disk.write_bytes(head + inner.read_bytes())
    with octavo.open_image(disk) as volume:
        volume.write_bytes("a.bin", b"a" * 3000)
    assert disk.read_bytes()[: len(head)] == head
    inner.write_bytes(disk.read_bytes()[len(head) :])
    fsck(inner)
    with octavo.open_image(inner, read_only=True) as volume:
        assert volume.read_bytes("a.bin") == b"a" * 3000


def test_a_volume_of_other_sectors_is_not_where_larger_ones_would_be(
    filled: Path, tmp_path: Path
) -> None:
    """A partition begins at its sector of 512 bytes; what lies at eight times that place is
    another's.
    """
    table = struct.pack("<B3xB3xII", 0, 6, 256, 1000)
    head = (bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa").ljust(256 * 4096, b"\0")
    (tmp_path / "disk.img").write_bytes(head + filled.read_bytes())
    with (
        pytest.raises(
            StatusError, match="has no FAT or ext2 volume: partition 1 of type 0x06: has only zeros"
        ),
        octavo.open_image(tmp_path / "disk.img"),
    ):
        pass


# -- what has no FAT volume ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "mark", "says"),
    [
        (
            3,
            b"NTFS    \0\2\10",
            "is an NTFS volume, not a FAT or ext2 volume: use a program that reads it",
        ),
        (3, b"EXFAT   ", "is an exFAT volume"),
        (
            0,
            b"QFI\xfb\0\0\0\3",
            "is a qcow2 image, not a FAT or ext2 volume: convert it to a raw image first",
        ),
        (0, b"\x1f\x8b\x08", "is compressed by gzip, not a FAT or ext2 volume: unpack it first"),
        (0, b"\xfd7zXZ\0", "is compressed by xz"),
        (32769, b"CD001", "is an ISO 9660 image"),
        (0, b"", "has only zeros where a volume begins"),
        (0, b"0x1000 - 0x2000 usable\n" * 2000, "is text, not the image of a disk"),
        (0, "größer als 4 MiB\n".encode() * 2500, "is text"),
        (0, b"\xff" * 40960, "65535 bytes per sector"),
    ],
)
def test_what_else_an_image_is(at: int, mark: bytes, says: str, tmp_path: Path) -> None:
    """It is named, with what to do; also in a partition."""
    data = (bytes(at) + mark).ljust(40960, b"\0")
    (tmp_path / "x.img").write_bytes(data)
    disk = disk_with(tmp_path / "disk.img", [(6, data)])
    for path, where in ((tmp_path / "x.img", "x.img: "), (disk, "partition 1 of type 0x06: ")):
        with pytest.raises(StatusError) as caught, octavo.open_image(path):
            pass
        assert (
            caught.value.status == Status.UNRECOGNIZED_VOLUME
            and where in caught.value.text
            and says in caught.value.text
        )


@pytest.mark.parametrize("size", [0, 1, 511])
def test_less_than_a_sector(size: int, tmp_path: Path) -> None:
    """Said so, and not that it is empty."""
    (tmp_path / "x.img").write_bytes(b"x" * size)
    with (
        pytest.raises(StatusError, match="has less than 512 bytes") as caught,
        octavo.open_image(tmp_path / "x.img"),
    ):
        pass
    assert caught.value.status == Status.UNRECOGNIZED_VOLUME
