"""Lists of frames: no copy, no trace of what was given up, and every failure on the way."""

from __future__ import annotations

import pytest

from octavo.machine.abi import PAGE_SIZE
from octavo.memory.frames.physical import RESERVE
from octavo.status import Status, StatusError
from tests.cache.caches import Cached, at
from tests.machines import Machine, MemoryFile, fails
from tests.memory.spaces.views import show


def pages_of(c: Cached, first: int, count: int) -> list[int]:
    """The frames of pages that are active."""
    return [c.cache.try_address(c.section, at(page)) >> 12 for page in range(first, first + count)]


def test_a_list_that_is_read_is_the_pages_themselves() -> None:
    """Their frames, joined where they are in a row, from the byte that was asked for to the end;
    they stay until it is completed.
    """
    c = Cached(pages=20)
    made = c.run(c.cache.lists.read(c.section, at(17, 100), 5 * PAGE_SIZE))
    assert made.length == 3 * PAGE_SIZE - 100 and made.frames.read() == c.data[at(17, 100) :]
    c.memory.pageout.trim(1000)
    assert list(made.pages) == pages_of(c, 17, 3) and c.section.is_locked(17)
    c.write(18)
    assert made.frames.read()[PAGE_SIZE - 100 :][:4] == b"new ", "it is a copy"
    c.check()
    c.cache.lists.read_complete(made)
    fails(Status.NOT_LOCKED, c.cache.lists.read_complete, made)
    nothing = c.run(c.cache.lists.read(c.section, at(20), 100))
    assert nothing.length == 0 and not nothing.frames.runs
    c.cache.lists.read_complete(nothing)
    assert not c.cache.lists.count and not c.section.is_locked(0)
    c.check()


def test_frames_that_were_filled_become_the_pages() -> None:
    """None is copied, but the bytes of a page that keeps others; all of them are there at once, and
    dirty.
    """
    c = Cached(pages=20)
    c.read(4, 2)
    made = c.run(c.cache.lists.prepare_write(c.section, at(3, 10), 3 * PAGE_SIZE))
    made.frames.fill(b"x" * made.length)
    assert c.read(3, 4) == c.data[at(3) : at(7)], "what is not completed is seen"
    c.run(c.cache.lists.write_complete(made))
    expected = c.data[at(3) : at(3, 10)] + b"x" * made.length + c.data[at(6, 10) : at(7)]
    assert c.read(3, 4) == expected and c.section.dirty == 4
    assert pages_of(c, 4, 2) == list(made.pages[1:3]), "frames were copied"
    c.check()
    c.run(c.cache.flush(c.section))
    assert c.pager.data[at(3) : at(7)] == expected
    fails(Status.NOT_LOCKED, c.run, c.cache.lists.write_complete(made))
    fails(Status.NOT_LOCKED, c.cache.lists.write_abort, made)


def test_a_write_that_is_given_up_never_was() -> None:
    """Whatever a device has put into the frames: the pages are as they were, and clean."""
    c = Cached(pages=20)
    c.read(4)
    free = c.memory.physical.available
    made = c.run(c.cache.lists.prepare_write(c.section, at(3, 10), 2 * PAGE_SIZE))
    made.frames.fill(b"?" * made.length)
    c.cache.lists.write_abort(made)
    assert c.memory.physical.available == free and not c.section.dirty and not c.cache.lists.count
    assert c.read(0, 20) == c.data
    c.check()


def test_what_is_mapped_or_pinned_keeps_its_frame() -> None:
    """A page in page tables, and one that is pinned, get a copy of the bytes; a program sees them
    at once.
    """
    m = Machine(frames=500)
    file = MemoryFile(m, b"o" * 8 * PAGE_SIZE)
    base = show(m, file)
    m.touch(base + 2 * PAGE_SIZE)
    block = m.run(m.cache.blocks.pin(file.section, at(3), PAGE_SIZE))
    frame = m.cache.try_address(file.section, at(2))
    made = m.run(m.cache.lists.prepare_write(file.section, at(1), 4 * PAGE_SIZE))
    made.frames.fill(b"n" * made.length)
    m.run(m.cache.lists.write_complete(made))
    assert m.cache.try_address(file.section, at(2)) == frame
    assert m.read(base + 2 * PAGE_SIZE, 4) == b"nnnn" == m.read(base + 4 * PAGE_SIZE, 4)
    assert m.cache.blocks.part(block, at(3), 4).read() == b"nnnn"
    m.cache.blocks.unpin(block)
    m.check()


def test_a_list_behind_the_end_makes_the_section_longer() -> None:
    """From its end on, with zeros behind; what would leave a gap, and what was cut meanwhile, is
    refused.
    """
    c = Cached(pages=2)
    made = c.run(c.cache.lists.prepare_write(c.section, at(2), PAGE_SIZE + 10))
    made.frames.fill(b"x" * made.length)
    c.run(c.cache.lists.write_complete(made, through=True))
    assert c.section.size == at(3, 10) and c.pager.data[at(2) :] == b"x" * 4106 + bytes(4086)
    fails(Status.INVALID_PARAMETER, c.run, c.cache.lists.prepare_write(c.section, at(3, 11), 1))
    fails(Status.INVALID_PARAMETER, c.run, c.cache.lists.prepare_write(c.section, 0, 0))
    made = c.run(c.cache.lists.prepare_write(c.section, at(3, 10), 5))
    c.run(c.cache.purge(c.section, at(1)))
    fails(Status.END_OF_FILE, c.run, c.cache.lists.write_complete(made))
    fails(Status.INVALID_PARAMETER, c.cache.lists.read_complete, made)
    c.cache.lists.write_abort(made)
    assert c.section.size == at(1)
    c.check()


def test_who_is_reading_or_writing_is_waited_for() -> None:
    """A completion comes while its pages are read for another, and while they are written: after
    both the new bytes are there.
    """
    c = Cached(pages=20)
    c.write(5, b"old ")
    made = c.run(c.cache.lists.prepare_write(c.section, at(4), 4 * PAGE_SIZE))
    made.frames.fill(b"newest!!" * (made.length // 8))

    async def all_at_once() -> None:
        reader = c.scheduler.spawn(c.cache.copy_read(c.section, at(3), 4 * PAGE_SIZE), "reader")
        writer = c.scheduler.spawn(c.cache.flush(c.section), "writer")
        await c.scheduler.sleep(0.0005)
        await c.cache.lists.write_complete(made)
        await reader.join()
        await writer.join()

    c.run(all_at_once())
    assert c.read(4, 4) == b"newest!!" * (4 * PAGE_SIZE // 8) and c.section.dirty == 4
    c.check()
    c.run(c.cache.flush(c.section))
    assert c.pager.data[at(4) : at(8)] == c.read(4, 4)


def test_memory_bounds_lists() -> None:
    """To the last ordinary frame, then NO_MEMORY and nothing is kept; an abort makes room."""
    c = Cached(pages=300, frames=160)
    c.read(0)
    fails(Status.NO_MEMORY, c.run, c.cache.lists.prepare_write(c.section, 0, 300 * PAGE_SIZE))
    assert not c.cache.lists.count
    most = c.memory.physical.available - RESERVE
    made = c.run(c.cache.lists.prepare_write(c.section, 0, most * PAGE_SIZE))
    assert c.memory.physical.available == RESERVE
    fails(Status.NO_MEMORY, c.run, c.cache.lists.prepare_write(c.section, 0, 3 * PAGE_SIZE))
    fails(Status.NO_MEMORY, c.run, c.cache.lists.read(c.section, at(9), 4 * PAGE_SIZE))
    c.check()
    c.cache.lists.write_abort(made)
    assert c.read(0, 300) == c.data
    c.check()


@pytest.mark.parametrize("k", range(1, 5))
def test_the_kth_read_fails(k: int) -> None:
    """Of a completion whose first and last page keep some bytes: nothing has changed, the list is
    open, and the next completion works.
    """
    c = Cached(pages=20)
    c.write(5, b"old ")
    c.pager.fail_at = k
    made = None
    try:
        read = c.run(c.cache.lists.read(c.section, at(9), PAGE_SIZE))
        c.cache.lists.read_complete(read)
        made = c.run(c.cache.lists.prepare_write(c.section, at(3, 10), 3 * PAGE_SIZE))
        made.frames.fill(b"x" * made.length)
        c.run(c.cache.lists.write_complete(made))
    except StatusError as error:
        assert error.status == Status.IO_DEVICE_ERROR
        assert c.cache.lists.count == (made is not None) and not c.section.is_locked(0)
        assert c.section.dirty == 1
        c.check()
    if made is not None and made.open:
        c.run(c.cache.lists.write_complete(made))
    if made is not None:
        expected = c.data[at(3) : at(3, 10)] + b"x" * made.length + c.data[at(6, 10) : at(7)]
        assert c.read(3, 4) == expected
    c.check()


def test_a_write_through_that_fails_is_told_and_kept() -> None:
    """The list is completed, its pages are dirty, and the next flush writes them."""
    c = Cached(pages=4)
    made = c.run(c.cache.lists.prepare_write(c.section, at(1), PAGE_SIZE))
    made.frames.fill(b"x" * made.length)
    c.pager.broken = {"write"}
    fails(Status.IO_DEVICE_ERROR, c.run, c.cache.lists.write_complete(made, through=True))
    assert not made.open and c.section.dirty == 1
    c.pager.broken = set()
    c.run(c.cache.flush(c.section))
    assert c.pager.data[at(1) : at(2)] == b"x" * PAGE_SIZE
    c.check()
