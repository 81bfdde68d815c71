"""Which free clusters are given next: one run where there is one that is long enough, else what is
free from the cursor on, once around the FAT.

    | used ... | seen: `_free` | cursor ->  not looked at since ... |

Free runs of one window, a page of the FAT, are kept as they were seen; what is given is taken out
of them. A run that is long enough is looked for in them first, then from there on, page by page: so
whoever is given clusters one after the other gets neighbours. What is given, and not in the pages
yet, is in the books. So is a bound on the runs that such a search can find: it is not repeated in
vain.

Source: next fit (Knuth, TAOCP 2.5), of runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from octavo.fs.fat.books import Books, Run
from octavo.fs.fat.census import Census
from octavo.machine.abi import PAGE_SIZE

Values = Callable[[int, int], Awaitable[list[int]]]  # entries from a cluster on, at most so many


class Search:
    """The free clusters below `limit` of a FAT whose entries `values` gives, and whose `books` and
    `census` say how many there are.
    """

    def __init__(self, values: Values, limit: int, books: Books, census: Census) -> None:
        self.cursor = 2  # where to look for free clusters next
        self._values = values
        self._limit = limit
        self._books = books
        self._census = census
        self._free: list[Run] = []  # free runs before the cursor, not taken yet, ascending

    def forget(self) -> None:
        """What is free is looked for anew."""
        self._free.clear()

    async def find(self, count: int) -> list[Run]:
        """`count` free clusters as runs, which are given until their change is applied or dropped.
        StatusError DISK_FULL when there are not so many.
        """
        runs = await self._find(count)
        self._books.given.update(runs)
        return runs

    async def _find(self, count: int) -> list[Run]:
        if 0 <= self._books.free_count < count:
            await self._census.check_room(count)
        if count > 1 and not (self._free and self._free[0][1] >= count):
            for i, (first, size) in enumerate(self._free):
                if size >= count:
                    self._free[i : i + 1] = [(first + count, size - count)] if size > count else []
                    return [(first, count)]
            if count <= self._books.longest:
                await self._seek(count)
        return await self._collect(count)

    async def _collect(self, count: int) -> list[Run]:
        """What is free from the cursor on. No cluster is met twice: a search that what is left of
        the last window cannot satisfy begins again at that rest.
        """
        out: list[Run] = []
        left, unseen = count, self._limit - 2
        while left:
            if not self._free:
                if out and unseen == self._limit - 2:
                    self.cursor, out, left = out[0][0], [], count
                if not unseen:
                    # each entry was looked at once; what is given is not chained
                    self._books.counted(count - left + sum(self._books.given.values()))
                    raise self._census.full(left)
                unseen -= await self._scan(unseen)
                continue
            first, size = self._free[0]
            taken = min(size, left)
            if taken == size:
                self._free.pop(0)
            else:
                self._free[0] = (first + taken, size - taken)
            if out and out[-1][0] + out[-1][1] == first:
                out[-1] = (out[-1][0], out[-1][1] + taken)
            else:
                out.append((first, taken))
            left -= taken
        return out

    async def _scan(self, most: int) -> int:
        """Notes the free runs of the window at the cursor, and moves the cursor behind it; returns
        the entries looked at (at most `most`).
        """
        if self.cursor >= self._limit:
            self.cursor = 2
        window = await self._window(self.cursor, min(most, PAGE_SIZE))
        used = window + b"\1"
        self._free, at = [], used.find(0)
        while at >= 0:
            end = used.find(1, at)
            self._free.append((self.cursor + at, end - at))
            at = used.find(0, end)
        self.cursor += len(window)
        return len(window)

    async def _window(self, at: int, most: int) -> bytes:
        """Which of the clusters from `at` on are in use, or given: a byte for each."""
        used = bytes(map(bool, await self._values(at, most)))
        for first, count in self._books.given.items():
            low, high = max(first - at, 0), min(first + count - at, len(used))
            if low < high:
                used = used[:low] + b"\1" * (high - low) + used[high:]
        return used

    async def _seek(self, count: int) -> None:
        """Moves the cursor to a run of at least `count` free clusters, if there is one: behind what
        was seen last, or from the beginning on.
        """
        begin = self._free[0][0] if self._free else self.cursor
        for start in dict.fromkeys((begin, 2)):
            first, longest = await self._run(start, count)
            if first:
                self.cursor = first
                self._free.clear()
                return
        self._books.longest = longest

    async def _run(self, at: int, count: int) -> tuple[int, int]:
        """The first of `count` free clusters in a row from `at` on, 0 when there are none; and how
        many there are in a row then.
        """
        wanted, before, longest = bytes(count), 0, 0
        while at < self._limit:
            window = await self._window(at, PAGE_SIZE)
            used = bytes(before) + window
            found = used.find(wanted)
            if found >= 0:
                return at - before + found, count
            longest = max(longest, *map(len, used.split(b"\1")))
            before = len(used) - 1 - used.rfind(1)
            at += len(window)
        return 0, longest
