"""Threads that change pages of one section by different interfaces at once, each its own pages, in
the same views: what each finds is what it has put there, and in the end the pager has all of it.
"""

from __future__ import annotations

import random
from contextlib import nullcontext

import pytest

from octavo.machine.abi import PAGE_SIZE
from octavo.machine.frames import Frames
from octavo.status import Status, StatusError
from tests.cache.caches import Cached, at
from tests.preempted import preempted

THREADS, OWN, STEPS = 4, 6, 40


class Worker:
    """A thread that has every fourth stretch of six pages."""

    def __init__(self, c: Cached, number: int, seed: int) -> None:
        self.c, self.random = c, random.Random(seed * 10 + number)
        self.stretches = [(n * THREADS + number) * OWN for n in range(6)]
        valid = c.data[: min(c.section.valid, len(c.data))].ljust(len(c.data), b"\0")
        self.model = {page: valid[at(page) : at(page + 1)] for page in self._pages()}
        self.buffer = c.frames(OWN)
        self.done = 0

    def _pages(self) -> list[int]:
        return [first + i for first in self.stretches for i in range(OWN)]

    async def run(self) -> None:
        """Its steps; before each the pages of a stretch are as it left them."""
        c, cache = self.c, self.c.cache
        for step in range(STEPS):
            first = self.random.choice(self.stretches)
            count = self.random.randrange(1, OWN)
            data = b"".join(self.model[first + i] for i in range(OWN))
            found = await cache.copy_read(c.section, at(first), OWN * PAGE_SIZE)
            assert found == data, f"step {step}: pages from {first} on are not as they were left"
            fill = bytes([self.random.randrange(1, 256)]) * (count * PAGE_SIZE)
            how = self.random.choice([self._copy, self._pin, self._list, self._past, self._flush])
            if await how(first, fill):
                for i in range(count):
                    self.model[first + i] = fill[:PAGE_SIZE]
            self.done += 1

    async def _copy(self, first: int, data: bytes) -> bool:
        cache = self.c.cache
        if self.random.random() < 0.5 and cache.at_once.write(self.c.section, at(first), data):
            return True
        through = self.random.random() < 0.3
        await cache.copy_write(self.c.section, at(first), data, through)
        return True

    async def _pin(self, first: int, data: bytes) -> bool:
        blocks = self.c.cache.blocks
        block = await blocks.pin(self.c.section, at(first), len(data), self.random.random() < 0.5)
        await self.c.scheduler.sleep(0.002)
        blocks.part(block, at(first), len(data)).fill(data)
        blocks.set_dirty(block)
        if self.random.random() < 0.5:
            await blocks.unpin_through(block)
        else:
            blocks.unpin(block)
        return True

    async def _list(self, first: int, data: bytes) -> bool:
        lists = self.c.cache.lists
        made = await lists.prepare_write(self.c.section, at(first), len(data))
        made.frames.fill(data)
        await self.c.scheduler.sleep(0.002)
        if self.random.random() < 0.3:
            lists.write_abort(made)
            return False
        await lists.write_complete(made, self.random.random() < 0.5)
        return True

    async def _past(self, first: int, data: bytes) -> bool:
        frames: Frames = self.buffer.part(0, len(data))
        frames.fill(data)
        await self.c.cache.unbuffered.write(self.c.section, at(first), frames)
        return True

    async def _flush(self, first: int, data: bytes) -> bool:
        await self.c.cache.flush(self.c.section, at(first), len(data))
        try:
            await self.c.cache.purge_range(self.c.section, at(first), len(data))
        except StatusError as error:
            assert error.status == Status.USER_MAPPED_FILE
        return False


@pytest.mark.parametrize(("seed", "cpus"), [(1, 0), (2, 0), (3, 1), (4, 2), (5, 4)])
def test_threads_on_one_section(seed: int, cpus: int) -> None:
    """In memory that is too small for all of it, with somebody who trims; the ledger balances
    meanwhile.
    """
    with preempted(cpus) if cpus else nullcontext():
        c = Cached(pages=THREADS * OWN * 6, frames=260, seed=seed)
        if seed > 1:  # most of it is zeros that nobody has written
            size = len(c.data)
            c.run(c.cache.sizes.set(c.section, size, size, at(3, 100)))
        workers = [Worker(c, number, seed) for number in range(THREADS)]

        async def all_at_once() -> None:
            threads = [c.scheduler.spawn(w.run(), f"worker {i}") for i, w in enumerate(workers)]
            while not all(thread.finished.signalled for thread in threads):
                await c.scheduler.sleep(0.003)
                c.memory.pageout.trim(40)
                c.check()
            for thread in threads:
                await thread.join()

        c.run(all_at_once())
        assert all(w.done == STEPS for w in workers)
        assert not (c.cache.locked.count or c.cache.blocks.count or c.cache.lists.count)
        c.run(c.cache.sizes.reach(c.section, len(c.data)))
        c.run(c.cache.flush(c.section))
        for worker in workers:
            for page, data in worker.model.items():
                assert c.pager.data[at(page) : at(page + 1)] == data, f"page {page} of the pager"
        c.check()
