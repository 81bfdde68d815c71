"""Mounting: which file system a device has, and the volume made from it."""

from __future__ import annotations

from dataclasses import replace

from octavo.cache.manager import CacheManager
from octavo.fs.fat.bpb import DIRTY_FLAG, Geometry, parse_boot_sector
from octavo.fs.fat.entry import Entry, parse_directory
from octavo.fs.fat.names import check_code_page
from octavo.fs.fat.volume import fat_volume
from octavo.fs.foreign import LOOK_BYTES, foreign
from octavo.fs.vfs.volume import Volume
from octavo.memory.pagers.region import RegionPager, whole_device
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError
from octavo.storage.device import SECTOR, Device
from octavo.storage.partition import Partition, partitions


async def read_device(device: Device, cache: CacheManager, offset: int, length: int) -> bytes:
    """Bytes of a device, through a section that lives for this one read."""
    section = Section(device.name, RegionPager(device), whole_device(device), device.size)
    try:
        return await cache.copy_read(section, offset, length)
    finally:
        await cache.drop(section)


async def mount(device: Device, cache: CacheManager, codepage: str | int = 437) -> Volume[Entry]:
    """The volume on a device, or in the first of its partitions that has one.

    `codepage` is that of short names (437, 850, 932 or what Python calls it). StatusError
    UNRECOGNIZED_VOLUME says of the device, or of each of its partitions, why there is none,
    INVALID_PARAMETER that there is no such code page.
    """
    page = check_code_page(codepage)
    sector = await _first_sector(device, cache)
    try:
        geometry = await _geometry(device, cache, sector, device.name)
    except StatusError:
        candidates, why = partitions(device, sector)
        if not candidates and not why:
            raise
    else:
        return await _volume(device, geometry, cache, sector, page)
    for partition in candidates:
        try:
            sector = await _first_sector(partition, cache)
            name = f"partition {partition.number} of type {partition.kind:#04x}"
            geometry = await _geometry(partition, cache, sector, name)
        except StatusError as error:
            if partition.unit == SECTOR:
                why.append(error.text)
        else:
            return await _volume(partition, geometry, cache, sector, page)
    raise StatusError(
        Status.UNRECOGNIZED_VOLUME, f"{device.name}: has no FAT volume: {'; '.join(sorted(why))}"
    )


async def _first_sector(device: Device, cache: CacheManager) -> bytes:
    if device.size < SECTOR:
        raise StatusError(
            Status.UNRECOGNIZED_VOLUME,
            f"{device.name}: has less than {SECTOR} bytes, and no FAT volume is so small",
        )
    return await read_device(device, cache, 0, SECTOR)


async def _geometry(device: Device, cache: CacheManager, sector: bytes, name: str) -> Geometry:
    """The geometry in a first sector. StatusError UNRECOGNIZED_VOLUME says what else the device is,
    where that can be told.
    """
    try:
        geometry = parse_boot_sector(sector, name, device.size)
    except StatusError as error:
        if what := foreign(await read_device(device, cache, 0, min(LOOK_BYTES, device.size))):
            raise StatusError(error.status, f"{name}: {what}") from None
        raise
    if (
        isinstance(device, Partition)
        and device.unit not in (SECTOR, geometry.sector)
        and device.size != geometry.size
    ):
        raise StatusError(
            Status.UNRECOGNIZED_VOLUME,
            f"{name}: is not what the partition has in sectors of {device.unit} bytes",
        )
    return geometry


async def _volume(
    device: Device, geometry: Geometry, cache: CacheManager, sector: bytes, codepage: str
) -> Volume[Entry]:
    if geometry.unreachable and not geometry.doubt and not await _fat_fits(device, geometry, cache):
        geometry = replace(
            geometry, doubt=f"{geometry.misfit}, and what follows it is not where it should be"
        )
    unclean = bool(sector[geometry.flags_offset] & DIRTY_FLAG)
    return await fat_volume(device, geometry, cache, unclean, codepage)


async def _fat_fits(device: Device, g: Geometry, cache: CacheManager) -> bool:
    """Whether the size of a FAT is right: a second one begins as the first does, or names are where
    the root directory is.
    """
    if g.fats > 1:
        first = g.root_offset - g.fats * g.fat_size
        heads = [
            (await read_device(device, cache, first + i * g.fat_size, 4))[: g.bits // 8]
            for i in (0, 1)
        ]
        return heads[0] == heads[1]
    root = g.root_offset if g.root_size else g.place(g.root_cluster)
    if root + SECTOR > device.size:
        return False
    parsed = parse_directory(await read_device(device, cache, root, SECTOR), g.bits == 32)
    return bool(parsed.entries or parsed.labels) and not parsed.broken
