"""Page files: where private pages go that are not in memory. Slots of a page each, on anything that
serves requests.

    entry of a page that is in a page file    slot << 12 | file << 4 | PAGED (bit 2), not present

A slot is used by one entry, or by several after a fork; the last one frees it. Slots are taken in
runs where there are any, so that a batch of pages is one stretch on the device.

A page file begins with some slots and grows, when all are used, by GROWTH or more of them up to a
maximum.

Source: NT (up to 16 page files). Departure: a page that comes back gives its slot up; it is written
again when it leaves again.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from octavo.arguments import invalid, numbers, shown
from octavo.machine.abi import PAGE_SHIFT, PRESENT
from octavo.machine.frames import Frames
from octavo.memory.pagers.medium import Op, Request
from octavo.printing import counted
from octavo.status import Status, StatusError
from octavo.threads.wait import Waiters, marks, preemption_point

if TYPE_CHECKING:
    from octavo.statistics import PageFilesStatistics

PAGED = 1 << 2
MOST_FILES = 16
GROWTH = 64
MOST_SLOTS = 1 << 20  # what an entry of 32 bits can name

SlotRun = tuple[int, int, int]  # file, first slot, slots


def is_paged(entry: int) -> bool:
    """True for the entry of a page in a page file."""
    return entry & (PRESENT | PAGED) == PAGED


class PageStore(Protocol):
    """Where a page file's bytes are: `octavo.storage.device.Device` is one."""

    name: str
    size: int

    def submit(self, requests: Sequence[Request]) -> Coroutine[Waiters, None, None]:
        """See `octavo.memory.pagers.medium.Medium`."""


class PageFiles:
    """The page files of one machine."""

    def __init__(self) -> None:
        self.stores: list[PageStore] = []
        self._uses: list[np.ndarray[tuple[int], np.dtype[np.int32]]] = []  # of each slot
        self._taken: list[bytearray] = []  # the same as 0 and 1, to search
        self._hints: list[int] = []
        self._most: list[int] = []
        self.grown = 0  # slots
        self._transfers: dict[
            object, Sequence[SlotRun]
        ] = {}  # runs of slots that use them, beside the entries that do
        self.free = 0
        self.spare: Callable[[int], int] = lambda wanted: (
            0
        )  # asked to free so many slots that somebody can do without; returns how many
        self.written = self.read = self.requests = self.errors = 0

    def add(self, store: PageStore, initial: int | None = None, maximum: int | None = None) -> int:
        """Puts a store to use, `initial` bytes of it at first and up to `maximum` (all of it, if
        not said); returns its slots at first.

        StatusError INVALID_PARAMETER_2 (initial), _3 (maximum), TOO_MANY_PAGING_FILES,
        INVALID_PARAMETER for a store without room or what is none.
        """
        if not isinstance(getattr(store, "size", None), int) or not callable(
            getattr(store, "submit", None)
        ):
            raise invalid(f"{shown(store)} cannot be a page file: it has no bytes")
        numbers(
            initial=0 if initial is None else initial, maximum=0 if maximum is None else maximum
        )
        slots = min(store.size >> PAGE_SHIFT, MOST_SLOTS)
        if len(self.stores) == MOST_FILES:
            raise StatusError(
                Status.TOO_MANY_PAGING_FILES,
                f"{store.name}: there are {MOST_FILES} page files already",
            )
        if not slots:
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"{store.name}: cannot be a page file: it has no room for a page",
            )
        most = slots if maximum is None else maximum >> PAGE_SHIFT
        first = most if initial is None else initial >> PAGE_SHIFT
        if not 0 < most <= slots:
            raise StatusError(
                Status.INVALID_PARAMETER_3,
                f"{store.name}: has room for {counted(slots, 'page')}, and the page file "
                f"may not grow to {most}",
            )
        if not 0 < first <= most:
            raise StatusError(
                Status.INVALID_PARAMETER_2,
                f"{store.name}: a page file that grows to {most} pages cannot begin with {first}",
            )
        self.stores.append(store)
        self._uses.append(np.zeros(first, np.int32))
        self._taken.append(bytearray(first))
        self._hints.append(0)
        self._most.append(most)
        self.free += first
        return first

    def grow(self, wanted: int) -> int:
        """Makes page files larger by `wanted` slots, GROWTH at least, as far as their maximums go;
        returns by how many.
        """
        grown = 0
        for file, most in enumerate(self._most):
            more = min(max(wanted - grown, GROWTH), most - len(self._taken[file]))
            if more > 0 and grown < wanted:
                self._uses[file] = np.concatenate([self._uses[file], np.zeros(more, np.int32)])
                self._taken[file].extend(bytes(more))
                grown += more
        self.free += grown
        self.grown += grown
        return grown

    @staticmethod
    def entry(file: int, slot: int) -> int:
        """The entry of a page in a slot."""
        return slot << PAGE_SHIFT | file << 4 | PAGED

    @staticmethod
    def place(entry: int) -> tuple[int, int]:
        """(file, slot) of such an entry."""
        return entry >> 4 & 0xF, entry >> PAGE_SHIFT

    @staticmethod
    def runs(entries: Iterable[int]) -> list[SlotRun]:
        """The slots of entries as runs, in their order."""
        out: list[SlotRun] = []
        for file, slot in map(PageFiles.place, entries):
            if out and (out[-1][0], sum(out[-1][1:])) == (file, slot):
                out[-1] = (file, out[-1][1], out[-1][2] + 1)
            else:
                out.append((file, slot, 1))
        return out

    def take(self, count: int) -> list[SlotRun]:
        """Up to `count` slots as runs (file, first, slots), the longest that can be had first; []
        when all are needed.
        """
        if count > self.free:
            self.spare(count - self.free)
        out = []
        while count and self.free:
            file, first, size = self._run(count)
            self._taken[file][first : first + size] = b"\1" * size
            self._uses[file][first : first + size] = 1
            self._hints[file] = first + size
            self.free -= size
            count -= size
            out.append((file, first, size))
        return out

    def _run(self, count: int) -> tuple[int, int, int]:
        """The place of a run of `count` free slots, or of half as many, and so on."""
        while True:
            for file, taken in enumerate(self._taken):
                for start in (self._hints[file], 0):
                    first = taken.find(bytes(count), start)
                    if first >= 0:
                        return file, first, count
            count = (count + 1) // 2

    def use(self, entry: int, change: int) -> None:
        """One entry more, or one less, leads to a slot; the last one frees it."""
        file, slot = self.place(entry)
        self._uses[file][slot] += change
        if not self._uses[file][slot]:
            self._taken[file][slot] = 0
            self.free += 1

    def drop(self, entry: int, count: int) -> None:
        """One entry less leads to each of `count` consecutive slots; the last one frees it."""
        file, slot = self.place(entry)
        self._drop(file, slot, slot + count)

    def _drop(self, file: int, slot: int, end: int) -> None:
        uses = self._uses[file][slot:end]
        uses -= 1
        for left in np.flatnonzero(uses == 0).tolist():
            self._taken[file][slot + left] = 0
            self.free += 1

    async def write(self, runs: Sequence[SlotRun], frames: Frames) -> None:
        """Writes pages into the slots of runs, each used once for that, one request for each file.
        StatusError, and what was written is not known.
        """
        at = 0
        by_file: dict[int, list[Request]] = {}
        for file, first, size in runs:
            part = frames.part(at << PAGE_SHIFT, size << PAGE_SHIFT)
            by_file.setdefault(file, []).append(Request(Op.WRITE, first << PAGE_SHIFT, part))
            at += size
        ticket = object()
        self._transfers[ticket] = runs
        try:
            for file, requests in by_file.items():
                self.requests += 1
                if marks.on:
                    await preemption_point()
                await self.stores[file].submit(requests)
        except StatusError:
            self.errors += 1
            raise
        finally:
            del self._transfers[ticket]
        self.written += at

    async def fetch(self, entry: int, frames: Frames) -> None:
        """Reads consecutive slots from an entry's on, which nobody else gets before that ends.
        StatusError IN_PAGE_ERROR.
        """
        file, slot = self.place(entry)
        self.requests += 1
        count = frames.length >> PAGE_SHIFT
        ticket, end = object(), slot + count
        self._transfers[ticket] = [(file, slot, count)]
        self._uses[file][slot:end] += 1
        try:
            if marks.on:
                await preemption_point()
            await self.stores[file].submit([Request(Op.READ, slot << PAGE_SHIFT, frames)])
        except StatusError as error:
            self.errors += 1
            raise StatusError(
                Status.IN_PAGE_ERROR,
                f"page file {self.stores[file].name}, page {slot}: {error.text}",
            ) from None
        finally:
            del self._transfers[ticket]
            self._drop(file, slot, end)
        self.read += count

    def statistics(self) -> PageFilesStatistics:
        """Slots in all and free, pages written and read, requests and errors."""
        from octavo.statistics import PageFilesStatistics

        slots = sum(map(len, self._taken))
        return PageFilesStatistics(
            slots=slots,
            free=self.free,
            written=self.written,
            read=self.read,
            requests=self.requests,
            errors=self.errors,
            grown=self.grown,
        )

    def check(self, entries: Sequence[int]) -> None:
        """Every slot is used by as many of the entries as it counts, or is being written."""
        found = [np.zeros(len(uses), np.int32) for uses in self._uses]
        for runs in self._transfers.values():
            for file, first, size in runs:
                found[file][first : first + size] += 1
        for entry in entries:
            file, slot = self.place(entry)
            found[file][slot] += 1
        assert all(np.array_equal(a, b) for a, b in zip(found, self._uses, strict=True)), (
            "slots are lost, or used by nobody"
        )
        assert [t.count(0) for t in self._taken] == [
            int((u == 0).sum()) for u in self._uses
        ] and self.free == sum(t.count(0) for t in self._taken)
