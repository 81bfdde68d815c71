"""Many files read together, in the order in which they lie on the device.

    extents of all files, sorted     [a a][b][c c c] | [d][e e] ...
                                     '- one section -'  whose pages are read from the device, looked
                                                        at in their frames, and freed again

A section is made for each stretch of at most `MOST_PAGES`, over the extents of its files; nobody
else knows it. Files are told by the numbers that a listing has of them, so the volume must not have
changed since; the caller has its mutex, so that it does not meanwhile. What has pages that the
device has not yet is left out, as is what is larger than a stretch, or damaged: whoever reads it by
itself gets it, or will be told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from octavo.cache.manager import CacheManager
from octavo.fs.vfs.node import E
from octavo.fs.vfs.packing import Found, Give, Window
from octavo.fs.vfs.stage import MOST_PAGES, SHARE, Buffers
from octavo.machine.abi import PAGE_SHIFT, SEGMENT_PAGES
from octavo.memory.pagers.region import Mapping, RegionPager
from octavo.memory.pagers.regionmap import RegionMap
from octavo.memory.pages.section import Pins, Section
from octavo.status import StatusError

if TYPE_CHECKING:
    from octavo.fs.vfs.format import Extents
    from octavo.fs.vfs.nodes import Nodes


async def read_batch(
    nodes: Nodes[E],
    extents: Extents,
    pager: RegionPager,
    files: Sequence[tuple[int, int]],
    give: Give,
) -> None:
    """Gives the bytes of files, (number, size) each, as far as they can be read together, until
    `give` says that it wants no more.
    """
    room = min(MOST_PAGES, nodes.cache.memory.physical.available // SHARE) << PAGE_SHIFT
    unwritten = _unwritten(nodes)
    order = sorted((number, i) for i, (number, size) in enumerate(files) if number not in unwritten)
    load, regions = list[Found](), RegionMap(extents.unit)
    for number, i in order:
        size = files[i][1]
        runs = await extents.of(number, size) if size and size <= room else []
        if runs is None or (size and not runs):
            continue
        if regions.total + sum([n for _, n in runs]) * extents.unit > room:
            if not await _give(nodes.cache, pager, regions, load, give):
                return
            load, regions = [], RegionMap(extents.unit)
        load.append((i, regions.total, size))
        for place, units in runs:
            regions.append(place, units)
    if load:
        await _give(nodes.cache, pager, regions, load, give)


def _unwritten(nodes: Nodes[E]) -> set[int]:
    """The numbers of files of which the device may not have all bytes."""
    return {
        node.entry.number
        for node in nodes.used
        if (s := node.section) is not None and (s.dirty or s.writes or s.views or node.stale)
    }


async def _give(
    cache: CacheManager, pager: RegionPager, regions: RegionMap, load: list[Found], give: Give
) -> bool:
    """Reads what the files of a load have, and gives it away; nothing of a load that cannot be
    read.
    """
    try:
        async with _shown(cache, pager, regions) as window:
            return give(load, window)
    except StatusError:
        return True


@asynccontextmanager
async def _shown(
    cache: CacheManager, pager: RegionPager, regions: RegionMap
) -> AsyncIterator[Window]:
    """The bytes of regions, in frames."""
    section = Section("a stage", pager, Mapping(regions), regions.total)
    try:
        with Pins() as pins:
            left = section.pages
            for index in range(-(-left // SEGMENT_PAGES)):
                segment = await cache.views.get(section, index)
                pins.pin(segment)
                count = min(left, SEGMENT_PAGES)
                await cache.memory.faults.make_resident(segment, 0, count, count)
                left -= count
            yield Buffers(cache.ram, pins).window
    finally:
        for index in range(-(-section.pages // SEGMENT_PAGES)):
            cache.views.leave_behind(section, index)
        await cache.drop(section)
