"""Requests: what drivers are given, and what is none; modelled disks and the host's cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import octavo
from octavo.machine.abi import State
from octavo.machine.clock import VirtualClock
from octavo.machine.frames import Frames
from octavo.machine.ram import Ram
from octavo.memory.pagers.medium import FLUSH, Op, Request, merge
from octavo.memory.pagers.region import Mapping, RegionPager
from octavo.memory.pagers.regionmap import RegionMap
from octavo.memory.pages.section import DirtyRun, Section
from octavo.status import Status, StatusError
from octavo.storage.device import Device
from octavo.storage.image import ImageDisk
from octavo.testing.bufferdisk import BufferDisk
from octavo.testing.faulty import FaultyDevice, never
from octavo.testing.modelled import DiskModel, ModelledDisk
from octavo.threads.scheduler import Scheduler
from tests.command import octavo as command
from tests.conftest import fsck
from tests.lent import Lent


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
    assert device.shared or sectors == 1  # a sector of zeros is shared only where two go at once
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
