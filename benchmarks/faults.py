"""Workloads of address spaces, timed once, for `benchmarks/virtual.py` and `benchmarks/rows.py`.

Devices are copies in memory, and what is spent in them is not counted. All times are seconds.
"""

from __future__ import annotations

import os
import time
import weakref
from dataclasses import replace
from typing import Any

import numpy as np

from octavo.machine.abi import PAGE_SIZE
from octavo.machine.clock import RealClock
from octavo.machine.mmu import reference
from octavo.machine.mmukernels import WRITE
from octavo.machine.paging import FORMATS
from octavo.machine.ram import Ram
from octavo.memory.manager import MemoryManager
from octavo.memory.pages.section import ORDINARY, Section
from octavo.memory.spaces.addressspace import Allocate
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.protect import Protect
from octavo.memory.spaces.virtual import VirtualMemory
from octavo.threads.scheduler import Scheduler

CLUSTER = 16  # pages that a hard fault on a view brings


class Machine:
    """A machine of so many frames, and one space with `pages` committed.

    It ends with its last reference.
    """

    def __init__(self, frames: int, pages: int) -> None:
        database = -(-(frames + 4096) * 32 // PAGE_SIZE)
        self.frames = frames
        self.scheduler = Scheduler(RealClock(), 0)
        weakref.finalize(self, self.scheduler.close)
        end, described = frames + database + 1, (frames + 1, database)
        self.memory = MemoryManager(Ram(end), end, [(1, frames)], described, self.scheduler)
        self.virtual = VirtualMemory(self.memory, FORMATS["x86-64"])
        self.space = self.virtual.create("init")
        self.base, _ = self.space.allocate(0, pages * PAGE_SIZE, Allocate.COMMIT)

    def bring(self) -> None:
        """Touches the host's memory of all frames, but not that of the PFN database behind them."""
        self.memory.ram.array[PAGE_SIZE : (self.frames + 1) * PAGE_SIZE] = 0

    def write(self, pages: int) -> float:
        """One write to each page that is not there yet, by references: kernels take the faults."""
        addresses = range(self.base, self.base + pages * PAGE_SIZE, PAGE_SIZE)
        refs = np.array([reference(address, WRITE) for address in addresses], np.int64)
        start = time.perf_counter()
        faults = self.scheduler.run(self.virtual.run(self.space, refs))
        took = time.perf_counter() - start
        assert faults == pages
        return took

    def touch(self, pages: int) -> float:
        """The same by the executive."""
        run, touch, before = self.scheduler.run, self.space.touch, self.space.faults
        start = time.perf_counter()
        for address in range(self.base, self.base + pages * PAGE_SIZE, PAGE_SIZE):
            run(touch(address, WRITE))
        took = time.perf_counter() - start
        assert self.space.faults - before == pages
        return took

    def fork(self) -> float:
        """A fork of the space; the child is destroyed again."""
        start = time.perf_counter()
        child = self.virtual.fork(self.space, "child")
        took = time.perf_counter() - start
        self.virtual.destroy(child)
        return took


def demand_zero(executive: bool, pages: int) -> float:
    """A demand-zero fault on each of so many pages, with page tables, PFN entries and zeroing.

    The host's memory is touched before.
    """
    machine = Machine(pages + pages // 4, pages)
    machine.bring()
    return machine.touch(pages) if executive else machine.write(pages)


def forkable(pages: int) -> Machine:
    """A machine whose space has so many pages in frames, and which can promise them to a child."""
    machine = Machine(2 * pages + pages // 4 + 8192, pages)
    machine.write(pages)
    return machine


class Store:
    """A page file in memory; `inside` is the time spent here."""

    name = "copy"

    def __init__(self, pages: int) -> None:
        self.size = pages * PAGE_SIZE
        self.data = bytearray(self.size)
        self.inside = 0.0

    async def submit(self, requests: Any) -> None:
        """Copies."""
        start = time.perf_counter()
        for op, place, frames in requests:
            if op == 0:
                frames.fill(memoryview(self.data)[place : place + frames.length])
            else:
                self.data[place : place + frames.length] = frames.read()
        self.inside += time.perf_counter() - start


class Paged:
    """A machine with a page file, and so many private pages in frames."""

    def __init__(self, pages: int) -> None:
        self.machine = Machine(2 * pages, pages)
        self.store = Store(pages)
        self.machine.virtual.add_page_file(self.store)
        self.machine.write(pages)
        self.order = [int(page) for page in np.random.default_rng(1).permutation(pages)]

    def evict(self) -> float:
        """All pages leave, outside of the page file."""
        run, eviction = self.machine.scheduler.run, self.machine.virtual.eviction
        self.store.inside, start = 0.0, time.perf_counter()
        while run(eviction.evict(256)):
            pass
        return time.perf_counter() - start - self.store.inside

    def read(self) -> float:
        """One of the hard faults that bring all pages back in random order, outside the page file.

        Most of them bring 16 pages; a page that came with another is not counted.
        """
        run, space = self.machine.scheduler.run, self.machine.space
        self.store.inside, took, faults = 0.0, 0.0, 0
        for page in self.order:
            before = space.faults
            start = time.perf_counter()
            run(space.touch(self.machine.base + page * PAGE_SIZE))
            if space.faults > before:
                took += time.perf_counter() - start
                faults += 1
        return (took - self.store.inside) / faults


class CopyPager:
    """Keeps a section's pages in a bytearray, without waiting; `inside` is the time spent here. It
    is not asked for pages ahead of faults.
    """

    traits = replace(ORDINARY, lazy=False) if ORDINARY else ORDINARY  # older trees have none

    def __init__(self, pages: int) -> None:
        self.data = bytearray(os.urandom(1 << 12)) * pages
        self.inside = 0.0

    async def data_request(self, section: Any, page: int, frames: Any, need: range) -> None:
        """Copies."""
        start = time.perf_counter()
        at = page * PAGE_SIZE
        frames.fill(memoryview(self.data)[at : at + frames.length])
        self.inside += time.perf_counter() - start

    async def data_return(self, runs: Any) -> list[Any]:
        """Nothing is written here."""
        return [None] * len(runs)


class CopyFile:
    """A file of so many pages that can be mapped."""

    path, writable = "copy", False

    def __init__(self, pages: int) -> None:
        self.pager = CopyPager(pages)
        self.section = Section("copy", self.pager, None, pages * PAGE_SIZE)

    def duplicate(self) -> CopyFile:
        """Itself."""
        return self

    async def prepare_mapping(self) -> None:
        """Nothing to prepare."""

    async def grow(self, size: int) -> None:
        """Is not done."""

    async def close(self) -> None:
        """Nothing to close."""


class Viewed:
    """A machine with a view of a file of so many pages, all of which have frames after `hard`.

    Each method ends without PTEs, so that each page faults again.
    """

    def __init__(self, pages: int) -> None:
        self.machine = Machine(pages + pages // 4, 1)
        self.pages, self.file = pages, CopyFile(pages)
        self.run, self.space = self.machine.scheduler.run, self.machine.space
        sections = self.machine.virtual.sections
        self.made = self.run(sections.create(0, Protect.READONLY, file=self.file))
        self.base, _ = self.space.map(self.made, protect=Protect.READONLY)
        self.run(self.space.advise(self.base, 1, Advice.SEQUENTIAL))
        self.refs = np.array([reference(self.base + i * PAGE_SIZE) for i in range(pages)], np.int64)

    def hard(self) -> float:
        """Hard faults on all pages, `CLUSTER` by each, outside of the device."""
        self.run(self.machine.memory.writeback.purge(self.made.section, 0))
        run, touch, faults = self.run, self.space.touch, self.machine.memory.faults
        self.file.pager.inside, before, start = 0.0, faults.hard, time.perf_counter()
        for page in range(0, self.pages, CLUSTER):
            run(touch(self.base + page * PAGE_SIZE))
        took = time.perf_counter() - start - self.file.pager.inside
        assert faults.hard - before == self.pages // CLUSTER
        self._forget()
        return took

    def soft(self, executive: bool) -> float:
        """Soft faults on all pages, one by each, taken by kernels or by the executive."""
        run, touch, faults = self.run, self.space.touch, self.machine.memory.faults
        addresses = [int(r) for r in self.refs] if executive else []
        before, start = faults.hard, time.perf_counter()
        if executive:
            for address in addresses:
                run(touch(address))
        else:
            run(self.machine.virtual.run(self.space, self.refs))
        took = time.perf_counter() - start
        assert faults.hard == before
        self._forget()
        return took

    def _forget(self) -> None:
        self.run(self.space.advise(self.base, self.pages * PAGE_SIZE, Advice.DONTNEED))
