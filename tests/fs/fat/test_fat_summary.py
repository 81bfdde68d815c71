"""FSInfo: what a clean volume says of its free clusters is believed, as far as that goes."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import octavo
from octavo.files import Volume
from octavo.fs.fat.bpb import FSINFO_LEAD, UNKNOWN
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.testing.faulty import FaultyDevice, never
from tests.conftest import fsck, make_image
from tests.volumes import planner_of

COUNT, LEAD, FLAGS = 512 + 488, 512, 65  # places in the image


def patch(image: Path, at: int, data: bytes) -> None:
    """Other bytes in an image."""
    with open(image, "r+b") as file:
        file.seek(at)
        file.write(data)


def number(image: Path, at: int) -> int:
    """Four bytes of an image."""
    value: int = struct.unpack_from("<I", image.read_bytes()[:4096], at)[0]
    return value


def mounted(image: Path) -> tuple[octavo.System, FaultyDevice, Volume]:
    """The volume on a device that counts what it is asked for."""
    system = octavo.boot("4M")
    device = FaultyDevice(ImageDisk(image, system.scheduler))
    return system, device, system.attach_device(device)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A FAT32 image whose FAT has 2.4 MB."""
    return make_image(tmp_path / "disk.img", 300 << 20, 32, 512)


@pytest.mark.dosfstools
def test_a_clean_volume_is_not_counted(large: Path) -> None:
    """Free space is known, a file is made and the count on the medium follows, with no more of the
    FAT read than its clusters are in.
    """
    before = number(large, COUNT)
    system, device, volume = mounted(large)
    with system:
        assert volume.space().free == before * 512
        volume.write_bytes("a", bytes(5120))
        volume.flush()
        assert volume.space().free == (before - 10) * 512
        assert device.numbers["read"] < 12
    assert number(large, COUNT) == before - 10
    fsck(large)


@pytest.mark.dosfstools
@pytest.mark.parametrize(
    ("at", "data"),
    [
        (FLAGS, b"\1"),
        (LEAD, bytes(4)),
        (COUNT, struct.pack("<I", UNKNOWN)),
        (COUNT, struct.pack("<I", 1 << 24)),
    ],
    ids=["dirty flag", "no signature", "unknown", "more than there are"],
)
def test_what_is_not_to_be_believed_is_counted(large: Path, at: int, data: bytes) -> None:
    """Once: the second question reads nothing."""
    right = number(large, COUNT)
    if at != COUNT:
        patch(large, COUNT, struct.pack("<I", 7))
    patch(large, at, data)
    system, device, volume = mounted(large)
    with system:
        assert volume.space().free == right * 512
        reads = device.numbers["read"]
        volume.write_bytes("a", bytes(512))
        assert volume.space().free == (right - 1) * 512
        assert device.numbers["read"] - reads < 5
    if at == LEAD:
        assert number(large, LEAD) != FSINFO_LEAD and number(large, COUNT) == 7
    else:
        assert number(large, COUNT) == right - 1


@pytest.mark.dosfstools
def test_full_is_said_of_what_was_counted(large: Path) -> None:
    """A count that is too low keeps nobody from the clusters that there are; one that is too high
    ends in the right sentence. Both are right on the medium afterwards.
    """
    with octavo.open_image(large) as volume:
        volume.write_bytes("ballast", bytes(6000 * 512))
    for more in (False, True):
        told = number(large, COUNT) + 5000 if more else 3
        patch(large, COUNT, struct.pack("<I", told))
        system, _, volume = mounted(large)
        with system:
            books = planner_of(volume).books
            if not more:
                volume.write_bytes("a", bytes(2048))
            else:
                assert volume.space().free == told * 512
                with pytest.raises(StatusError) as caught, volume.open("b", "wb") as file:
                    file.truncate(told * 512)
                assert caught.value.status == Status.DISK_FULL
                assert "5000 more clusters are needed" in caught.value.text
                volume.remove("b")
            assert not books.believed
        fsck(large)
        with octavo.open_image(large) as checked:
            assert checked.check() == []


@pytest.mark.dosfstools
def test_a_sector_that_cannot_be_read_is_told_once(large: Path) -> None:
    """Where FSInfo cannot be read the first change fails, whole; the next one goes on."""
    system, device, volume = mounted(large)
    with system:
        device.plan = lambda verb, _: verb == "read"
        with pytest.raises(StatusError):
            volume.write_bytes("a", b"x")
        device.plan = never
        volume.write_bytes("a", b"x")
    fsck(large)
