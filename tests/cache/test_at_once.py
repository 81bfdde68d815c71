"""Copies that do not wait, ranges that are flushed and purged, and NT's cases 88 and 89."""

from __future__ import annotations

import pytest

from octavo.machine.abi import PAGE_SIZE
from octavo.memory.frames.physical import RESERVE
from octavo.memory.pages.section import VIEW_SIZE, Section
from octavo.status import Status
from octavo.testing.bytespager import BytesPager
from tests.cache.caches import Cached, at
from tests.machines import fails


def test_nothing_is_written_without_a_request() -> None:
    """Case 88: no byte, no I/O, and no page."""
    c = Cached()
    c.run(c.cache.copy_write(c.section, 100, b""))
    assert c.cache.at_once.write(c.section, 100, b"")
    assert not c.pager.requests and not c.section.segments and not c.section.dirty


def test_a_buffer_that_is_none_is_refused() -> None:
    """Case 89: INVALID_USER_BUFFER, and nothing was read, written, or marked."""
    c = Cached()
    for data in (None, "text", 5):
        fails(Status.INVALID_USER_BUFFER, c.run, c.cache.copy_write(c.section, 0, data))  # type: ignore[arg-type]  # that is what is tried
        fails(Status.INVALID_USER_BUFFER, c.cache.at_once.write, c.section, 0, data)
    assert not c.pager.requests and not c.section.dirty


def test_what_is_absent_is_begun_to_be_read() -> None:
    """None, once a request, however often it is asked for; then all of it. What has left the view
    is had at once.
    """
    c = Cached(pages=200, frames=900)
    once = c.cache.at_once
    wanted = at(120), 16 * PAGE_SIZE
    for _ in range(5):
        assert once.read(c.section, *wanted) is None
    c.sleep()
    assert c.pager.requests == [(120, 8), (128, 8)]
    assert once.read(c.section, *wanted) == c.data[at(120) : at(136)]
    c.memory.pageout.trim(1000)
    assert c.memory.physical.standby.count == 16
    assert once.read(c.section, *wanted) == c.data[at(120) : at(136)]
    assert len(c.pager.requests) == 2
    assert once.read(c.section, at(199, 4000), 500) is None
    c.sleep()
    assert once.read(c.section, at(199, 4000), 500) == c.data[-96:]
    assert once.read(c.section, at(200), 5) == b""
    c.check()


def test_what_a_read_has_failed_with_is_told_once() -> None:
    """To who asks next; then it is tried again."""
    c = Cached()
    c.pager.fail_at = 1
    assert c.cache.at_once.read(c.section, at(3), 10) is None
    c.sleep()
    fails(Status.IO_DEVICE_ERROR, c.cache.at_once.read, c.section, at(3), 10)
    assert c.cache.at_once.read(c.section, at(3), 10) is None
    c.sleep()
    assert c.cache.at_once.read(c.section, at(3), 10) == b"   3   3  "
    c.check()


def test_a_write_at_once_is_whole_or_not_at_all() -> None:
    """Pages that keep bytes are read first, and nothing is written until then; others need not
    be.
    """
    c = Cached()
    once, data = c.cache.at_once, b"x" * (3 * PAGE_SIZE)
    assert not once.write(c.section, at(3, 10), data) and not c.memory.writeback.dirty
    assert not once.write(c.section, at(3, 10), data) and not c.memory.writeback.dirty
    c.sleep()
    assert once.write(c.section, at(3, 10), data)
    assert c.section.dirty == 4 and sum(n for _, n in c.pager.requests) == 2
    assert c.read(3, 4) == c.data[at(3) : at(3, 10)] + data + c.data[at(6, 10) : at(7)]
    assert once.write(c.section, at(10), bytes(at(2))) and once.write(c.section, at(64), b"end")
    assert c.section.size == at(64, 3) and len(c.pager.requests) == 2
    assert c.read(64) == b"end"
    c.check()


def test_a_write_at_once_does_not_wait_for_frames_or_writers() -> None:
    """Where there is no frame, and where writers are held up, the answer is False, and nothing is
    changed; later it is True.
    """
    for beyond in (0, 1):
        c = Cached(pages=0, frames=160)
        c.cache.writers.most_dirty = 1000
        c.run(c.cache.copy_write(c.section, 0, b"x"))
        room = c.memory.physical.available - RESERVE
        data = bytes((room + beyond) * PAGE_SIZE)
        assert c.cache.at_once.write(c.section, PAGE_SIZE, data) != beyond
        assert c.section.resident() == 1 + room * (not beyond)
        c.check()
    c = Cached(pages=0, frames=160)
    once, page = c.cache.at_once, 0
    while once.write(c.section, at(page), bytes(PAGE_SIZE)):
        page += 1
        assert page <= c.cache.writers.most_dirty
    assert page == c.cache.writers.most_dirty == c.section.dirty
    c.sleep(3)
    assert once.write(c.section, at(page), bytes(PAGE_SIZE))
    c.check()


def test_ranges_are_flushed_and_purged() -> None:
    """Only their pages; what is purged is what the pager has, also where it was dirty."""
    c = Cached(pages=300, frames=900)
    for page in (2, 5, 130, 200):
        c.write(page)
    c.run(c.cache.flush(c.section, at(5, 100), at(130)))
    assert c.section.dirty == 2 and c.pager.data[at(5) : at(5, 4)] == b"new "
    assert c.run(c.cache.purge_range(c.section, at(2, 1), at(250)))
    assert c.section.dirty == 1 and c.read(200)[:4] == b" 200" and c.read(2)[:4] == b"new "
    assert c.run(c.cache.purge_range(c.section, at(1), at(2)))
    assert not c.section.dirty and c.read(2)[:4] == b"   2"
    c.run(c.cache.flush(c.section, 0, 0))
    c.check()


@pytest.mark.parametrize("through", [False, True])
def test_write_through_returns_when_the_pager_has_it(through: bool) -> None:
    """Its range, and no more; its error is the writer's, and the data is dirty still."""
    c = Cached()
    c.write(9)
    c.run(c.cache.copy_write(c.section, at(3, 5), b"through", through=through))
    assert (c.pager.data[at(3, 5) : at(3, 12)] == b"through") == through
    assert c.section.dirty == (1 if through else 2)
    c.pager.broken = {"write"}
    call = c.cache.copy_write(c.section, at(3, 5), b"again!!", through=through)
    if through:
        fails(Status.IO_DEVICE_ERROR, c.run, call)
    else:
        c.run(call)
    assert c.section.dirty == 2 and c.read(3)[5:12] == b"again!!"
    c.check()


def test_views_are_bounded_and_counted() -> None:
    """As many as there may be, and one more takes the place of another; what is kept is counted,
    too.
    """
    c = Cached(pages=0)
    c.cache.views.most = 4
    section = Section("large", BytesPager(c.scheduler, bytearray()), None, 100 * VIEW_SIZE)
    for index in range(9):
        c.run(c.cache.copy_read(section, index * VIEW_SIZE, 10))
        told = c.cache.statistics()
        assert told.views == min(index + 1, 4) and told.address_space == told.views * VIEW_SIZE
        c.check()
    assert told.most_address_space == 4 * VIEW_SIZE
    block = c.run(c.cache.blocks.map(section, 0, 2 * PAGE_SIZE))
    made = c.run(c.cache.lists.prepare_write(section, 0, 10))
    told = c.cache.statistics()
    assert (told.locked_pages, told.blocks, told.lists) == (2, 1, 1)
    c.cache.blocks.unpin(block)
    c.cache.lists.write_abort(made)
