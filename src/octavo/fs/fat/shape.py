"""What a new FAT volume looks like: its type, its clusters, and where everything is.

Sizes of clusters and FATs follow the tables in Microsoft's specification, and the layout is what
mkfs.fat makes: FAT12 and FAT16 with 1 reserved sector and 512 root entries (floppies as their
formats have it), FAT32 with 32 reserved sectors, FSInfo in sector 1 and a copy of the boot sector
in sector 6. Sectors have 512 bytes; with clusters of more than 64 KiB, which 128 of those cannot
make, they have 4096. A `Layout` says what is to be otherwise.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace

from octavo.arguments import given, hexed, octets, shown, whole
from octavo.fs.fat.bpb import (
    ENTRY_BYTES,
    FAT12_CLUSTERS,
    FAT16_CLUSTERS,
    MAX_CLUSTERS,
    MAX_SECTORS_PER_CLUSTER,
)
from octavo.status import Status, StatusError
from octavo.storage.device import LARGEST_DEVICE, SECTOR

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
# up to which size volumes get so many sectors per cluster; 64 beyond
_BEST = {
    12: ((LARGEST_DEVICE, 4),),
    16: ((16 * MIB, 2), (128 * MIB, 4), (256 * MIB, 8), (512 * MIB, 16), (1024 * MIB, 32)),
    32: ((260 * MIB, 1), (8192 * MIB, 8), (16384 * MIB, 16), (32768 * MIB, 32)),
}
LARGE_SECTOR = 4096
MAX_CLUSTER_BYTES = 256 << 10  # Windows makes no larger ones


SECTORS = (512, 1024, 2048, 4096)  # bytes
MEDIA = (0xF0, *range(0xF8, 0x100))
OEM = b"OCTAVO  "


@dataclass(frozen=True)
class Layout:
    """What of a new volume is to be otherwise than it would be; 0 (of `media` and `serial` None)
    stands for what it would be.

    `sector` is in bytes; `reserved` are the sectors before the FATs, `root_entries` those of the
    root directory of FAT12 and FAT16, which fill whole sectors; `hidden` are the sectors before the
    volume on its disk, as the boot sector has them; `code` is what a PC runs, from behind the
    fields of the boot sector on, or a whole boot sector whose jump and code are taken.
    """

    sector: int = 0
    reserved: int = 0
    root_entries: int = 0
    media: int | None = None
    track: int = 0
    heads: int = 0
    hidden: int = 0
    oem: bytes = OEM
    code: bytes = b""
    serial: int | None = None


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
    layout: Layout = Layout()

    @property
    def backup(self) -> int:
        """The sector of the copy of a FAT32 boot sector, as mkfs.fat chooses it; 0 for none."""
        if self.reserved > 6:
            return 6
        return self.reserved - (2 if self.reserved > 3 else 1) if self.reserved > 2 else 0

    def holds(self, clusters: int, root_slots: int) -> bool:
        """Whether so many clusters, those of a FAT32 root directory left out, and so many entries
        in the root directory have room.
        """
        if self.bits != 32:
            return clusters <= self.clusters and root_slots <= self.root_entries
        return clusters + max(1, -(-root_slots * ENTRY_BYTES // self.cluster)) <= self.clusters

    @property
    def cluster(self) -> int:
        """Bytes in a cluster."""
        return self.per_cluster * self.sector


def plan_volume(
    size: int, bits: int = 0, cluster: int = 0, fats: int = 2, layout: Layout = Layout()
) -> Plan:
    """The plan for a volume of `size` bytes; 0 stands for what fits best. StatusError
    INVALID_PARAMETER when it cannot be.
    """
    whole(size, "the size of a volume", 0, LARGEST_DEVICE)
    sector = _check(bits, cluster, fats, layout)
    total = size // sector
    if total > 0xFFFFFFFF:
        raise impossible(
            f"{size} bytes: FAT's limit is {sector >> 8} TiB with sectors of {sector} bytes"
        )
    plain = size % 1024 == 0 and bits in (0, 12) and sector == SECTOR
    floppy = FLOPPIES.get(size // 1024) if plain else None
    per_cluster = floppy[0] if floppy else 0
    for kind in [bits] if bits else _by_size(size, floppy is not None, layout):
        fixed = cluster // sector or per_cluster
        for choice in [fixed] if fixed else _choices(kind, size):
            plan = _fit(kind, sector, total, choice, fats, _filled(layout, sector, floppy))
            if plan is not None:
                return plan
    raise impossible(
        f"{size} bytes as FAT{bits or ''}"
        + (f" with clusters of {cluster} bytes" if cluster else "")
    )


def plan_least(
    clusters: Callable[[int], int],
    root_slots: int,
    bits: int = 0,
    cluster: int = 0,
    fats: int = 2,
    layout: Layout = Layout(),
) -> Plan:
    """The plan for the smallest volume that holds as many clusters as `clusters` says for clusters
    of so many bytes, those of a FAT32 root directory left out, and `root_slots` entries in the
    root directory.

    Type and clusters are those that a volume of its size gets, where there is such a one: a
    smaller volume may be possible with smaller clusters. One cluster fewer would do only where the
    type could not have fewer. StatusError INVALID_PARAMETER when there is none.
    """
    sector = _check(bits, cluster, fats, layout)
    found: list[tuple[bool, int, Plan]] = []
    for kind in [bits] if bits else _by_size(0, False, layout):
        for per in [cluster // sector] if cluster else [1 << i for i in range(8)]:
            filled = _filled(layout, sector)
            wanted = clusters(per * sector)
            if kind == 32:
                wanted += max(1, -(-root_slots * ENTRY_BYTES // (per * sector)))
            elif root_slots > filled.root_entries and not layout.root_entries:
                filled = _filled(replace(layout, root_entries=root_slots), sector)
            plan = _least(kind, sector, per, fats, wanted, filled)
            if plan is not None and plan.holds(clusters(plan.cluster), root_slots):
                size = plan.total * sector
                usual = (bits or _by_size(size, False, layout)[0]) == kind and (
                    bool(cluster) or _choices(kind, size)[0] == per
                )
                found.append((not usual, plan.total, plan))
    if not found:
        raise impossible("a volume of this kind that holds so much")
    return min(found, key=lambda row: row[:2])[2]


def _least(
    bits: int, sector: int, per_cluster: int, fats: int, wanted: int, layout: Layout
) -> Plan | None:
    """The plan with the fewest sectors for at least so many clusters; None when the type cannot
    have them.
    """
    clusters = max(wanted, _BOUNDS[bits][0])
    reserved, root = _fixed(bits, sector, layout)
    fat = -(-(clusters + 2) * bits // (8 * sector))
    total = reserved + root + fats * fat + clusters * per_cluster
    return _fit(bits, sector, total, per_cluster, fats, layout) if total <= 0xFFFFFFFF else None


def _check(bits: int, cluster: int, fats: int, layout: Layout) -> int:
    """The bytes of a sector. StatusError INVALID_PARAMETER for what no volume has."""
    for number, what in (
        (bits, "the bits of a FAT's entry"),
        (cluster, "the bytes of a cluster"),
        (fats, "the number of FATs"),
    ):
        whole(number, what, 0, LARGEST_DEVICE)
    given(layout, Layout, "the layout of a volume")
    if bits not in (0, *FAT_BITS):
        raise impossible(f"a FAT of {bits} bits: there are FAT12, FAT16 and FAT32")
    if bits == 32 and layout.reserved == 1:
        raise impossible("FAT32 with 1 reserved sector: it needs another for FSInfo")
    if bits == 32 and layout.root_entries:
        raise impossible("FAT32 with root entries: its root directory grows like any other")
    if fats not in (1, 2):
        raise impossible(f"{fats} FATs: there can be 1 or 2")
    sector = layout.sector or (
        SECTOR if cluster <= MAX_SECTORS_PER_CLUSTER * SECTOR else LARGE_SECTOR
    )
    if sector not in SECTORS:
        raise impossible(f"a sector of {shown(sector)} bytes: there are 512, 1024, 2048 and 4096")
    if cluster and (cluster % sector or cluster & (cluster - 1) or cluster > MAX_CLUSTER_BYTES):
        raise impossible(
            f"a cluster of {cluster} bytes: it must be a power of two from {sector} to "
            f"{MAX_CLUSTER_BYTES}"
        )
    if cluster // sector > MAX_SECTORS_PER_CLUSTER:
        raise impossible(f"a cluster of {cluster} bytes: it has at most 128 sectors")
    _check_layout(layout, sector)
    return sector


def _check_layout(layout: Layout, sector: int) -> None:
    for number, what, most in (
        (layout.reserved, "the number of reserved sectors", 0xFFFF),
        (layout.root_entries, "the number of root entries", 0xFFFF),
        (layout.track, "the number of sectors per track", 0xFFFF),
        (layout.heads, "the number of heads", 0xFFFF),
        (layout.hidden, "the number of hidden sectors", 0xFFFFFFFF),
        (layout.serial or 0, "a serial number", 0xFFFFFFFF),
    ):
        whole(number, what, 0, most)
    if layout.media is not None and layout.media not in MEDIA:
        raise impossible(f"the media byte {hexed(layout.media)}: it is 0xf0, or 0xf8 to 0xff")
    if len(octets(layout.oem, "the name of an OEM")) > len(OEM):
        raise impossible(f"the OEM name {shown(layout.oem)}: it has at most {len(OEM)} bytes")
    octets(layout.code, "boot code")


def _filled(
    layout: Layout, sector: int, floppy: tuple[int, int, int, int, int] | None = None
) -> Layout:
    """A layout with what a volume has that is asked for nothing else."""
    _, root_entries, media, track, heads = floppy or (0, 512, 0xF8, 63, 255)
    in_sector = sector // ENTRY_BYTES  # fsck.fat refuses a root directory that ends within one
    return replace(
        layout,
        root_entries=-(-(layout.root_entries or root_entries) // in_sector) * in_sector,
        media=media if layout.media is None else layout.media,
        track=layout.track or track,
        heads=layout.heads or heads,
    )


def _by_size(size: int, floppy: bool, layout: Layout) -> list[int]:
    """Types to try for a size, best first; not FAT32 for a layout that it cannot have."""
    best = 12 if floppy or size < 4 * MIB else 16 if size < FAT32_LEAST else 32
    kinds = FAT_BITS[:2] if layout.root_entries or layout.reserved == 1 else FAT_BITS
    return sorted(kinds, key=lambda kind: kind != best)


def impossible(what: str) -> StatusError:
    """The error of a volume that cannot be."""
    return StatusError(
        Status.INVALID_PARAMETER, f"cannot make {what}; choose another --type, --size or --cluster"
    )


def _choices(bits: int, size: int) -> list[int]:
    """Sectors per cluster to try, best first."""
    powers = [1 << i for i in range(8)]
    best = next((n for limit, n in _BEST[bits] if size <= limit), 64)
    return [best] + [n for n in powers if n > best] + [n for n in reversed(powers) if n < best]


_BOUNDS = {  # clusters. FAT32 with fewer than the specification wants is FAT32 to Octavo and Linux,
    12: (1, FAT12_CLUSTERS - 1),  # but not to all: refused
    16: (FAT12_CLUSTERS, FAT16_CLUSTERS - 1),
    32: (FAT16_CLUSTERS, MAX_CLUSTERS),
}


def _fixed(bits: int, sector: int, layout: Layout) -> tuple[int, int]:
    """Sectors before the FATs, and those of a root directory that has a place of its own."""
    reserved = layout.reserved or (32 if bits == 32 else 1)
    return reserved, 0 if bits == 32 else -(-layout.root_entries * ENTRY_BYTES // sector)


def _fit(
    bits: int, sector: int, total: int, per_cluster: int, fats: int, layout: Layout
) -> Plan | None:
    """The plan with these clusters, or None when their number does not suit the type."""
    reserved, root = _fixed(bits, sector, layout)
    if per_cluster > MAX_SECTORS_PER_CLUSTER:
        return None

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
    least, most = _BOUNDS[bits]
    if not least <= clusters <= most:
        return None
    assert layout.media is not None, "a layout that is filled"
    return Plan(
        bits, sector, total, per_cluster, reserved, fats, fat,
        0 if bits == 32 else layout.root_entries, layout.media, layout.track, layout.heads,
        clusters, layout,
    )  # fmt: skip
