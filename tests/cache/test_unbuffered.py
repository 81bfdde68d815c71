"""Unbuffered transfers and zeros agree with cached pages and mapped views, whoever is at work
meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from octavo.machine.abi import PAGE_SIZE
from octavo.machine.frames import Frames
from octavo.memory.pages.section import VIEW_SIZE, DirtyRun, Section
from octavo.status import Status, StatusError
from octavo.testing.bytespager import BytesPager
from tests.cache.caches import Cached, at
from tests.machines import Machine, MemoryFile, fails
from tests.memory.spaces.views import show


def test_what_is_absent_goes_past_the_cache() -> None:
    """Read and written in one request each, by the frames of who asks; nothing comes to stay."""
    c = Cached(pages=20)
    frames = c.frames(8)
    assert c.run(c.cache.unbuffered.read(c.section, at(4), frames)) == frames.length
    assert frames.read() == c.data[at(4) : at(12)] and c.pager.requests == [(4, 8)]
    frames.fill(b"new!" * (frames.length // 4))
    c.run(c.cache.unbuffered.write(c.section, at(4), frames))
    assert c.pager.data[at(4) : at(12)] == frames.read() and c.pager.faults.numbers["write"] == 1
    assert not c.section.resident() and not c.section.dirty and len(c.pager.requests) == 1
    c.check()


def test_what_is_in_memory_is_read_and_written_there() -> None:
    """Dirty pages are what a read gives; a write changes cached pages and mapped views, and is with
    the pager when it is done.
    """
    m = Machine(frames=600)
    file = MemoryFile(m, b"o" * 20 * PAGE_SIZE)
    base = show(m, file)
    m.write(base + at(5), b"by a view")
    m.run(m.cache.copy_write(file.section, at(7), b"by the cache"))
    frames = Frames.of(m.memory.ram, range(m.memory.allocate_contiguous(10), 10**9)[:10])
    m.run(m.cache.unbuffered.read(file.section, at(3), frames))
    data = frames.read()
    assert data[at(2) :][:9] == b"by a view" and data[at(4) :][:12] == b"by the cache"
    assert data[:4] == b"oooo" and file.section.dirty == 2
    frames.fill(b"unbuffered" * (frames.length // 10))
    m.run(m.cache.unbuffered.write(file.section, at(3), frames))
    assert file.pager.data[at(3) : at(13)] == frames.read() and not file.section.dirty
    assert m.read(base + at(5), 8) == frames.read()[at(2) :][:8]
    assert m.run(m.cache.copy_read(file.section, at(3), 10 * PAGE_SIZE)) == frames.read()
    m.check()


class Racing(BytesPager):
    """Reads what is there when it is asked, and gives it `late` seconds later; writes take 2 ms."""

    late = 0.0

    async def data_request(self, section: Section, page: int, frames: Frames, need: range) -> None:
        """The old bytes, though they may have been written over meanwhile."""
        data = bytes(self.data[at(page) : at(page) + frames.length])
        await self.scheduler.sleep(self.late)
        frames.fill(data)

    async def data_return(self, runs: Sequence[DirtyRun]) -> list[StatusError | None]:
        """As ever, but slower."""
        await self.scheduler.sleep(0.001)
        return await super().data_return(runs)


@pytest.mark.parametrize("late", [0.0005, 0.005])
def test_a_page_that_comes_while_it_is_written_is_the_new_one(late: float) -> None:
    """A reader brings the old page in while an unbuffered write is under way, or has it under way
    when that ends: what stays in memory is what was written, and so is what the pager has.
    """
    c = Cached(pages=20)
    pager = Racing(c.scheduler, bytearray(c.data))
    pager.late = late
    section = Section("raced", pager, None, len(c.data))
    frames = c.frames(8)
    frames.fill(b"new!" * (frames.length // 4))

    async def both() -> None:
        writer = c.scheduler.spawn(c.cache.unbuffered.write(section, at(4), frames), "writer")
        await c.scheduler.sleep(0.0001)
        old = [await c.cache.copy_read(section, at(page), 4) for page in (4, 11)]
        assert old[0] == b"   4"
        await writer.join()

    c.run(both())
    assert section.resident()
    assert c.run(c.cache.copy_read(section, at(4), frames.length)) == frames.read()
    assert pager.data[at(4) : at(12)] == frames.read() and not section.dirty
    c.check()


def test_parts_of_pages_are_copied() -> None:
    """Any place and length will do, and frames that are cut anywhere; what is behind the end is not
    there.
    """
    c = Cached(pages=6)
    first = c.memory.allocate_contiguous(8)
    frames = Frames(c.memory.ram, [((first << 12) + 512, 3 * PAGE_SIZE)], 3 * PAGE_SIZE)
    assert c.run(c.cache.unbuffered.read(c.section, at(1, 100), frames)) == frames.length
    assert frames.read() == c.data[at(1, 100) :][: frames.length]
    assert c.run(c.cache.unbuffered.read(c.section, at(5, 4000), frames)) == 96
    assert c.run(c.cache.unbuffered.read(c.section, at(7), frames)) == 0
    frames.fill(b"x" * frames.length)
    c.run(c.cache.unbuffered.write(c.section, at(5, 4000), frames))
    assert c.section.size == at(8, 4000) and c.read(5, 3)[4000:] == b"x" * (2 * PAGE_SIZE + 96)
    fails(Status.INVALID_PARAMETER, c.run, c.cache.unbuffered.read(c.section, -1, frames))
    c.check()


def test_long_ranges_of_zeros_take_no_memory() -> None:
    """Of 16 MiB in 640 KiB of memory: by requests of 1 MiB, from one frame of zeros; what is in
    memory is zeros there. Short ones are written in the cache.
    """
    c = Cached(pages=300, frames=160)
    c.read(100)
    c.write(200, b"dirty   ")
    before, lowest = c.pager.faults.numbers["write"], c.memory.physical.lowest_available
    c.run(c.cache.zero(c.section, at(1, 5), 16 << 20))
    assert c.pager.faults.numbers["write"] - before <= 20
    assert c.memory.physical.lowest_available > lowest - 8
    assert c.section.size == at(1, 5) + (16 << 20)
    assert c.read(0, 2) == c.data[: at(1, 5)] + bytes(PAGE_SIZE - 5)
    assert c.read(99, 103) == bytes(103 * PAGE_SIZE)
    c.run(c.cache.flush(c.section))
    assert c.pager.data == c.data[: at(1, 5)] + bytes(len(c.pager.data) - at(1, 5))
    writes = c.pager.faults.numbers["write"]
    c.run(c.cache.zero(c.section, at(0, 5), 100))
    assert c.pager.faults.numbers["write"] == writes and c.section.dirty == 1
    assert c.read(0)[:106] == c.data[:5] + bytes(100) + c.data[105:106]
    c.check()


@pytest.mark.parametrize("verb", ["read", "write"])
@pytest.mark.parametrize("k", range(1, 8))
def test_the_kth_request_fails(verb: str, k: int) -> None:
    """Of a write over pages that are partly in memory, and of zeros: told once, the ledger
    balances, no byte is other than old or new, and the same call works afterwards.
    """
    c = Cached(pages=300)
    c.read(5, 2)
    c.write(9, b"dirty   ")
    c.run(c.cache.flush(c.section))
    frames = c.frames(8)
    frames.fill(b"new!" * (frames.length // 4))
    begun = c.pager.faults.numbers[verb]
    c.pager.faults.plan = lambda v, n: v == verb and n == begun + k

    async def both() -> None:
        await c.cache.unbuffered.write(c.section, at(4, 10), frames)
        await c.cache.zero(c.section, at(20, 7), VIEW_SIZE + 1000)

    try:
        c.run(both())
    except StatusError as error:
        assert error.status == Status.IO_DEVICE_ERROR
        assert not c.cache.locked.count
        c.check()
        old, now = c.data[at(4) : at(5)], c.read(4)
        assert now[:10] == old[:10] and set(now) <= set(b"new! 4"), "bytes of nobody's"
        c.run(both())
    c.pager.faults.plan = lambda v, n: False
    assert c.read(4, 8)[10:] == frames.read()[: 8 * PAGE_SIZE - 10]
    assert c.run(c.cache.copy_read(c.section, at(20, 7), VIEW_SIZE + 1000)) == bytes(525288)
    c.run(c.cache.flush(c.section))
    assert c.pager.data[at(4, 10) :][: frames.length] == frames.read()
    c.check()
