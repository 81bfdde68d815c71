"""Volumes for tests that make many of them: in the host's memory, of every type and cluster size,
with as many free clusters as are wanted.
"""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

import octavo
from octavo.fs.fat.bpb import parse_boot_sector
from octavo.fs.fat.format import FatFormat
from octavo.fs.fat.mkfs import make_fat, plan_volume
from octavo.fs.fat.planner import FatPlanner
from octavo.fs.vfs.volume import Volume as MountedVolume
from octavo.storage.device import SECTOR
from octavo.testing.bufferdisk import BufferDisk

BAD = {12: 0xFF7, 16: 0xFFF7, 32: 0x0FFFFFF7}


@contextmanager
def shared_memory() -> Iterator[Path]:
    """A folder for images in the host's memory, where it has one."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="octavo-", dir=where))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def fat_of(volume: octavo.Volume) -> FatFormat:
    """The format of a FAT volume."""
    return cast(FatFormat, cast(MountedVolume[Any], volume.core).format)


def planner_of(volume: octavo.Volume) -> FatPlanner:
    """Who plans the changes of a FAT volume."""
    writer = cast(MountedVolume[Any], volume.core).writer
    assert writer is not None
    return cast(FatPlanner, writer.planner)


def map_file(path: Path) -> memoryview:
    """The bytes of a file, to be read and written."""
    with open(path, "r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0))


def make_volume(path: Path, size: int, bits: int, cluster: int, room: int = 0) -> memoryview:
    """Makes an empty volume in a sparse file, which is mapped and returned; `room` more bytes are
    behind the volume.
    """
    plan = plan_volume(size, bits, cluster)
    path.unlink(missing_ok=True)
    with open(path, "wb") as file:
        file.truncate(plan.total * SECTOR + room)
    image = map_file(path)
    with octavo.boot("2M", seed=1) as system:
        system.scheduler.run(
            make_fat(BufferDisk(path.name, image), system.cache, plan, "", blank=True)
        )
    return image


def clusters_of(image: memoryview) -> int:
    """The clusters of a volume; their numbers are from 2 on."""
    return parse_boot_sector(bytes(image[:SECTOR]), "image", len(image)).clusters


def leave_free(image: memoryview, free: Collection[int]) -> None:
    """Marks the clusters of an empty volume as bad, all but those in `free` and what is in use: a
    full volume that takes no space.
    """
    g = parse_boot_sector(bytes(image[:SECTOR]), "image", len(image))
    kept = {0, 1, *free, *([g.root_cluster] if g.bits == 32 else [])}
    fat = (
        int.from_bytes(image[g.fat_offset : g.fat_offset + g.fat_size], "little")
        if g.bits == 12
        else 0
    )
    for at in range(g.fat_offset, g.fat_offset + g.fats * g.fat_size, g.fat_size):
        if g.bits == 12:
            for number in set(range(2, g.clusters + 2)) - kept:
                fat |= BAD[12] << number * 12
            image[at : at + g.fat_size] = fat.to_bytes(g.fat_size, "little")
            continue
        table = np.frombuffer(image, np.uint16 if g.bits == 16 else np.uint32, g.clusters + 2, at)
        table[list(set(range(g.clusters + 2)) - kept)] = BAD[g.bits]
    if g.fsinfo_offset:
        struct.pack_into("<I", image, g.fsinfo_offset + 488, len(set(free) - {g.root_cluster}))
