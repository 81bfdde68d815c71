"""Writes behind the valid length: what lies before them is zeros, and what was written stays,
whoever else writes there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from octavo.cache.sizes import Sizes
from octavo.machine.abi import PAGE_SIZE
from octavo.machine.frames import Frames
from tests.cache.caches import Cached, at

FAR, NEAR, LONG = 600, 300, 8192


async def write(c: Cached, how: str, place: int) -> None:
    """Two pages of N, by one of the interfaces."""
    cache, section, data = c.cache, c.section, b"N" * LONG
    if how in ("copy", "through"):
        await cache.copy_write(section, place, data, how == "through")
    elif how == "pin":
        block = await cache.blocks.pin(section, place, LONG)
        cache.blocks.part(block, place, LONG).fill(data)
        cache.blocks.set_dirty(block)
        cache.blocks.unpin(block)
    elif how == "list":
        made = await cache.lists.prepare_write(section, place, LONG)
        made.frames.fill(data)
        await cache.lists.write_complete(made)
    else:
        frames = c.frames(2)
        frames.fill(data)
        await cache.unbuffered.write(section, place, frames)


HOWS = ("copy", "through", "pin", "list", "past")


def all_of_it(c: Cached) -> bytes:
    """What the section has, once it has been with the pager."""
    c.run(c.cache.flush(c.section))
    c.run(c.cache.purge_range(c.section, 0, c.section.size))
    c.check()
    assert c.section.raising is None
    return c.run(c.cache.copy_read(c.section, 0, c.section.size))


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("delay", [0.0, 0.0005, 0.0015])
def test_zeros_go_over_nothing_that_was_written(how: str, delay: float) -> None:
    """One thread has zeros under way, up to where it writes; another one writes among them."""
    c = Cached(pages=FAR + 2, frames=900)
    c.run(c.cache.sizes.set(c.section, at(FAR + 2), at(FAR + 2), 0))

    async def near(place: int) -> None:
        await c.scheduler.sleep(delay)
        await write(c, how, place)

    async def both() -> None:
        places = (0, at(3), at(NEAR))
        threads = [c.scheduler.spawn(c.cache.copy_write(c.section, at(FAR), b"far"), "far")]
        threads += [c.scheduler.spawn(near(place), "near") for place in places]
        for thread in threads:
            await thread.join()

    c.run(both())
    expected = bytearray(at(FAR + 2))
    for place in (0, at(3), at(NEAR)):
        expected[place : place + LONG] = b"N" * LONG
    expected[at(FAR) : at(FAR, 3)] = b"far"
    assert all_of_it(c) == expected


@pytest.mark.parametrize("how", [*HOWS, "zero", "long zero"])
@pytest.mark.parametrize("size", [at(40), at(3)])
def test_what_lies_before_a_write_is_zeros(how: str, size: int) -> None:
    """Not what the medium had: from the valid bytes on, and from the end where that comes first."""
    c = Cached(pages=400)
    c.run(c.cache.sizes.set(c.section, at(400), size, at(1, 100)))
    if how in ("pin", "list") and size < at(20):
        c.run(c.cache.copy_write(c.section, at(20), bytes(1)))  # these let nothing grow so far
    if "zero" in how:
        length = LONG if how == "zero" else at(200)
        c.run(c.cache.unbuffered.zero(c.section, at(20), length))
        new = bytes(length)
    else:
        c.run(write(c, how, at(20)))
        new = b"N" * LONG
    got, start = all_of_it(c), c.data[: at(1, 100)]
    assert got[: at(20)] == start + bytes(at(20) - len(start))
    assert got[at(20) : at(20) + len(new)] == new[: len(got) - at(20)]


def test_what_cannot_wait_does_not_go_among_zeros() -> None:
    """Where somebody raises the valid length, an attempt to write or pin behind it is refused."""
    c = Cached(pages=600)
    c.run(c.cache.sizes.set(c.section, at(600), at(600), 0))
    assert c.read(0) == bytes(PAGE_SIZE)

    async def attempts() -> None:
        thread = c.scheduler.spawn(c.cache.sizes.reach(c.section, at(590)), "zeros")
        await c.scheduler.sleep(0.0005)
        assert c.section.raising is not None and c.section.valid == at(1)
        assert await c.cache.copy_read(c.section, at(1), 9) == bytes(9)  # now the page is there
        assert not c.cache.at_once.write(c.section, at(1), b"at once")
        assert c.cache.blocks.try_pin(c.section, at(1), PAGE_SIZE) is None
        await thread.join()
        assert c.cache.at_once.write(c.section, at(1), b"at once")

    c.run(attempts())
    assert all_of_it(c)[at(1) : at(1, 8)] == b"at once\0"


@pytest.mark.parametrize("cut", [True, False])
def test_sizes_that_are_set_while_zeros_are_written_stay(cut: bool) -> None:
    """A cut, or a lower valid length, comes after the zeros under way, which reach behind it."""
    c = Cached(pages=600)
    c.run(c.cache.sizes.set(c.section, at(600), at(600), 0))
    size = 10 if cut else at(600)

    async def both() -> None:
        thread = c.scheduler.spawn(c.cache.sizes.reach(c.section, at(590)), "zeros")
        await c.scheduler.sleep(0.0005)
        if cut:
            await c.cache.purge(c.section, size)
        else:
            await c.cache.sizes.set(c.section, size, size, 10)
        await thread.join()

    c.run(both())
    assert c.cache.sizes.get(c.section)[1:] == (size, 10)
    assert all_of_it(c) == bytes(size)


def test_what_was_pinned_before_is_not_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner changes it while whoever writes zeros waits for a frame to write them from."""
    c = Cached(pages=20)
    c.run(c.cache.sizes.set(c.section, at(20), at(20), at(1, 9)))
    block = c.run(c.cache.blocks.pin(c.section, at(1), at(3)))
    zeros = c.memory.zeros

    @asynccontextmanager
    async def late(length: int) -> AsyncIterator[Frames]:
        await c.scheduler.sleep(0.001)
        async with zeros(length) as frames:
            yield frames

    monkeypatch.setattr(c.memory, "zeros", late)

    async def both() -> None:
        thread = c.scheduler.spawn(c.cache.sizes.reach(c.section, at(15)), "zeros")
        await c.scheduler.sleep(0.0005)
        c.cache.blocks.part(block, at(1, 9), at(2)).fill(b"P" * at(2))
        c.cache.blocks.set_dirty(block)
        await thread.join()

    c.run(both())
    c.cache.blocks.unpin(block)
    assert all_of_it(c) == c.data[: at(1, 9)] + b"P" * at(2) + bytes(at(17) - 9)


def test_who_lets_a_section_grow_writes_the_zeros() -> None:
    """Valid as a whole, it has before what is written behind its end what the pager has there, but
    for the rest of its last page; zeros that are written first are there.
    """
    for first in (False, True):
        c = Cached(pages=20)
        c.section.size = 5000
        assert c.read(1)
        if first:
            c.run(c.cache.zero(c.section, 5000, at(10) - 5000))
        c.run(c.cache.copy_write(c.section, at(10), b"new"))
        gap = bytes(at(10) - 5000) if first else c.data[at(2) : at(10)]
        assert all_of_it(c)[: at(10)].endswith(gap)


def test_a_cut_lowers_the_valid_length() -> None:
    """What comes behind the new end, when the section grows again, was never valid."""
    c = Cached(pages=8)
    c.run(c.cache.sizes.set(c.section, at(8), at(8), at(8)))
    c.run(c.cache.purge(c.section, at(2, 9)))
    assert c.cache.sizes.get(c.section) == Sizes(at(8), at(2, 9), at(2, 9))
    assert c.section.valid == at(2, 9)
    c.section.size = at(8)
    assert c.read(0, 8) == c.data[: at(2, 9)] + bytes(at(6) - 9)
    c.check()
