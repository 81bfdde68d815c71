"""What is known of a FAT beside its pages: how much is free, what waits for its phase; and the
change that keeps books of what it plans.

    tails    last clusters of chains that nothing on the medium points to: more may follow at once
    joins    last cluster of a chain on the medium -> first of what was appended
    cuts     clusters that are to be the last of their chains
    frees    clusters that entries on the medium may still point to
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from octavo.fs.fat.entry import Entry
from octavo.fs.fat.slots import FreeSlots
from octavo.fs.vfs.edits import Change, Edit, Phase

Run = tuple[int, int]  # (first cluster, number of clusters)

MOST_TAILS = 256
ANY = 1 << 32  # clusters: more than there can be


def merged(runs: list[Run]) -> list[Run]:
    """The clusters of all runs, each once, as runs in order."""
    out: list[Run] = []
    for first, count in sorted(runs):
        if out and first <= out[-1][0] + out[-1][1]:
            start, size = out[-1]
            out[-1] = (start, max(size, first + count - start))
        else:
            out.append((first, count))
    return out


class Books:
    """What waits, and `free_count`, the clusters that are free; -1 when nobody has counted them.
    `believed`: it is what the volume said of itself.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Nothing waits, and nothing is known."""
        self.free_count = -1
        self.believed = False
        self.tails: set[int] = set()
        self.joins: dict[int, int] = {}
        self.cuts: set[int] = set()
        self.frees: list[Run] = []
        self.given: dict[int, int] = {}  # runs of clusters that changes have, and no page says so
        self.longest = ANY  # no free run is longer

    def waits(self, phase: Phase) -> int:
        """How much waits for a phase."""
        if phase == Phase.JOIN:
            return len(self.joins)
        return len(self.cuts) if phase == Phase.CUT else len(self.frees)

    def counted(self, free: int) -> None:
        """So many clusters are free: they were looked at."""
        self.free_count, self.believed, self.longest = free, False, ANY

    def count(self, clusters: int) -> None:
        """So many more clusters are free."""
        if self.free_count >= 0:
            self.free_count += clusters

    def chained(self, runs: Sequence[Run], after: int) -> None:
        """A new chain stands behind the one that ends at `after` (0: behind none)."""
        if self.free_count >= 0:
            for _, count in runs:
                self.free_count -= count
        if after in self.tails:
            self.tails.discard(after)
        elif after:
            self.joins[after] = runs[0][0]
        if len(self.tails) >= MOST_TAILS:
            self.tails.clear()
        self.tails.add(runs[-1][0] + runs[-1][1] - 1)

    def end_at(self, cluster: int) -> None:
        """Makes a cluster the last of its chain, in the pages when its phase comes."""
        if self.joins.pop(cluster, None) is None:
            self.cuts.add(cluster)

    def give_back(self, runs: Sequence[Run]) -> None:
        """Clusters are free as soon as no entry on the medium points to them; what waits for them
        waits no longer.
        """
        self.frees += runs
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


class FatChange(Change):
    """A change of a FAT volume, and what its books say then."""

    taken: Sequence[Run] = ()  # clusters that were free
    pieces: Sequence[Run] = ()  # of them, what each of the first edits chains
    after = 0  # what they are chained behind
    starts: Entry | None = None  # which got its first cluster by it
    slots: Sequence[tuple[FreeSlots, int, int]] = ()  # taken: of whom, first, count
    long = b""  # slots of the long name of what has a place and is inserted next
    gone: Sequence[tuple[FreeSlots, int, int]] = ()  # free again
    given: Sequence[Run] = ()  # clusters that are to be free
    end = 0  # the last cluster of a chain that is cut
    joined: Sequence[int] = ()
    cut: Sequence[int] = ()
    left: list[Run] | None = None  # of what waits for being freed
    freed = 0  # clusters that were in use
    halves: dict[int, int] | None = None  # FAT12: bytes of the table that it has edited

    def __init__(self, books: Books) -> None:
        self.edits: list[Edit] = []
        self.books = books

    def wants_last(self) -> bool:
        """A chain that nothing on the medium points to is joined at once."""
        return self.after in self.books.tails

    def applied(self) -> None:
        """The books, and the directory's slots, say what the pages say."""
        books = self.books
        if self.taken:
            self._settle_given()
            books.chained(self.taken, self.after)
        for slots, first, count in self.gone:
            slots.release(first, count)
        if self.end:
            books.end_at(self.end)
        if self.given:
            books.give_back(self.given)
        for cluster in self.joined:
            del books.joins[cluster]
        if self.cut:
            books.cuts.difference_update(self.cut)
        if self.left is not None:
            books.frees = self.left
            books.count(self.freed)
            books.longest = min(2 * books.longest + self.freed, ANY)  # two runs may be joined

    def _settle_given(self) -> None:
        """The pages say whose the clusters are that were taken."""
        for first, _ in self.taken:
            self.books.given.pop(first, None)

    def dropped(self) -> None:
        """Slots and clusters are free again: those that are chained already, when their phase
        comes.
        """
        for slots, first, count in self.slots:
            slots.release(first, count)
        if self.starts is not None:
            self.starts.cluster = 0
        self._settle_given()
        if self.begun and self.taken:
            chained = self.pieces[: self.begun]
            self.books.count(-sum(count for _, count in chained))
            self.books.give_back(chained)
