"""Many chains planned at once, and looked at.

    clusters     5  6  7 | 9 10 | 11     runs that were free, in the order in which they are used
    counts       2, 2, 2
    entries      6  E  9   E 11   E      of these clusters; then by number, page by page

FAT12 packs two entries into three bytes, so that a stretch of them is one number with digits of 12
bits; it is put beside the halves that are there.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from octavo.fs.fat.books import FatChange
from octavo.fs.fat.bpb import Geometry
from octavo.fs.fat.table import PAGE_CLUSTER, FatTable
from octavo.machine.abi import PAGE_SIZE
from octavo.status import Status, StatusError


async def plan_chains(table: FatTable, change: FatChange, counts: Sequence[int]) -> list[int]:
    """Plans free clusters, so many for each of new chains; returns the first of each, 0 for none.

    StatusError DISK_FULL when there are not so many.
    """
    assert not change.taken
    total = sum(counts)
    if not total:
        return [0] * len(counts)
    runs = change.taken = await table.search.find(total)
    clusters = [cluster for first, n in runs for cluster in range(first, first + n)]
    entries, firsts, at = clusters[1:], list[int](), 0
    entries.append(0)
    for count in counts:
        firsts.append(clusters[at] if count else 0)
        at += count
        if count:
            entries[at - 1] = table.end_mark
    change.pieces = []
    stretches = _stretches(clusters, entries) if len(runs) > 1 else [(runs[0][0], entries)]
    for first, values in stretches:
        if table.bits == 12:
            await _plan12(table, change, first, values)
        else:
            await _plan(table, change, first, values)
    return firsts


def _stretches(clusters: list[int], entries: list[int]) -> Iterator[tuple[int, list[int]]]:
    """Clusters in a row as (first, entries). They are as they were found, and may touch in the
    other order.
    """
    pairs = sorted(zip(clusters, entries, strict=True))
    begin = 0
    for i in range(1, len(pairs) + 1):
        if i == len(pairs) or pairs[i][0] != pairs[i - 1][0] + 1:
            yield pairs[begin][0], [value for _, value in pairs[begin:i]]
            begin = i


async def _plan(table: FatTable, change: FatChange, first: int, values: list[int]) -> None:
    """Plans the entries of clusters in a row that are free (FAT16, FAT32)."""
    width, ram, pieces = table.bits >> 3, table.cache.ram, change.pieces
    assert isinstance(pieces, list)
    words, kind = (ram.half, "H") if width == 2 else (ram.word, "I")
    done = 0
    while done < len(values):
        at = table.offset + (first + done) * width
        n = min(len(values) - done, (PAGE_SIZE - at % PAGE_SIZE) // width)
        start = await table.cache.address(table.section, at, PAGE_CLUSTER) // width
        new, old = values[done : done + n], words[start : start + n].tolist()
        if any(old):
            assert not any(value & table.mask for value in old), "clusters are in use"
            new = [value | kept for value, kept in zip(new, old, strict=True)]
        change.edit(table.section, at, array(kind, new).tobytes())
        pieces.append((first + done, n))
        done += n


async def _plan12(table: FatTable, change: FatChange, first: int, values: list[int]) -> None:
    """As `_plan`, for FAT12."""
    start, end = first & ~1, first + len(values) + 1 & ~1
    at, size = table.offset + start * 3 // 2, (end - start) * 3 // 2
    data = await table.cache.copy_read(table.section, at, size)
    old, shift = int.from_bytes(data, "little"), 12 * (first - start)
    assert not old >> shift & (1 << 12 * len(values)) - 1, "clusters are in use"
    new = int("".join([f"{value:03x}" for value in reversed(values)]), 16)
    change.edit(table.section, at, (old | new << shift).to_bytes(len(data), "little"))


class FatExtents:
    """Where files are, by their first clusters: most chains are in a row, and seen to be so in the
    entries of a piece of the table.
    """

    def __init__(self, table: FatTable, geometry: Geometry) -> None:
        self.unit = geometry.cluster
        self._table, self._place = table, geometry.place
        self._first, self._values = 0, list[int]()  # entries of the clusters from the first on

    async def of(self, number: int, size: int) -> list[tuple[int, int]] | None:
        """None where the chain is damaged, or too short."""
        table, count = self._table, -(-size // self.unit)
        if not 2 <= number < table.limit:
            return None
        if not self._first <= number <= self._first + len(self._values) - count:
            self._first, self._values = number, await table.many(number)
        at = number - self._first
        following = self._values[at : at + count]
        if (
            len(following) == count
            and following[:-1] == list(range(number + 1, number + count))
            and following[-1] >= table.least_end
        ):
            return [(self._place(number), count)]
        return await self._follow(number, count)

    async def _follow(self, number: int, count: int) -> list[tuple[int, int]] | None:
        """Those of a chain in pieces."""
        out = []
        try:
            runs = await self._table.chain(number, "")
        except StatusError as error:
            if error.status != Status.FILE_CORRUPT_ERROR:
                raise
            return None
        for first, n in runs:
            out.append((self._place(first), min(n, count)))
            count -= out[-1][1]
            if not count:
                return out
        return None
