"""Devices that fail: every failure is told once, and no data is lost (rule 9). Locks, short images,
virtual time.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import octavo
from octavo.cli.main import run
from octavo.machine.abi import State
from octavo.machine.clock import VirtualClock
from octavo.machine.frames import Frames
from octavo.machine.ram import Ram
from octavo.memory.pagers.medium import FLUSH, Op, Request, merge
from octavo.memory.pagers.region import Mapping, RegionPager
from octavo.memory.pagers.regionmap import RegionMap
from octavo.memory.pages.section import DirtyRun, Section
from octavo.printing import MOST_LINES
from octavo.shell.shell import Shell
from octavo.status import Status, StatusError
from octavo.storage.device import Device
from octavo.storage.image import ImageDisk
from octavo.system import System
from octavo.testing.bufferdisk import BufferDisk
from octavo.testing.faulty import FaultyDevice, Plan, never
from octavo.testing.modelled import DiskModel, ModelledDisk
from octavo.threads.scheduler import Scheduler
from octavo.transfer.copy import run_copy
from octavo.transfer.host import HostTree
from octavo.transfer.plan import plan_copy
from octavo.transfer.volume import VolumeTree
from tests.command import octavo as command
from tests.conftest import fsck
from tests.lent import Lent


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
    device.plan = lambda verb, n: verb == "read" and n in (2, 3, 4)  # 1 is the boot sector
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


def test_neighbours_are_merged() -> None:
    """What touches on the device is one request, up to the limits; if in memory, too, one run."""
    lent = Lent()

    def merged(*places: int, most_bytes: int = 2048, most_runs: int = 3) -> list[object]:
        """Three runs, of which the first two lie side by side, as requests at places."""
        runs = [(0, 512), (512, 1024), (8192, 512)]
        requests = [
            Request(Op.WRITE, place, Frames(lent.ram, [run], run[1]))
            for place, run in zip(places, runs, strict=False)
        ]
        return [
            (place, frames.runs, frames.length)
            for _, place, frames in merge(requests[::-1], most_bytes, most_runs)
        ]

    one = [(0, 512)], 512
    assert merged(0, 512, 1536) == [(0, [(0, 1536), (8192, 512)], 2048)]
    assert merged(0, 512, 1536, most_bytes=2047) == [
        (0, [(0, 1536)], 1536),
        (1536, [(8192, 512)], 512),
    ]
    assert merged(0, 512, 1536, most_runs=2) == [(0, [(0, 1536)], 1536), (1536, [(8192, 512)], 512)]
    assert merged(0, 513) == [(0, *one), (513, [(512, 1024)], 1024)]
    assert merged(0, 511) == [(0, *one), (511, [(512, 1024)], 1024)]
    assert merged(1024, 0) == [(0, [(512, 1024), (0, 512)], 1536)]


def test_what_are_no_requests_of_one_operation(image: Path) -> None:
    """Refused before a driver sees any of it, and nothing is counted: nothing, two operations at
    once, a byte before the beginning or behind the end, a write to what is only read.
    """
    disk, lent = BufferDisk("disk", bytearray(8192)), Lent()
    scheduler = Scheduler(VirtualClock(), 1)

    def refused(device: Device, requests: Any) -> Status:
        with pytest.raises(StatusError, match="^disk: ") as caught:
            scheduler.run(device.submit(requests))
        return caught.value.status

    read, write = lent.read(0, 512), lent.write(0, b"x" * 512)
    wrongs: list[object] = [
        [],
        [read, write],
        [read, FLUSH],
        [(0, 0, 0)],
        [(0, [b""])],
        None,
        {},
        5,
    ]
    for wrong in wrongs:
        assert refused(disk, wrong) == Status.INVALID_PARAMETER, wrong
    for place, length in ((-512, 512), (8192, 512), (7680, 1024), (1 << 70, 512)):
        assert refused(disk, [read, lent.read(place, length)]) == Status.IO_DEVICE_ERROR
    assert refused(BufferDisk("disk", bytes(8192), True), [write]) == Status.MEDIA_WRITE_PROTECTED  # type: ignore[arg-type]
    assert set(asdict(disk.statistics()).values()) == {0} and bytes(disk.buffer) == bytes(8192)
    scheduler.run(disk.submit([lent.write(7680, b"y" * 512), lent.write(0, b"", b"x" * 512)]))
    last = lent.read(7680, 512)
    scheduler.run(disk.submit([last]))
    assert last.frames.read() == b"y" * 512 and bytes(disk.buffer[:513]) == b"x" * 512 + b"\0"
    scheduler.run(disk.submit([FLUSH]))
    counted = {"writes": 1, "write_bytes": 1024, "reads": 1, "read_bytes": 512, "flushes": 1}
    assert {k: v for k, v in asdict(disk.statistics()).items() if v} == counted


class Lending(FaultyDevice):
    """Looks at what a driver is given: frames of the system's RAM, nothing else."""

    def __init__(self, device: Device, ram: Ram) -> None:
        super().__init__(device)
        self.ram = ram
        self.shared: list[int] = []  # frames that several runs of one write name

    def _look(self, requests: Sequence[Request]) -> None:
        for _, place, frames in requests:
            assert frames.ram is self.ram and frames.length == sum(n for _, n in frames.runs)
            assert place % 512 == 0 and frames.length and frames.length % 512 == 0
            for address, length in frames.runs:
                assert 4096 <= address < address + length <= self.ram.frames << 12
                assert address % 512 == 0 and length > 0

    async def _read(self, requests: Sequence[Request]) -> None:
        self._look(requests)
        await super()._read(requests)

    async def _write(self, requests: Sequence[Request]) -> None:
        self._look(requests)
        addresses = [address for r in requests for address, _ in r.frames.runs]
        self.shared += [a >> 12 for a in set(addresses) if addresses.count(a) > 1]
        await super()._write(requests)


@pytest.mark.parametrize("sectors", [1, 16])
def test_drivers_get_frames_and_nothing_else(tmp_path: Path, sectors: int) -> None:
    """Clusters of a sector and of 8 KiB; directories that grow, whose zeros are one frame that is
    lent; files with tails.
    """
    path = tmp_path / "disk.img"
    command("mkfs", "--size", "4M", "--cluster", str(512 * sectors), path)
    system = octavo.boot("4M")
    device = Lending(ImageDisk(path, system.scheduler), system.ram)
    volume = system.attach_device(device)
    volume.mkdir("d")
    files = {f"d/a file with a long name {i}": os.urandom(i * 97) for i in range(150)}
    for name, data in files.items():
        volume.write_bytes(name, data)
    volume.flush()
    assert bool(device.shared) == (sectors == 16)
    device.plan = lambda verb, n: verb == "write" and n > before
    before = device.numbers["write"]
    free = system.memory.frames_in_use
    with pytest.raises(StatusError, match="injected failure"):
        for i in range(400):
            volume.mkdir(f"d/{i}")
    device.plan = never
    volume.flush()
    system.check()
    assert system.memory.frames_in_use <= free + 8
    for name, data in files.items():
        assert volume.read_bytes(name) == data
    system.close()
    with octavo.open_image(path) as volume:
        assert all(volume.read_bytes(name) == data for name, data in files.items())
        assert volume.check() == []
    fsck(path)


def test_what_a_region_map_does_not_have() -> None:
    """Is read as zeros into frames that hold anything, and written nowhere; what it has in pieces
    is dealt out of frames in runs, whatever ends first.
    """
    disk, ram = BufferDisk("disk", bytearray(os.urandom(8192))), Ram(8)
    regions = RegionMap(512)
    places = [4096, 512, 7680, 1024, 1536, 2560, 5120, 6144, 3072]
    for place in places:
        regions.append(place, 1)
    section = Section("s", RegionPager(disk), Mapping(regions), len(places) * 512)
    data = b"".join(disk.buffer[place : place + 512] for place in places)
    scheduler = Scheduler(VirtualClock(), 1)
    frames = Frames.of(ram, [2, 5, 4])
    frames.fill(b"?" * frames.length)
    scheduler.run(section.pager.data_request(section, 0, frames, range(3)))
    assert frames.read() == data.ljust(frames.length, b"\0")
    frames.fill(b"?" * frames.length)
    scheduler.run(section.pager.data_request(section, 2, Frames.of(ram, [3]), range(1)))
    assert bytes(ram.frame(3)) == bytes(4096) and disk.counts.reads == 1
    one = RegionMap(512)
    one.append(512, 3)
    short = Section("short", RegionPager(disk), Mapping(one), 1536)
    scheduler.run(short.pager.data_request(short, 0, frames, range(3)))
    assert frames.read() == bytes(disk.buffer[512:2048]).ljust(frames.length, b"\0")
    new, before = os.urandom(frames.length), bytes(disk.buffer)
    frames.fill(new)
    assert scheduler.run(section.pager.data_return([DirtyRun(section, 0, frames)])) == [None]
    expected = bytearray(before)
    for i, place in enumerate(places):
        expected[place : place + 512] = new[i * 512 : (i + 1) * 512]
    assert disk.buffer == expected


def test_zeros_for_a_driver_to_write(tmp_path: Path) -> None:
    """One frame, given back whatever happens; none to be had is told, and nothing is lent."""
    with octavo.boot("2M", pageout=False, seed=1) as system:
        memory, scheduler = system.memory, system.scheduler
        used = memory.frames_in_use

        async def lend(length: int) -> list[tuple[int, int]]:
            before = memory.frames_in_use
            async with memory.zeros(length) as zeros:
                memory.check()
                assert memory.frames_in_use == before + 1 and zeros.length == length
                assert "held by devices" in memory.explain(zeros.runs[0][0] >> 12)
                assert zeros.read() == bytes(length)
                runs = zeros.runs
                if length == 513:
                    raise StatusError(Status.IO_DEVICE_ERROR, "cannot be written")
            return runs

        assert [n for _, n in scheduler.run(lend(512))] == [512]
        assert [n for _, n in scheduler.run(lend(4096))] == [4096]
        assert len(set(runs := scheduler.run(lend(8704)))) == 2 and len(runs) == 3
        with pytest.raises(StatusError, match="cannot be written"):
            scheduler.run(lend(513))
        assert memory.frames_in_use == used
        memory.check()
        taken = 0
        while memory.allocate_contiguous(1):
            taken += 1
        assert taken
        while memory.physical.try_take(1, State.ACTIVE):
            pass
        left = memory.physical.available
        with pytest.raises(StatusError) as caught:
            scheduler.run(lend(512))
        assert caught.value.status == Status.NO_MEMORY and memory.physical.available == left
        system.abandon()


def test_a_modelled_disk_takes_its_time(tmp_path: Path) -> None:
    """Overhead, a seek unless it goes on where it stopped, bytes over rate; requests of several
    threads one after the other.
    """
    path = tmp_path / "a.img"
    path.write_bytes(bytes(range(256)) * 4096)
    scheduler = Scheduler(VirtualClock(), 1)
    model = DiskModel(0.001, 0.010, 1e6)
    disk = ModelledDisk(ImageDisk(path, scheduler), scheduler, model)
    lent = Lent()
    for place, seconds in ((0, 0.005096), (4096, 0.005096), (0, 0.015096)):
        before, request = disk.busy, lent.read(place, 4096)
        scheduler.run(disk.submit([request]))
        assert disk.busy - before == pytest.approx(seconds)
        assert request.frames.read() == bytes(range(256)) * 16
    start = scheduler.clock.now()

    async def both() -> None:
        threads = [
            scheduler.spawn(disk.submit([lent.write(i << 16, bytes(4096))]), "writer")
            for i in range(2)
        ]
        for thread in threads:
            await thread.join()

    scheduler.run(both())
    assert scheduler.clock.now() - start >= 2 * 0.005096 + 0.010
    scheduler.run(disk.flush())
    disk.close()
    scheduler.close()


def test_an_image_past_the_hosts_cache(tmp_path: Path) -> None:
    """With O_DIRECT, what is read and written whole pages at a time is right; what does not fit the
    host's sectors is told.
    """
    path = tmp_path / "a.img"
    path.write_bytes(os.urandom(1 << 20))
    with octavo.boot(memory="4M") as system:
        device = ImageDisk(path, system.scheduler, direct=True)
        first = system.memory.allocate_contiguous(2)
        frame, frames = system.ram.frame(first, 2), Frames.of(system.ram, [first, first + 1])
        system.scheduler.run(device.submit([Request(Op.READ, 8192, frames)]))
        assert bytes(frame) == path.read_bytes()[8192:16384]
        frame[:5] = b"hello"
        system.scheduler.run(device.submit([Request(Op.WRITE, 8192, frames)]))
        with pytest.raises(StatusError, match="the host cannot read the image"):
            part = frames.part(0, 100)
            system.scheduler.run(device.submit([Request(Op.READ, 8192 + 100, part)]))
        device.close()
        system.memory.free_contiguous(first, 2)
        assert path.read_bytes()[8192:8197] == b"hello"


def test_an_image_in_use_is_written_over_by_nothing_else(image: Path) -> None:
    """Neither by a picture or drawing, nor by a copy that would take its place, nor by mkfs, which
    would change its size before it is opened as a disk.
    """
    other, link = image.with_name("other.img"), image.with_name("link.img")
    link.symlink_to(image)
    command("mkfs", "--size", "1M", other)
    with octavo.open_image(other) as volume:
        for name in ("a", image.name):
            volume.write_bytes(name, b"new")
    before = image.read_bytes()
    with octavo.boot(memory="4M", disks=[image]) as system:
        lines: list[str] = []
        assert (
            Shell(system, lines.append).run(f"memory picture {image}") == 1
            and "the image is in use" in lines[-1]
        )
        over = [
            ["mkfs", "--force", "--size", "1M", image],
            ["mkfs", "--force", image],
            ["map", "--svg", image, "pc-8m"],
            ["cp", f"{other}:/a", image],
        ]
        for call in [*over, ["cp", "-r", f"{other}:/", image.parent], ["cp", f"{other}:/a", link]]:
            assert "the image is in use" in command(*call, code=1), call
        assert image.read_bytes() == before
    command("cp", "-r", f"{other}:/", image.parent)
    assert image.read_bytes() == b"new"
    assert not [name for name in os.listdir(image.parent) if name.startswith(".octavo")]


def test_a_block_device_in_use_is_not_written_to(image: Path) -> None:
    """A copy writes through to a device; one with a volume that somebody has mounted is refused,
    and is as it was.
    """
    attached = subprocess.run(
        ["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=False
    )
    if attached.returncode:
        pytest.skip("only root may make a block device; CI runs as root")
    device = attached.stdout.strip()
    try:
        with octavo.open_image(device) as volume:
            volume.write_bytes("a", b"abc")
            with octavo.boot(memory="4M") as other:
                source = other.attach_ram_disk()
                source.write_bytes("new", b"new")
                plan = plan_copy([(VolumeTree(source, ""), "new")], HostTree(), device, False)
                [error] = run_copy(plan)
                assert error.status == Status.SHARING_VIOLATION
        with octavo.open_image(device) as volume:
            assert volume.read_bytes("a") == b"abc" and volume.check() == []
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_an_image_that_was_replaced_when_it_was_opened_is_not_written_to(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening and locking another program's rename may come: the file that is open has no
    name any more.
    """
    flock = fcntl.flock

    def late(fd: int, how: int) -> None:
        image.unlink()
        image.write_bytes(b"new")
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with (
        pytest.raises(StatusError, match="has just replaced the image") as caught,
        octavo.open_image(image),
    ):
        pass
    assert caught.value.status == Status.SHARING_VIOLATION


def test_a_host_that_cannot_lock_is_told_in_a_sentence(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network's file system without its lock daemon, say."""

    def without(fd: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", without)
    with (
        pytest.raises(StatusError, match="cannot lock the image: No locks available"),
        octavo.open_image(image),
    ):
        pass


def test_what_fails_leaves_no_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image, a drawing and a picture that the host has no room for: none of it stays, and an old
    one is as it was.
    """
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = tmp_path / "old"
    old.write_bytes(b"old")
    with octavo.boot(memory="4M") as system:
        shell = Shell(system, lambda line: None)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))
        try:
            assert run(["mkfs", "--size", "64K", str(tmp_path / "a.img")]) == 1
        except StatusError as error:
            assert (
                error.status == Status.FILE_TOO_LARGE
                and "cannot be made 65536 bytes long" in error.text
            )
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        for name in ("new", "old"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))
            try:
                assert shell.run(f"memory picture {tmp_path / name}") == 1
                with pytest.raises(StatusError) as caught:
                    run(["map", "--svg", str(tmp_path / name), "pc-8m"])
                assert caught.value.status == Status.FILE_TOO_LARGE
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == ["old"] and old.read_bytes() == b"old"


def test_a_page_file_has_its_room_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the commit limit counts on is there: a sparse file gets its blocks when it is added, or
    is refused.
    """
    path = tmp_path / "swap.bin"

    def sparse() -> None:
        with open(path, "wb") as file:
            file.truncate(4 << 20)

    def full(*unused: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def unable(*unused: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    sparse()
    with octavo.boot(memory="4M") as system:
        system.add_page_file(path)
        assert path.stat().st_blocks * 512 >= 4 << 20
    sparse()
    room = os.statvfs(path)
    limited = type(
        "Limited", (), {"f_bavail": (4 << 20) // room.f_frsize - 1, "f_frsize": room.f_frsize}
    )
    for name, stand_in in (("fstatvfs", lambda fd: limited), ("posix_fallocate", full)):
        with octavo.boot(memory="4M") as system, monkeypatch.context() as patch:
            patch.setattr(os, name, stand_in)
            limit = system.virtual.limit
            with pytest.raises(StatusError) as caught:
                system.add_page_file(path)
            assert (
                caught.value.status == Status.DISK_FULL
                and system.virtual.limit == limit
                and path.stat().st_blocks == 0
            )
    monkeypatch.setattr(os, "posix_fallocate", unable)
    with octavo.boot(memory="4M") as system:
        system.add_page_file(path)
        assert system.virtual.limit > limit


def test_a_log_keeps_its_last_lines(image: Path) -> None:
    """A system that mounts for ever does not grow by it."""
    with octavo.boot(memory="4M") as system:
        for _ in range(3):
            system.attach(image)
            system.unmount("C:")
        assert len(system.log) < MOST_LINES
        for i in range(MOST_LINES):
            system.say(f"line {i}")
        assert system.log == [f"line {i}" for i in range(MOST_LINES)]
        system.attach(image)
        assert len(system.log) == MOST_LINES and "Volume C: FAT16" in system.log[-1]
