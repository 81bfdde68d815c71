"""Mounting: which file system a device has, and the volume made from it."""

from __future__ import annotations

from octavo.cache.manager import CacheManager
from octavo.fs.fat.bpb import DIRTY_FLAG, Geometry, parse_boot_sector
from octavo.fs.fat.volume import FatVolume
from octavo.io.device import SECTOR, Device
from octavo.io.partition import fat_partition
from octavo.io.regionpager import RegionPager, whole_device
from octavo.memory.section import Section
from octavo.status import StatusError


async def read_device(device: Device, cache: CacheManager, offset: int, length: int) -> bytes:
    """Bytes of a device, through a section that lives for this one read."""
    section = Section(device.name, RegionPager(device), whole_device(device), device.size)
    try:
        return await cache.copy_read(section, offset, length)
    finally:
        await cache.drop(section)


async def mount(device: Device, cache: CacheManager) -> FatVolume:
    """The volume on a device, or on the first FAT partition of it; StatusError UNRECOGNIZED_VOLUME says why there is none."""
    sector = await read_device(device, cache, 0, SECTOR)
    try:
        geometry = parse_boot_sector(sector, device.name, device.size)
    except StatusError:
        partition = fat_partition(device, sector)
        if partition is None:
            raise
        device = partition
        sector = await read_device(device, cache, 0, SECTOR)
        geometry = parse_boot_sector(sector, device.name, device.size)
    return _volume(device, geometry, cache, sector)


def _volume(device: Device, geometry: Geometry, cache: CacheManager, sector: bytes) -> FatVolume:
    volume = FatVolume(device, geometry, cache, device.read_only or geometry.truncated)
    volume.was_dirty = bool(sector[geometry.flags_offset] & DIRTY_FLAG)
    return volume
