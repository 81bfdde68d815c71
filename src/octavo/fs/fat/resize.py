"""Giving a FAT volume another size, in place, so that a power cut at any moment leaves the old
volume or the new one.

Where the FATs have entries for all clusters of the new size, only the boot sector says something
else. Where they have not, the volume gets larger FATs behind the old ones, in the place of its
first m clusters; data stays where it is, and cluster n is called n - m from then on:

    | reserved | FATs | root | 2 ... m+1 | m+2 ...          before
    | reserved                | FATs, root | 2 ...  more    afterwards

    make way   what is in clusters 2 to m + 1 is copied to free ones, and all directories, which
               say so: nobody sees any of it before the root directory leads to it
    build      the new FATs, and once more all directories, with the new numbers, in free clusters
    switch     the boot sector, one sector, says where all of that is

Between two of these, and before what was left is freed, is a barrier. The volume must be clean, and
not mounted; it has its dirty flag meanwhile. Everything is written through a section of the device.

What the old FATs and the old root directory had is reserved afterwards, and lost to files. A volume
without room for the copies is refused before anything is written.

A volume gets smaller where its end is free; its FATs stay.

Source: shadow paging (Lorie 1977), on what the FAT specification leaves open, how many sectors are
reserved. docs/decisions/0024.
"""

from __future__ import annotations

import struct

import numpy as np

from octavo.arguments import given, whole
from octavo.cache.manager import CacheManager
from octavo.fs.fat.bpb import (
    BOOT_SECTOR_BYTES,
    DIRTY_FLAG,
    FSINFO_LEAD,
    FSINFO_MIDDLE,
    parse_boot_sector,
)
from octavo.fs.fat.mount import mount_fat
from octavo.fs.fat.names import CODE_PAGE
from octavo.fs.fat.shadow import Entries, Folder, Shadow, pack, patched
from octavo.fs.fat.sizes import NewSize, no_room, plan_size
from octavo.fs.reading import read_device
from octavo.memory.pagers.region import RegionPager, whole_device
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError
from octavo.storage.device import LARGEST_DEVICE, SECTOR, Device, given_device


async def resize_fat(device: Device, cache: CacheManager, size: int) -> int:
    """Gives the volume on a device, which is not mounted, `size` bytes, or a few clusters less;
    returns its bytes then.

    StatusError INVALID_PARAMETER for a size that its type of FAT cannot have, or the device has
    not; DISK_FULL without room for the copies, or when the end is in use; FILE_CORRUPT_ERROR for a
    volume that a check finds damaged; NOT_SUPPORTED, MEDIA_WRITE_PROTECTED, or that of a read or
    write: then a check with repair gives back what was copied.
    """
    given_device(device, "the device of a volume")
    given(cache, CacheManager, "the cache that a volume is written through")
    whole(size, "the size of a volume", 1, LARGEST_DEVICE)
    if size > device.size:
        why = f"{device.name}: has {device.size} bytes: a volume on it cannot have {size}"
        raise StatusError(Status.INVALID_PARAMETER, why)
    await _check(device, cache)
    section = Section(device.name, RegionPager(device), whole_device(device), device.size)
    try:
        boot = await cache.copy_read(section, 0, BOOT_SECTOR_BYTES)
        g = parse_boot_sector(boot, device.name, device.size)
        new = plan_size(g, size, device.name)
        if new.total * g.sector == g.size:
            return g.size
        shadow = Shadow(cache, section, g)
        await shadow.load()
        await Resizer(shadow, boot, new, device.name).run()
        return new.total * g.sector
    finally:
        await cache.drop(section)


async def volume_bytes(device: Device, cache: CacheManager) -> int:
    """The bytes of the volume on a device, which is not mounted, as its boot sector says.
    StatusError UNRECOGNIZED_VOLUME, or that of a read.
    """
    boot = await read_device(device, cache, 0, BOOT_SECTOR_BYTES)
    return parse_boot_sector(boot, device.name, device.size).size


async def _check(device: Device, cache: CacheManager) -> None:
    """StatusError when something is wrong with the volume."""
    volume = await mount_fat(device, cache, CODE_PAGE, device.name, SECTOR)
    try:
        volume.writing("its size")
        problems = await volume.check()
    finally:
        await volume.unmount(discard=True)
    if problems:
        why = f"{device.name}: {problems[0]}: check and repair it before its size is changed"
        raise StatusError(Status.FILE_CORRUPT_ERROR, why)


class Resizer:
    """One change of a volume's size; `boot` is its boot sector."""

    def __init__(self, shadow: Shadow, boot: bytes, new: NewSize, name: str) -> None:
        self.shadow, self.g, self.new, self.name = shadow, shadow.g, new, name
        self.boot = bytearray(boot)
        self.wide = shadow.g.bits == 32
        self.limit = shadow.g.clusters + 2  # first number that is no cluster, before
        self._pager = shadow.section.pager

    async def run(self) -> None:
        """All of it, in order."""
        moved = self.new.moved
        way = self._plan_way() if moved else None
        if not moved:
            self._expect_free_end()
        await self._flag(dirty=True)
        if way is not None:
            await self._make_way(*way)
        free, root = await (self._build() if moved else self._keep())
        await self._settle()
        await self._switch(free, root)
        await self._flag(dirty=False)

    async def _settle(self) -> None:
        """What was written is on the medium."""
        await self.shadow.cache.flush(self.shadow.section)
        assert isinstance(self._pager, RegionPager)
        await self._pager.barrier()

    async def _flag(self, dirty: bool) -> None:
        at = self.g.flags_offset
        self.boot[at] = self.boot[at] | DIRTY_FLAG if dirty else self.boot[at] & ~DIRTY_FLAG
        await self.shadow.write(0, bytes(self.boot))
        await self._settle()

    # -- FATs that stay ----------------------------------------------------------------------------

    def _expect_free_end(self) -> None:
        """StatusError DISK_FULL when clusters that go are in use."""
        end = self.new.clusters + 2
        used = np.flatnonzero(self.shadow.fat[end : self.limit] & np.uint32(self.shadow.mask))
        if len(used):
            last = int(used[-1]) + end
            least = self.g.place(last + 1)
            why = (
                f"{self.name}: cannot have {self.new.total * self.g.sector} bytes: cluster {last} "
                f"is in use, and files are not moved: at least {least} bytes are needed"
            )
            raise StatusError(Status.DISK_FULL, why)

    async def _keep(self) -> tuple[int, int]:
        """Entries that had no cluster are free; returns the free clusters, and the root's."""
        fat, end = self.shadow.fat, self.new.clusters + 2
        fat[self.limit : end] = 0
        await self._put_fat()
        return self._count(fat[:end]), self.g.root_cluster

    def _count(self, fat: Entries) -> int:
        """How many clusters are free."""
        return int(np.count_nonzero(fat[2:] & np.uint32(self.shadow.mask) == 0))

    async def _put_fat(self) -> None:
        """Writes what has changed in the FATs that are there."""
        g = self.g
        data = pack(self.shadow.fat, g.bits, g.fat_size)
        for copy in range(g.fats if g.mirrored else 1):
            place = g.fat_offset + copy * g.fat_size
            await self.shadow.write(place, data, await self.shadow.read(place, len(data)))

    # -- making way --------------------------------------------------------------------------------

    def _plan_way(self) -> tuple[list[tuple[list[int], list[int]]], list[Folder]] | None:
        """The (clusters, copies) of files that are in the way, and where directories go; None when
        nothing is in the way. StatusError DISK_FULL, also where `build` would not find room.
        """
        shadow, end = self.shadow, self.new.moved + 2
        heads = shadow.heads(min(end, self.limit))
        folders = sum(len(folder.clusters) for folder in shadow.folders)
        own = {folder.clusters[0] for folder in shadow.folders if folder.clusters}
        bad = [head for head in heads if shadow.following(head) == shadow.mask - 8]
        if bad:
            why = f"{self.name}: cluster {bad[0]}, which is bad, would be in its new FATs"
            raise StatusError(Status.NOT_SUPPORTED, why)
        starts = []
        for head, last in heads.items():
            if head not in own:
                chain = shadow.chain(head)
                starts.append(chain[: chain.index(last) + 1])
        there = shadow.free(end, self.limit)
        needed = folders + sum(map(len, starts)) if heads else 0
        left = [c for start in starts for c in start]
        left += [c for folder in shadow.folders for c in folder.clusters]
        later = len(there) - needed + self.new.clusters + 2 + self.new.moved - self.limit
        later += sum(cluster >= end for cluster in left) if heads else 0
        if needed > len(there) or folders > later:
            raise no_room(self.name, max(needed - len(there), folders - later))
        if not heads:
            return None
        take = iter(there)
        files = [(start, [next(take) for _ in start]) for start in starts]
        return files, self._new_folders(list(take))

    def _new_folders(self, free: list[int]) -> list[Folder]:
        """As many directories, in free clusters."""
        take, new = iter(free), dict[int, Folder]()
        out = []
        for old in self.shadow.folders:
            parent = new[id(old.parent)] if old.parent is not None else None
            folder = Folder([next(take) for _ in old.clusters], parent)
            new[id(old)] = folder
            out.append(folder)
        return out

    async def _make_way(
        self, files: list[tuple[list[int], list[int]]], folders: list[Folder]
    ) -> None:
        """Copies what is in the way, has the root directory lead to the copies, and frees it."""
        shadow, old = self.shadow, self.shadow.folders
        called = {start[0]: copy[0] for start, copy in files}
        called |= _renamed(old, folders)
        for start, copy in files:
            await shadow.copy(start, copy)
            shadow.link(copy, shadow.following(start[-1]))
        for folder in folders:
            if folder.clusters:
                shadow.link(folder.clusters, shadow.mask)
        root = await self._put_folders(folders, called, 0)
        await self._put_fat()
        await self._settle()
        if root is not None:  # each of its sectors is there or not, and each entry is right
            before = await shadow.contents(old[0])
            await shadow.write(self.g.root_offset, root, before)
        else:
            struct.pack_into("<I", self.boot, 44, folders[0].clusters[0])
            await shadow.write(0, bytes(self.boot))
        await self._settle()
        await self._put_backup()
        for start, _ in files:
            shadow.release(start)
        for folder in old:
            shadow.release(folder.clusters)
        shadow.folders = folders
        await self._put_fat()
        await self._settle()

    async def _put_folders(
        self, folders: list[Folder], called: dict[int, int], less: int
    ) -> bytes | None:
        """Writes copies of all directories, whose clusters are called so, and `less` less; returns
        the fixed root directory, which is not written.
        """
        shadow, root = self.shadow, None
        for old, new in zip(shadow.folders, folders, strict=True):
            own = new.clusters[0] - less if new.clusters else 0
            up = new.parent.first - less if new.parent is not None and new.parent.first else 0
            data = patched(
                await shadow.contents(old), self.wide, own, up, lambda c: called.get(c, c) - less
            )
            if new.clusters:
                await shadow.put_folder(new, data)
            else:
                root = data
        return root

    # -- building ----------------------------------------------------------------------------------

    async def _build(self) -> tuple[int, int]:
        """Writes the new FATs and directories; returns the free clusters then, and the root's."""
        shadow, g, new = self.shadow, self.g, self.new
        less = new.moved
        free = shadow.free(less + 2, self.limit)
        free += range(self.limit, new.clusters + 2 + less)
        folders = self._new_folders(free)
        root = await self._put_folders(folders, _renamed(shadow.folders, folders), less)
        fat = np.zeros(new.clusters + 2 + less, np.uint32)  # by the old numbers
        fat[: self.limit] = shadow.fat[: self.limit]
        shadow.fat = fat
        for old, copy in zip(shadow.folders, folders, strict=True):
            shadow.release(old.clusters)
            if copy.clusters:
                shadow.link(copy.clusters, shadow.mask)
        fat[shadow.links()] -= np.uint32(less)
        fat = np.concatenate((fat[:2], fat[less + 2 :]))
        begin = new.reserved * g.sector
        data = pack(fat, g.bits, new.fat_sectors * g.sector)
        for copy_of in range(g.fats):
            await shadow.write(begin + copy_of * len(data), data)
        if root is not None:
            await shadow.write(begin + g.fats * len(data), root)
        return self._count(fat), folders[0].clusters[0] - less if self.wide else 0

    # -- the boot sector ---------------------------------------------------------------------------

    async def _switch(self, free: int, root: int) -> None:
        """The boot sector says what the volume is from now on; then its backup, and FSInfo."""
        new, boot = self.new, self.boot
        small = new.total < 65536 and not self.wide
        struct.pack_into("<H", boot, 14, new.reserved)
        struct.pack_into("<H", boot, 19, new.total if small else 0)
        struct.pack_into("<I", boot, 32, 0 if small else new.total)
        if self.wide:
            struct.pack_into("<I", boot, 36, new.fat_sectors)
            struct.pack_into("<I", boot, 44, root)
        else:
            struct.pack_into("<H", boot, 22, new.fat_sectors)
        await self.shadow.write(0, bytes(boot))
        await self._settle()
        await self._put_backup()
        if self.g.fsinfo_offset:
            await self._put_fsinfo(free)
        await self._settle()

    async def _put_backup(self) -> None:
        """The backup of the boot sector is as it, but for the flag."""
        g = self.g
        if not g.backup_offset:
            return
        copy = bytearray(self.boot)
        copy[g.flags_offset] &= ~DIRTY_FLAG
        await self.shadow.write(g.backup_offset, bytes(copy))

    async def _put_fsinfo(self, free: int) -> None:
        """Free clusters, and a place to look for some, in FSInfo and in its backup."""
        g, shadow = self.g, self.shadow
        for base in (0, g.backup_offset) if g.backup_offset else (0,):
            at = base + g.fsinfo_offset
            data = await shadow.read(at, SECTOR)
            lead, middle = struct.unpack("<I480xI24x", data)
            if (lead, middle) == (FSINFO_LEAD, FSINFO_MIDDLE):
                await shadow.write(at + 488, struct.pack("<II", free, 2))


def _renamed(old: list[Folder], new: list[Folder]) -> dict[int, int]:
    """How the first clusters of directories are called in their copies."""
    return {a.clusters[0]: b.clusters[0] for a, b in zip(old, new, strict=True) if a.clusters}
