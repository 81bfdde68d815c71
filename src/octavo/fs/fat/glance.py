"""Directories of FAT that nobody has opened, read many at once: a level of a tree in one section
over the clusters of all of them, whose pages come and go again.

The medium says what is in them: what was changed has been opened, and is asked otherwise. Where a
directory is damaged, or cannot be read, nothing is said of it here: whoever opens it will be told.

Entries are decoded as arrays where NumPy is loaded; else they are parsed, until so many of them
were that its import would have been cheaper.
"""

from __future__ import annotations

import sys
from itertools import accumulate
from typing import TYPE_CHECKING, Any, cast

from octavo.cache.manager import CacheManager
from octavo.fs.fat.bpb import Geometry
from octavo.fs.fat.directory import named
from octavo.fs.fat.entry import parse_directory
from octavo.machine.abi import PAGE_SHIFT
from octavo.memory.pagers.region import Mapping, RegionPager
from octavo.memory.pagers.regionmap import RegionMap
from octavo.memory.pages.section import VIEW_SIZE, Section
from octavo.status import StatusError

if TYPE_CHECKING:
    from octavo.fs.fat.books import Run
    from octavo.fs.fat.decode import Decoded
    from octavo.fs.fat.table import FatTable
    from octavo.fs.protocol import FileInfo, Glance

MOST_BYTES = 1 << 20  # of directories, at once
MOST_CHAIN = 64  # clusters that are followed one by one
MOST_PARSED = 1 << 15  # entries: 3 us each, 0.6 as arrays; NumPy's import takes 80 to 150 ms


class Level:
    """Directories with their bytes, one behind the other."""

    def __init__(self, numbers: list[int], data: bytes, sizes: list[int]) -> None:
        self.numbers = numbers
        self.data = data
        self.bounds = [0, *accumulate(sizes)]  # in bytes


class Parsed:
    """The entries of a level's directories, parsed one by one."""

    def __init__(self, level: Level, wide: bool, codepage: str) -> None:
        self.all: list[list[FileInfo]] = []
        for begin, end in zip(level.bounds, level.bounds[1:], strict=False):
            parsed = parse_directory(level.data[begin:end], wide, codepage)
            self.all.append(cast("list[FileInfo]", list(named(parsed.entries).values())))

    def entries(self, directory: int) -> list[FileInfo]:
        """The entries of one directory."""
        return self.all[directory]


class Glances:
    """Looks at directories of one volume, which sentences call `name`."""

    def __init__(
        self,
        cache: CacheManager,
        pager: RegionPager,
        geometry: Geometry,
        table: FatTable,
        codepage: str,
        name: str,
    ) -> None:
        self._cache, self._pager, self._geometry, self._table = cache, pager, geometry, table
        self._codepage, self._name = codepage, name
        self._wide = geometry.bits == 32
        self._parsed = 0  # entries, so far

    async def look(self, numbers: list[int]) -> dict[int, Glance]:
        """What directories say, by their numbers, and what those below them say, as many as there
        is room for.
        """
        memory, root = self._cache.memory, self._geometry.root_cluster
        room = min(MOST_BYTES, memory.physical.available << PAGE_SHIFT >> 3)
        out: dict[int, Glance] = {}
        seen, levels, slots = {0, root}, list[Level](), list[tuple[Any, Any]]()
        arrays = "numpy" in sys.modules or self._parsed > MOST_PARSED
        while numbers and room > 0:
            new = [number for number in dict.fromkeys(numbers) if number not in seen]
            level = await self._read(new, room)
            if level is None:
                break
            seen.update(level.numbers)
            room -= len(level.data)
            if arrays:
                from octavo.fs.fat.decode import subdirectories, used_slots

                levels.append(level)
                slots.append(used_slots(level.data, level.bounds))
                numbers = subdirectories(slots[-1][0], self._wide)
            else:
                numbers = self._parse(level, out)
        if levels:
            self._decode(levels, slots, out)
        return out

    def _parse(self, level: Level, out: dict[int, Glance]) -> list[int]:
        """Parses directories; the numbers of those in them."""
        parsed = Parsed(level, self._wide, self._codepage)
        self._parsed += sum(map(len, parsed.all))
        out.update(_glances(level.numbers, parsed))
        return [e.number for entries in parsed.all for e in entries if e.is_directory]

    def _decode(
        self, levels: list[Level], slots: list[tuple[Any, Any]], out: dict[int, Glance]
    ) -> None:
        """Decodes directories of all levels at once."""
        from octavo.fs.fat.decode import decode, joined

        decoded = decode(*joined(slots), self._wide, self._codepage)
        if decoded is None:
            for level in levels:
                out.update(_glances(level.numbers, Parsed(level, self._wide, self._codepage)))
        else:
            out.update(_glances([n for level in levels for n in level.numbers], decoded))

    async def _read(self, numbers: list[int], room: int) -> Level | None:
        """The bytes of directories, as far as they have room; None for none of them."""
        g, cache = self._geometry, self._cache
        regions = RegionMap(g.cluster)
        taken, sizes = list[int](), list[int]()
        section = Section(f"{self._name}: directories", self._pager, Mapping(regions), 0)
        try:
            for number in numbers:
                runs = await self._chain(number)
                size = sum([count for _, count in runs]) * g.cluster
                if regions.total + size > room:
                    break
                if not size:
                    continue  # it is damaged
                for first, count in runs:
                    regions.append(g.place(first), count)
                taken.append(number)
                sizes.append(size)
            section.size = regions.total
            data = await cache.copy_read(section, 0, section.size) if taken else b""
        except StatusError:
            return None
        finally:
            for index in range(-(-regions.total // VIEW_SIZE)):
                cache.views.leave_behind(section, index)
            await cache.drop(section)
        return Level(taken, data, sizes) if taken else None

    async def _chain(self, number: int) -> list[Run]:
        """The clusters of a directory; none where its chain is damaged, or longer than a directory
        may be.
        """
        table = self._table
        if not 2 <= number < table.limit:
            return []
        books, runs, cluster = table.books, list[tuple[int, int]](), number
        if not (books.joins or books.cuts):
            for _ in range(MOST_CHAIN):
                following = table.peek(cluster)
                runs.append((cluster, 1))
                if following >= table.least_end:
                    return runs
                if not 2 <= following < table.limit:
                    break
                cluster = following
        runs, damage = await table.follow(number)
        size = sum([count for _, count in runs]) * self._geometry.cluster
        return [] if damage or size > self._geometry.most_directory else runs


class FatGlance:
    """A directory: number `index` of those in `found`."""

    __slots__ = ("_found", "_index")

    def __init__(self, found: Decoded | Parsed, index: int) -> None:
        self._found = found
        self._index = index

    def entries(self) -> list[FileInfo]:
        """Its entries, which become objects when they are asked for."""
        return cast("list[FileInfo]", self._found.entries(self._index))


def _glances(numbers: list[int], entries: Decoded | Parsed) -> dict[int, Glance]:
    return {number: FatGlance(entries, i) for i, number in enumerate(numbers)}
