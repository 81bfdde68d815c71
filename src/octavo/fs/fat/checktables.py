"""The tables of a FAT volume, checked and mended: the copies of the FAT, its first two entries,
lost clusters, FSInfo, and the label in the boot sector.

Parts of `octavo.fs.fat.check`; `check_lost` comes after all chains have been followed, and
`check_label` after the root directory.

Source and Departures: which label is right, and that a volume without one has "NO NAME" there, is
as fsck.fat (dosfstools 4.2) has it. It writes a label also into boot sectors that have no field for
one, by their signature; here they stay as they are, since boot code may be in its place.
"""

from __future__ import annotations

import struct

import numpy as np

from octavo.fs.fat.bpb import FSINFO_LEAD, FSINFO_MIDDLE, NO_LABEL, UNKNOWN
from octavo.fs.fat.findings import Findings, done
from octavo.fs.fat.labels import boot_sectors
from octavo.fs.fat.names import shown_label
from octavo.machine.abi import PAGE_SIZE
from octavo.memory.pagers.region import RegionPager, whole_device
from octavo.memory.pages.section import VIEW_SIZE, Section
from octavo.printing import counted
from octavo.status import StatusError

MEDIA_OFFSET = 21  # in the boot sector


async def check_copies(check: Findings) -> None:
    """All copies of the FAT say the same."""
    format, g = check.format, check.format.geometry
    if not g.mirrored or g.fats < 2:
        return
    section = Section(
        format.name, RegionPager(format.device), whole_device(format.device), format.device.size
    )
    try:
        for copy in range(1, g.fats):
            for at in range(0, g.fat_size, VIEW_SIZE):
                length = min(VIEW_SIZE, g.fat_size - at)
                first = await format.cache.copy_read(section, g.fat_offset + at, length)
                other = await format.cache.copy_read(
                    section, g.fat_offset + copy * g.fat_size + at, length
                )
                if first != other:
                    await check.say(
                        "volume", f"FAT {copy + 1} differs from FAT 1", _copy_fat(check)
                    )
                    break
    except StatusError as error:
        await check.say("volume", error.text)
    finally:
        await format.cache.drop(section)


async def check_reserved(check: Findings) -> None:
    """The two entries before the first cluster's: the media byte under ones, and an end of
    chain.
    """
    format, table = check.format, check.format.table
    media = format.cache.ram.bytes[await format.cache.address(format.section, MEDIA_OFFSET)]
    for number, right in ((0, table.mask & ~0xFF | media), (1, table.end_mark)):
        value = await table.get(number)
        if value < right & ~0xF:  # Windows clears a high bit of entry 1 while it has the volume
            what = f"entry {number} of the FAT is {value:#x} instead of {right:#x}"
            await check.say("volume", what, check.set(number, right))


async def _copy_fat(check: Findings) -> None:
    """Has all of the FAT written, which goes to each copy."""
    format = check.format
    for at in range(format.table.offset // PAGE_SIZE * PAGE_SIZE, format.section.size, PAGE_SIZE):
        await format.cache.address(format.section, at)
        format.cache.mark(format.section, at)


async def check_lost(check: Findings) -> None:
    """Clusters in use that nobody owns; they are freed only when all that is reachable was seen."""
    mend = check.repair and not check.unseen
    if lost := await free_unowned(check, mend):
        one = "cluster is in use and belongs to no file"
        what = counted(lost, one, "clusters are in use and belong to no file")
        await check.say("volume", what, done() if mend or not check.repair else None)


async def free_unowned(check: Findings, mend: bool) -> int:
    """Counts the clusters in use that nobody owns, and those that are free; with `mend`, frees the
    former.
    """
    table, cluster, lost, free = check.format.table, 2, 0, 0
    while cluster < table.limit:
        values = np.array(await table.values(cluster, 4096), np.uint32)
        used = (values != 0) & (values != table.bad)
        stray = np.flatnonzero(used & (check.owners.by[cluster : cluster + len(values)] == 0))
        if mend and len(stray):
            await check.mender.begin()
            await check.free([cluster + int(i) for i in stray])
        lost += len(stray)
        free += int(np.count_nonzero(values == 0)) + (len(stray) if mend else 0)
        cluster += len(values)
    table.books.counted(free)
    return lost


async def check_fsinfo(check: Findings) -> None:
    """The FSInfo sector has its signatures and the right count."""
    format, g = check.format, check.format.geometry
    if not g.fsinfo_offset:
        return
    data = await format.cache.copy_read(format.section, g.fsinfo_offset, 512)
    lead, middle = struct.unpack_from("<I", data)[0], struct.unpack_from("<I", data, 484)[0]
    free = struct.unpack_from("<I", data, 488)[0]
    if lead != FSINFO_LEAD or middle != FSINFO_MIDDLE:
        await check.say("volume", "the FSInfo sector has no signature", _sign_fsinfo(check))
    elif free not in (format.table.books.free_count, UNKNOWN):
        what = f"FSInfo counts {free} free clusters, and there are {format.table.books.free_count}"
        await check.say("volume", what, check.summarize())


async def _sign_fsinfo(check: Findings) -> None:
    section, at = check.format.section, check.format.geometry.fsinfo_offset
    blank = struct.pack("<I480xI8x12xI", FSINFO_LEAD, FSINFO_MIDDLE, 0xAA550000)
    await check.mender.put(section, at, blank)
    await check.summarize()


async def check_label(check: Findings, label: bytes) -> None:
    """The boot sector has the label of the root directory (11 bytes; b"": none), byte by byte."""
    format, at = check.format, check.format.geometry.label_offset
    if not at:
        return
    label = label or NO_LABEL
    there = await format.cache.copy_read(format.section, at, len(label))
    if there == label:
        return
    boot, root = shown_label(there, format.codepage), shown_label(label, format.codepage)
    what = f"the boot sector has {_named(boot)}, and the root directory has {_named(root)}"
    if boot == root:
        what = f"the boot sector has {_named(boot)}, and has not filled up its place with blanks"
    await check.say("volume", what, _write_label(check, label))


def _named(label: str) -> str:
    return f"the label {label!r}" if label else "no label"


async def _write_label(check: Findings, label: bytes) -> None:
    """Puts a label into the boot sector, and into FAT32's backup of it."""
    format, g = check.format, check.format.geometry
    for sector in await boot_sectors(format):
        await check.mender.put(format.section, sector + g.label_offset, label)
    format.label = shown_label(label, format.codepage)
