"""Devices that fail: every failure is told once, and no data is lost (rule 9). Locks, short images,
virtual time."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import octavo
from octavo.machine.clock import VirtualClock
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.system import System
from octavo.testing.faulty import FaultyDevice, Plan, never
from octavo.threads.scheduler import Scheduler
from tests.conftest import fsck


def boot_faulty(
    image: Path, plan: Plan, seed: int | None = None, memory: str = "4M"
) -> tuple[System, FaultyDevice]:
    """A system whose disk fails by a plan (from the mount on)."""
    system = octavo.boot(memory=memory, seed=seed)
    device = FaultyDevice(ImageDisk(image, system.scheduler))
    system.attach_device(device)
    device.numbers = dict.fromkeys(device.numbers, 0)
    device.plan = plan
    return system, device


def nth(verb: str, number: int) -> Plan:
    """Fails one request."""
    return lambda v, n: (v, n) == (verb, number)


def workload(system: System, told: list[StatusError]) -> dict[str, bytes]:
    """Makes, reads, renames and removes; notes each error; returns what must be on the volume."""
    volume = system.volumes["C:"]
    kept: dict[str, bytes] = {}

    def attempt(action: Callable[[], object]) -> bool:
        try:
            action()
        except StatusError as error:
            told.append(error)
            return False
        return True

    if not attempt(lambda: volume.mkdir("d")):
        volume.mkdir("d")
    for i in range(12):
        path, data = f"d/file number {i}.bin", os.urandom(1000 * i)
        if attempt(lambda p=path, d=data: volume.write_bytes(p, d)):  # type: ignore[misc]
            kept[path] = data
    attempt(volume.flush)
    for path, data in kept.items():
        found: list[bytes] = []
        if attempt(lambda p=path, f=found: f.append(volume.read_bytes(p))):  # type: ignore[misc]
            assert found == [data]
    if attempt(lambda: volume.remove("d/file number 3.bin")):
        kept.pop("d/file number 3.bin", None)
    if attempt(lambda: volume.rename("d/file number 4.bin", "moved.bin")):
        kept["moved.bin"] = kept.pop("d/file number 4.bin")
    attempt(volume.flush)
    return kept


@pytest.mark.dosfstools
@pytest.mark.parametrize("verb", ["read", "write"])
def test_the_kth_request_fails(verb: str, image: Path) -> None:
    """For every k: the failure is told at most once, and in the end everything is on the volume,
    which is clean.

    It is not told when it was made good: a cluster is tried again without its neighbours, a batch
    run by run.
    """
    k = 0
    while True:
        k += 1
        fresh = image.parent / f"{verb}{k}.img"
        fresh.write_bytes(image.read_bytes())
        system, device = boot_faulty(fresh, nth(verb, k))
        told: list[StatusError] = []
        kept = workload(system, told)
        system.check()
        device.plan = never
        system.close()
        injected = [error for error in told if "injected failure" in error.text]
        assert len(injected) <= len(device.failed), (told, device.failed)
        assert injected or len(kept) == 11, "an error without a cause"
        fsck(fresh)
        with octavo.open_image(fresh) as volume:
            assert volume.check() == []
            for path, data in kept.items():
                assert volume.read_bytes(path) == data
        fresh.unlink()
        if not device.failed:
            break
    assert k > (1 if verb == "read" else 2)  # the root directory was read by the mount


@pytest.mark.dosfstools
def test_the_kth_flush_fails(image: Path) -> None:
    """For every k: nobody knows what the device has lost, so each later flush fails, too, and what
    was flushed before is there.
    """
    k = 0
    while True:
        k += 1
        fresh = image.parent / f"flush{k}.img"
        fresh.write_bytes(image.read_bytes())
        system, device = boot_faulty(fresh, nth("flush", k))
        volume = system.volumes["C:"]
        flushed: dict[str, bytes] = {}
        told = 0
        for i in range(4):
            path, data = f"file number {i}.bin", os.urandom(3000 * i + 1)
            try:
                volume.write_bytes(path, data)
                if i == 2:
                    volume.rename("file number 0.bin", "moved.bin")
                volume.flush()
                flushed[path] = data
            except StatusError as error:
                assert "injected failure" in error.text
                told += 1
        if not device.failed:
            system.close()
            break
        assert told, "nobody heard of it"
        for _ in range(2):
            with pytest.raises(StatusError, match="unmount with discard"):
                volume.flush()
        with pytest.raises(StatusError, match="unmount with discard"):
            system.unmount("C:")
        system.unmount("C:", discard=True)
        system.check()
        system.close()
        with octavo.open_image(fresh) as volume:
            problems = volume.check()
            assert not problems or "dirty flag" in str(
                problems[0]
            )  # the flush after the flag was cleared may be the one
            for path, data in flushed.items():
                found = [
                    p
                    for p in (path, "moved.bin")
                    if volume.exists(p) and volume.read_bytes(p) == data
                ]
                assert found, f"{path} was flushed and is gone"
    assert k > 6


def test_a_flush_that_fails_keeps_the_data_dirty(image: Path) -> None:
    """Told at the flush, written by the next one."""
    system, device = boot_faulty(image, lambda verb, n: verb == "write" and n > 1)
    volume = system.volumes["C:"]
    with volume.open("a.bin", "wb") as file:
        file.write(b"precious" * 1000)
        with pytest.raises(StatusError, match="injected failure"):
            file.flush()
        assert system.memory.writeback.dirty
        device.plan = lambda verb, n: False
        file.flush()
    system.check()
    assert not system.memory.writeback.dirty
    system.close()
    with octavo.open_image(image) as volume:
        assert volume.read_bytes("a.bin") == b"precious" * 1000


def test_an_error_behind_the_writers_back_is_told_at_the_next_flush_once(image: Path) -> None:
    """The lazy writer's failure has an owner: the volume it happened to."""
    system, device = boot_faulty(image, lambda verb, n: verb == "write" and n > 1, seed=1)
    volume = system.volumes["C:"]
    file = volume.open("a.bin", "wb")
    file.write(b"x" * 5000)
    system.scheduler.run(system.scheduler.sleep(3))  # the lazy writer has tried
    assert device.failed
    device.plan = lambda verb, n: False
    with pytest.raises(StatusError, match="injected failure"):
        file.flush()
    file.flush()
    file.close()
    system.close()
    with octavo.open_image(image) as volume:
        assert volume.read_bytes("a.bin") == b"x" * 5000


def test_an_error_behind_the_writers_back_is_told_at_the_close_once(image: Path) -> None:
    """Where nobody flushes the file, its close is the last that can tell; the data goes out later
    all the same.
    """
    system, device = boot_faulty(image, lambda verb, n: verb == "write" and n > 1, seed=1)
    volume = system.volumes["C:"]
    file, other = volume.open("a.bin", "wb"), volume.open("b.bin", "wb")
    file.write(b"x" * 5000)
    system.scheduler.run(system.scheduler.sleep(3))
    assert device.failed
    device.plan = never
    other.close()  # what was lost is not its own
    with pytest.raises(StatusError, match="injected failure"):
        file.close()
    with pytest.raises(StatusError, match="injected failure"):
        volume.flush()  # the FAT's, whose owner is the volume
    volume.flush()
    system.close()
    with octavo.open_image(image) as volume:
        assert volume.read_bytes("a.bin") == b"x" * 5000


def test_unmount_of_a_dead_device_keeps_the_volume_until_discarded(image: Path) -> None:
    """Dirty data goes only by an explicit act."""
    system, device = boot_faulty(image, lambda verb, n: False)
    system.volumes["C:"].write_bytes("a.bin", b"x" * 5000)
    device.plan = lambda verb, n: verb == "write"
    with pytest.raises(StatusError, match="injected failure"):
        system.unmount("C:")
    assert "C:" in system.volumes
    system.unmount("C:", discard=True)
    system.check()
    assert not system.memory.writeback.dirty and not system.volumes
    system.close()


def test_errors_of_reads_name_the_file(image: Path) -> None:
    """So that a person knows what is lost."""
    with octavo.open_image(image) as volume:
        volume.write_bytes("important.doc", b"x" * 100_000)
    system, _ = boot_faulty(image, lambda verb, n: verb == "read" and n > 1)  # FAT, data
    with pytest.raises(StatusError, match="important.doc"):
        system.volumes["C:"].read_bytes("important.doc")
    system.abandon()


def test_a_root_directory_that_cannot_be_read_at_the_mount(image: Path) -> None:
    """The volume is mounted without its label; whoever asks for names is told, until the device is
    well again.
    """
    with octavo.open_image(image) as volume:
        volume.write_bytes("a.bin", b"a" * 5000)
    system = octavo.boot(memory="4M")
    device = FaultyDevice(ImageDisk(image, system.scheduler))
    device.plan = lambda verb, n: verb == "read" and n in (2, 4, 5)  # 1, 3: the boot sector
    volume = system.attach_device(device)
    assert volume.label == "" and len(device.failed) == 1
    for _ in range(2):
        with pytest.raises(StatusError, match="injected failure"):
            volume.entries()
    assert [e.name for e in volume.entries()] == ["a.bin"] and volume.read_bytes(
        "a.bin"
    ) == b"a" * 5000
    assert volume.check() == []
    system.check()
    system.close()


@pytest.mark.dosfstools
def test_what_was_flushed_survives_a_power_cut(image: Path) -> None:
    """Power goes at write n, for all n: files flushed before are whole."""
    for n in range(12):
        fresh = image.parent / f"cut{n}.img"
        fresh.write_bytes(image.read_bytes())
        system, device = boot_faulty(fresh, lambda verb, n: False)
        volume = system.volumes["C:"]
        safe = {f"safe {i}.bin": os.urandom(3000 * i) for i in range(4)}
        for path, data in safe.items():
            volume.write_bytes(path, data)
        volume.flush()
        device.cut_after(n)
        try:
            for i in range(6):
                volume.write_bytes(f"later {i}.bin", os.urandom(20_000))
                volume.flush()
        except StatusError:
            pass
        system.abandon()
        with octavo.open_image(fresh, read_only=True) as volume:
            for path, data in safe.items():
                assert volume.read_bytes(path) == data
        fresh.unlink()


def test_a_second_writer_is_locked_out(image: Path) -> None:
    """One writer, or several readers."""
    with octavo.open_image(image):
        for read_only in (False, True):
            with (
                pytest.raises(StatusError) as caught,
                octavo.open_image(image, read_only=read_only),
            ):
                pass
            assert caught.value.status == Status.SHARING_VIOLATION
    with (
        octavo.open_image(image, read_only=True),
        octavo.open_image(image, read_only=True) as volume,
    ):
        with pytest.raises(StatusError) as caught:
            volume.write_bytes("a", b"b")
        assert caught.value.status == Status.MEDIA_WRITE_PROTECTED


def test_what_is_no_image(tmp_path: Path) -> None:
    """A directory, a missing file, an empty file, a pipe."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    for name in ("", "missing", "empty"):
        with pytest.raises(StatusError), octavo.open_image(tmp_path / name):
            pass


def traced(image: Path, seed: int) -> tuple[str, bytes]:
    """A run in virtual time with several threads; its trace and the image it leaves."""
    with octavo.boot(memory="2M", disks=[image], seed=seed) as system:
        core = system.volumes["C:"].core

        async def worker(i: int) -> None:
            for step in range(8):
                file = await core.open(f"w{i} {step % 3}.dat", write=True, create=True)
                await file.write(step * 50_000, bytes([i]) * 100_000)
                await system.scheduler.sleep(0.3)
                assert (await file.read(step * 50_000, 10)) == bytes([i]) * 10
                await file.close()

        async def main() -> None:
            for thread in [system.scheduler.spawn(worker(i), f"worker-{i}") for i in range(4)]:
                await thread.join()

        system.scheduler.run(main())
        system.check()
        assert system.volumes["C:"].check() == []
    return system.scheduler.trace_hash(), image.read_bytes()


def test_two_boots_from_one_seed_give_the_same_trace(image: Path) -> None:
    """Bit for bit: the events, and the image."""
    copies = [image.parent / str(i) / "disk.img" for i in range(3)]
    for copy in copies:
        copy.parent.mkdir()
        copy.write_bytes(image.read_bytes())
    first, second, other = traced(copies[0], 9), traced(copies[1], 9), traced(copies[2], 10)
    assert first[0] == second[0]
    assert first[1] == second[1]
    assert first[0] != other[0]


def test_a_flush_waits_for_the_hosts_disk(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each flush of an image that is written is one fsync, when all that was to be written is; the
    host's failure is the device's.
    """
    flushed: list[bytes] = []

    def fsync(fd: int) -> None:
        assert os.path.samestat(os.fstat(fd), image.stat())
        flushed.append(image.read_bytes())

    monkeypatch.setattr(os, "fsync", fsync)
    with octavo.open_image(image) as volume:
        volume.write_bytes("a.bin", b"precious" * 1000)
        volume.flush()
        assert flushed and b"precious" * 512 in flushed[-1]
    scheduler = Scheduler(VirtualClock(), 1)
    for read_only in (False, True):
        del flushed[:]
        disk = ImageDisk(image, scheduler, read_only)
        scheduler.run(disk.flush())
        assert len(flushed) == 1 - read_only
        disk.close()

    def fails(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fails)
    disk = ImageDisk(image, scheduler)
    with pytest.raises(StatusError, match="the host cannot flush the image") as caught:
        scheduler.run(disk.flush())
    assert caught.value.status == Status.IO_DEVICE_ERROR
    disk.close()
    scheduler.close()
