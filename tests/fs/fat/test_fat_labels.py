"""Where the label of a volume is."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import octavo
from octavo.cli.main import run as octavo_run
from tests.conftest import run
from tests.fs.fat.oddities import volume_of
from tests.fs.fat.patches import patch

# -- 2.3: labels -----------------------------------------------------------------------------------


@pytest.mark.mtools
@pytest.mark.parametrize(
    ("bits", "before"), [(12, 0), (12, 40), (16, 300), (32, 0), (32, 15), (32, 16), (32, 5000)]
)
def test_label_in_any_slot_of_the_root_directory(bits: int, before: int, tmp_path: Path) -> None:
    """Windows keeps the label in the root directory only, wherever there was room; mtools agrees
    about it.
    """
    image = volume_of(tmp_path / "x.img", bits)
    with octavo.open_image(image) as volume:
        for i in range(before):
            volume.write_bytes(f"F{i}", b"")
        volume.write_bytes("GONELABL.X", b"")
        volume.write_bytes("MYLABELI.S", b"")
    data = image.read_bytes()
    for name in (b"GONELABLX  ", b"MYLABELIS  "):
        patch(image, data.index(name) + 11, b"\x08")
    patch(image, data.index(b"GONELABLX  "), b"\xe5")
    with octavo.open_image(image) as volume:
        assert volume.label == "MYLABELIS"
        says = "the boot sector has no label, and the root directory has the label 'MYLABELIS'"
        assert [problem.what for problem in volume.check()] == [says]
        assert not volume.exists("MYLABELI.S")
    assert "MYLABELIS" in run("mlabel", "-s", "-i", image, "::")
    patch(image, data.index(b"MYLABELIS  "), b"\xe5")
    with octavo.open_image(image) as volume:
        assert volume.label == ""
    patch(image, 71 if bits == 32 else 43, b"BOOT LABEL ")
    with octavo.open_image(image) as volume:
        assert volume.label == "BOOT LABEL"


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_mkfs_writes_a_label_to_both_places(bits: int, tmp_path: Path) -> None:
    """Whoever looks at one of them finds it."""
    image = tmp_path / "x.img"
    assert (
        octavo_run(["mkfs", "-s", "40M", "-t", f"fat{bits}", "-n", "Two Places", str(image)]) == 0
    )
    data = image.read_bytes()
    assert data.count(b"TWO PLACES ") == (
        3 if bits == 32 else 2
    )  # FAT32 has a copy of its boot sector
    assert data[71 if bits == 32 else 43 :][:11] == b"TWO PLACES "


def test_a_damaged_root_directory_leaves_the_label_of_the_boot_sector(tmp_path: Path) -> None:
    """It can be mounted, so that a check can say what is wrong."""
    image = volume_of(tmp_path / "x.img", 32)
    patch(image, 71, b"BOOT LABEL ")
    patch(image, 32 * 512 + 8, struct.pack("<I", 1))
    with octavo.open_image(image) as volume:
        assert volume.label == "BOOT LABEL" and volume.check()
