"""Dirty pages: when they are written without a flush, who is held up, and by whose pace."""

from __future__ import annotations

import gc
from collections.abc import Sequence

import pytest

from octavo.cache.writers import LAZY_LEAST, PACE_SECONDS
from octavo.machine.abi import PAGE_SIZE
from octavo.memory.pages.section import DirtyRun, Section
from octavo.status import Status, StatusError
from octavo.testing.bytespager import BytesPager
from tests.cache.caches import Cached, at
from tests.machines import fails
from tests.memory.memories import make_machine


def test_the_lazy_writer_writes_by_amount() -> None:
    """An eighth each second, 64 pages at least; after some seconds all of it."""
    c = Cached(pages=0, frames=8000)
    c.run(c.cache.copy_write(c.section, 0, bytes(at(960))))
    left = [960]
    for _ in range(12):
        c.sleep(1.0005)
        left.append(c.section.dirty)
    written = [a - b for a, b in zip(left, left[1:], strict=False)]
    assert all(now / 8 <= done < now / 8 + 128 for now, done in zip(left, written, strict=False))
    assert not left[-1] and LAZY_LEAST <= max(written) == 128
    c.check()


def test_the_lazy_writer_writes_by_age() -> None:
    """What is dirtied again and again comes first, and would for ever; but what has been dirty for
    ten seconds is written, however much that is.
    """
    c = Cached(pages=0, frames=20_000)
    other = BytesPager(c.scheduler, bytearray())
    rest = Section("rest", c.pager, None, 0)
    c.run(c.cache.copy_write(c.section, 0, bytes(at(1200))))
    c.run(c.cache.copy_write(rest, 0, bytes(at(1000))))
    for second in range(10 + 2):
        assert rest.dirty == 1000 or second >= 10, "it would have been written anyway"
        c.run(c.cache.copy_write(c.section, 0, bytes(at(1200))))
        c.sleep(1.0)
    assert rest.dirty == 0 and c.section.dirty and not other.requests
    c.check()


def test_no_more_than_a_quarter_of_memory_is_dirty() -> None:
    """However many pagers share it, each below a limit of its own: who writes beyond writes some
    first.
    """
    c = Cached(pages=0, frames=2500)
    writers, most = c.cache.writers, c.memory.physical.available // 4
    pagers = [BytesPager(c.scheduler, bytearray()) for _ in range(12)]
    sections = [Section("one of many", pager, None, 0) for pager in pagers]
    highest = 0
    for page in range(100):
        for section in sections:
            c.run(c.cache.copy_write(section, at(page), bytes(PAGE_SIZE)))
            assert c.memory.writeback.load[section.pager] < most
            highest = max(highest, c.memory.writeback.dirty)
    assert most - LAZY_LEAST < highest <= most + 1 and writers.throttled
    c.check()


class SlowPager(BytesPager):
    """Takes so many pages a second."""

    pace = 100

    async def data_return(self, runs: Sequence[DirtyRun]) -> list[StatusError | None]:
        """Copies, and takes its time."""
        await self.scheduler.sleep(sum(run.frames.length for run in runs) / PAGE_SIZE / self.pace)
        return await super().data_return(runs)


def slow_and_fast(pace: int) -> tuple[Cached, Section]:
    """A fast section, and one of a slow pager."""
    c = Cached(pages=0, frames=2500)
    pager = SlowPager(c.scheduler, bytearray())
    pager.pace = pace
    return c, Section("slow", pager, None, 0)


def test_a_slow_device_does_not_fill_memory_with_dirty_pages() -> None:
    """Whoever writes to it is held up as soon as its pace is known: what is dirty or in flight is
    what it takes in four seconds, not a quarter of memory.
    """
    c, slow = slow_and_fast(50)
    writers, highest = c.cache.writers, 0
    for page in range(1500):
        c.run(c.cache.copy_write(slow, at(page), bytes(PAGE_SIZE)))
        c.sleep(0.001)
        if page > 1000:
            highest = max(highest, c.memory.writeback.load[slow.pager])
    limit = writers.limit(slow.pager)
    assert 190 <= limit <= 50 * PACE_SECONDS and writers.most_dirty > 3 * limit
    assert highest <= limit + 2 and writers.throttled > 5
    began = c.scheduler.clock.now()
    c.run(c.cache.flush(slow))
    assert c.scheduler.clock.now() - began < PACE_SECONDS * 1.1
    c.check()


def test_a_slow_device_holds_up_nobody_else() -> None:
    """While a floppy has its limit of pages to take, somebody who writes elsewhere waits for
    nothing, and his pages are written.
    """
    c, slow = slow_and_fast(7)
    for page in range(200):
        c.run(c.cache.copy_write(slow, at(page), bytes(PAGE_SIZE)))
    began = c.scheduler.clock.now()
    for page in range(300):
        c.run(c.cache.copy_write(c.section, at(page), b"fast" * 1024))
    assert c.scheduler.clock.now() == began, "he waited for the floppy"
    c.sleep(5.5)
    assert not c.section.dirty and c.memory.writeback.load[slow.pager]
    c.check()


def test_a_section_has_a_limit_of_its_own() -> None:
    """Its writer writes before more than that are dirty; the others are not held up; none is again
    no limit.
    """
    c = Cached(pages=0, frames=4000)
    other = Section("other", c.pager, None, 0)
    writers, began = c.cache.writers, c.scheduler.clock.now()
    writers.limit_section(c.section, 10)
    c.run(c.cache.copy_write(other, 0, bytes(at(100))))
    assert c.scheduler.clock.now() == began
    for page in range(40):
        c.run(c.cache.copy_write(c.section, at(page), bytes(PAGE_SIZE)))
        assert c.section.dirty <= 11
    assert c.scheduler.clock.now() > began and writers.throttled == 3 and other.dirty == 100
    assert not c.cache.at_once.write(c.section, 0, bytes(at(11)))
    writers.limit_section(c.section, None)
    c.run(c.cache.copy_write(c.section, 0, bytes(at(40))))
    assert c.section.dirty == 40
    c.check()


@pytest.mark.parametrize("pages", [1, 300])
def test_writers_that_cannot_write_do_not_wait_for_ever(pages: int) -> None:
    """A device that fails, and one beyond each limit: the writer goes on, his data is dirty, and
    the next flush says what was wrong.
    """
    c = Cached(pages=0, frames=800)
    c.pager.broken = {"write"}
    c.cache.writers.limit_section(c.section, 5)
    for page in range(pages):
        c.run(c.cache.copy_write(c.section, at(page), bytes(PAGE_SIZE)))
    c.sleep(2.5)
    assert c.section.dirty == pages
    c.pager.broken = set()
    fails(Status.IO_DEVICE_ERROR, c.run, c.cache.flush(c.section))
    c.run(c.cache.flush(c.section))
    assert len(c.pager.data) == at(pages)
    c.check()


def test_the_pace_of_a_pager_is_not_what_keeps_it_alive() -> None:
    """When it has ended it is forgotten; small writes tell nothing of a pace."""
    scheduler, memory, cache = make_machine(800)
    pager = BytesPager(scheduler, bytearray())
    section = Section("s", pager, None, 0)
    scheduler.run(cache.copy_write(section, 0, bytes(at(15))))
    scheduler.run(cache.flush(section))
    assert not memory.writeback.pace
    scheduler.run(cache.copy_write(section, 0, bytes(at(16))))
    scheduler.run(cache.flush(section))
    assert memory.writeback.pace[pager] == pytest.approx(16_000)
    scheduler.run(cache.drop(section))
    del pager, section
    gc.collect()
    assert not memory.writeback.pace and not memory.writeback.load
