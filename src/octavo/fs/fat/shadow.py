"""A FAT volume that is not mounted, as one who moves its parts sees it: the FAT as an array, all
directories, and copies of them with other cluster numbers.

Only for a volume that a check has found clean: what is read here is believed. It is read and
written through a section of the whole device; 4 bytes a cluster are kept beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from octavo.cache.manager import CacheManager
from octavo.fs.fat.bpb import Geometry
from octavo.fs.fat.entry import DIRECTORY, FREE_SLOT, LONG_NAME, SLOT, VOLUME_LABEL
from octavo.machine.abi import PAGE_SIZE
from octavo.memory.pages.section import VIEW_SIZE, Section

Entries = npt.NDArray[np.uint32]
Called = Callable[[int], int]  # the new number of a first cluster
HIGH = 0xF0000000
DOT, DOTS = b".".ljust(11), b"..".ljust(11)


@dataclass(slots=True)
class Folder:
    """A directory: its clusters (none: the fixed root), and who has it (None: it is the root)."""

    clusters: list[int]
    parent: Folder | None

    @property
    def first(self) -> int:
        """Its first cluster, as ".." of what is in it has it: 0 for the root."""
        return self.clusters[0] if self.parent is not None else 0


class Shadow:
    """The volume with geometry `g` in `section`; `load` comes first. `fat` has raw entries."""

    def __init__(self, cache: CacheManager, section: Section, g: Geometry) -> None:
        self.cache = cache
        self.section = section
        self.g = g
        self.fat: Entries = np.empty(0, np.uint32)
        self.folders: list[Folder] = []
        self.mask = (1 << min(g.bits, 28)) - 1

    async def load(self) -> None:
        """Reads the FAT and finds all directories, each behind the one that has it."""
        g = self.g
        self.fat = unpack(await self.read(g.fat_offset, g.fat_size), g.bits)
        root = Folder(self.chain(g.root_cluster) if g.root_cluster else [], None)
        self.folders = [root]
        for folder in self.folders:  # which grows
            for _, attributes, first in entries(await self.contents(folder), g.bits == 32):
                if attributes & DIRECTORY and first:
                    self.folders.append(Folder(self.chain(first), folder))

    # -- bytes -------------------------------------------------------------------------------------

    async def read(self, place: int, length: int) -> bytes:
        """Bytes of the device."""
        parts = []
        for at in range(place, place + length, VIEW_SIZE):
            size = min(VIEW_SIZE, place + length - at)
            parts.append(await self.cache.copy_read(self.section, at, size))
        return b"".join(parts)

    async def write(self, place: int, data: bytes, old: bytes | None = None) -> None:
        """Bytes of the device; with `old`, what is there, only the pages that differ."""
        for at in range(0, len(data), PAGE_SIZE):
            piece = data[at : at + PAGE_SIZE]
            if old is None or piece != old[at : at + PAGE_SIZE]:
                await self.cache.copy_write(self.section, place + at, piece)

    async def contents(self, folder: Folder) -> bytes:
        """The bytes of a directory."""
        g = self.g
        if not folder.clusters:
            return await self.read(g.root_offset, g.root_size)
        parts = [await self.read(g.place(c), n * g.cluster) for c, n in runs(folder.clusters)]
        return b"".join(parts)

    async def put_folder(self, folder: Folder, data: bytes) -> None:
        """Writes a directory where its clusters are."""
        at, size = 0, self.g.cluster
        for first, count in runs(folder.clusters):
            await self.write(self.g.place(first), data[at : at + count * size])
            at += count * size

    async def copy(self, old: list[int], new: list[int]) -> None:
        """Copies clusters."""
        g = self.g
        for source, target in zip(old, new, strict=True):
            await self.write(g.place(target), await self.read(g.place(source), g.cluster))

    # -- clusters ----------------------------------------------------------------------------------

    def following(self, cluster: int) -> int:
        """What an entry says, without reserved bits."""
        return int(self.fat[cluster]) & self.mask

    def chain(self, first: int) -> list[int]:
        """The clusters of a chain."""
        out, cluster = [], first
        while cluster < self.mask - 8:
            out.append(cluster)
            assert len(out) <= len(self.fat), "a chain that was checked ends"
            cluster = self.following(cluster)
        return out

    def link(self, clusters: list[int], last: int) -> None:
        """Chains clusters; the last one has the entry `last`."""
        for cluster, following in zip(clusters, [*clusters[1:], last], strict=True):
            self.fat[cluster] = int(self.fat[cluster]) & HIGH | following

    def links(self) -> npt.NDArray[np.bool_]:
        """Which entries lead to another cluster."""
        values = self.fat & np.uint32(self.mask)
        found = (values >= 2) & (values < self.mask - 8)
        found[:2] = False  # the media byte, under ones
        return found

    def release(self, clusters: Iterable[int]) -> None:
        """Makes clusters free."""
        for cluster in clusters:
            self.fat[cluster] &= np.uint32(HIGH)

    def free(self, first: int, end: int) -> list[int]:
        """The free clusters from `first` on and before `end`."""
        found = np.flatnonzero((self.fat[first:end] & np.uint32(self.mask)) == 0) + first
        return [int(cluster) for cluster in found]

    def heads(self, end: int) -> dict[int, int]:
        """First clusters of the chains that have clusters before `end`, each with its last cluster
        there.
        """
        values = self.fat & np.uint32(self.mask)
        before = np.zeros(len(values), np.uint32)
        linked = np.flatnonzero(self.links())
        before[values[linked]] = linked
        out: dict[int, int] = {}
        done = np.zeros(len(values), np.bool_)
        for cluster in range(2, end):
            if not values[cluster] or done[cluster]:
                continue
            head = cluster
            while before[head]:
                head = int(before[head])
            for member in self.chain(head):
                if member < end:
                    out[head] = member
                    done[member] = True
        return out


def runs(clusters: list[int]) -> list[tuple[int, int]]:
    """Clusters as (first, count)."""
    out: list[tuple[int, int]] = []
    for cluster in clusters:
        if out and cluster == sum(out[-1]):
            out[-1] = (out[-1][0], out[-1][1] + 1)
        else:
            out.append((cluster, 1))
    return out


def entries(data: bytes, wide: bool) -> Iterable[tuple[int, int, int]]:
    """The (place, attributes, first cluster) of each entry of a directory but ".", ".." and
    labels.
    """
    for at in range(0, len(data), SLOT):
        attributes, name = data[at + 11], data[at : at + 11]
        if not name[0]:
            return
        label = attributes & (VOLUME_LABEL | DIRECTORY) == VOLUME_LABEL  # or part of a long name
        if name[0] == FREE_SLOT or attributes & 0x3F == LONG_NAME or label or name in (DOT, DOTS):
            continue
        high = int.from_bytes(data[at + 20 : at + 22], "little") if wide else 0
        yield at, attributes, high << 16 | int.from_bytes(data[at + 26 : at + 28], "little")


def patched(data: bytes, wide: bool, own: int, up: int, called: Called) -> bytes:
    """The bytes of a directory that begins at cluster `own`, in one that begins at `up`, where
    first clusters are called otherwise.
    """
    out = bytearray(data)
    for at, _, first in entries(data, wide):
        if first:
            _put(out, at, called(first), wide)
    if data[:11] == DOT:
        _put(out, 0, own, wide)
    if data[SLOT : SLOT + 11] == DOTS:
        _put(out, SLOT, up, wide)
    return bytes(out)


def _put(data: bytearray, at: int, cluster: int, wide: bool) -> None:
    number = cluster.to_bytes(4, "little")
    data[at + 26 : at + 28] = number[:2]
    if wide:
        data[at + 20 : at + 22] = number[2:]


def unpack(data: bytes, bits: int) -> Entries:
    """The raw entries of a FAT."""
    if bits == 32:
        return np.frombuffer(data, np.uint32).copy()
    if bits == 16:
        return np.frombuffer(data, np.uint16).astype(np.uint32)
    data += bytes(-len(data) % 3)
    low, middle, high = np.frombuffer(data, np.uint8).reshape(-1, 3).T
    out = np.empty(2 * len(low), np.uint32)
    out[::2] = low | (middle & 0x0F).astype(np.uint32) << 8
    out[1::2] = middle >> 4 | high.astype(np.uint32) << 4
    return out


def pack(values: Entries, bits: int, size: int) -> bytes:
    """A FAT of `size` bytes; what has no entry is zero."""
    if bits == 32:
        data = values.astype(np.uint32).tobytes()
    elif bits == 16:
        data = values.astype(np.uint16).tobytes()
    else:
        even, odd = values[::2], values[1::2]
        if len(odd) < len(even):
            odd = np.append(odd, np.uint32(0))
        three = np.empty((len(even), 3), np.uint8)
        three[:, 0] = even & 0xFF
        three[:, 1] = even >> 8 & 0x0F | (odd & 0x0F) << 4
        three[:, 2] = odd >> 4 & 0xFF
        data = three.tobytes()
    return data[:size].ljust(size, b"\0")
