"""The file allocation table: chains of clusters, read and changed in the pages of the volume's
section.

Entry n says what follows cluster n: 0 free, 2.. the next cluster, the top values end of chain or
bad. FAT12 packs two entries into three bytes, FAT16 has 16 bits, FAT32 has 28 bits under 4 that are
kept as they are.

Nothing of the FAT is copied out of its pages, but for the free runs of the one page that allocation
is at. Long stretches are handled a page at a time with NumPy, short ones entry by entry (a NumPy
call costs as much as ten entries).

Two kinds of change wait outside the pages until the volume says that their time on the medium has
come: a chain on the medium is joined to what was appended to it only when that is there (`joins`),
and cut only when its entry is shorter (`cuts`). `chain` sees both as done.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from octavo.cache.manager import CacheManager
from octavo.fs.fat.bpb import Geometry
from octavo.machine.abi import PAGE_SIZE
from octavo.memory.pages.section import Section
from octavo.printing import counted
from octavo.status import Status, StatusError
from octavo.threads.wait import marks, preemption_point

Run = tuple[int, int]  # (first cluster, number of clusters)

LONG_RUN = 16
PAGE_CLUSTER = 16  # pages of the FAT that a fault reads at most
MOST_TAILS = 256


class FatTable:
    """The FAT that lies in `section` from `geometry.fat_offset` on. All methods may wait for pages
    of it.
    """

    def __init__(
        self, cache: CacheManager, section: Section, offset: int, geometry: Geometry
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
        self.free_count = -1  # not known
        self.cursor = 2  # where to look for free clusters next
        self._free: list[
            Run
        ] = []  # free runs before the cursor that were seen and not taken yet, ascending
        self.begun: list[Run] = []  # clusters of an allocation that failed, some of them chained
        self.joins: dict[int, int] = {}  # last cluster of a chain -> first of what follows
        self.cuts: set[int] = set()  # clusters that are to be the last of their chains
        self.tails: set[int] = set()  # last clusters of chains that nothing on the medium points to

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

    async def set(self, cluster: int, value: int) -> None:
        """Changes one entry."""
        assert 0 <= cluster < self.limit
        if self.bits == 12:
            await self._set_packed(cluster, value)
            return
        ram, cache = self.cache.ram, self.cache
        at = self.offset + cluster * (self.bits >> 3)
        address = await self._address(at)
        if self.bits == 16:
            ram.half[address >> 1] = value
        else:
            ram.word[address >> 2] = ram.word[address >> 2] & 0xF0000000 | value
        cache.mark(self.section, at)

    async def _set_packed(self, cluster: int, value: int) -> None:
        """Changes an entry of FAT12. Nothing waits between its bytes, though they may lie in two
        pages: half of a change must not go out.
        """
        at, cache, data = self.offset + cluster * 3 // 2, self.cache, self.cache.ram.bytes
        low = high = -1
        while low < 0 or high < 0:  # the first page may go while the second comes
            await self._address(at)
            await self._address(at + 1)
            low, high = (cache.try_address(self.section, at + i) for i in (0, 1))
        if cluster & 1:
            data[low], data[high] = data[low] & 0x0F | value << 4 & 0xF0, value >> 4
        else:
            data[low], data[high] = value & 0xFF, data[high] & 0xF0 | value >> 8
        cache.mark(self.section, at)
        cache.mark(self.section, at + 1)

    async def _address(self, at: int) -> int:
        if marks.on:
            await preemption_point()
        address = self.cache.try_address(self.section, at)
        return address if address >= 0 else await self.cache.address(self.section, at, PAGE_CLUSTER)

    # -- windows: the entries of one page ----------------------------------------------------------

    async def _window(self, cluster: int) -> npt.NDArray[np.uint16] | npt.NDArray[np.uint32]:
        """The raw entries from `cluster` to the end of its page or of the FAT (FAT16 and FAT32);
        they are the page itself.
        """
        width = self.bits >> 3
        address = await self._address(self.offset + cluster * width)
        count = min((PAGE_SIZE - (address & PAGE_SIZE - 1)) // width, self.limit - cluster)
        data = self.cache.ram.array[address : address + count * width]
        return data.view(np.uint16) if width == 2 else data.view(np.uint32)

    async def _values(self, cluster: int, most: int) -> npt.NDArray[np.uint32]:
        """The entries from `cluster` on, at most `most` and not beyond what one page holds, as a
        copy without reserved bits.
        """
        if self.bits == 12:
            stop = min(self.limit, cluster + min(most, PAGE_SIZE * 2 // 3))
            return np.array([await self.get(c) for c in range(cluster, stop)], np.uint32)
        window = (await self._window(cluster))[:most]
        return window.astype(np.uint32) & np.uint32(self.mask)

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
                following = self.joins.get(cluster, 0)
                if not following:
                    return (self._until_cut(runs) if self.cuts else runs), ""
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
            values = await self._values(cluster, PAGE_SIZE)
            breaks = np.flatnonzero(
                values != np.arange(cluster + 1, cluster + 1 + len(values), dtype=np.uint32)
            )
            if len(breaks):
                return cluster + int(breaks[0])
            cluster += len(values)
            if cluster >= self.limit:
                return cluster - 1

    # -- allocation --------------------------------------------------------------------------------

    async def allocate(self, count: int, after: int = 0) -> list[Run]:
        """Takes `count` free clusters, chained and ended, appended to the chain that ends at
        `after` (0: a new one).

        StatusError DISK_FULL when there are not so many; nothing is changed by a call that fails.
        """
        await self.undo()
        runs = await self._find(count)
        try:
            for i in range(len(runs) - 1, -1, -1):
                used = await self._write_run(
                    runs[i], runs[i + 1][0] if i + 1 < len(runs) else self.end_mark
                )
                assert not used, f"{used} clusters of {runs[i]} were in use already"
            await self.link(after, runs)
        except StatusError as error:
            self.begun = runs
            with suppress(
                StatusError
                # where that fails, too, nothing is allocated and nothing flushed before it can be
                # done
            ):
                await self.undo()
            raise error from None
        if self.free_count >= 0:
            self.free_count -= count
        return runs

    async def link(self, after: int, runs: list[Run]) -> None:
        """Appends a chain that nothing points to yet to the one that ends at `after` (0: to
        none).
        """
        assert after not in self.cuts
        if after in self.tails:
            await self.set(after, runs[0][0])
            self.tails.discard(after)
        elif after:
            self.joins[after] = runs[0][0]
        if len(self.tails) >= MOST_TAILS:
            self.tails.clear()
        self.tails.add(runs[-1][0] + runs[-1][1] - 1)

    async def undo(self) -> None:
        """Frees what an allocation that failed had begun to chain; StatusError when that cannot be
        done yet.
        """
        await self._free_from(self.begun, counted=False)  # they were never counted as taken

    async def free(self, runs: list[Run]) -> None:
        """Frees clusters and takes them out of the list, which has the rest when a StatusError
        comes.

        Those that are free already (of a chain that another file shares) count once.
        """
        self.tails.clear()
        await self._free_from(runs, self.free_count >= 0)

    async def _free_from(self, runs: list[Run], counted: bool) -> None:
        """Frees the clusters of a list, which always has those that are left."""
        while runs:
            first, count = runs[-1]
            if self.bits == 12:
                done, in_use = 1, int(await self.get(first) != 0)
                await self.set(first, 0)
            else:
                done, in_use = await self._write_part(first, count, 0, free=True)
            self.free_count += in_use if counted else 0
            if done < count:
                runs[-1] = (first + done, count - done)
            else:
                runs.pop()

    def end_at(self, cluster: int) -> None:
        """Makes a cluster the last of its chain, in the pages when `cut` is called."""
        if self.joins.pop(cluster, None) is None:
            self.cuts.add(cluster)

    def forget(self, runs: Sequence[Run]) -> None:
        """Drops what waits for clusters that are to be freed."""
        self.tails.clear()
        if not (self.joins or self.cuts):
            return
        ordered = sorted(runs)
        firsts = [first for first, _ in ordered]
        for cluster in (*self.joins, *self.cuts):
            i = bisect_right(firsts, cluster) - 1
            if i >= 0 and cluster < sum(ordered[i]):
                self.joins.pop(cluster, None)
                self.cuts.discard(cluster)

    async def join(self) -> None:
        """Writes the joins into the pages: all that they point to is on the medium."""
        self.tails.clear()
        for cluster, following in list(self.joins.items()):
            await self.set(cluster, following)
            del self.joins[cluster]

    async def cut(self) -> None:
        """Writes the cuts into the pages: no entry on the medium claims what is behind them."""
        for cluster in list(self.cuts):
            await self.set(cluster, self.end_mark)
            self.cuts.discard(cluster)

    def _until_cut(self, runs: list[Run]) -> list[Run]:
        """The part of a chain up to the first cut in it."""
        cuts = sorted(self.cuts)
        for i, (first, count) in enumerate(runs):
            at = bisect_left(cuts, first)
            if at < len(cuts) and cuts[at] < first + count:
                return [*runs[:i], (first, cuts[at] - first + 1)]
        return runs

    async def _find(self, count: int) -> list[Run]:
        """`count` free clusters as runs, from the cursor once around the FAT; they are taken from
        what was seen free, not yet chained.

        No cluster is met twice: a search that what is left of the last window cannot satisfy begins
        again at that rest.
        """
        if 0 <= self.free_count < count:
            raise self._full(count - self.free_count)
        out: list[Run] = []
        left, unseen = count, self.limit - 2
        while left:
            if not self._free:
                if out and unseen == self.limit - 2:
                    self.cursor, out, left = out[0][0], [], count
                if not unseen:
                    self.free_count = count - left  # each entry was looked at once
                    raise self._full(left)
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

    def _full(self, missing: int) -> StatusError:
        return StatusError(
            Status.DISK_FULL,
            f"{self.section.name}: the volume is full: "
            f"{counted(missing, 'more cluster is', 'more clusters are')} needed",
        )

    async def _scan(self, most: int) -> int:
        """Notes the free runs of the window at the cursor, and moves the cursor behind it; returns
        the entries looked at (at most `most`).
        """
        if self.cursor >= self.limit:
            self.cursor = 2
        values = await self._values(self.cursor, min(most, PAGE_SIZE))
        edges = np.flatnonzero(
            np.diff(np.concatenate(([False], values == 0, [False])).astype(np.int8))
        )
        start = self.cursor
        self._free = [
            (start + a, b - a)
            for a, b in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
        ]
        self.cursor += len(values)
        return len(values)

    async def _write_run(self, run: Run, last: int) -> int:
        """Chains a run and gives its last cluster the entry `last`; returns how many were in
        use.
        """
        first, count = run
        used = done = 0
        while done < count and self.bits != 12:
            n, in_use = await self._write_part(first + done, count - done, last, free=False)
            done, used = done + n, used + in_use
        for cluster in range(first + done, first + count):
            used += await self.get(cluster) != 0
            await self.set(cluster, cluster + 1 if cluster < first + count - 1 else last)
        return used

    async def _write_part(self, first: int, count: int, last: int, free: bool) -> tuple[int, int]:
        """Chains a run, or sets it to 0, as far as the page of `first` goes (FAT16, FAT32):
        (entries written, those in use before).
        """
        width = self.bits >> 3
        at = self.offset + first * width
        address = await self._address(at)
        n = min(count, (PAGE_SIZE - (address & PAGE_SIZE - 1)) // width)
        used = 0
        if n < LONG_RUN:
            entries = self.cache.ram.half if width == 2 else self.cache.ram.word
            start, kept = address // width, 0 if width == 2 else 0xF0000000
            for i in range(n):
                value = 0 if free else first + i + 1 if i < count - 1 else last
                old = entries[start + i]
                used += old & self.mask != 0
                entries[start + i] = old & kept | value
        else:
            window = (await self._window(first))[:n]
            used = int(np.count_nonzero(window & window.dtype.type(self.mask)))
            values = (
                np.zeros(n, window.dtype)
                if free
                else np.arange(first + 1, first + 1 + n).astype(window.dtype)
            )
            if not free and n == count:
                values[-1] = last
            window[:] = (
                values if width == 2 else np.bitwise_or(window & np.uint32(0xF0000000), values)
            )
        self.cache.mark(self.section, at)
        return n, used

    async def count_free(self) -> int:
        """The number of free clusters, counted once and kept from then on."""
        if self.free_count < 0:
            total, cluster = 0, 2
            while cluster < self.limit:
                values = await self._values(cluster, PAGE_SIZE)
                total += int(np.count_nonzero(values == 0))
                cluster += len(values)
            self.free_count = total
        return self.free_count
