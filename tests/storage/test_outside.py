"""A driver in another process that shares RAM: the executive boots on it, works, and hears of its
end.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import octavo
from octavo.files import Volume
from octavo.status import Status, StatusError
from octavo.system import System
from tests.conftest import fsck
from tests.machines import within_seconds
from tests.storage.outside import Outside


def boot_outside(path: Path, memory: str = "4M") -> tuple[System, Outside, Volume]:
    """A system whose disk is served by another process."""
    system = octavo.boot(memory, shared=True)
    device = Outside(path, system.ram, system.scheduler)
    return system, device, system.attach_device(device)


def opened_by(pid: int | str) -> set[str]:
    """What a process has open."""
    folder = f"/proc/{pid}/fd"
    return {os.path.realpath(f"{folder}/{fd}") for fd in os.listdir(folder)}


@pytest.mark.dosfstools
def test_a_driver_in_another_process(image: Path) -> None:
    """Files are copied in and read back, more than memory holds, with flushes; the image is open
    only there, the socket carries numbers only, and all bytes are equal.
    """
    files = {f"d/file {i}": os.urandom(i * 9_000) for i in range(40)}
    files["large"] = os.urandom(900_000)
    with within_seconds(120):
        system, device, volume = boot_outside(image, "2M")
        assert device.process.pid != os.getpid()
        assert str(image) in opened_by(device.process.pid) and str(image) not in opened_by("self")
        volume.mkdir("d")
        for path, data in files.items():
            volume.write_bytes(path, data)
            volume.flush()
        assert all(volume.read_bytes(path) == data for path, data in files.items())
        system.check()
        moved = device.counts.read_bytes + device.counts.write_bytes
        assert moved > 10_000_000 and device.sent < moved // 100
        assert device.counts.flushes > 40 and device.most > 1
        system.close()
        assert device.process.returncode == 0
        with octavo.open_image(image) as volume:
            assert all(volume.read_bytes(path) == data for path, data in files.items())
            assert volume.check() == []
        fsck(image)
        system, device, volume = boot_outside(image)
        assert all(volume.read_bytes(path) == data for path, data in files.items())
        system.close()


def test_what_a_driver_outside_cannot_do_is_told(image: Path) -> None:
    """Its own status and sentence come back, and others are served on."""
    with octavo.open_image(image) as volume:
        volume.write_bytes("first", b"1" * 5000)
        volume.write_bytes("second", b"2" * 500_000)
    with within_seconds(120):
        system, device, volume = boot_outside(image)
        size = image.stat().st_size
        os.truncate(image, 200_000)
        with pytest.raises(StatusError, match="second: .*the image has become shorter") as caught:
            volume.read_bytes("second")
        assert caught.value.status == Status.IO_DEVICE_ERROR and device.counts.errors
        assert volume.read_bytes("first") == b"1" * 5000
        os.truncate(image, size)
        system.check()
        system.close()


def test_a_driver_that_is_killed(image: Path) -> None:
    """Who waits for it is told, so is who comes later; what was not written stays dirty until it is
    given up.
    """
    with within_seconds(120):
        system, device, volume = boot_outside(image)
        volume.write_bytes("a", b"a" * 300_000)
        os.kill(device.process.pid, signal.SIGSTOP)
        device.most = 0
        scheduler = system.scheduler
        flush = scheduler.spawn(volume.core.flush(), "flush")
        scheduler.spawn(scheduler.call(lambda: kill(device)), "killer")
        with pytest.raises(StatusError, match="its driver has ended") as caught:
            scheduler.run(flush.join())
        assert caught.value.status == Status.NO_SUCH_DEVICE
        with pytest.raises(StatusError, match="its driver has ended"):
            volume.flush()
        assert system.memory.writeback.dirty
        system.check()
        system.unmount("C:", discard=True)
        system.check()
        assert not system.memory.writeback.dirty
        system.close()
    assert device.process.returncode == -signal.SIGKILL


def kill(device: Outside) -> None:
    """Once requests wait for it."""
    while not device.most:
        pass
    os.kill(device.process.pid, signal.SIGKILL)
