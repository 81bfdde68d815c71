"""Damaged images, each made of a sound one by patches that are written down here: of boot sectors,
FSInfo, FATs, directories, MBRs, GPTs, and ext2's superblock, groups, inodes and directories.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from octavo.storage.device import SECTOR
from tests.fuzzing.bases import Base, DamagedDisk, bases, with_checksums

Change = tuple[str, int, bytes]  # region, offset in it, bytes
Make = Callable[[Base], list[Change]]


class Damage(NamedTuple):
    """A damaged image: what was done to which base, and what comes of it, as `Outcome.kind` says:
    it is refused, told of while it is read, found by check alone, or nothing is wrong with it.
    Where a check need not look, there are two.
    """

    name: str
    base: str
    outcome: str
    changes: Make

    def disk(self) -> DamagedDisk:
        """The image."""
        base = bases()[self.base]
        disk = DamagedDisk(base)
        for region, offset, data in self.changes(base):
            disk.patch(base.regions[region][0] + offset, data)
        if "checksum" not in self.name and self.base == "gpt":
            with_checksums(disk)
        return disk


def at(region: str, offset: int, data: bytes | int, size: int = 2) -> Make:
    """One patch; of a number, which has `size` bytes."""
    raw = data.to_bytes(size, "little") if isinstance(data, int) else data
    return lambda base: [(region, offset, raw)]


def both(*makes: Make) -> Make:
    """Several at once."""
    return lambda base: [change for make in makes for change in make(base)]


def slot(region: str, name: bytes, offset: int, data: bytes | int, size: int = 2) -> Make:
    """In the entry of a FAT directory that begins with a short name."""

    def make(base: Base) -> list[Change]:
        first, length = base.regions[region]
        found = base.read(first, length)
        place = next(n for n in range(0, length, 32) if found[n : n + len(name)] == name)
        return at(region, place + offset, data, size)(base)

    return make


def link(name: bytes, value: Callable[[int], int]) -> Make:
    """What the FAT says of the first cluster of a file in the root of "fat16", in both copies;
    `value` of that cluster's number.
    """

    def make(base: Base) -> list[Change]:
        first, length = base.regions["root"]
        data = base.read(first, length)
        entry = next(n for n in range(0, length, 32) if data[n : n + len(name)] == name)
        cluster = struct.unpack_from("<H", data, entry + 26)[0]
        raw = value(cluster).to_bytes(2, "little")
        return [("fat1", 2 * cluster, raw), ("fat2", 2 * cluster, raw)]

    return make


def noise(region: str, seed: int, count: int, offset: int = 0) -> Make:
    """Bytes that are drawn."""
    return at(region, offset, Random(seed).randbytes(count))


def record(region: str, name: bytes, offset: int, data: bytes | int, size: int) -> Make:
    """In the record of an ext2 directory that has a name."""

    def make(base: Base) -> list[Change]:
        first, _ = base.regions[region]
        return at(region, base.read(first, 1024).index(name) - 8 + offset, data, size)(base)

    return make


def rows(*given: tuple[str, str, str, Make]) -> list[Damage]:
    """Damages of (base, name, outcome, changes)."""
    return [Damage(name, base, outcome, make) for base, name, outcome, make in given]


ONES = b"\xff" * 4
DAMAGES = rows(
    # boot sectors
    ("fat16", "boot sector of zeros", "refused", at("boot", 0, bytes(90))),
    ("fat16", "boot sector of noise", "refused", noise("boot", 1, 90)),
    ("fat16", "sectors of 513 bytes", "refused", at("boot", 11, 513)),
    ("fat16", "clusters of no sector", "refused", at("boot", 13, 0, 1)),
    ("fat16", "clusters of 3 sectors", "refused", at("boot", 13, 3, 1)),
    ("fat16", "no reserved sector", "refused", at("boot", 14, 0)),
    ("fat12", "no FAT", "refused", at("boot", 16, 0, 1)),
    ("fat12", "255 FATs", "refused", at("boot", 16, 255, 1)),
    ("fat16", "a FAT larger than the volume", "refused", at("boot", 22, 0xFFFF)),
    ("fat16", "a FAT of one sector", "told", at("boot", 22, 1)),
    ("fat16", "5 sectors in all", "refused", both(at("boot", 19, 5), at("boot", 32, 0, 4))),
    ("fat12", "no sector in all", "refused", both(at("boot", 19, 0), at("boot", 32, 0, 4))),
    ("fat16", "4 GiB of sectors", "refused", both(at("boot", 19, 0), at("boot", 32, ONES))),
    ("fat12", "no media byte", "refused", at("boot", 21, 0x10, 1)),
    ("fat16", "no root entries", "refused", at("boot", 17, 0)),
    ("fat16", "65535 root entries", "told", at("boot", 17, 0xFFFF)),
    ("fat32", "root at cluster 0", "refused", at("boot", 44, 0, 4)),
    ("fat32", "root behind the volume", "refused", at("boot", 44, 0x0FFFFFF0, 4)),
    ("fat32", "the 15th FAT is in use", "refused", at("boot", 40, 0x8F)),
    ("fat32", "FSInfo is sector 65534", "sound found", at("boot", 48, 0xFFFE)),
    ("fat32", "a backup of noise", "sound found", noise("backup", 2, 90)),
    # FSInfo
    ("fat32", "FSInfo without a mark", "found", at("fsinfo", 0, bytes(4))),
    ("fat32", "more free clusters than there are", "found", at("fsinfo", 488, 0xFFFFFFF0, 4)),
    ("fat32", "no free cluster", "found", at("fsinfo", 488, 0, 4)),
    ("fat32", "the next free cluster is nowhere", "sound found", at("fsinfo", 492, 0x7FFFFFFF, 4)),
    ("fat32", "FSInfo of noise", "found", noise("fsinfo", 3, SECTOR)),
    # FATs
    ("fat16", "a chain that loops", "told", link(b"FILE4", lambda n: n)),
    ("fat16", "a chain that leads out", "told", link(b"FILE4", lambda n: 0xFFE0)),
    ("fat16", "a chain into a free cluster", "told", link(b"FILE4", lambda n: 0)),
    ("fat16", "a chain into a bad cluster", "told", link(b"FILE4", lambda n: 0xFFF7)),
    ("fat16", "a chain into another file", "told", link(b"FILE4", lambda n: 2)),
    ("fat16", "a chain that ends early", "told", link(b"FILE4", lambda n: 0xFFFF)),
    ("fat16", "two FATs that differ", "found", at("fat2", 8, ONES)),
    ("fat16", "no media byte in the FAT", "found", at("fat1", 0, 0)),
    ("fat16", "a dirty volume", "found", both(at("fat1", 2, 0x7FFF), at("fat2", 2, 0x7FFF))),
    ("fat16", "a FAT of zeros", "told", both(at("fat1", 4, bytes(196)), at("fat2", 4, bytes(196)))),
    ("fat12", "FATs of noise", "told", both(noise("fat1", 4, 99, 3), noise("fat2", 4, 99, 3))),
    ("fat32", "a root that never ends", "told", both(at("fat1", 8, 2, 4), at("fat2", 8, 2, 4))),
    # directories
    ("fat16", "a directory without a cluster", "told", slot("root", b"SUB", 26, 0)),
    ("fat16", "a directory in itself", "told", slot("sub", b"DEEPER", 26, 2)),
    ("fat16", "a directory behind the volume", "told", slot("root", b"SUB", 26, 0xFFEF)),
    ("fat16", "a file behind the volume", "told", slot("root", b"FILE3", 26, 0xFFEF)),
    ("fat16", "a file of 4 GiB", "told", slot("root", b"FILE3", 28, ONES)),
    ("fat16", "an empty file with a cluster", "found", slot("root", b"FILE3", 28, 0, 4)),
    ("fat16", "a file that is a directory", "told", slot("root", b"FILE3", 11, 0x10, 1)),
    ("fat16", "all attributes", "told", slot("root", b"FILE3", 11, 0xFF, 1)),
    ("fat16", "a slash in a name", "found", slot("root", b"FILE3", 2, b"/")),
    ("fat16", "a directory that ends early", "found", slot("root", b"FILE3", 0, 0, 1)),
    ("fat16", "a long name of another file", "found", at("sub", 64 + 13, 0, 1)),
    ("fat16", "parts of a long name in disorder", "found", at("sub", 64, 0x47, 1)),
    ("fat16", "half a character", "found", at("sub", 64 + 1, 0xD800)),
    ("fat16", "no dot", "told", at("sub", 0, b"DOT")),
    ("fat16", "two dots to nowhere", "found", at("sub", 32 + 26, 0x1234)),
    ("fat12", "a root of noise", "told", noise("root", 5, SECTOR)),
    ("fat12", "a directory of noise", "told", noise("sub", 6, SECTOR - 64, 64)),
    ("fat16", "times that are none", "sound", slot("root", b"FILE3", 13, b"\xff" * 13)),
    # MBRs
    ("mbr", "no mark", "refused", at("table0", 70, 0)),
    ("mbr", "a table of noise", "refused", noise("table0", 7, 70)),
    ("mbr", "a first partition behind the disk", "told", at("table0", 14, ONES)),
    ("mbr", "a first partition larger than the disk", "told", at("table0", 18, ONES)),
    ("mbr", "a first partition of no sector", "told", at("table0", 18, 0, 4)),
    ("mbr", "partitions that overlap", "told", at("table0", 30, 70, 4)),
    ("mbr", "logical partitions in a circle", "told", both(
        at("table2", 26, 5, 1), at("table2", 30, 512, 4), at("table2", 34, 600, 4))),
    ("mbr", "logical partitions behind the disk", "told", at("table1", 22 + 8, 0x70000000, 4)),
    # GPTs
    ("gpt", "a header with a wrong checksum", "told", at("header", 16, ONES)),
    ("gpt", "two headers with wrong checksums", "refused", both(
        at("header", 16, ONES), at("header2", 16, ONES))),
    ("gpt", "entries with a wrong checksum", "told", at("array", 60, ONES)),
    ("gpt", "4 billion entries", "told", at("header", 80, ONES)),
    ("gpt", "entries of one byte", "told", at("header", 84, 1, 4)),
    ("gpt", "a header of 4 GiB", "told", at("header", 12, ONES)),
    ("gpt", "a header that is elsewhere", "told", at("header", 24, 77, 8)),
    ("gpt", "entries behind the disk", "told", at("header", 72, 1 << 62, 8)),
    ("gpt", "a partition that ends before it begins", "told", at("array", 40, 3, 8)),
    ("gpt", "a partition behind the disk", "told", at("array", 32, 1 << 63, 8)),
    ("gpt", "entries of noise", "refused", noise("array", 8, 256)),
    # ext2
    ("ext2", "no mark", "refused", at("super", 56, 0)),
    ("ext2", "a superblock of noise", "refused", noise("super", 9, 56)),
    ("ext2", "blocks of 2 TiB", "refused", at("super", 24, 31, 4)),
    ("ext2", "no block in a group", "refused", at("super", 32, 0, 4)),
    ("ext2", "no inode in a group", "refused", at("super", 40, 0, 4)),
    ("ext2", "4 billion blocks", "refused", at("super", 4, ONES)),
    ("ext2", "inodes of 3 bytes", "refused", at("super", 88, 3)),
    ("ext2", "features of tomorrow", "refused", at("super", 96, ONES)),
    ("ext2", "a table of inodes at 0", "refused", at("groups", 8, 0, 4)),
    ("ext2", "a table of inodes behind the volume", "refused", at("groups", 8, ONES)),
    ("ext2", "a group of noise", "refused", noise("groups", 10, 32)),
    ("ext2", "a root that is a file", "refused", at("inodes", 256, 0x81A4)),
    ("ext2", "a root of 4 GiB", "told", at("inodes", 256 + 4, ONES)),
    ("ext2", "a root behind the volume", "told", at("inodes", 256 + 40, ONES)),
    ("ext2", "a file behind the volume", "told", at("two inode", 40, ONES)),
    ("ext2", "a file of 16 EiB", "told", both(
        at("two inode", 4, ONES), at("two inode", 108, ONES))),
    ("ext2", "places of noise", "told", noise("indirect", 11, 64)),
    ("ext2", "a link that is too long", "told", at("slow inode", 4, 60_000, 4)),
    ("ext2", "a file that is a device", "told", at("two inode", 0, 0x61B6)),
    ("ext2", "a record of no byte", "told", record("root", b"small", 4, 0, 2)),
    ("ext2", "a record that leads out", "told", record("root", b"small", 4, 0xFFFC, 2)),
    ("ext2", "a name longer than its record", "told", record("root", b"small", 6, 255, 1)),
    ("ext2", "an inode that is not there", "told", record("root", b"small", 0, ONES, 4)),
    ("ext2", "a directory in itself", "told", record("root", b"small", 0, 2, 4)),
    ("ext2", "a slash in a name", "told", record("root", b"small", 9, b"/", 1)),
    ("ext2", "a directory of noise", "told", noise("dir", 12, 64)),
)  # fmt: skip
