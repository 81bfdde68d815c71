"""How many clusters of a FAT are free: believed where a clean volume says it, counted otherwise.

FSInfo is a note that others write, too, and not all of them with care. So it may be wrong, and only
what was counted is a reason to refuse something.

Source: Microsoft FAT specification, FSInfo.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable

from octavo.cache.manager import CacheManager
from octavo.fs.base import VolumeFullError
from octavo.fs.fat.books import Books
from octavo.fs.fat.bpb import FSINFO_BYTES, FSINFO_LEAD, FSINFO_MIDDLE
from octavo.memory.pages.section import Section
from octavo.printing import counted
from octavo.status import Status

Entries = Callable[[int], Awaitable[list[int]]]


class Census:
    """The count of the free ones of `clusters` clusters, which is kept in `books`. `entries` has
    the entries from a cluster on, some of them; `section` has an FSInfo sector that may be believed
    at `summary` (0: none).
    """

    def __init__(
        self,
        cache: CacheManager,
        section: Section,
        books: Books,
        clusters: int,
        entries: Entries,
        summary: int,
    ) -> None:
        self.cache = cache
        self.section = section
        self.books = books
        self.clusters = clusters
        self._entries = entries
        self._summary = summary

    async def count_free(self) -> int:
        """The number of free clusters: what the volume says, where that may be believed, or counted
        once; kept from then on.
        """
        await self.believe()
        if self.books.free_count < 0:
            await self._count()
        return self.books.free_count

    async def check_room(self, count: int, waiting: int = 0) -> None:
        """VolumeFullError when fewer than `count` clusters are free, or `waiting` to be: that
        is said of what was counted only.
        """
        free = await self.count_free() + waiting
        if free < count and self.books.believed:
            await self._count()
            free = self.books.free_count + waiting
        if free < count:
            raise self.full(count - free)

    def full(self, missing: int) -> VolumeFullError:
        """The error of a volume that has so many clusters less than are needed."""
        return VolumeFullError(
            Status.DISK_FULL,
            f"{self.section.name}: the volume is full: "
            f"{counted(missing, 'more cluster is', 'more clusters are')} needed",
        )

    async def believe(self) -> None:
        """Takes the number from FSInfo, once and before the first change: where it has its
        signatures, and there are so many clusters.
        """
        if not self._summary or self.books.free_count >= 0:
            return
        at, self._summary = self._summary, 0
        data = await self.cache.copy_read(self.section, at, FSINFO_BYTES)
        lead, middle, free = struct.unpack("<I480xII20x", data)
        if (lead, middle) == (FSINFO_LEAD, FSINFO_MIDDLE) and free <= self.clusters:
            self.books.free_count, self.books.believed = free, True

    async def _count(self) -> None:
        """Looks at every entry."""
        total, cluster, end = 0, 2, self.clusters + 2
        while cluster < end:
            values = await self._entries(cluster)
            total += values.count(0)
            cluster += len(values)
        self.books.counted(total)
