"""Mounting FAT: the geometry in a first sector, and the volume made from it."""

from __future__ import annotations

from dataclasses import replace

from octavo.cache.manager import CacheManager
from octavo.fs.fat.bpb import DIRTY_FLAG, Geometry, parse_boot_sector
from octavo.fs.fat.entry import Entry, parse_directory
from octavo.fs.fat.volume import fat_volume
from octavo.fs.reading import read_device
from octavo.fs.vfs.volume import Volume
from octavo.status import Status, StatusError
from octavo.storage.device import SECTOR, Device


async def mount_fat(
    device: Device, cache: CacheManager, codepage: str, name: str, unit: int
) -> Volume[Entry]:
    """The volume on a device that sentences call `name` and that was found by a table of sectors of
    `unit` bytes; `codepage` is that of short names. StatusError UNRECOGNIZED_VOLUME says why there
    is none.
    """
    sector = await read_device(device, cache, 0, SECTOR)
    geometry = parse_boot_sector(sector, name, device.size)
    if unit not in (SECTOR, geometry.sector) and device.size != geometry.size:
        raise StatusError(
            Status.UNRECOGNIZED_VOLUME,
            f"{name}: is not what the partition has in sectors of {unit} bytes",
        )
    return await _volume(device, geometry, cache, sector, codepage)


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
