"""The copies of a FAT: all are written, or the one alone that FAT32's flags name."""

from __future__ import annotations

from pathlib import Path

import pytest

import octavo
from octavo.fs.fat.bpb import Geometry, parse_boot_sector
from tests.conftest import fsck
from tests.fs.fat.oddities import volume_of
from tests.fs.fat.patches import patch


def copies(image: Path) -> tuple[Geometry, list[bytes]]:
    """The FATs of a volume."""
    data = image.read_bytes()
    g = parse_boot_sector(data[:512], "x", len(data))
    first = g.root_offset - g.fats * g.fat_size
    return g, [data[first + i * g.fat_size :][: g.fat_size] for i in range(g.fats)]


def work(image: Path) -> None:
    """Makes, grows, cuts and removes files, and gives a label."""
    with octavo.open_image(image) as volume:
        assert volume.read_bytes("d/b.bin") == b"B" * 3000
        volume.write_bytes("new", b"n" * 90_000)
        volume.remove("a.bin")
        with volume.open("new", "r+b") as file:
            file.truncate(50_000)
        volume.mkdir("e")
        volume.set_label("copies")
    with octavo.open_image(image) as volume:
        assert volume.read_bytes("new") == b"n" * 50_000 and volume.check() == []


@pytest.mark.dosfstools
@pytest.mark.parametrize("bits", [12, 16, 32])
def test_all_copies_are_written(bits: int, tmp_path: Path) -> None:
    """They are equal after every flush."""
    image = volume_of(tmp_path / "x.img", bits)
    _, before = copies(image)
    work(image)
    _, (first, second) = copies(image)
    assert first == second != before[0]
    fsck(image)


@pytest.mark.parametrize("active", [0, 1])
def test_one_copy_alone_is_in_use(active: int, tmp_path: Path) -> None:
    """The other one is neither read nor written, whatever is in it."""
    image = volume_of(tmp_path / "x.img", 32)
    patch(image, 40, bytes((0x80 | active,)))
    g, fats = copies(image)
    other = 1 - active
    first = g.root_offset - g.fats * g.fat_size
    patch(image, first + other * g.fat_size, b"\xee" * g.fat_size)
    work(image)
    _, after = copies(image)
    assert after[other] == b"\xee" * g.fat_size and after[active] != fats[active]
