"""Names that are long, deep, or one another's short ones."""

from __future__ import annotations

import errno
import struct
import time
from pathlib import Path

import pytest

import octavo
from octavo.fs.fat.bpb import parse_boot_sector
from octavo.fs.fat.names import long_slots
from octavo.status import Status, StatusError
from tests.conftest import fsck, make_image, run
from tests.fs.fat.oddities import volume_of
from tests.fs.fat.patches import patch

# -- 2.9 to 2.11: long names and deep trees --------------------------------------------------------


@pytest.mark.dosfstools
@pytest.mark.parametrize("length", [181, 195, 196, 208, 255])
def test_the_longest_names_in_the_smallest_clusters(length: int, tmp_path: Path) -> None:
    """15 to 21 slots, and a cluster of 512 bytes has 16: as many as asked for until the volume is
    full, in root and subdirectory.
    """
    image = volume_of(tmp_path / "x.img", 32)
    names = [f"{i:03}" + "n" * (length - 3) for i in range(25)]
    with octavo.open_image(image) as volume:
        for name in names:
            volume.write_bytes(name, name.encode())
            volume.write_bytes(f"d/{name}", name.encode())
        for name in names[::2]:
            volume.remove(f"d/{name}")
        volume.write_bytes("d/" + "z" * length, b"z")
    with octavo.open_image(image) as volume:
        assert all(volume.read_bytes(name) == name.encode() for name in names)
        assert sorted(e.name for e in volume.entries("d")) == sorted(
            [*names[1::2], "b.bin", "z" * length]
        )
        assert volume.check() == []
    fsck(image)


@pytest.mark.dosfstools
def test_a_thousand_levels(image: Path) -> None:
    """Made, walked, checked and removed; the innermost file is read."""
    path = "/".join(["d"] * 1000)
    with octavo.open_image(image) as volume:
        volume.mkdir(path, parents=True)
        volume.write_bytes(f"{path}/deep.txt", b"deep")
    with octavo.open_image(image) as volume:
        assert volume.read_bytes(f"{path}/deep.txt") == b"deep"
        assert sum(len(entries) for _, entries in volume.walk()) == 1001
        assert volume.check() == []
        assert volume.check(repair=True) == []
    fsck(image)
    patch(image, image.read_bytes().index(b"DEEP    TXT") + 28, struct.pack("<I", 70000))
    with octavo.open_image(image) as volume:
        assert [problem.where for problem in volume.check(repair=True)] == [f"/{path}/deep.txt"]
        assert volume.check() == []
        volume.rmtree("d")
        assert volume.entries() == [] and volume.check() == []


def nest(image: Path, levels: int) -> None:
    """D/D/D... in an empty FAT16 volume, each in a cluster of its own, by hand."""
    data = bytearray(image.read_bytes())
    geometry = parse_boot_sector(bytes(data[:512]), "", len(data))
    for level in range(levels + 1):  # 0 is the root directory
        slots = [(b"D", level + 2)] if level < levels else []
        if level:
            slots = [(b".", level + 1), (b"..", level if level > 1 else 0), *slots]
        at = geometry.place(level + 1) if level else geometry.root_offset
        packed = [
            b"%-11b\x10%b" % (name, bytes(14)) + struct.pack("<HI", cluster, 0)
            for name, cluster in slots
        ]
        data[at : at + 32 * len(packed)] = b"".join(packed)
    table = struct.pack("<H", 0xFFFF) * levels
    for fat in range(geometry.fats):
        at = geometry.fat_offset + fat * geometry.fat_size + 4
        data[at : at + len(table)] = table
    image.write_bytes(data)


@pytest.mark.dosfstools
def test_as_many_levels_as_a_volume_has_clusters(tmp_path: Path) -> None:
    """Each is checked in a moment; what no path can reach is told, in steps and bytes that do not
    grow with the depth's square.
    """
    image = make_image(tmp_path / "disk.img", 16 << 20, 16, 512)
    nest(image, 16_000)
    fsck(image)
    told: list[str] = []
    began = time.process_time()
    with octavo.open_image(image) as volume:
        seen = sum(1 for _ in volume.walk(on_error=lambda error: told.append(error.text)))
        assert volume.check() == []
        with pytest.raises(StatusError) as caught:
            volume.stat("D/" * 2047 + "Dxx")
    assert time.process_time() - began < 30  # 3 here; 8,000 levels took 46
    assert (
        seen == 2049 and len(told) == 1 and "4097 characters, and a path may have 4095" in told[0]
    )
    assert caught.value.status == Status.NAME_TOO_LONG and caught.value.errno == errno.ENAMETOOLONG


@pytest.mark.mtools
@pytest.mark.dosfstools
def test_a_short_name_without_tilde_beside_a_long_one(filled: Path) -> None:
    """It leads to the file, is given to nobody else, and a check says nothing; as other makers and
    NTFS-minded tools write them.
    """
    data = filled.read_bytes()
    at = data.index(b"B       BIN")
    short = data[at : at + 32]
    named = (
        long_slots("Notes of the year.text", b"NOTES   TXT")
        + b"NOTES   TXT"
        + short[11:12]
        + b"\0"
        + short[13:]
    )
    patch(filled, at, named + data[at + 32 : at + 64])  # d's entry goes behind
    with octavo.open_image(filled) as volume:
        assert [e.name for e in volume.entries()] == ["a.bin", "Notes of the year.text", "d"]
        assert volume.stat("notes.txt").name == "Notes of the year.text" and volume.check() == []
        assert (
            volume.read_bytes("NOTES.TXT")
            == volume.read_bytes("notes of the YEAR.text")
            == b"b" * 3000
        )
        for change in (
            lambda: volume.mkdir("notes.txt"),
            lambda: volume.open("Notes.txt", "xb"),
            lambda: volume.rename("a.bin", "NOTES.TXT"),
        ):
            with pytest.raises(StatusError) as caught:
                change()
            assert caught.value.status == Status.OBJECT_NAME_COLLISION
        volume.write_bytes("notes.txt", b"over")
        volume.write_bytes("Notes.txt.bak", b"other")
        assert volume.read_bytes("Notes of the year.text") == b"over" and volume.check() == []
        shorts = [e.short_name for e in volume.entries()]
        assert len(set(shorts)) == len(shorts) == 4
    assert "Notes of the year.text" in run("mdir", "-i", filled, "::")
    fsck(filled)
    with octavo.open_image(filled) as volume:
        volume.remove("NOTES.TXT")
        volume.write_bytes("NOTES.TXT", b"new")
        assert volume.read_bytes("notes.txt") == b"new" and not volume.exists(
            "Notes of the year.text"
        )
        assert volume.check() == []
    fsck(filled)


@pytest.mark.dosfstools
def test_a_repair_gives_no_name_that_a_later_entry_has(filled: Path) -> None:
    """Only the twin gets another name, and its contents stay; whoever has the next name keeps
    it.
    """
    with octavo.open_image(filled) as volume:
        for i in range(1, 4):
            volume.write_bytes(f"a~{i}.bin", bytes((i,)))
        volume.write_bytes("A long name.bin", b"long")
    patch(filled, filled.read_bytes().index(b"B       BIN"), b"A       BIN")
    with octavo.open_image(filled) as volume:
        assert len(volume.check(repair=True)) == 1 and volume.check() == []
        names = [e.name for e in volume.entries()]
        assert names[0] == "a.bin" and names[2:] == [
            "d",
            "a~1.bin",
            "a~2.bin",
            "a~3.bin",
            "A long name.bin",
        ]
        assert volume.read_bytes(names[1]) == b"b" * 3000
        assert [volume.read_bytes(f"a~{i}.bin") for i in range(1, 4)] == [b"\x01", b"\x02", b"\x03"]
    fsck(filled)
