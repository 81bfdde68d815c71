"""Making FAT volumes.

Sizes of clusters and FATs follow the tables in Microsoft's specification, and the layout is what
mkfs.fat makes: FAT12 and FAT16 with 1 reserved sector and 512 root entries (floppies as their
formats have it), FAT32 with 32 reserved sectors, FSInfo in sector 1 and a copy of the boot sector
in sector 6. Sectors have 512 bytes; with clusters of more than 64 KiB, which 128 of those cannot
make, they have 4096. A label is in the boot sector and in the root directory.

Everything is written through a section of the device, and flushed before `make_fat` returns.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from dataclasses import dataclass

from octavo.arguments import given, whole
from octavo.cache.manager import CacheManager
from octavo.fs.fat.bpb import (
    ENTRY_BYTES,
    FAT12_CLUSTERS,
    FAT16_CLUSTERS,
    FSINFO_LEAD,
    FSINFO_MIDDLE,
    MAX_CLUSTERS,
    MAX_SECTORS_PER_CLUSTER,
    NO_LABEL,
)
from octavo.fs.fat.entry import VOLUME_LABEL, new_entry, to_dos
from octavo.fs.fat.labels import clean_label
from octavo.memory.pagers.region import RegionPager, whole_device
from octavo.memory.pages.section import VIEW_SIZE, Section
from octavo.status import Status, StatusError
from octavo.storage.device import LARGEST_DEVICE, SECTOR, Device, given_device

MIB = 1 << 20
# size in KiB -> (sectors/cluster, root entries, media, sectors/track, heads) of the floppy formats
FLOPPIES = {
    160: (1, 64, 0xFE, 8, 1),
    180: (1, 64, 0xFC, 9, 1),
    320: (2, 112, 0xFF, 8, 2),
    360: (2, 112, 0xFD, 9, 2),
    720: (2, 112, 0xF9, 9, 2),
    1200: (1, 224, 0xF9, 15, 2),
    1440: (1, 224, 0xF0, 18, 2),
    2880: (2, 240, 0xF0, 36, 2),
}
FAT32_LEAST = 512 * MIB  # from here on FAT32 is the default
FAT_BITS = (12, 16, 32)
LARGE_SECTOR = 4096
MAX_CLUSTER_BYTES = 256 << 10  # Windows makes no larger ones


@dataclass(frozen=True)
class Plan:
    """A volume to be made; counts in sectors unless the name says otherwise."""

    bits: int
    sector: int  # bytes
    total: int
    per_cluster: int
    reserved: int
    fats: int
    fat_sectors: int
    root_entries: int
    media: int
    track: int
    heads: int
    clusters: int

    @property
    def cluster(self) -> int:
        """Bytes in a cluster."""
        return self.per_cluster * self.sector


def plan_volume(size: int, bits: int = 0, cluster: int = 0, fats: int = 2) -> Plan:
    """The plan for a volume of `size` bytes; 0 stands for what fits best. StatusError
    INVALID_PARAMETER when it cannot be.
    """
    for number, what in (
        (size, "the size of a volume"),
        (bits, "the bits of a FAT's entry"),
        (cluster, "the bytes of a cluster"),
        (fats, "the number of FATs"),
    ):
        whole(number, what, 0, LARGEST_DEVICE)
    if bits not in (0, *FAT_BITS):
        raise _impossible(f"a FAT of {bits} bits: there are FAT12, FAT16 and FAT32")
    sector = SECTOR if cluster <= MAX_SECTORS_PER_CLUSTER * SECTOR else LARGE_SECTOR
    total = size // sector
    if total > 0xFFFFFFFF:
        raise _impossible(
            f"{size} bytes: FAT's limit is {sector >> 8} TiB with sectors of {sector} bytes"
        )
    if fats not in (1, 2):
        raise _impossible(f"{fats} FATs: there can be 1 or 2")
    if cluster and (cluster % SECTOR or cluster & (cluster - 1) or cluster > MAX_CLUSTER_BYTES):
        raise _impossible(
            f"a cluster of {cluster} bytes: it must be a power of two from 512 to "
            f"{MAX_CLUSTER_BYTES}"
        )
    floppy = FLOPPIES.get(size // 1024) if size % 1024 == 0 and bits in (0, 12) else None
    best = bits or (12 if floppy or size < 4 * MIB else 16 if size < FAT32_LEAST else 32)
    per_cluster, root_entries, media, track, heads = floppy or (0, 512, 0xF8, 63, 255)
    for kind in [bits] if bits else sorted(FAT_BITS, key=lambda kind: kind != best):
        fixed = cluster // sector or per_cluster
        for choice in [fixed] if fixed else _choices(kind, size):
            plan = _fit(kind, sector, total, choice, fats, root_entries, media, track, heads)
            if plan is not None:
                return plan
    raise _impossible(
        f"{size} bytes as FAT{bits or ''}"
        + (f" with clusters of {cluster} bytes" if cluster else "")
    )


def _impossible(what: str) -> StatusError:
    return StatusError(
        Status.INVALID_PARAMETER, f"cannot make {what}; choose another --type, --size or --cluster"
    )


def _choices(bits: int, size: int) -> list[int]:
    """Sectors per cluster to try, best first."""
    powers = [1 << i for i in range(8)]
    if bits == 32:
        best = next(
            (
                n
                for limit, n in (
                    (260 * MIB, 1),
                    (8192 * MIB, 8),
                    (16384 * MIB, 16),
                    (32768 * MIB, 32),
                )
                if size <= limit
            ),
            64,
        )
    elif bits == 16:
        best = next(
            (
                n
                for limit, n in (
                    (16 * MIB, 2),
                    (128 * MIB, 4),
                    (256 * MIB, 8),
                    (512 * MIB, 16),
                    (1024 * MIB, 32),
                )
                if size <= limit
            ),
            64,
        )
    else:
        best = 4
    return [best] + [n for n in powers if n > best] + [n for n in reversed(powers) if n < best]


def _fit(
    bits: int, sector: int, total: int, per_cluster: int, fats: int, root_entries: int,
    media: int, track: int, heads: int,
) -> Plan | None:  # fmt: skip
    """The plan with these clusters, or None when their number does not suit the type."""
    reserved = 32 if bits == 32 else 1
    root_entries = 0 if bits == 32 else root_entries
    root = -(-root_entries * ENTRY_BYTES // sector)

    def clusters_with(fat: int) -> int:
        return (total - reserved - root - fats * fat) // per_cluster

    # The least FAT that holds the clusters that it leaves room for: larger FATs leave fewer, so it
    # can be searched.
    fat = bisect_left(
        range(total // fats),
        True,
        key=lambda fat: (clusters_with(fat) + 2) * bits <= fat * 8 * sector,
    )
    clusters = clusters_with(fat)
    # FAT32 with fewer clusters than the specification wants is FAT32 to Octavo and Linux, but not
    # to all: refused.
    least, most = {
        12: (1, FAT12_CLUSTERS - 1),
        16: (FAT12_CLUSTERS, FAT16_CLUSTERS - 1),
        32: (FAT16_CLUSTERS, MAX_CLUSTERS),
    }[bits]
    if not least <= clusters <= most:
        return None
    return Plan(
        bits,
        sector,
        total,
        per_cluster,
        reserved,
        fats,
        fat,
        root_entries,
        media,
        track,
        heads,
        clusters,
    )


def boot_sector(plan: Plan, label: bytes, serial: int) -> bytes:
    """The first 512 bytes of sector 0; the others are zero."""
    small = plan.total < 65536 and plan.bits != 32
    sector = bytearray(SECTOR)
    sector[0:11] = b"\xeb\x58\x90OCTAVO  " if plan.bits == 32 else b"\xeb\x3c\x90OCTAVO  "
    struct.pack_into(
        "<HBHBHHBHHHII", sector, 11,
        plan.sector, plan.per_cluster, plan.reserved, plan.fats, plan.root_entries,
        plan.total if small else 0, plan.media, 0 if plan.bits == 32 else plan.fat_sectors,
        plan.track, plan.heads, 0, 0 if small else plan.total,
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
        struct.pack_into("<IHHIHH", sector, 36, plan.fat_sectors, 0, 0, 2, 1, 6)
        sector[64 : 64 + len(tail)] = tail
    else:
        sector[36 : 36 + len(tail)] = tail
    sector[510:512] = b"\x55\xaa"
    return bytes(sector)


def _fsinfo(free: int) -> bytes:
    sector = bytearray(SECTOR)
    struct.pack_into("<I", sector, 0, FSINFO_LEAD)
    struct.pack_into("<III", sector, 484, FSINFO_MIDDLE, free, 2)
    sector[510:512] = b"\x55\xaa"
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
        raise _impossible(
            f"{plan.total * plan.sector} bytes on {device.name}, which has {device.size}"
        )
    stamp_clock = cache.memory.scheduler.clock
    name = clean_label(label)
    serial = int(stamp_clock.wall()) & 0xFFFFFFFF
    section = Section(device.name, RegionPager(device), whole_device(device), device.size)
    fat_bytes, root_bytes = plan.fat_sectors * plan.sector, plan.root_entries * ENTRY_BYTES
    first_fat = plan.reserved * plan.sector
    root = first_fat + plan.fats * fat_bytes
    try:
        if not blank:
            end = root + (root_bytes or plan.cluster)
            for at in range(0, end, VIEW_SIZE):
                await cache.copy_write(section, at, bytes(min(VIEW_SIZE, end - at)))
        sector = boot_sector(plan, name, serial)
        await cache.copy_write(section, 0, sector)
        if plan.bits == 32:
            info = _fsinfo(plan.clusters - 1)
            for at, data in ((1, info), (6, sector), (7, info)):
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
