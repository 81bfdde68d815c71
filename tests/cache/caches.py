"""A cache with one section, kept by a pager that is slow, and what was asked of it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from octavo.machine.abi import PAGE_SIZE
from octavo.machine.frames import Frames
from octavo.memory.pages.section import Section
from octavo.testing.bytespager import BytesPager
from tests.memory.memories import make_machine

T = TypeVar("T")


class Cached:
    """A section of so many pages, page n of which begins with n; none of them is in memory."""

    def __init__(self, pages: int = 64, frames: int = 600, seed: int = 0) -> None:
        self.scheduler, self.memory, self.cache = make_machine(frames, seed)
        data = b"".join(b"%4d" % page * (PAGE_SIZE // 4) for page in range(pages))
        self.pager = BytesPager(self.scheduler, bytearray(data))
        self.section = Section("s", self.pager, None, len(data))
        self.data = data

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Drives a coroutine to its end."""
        return self.scheduler.run(coroutine)

    def read(self, page: int, pages: int = 1) -> bytes:
        """Pages, by the cache."""
        return self.run(self.cache.copy_read(self.section, page * PAGE_SIZE, pages * PAGE_SIZE))

    def write(self, page: int, data: bytes = b"new ") -> None:
        """A page, by the cache."""
        data = data * (PAGE_SIZE // len(data))
        self.run(self.cache.copy_write(self.section, page * PAGE_SIZE, data))

    def frames(self, count: int) -> Frames:
        """Frames in a row that are somebody else's."""
        first = self.memory.allocate_contiguous(count)
        return Frames.of(self.memory.ram, range(first, first + count))

    def check(self) -> None:
        """The whole ledger."""
        self.memory.check()
        self.cache.check()

    def sleep(self, seconds: float = 1.0) -> None:
        """What was begun ends."""
        self.run(self.scheduler.sleep(seconds))


def at(page: int, byte: int = 0) -> int:
    """Where a byte of a page is."""
    return page * PAGE_SIZE + byte
