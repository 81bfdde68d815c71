"""Bytes of a device that has no volume yet: through a section and the cache, as everything."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from octavo.cache.manager import CacheManager
from octavo.memory.pagers.region import RegionPager, whole_device
from octavo.memory.pages.section import Section
from octavo.storage.device import Device

if TYPE_CHECKING:
    from octavo.storage.partition import Read


async def read_device(device: Device, cache: CacheManager, offset: int, length: int) -> bytes:
    """Bytes of a device, those behind its end left out, through a section that lives for this one
    read.
    """
    section = Section(device.name, RegionPager(device), whole_device(device), device.size)
    try:
        return await cache.copy_read(section, offset, length)
    finally:
        await cache.drop(section)


def reader(device: Device, cache: CacheManager) -> Read:
    """`read_device` of this device."""
    return partial(read_device, device, cache)
