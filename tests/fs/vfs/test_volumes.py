"""Volumes as a whole: drive letters, mounting, locking, unmounting under open files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import octavo
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.storage.ramdisk import RamDisk
from octavo.testing.faulty import FaultyDevice, never
from tests.conftest import fsck, run
from tests.fs.fat.oddities import digest, volume_of


def refused(status: Status, call: Callable[[], object]) -> str:
    """The sentence of a call that ends in a status."""
    with pytest.raises(StatusError) as caught:
        call()
    assert caught.value.status == status, caught.value
    return caught.value.text


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A FAT16 volume with a.bin and d/b.bin."""
    return volume_of(tmp_path / "disk.img", 16)


# -- letters ---------------------------------------------------------------------------------------


def test_a_drive_is_unmounted_and_mounted_again(filled: Path) -> None:
    """Its letter stays its own, and so does its lock on the image."""
    with octavo.boot("8M", disks=[filled]) as system:
        system.volumes["C:"].write_bytes("new", b"n")
        refused(Status.SHARING_VIOLATION, lambda: system.mount("C:"))
        system.unmount("c:", keep=True)
        assert not system.volumes
        refused(Status.NO_SUCH_DEVICE, lambda: system.unmount("C:"))
        refused(Status.SHARING_VIOLATION, lambda: system.attach(filled))
        refused(
            Status.OBJECT_NAME_COLLISION, lambda: system.attach_device(ram(system), letter="C:")
        )
        assert system.attach_device(ram(system)).letter == "D:"
        volume = system.mount("C:")
        assert volume is system.volumes["C:"] and volume.read_bytes("new") == b"n"
        system.unmount("C:")
        assert "no such drive" in refused(Status.NO_SUCH_DEVICE, lambda: system.mount("C:"))
        system.attach(filled, letter="z:").write_bytes("z", b"")
        assert sorted(system.volumes) == ["D:", "Z:"]
        for wrong in ("", "C", "1:", "CD:", "é:"):
            refused(Status.NO_SUCH_DEVICE, lambda wrong=wrong: system.mount(wrong))  # type: ignore[misc]
            if wrong:
                refused(
                    Status.INVALID_PARAMETER,
                    lambda wrong=wrong: system.attach_device(ram(system), letter=wrong),  # type: ignore[misc]
                )
        system.unmount("Z:", keep=True)
    with octavo.open_image(filled) as volume:
        assert volume.exists("z") and volume.check() == []


def ram(system: octavo.System) -> RamDisk:
    """A RAM disk with a volume that was unmounted, whose frames are its own still."""
    volume = system.attach_ram_disk(64 << 10)
    device = volume.core.device
    system.unmount(volume.letter, keep=True)
    del system.drives.unmounted[volume.letter]
    assert isinstance(device, RamDisk)
    return device


def test_what_is_no_volume_any_more_is_not_mounted_again(filled: Path) -> None:
    """The drive stays, until there is one."""
    with octavo.boot("8M") as system:
        disk = ImageDisk(filled, system.scheduler)
        system.attach_device(disk)
        system.unmount("C:", keep=True)
        with open(filled, "r+b") as file:
            boot = file.read(512)
            file.seek(0)
            file.write(bytes(512))
        refused(Status.UNRECOGNIZED_VOLUME, lambda: system.mount("C:"))
        with open(filled, "r+b") as file:
            file.write(boot)
        assert system.mount("C:").read_bytes("a.bin") == b"A" * 3000


def test_one_device_is_attached_once(filled: Path) -> None:
    """It stays with who has it; images are told by the host's lock, readers share one."""
    with octavo.boot("8M", disks=[filled]) as system:
        device = system.volumes["C:"].core.device
        refused(Status.SHARING_VIOLATION, lambda: system.attach_device(device))
        refused(Status.SHARING_VIOLATION, lambda: system.attach(filled))
        refused(Status.SHARING_VIOLATION, lambda: system.attach(filled, read_only=True))
        assert system.volumes["C:"].read_bytes("a.bin") == b"A" * 3000
        system.unmount("C:", keep=True)
        refused(Status.SHARING_VIOLATION, lambda: system.attach_device(device))
        assert not device.closed
    with octavo.boot("8M", disks=[filled, filled], read_only=True) as system:
        assert all(v.read_bytes("d/b.bin") == b"B" * 3000 for v in system.volumes.values())


# -- locks -----------------------------------------------------------------------------------------


@pytest.mark.mtools
@pytest.mark.dosfstools
@pytest.mark.parametrize("bits", [12, 16, 32])
def test_a_locked_volume_is_on_its_image_and_in_nobodys_memory(bits: int, tmp_path: Path) -> None:
    """Another program checks it and changes it; what it did is seen afterwards, free space too."""
    image = volume_of(tmp_path / "x.img", bits)
    outside = tmp_path / "outside"
    outside.write_bytes(b"from outside" * 999)
    with octavo.boot("8M", disks=[image]) as system:
        volume = system.volumes["C:"]
        volume.write_bytes("new", b"n" * 9000)
        with volume.open("new") as file:
            assert "1 file is open" in refused(
                Status.ACCESS_DENIED, lambda: volume.lock().__enter__()
            )
            assert file.read(1) == b"n"
        free = volume.space().free
        with volume.lock():
            fsck(image)
            for call in (
                lambda: volume.read_bytes("new"), lambda: volume.write_bytes("b", b""),
                lambda: volume.entries(), lambda: volume.stat(""), lambda: volume.mkdir("e"),
                lambda: volume.remove("new"), lambda: volume.rename("new", "old"),
                lambda: volume.set_attributes("new", "r"), lambda: volume.lock().__enter__(),
            ):  # fmt: skip
                assert "locked" in refused(Status.ACCESS_DENIED, call)
            assert volume.check() == [] and volume.space().free == free
            run("mcopy", "-i", image, outside, "::OUTSIDE")
            run("mdel", "-i", image, "::a.bin")
        assert volume.read_bytes("outside") == outside.read_bytes() and not volume.exists("a.bin")
        unit = volume.space().unit
        assert volume.space().free == free - (11988 + -11988 % unit) + 3000 + -3000 % unit
        volume.write_bytes("a.bin", b"again")
        assert volume.check() == []
    fsck(image)


def test_a_lock_is_ended_by_its_holder(filled: Path) -> None:
    """By nobody else, not twice, and an unmount ends it, too."""
    with octavo.boot("8M", disks=[filled]) as system:
        core, go = system.volumes["C:"].core, system.scheduler.run
        refused(Status.NOT_LOCKED, lambda: go(core.unlock(None)))
        holder = go(core.lock())
        for other in (None, object()):
            refused(Status.NOT_LOCKED, lambda other=other: go(core.unlock(other)))  # type: ignore[misc]
        assert core.locked
        go(core.unlock(holder))
        refused(Status.NOT_LOCKED, lambda: go(core.unlock(holder)))
        with system.volumes["C:"].lock():
            system.unmount("C:", keep=True)
        refused(Status.VOLUME_DISMOUNTED, lambda: go(core.lock()))
        refused(Status.VOLUME_DISMOUNTED, lambda: go(core.unlock(holder)))
        assert system.mount("C:").exists("a.bin")


# -- unmounting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["write", "flush"])
def test_an_unmount_that_cannot_write_leaves_all_as_it_was(verb: str, filled: Path) -> None:
    """Open files go on, and nothing is lost, when the device is well again (or, after a flush that
    failed, has what was written).
    """
    with octavo.boot("8M") as system:
        device = FaultyDevice(ImageDisk(filled, system.scheduler))
        volume = system.attach_device(device)
        file = volume.open("a.bin", "r+b")
        file.write(b"new")
        assert "1 file is open" in refused(Status.SHARING_VIOLATION, lambda: system.unmount("C:"))
        device.plan = lambda v, n: v == verb
        for _ in range(2):
            refused(Status.IO_DEVICE_ERROR, lambda: system.unmount("C:", force=True))
            assert volume is system.volumes["C:"]
            file.seek(0)
            assert file.read(4) == b"newA"
        device.plan = never
        if verb == "write":
            file.write(b"more")
            system.unmount("C:", force=True)
            refused(Status.VOLUME_DISMOUNTED, lambda: file.read(1))
        else:
            refused(Status.IO_DEVICE_ERROR, lambda: system.unmount("C:", force=True))
            system.unmount("C:", discard=True)
            refused(Status.FILE_FORCED_CLOSED, lambda: file.read(1))
        file.close()
        system.check()
    with octavo.open_image(filled) as volume:
        expected = b"newAmore" if verb == "write" else b"newAAAAA"
        assert volume.read_bytes("a.bin")[:8] == expected
        assert (volume.check() == []) == (verb == "write")


# -- media that can only be read -------------------------------------------------------------------


def test_a_medium_that_can_only_be_read_is_not_written(filled: Path) -> None:
    """Every changing call is refused before anything happens; reads leave no time behind."""
    before = digest(filled)
    with octavo.boot("8M", disks=[filled], read_only=True) as system:
        volume = system.volumes["C:"]
        calls: list[Callable[[], object]] = [
            lambda: volume.write_bytes("b", b"x"), lambda: volume.write_bytes("a.bin", b"x"),
            lambda: volume.open("a.bin", "r+b"), lambda: volume.open("new", "wb"),
            lambda: volume.create_bytes("b", b""), lambda: volume.mkdir("e"),
            lambda: volume.remove("a.bin"),
            lambda: volume.rmtree("d"), lambda: volume.rename("a.bin", "b.bin"),
            lambda: volume.set_attributes("a.bin", "r"), lambda: volume.set_modified("a.bin", 1.0),
            lambda: volume.set_label("x"), lambda: volume.set_serial(1),
            lambda: volume.check(repair=True), lambda: volume.open_beside("a.bin"),
        ]  # fmt: skip
        for call in calls:
            assert "read-only" in refused(Status.MEDIA_WRITE_PROTECTED, call)
        assert volume.read_bytes("a.bin") == b"A" * 3000
        assert volume.stat("d/b.bin").size == 3000 and volume.check() == []
        with volume.lock():
            pass
        volume.flush()
        assert volume.core.device.counts.writes == 0
    assert digest(filled) == before
