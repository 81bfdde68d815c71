"""Where the label of a volume is."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import octavo
from octavo.cli.main import run as octavo_run
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.testing.faulty import FaultyDevice, never
from tests.conftest import fsck, run
from tests.fs.fat.oddities import volume_of
from tests.fs.fat.patches import patch


def system_disk(system: octavo.System, image: Path) -> ImageDisk:
    """The image as a device of a system."""
    return ImageDisk(image, system.scheduler)


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


# -- changing it -----------------------------------------------------------------------------------


@pytest.mark.mtools
@pytest.mark.dosfstools
@pytest.mark.parametrize("bits", [12, 16, 32])
def test_a_label_is_set_changed_and_taken_away_in_all_places(bits: int, tmp_path: Path) -> None:
    """In the root directory, in the boot sector and in the backup of that; others find it."""
    image = volume_of(tmp_path / "x.img", bits)
    at = 71 if bits == 32 else 43
    sectors = (0, 6 * 512) if bits == 32 else (0,)
    for given, shown in (("first one", "FIRST ONE"), ("Other", "OTHER"), ("", ""), ("b", "B")):
        with octavo.open_image(image) as volume:
            volume.write_bytes(f"before {given}", b"x")
            volume.set_label(given)
            assert volume.label == shown
        fsck(image)
        data = image.read_bytes()
        for sector in sectors:
            assert data[sector + at :][:11] == (shown or "NO NAME").ljust(11).encode()
        assert (shown or "has no label") in run("mlabel", "-s", "-i", image, "::")
        with octavo.open_image(image) as volume:
            assert volume.label == shown and volume.check() == []


@pytest.mark.dosfstools
@pytest.mark.parametrize("bits", [12, 16, 32])
def test_a_serial_number_is_set_in_all_places(bits: int, tmp_path: Path) -> None:
    """Of 32 bits, and no more."""
    image = volume_of(tmp_path / "x.img", bits)
    with octavo.open_image(image) as volume:
        for serial in (0, 0xFFFFFFFF, 0x1234ABCD):
            volume.set_serial(serial)
            assert volume.serial == serial
        for wrong in (-1, 1 << 32, "1"):
            with pytest.raises(StatusError) as caught:
                volume.set_serial(wrong)  # type: ignore[arg-type]
            assert caught.value.status == Status.INVALID_PARAMETER
    fsck(image)
    data = image.read_bytes()
    for sector in (0, 6 * 512) if bits == 32 else (0,):
        assert data[sector + (67 if bits == 32 else 39) :][:4] == bytes.fromhex("cdab3412")
    patch(image, 66 if bits == 32 else 38, b"\0")
    before = image.read_bytes()[:512]
    with octavo.open_image(image) as volume:
        with pytest.raises(StatusError) as caught:
            volume.set_serial(1)
        assert caught.value.status == Status.NOT_SUPPORTED
        volume.set_label("only root")
    assert image.read_bytes()[:512] == before
    with octavo.open_image(image) as volume:
        assert volume.label == "ONLY ROOT"


@pytest.mark.parametrize(
    "label",
    ["twelve chars", " x", *(f"a{c}b" for c in '"*+,./:;<=>?[\\]|\x7f\x01'), "日本", "été", "a\tb"],
)
def test_what_can_be_no_label_is_refused_before_anything_changes(
    label: str, tmp_path: Path
) -> None:
    """No byte of the image is written; fsck.fat takes a label that is not ASCII for damage."""
    image = volume_of(tmp_path / "x.img", 16)
    before = image.read_bytes()
    with octavo.open_image(image) as volume:
        with pytest.raises(StatusError) as caught:
            volume.set_label(label)
        assert caught.value.status == Status.OBJECT_NAME_INVALID
    assert image.read_bytes() == before


@pytest.mark.dosfstools
@pytest.mark.parametrize("bits", [16, 32])
def test_a_label_in_a_full_root_directory(bits: int, tmp_path: Path) -> None:
    """FAT16 has no slot for it: refused. FAT32's root directory grows."""
    image = volume_of(tmp_path / "x.img", bits)
    with octavo.open_image(image) as volume:
        for i in range(510):  # and there are two
            volume.write_bytes(f"F{i}", b"")
        if bits == 32:
            volume.set_label("fits")
        else:
            with pytest.raises(StatusError) as caught:
                volume.set_label("no room")
            assert caught.value.status == Status.DISK_FULL and volume.label == ""
            volume.remove("F7")
            volume.set_label("fits")
    fsck(image)
    with octavo.open_image(image) as volume:
        assert volume.label == "FITS" and len(volume.entries()) == (512 if bits == 32 else 511)


def test_all_labels_of_a_root_directory_are_one(tmp_path: Path) -> None:
    """The second would come to light with the first one's end."""
    image = volume_of(tmp_path / "x.img", 16)
    with octavo.open_image(image) as volume:
        for name in ("ONE", "TWO", "THREE"):
            volume.write_bytes(name, b"")
    data = image.read_bytes()
    for raw in (b"ONE        ", b"THREE      "):
        patch(image, data.index(raw) + 11, b"\x08")
    with octavo.open_image(image) as volume:
        assert volume.label == "ONE"
        volume.set_label("")
        assert volume.label == "" and volume.check() == []
        volume.write_bytes("in the slot of one", b"x")
        assert [entry.name for entry in volume.entries()][2:] == ["TWO", "in the slot of one"]


@pytest.mark.parametrize("verb", ["read", "write", "flush"])
def test_a_label_on_a_device_that_fails(verb: str, tmp_path: Path) -> None:
    """The k-th request fails once: the label is the old or the new one, and a retry succeeds."""
    for k in range(1, 12):
        image = volume_of(tmp_path / f"{k}.img", 32)
        with octavo.boot("2M") as system:
            device = FaultyDevice(system_disk(system, image))
            volume = system.attach_device(device)
            first = device.numbers[verb] + k
            device.plan = lambda v, n, first=first: v == verb and n == first  # type: ignore[misc]
            told = 0
            for _ in range(3):
                try:
                    volume.set_label("new")
                    volume.flush()
                except StatusError as error:
                    assert error.status == Status.IO_DEVICE_ERROR
                    told += 1
                else:
                    break
            assert told <= len(device.failed) <= 1 or verb == "flush"
            device.plan = never
            if verb == "flush" and device.failed:
                system.unmount(volume.letter, discard=True)
        if not (verb == "flush" and told):
            with octavo.open_image(image) as volume:
                assert volume.label == "NEW" and volume.check() == []
