"""Many files of FAT at once: the slots of whole new directories, and chains
(`octavo.fs.fat.chains`).

    slots of a directory   .  ..  | long long short | short | long short | ...   then zeros

What is planned here is what `FatPlanner` would plan for the same files one by one, in this order:
the same names, slots and times.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from octavo.fs.fat.books import FatChange, Run
from octavo.fs.fat.bpb import MOST_DIRECTORY_BYTES
from octavo.fs.fat.chains import plan_chains
from octavo.fs.fat.entry import ARCHIVE, DIRECTORY, SLOT, Entry, clean_wall, new_entry
from octavo.fs.fat.names import UNITS_IN_SLOT, exact_short, fold, long_slots, make_short
from octavo.fs.fat.planner import FatPlanner, above
from octavo.fs.vfs.edits import Change
from octavo.fs.vfs.node import Node
from octavo.fs.vfs.packing import DIRECTORY_SIZE, Batch

QUARTER = 900  # seconds; where offsets of time zones begin and end, and what they are multiples of
FIRST_DAY = 1 << 5 | 1  # 1980-01-01, which all earlier days are, too
MOST_EXACT = 12  # characters of a name that needs no long one

Head = tuple[bytes, int, str]  # short name, case bits, long name ("" for none)
_short_entry = struct.Struct("<11sBBBHHHHHHHI").pack  # as `octavo.fs.fat.entry` draws it


class FatLayout:
    """What new directories will say."""

    def __init__(
        self, planner: FatPlanner, batch: Batch, directories: Sequence[int], inside: list[list[int]]
    ) -> None:
        self._batch, self._directories, self._inside = batch, directories, inside
        self.sizes, self.clashes = list[int](), list[int]()
        self._heads = [self._name(numbers) for numbers in inside]
        for heads in self._heads:
            slots = 2 + len(heads) + sum([_slots(name) for _, _, name in heads if name])
            size = -(-slots * SLOT // planner.geometry.cluster) * planner.geometry.cluster
            self.sizes.append(size if size <= MOST_DIRECTORY_BYTES else 0)
        self._stamps = _Stamps(planner)
        self._now = planner.stamp()

    def _name(self, numbers: list[int]) -> list[Head]:
        """What `FatPlanner.place` would give all names of a directory."""
        names, taken, shorts, heads = self._batch.names, set[str](), set[str](), list[Head]()
        for number in numbers:
            name = names[number]
            exact = exact_short(name) if len(name) <= MOST_EXACT else None
            key = fold(name)
            if key in shorts:
                self.clashes.append(number)
            if exact is not None:
                heads.append((*exact, ""))
            else:
                short = make_short(name, taken)
                heads.append((short, 0, name))
                shorts.add(shown := _shown(short))
                taken.add(shown)
            taken.add(key)
        return heads

    def pack(
        self, first: Sequence[int], parents: Sequence[int], good: Sequence[bool]
    ) -> Iterator[bytes]:
        """Whole clusters; what is not good is left out."""
        sizes, times, of = self._batch.sizes, self._batch.times, self._stamps.of
        day, time, tenths = self._now
        for i, (numbers, heads) in enumerate(zip(self._inside, self._heads, strict=True)):
            parts = self._dots(first[self._directories[i]], parents[i])
            for number, (short, case, name) in zip(numbers, heads, strict=True):
                if not good[number]:
                    continue
                if name:
                    parts.append(long_slots(name, short))
                kind, size, cluster = ARCHIVE, sizes[number], first[number]
                if size == DIRECTORY_SIZE:
                    kind, size = DIRECTORY, 0
                clock, date = of(times[number])
                parts.append(
                    _short_entry(
                        short, kind, case, tenths, time, day, date,
                        cluster >> 16, clock, date, cluster & 0xFFFF, size,
                    )
                )  # fmt: skip
            yield b"".join(parts).ljust(self.sizes[i], b"\0")

    def _dots(self, here: int, parent: int) -> list[bytes]:
        """ "." and ".."."""
        return [
            new_entry("", DIRECTORY, self._now, short.ljust(11), cluster).pack()
            for short, cluster in ((b".", here), (b"..", parent))
        ]


class FatPacker:
    """What batches need of a FAT volume, beside its planner."""

    def __init__(self, planner: FatPlanner) -> None:
        self.planner = planner
        self.unit = planner.geometry.cluster

    def lay(self, batch: Batch, directories: Sequence[int], inside: list[list[int]]) -> FatLayout:
        """A size is 0 beyond FAT's limit of 2 MiB."""
        return FatLayout(self.planner, batch, directories, inside)

    async def chain(self, change: Change, counts: Sequence[int]) -> tuple[list[int], list[Run]]:
        """Clusters, and their numbers."""
        assert isinstance(change, FatChange)
        firsts = await plan_chains(self.planner.table, change, counts)
        place = self.planner.geometry.place
        change.extents = [(place(first), n) for first, n in change.taken]
        return firsts, list(change.taken)

    def number(self, node: Node[Entry]) -> int:
        """The cluster that ".." names: 0 for the root."""
        return above(node)

    def begins(self, entry: Entry, number: int) -> None:
        """Its first cluster."""
        entry.cluster = number


class _Stamps:
    """Times as entries have them, (time, date): the host's tables of time zones are asked once for
    each quarter of an hour.
    """

    def __init__(self, planner: FatPlanner) -> None:
        self._planner = planner
        self._quarters: dict[int, tuple[int, int] | None] = {}

    def of(self, wall: float) -> tuple[int, int]:
        """That of a time in seconds since 1970."""
        quarter, second = divmod(int(wall), QUARTER)
        if quarter not in self._quarters:
            self._quarters[quarter] = self._begins(quarter)
        begin = self._quarters[quarter]
        if begin is None:
            date, time, _ = self._planner.stamp(clean_wall(wall))
            return time, date
        return begin[0] + (second // 60 << 5) + (second % 60 >> 1), begin[1]

    def _begins(self, quarter: int) -> tuple[int, int] | None:
        """The stamp of its first moment; None where it begins in the middle of one, or outside of
        FAT's years.
        """
        first, last = quarter * QUARTER, quarter * QUARTER + QUARTER - 1
        if first != clean_wall(first) or last != clean_wall(last):
            return None
        (date, time, _), (day, end, _) = self._planner.stamp(first), self._planner.stamp(last)
        whole = date == day and end - time == (14 << 5) + 29 and date > FIRST_DAY
        return (time, date) if whole else None


def _slots(name: str) -> int:
    """Those of a long name."""
    units = len(name) if name.isascii() else len(name.encode("utf-16-le")) // 2
    return -(-units // UNITS_IN_SLOT)


def _shown(short: bytes) -> str:
    """A short name that was made here, with its dot."""
    text = short.decode("ascii")
    base, extension = text[:8].rstrip(), text[8:].rstrip()
    return f"{base}.{extension}" if extension else base
