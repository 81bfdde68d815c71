"""Mounting: the volume of a device, or of the partition that is taken."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from octavo.cache.manager import CacheManager
from octavo.fs.fat.names import check_code_page
from octavo.fs.probe import probe
from octavo.fs.reading import read_device, reader
from octavo.status import Status, StatusError
from octavo.storage.device import SECTOR, Device

if TYPE_CHECKING:
    from octavo.fs.protocol import FileSystemVolume

MOST_TRIED = 256  # partitions
MOST_TOLD = 16  # sentences
_PLAIN = (0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E)
FAT_TYPES = frozenset(
    (
        *(f"0x{kind:02X}" for kind in (*_PLAIN, *(0x10 | kind for kind in _PLAIN), 0xEF)),
        "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
    )
)


async def mount(
    device: Device, cache: CacheManager, codepage: str | int = 437, number: int | None = None
) -> FileSystemVolume:
    """The volume on a device, or in the first of its partitions that has one; with `number`, in the
    partition of this number, or on the device itself (0).

    A table may lie in the boot sector of a volume that was on the whole disk before, and that is
    still there to look at. A GPT that its MBR stands for is believed: the disk is parted. An MBR
    is not, since boot sectors may look like one: where it leads to a volume and there is one on
    the whole device, too, neither is taken, for whoever writes to one destroys the other.

    Types say little about what is in a partition: EFI system partitions have FAT volumes, boot
    managers hide partitions under other types (0x11 for 0x01), and some cards have FAT volumes in
    partitions of types that belong to others. So all are tried that do not stand for others, those
    of FAT's types first. An MBR is read in sectors of 512 bytes, then of 2048 and 4096; what is
    found by larger ones has sectors of that size itself, or fills its partition.

    `codepage` is that of short names (437, 850, 932 or what Python calls it). StatusError
    UNRECOGNIZED_VOLUME says of the device, or of each of its partitions, why there is none, or why
    none is taken, NO_SUCH_DEVICE that there is no such partition, INVALID_PARAMETER that there is
    no such code page.
    """
    page = check_code_page(codepage)
    if number:
        from octavo.fs.numbered import mount_partition

        return await mount_partition(device, cache, page, number)
    try:
        volume = await probe(device, cache, page)
    except StatusError as error:
        if error.status != Status.UNRECOGNIZED_VOLUME or device.size < SECTOR or number == 0:
            raise
        return await _parted(device, cache, page, error)
    try:
        if number == 0 or await _is_meant(device, cache, page, volume):
            return volume
    except BaseException:
        await volume.unmount(discard=True)
        raise
    await volume.unmount(discard=True)
    text = f"{device.name}: has a GPT without partitions; {device.name}#0 is the whole of it"
    return await _parted(device, cache, page, StatusError(Status.UNRECOGNIZED_VOLUME, text))


async def _parted(
    device: Device, cache: CacheManager, page: str, whole: StatusError
) -> FileSystemVolume:
    """The volume in a partition; where there are none, `whole` says why the device has none."""
    why: list[str] = []
    volume = await _in_partitions(device, cache, page, why)
    if volume is not None:
        return volume
    if not why:
        raise whole
    told = sorted(why, key=_in_order)
    if len(told) > MOST_TOLD:
        told[MOST_TOLD:] = [f"and {len(told) - MOST_TOLD} more"]
    raise StatusError(
        Status.UNRECOGNIZED_VOLUME, f"{device.name}: has no FAT or ext2 volume: {'; '.join(told)}"
    )


async def _has_table(device: Device, cache: CacheManager) -> bool:
    """Whether the first sector has entries of a partition table, as few volumes have."""
    if device.size < 2 * SECTOR:
        return False
    sector = await read_device(device, cache, 0, SECTOR)
    if not any(sector[446:510]):
        return False
    from octavo.storage.mbr import is_table, used

    return is_table(sector) and any(used(sector))


async def _is_meant(
    device: Device, cache: CacheManager, page: str, volume: FileSystemVolume
) -> bool:
    """Whether `volume`, which a device has as a whole, is taken; else the device has a GPT.
    StatusError UNRECOGNIZED_VOLUME where an MBR leads to another volume.
    """
    if not await _has_table(device, cache):
        return True
    from octavo.storage.partition import Partition
    from octavo.storage.partitions import partitions

    table = await partitions(device, reader(device, cache))
    if table.scheme == "GPT":
        return False
    part = await _in_partitions(device, cache, page, [])
    if part is None:
        return True
    assert isinstance(part.device, Partition)
    number = part.device.entry.number
    await part.unmount(discard=True)
    raise StatusError(
        Status.UNRECOGNIZED_VOLUME,
        f"{device.name}: has a {volume.kind} volume as a whole, and a {part.kind} volume in "
        f"partition {number}: whoever writes to one destroys the other; {device.name}#0 is the "
        f"whole, {device.name}#{number} the partition",
    )


async def _in_partitions(
    device: Device, cache: CacheManager, codepage: str, why: list[str]
) -> FileSystemVolume | None:
    """The volume in the first partition that has one; `why` gets a sentence for each that has
    none.
    """
    from octavo.storage.partition import (
        CONTAINERS,
        UNITS,
        Partition,
    )  # no need of them for a plain volume
    from octavo.storage.partitions import partitions

    read = reader(device, cache)
    table = await partitions(device, read)
    why += table.faults
    tries = 0
    for unit in UNITS if table.scheme == "MBR" else UNITS[:1]:
        if unit > SECTOR:
            table = await partitions(device, read, unit)
        for entry in sorted(table.entries, key=lambda e: e.type not in FAT_TYPES):
            if entry.type in CONTAINERS:
                continue
            tries += 1
            if tries > MOST_TRIED:
                why.append(f"the partitions after the first {MOST_TRIED} were not tried")
                return None
            try:
                return await probe(Partition(device, entry), cache, codepage, entry.title, unit)
            except StatusError as error:
                if unit == SECTOR:
                    why.append(error.text)
    return None


def _in_order(text: str) -> list[str | int]:
    """What sentences are sorted by: the numbers in them as numbers."""
    return [int(part) if part.isdecimal() else part for part in re.split("([0-9]+)", text)]
