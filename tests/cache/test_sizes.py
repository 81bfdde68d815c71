"""Sizes of sections, by NT's cases 97 and 98, and what is valid of them."""

from __future__ import annotations

import pytest

from octavo.cache.sizes import NOT_CACHED
from octavo.machine.abi import PAGE_SIZE
from octavo.memory.pages.section import VIEW_SIZE
from octavo.status import Status, StatusError
from tests.cache.caches import Cached, at
from tests.machines import Machine, MemoryFile, fails
from tests.memory.spaces.views import show


def sizes(c: Cached, allocation: int, size: int, valid: int) -> None:
    """Sets them, and they are so."""
    c.run(c.cache.sizes.set(c.section, allocation, size, valid))
    assert c.cache.sizes.get(c.section) == (allocation, size, valid)
    c.check()


def test_growing_keeps_what_is_dirty_and_reads_what_is_new() -> None:
    """Case 97: nothing is written, and what the pager has of the new bytes is read from it."""
    c = Cached(pages=8)
    c.section.size = at(4)
    c.write(1, b"dirty   ")
    sizes(c, at(8), at(8), at(8))
    assert c.section.dirty == 1 and c.pager.faults.numbers["write"] == 0
    assert c.read(1, 2)[:PAGE_SIZE] == b"dirty   " * 512
    assert c.read(4, 4) == c.data[at(4) : at(8)] and c.pager.requests[-1] == (4, 4)


def test_what_is_flushed_of_the_valid_bytes() -> None:
    """Case 98: without a page in memory the largest number, 0 while page 0 is dirty, the place of
    the first dirty page; all that is valid when all is flushed.
    """
    c = Cached(pages=80)
    told = c.cache.sizes.flushed_valid_data
    assert told(c.section) == NOT_CACHED == 0x7FFFFFFFFFFFFFFF
    c.write(64)
    assert told(c.section) == 256 << 10
    c.write(0)
    assert told(c.section) == 0
    c.run(c.cache.flush(c.section, 0, PAGE_SIZE))
    assert told(c.section) == 256 << 10
    c.run(c.cache.flush(c.section))
    assert told(c.section) == at(80)
    sizes(c, at(80), at(80), at(70, 5))
    assert told(c.section) == at(70, 5)


def test_what_is_not_valid_is_zeros_and_not_asked_for() -> None:
    """Behind the valid bytes, to the byte; what is written behind them is written with the zeros
    before it, and then all of it is valid.
    """
    c = Cached(pages=8)
    sizes(c, at(8), at(8), at(2, 100))
    valid = c.data[: at(2, 100)]
    assert c.read(0, 8) == valid + bytes(at(8) - at(2, 100)) and c.pager.requests == [(0, 3)]
    c.run(c.cache.copy_write(c.section, at(5, 10), b"x" * 10))
    assert c.cache.sizes.get(c.section).valid == at(5, 20)
    c.run(c.cache.flush(c.section))
    expected = valid + bytes(at(5, 10) - at(2, 100)) + b"x" * 10
    assert c.pager.data[: at(5, 20)] == expected, "there is a gap"
    c.run(c.cache.purge_range(c.section, 0, at(8)))
    assert c.read(0, 8) == expected + bytes(at(8) - at(5, 20))
    c.run(c.cache.sizes.reach(c.section, at(8)))
    c.run(c.cache.flush(c.section))
    assert c.pager.data == c.read(0, 8) and c.cache.sizes.get(c.section).valid == at(8)


def test_valid_bytes_are_raised_and_lowered() -> None:
    """Raised, what the pager has is read, but not over what is dirty; lowered, all behind is
    zeros.
    """
    c = Cached(pages=8)
    sizes(c, at(8), at(8), at(2))
    assert c.read(3, 3) == bytes(3 * PAGE_SIZE) and not c.pager.requests
    sizes(c, at(8), at(8), at(5))
    assert c.read(3, 3) == c.data[at(3) : at(5)] + bytes(PAGE_SIZE)
    c.write(4, b"dirty   ")
    sizes(c, at(8), at(8), at(3, 7))
    assert c.read(3, 3) == c.data[at(3) : at(3, 7)] + bytes(3 * PAGE_SIZE - 7)
    assert not c.section.dirty


def test_shrinking_drops_and_what_cannot_be_is_refused() -> None:
    """Pages behind the end go, dirty or not; sizes that are none, and a cut through pinned pages,
    change nothing.
    """
    c = Cached(pages=8)
    c.write(6)
    sizes(c, at(4), at(3, 5), at(3, 5))
    assert not c.section.dirty and c.section.size == at(3, 5)
    block = c.run(c.cache.blocks.map(c.section, at(2), PAGE_SIZE))
    for asked in ((at(4), at(1), at(1)), (at(4), at(3, 5), at(2))):
        fails(Status.USER_MAPPED_FILE, c.run, c.cache.sizes.set(c.section, *asked))
    for asked in ((5, 6, 5), (5, 5, 6), (-1, -1, -1), (1 << 63, 5, 5)):
        fails(Status.INVALID_PARAMETER, c.run, c.cache.sizes.set(c.section, *asked))
    assert c.cache.sizes.get(c.section) == (at(4), at(3, 5), at(3, 5))
    c.cache.blocks.unpin(block)
    c.check()


def test_what_is_mapped_is_valid() -> None:
    """A program writes without asking: a section that is mapped has no bytes that are not valid."""
    m = Machine(frames=500)
    file = MemoryFile(m, b"o" * 4 * PAGE_SIZE)
    base = show(m, file)
    m.run(m.cache.sizes.set(file.section, at(4), at(4), at(1)))
    assert m.cache.sizes.get(file.section).valid == at(4)
    m.write(base + at(3), b"by a view")
    m.run(m.cache.flush(file.section))
    assert file.pager.data[at(1) : at(3, 9)] == bytes(2 * PAGE_SIZE) + b"by a view"
    m.check()


@pytest.mark.parametrize("k", range(1, 4))
def test_the_kth_write_of_zeros_fails(k: int) -> None:
    """Bytes that are to be valid, and are not: what was written is, the rest is zeros still, and
    the next try reaches its end.
    """
    c = Cached(pages=700)
    sizes(c, at(700), at(700), at(1, 10))
    c.pager.faults.plan = lambda verb, n: verb == "write" and n == k
    try:
        c.run(c.cache.copy_write(c.section, at(690), b"behind"))
    except StatusError as error:
        assert error.status == Status.IO_DEVICE_ERROR
        assert at(1) <= c.section.valid < at(690)
        c.check()
        assert c.read(690)[:6] == bytes(6)
        c.run(c.cache.copy_write(c.section, at(690), b"behind"))
    c.pager.faults.plan = lambda verb, n: False
    c.run(c.cache.flush(c.section))
    c.run(c.cache.purge_range(c.section, 0, at(700)))
    assert c.read(0, 600) == c.data[: at(1, 10)] + bytes(at(600) - at(1, 10))
    assert c.run(c.cache.copy_read(c.section, at(690), 8)) == b"behind\0\0"
    assert at(690) > VIEW_SIZE
    c.check()
