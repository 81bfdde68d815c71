"""ext2 as a format of `octavo.fs.vfs`, read only. All but the bytes of files and directories is
read through one section that is the whole device.

    places of an inode   0..11 -> data
                         12 -> [places] -> data
                         13 -> [places] -> [places] -> data
                         14 -> [places] -> [places] -> [places] -> data       place 0: a hole

Little is believed: a place lies on the volume and in none of the tables of the groups that it is
in (those of other groups may be there, too, with flexible groups: e2fsck tells), a block of places
is used once by a file, and a file has no more blocks than the volume. An entry whose inode makes no
sense is listed, and cannot be opened.

Source: as of `octavo.fs.ext.layout`. Departures: names of one file (hard links) have a section
each.
"""

from __future__ import annotations

import stat
import struct
from typing import TYPE_CHECKING

from octavo.cache.manager import CacheManager
from octavo.fs.base import Problem, Space
from octavo.fs.ext.layout import (
    DESCRIPTOR_BYTES,
    INODE_BYTES,
    NO_INODE,
    ExtEntry,
    Inode,
    Superblock,
    corrupt,
    decoded,
    parse_inode,
    parse_names,
    parse_superblock,
)
from octavo.fs.reading import read_device
from octavo.fs.vfs.format import Mender, Progress
from octavo.fs.vfs.node import Directory, Node
from octavo.fs.vfs.volume import Volume
from octavo.memory.pagers.region import Mapping, RegionPager, whole_device
from octavo.memory.pagers.regionmap import HOLE, RegionMap
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError
from octavo.storage.device import SECTOR, Device
from octavo.storage.hosterrors import kind_of

if TYPE_CHECKING:
    from octavo.fs.protocol import Glance

ROOT = 2  # its inode
MOST_DIRECTORY = 16 << 20  # bytes
PIECE = 65536  # bytes of a directory that are read at once
MOST_GROUPS = 4096  # that are remembered
_UNREAD = {0x80000: "extents", 0x10000000: "data in itself", 0x800: "encrypted data"}


async def mount_ext(
    device: Device, cache: CacheManager, name: str, unit: int
) -> Volume[ExtEntry] | None:
    """The volume on a device that sentences call `name` and that was found by a table of sectors of
    `unit` bytes; None for none. StatusError UNRECOGNIZED_VOLUME for one that makes no sense or has
    features that are not read, or has no root directory.
    """
    superblock = parse_superblock(await read_device(device, cache, 1024, 1024), device.size, name)
    if superblock is None:
        return None
    if unit != SECTOR and superblock.blocks != device.size // superblock.block:
        why = f"{name}: is not what the partition has in sectors of {unit} bytes"
        raise StatusError(Status.UNRECOGNIZED_VOLUME, why)
    form = ExtFormat(device, superblock, cache)
    try:
        form.top = await form.inode(ROOT, f"{name}:/")
        if not stat.S_ISDIR(form.top.mode):
            raise corrupt(f"{name}:/", "is no directory")
    except StatusError as error:
        await cache.drop(form.sections[0])
        if error.status != Status.FILE_CORRUPT_ERROR:
            raise
        raise StatusError(Status.UNRECOGNIZED_VOLUME, error.text) from None
    return Volume(device, form, cache)


class ExtFormat:
    """What the volume on `device` says; `top` is the inode of its root directory."""

    top = NO_INODE

    def __init__(self, device: Device, superblock: Superblock, cache: CacheManager) -> None:
        self.name = device.name
        self.superblock = s = superblock
        self.kind, self.label, self.serial = s.kind, s.label, s.serial
        self.refusal = f"{s.kind} is only read"
        if s.limit < s.blocks:
            self.refusal += f"; the device ends before the volume, which has {s.blocks} blocks"
        elif not s.clean:
            self.refusal += "; it was not unmounted, or has errors: e2fsck mends it"
        self.kept: list[RegionMap] = []
        self.ahead: set[int] = set()
        self.cache = cache
        self.pager = RegionPager(device)
        self.device = Section(f"{self.name}: volume", self.pager, whole_device(device), device.size)
        self.sections = [self.device]
        self.links = self
        self._groups: dict[int, tuple[int, ...]] = {}

    @property
    def layout(self) -> object:
        """The superblock."""
        return self.superblock

    def forget(self) -> None:
        """Where groups are is read anew."""
        self._groups.clear()

    def root(self) -> ExtEntry:
        """The root directory's entry."""
        return ExtEntry("", ROOT, self.top)

    async def read(self, place: int, length: int) -> bytes:
        """Bytes of the volume."""
        return await self.cache.copy_read(self.device, place, length)

    async def group(self, number: int) -> tuple[int, ...]:
        """Where a group has its two maps and its inodes, in blocks."""
        known = self._groups.get(number)
        if known is None:
            if len(self._groups) >= MOST_GROUPS:
                self._groups.clear()
            s = self.superblock
            data = await self.read((s.first + 1) * s.block + number * DESCRIPTOR_BYTES, 12)
            known = self._groups[number] = struct.unpack("<3I", data.ljust(12, b"\0"))
        return known

    async def inode(self, number: int, what: str) -> Inode:
        """An inode by its number. StatusError FILE_CORRUPT_ERROR when there is none."""
        s = self.superblock
        if not 0 < number <= s.inodes:
            raise corrupt(what, f"its inode would be number {number}, and there are {s.inodes}")
        group, index = divmod(number - 1, s.group_inodes)
        table = (await self.group(group))[2]
        place = table * s.block + index * s.inode
        if table < s.files or place + s.inode > s.limit * s.block:
            raise corrupt(what, f"its inode, {number}, would lie at byte {place} of the volume")
        inode = parse_inode(await self.read(place, min(s.inode, INODE_BYTES)), s.block)
        if not inode.names or not inode.mode:
            raise corrupt(what, f"its inode, {number}, is not in use")
        return inode

    async def locate(self, node: Node[ExtEntry], what: str) -> tuple[Mapping, int]:
        """Where a file's or directory's bytes are, and how many. StatusError FILE_CORRUPT_ERROR, or
        ACCESS_DENIED for what has none.
        """
        entry = node.entry
        if entry.why:
            raise StatusError(Status.FILE_CORRUPT_ERROR, entry.why)
        if entry.flags[0] not in "-d":
            why = f"{what}: is {kind_of(entry.inode.mode)}, which has no bytes here"
            raise StatusError(Status.ACCESS_DENIED, why)
        if entry.is_directory and entry.size > MOST_DIRECTORY:
            raise corrupt(what, f"the directory has more than {MOST_DIRECTORY} bytes")
        return Mapping(await self._regions(entry, what)), entry.size

    async def _regions(self, entry: ExtEntry, what: str) -> RegionMap:
        return await _Walk(self, f"{what}: inode {entry.number}", entry.inode).map_all()

    async def parse(self, node: Node[ExtEntry], section: Section) -> Directory[ExtEntry]:
        """The names of a directory, with their inodes."""
        s, names = self.superblock, dict[str, ExtEntry]()
        what = f"{section.name}: inode {node.entry.number}"
        if not section.size or section.size % s.block:
            raise corrupt(what, f"the directory has {section.size} bytes, which are no blocks")
        for at in range(0, section.size, PIECE):
            data = await self.cache.copy_read(section, at, PIECE)
            for name, number in parse_names(data, at, s, what):
                if name not in (".", ".."):
                    name = name if name not in names else f"{name}~{number}"
                    names[name] = await self._entry(name, number, section.name)
        return Directory(node, names)

    async def glance(self, numbers: list[int]) -> dict[int, Glance]:
        """None: each is opened."""
        return {}

    async def _entry(self, name: str, number: int, directory: str) -> ExtEntry:
        try:
            inode = await self.inode(number, f"{directory.rstrip('/')}/{name}")
        except StatusError as error:
            if error.status != Status.FILE_CORRUPT_ERROR:
                raise
            return ExtEntry(name, number, NO_INODE, error.text)
        return ExtEntry(name, number, inode)

    def is_link(self, entry: ExtEntry) -> bool:
        """True for a symbolic link."""
        return stat.S_ISLNK(entry.inode.mode)

    async def target(self, entry: ExtEntry, what: str) -> str:
        """What is written in a link."""
        data = entry.inode.target
        if not data and 0 < entry.size <= self.superblock.block:
            place = (await self._regions(entry, what)).locate(0, 1)[0][0]
            data = b"" if place == HOLE else await self.read(place, entry.size)
        if not data or b"\0" in data:
            raise corrupt(what, f"inode {entry.number} is a link without a target")
        return decoded(data)

    def extents(self) -> None:
        """None: files are found by inodes, one by one."""

    async def space(self) -> Space:
        """All blocks, and those that the superblock counts as free."""
        s = self.superblock
        return Space(s.blocks * s.block, s.free * s.block, s.block)

    async def check(self, progress: Progress | None, mender: Mender | None) -> list[Problem]:
        """StatusError NOT_SUPPORTED."""
        why = f"{self.name}: Octavo does not check {self.kind} volumes: e2fsck -fn does"
        raise StatusError(Status.NOT_SUPPORTED, why)


class _Walk:
    """One pass over the places of an inode; `left` blocks are still to be found."""

    def __init__(self, form: ExtFormat, what: str, inode: Inode) -> None:
        self.form = form
        self.what = what
        self.inode = inode
        self.block = form.superblock.block
        self.map = RegionMap(self.block)
        self.left = -(-inode.size // self.block)
        self.seen: set[int] = set()  # blocks of places
        self.found = 0  # blocks that are no holes

    async def map_all(self) -> RegionMap:
        """The map of all blocks that the size asks for. StatusError FILE_CORRUPT_ERROR."""
        for flag, text in _UNREAD.items():
            if self.inode.flags & flag:
                raise corrupt(self.what, f"has {text}, which the volume does not have")
        await self._data(self.inode.places[:12])
        for depth, place in enumerate(self.inode.places[12:], 1):
            await self._tree(place, depth)
        if self.left:
            raise corrupt(self.what, f"claims {self.inode.size} bytes, more than there can be")
        return self.map

    async def _tree(self, place: int, depth: int) -> None:
        """What is below a block of places."""
        per = self.block // 4
        if not self.left:
            return
        if not place:
            self._append(HOLE, min(self.left, per**depth))
            return
        await self._check(place, 1)
        if place in self.seen:
            raise corrupt(self.what, f"block {place} has places of it twice")
        self.seen.add(place)
        data = await self.form.read(place * self.block, self.block)
        places = struct.unpack(f"<{per}I", data)
        if depth == 1:
            await self._data(places)
            return
        for below in places:
            await self._tree(below, depth - 1)

    async def _data(self, places: tuple[int, ...]) -> None:
        """Data blocks, run by run."""
        at, end = 0, min(len(places), self.left)
        while at < end:
            begin, first = at, places[at]
            step = 1 if first else 0
            at += 1
            while at < end and places[at] == first + (at - begin) * step:
                at += 1
            if first:
                await self._check(first, at - begin)
            self._append(first * self.block if first else HOLE, at - begin)

    def _append(self, place: int, count: int) -> None:
        self.map.append(place, count)
        self.left -= count
        self.found += count if place != HOLE else 0
        if self.found > self.form.superblock.limit:
            raise corrupt(self.what, "has more blocks than the volume")

    async def _check(self, first: int, count: int) -> None:
        """Blocks that may be a file's: on the volume, and in none of their groups' tables."""
        s, end = self.form.superblock, first + count
        if first < s.files or end > s.limit:
            text = f"block {first if first < s.files else end - 1} cannot be a file's"
            raise corrupt(self.what, f"{text}: those are {s.files} to {s.limit - 1}")
        lengths = (1, 1, -(-s.group_inodes * s.inode // s.block))
        for number in range((first - s.first) // s.group, (end - 1 - s.first) // s.group + 1):
            for table, length in zip(await self.form.group(number), lengths, strict=True):
                if table < end and first < table + length:
                    raise corrupt(self.what, f"block {max(table, first)} is a table of the volume")
