"""What a reader's way costs, in requests to the pager and in what he waits for."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from octavo.cache.readahead import DENSE, MOST_PLACES, Advised, ReadAhead
from octavo.machine.abi import PAGE_SIZE
from octavo.memory.pagers.region import RegionPager, whole_device
from octavo.memory.pages.section import VIEW_SIZE, Section
from octavo.storage.ramdisk import RamDisk
from octavo.testing.modelled import FLASH, HARD_DISK, DiskModel, ModelledDisk
from tests.cache.caches import Cached, at
from tests.memory.memories import make_machine

VIEWS = 8
PAGES = VIEWS * 128


def follow(
    places: Iterable[int], length: int = PAGE_SIZE, advice: int | None = None, think: float = 0.02
) -> tuple[Cached, int]:
    """A reader of a file of eight views who needs some time for what he has read; how many times he
    had to wait.
    """
    c = Cached(pages=PAGES, frames=2500)
    history = ReadAhead() if advice is None else Advised(advice)
    waited = 0
    for place in places:
        before = c.scheduler.clock.now()
        data = c.run(c.cache.copy_read(c.section, place, length, history))
        assert data == c.data[place : place + length]
        waited += c.scheduler.clock.now() > before
        c.sleep(think)
    c.check()
    return c, waited


def pages_in(c: Cached) -> int:
    """Pages that were asked for in all."""
    return sum(pages for _, pages in c.pager.requests)


def test_forward() -> None:
    """A request a view, and only the first one is waited for; no page is asked for twice."""
    c, waited = follow(range(0, at(PAGES), PAGE_SIZE))
    assert len(c.pager.requests) == VIEWS and waited == 1 and pages_in(c) == PAGES
    assert c.cache.ahead.pages == c.cache.ahead.hits == PAGES - 128


def test_backward() -> None:
    """The same from the end: a page, the rest of its view, then a request a view before it is
    needed.
    """
    c, waited = follow(range(at(PAGES - 1), -1, -PAGE_SIZE))
    assert c.pager.requests[:2] == [(PAGES - 1, 1), (PAGES - 128, 127)]
    assert len(c.pager.requests) == VIEWS + 1 and waited == 2 and pages_in(c) == PAGES


def test_a_dense_stride() -> None:
    """Every second page, in either direction: by views, as if all of them were read."""
    c, waited = follow(range(at(3), at(PAGES), 2 * PAGE_SIZE))
    assert len(c.pager.requests) <= VIEWS + 2 and waited <= 3
    c, waited = follow(range(at(PAGES - 1), 0, -2 * PAGE_SIZE))
    assert len(c.pager.requests) <= VIEWS + 2 and waited <= 3


@pytest.mark.parametrize("sign", [1, -1])
def test_a_wide_stride(sign: int) -> None:
    """A page in twenty: only these pages are read, each once, and ahead of the reader from the
    fourth on, in either direction and over the edges of views.
    """
    places = range(at(3, 4000), at(PAGES - 2), 20 * PAGE_SIZE)[::sign]
    c, waited = follow(places, length=200)
    assert waited == 3 and pages_in(c) <= 2 * len(places) + 2 * MOST_PLACES
    assert sorted(set(c.pager.requests)) == sorted(c.pager.requests)
    alone, all_waited = follow(places, length=200, advice=0)
    assert all_waited == len(places) and len(c.pager.requests) <= 2 * len(alone.pager.requests)


def test_at_random_nothing_is_fetched() -> None:
    """Only what is asked for, though it may come in a row by chance."""
    places = [at((page * 389 + 5) % PAGES) for page in range(60)]
    c, waited = follow(places)
    assert waited == 60 and c.pager.requests == [(place >> 12, 1) for place in places]
    assert not c.cache.ahead.pages


def test_who_turns_is_followed() -> None:
    """Forward, then a jump, then backward, then forward again: each way is its own."""
    c, _ = follow([at(700), at(699), at(698), at(300), at(301), at(302), at(900)])
    assert c.pager.requests == [(700, 1), (640, 60), (300, 1), (301, 83), (900, 1)]


def test_who_says_his_way_is_believed() -> None:
    """From the first read on; a reader at random gets nothing more than he asks for."""
    c, _ = follow([at(200), at(201)], advice=1)
    assert c.pager.requests == [(200, 56)]
    c, _ = follow([at(200), at(199)], advice=-1)
    assert c.pager.requests == [(128, 73)]
    c, _ = follow([0, at(1), at(2)], advice=0)
    assert c.pager.requests == [(0, 1), (1, 1), (2, 1)]


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_at_hand_is_not_fetched_ahead(sign: int) -> None:
    """Of a pager that does not wait one view in nine is; when it waits again, the next views
    are.
    """
    views = 40
    c = Cached(pages=views * 128, frames=8000)
    c.pager.slow, history = False, ReadAhead()
    for number, page in enumerate(range(0, views * 128, 16)[::sign]):
        c.pager.slow = number > 20 * 8
        c.run(c.cache.copy_read(c.section, at(page), 16 * PAGE_SIZE, history))
        c.sleep(0.01)
        if number == 20 * 8:
            assert 2 <= c.cache.ahead.pages / 128 <= 4
            c.cache.ahead.pages = 0
    assert 10 <= c.cache.ahead.pages / 128 <= 20 and len(c.pager.requests) <= views + 1
    c.check()


def test_little_is_fetched_while_memory_is_short() -> None:
    """A reader forward of more than memory: what is fetched ahead fits, and is used."""
    c = Cached(pages=PAGES, frames=320)
    history = ReadAhead()
    for page in range(PAGES):
        c.run(c.cache.copy_read(c.section, at(page), PAGE_SIZE, history))
    c.check()
    assert pages_in(c) <= PAGES + 128 and c.cache.ahead.hits == c.cache.ahead.pages


def seconds(model: DiskModel, step: int, way: int | None) -> float:
    """What a disk takes for a page at each step of a file."""
    scheduler, memory, cache = make_machine(4000)
    disk = ModelledDisk(RamDisk("disk", 8 * VIEW_SIZE, memory), scheduler, model)
    section = Section("disk", RegionPager(disk), whole_device(disk), disk.size)
    history = ReadAhead() if way is None else Advised(way)
    for place in range(PAGE_SIZE, disk.size, step):
        scheduler.run(cache.copy_read(section, place, PAGE_SIZE, history))
    scheduler.run(scheduler.sleep(1))
    cache.check()
    return disk.busy


@pytest.mark.parametrize("model", [HARD_DISK, FLASH])
def test_a_dense_stride_is_read_by_views(model: DiskModel) -> None:
    """Up to DENSE that costs a disk less time than a request for each place; on flash, twice as
    wide, it would cost more.
    """
    assert seconds(model, DENSE, None) < seconds(model, DENSE, 0)
    by_views, by_places = seconds(model, 2 * DENSE, 1), seconds(model, 2 * DENSE, 0)
    assert (by_views < by_places) == (model is HARD_DISK)
