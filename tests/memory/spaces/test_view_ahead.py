"""What a program's way through a mapped file costs, in requests to the pager and in faults that it
waits for.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from octavo.machine.abi import PAGE_SIZE
from octavo.machine.mmu import reference
from octavo.memory.reclaim.profiles import make_profile
from octavo.memory.spaces.advice import Advice
from tests.machines import Machine, MemoryFile
from tests.memory.spaces.views import show

PAGES = 1024


def walk(
    pages: Iterable[int], advice: Advice = Advice.NORMAL, frames: int = 1250, cluster: int = 16
) -> tuple[MemoryFile, int]:
    """A program that touches pages of a file and needs 20 ms for each; how many of its faults
    waited.
    """
    machine = Machine(frames=frames, profile=make_profile("nt", cluster=cluster))
    file = MemoryFile(machine, b"".join(b"%4d" % n * (PAGE_SIZE // 4) for n in range(PAGES)))
    base = show(machine, file, advice)
    waited = 0
    for page in pages:
        before = machine.scheduler.clock.now()
        assert machine.read(base + page * PAGE_SIZE, 4) == b"%4d" % page
        waited += machine.scheduler.clock.now() > before
        machine.run(machine.scheduler.sleep(0.02))
    machine.check()
    return file, waited


def pages_in(file: MemoryFile) -> int:
    """Pages that were asked for in all."""
    return sum(count for _, count in file.pager.requests)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_steady_reader_is_fetched_for(sign: int) -> None:
    """After the clusters of his first faults a request for up to 128 pages, and none is waited for;
    no page is asked for twice.
    """
    file, waited = walk(range(PAGES)[::sign])
    assert waited == 6 and pages_in(file) == PAGES
    assert len(file.pager.requests) <= 18 and max(n for _, n in file.pager.requests) == 128


def test_advice_decides() -> None:
    """Who says that he goes on is followed as soon; at random nothing is fetched, nor by a profile
    whose faults bring in one page.
    """
    file, waited = walk(range(PAGES), Advice.SEQUENTIAL)
    assert waited == 6 and len(file.pager.requests) <= 18
    file, waited = walk(range(PAGES - 1, -1, -1), Advice.REVERSE)
    assert waited == 6 and len(file.pager.requests) <= 18
    file, waited = walk(range(200), Advice.RANDOM)
    assert waited == len(file.pager.requests) == 200
    file, waited = walk(range(200), cluster=1)
    assert waited == len(file.pager.requests) == 200


@pytest.mark.parametrize("sign", [1, -1])
def test_a_dense_stride(sign: int) -> None:
    """A page in six: by clusters, and then ahead, as if all of them were touched."""
    file, waited = walk(range(3, PAGES, 6)[::sign])
    assert waited <= 10 and len(file.pager.requests) <= 22 and pages_in(file) <= PAGES


@pytest.mark.parametrize("sign", [1, -1])
def test_a_wide_stride(sign: int) -> None:
    """A page in forty: only these pages but for the first faults, and from the fourth on before
    they are touched.
    """
    places = range(7, PAGES, 40)[::sign]
    file, waited = walk(places)
    assert waited <= 4 and pages_in(file) <= len(places) + 8
    assert len(file.pager.requests) <= len(places)


def test_at_random_nothing_is_fetched() -> None:
    """Jumps bring in four pages, after some of them one."""
    places = [(page * 389 + 5) % PAGES for page in range(50)]
    file, waited = walk(places)
    assert waited >= 48 and pages_in(file) <= 50 + 4 * 3


def test_references_in_bulk_are_followed_too() -> None:
    """Pages that were fetched are mapped by a kernel; where they end the next fault goes on."""
    machine = Machine(frames=1250)
    file = MemoryFile(machine, bytes(PAGES * PAGE_SIZE))
    base = show(machine, file)
    for page in range(0, PAGES, 8):
        trace = np.array([reference(base + (page + i) * PAGE_SIZE) for i in range(8)], np.int64)
        machine.run(machine.virtual.run(machine.space, trace))
        machine.run(machine.scheduler.sleep(0.02))
    assert len(file.pager.requests) <= 28 and pages_in(file) == PAGES
    assert machine.virtual.bulk.soft > PAGES * 3 // 4
    machine.check()


def test_little_memory_is_not_filled_ahead() -> None:
    """A file of six times memory: what is fetched is used, and none of it is fetched twice."""
    file, _ = walk(range(PAGES), frames=180)
    assert pages_in(file) <= PAGES + 32


def test_a_view_that_ends_is_fetched_for_no_more() -> None:
    """Its pages and its segment are given back, also those that come meanwhile."""
    machine = Machine(frames=1250)
    file = MemoryFile(machine, bytes(PAGES * PAGE_SIZE))
    base = show(machine, file)
    for page in range(100):
        machine.touch(base + page * PAGE_SIZE)
    machine.space.unmap(base)
    machine.check()
    machine.run(machine.scheduler.sleep(1))
    machine.check()
    assert pages_in(file) < 400
