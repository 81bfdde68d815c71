"""Making FAT volumes as `octavo.fs.fat.shape` has planned them.

A label is in the boot sector and in the root directory. Everything is written through a section of
the device, and flushed before `make_fat` returns.
"""

from __future__ import annotations

import struct

from octavo.arguments import given
from octavo.cache.manager import CacheManager
from octavo.fs.fat.bpb import ENTRY_BYTES, FSINFO_LEAD, FSINFO_MIDDLE, NO_LABEL
from octavo.fs.fat.entry import VOLUME_LABEL, new_entry, to_dos
from octavo.fs.fat.labels import clean_label
from octavo.fs.fat.shape import OEM, Layout, Plan, impossible, plan_least, plan_volume
from octavo.memory.pagers.region import RegionPager, whole_device
from octavo.memory.pages.section import VIEW_SIZE, Section
from octavo.storage.device import SECTOR, Device, given_device

__all__ = ["Layout", "Plan", "boot_sector", "make_fat", "plan_least", "plan_volume"]
CODE_AT = {12: 62, 16: 62, 32: 90}  # of a boot sector, to where its mark is
_MARK_AT = 510
_MARK = b"\x55\xaa"


def boot_sector(plan: Plan, label: bytes, serial: int) -> bytes:
    """The first 512 bytes of sector 0; the others are zero."""
    small = plan.total < 65536 and plan.bits != 32
    sector = bytearray(SECTOR)
    jump, code = boot_code(plan)
    sector[0:11] = jump + plan.layout.oem.ljust(len(OEM))
    sector[CODE_AT[plan.bits] : CODE_AT[plan.bits] + len(code)] = code
    struct.pack_into(
        "<HBHBHHBHHHII", sector, 11,
        plan.sector, plan.per_cluster, plan.reserved, plan.fats, plan.root_entries,
        plan.total if small else 0, plan.media, 0 if plan.bits == 32 else plan.fat_sectors,
        plan.track, plan.heads, plan.layout.hidden, 0 if small else plan.total,
    )  # fmt: skip
    drive = 0x80 if plan.media == 0xF8 else 0
    tail = struct.pack(
        "<BBBI11s8s",
        drive,
        0,
        0x29,
        serial,
        (label.strip() and label) or NO_LABEL,
        f"FAT{plan.bits}".ljust(8).encode(),
    )
    if plan.bits == 32:
        struct.pack_into("<IHHIHH", sector, 36, plan.fat_sectors, 0, 0, 2, 1, plan.backup)
        sector[64 : 64 + len(tail)] = tail
    else:
        sector[36 : 36 + len(tail)] = tail
    sector[_MARK_AT:] = _MARK
    return bytes(sector)


def boot_code(plan: Plan) -> tuple[bytes, bytes]:
    """The jump over the fields, and the code behind them. StatusError INVALID_PARAMETER for code
    that has no room.
    """
    at, code = CODE_AT[plan.bits], plan.layout.code
    if len(code) == SECTOR and code[_MARK_AT:] == _MARK:
        return code[:3], code[at:_MARK_AT]
    if len(code) > _MARK_AT - at:
        raise impossible(
            f"a boot sector with {len(code)} bytes of code: FAT{plan.bits} has room for "
            f"{_MARK_AT - at}, or takes a whole sector of {SECTOR} with its mark"
        )
    return bytes((0xEB, at - 2, 0x90)), code


def _fsinfo(free: int) -> bytes:
    sector = bytearray(SECTOR)
    struct.pack_into("<I", sector, 0, FSINFO_LEAD)
    struct.pack_into("<III", sector, 484, FSINFO_MIDDLE, free, 2)
    sector[_MARK_AT:] = _MARK
    return bytes(sector)


async def make_fat(
    device: Device, cache: CacheManager, plan: Plan, label: str, blank: bool
) -> None:
    """Writes an empty volume to a device; `blank` says that the device is known to hold zeros.

    StatusError INVALID_PARAMETER for a plan of more bytes than the device has and for what is none,
    OBJECT_NAME_INVALID for the label, and what the device's writes end in.
    """
    given_device(device, "the device of a new volume")
    given(cache, CacheManager, "the cache that a volume is written through")
    if given(plan, Plan, "the plan of a volume").total * plan.sector > device.size:
        raise impossible(
            f"{plan.total * plan.sector} bytes on {device.name}, which has {device.size}"
        )
    name = clean_label(label)
    serial = plan.layout.serial
    if serial is None:
        wall = cache.memory.scheduler.clock.wall()
        serial = int(wall) + int(wall % 1 * (1 << 32)) & 0xFFFFFFFF  # two of one second differ
    sector = boot_sector(plan, name, serial)
    section = Section(device.name, RegionPager(device), whole_device(device), device.size)
    fat_bytes, root_bytes = plan.fat_sectors * plan.sector, plan.root_entries * ENTRY_BYTES
    first_fat = plan.reserved * plan.sector
    root = first_fat + plan.fats * fat_bytes
    try:
        if not blank:
            end = root + (root_bytes or plan.cluster)
            for at in range(0, end, VIEW_SIZE):
                await cache.copy_write(section, at, bytes(min(VIEW_SIZE, end - at)))
        await cache.copy_write(section, 0, sector)
        if plan.bits == 32:
            info = _fsinfo(plan.clusters - 1)
            copies = ((plan.backup, sector), (plan.backup + 1, info)) if plan.backup else ()
            for at, data in ((1, info), *(c for c in copies if c[0] < plan.reserved)):
                await cache.copy_write(section, at * plan.sector, data)
        head = {
            12: bytes((plan.media, 0xFF, 0xFF)),
            16: bytes((plan.media, 0xFF, 0xFF, 0xFF)),
            32: struct.pack("<III", 0x0FFFFF00 | plan.media, 0x0FFFFFFF, 0x0FFFFFFF),
        }[plan.bits]
        for i in range(plan.fats):
            await cache.copy_write(section, first_fat + i * fat_bytes, head)
        if name.strip():
            entry = new_entry(label, VOLUME_LABEL, _now(cache), name)
            await cache.copy_write(section, root, entry.pack())
        await cache.flush(section)
        await device.flush()
    finally:
        await cache.drop(section)


def _now(cache: CacheManager) -> tuple[int, int, int]:
    clock = cache.memory.scheduler.clock
    return to_dos(clock.local(clock.wall()))
