"""The partition that somebody has named by its number: as a device, and its volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from octavo.cache.manager import CacheManager
from octavo.fs.probe import probe
from octavo.fs.reading import reader
from octavo.status import Status, StatusError
from octavo.storage.device import SECTOR, Device
from octavo.storage.partition import CONTAINERS, UNITS, Partition
from octavo.storage.partitions import partitions

if TYPE_CHECKING:
    from octavo.fs.protocol import FileSystemVolume


async def find_partition(
    device: Device, cache: CacheManager, number: int, unit: int = SECTOR
) -> Partition:
    """The partition of a number, as a device. StatusError NO_SUCH_DEVICE, UNRECOGNIZED_VOLUME for
    one in which there are others.
    """
    table = await partitions(device, reader(device, cache), unit)
    entry = table.entry(number, device.name)
    if entry.type in CONTAINERS:
        text = f"{device.name}: {entry.title} has other partitions in it, and no volume"
        raise StatusError(Status.UNRECOGNIZED_VOLUME, text)
    return Partition(device, entry)


async def mount_partition(
    device: Device, cache: CacheManager, codepage: str, number: int
) -> FileSystemVolume:
    """The volume in a partition, of which an MBR says in sectors of which size it likes where it
    is.
    """
    part = await find_partition(device, cache, number)
    what = f"{device.name}, {part.entry.title}"
    try:
        return await probe(part, cache, codepage, what)
    except StatusError as error:
        if error.status != Status.UNRECOGNIZED_VOLUME or not part.entry.type.startswith("0x"):
            raise
        why = error
    for unit in UNITS[1:]:
        try:
            part = await find_partition(device, cache, number, unit)
            return await probe(part, cache, codepage, what, unit)
        except StatusError as error:
            if error.status not in (Status.UNRECOGNIZED_VOLUME, Status.NO_SUCH_DEVICE):
                raise
    raise why
