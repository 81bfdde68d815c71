"""Which file system a device has: each format is tried in turn.

A format is a coroutine that is given (device, cache, code page, the device's name in sentences, the
bytes in the sectors of the table that led to it). It returns the volume; None where its mark is
missing; and raises StatusError UNRECOGNIZED_VOLUME where it can say why there is none, or none that
it reads. Its files are imported when it is tried.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from octavo.cache.manager import CacheManager
from octavo.fs.reading import read_device
from octavo.status import Status, StatusError
from octavo.storage.device import SECTOR, Device

if TYPE_CHECKING:
    from octavo.fs.protocol import FileSystemVolume

    Format = Callable[[Device, CacheManager, str, str, int], Awaitable[FileSystemVolume | None]]


async def _fat(
    device: Device, cache: CacheManager, codepage: str, name: str, unit: int
) -> FileSystemVolume | None:
    from octavo.fs.fat.mount import mount_fat

    return await mount_fat(device, cache, codepage, name, unit)


async def _ext(
    device: Device, cache: CacheManager, codepage: str, name: str, unit: int
) -> FileSystemVolume | None:
    from octavo.fs.ext.format import mount_ext

    return await mount_ext(device, cache, name, unit)


FORMATS: tuple[Format, ...] = (_fat, _ext)


async def probe(
    device: Device, cache: CacheManager, codepage: str, name: str = "", unit: int = SECTOR
) -> FileSystemVolume:
    """The volume on a device, by the first format that knows it. StatusError UNRECOGNIZED_VOLUME
    says what else the device has, where that can be told, else what the last format said that had
    something to say.
    """
    name = name or device.name
    if device.size < SECTOR:
        text = f"{name}: has less than {SECTOR} bytes, and no volume is so small"
        raise StatusError(Status.UNRECOGNIZED_VOLUME, text)
    why = StatusError(Status.UNRECOGNIZED_VOLUME, f"{name}: has no volume")
    for form in FORMATS:
        try:
            volume = await form(device, cache, codepage, name, unit)
        except StatusError as error:
            if error.status != Status.UNRECOGNIZED_VOLUME:
                raise
            why = error
        else:
            if volume is not None:
                return volume
    from octavo.fs.foreign import LOOK_BYTES, foreign

    head = await read_device(device, cache, 0, min(LOOK_BYTES, device.size))
    if what := foreign(head):
        raise StatusError(Status.UNRECOGNIZED_VOLUME, f"{name}: {what}")
    raise why
