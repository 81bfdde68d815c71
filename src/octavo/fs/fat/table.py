"""The file allocation table: chains of clusters, read in the pages of the volume's section, and the
edits that change them.

Entry n says what follows cluster n: 0 free, 2.. the next cluster, the top values end of chain or
bad. FAT12 packs two entries into three bytes, FAT16 has 16 bits, FAT32 has 28 bits under 4 that are
kept as they are.

Nothing of the FAT is copied out of its pages, but for the free runs of the one page that allocation
is at (`octavo.fs.fat.search`). Long stretches are handled a page at a time, short ones entry by
entry.

Nothing is changed here: methods that plan note edits in a change. Three kinds of change wait until
their phase on the medium has come: a chain there is joined to what was appended to it only when
that is there, cut only when its entry is shorter, and what was cut off is free only then. They are
in the `books`; `chain` sees the first two as done.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left

from octavo.cache.manager import CacheManager
from octavo.fs.fat.books import Books, FatChange, Run, merged
from octavo.fs.fat.bpb import Geometry
from octavo.fs.fat.census import Census
from octavo.fs.fat.search import Search
from octavo.fs.vfs.edits import MOST_HELD
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError
from octavo.threads.wait import marks, preemption_point

LONG_RUN = 16
MOST_DUE = 256  # joins, cuts or runs to free in one change
HIGH = 0xF0000000  # bits of an entry of FAT32 that are kept
PAGE_CLUSTER = 16  # pages of the FAT that a fault reads at most
SCAN_CLUSTER = 64  # where all of it is counted, by SCAN_BYTES
SCAN_BYTES = 65536


class FatTable:
    """The FAT that lies in `section` from `offset` on. All methods may wait for pages of it.
    `summary`: where the section has an FSInfo sector that may be believed; 0 for none.
    """

    def __init__(
        self,
        cache: CacheManager,
        section: Section,
        offset: int,
        geometry: Geometry,
        summary: int = 0,
    ) -> None:
        self.cache = cache
        self.section = section
        self.offset = offset
        self.bits = geometry.bits
        self.limit = geometry.clusters + 2  # first number that is no cluster
        self.mask = (1 << min(self.bits, 28)) - 1
        self.end_mark = self.mask
        self.least_end = self.mask - 7
        self.bad = self.mask - 8
        self.books = Books()
        self.census = Census(cache, section, self.books, geometry.clusters, self.many, summary)
        self.search = Search(self.values, self.limit, self.books, self.census)

    # -- single entries ----------------------------------------------------------------------------

    async def get(self, cluster: int) -> int:
        """The entry of a cluster, raw."""
        if self.bits == 12:
            low = self.cache.ram.bytes[await self._address(self.offset + cluster * 3 // 2)]
            high = self.cache.ram.bytes[await self._address(self.offset + cluster * 3 // 2 + 1)]
            value = low | high << 8
            return value >> 4 if cluster & 1 else value & 0xFFF
        if self.bits == 16:
            return self.cache.ram.half[await self._address(self.offset + cluster * 2) >> 1]
        return self.cache.ram.word[await self._address(self.offset + cluster * 4) >> 2] & 0x0FFFFFFF

    def peek(self, cluster: int) -> int:
        """The entry of a cluster when its page is active (and the volume is not FAT12), else -1."""
        if self.bits == 12:
            return -1
        at = self.offset + cluster * (self.bits >> 3)
        address = self.cache.try_address(self.section, at)
        if address < 0:
            return -1
        ram = self.cache.ram
        return ram.half[address >> 1] if self.bits == 16 else ram.word[address >> 2] & 0x0FFFFFFF

    async def plan(self, change: FatChange, cluster: int, value: int) -> None:
        """Plans one entry."""
        assert 0 <= cluster < self.limit
        if self.bits == 12:
            await self._plan_half(change, cluster, value)
            return
        at = self.offset + cluster * (self.bits >> 3)
        if self.bits == 16:
            change.edit(self.section, at, value.to_bytes(2, "little"))
        else:
            old = self.cache.ram.word[await self._address(at) >> 2]
            change.edit(self.section, at, (old & HIGH | value).to_bytes(4, "little"))

    async def _plan_half(self, change: FatChange, cluster: int, value: int) -> None:
        """Plans one entry of FAT12, which shares a byte with its neighbour: with what the change
        has put there before.
        """
        if change.halves is None:
            change.halves = {}
        at, halves = self.offset + cluster * 3 // 2, change.halves
        old = [halves.get(i, -1) for i in (at, at + 1)]
        for i in (0, 1):
            if old[i] < 0:
                old[i] = self.cache.ram.bytes[await self._address(at + i)]
        if cluster & 1:
            new = old[0] & 0x0F | value << 4 & 0xF0, value >> 4
        else:
            new = value & 0xFF, old[1] & 0xF0 | value >> 8
        halves[at], halves[at + 1] = new
        change.edit(self.section, at, bytes(new))

    async def _address(self, at: int, cluster: int = PAGE_CLUSTER) -> int:
        if marks.on:
            await preemption_point()
        address = self.cache.try_address(self.section, at)
        return address if address >= 0 else await self.cache.address(self.section, at, cluster)

    def forget(self) -> None:
        """What is free is looked for anew, and nothing waits: another may have had the device."""
        self.books.forget()
        self.search.forget()

    # -- windows: the entries of one page ----------------------------------------------------------

    async def _window(self, cluster: int) -> memoryview:
        """The raw entries from `cluster` to the end of its page or of the FAT (FAT16 and FAT32);
        they are the page itself.
        """
        width, ram = self.bits >> 3, self.cache.ram
        address = await self._address(self.offset + cluster * width)
        count = min((PAGE_SIZE - (address & PAGE_SIZE - 1)) // width, self.limit - cluster)
        entries, first = (ram.half, address >> 1) if width == 2 else (ram.word, address >> 2)
        return entries[first : first + count]

    async def values(self, cluster: int, most: int) -> list[int]:
        """The entries from `cluster` on, at most `most` and not beyond what one page holds, as a
        copy without reserved bits.
        """
        if self.bits == 12:
            return await self._values12(cluster, min(most, self.limit - cluster, PAGE_SIZE // 2))
        return self._plain((await self._window(cluster))[:most].tolist())

    def _plain(self, values: list[int]) -> list[int]:
        """Without reserved bits, which are rarely set."""
        mask = self.mask
        return [value & mask for value in values] if max(values) > mask else values

    async def _values12(self, cluster: int, count: int) -> list[int]:
        """As `values`, for FAT12: three bytes are two entries."""
        first, end = cluster & ~1, cluster + count + 1 & ~1
        at, size = self.offset + first * 3 // 2, (end - first) * 3 // 2
        data = (await self.cache.copy_read(self.section, at, size)).ljust(size, b"\0")
        out = [0] * (end - first)
        out[::2] = [
            low | (high & 0x0F) << 8 for low, high in zip(data[::3], data[1::3], strict=True)
        ]
        out[1::2] = [low >> 4 | high << 4 for low, high in zip(data[1::3], data[2::3], strict=True)]
        return out[cluster - first : cluster - first + count]

    # -- chains ------------------------------------------------------------------------------------

    async def chain(self, first: int, what: str) -> list[Run]:
        """The clusters from `first` to the end of its chain, as runs; StatusError
        FILE_CORRUPT_ERROR when the chain is damaged.
        """
        runs, damage = await self.follow(first)
        if damage:
            raise StatusError(Status.FILE_CORRUPT_ERROR, f"{what}: its cluster chain {damage}")
        return runs

    async def follow(self, first: int) -> tuple[list[Run], str]:
        """The clusters from `first` on, as far as the chain is sound, and what is wrong with it
        then ("" for nothing).

        Of a chain that runs in a circle some clusters are listed twice; the last run of another
        damaged one may be empty.
        """
        runs: list[Run] = []
        cluster, total = first, 0
        mark, next_mark = (
            0,
            1,
        )  # Brent: a circle comes back to the start of a run noted at a power of two
        while True:
            if not 2 <= cluster < self.limit:
                return runs, f"points to cluster {cluster}, which is outside the volume"
            start = cluster
            following = self.peek(cluster)
            if following < 0:
                following = await self.get(cluster)
            while following == cluster + 1 and following < self.limit:
                cluster = following
                if cluster - start == LONG_RUN and self.bits != 12:
                    cluster = await self._follow(cluster)
                following = self.peek(cluster)
                if following < 0:
                    following = await self.get(cluster)
            if start == mark or total >= self.limit:
                return runs, "never ends: it runs in a circle"
            runs.append((start, cluster - start + 1))
            total += cluster - start + 1
            if len(runs) == next_mark:
                mark, next_mark = start, 2 * next_mark
            if following >= self.least_end:
                following = self.books.joins.get(cluster, 0)
                if not following:
                    return (self._until_cut(runs) if self.books.cuts else runs), ""
            if following == self.bad or not following:
                runs[-1] = (start, cluster - start)
                return (
                    runs,
                    f"leads to cluster {cluster}, which is marked as "
                    f"{'bad' if following else 'free'}",
                )
            cluster = following

    async def _follow(self, cluster: int) -> int:
        """The last cluster of the contiguous chain that `cluster` is in."""
        while True:
            values = await self.values(cluster, PAGE_SIZE)
            size = _rise(values, cluster + 1)
            cluster += size
            if size < len(values):
                return cluster
            if cluster >= self.limit:
                return cluster - 1

    # -- allocation --------------------------------------------------------------------------------

    async def allocate(self, change: FatChange, count: int, after: int = 0) -> None:
        """Plans `count` free clusters, chained and ended, behind the chain that ends at `after` (0:
        a new one).

        StatusError DISK_FULL when there are not so many.
        """
        assert not change.taken and after not in self.books.cuts
        runs = change.taken = await self.search.find(count)
        if count == 1 and self.bits != 12:
            await self._plan_one(change, runs[0][0])
        else:
            await self._plan_runs(change, runs)
        change.after = after
        if after in self.books.tails:
            before = len(change.edits)
            await self.plan(change, after, runs[0][0])
            change.last = change.edits[before:]
            del change.edits[before:]

    async def _plan_one(self, change: FatChange, cluster: int) -> None:
        """Plans a chain of one cluster, as most files are (FAT16, FAT32)."""
        width = self.bits >> 3
        at = self.offset + cluster * width
        address = await self._address(at)
        ram = self.cache.ram
        old = ram.half[address >> 1] if width == 2 else ram.word[address >> 2]
        assert not old & self.mask, f"cluster {cluster} is in use"
        change.edits.append((self.section, at, (old | self.end_mark).to_bytes(width, "little")))
        change.pieces = [(cluster, 1)]

    async def _plan_runs(self, change: FatChange, runs: list[Run]) -> None:
        """Plans that runs are chained, the last of them ended."""
        pieces: list[Run] = []
        change.pieces = pieces
        for i in range(len(runs) - 1, -1, -1):
            last = runs[i + 1][0] if i + 1 < len(runs) else self.end_mark
            await self._plan_run(change, runs[i], last, pieces)

    async def next_joins(self, change: FatChange) -> None:
        """Plans some of the joins: all that they point to is on the medium."""
        self.books.tails.clear()
        change.joined = [c for c, _ in zip(self.books.joins, range(MOST_DUE), strict=False)]
        for cluster in change.joined:
            await self.plan(change, cluster, self.books.joins[cluster])

    async def next_cuts(self, change: FatChange) -> None:
        """Plans some of the cuts: no entry on the medium claims what is behind them."""
        change.cut = [c for c, _ in zip(self.books.cuts, range(MOST_DUE), strict=False)]
        for cluster in change.cut:
            await self.plan(change, cluster, self.end_mark)

    async def next_frees(self, change: FatChange) -> None:
        """Plans that some of the clusters that wait are free.

        Those that are free already (of a chain that another file shares) count once.
        """
        self.books.tails.clear()
        left = merged(self.books.frees)
        pages: set[int] = (
            set()
        )  # no more than are put at once: what is free is not to be here still
        while left and len(change.edits) < MOST_DUE:
            first, count = left[-1]
            pages.add(self.offset + first * self.bits // 8 >> PAGE_SHIFT)
            if len(pages) > MOST_HELD:
                break
            done = await self._plan_free(change, first, count)
            left.pop()
            if done < count:
                left.append((first + done, count - done))
        change.left = left

    async def _plan_free(self, change: FatChange, first: int, count: int) -> int:
        """Plans that clusters of one page are free, as many as there are; returns how many."""
        if self.bits == 12:
            change.freed += await self.get(first) != 0
            await self.plan(change, first, 0)
            return 1
        at, n = self._span(first, count)
        old = await self._entries(at, n)
        if self.bits == 16 or max(old) <= self.mask:
            change.freed += n - old.count(0)
            change.edit(self.section, at, bytes(n * (self.bits >> 3)))
        else:
            change.freed += sum(value & self.mask != 0 for value in old)
            change.edit(self.section, at, array("I", [v & HIGH for v in old]).tobytes())
        return n

    def _until_cut(self, runs: list[Run]) -> list[Run]:
        """The part of a chain up to the first cut in it."""
        cuts = sorted(self.books.cuts)
        for i, (first, count) in enumerate(runs):
            at = bisect_left(cuts, first)
            if at < len(cuts) and cuts[at] < first + count:
                return [*runs[:i], (first, cuts[at] - first + 1)]
        return runs

    async def _plan_run(self, change: FatChange, run: Run, last: int, pieces: list[Run]) -> None:
        """Plans that a run is chained, and its last cluster has the entry `last`; adds what each
        edit chains to `pieces`.
        """
        first, count = run
        if self.bits == 12:
            assert not any(await self.values(first, count)), f"clusters of {run} are in use"
            for cluster in range(first, first + count):
                following = cluster + 1 if cluster < first + count - 1 else last
                await self.plan(change, cluster, following)
            return
        kind = "H" if self.bits == 16 else "I"
        while count:
            at, n = self._span(first, count)
            values = array(kind, range(first + 1, first + 1 + n))
            if n == count:
                values[-1] = last
            old = await self._entries(at, n)
            if any(old):
                assert not any(v & self.mask for v in old), f"clusters of {run} are in use"
                values = array(kind, [v | o for v, o in zip(values, old, strict=True)])
            change.edit(self.section, at, values.tobytes())
            pieces.append((first, n))
            first, count = first + n, count - n

    def _span(self, first: int, count: int) -> tuple[int, int]:
        """Where the entries from `first` on are, and how many of `count` one page has."""
        width = self.bits >> 3
        at = self.offset + first * width
        return at, min(count, (PAGE_SIZE - (at & PAGE_SIZE - 1)) // width)

    async def _entries(self, at: int, count: int) -> list[int]:
        """Raw entries of one page (FAT16, FAT32)."""
        address = await self._address(at)
        ram = self.cache.ram
        entries, first = (ram.half, address >> 1) if self.bits == 16 else (ram.word, address >> 2)
        return entries[first : first + count].tolist()

    async def many(self, cluster: int) -> list[int]:
        """As `values`, up to the end of SCAN_BYTES (but for FAT12, which has no more)."""
        if self.bits == 12:
            return await self.values(cluster, PAGE_SIZE)
        width = self.bits >> 3
        at = self.offset + cluster * width
        await self._address(at, SCAN_CLUSTER)
        size = min((at | SCAN_BYTES - 1) + 1 - at, (self.limit - cluster) * width)
        data = await self.cache.copy_read(self.section, at, size)
        return self._plain(memoryview(data).cast("H" if width == 2 else "I").tolist())


def _rise(values: list[int], first: int) -> int:
    """How many of the values are `first` and, one after the other, what follows it."""
    expected = list(range(first, first + len(values)))
    if values == expected:
        return len(values)
    low, high = 0, len(values)  # the first `low` agree, the first `high` do not
    while low + 1 < high:
        middle = (low + high) // 2
        if values[low:middle] == expected[low:middle]:
            low = middle
        else:
            high = middle
    return low
