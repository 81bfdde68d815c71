"""What a fault on a view brings in: clusters by advice, bulk, and collisions."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import octavo
from octavo.machine.abi import PAGE_SIZE
from octavo.machine.frames import Frames
from octavo.machine.mmu import reference
from octavo.machine.mmukernels import WRITE
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.protect import Protect
from octavo.status import Status, StatusError
from octavo.storage.image import ImageDisk
from octavo.storage.rawfile import RawFile
from octavo.testing.modelled import FLASH, HARD_DISK, DiskModel, ModelledDisk
from tests.machines import Machine, MemoryFile, fails
from tests.memory.spaces.views import show


def test_clusters_by_advice() -> None:
    """How many pages a fault asks for, and where: learnt windows grow in both directions and give
    up after jumps; advice is taken.
    """

    def requests(advice: Advice, pages: list[int]) -> list[tuple[int, int]]:
        machine = Machine(frames=900)
        file = MemoryFile(machine, bytes(400 * PAGE_SIZE))
        base = show(machine, file, advice)
        for page in pages:
            machine.touch(base + page * PAGE_SIZE)
        machine.check()
        return file.pager.requests

    assert requests(Advice.NORMAL, list(range(60))) == [
        (0, 4),
        (4, 8),
        (12, 16),
        (28, 16),
        (44, 16),
    ]
    assert requests(Advice.NORMAL, list(range(120, 90, -1))) == [
        (120, 4),
        (112, 8),
        (96, 16),
        (80, 16),
    ]
    assert requests(Advice.RANDOM, [5, 6, 90]) == [(5, 1), (6, 1), (90, 1)]
    assert requests(Advice.SEQUENTIAL, [0, 16, 120]) == [
        (0, 16),
        (16, 16),
        (120, 8),
    ]  # the segment ends at 128
    assert requests(Advice.REVERSE, [100, 84, 83]) == [(85, 16), (69, 16)]
    jumps = requests(Advice.NORMAL, [300, 20, 200, 120, 380, 60, 61, 62, 320, 40, 220, 140])
    first, again = (
        [(300, 4), (20, 4), (200, 4), (120, 1), (380, 1)],
        [(320, 4), (40, 4), (220, 4), (140, 1)],
    )
    assert jumps == [
        *first,
        (60, 1),
        (61, 8),
        *again,
    ]  # one fault that goes on, and jumps are counted anew


def test_clusters_are_clipped() -> None:
    """To the view, to the end of the file, and to what is resident; a cluster that cannot be read
    is asked for by the page.
    """
    machine = Machine()
    file = MemoryFile(machine, bytes(20 * PAGE_SIZE))
    section = machine.run(machine.virtual.sections.create(0, file=file))
    base, _ = machine.space.map(section, size=18 * PAGE_SIZE)
    machine.run(machine.space.advise(base, 1, Advice.SEQUENTIAL))
    machine.touch(base + 10 * PAGE_SIZE)
    machine.touch(base)
    assert file.pager.requests == [(10, 8), (0, 10)]
    original = file.pager.data_request

    async def small_only(section: object, page: int, frames: Frames, need: range) -> None:
        if frames.length > PAGE_SIZE:
            raise StatusError(Status.IO_DEVICE_ERROR, "a bad sector among them")
        await original(file.section, page, frames, need)

    machine.run(file.truncate(PAGE_SIZE))
    machine.run(file.truncate(20 * PAGE_SIZE))
    machine.run(machine.cache.flush(file.section))
    machine.run(machine.cache.purge(file.section, PAGE_SIZE))
    file.section.size = 20 * PAGE_SIZE
    file.pager.data_request = small_only  # type: ignore[method-assign]  # a pager that looks at what is asked
    assert machine.read(base + 5 * PAGE_SIZE, 3) == bytes(3)
    assert file.pager.requests[-1] == (5, 1)
    machine.check()


def test_collided_faults_wait_for_one_request() -> None:
    """Several threads of two spaces on the pages of one cluster: one request, and all get their
    page.
    """
    machine = Machine()
    file = MemoryFile(machine, b"".join(b"%4d" % i * (PAGE_SIZE // 4) for i in range(16)))
    base = show(machine, file, Advice.SEQUENTIAL)
    other = machine.virtual.create("other")
    second, _ = other.map(next(iter(machine.virtual.sections.all)))

    async def all_at_once() -> list[bytes]:
        reads = [
            space.read(at + page * PAGE_SIZE, 4)
            for page in range(8)
            for space, at in ((machine.space, base), (other, second))
        ]
        threads = [machine.scheduler.spawn(read, "reader") for read in reads]
        return [await thread.join() for thread in threads]

    assert machine.run(all_at_once()) == [b"%4d" % (i // 2) for i in range(16)]
    asked = [page for first, count in file.pager.requests for page in range(first, first + count)]
    assert (
        len(asked) == len(set(asked)) >= 8 and len(file.pager.requests) < 8
    )  # who comes first asks, for others too
    assert machine.memory.faults.collided > 0
    machine.check()


def test_advice_now() -> None:
    """WILLNEED brings pages to the standby list in few requests; DONTNEED takes them out of the
    tables, and they come back without a request.
    """
    machine = Machine()
    file = MemoryFile(machine, bytes(40 * PAGE_SIZE))
    base = show(machine, file)
    machine.run(machine.space.advise(base, 40 * PAGE_SIZE, Advice.WILLNEED))
    assert file.pager.requests == [(0, 40)] and machine.memory.physical.standby.count == 40
    machine.touch(base)
    machine.run(machine.space.advise(base, 40 * PAGE_SIZE, Advice.DONTNEED))
    assert machine.space.pages.resident == 0 and machine.memory.physical.standby.count == 40
    machine.touch(base)
    assert len(file.pager.requests) == 1
    fails(Status.INVALID_PARAMETER, lambda: machine.run(machine.space.advise(base, 1, 9)))
    fails(
        Status.MEMORY_NOT_ALLOCATED,
        lambda: machine.run(machine.space.advise(0x70000000, 1, Advice.RANDOM)),
    )


def test_soft_faults_in_bulk() -> None:
    """Pages that are in memory are mapped by a kernel, from the standby lists and from the cache's
    views, without the executive.
    """
    machine = Machine(frames=700)
    file = MemoryFile(machine, b"z" * 400 * PAGE_SIZE)
    base = show(machine, file)
    machine.run(machine.space.advise(base, 300 * PAGE_SIZE, Advice.WILLNEED))
    machine.run(machine.cache.copy_read(file.section, 300 * PAGE_SIZE, 100 * PAGE_SIZE))
    requests, standby = len(file.pager.requests), machine.memory.physical.standby.count
    refs = np.array(
        [reference(base + page * PAGE_SIZE + 8) for page in range(400) for _ in range(2)], np.int64
    )
    assert machine.run(machine.virtual.run(machine.space, refs)) == 400
    assert (
        machine.virtual.bulk.soft == 400
        and machine.space.faults == 0
        and len(file.pager.requests) == requests
    )
    assert (
        standby == 300
        and machine.memory.physical.standby.count == 0
        and machine.space.pages.of_sections == 400
    )
    machine.check()
    writes = np.array([reference(base + page * PAGE_SIZE, WRITE) for page in range(10)], np.int64)
    machine.run(machine.virtual.run(machine.space, writes))
    assert machine.memory.writeback.dirty == 10
    machine.check()
    machine.space.unmap(base)
    machine.check()


def test_soft_faults_in_bulk_over_a_wide_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel is told of a window around the reference only; what lies outside is found by the
    executive, and the window moves there.
    """
    import octavo.memory.spaces.bulk as bulk

    monkeypatch.setattr(bulk, "WINDOW", 256)
    machine = Machine(frames=1500)
    file = MemoryFile(machine, b"z" * 1000 * PAGE_SIZE)
    base = show(machine, file)
    for half in (0, 500):
        machine.run(machine.space.advise(base + half * PAGE_SIZE, 500 * PAGE_SIZE, Advice.WILLNEED))
    assert machine.memory.physical.standby.count == 1000
    refs = np.array(
        [reference(base + page * PAGE_SIZE) for page in (*range(1000), 0, 999, 500)], np.int64
    )
    assert machine.run(machine.virtual.run(machine.space, refs)) == 1000
    assert machine.space.faults < 12 and machine.virtual.bulk.soft == 1000 - machine.space.faults
    machine.check()


def test_parts_of_a_view_that_are_not_in_memory_are_nobody_elses() -> None:
    """Of three segments the last is in memory: pages of the others come from the pager, each with
    its own bytes, the last of all, too.
    """
    machine = Machine(frames=700)
    file = MemoryFile(machine, b"".join((b"%d" % page).ljust(PAGE_SIZE) for page in range(384)))
    base = show(machine, file, Advice.RANDOM)
    machine.run(machine.space.advise(base + 256 * PAGE_SIZE, 128 * PAGE_SIZE, Advice.WILLNEED))
    for page in (0, 127, 128, 255, 256, 383):
        at = base + page * PAGE_SIZE
        assert (
            machine.run(machine.virtual.run(machine.space, np.array([reference(at)], np.int64)))
            == 1
        )
        assert machine.read(at, 3).rstrip() == b"%d" % page
    assert machine.virtual.bulk.soft == 2 and machine.space.faults == 4
    machine.check()


class SlowDisk(NamedTuple):
    """What a scan of a file has cost: requests, seconds of the disk's time, and seconds of pure
    transfer.
    """

    requests: int
    seconds: float
    transfer: float


def scan(path: Path, cluster: int, advice: Advice, model: DiskModel | None = None) -> SlowDisk:
    """Reads each page of a mapped device in sequence, on a machine with a sixteenth of its size."""
    size = path.stat().st_size
    with octavo.boot(
        memory=size // 16 + (PAGE_SIZE << 4), seed=1 if model else None, cluster=cluster
    ) as system:
        image = ImageDisk(path, system.scheduler, read_only=True, direct=model is None)
        device = ModelledDisk(image, system.scheduler, model) if model else image
        run_ = system.scheduler.run
        space = system.virtual.create("scan")
        base, _ = space.map(
            run_(system.virtual.sections.create(0, Protect.READONLY, file=RawFile(device))),
            protect=Protect.READONLY,
        )
        run_(space.advise(base, 1, advice))
        for page in range(size // PAGE_SIZE):
            assert run_(space.read(base + page * PAGE_SIZE, 8)) == b"%8d" % page
        system.check()
        assert space.pages.resident < size // PAGE_SIZE // 16
        busy = device.busy if isinstance(device, ModelledDisk) else 0.0
        return SlowDisk(device.counts.reads, busy, size / model.rate if model else 0.0)


def test_clusters_save_requests_in_a_scan_of_16_times_memory(tmp_path: Path) -> None:
    """Clusters of 16 against clusters of 1, on the disk model and on a file opened with O_DIRECT:
    at least ten times fewer requests.
    """
    path = tmp_path / "scan.img"
    path.write_bytes(b"".join((b"%8d" % page).ljust(PAGE_SIZE) for page in range(4096)))
    for model in (HARD_DISK, FLASH, None):
        one, many = (scan(path, cluster, Advice.SEQUENTIAL, model) for cluster in (1, 16))
        assert one.requests == 4096 and many.requests * 10 <= one.requests
        learnt = scan(path, 16, Advice.NORMAL, model)
        assert learnt.requests * 10 <= one.requests
        if model:
            assert many.seconds < one.seconds / 2 and many.transfer < many.seconds
