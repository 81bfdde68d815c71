"""Checking a FAT volume: reads all of its metadata, changes nothing, and says what is wrong in one sentence each.

    dirty flag      the volume was not unmounted
    FAT copies      all of them say the same
    chains          stay inside the volume, end, belong to one file each, and hold what their entries claim
    directories     are not larger than FAT allows, do not contain themselves, have "." and ".."
    names           no long name is broken, no two names are equal
    clusters        used ones belong to a file
    FSInfo          counts the free clusters

Memory beyond frames: 4 bytes a cluster. Problems beyond MOST_PROBLEMS are not listed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from octavo.fs.base import Problem
from octavo.fs.fat.core import FSINFO_LEAD, UNKNOWN
from octavo.fs.fat.entry import DIRECTORY, Entry, Parsed, parse_directory
from octavo.fs.fat.node import Directory, Node
from octavo.fs.fat.table import Run
from octavo.io.regionpager import RegionPager, whole_device
from octavo.memory.section import VIEW_SIZE, Section
from octavo.status import StatusError

if TYPE_CHECKING:
    from octavo.fs.fat.volume import FatVolume

MOST_PROBLEMS = 1000
MOST_DEPTH = 200


class _Check:
    def __init__(self, volume: FatVolume, progress: Callable[[int, int], None] | None) -> None:
        self.volume = volume
        self.progress = progress
        self.problems: list[Problem] = []
        self.owners = np.zeros(volume.geometry.clusters + 2, np.uint32)
        self.names = ["nobody"]  # owner number -> path
        self.claimed = 0

    def say(self, where: str, what: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(where, what))

    def own(self, path: str, runs: list[Run]) -> bool:
        """Notes that a path owns clusters; False when one of them has an owner already."""
        self.names.append(path)
        for first, count in runs:
            part = self.owners[first : first + count]
            taken = np.flatnonzero(part)
            if len(taken):
                other = self.names[int(part[taken[0]])]
                self.say(path, f"shares cluster {first + int(taken[0])} with {other}")
                return False
            part[:] = len(self.names) - 1
            self.claimed += count
        if self.progress is not None:
            self.progress(self.claimed, self.volume.geometry.clusters)
        return True

    async def chain(self, path: str, first: int) -> list[Run] | None:
        try:
            runs = await self.volume.table.chain(first, path)
        except StatusError as error:
            self.say(path, error.text.removeprefix(f"{path}: "))
            return None
        return runs if self.own(path, runs) else None

    async def directory(self, node: Node, depth: int) -> None:
        """Checks a directory, whose chain is owned already, and all below it."""
        path = node.path or "/"
        volume = self.volume
        try:
            section = await volume._load(node)
            data = await volume.cache.copy_read(section, 0, section.size)
        except StatusError as error:
            self.say(path, error.text)
            return
        parsed = parse_directory(data, volume.geometry.bits == 32)
        for name in parsed.broken_names:
            self.say(path, f"the long name of {name} is damaged")
        if node.entry is not None:
            self.dots(path, parsed.entries, node)
        seen: set[str] = set()
        for entry in parsed.entries:
            if entry.name in (".", ".."):
                continue
            for name in {entry.name.upper(), entry.short_name}:
                if name in seen:
                    self.say(path, f"two entries have the name {name}")
                seen.add(name)
            await self.entry(node, entry, depth)

    def dots(self, path: str, entries: list[Entry], node: Node) -> None:
        assert node.entry is not None and node.parent is not None
        above = node.parent.node.entry
        wanted = {".": node.entry.cluster, "..": above.cluster if above is not None else 0}
        for name, cluster in wanted.items():
            entry = next((e for e in entries[:2] if e.name == name), None)
            if entry is None:
                self.say(path, f'has no "{name}"')
            elif entry.cluster != cluster:
                self.say(path, f'"{name}" points to cluster {entry.cluster} instead of {cluster}')

    async def entry(self, parent: Node, entry: Entry, depth: int) -> None:
        volume = self.volume
        path = f"{parent.path}/{entry.name}"
        runs: list[Run] | None = []
        if entry.cluster:
            runs = await self.chain(path, entry.cluster)
        if runs is None:
            return
        held = sum(count for _, count in runs) * volume.geometry.cluster
        if entry.attributes & DIRECTORY:
            if not held:
                self.say(path, "the directory has no cluster")
            elif depth >= MOST_DEPTH:
                self.say(path, f"directories are nested more than {MOST_DEPTH} deep")
            else:
                await self.below(parent, entry, path, depth)
        elif held < entry.size:
            self.say(path, f"claims {entry.size} bytes, and its cluster chain holds {held}")
        elif held - entry.size >= volume.geometry.cluster:
            self.say(path, f"has {held} bytes of clusters for {entry.size} bytes")
        if runs and max(volume.geometry.place(f + c) for f, c in runs) > volume.device.size:
            self.say(path, "has clusters behind the end of the device")

    async def below(self, parent: Node, entry: Entry, path: str, depth: int) -> None:
        """Checks a subdirectory through a node that is nobody else's, and drops its pages afterwards."""
        assert parent.directory is not None
        node = Node(entry, parent.directory, path)
        _attach(node)
        await self.directory(node, depth + 1)
        if node.section is not None:
            await self.volume.cache.drop(node.section)


def _attach(node: Node) -> None:
    """Gives a node an empty parsed form, so that children can name it as their parent."""
    node.directory = Directory(node, Parsed())


async def check_volume(volume: FatVolume, progress: Callable[[int, int], None] | None) -> list[Problem]:
    """All problems of a flushed volume, whose mutex the caller holds."""
    check = _Check(volume, progress)
    g = volume.geometry
    if volume.was_dirty:
        check.say("volume", "was not unmounted: its dirty flag is set")
    if g.truncated:
        check.say("volume", f"has {g.size} bytes, and the device only {volume.device.size}")
    await _compare_fats(check)
    root = Node(None, None, "")
    _attach(root)
    if not g.root_size:
        await check.chain("/", g.root_cluster)
    await check.directory(root, 0)
    if root.section is not None:
        await volume.cache.drop(root.section)
    await _find_lost(check)
    await _check_fsinfo(check)
    return check.problems


async def _compare_fats(check: _Check) -> None:
    volume, g = check.volume, check.volume.geometry
    if not g.mirrored or g.fats < 2:
        return
    section = Section(volume.name, RegionPager(volume.device), whole_device(volume.device), volume.device.size)
    try:
        for copy in range(1, g.fats):
            for at in range(0, g.fat_size, VIEW_SIZE):
                length = min(VIEW_SIZE, g.fat_size - at)
                first = await volume.cache.copy_read(section, g.fat_offset + at, length)
                other = await volume.cache.copy_read(section, g.fat_offset + copy * g.fat_size + at, length)
                if first != other:
                    check.say("volume", f"FAT {copy + 1} differs from FAT 1")
                    break
    except StatusError as error:
        check.say("volume", error.text)
    finally:
        await volume.cache.drop(section)


async def _find_lost(check: _Check) -> None:
    table, cluster, lost, free = check.volume.table, 2, 0, 0
    while cluster < table.limit:
        values = await table._values(cluster, 4096)
        used = (values != 0) & (values != table.bad)
        lost += int(np.count_nonzero(used & (check.owners[cluster : cluster + len(values)] == 0)))
        free += int(np.count_nonzero(values == 0))
        cluster += len(values)
    if lost:
        check.say("volume", f"{lost} clusters are in use and belong to no file")
    table.free_count = free


async def _check_fsinfo(check: _Check) -> None:
    volume, g = check.volume, check.volume.geometry
    if not g.fsinfo_offset:
        return
    data = await volume.cache.copy_read(volume.section, g.fsinfo_offset, 512)
    lead, free = struct.unpack_from("<I", data)[0], struct.unpack_from("<I", data, 488)[0]
    if lead != FSINFO_LEAD:
        check.say("volume", "the FSInfo sector has no signature")
    elif free not in (volume.table.free_count, UNKNOWN):
        check.say("volume", f"FSInfo counts {free} free clusters, and there are {volume.table.free_count}")
