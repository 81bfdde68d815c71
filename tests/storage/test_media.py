"""Media that are changed under a mounted volume: told once, refused until verified, and never
written to by a volume that is not theirs.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import octavo
from octavo.files import Volume
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.testing.faulty import FaultyDevice
from tests.conftest import fsck
from tests.fs.fat.oddities import digest, volume_of
from tests.fs.fat.patches import patch
from tests.lent import Lent


def refused(status: Status, call: Callable[[], object]) -> str:
    """The sentence of a call that ends in a status."""
    with pytest.raises(StatusError) as caught:
        call()
    assert caught.value.status == status, caught.value
    return caught.value.text


class Drive:
    """A drive with a volume that is mounted, in virtual time, and two media."""

    def __init__(self, folder: Path, bits: int = 12) -> None:
        self.first, self.second = volume_of(folder / "1.img", bits), folder / "2.img"
        shutil.copy(self.first, self.second)
        patch(self.second, 67 if bits == 32 else 39, b"\1\2\3\4")  # another serial number
        self.system = octavo.boot("8M", seed=1)
        self.disk = ImageDisk(self.first, self.system.scheduler)
        self.volume: Volume = self.system.attach_device(FaultyDevice(self.disk))

    def later(self) -> None:
        """Ten seconds later: the lazy writer has tried to write."""
        self.system.scheduler.run(self.system.scheduler.sleep(10))

    def verify(self) -> None:
        """Verifies the volume."""
        self.system.verify("C:")


@pytest.fixture(params=[12, 16, 32])
def drive(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Drive]:
    """A drive, whose system ends with the test."""
    made = Drive(tmp_path, request.param)
    yield made
    made.system.check()
    made.system.abandon()


@pytest.mark.dosfstools
def test_another_medium_is_told_once_and_never_written(drive: Drive) -> None:
    """What was to be written waits for its own medium, and is on it in the end."""
    volume, disk = drive.volume, drive.disk
    volume.write_bytes("new", b"n" * 9000)
    file = volume.open("a.bin", "r+b")
    file.write(b"not written yet")
    before = digest(drive.second)
    disk.insert(drive.second)
    text = refused(Status.MEDIA_CHANGED, lambda: volume.read_bytes("new"))
    assert "verify" in text
    calls: list[Callable[[], object]] = [
        lambda: volume.entries(), lambda: volume.stat(""), lambda: file.read(1),
        lambda: file.readinto(bytearray(1)), lambda: file.write(b"x"), lambda: file.truncate(1),
        lambda: file.flush(), lambda: volume.flush(), lambda: volume.space(),
        lambda: volume.set_label("x"), lambda: volume.set_serial(1), lambda: volume.check(),
        lambda: volume.mkdir("e"), lambda: volume.lock().__enter__(),
        lambda: drive.system.unmount("C:", force=True),
    ]  # fmt: skip
    for call in calls:
        refused(Status.VERIFY_REQUIRED, call)
    drive.later()
    assert "another volume" in refused(Status.WRONG_VOLUME, drive.verify)
    refused(Status.VERIFY_REQUIRED, lambda: volume.exists("new"))
    disk.eject()
    refused(Status.MEDIA_CHANGED, lambda: volume.exists("new"))
    refused(Status.NO_MEDIA_IN_DEVICE, drive.verify)
    assert digest(drive.second) == before
    disk.insert(drive.first)
    refused(Status.MEDIA_CHANGED, lambda: volume.exists("new"))
    drive.verify()
    drive.verify()  # nothing was changed since
    assert file.read(3) == b"AAA" and volume.read_bytes("new") == b"n" * 9000
    file.close()
    drive.system.close()
    assert digest(drive.second) == before
    fsck(drive.first)
    with octavo.open_image(drive.first) as again:
        assert again.read_bytes("a.bin")[:16] == b"not written yetA"
        assert again.read_bytes("new") == b"n" * 9000


def test_what_was_changed_elsewhere_is_read_anew(drive: Drive) -> None:
    """Where nothing is open, and nothing waits; the volume's label and number may have been changed
    here.
    """
    volume = drive.volume
    volume.set_label("mine")
    volume.set_serial(77)
    assert volume.read_bytes("a.bin") == b"A" * 3000
    volume.flush()
    drive.disk.eject()
    with octavo.open_image(drive.first) as elsewhere:
        elsewhere.write_bytes("a.bin", b"elsewhere")
        elsewhere.write_bytes("b.bin", b"new")
    drive.disk.insert(drive.first)
    refused(Status.MEDIA_CHANGED, lambda: volume.read_bytes("a.bin"))
    drive.verify()
    assert volume.read_bytes("a.bin") == b"elsewhere" and volume.read_bytes("b.bin") == b"new"
    assert volume.check() == []


@pytest.mark.parametrize("what", ["serial", "label", "geometry", "nothing", "no volume"])
def test_what_tells_volumes_apart(what: str, drive: Drive) -> None:
    """A copy that differs in one of these is another volume; one that differs in none is taken for
    the same.
    """
    shutil.copy(drive.first, drive.second)
    if what == "no volume":
        patch(drive.second, 0, bytes(512))
    elif what == "geometry":
        data = drive.second.read_bytes()[19:21]
        at = 19 if data != b"\0\0" else 32
        size = int.from_bytes(drive.second.read_bytes()[at : at + 4], "little") - 1
        patch(drive.second, at, size.to_bytes(4, "little")[: 2 if at == 19 else 4])
    elif what != "nothing":
        with octavo.open_image(drive.second) as volume:
            if what == "label":
                volume.set_label("other")
            else:
                volume.set_serial(volume.serial + 1)
    drive.disk.insert(drive.second)
    if what == "nothing":
        drive.verify()
        assert drive.volume.exists("a.bin")
    else:
        refused(Status.WRONG_VOLUME, drive.verify)


def test_a_medium_that_is_write_protected_by_now(drive: Drive) -> None:
    """It must be mounted anew: what waits could not be written."""
    drive.disk.eject()
    drive.disk.insert(drive.first, read_only=True)
    assert "only be read" in refused(Status.MEDIA_WRITE_PROTECTED, drive.verify)
    drive.system.unmount("C:", keep=True)
    assert drive.system.mount("C:").read_only


@pytest.mark.parametrize("dirty", [False, True])
def test_a_volume_is_unmounted_whatever_is_in_the_drive(dirty: bool, drive: Drive) -> None:
    """What waits is given up with it, and only with `discard`."""
    if dirty:
        drive.volume.write_bytes("new", b"n")
    before = digest(drive.second)
    drive.disk.insert(drive.second)
    drive.later()
    if dirty:
        refused(Status.VERIFY_REQUIRED, lambda: drive.system.unmount("C:", keep=True))
    drive.system.unmount("C:", discard=dirty, keep=True)
    other = drive.system.mount("C:")
    assert other.serial == 0x04030201 and not other.exists("new")
    assert digest(drive.second) == before
    assert len(drive.disk.watchers) == 1


def test_an_image_is_put_into_a_drive_whole_or_not_at_all(drive: Drive, tmp_path: Path) -> None:
    """What cannot be opened leaves what is there, and so does a drive that is at work."""
    for path in (tmp_path / "none", drive.first, tmp_path):
        with pytest.raises(StatusError):
            drive.disk.insert(path)
    assert drive.volume.exists("a.bin")
    lent, call = Lent(), drive.system.scheduler.call
    tried: list[Status] = []

    async def at_work(*arguments: Any) -> None:
        for change in (drive.disk.eject, lambda: drive.disk.insert(drive.second)):
            try:
                change()
            except StatusError as error:
                tried.append(error.status)
        await call(*arguments)

    drive.system.scheduler.call = at_work  # type: ignore[assignment, method-assign]
    data = drive.first.read_bytes()[:512]
    drive.system.scheduler.run(drive.disk.submit([lent.write(0, data)]))
    assert tried == [Status.DEVICE_BUSY] * 2 and drive.volume.exists("a.bin")
    drive.system.scheduler.call = call  # type: ignore[method-assign]
    drive.disk.eject()
    drive.disk.eject()
    refused(
        Status.NO_MEDIA_IN_DEVICE,
        lambda: drive.system.scheduler.run(drive.disk.submit([lent.write(0, data)])),
    )


def test_two_volumes_of_one_second_have_two_serial_numbers() -> None:
    """The fraction of the second is in it: a drive tells them apart."""
    with octavo.boot(memory="32M") as system:
        made = [system.attach_ram_disk(1 << 20) for _ in range(8)]
        assert len({volume.core.serial for volume in made}) == 8
