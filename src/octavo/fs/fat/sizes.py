"""Which layout a FAT volume gets when its size changes: see `octavo.fs.fat.resize`."""

from __future__ import annotations

from dataclasses import dataclass

from octavo.fs.fat.bpb import FAT12_CLUSTERS, FAT16_CLUSTERS, MAX_CLUSTERS, Geometry
from octavo.printing import counted
from octavo.status import Status, StatusError

MOST = {12: FAT12_CLUSTERS - 1, 16: FAT16_CLUSTERS - 1, 32: MAX_CLUSTERS}
MOST_SECTORS = 0xFFFFFFFF
MOST_RESERVED = 0xFFFF


@dataclass(frozen=True, slots=True)
class NewSize:
    """A layout; counts are in sectors unless they are of clusters. With `moved` the FATs are new,
    and begin that many clusters behind where data began.
    """

    total: int
    clusters: int
    moved: int
    reserved: int
    fat_sectors: int


def plan_size(g: Geometry, size: int, name: str) -> NewSize:
    """The layout of a volume for `size` bytes; it may be a little less, where larger FATs would
    take more than there is to be won.

    StatusError INVALID_PARAMETER for a size that the type of FAT cannot have, NOT_SUPPORTED where
    larger FATs have no place in front of the data.
    """
    total, per = min(size // g.sector, MOST_SECTORS), g.cluster // g.sector
    data = g.data_offset // g.sector
    clusters = max(0, total - data) // per
    entries = min(g.fat_size * 8 // g.bits - 2, MOST[g.bits])
    reserved = (g.root_offset - g.fats * g.fat_size) // g.sector
    same = g.fat_size // g.sector
    if clusters <= entries:
        _check(g, size, clusters, name)
        return NewSize(total, clusters, 0, reserved, same)
    larger = _larger(g, total)
    if larger.clusters <= entries < MOST[g.bits]:
        return NewSize(data + entries * per, entries, 0, reserved, same)
    _check(g, size, clusters if entries == MOST[g.bits] else larger.clusters, name)
    if larger.reserved > MOST_RESERVED:
        why = (
            f"{name}: cannot get larger FATs: there would be {larger.reserved} sectors in front "
            f"of them, and a boot sector counts {MOST_RESERVED}"
        )
        raise StatusError(Status.NOT_SUPPORTED, why)
    return larger


def _check(g: Geometry, size: int, clusters: int, name: str) -> None:
    """StatusError INVALID_PARAMETER when a type of FAT has not so many clusters."""
    least = {12: 1, 16: FAT12_CLUSTERS, 32: min(g.clusters, FAT16_CLUSTERS)}[g.bits]
    if not least <= clusters <= MOST[g.bits] or size // g.sector > MOST_SECTORS:
        raise StatusError(
            Status.INVALID_PARAMETER,
            f"{name}: cannot have {size} bytes: they are {clusters} clusters of {g.cluster} bytes, "
            f"and a {g.name} volume has {least} to {MOST[g.bits]}",
        )


def _larger(g: Geometry, total: int) -> NewSize:
    """The layout with FATs that have entries for all of so many sectors."""
    per, root = g.cluster // g.sector, -(-g.root_size // g.sector)
    data = g.data_offset // g.sector
    fat = -(-((total - data) // per + 2) * g.bits // (8 * g.sector))
    moved = -(-(g.fats * fat + root) // per)
    begin = data + moved * per
    return NewSize(total, (total - begin) // per, moved, begin - root - g.fats * fat, fat)


def no_room(name: str, missing: int) -> StatusError:
    """The error of a volume without room for what a new size takes."""
    return StatusError(
        Status.DISK_FULL,
        f"{name}: {counted(missing, 'more free cluster is', 'more free clusters are')} needed to "
        "make way for larger FATs: remove something first",
    )
