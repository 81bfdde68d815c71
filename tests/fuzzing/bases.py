"""Sound images to be damaged: small volumes of every kind and disks with partition tables, each
with the places of its metadata by name, and a device that changes none of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from zlib import crc32

import octavo
from octavo.fs.fat.bpb import parse_boot_sector
from octavo.memory.pagers.medium import Request
from octavo.storage.device import SECTOR, Device
from tests.fs.ext.trees import make_ext
from tests.storage.tables import gpt_disk, gpt_entry, mbr_disk
from tests.volumes import make_volume, shared_memory

ZEROS = bytes(SECTOR)
KIB = 1 << 10
FAT_KINDS = {
    "fat12": (12, 160 * KIB, 512),
    "fat16": (16, 2200 * KIB, 512),
    "fat32": (32, 34 << 20, 512),
}
Patch = tuple[int, bytes]  # a place on the image, and what is there then


@dataclass(frozen=True)
class Base:
    """An image of `size` bytes: its sectors that are not zeros, and where its metadata is, by name
    as (first, bytes).
    """

    name: str
    size: int
    sectors: Mapping[int, bytes]
    regions: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def read(self, place: int, length: int) -> bytes:
        """Bytes of it."""
        first, end = place // SECTOR, -(-(place + length) // SECTOR)
        data = b"".join(self.sectors.get(n, ZEROS) for n in range(first, end))
        return data[place - first * SECTOR :][:length]

    def u16(self, place: int) -> int:
        """Two bytes as a number."""
        return int.from_bytes(self.read(place, 2), "little")

    def u32(self, place: int) -> int:
        """Four bytes as a number."""
        return int.from_bytes(self.read(place, 4), "little")


class DamagedDisk(Device):
    """A base with patches, cut to `size` bytes; what is written is kept here."""

    def __init__(self, base: Base, patches: Sequence[Patch] = (), size: int | None = None) -> None:
        size = base.size if size is None else size
        super().__init__(base.name, size // SECTOR * SECTOR, False, False)
        self.base = base
        self.changed: dict[int, bytes] = {}
        for place, data in patches:
            self.patch(place, data)

    def again(self) -> DamagedDisk:
        """The same bytes as a new device."""
        disk = DamagedDisk(self.base, (), self.size)
        disk.changed = dict(self.changed)
        return disk

    def patch(self, place: int, data: bytes) -> None:
        """Changes bytes."""
        for n in range(place // SECTOR, -(-(place + len(data)) // SECTOR)):
            old = bytearray(self.sector(n))
            begin = max(place - n * SECTOR, 0)
            skip = max(n * SECTOR - place, 0)
            part = data[skip : skip + SECTOR - begin]
            old[begin : begin + len(part)] = part
            self.changed[n] = bytes(old)

    def sector(self, n: int) -> bytes:
        """One sector."""
        found = self.changed.get(n)
        return self.base.sectors.get(n, ZEROS) if found is None else found

    def bytes(self, place: int, length: int) -> bytes:
        """Bytes as they are now; sectors as a whole."""
        return b"".join(self.sector(n) for n in range(place // SECTOR, (place + length) // SECTOR))

    async def _read(self, requests: Sequence[Request]) -> None:
        for _, place, frames in requests:
            frames.fill(self.bytes(place, frames.length))

    async def _write(self, requests: Sequence[Request]) -> None:
        for _, place, frames in requests:
            data = frames.read()
            for at in range(0, len(data), SECTOR):
                self.changed[(place + at) // SECTOR] = data[at : at + SECTOR]

    async def _flush(self) -> None:
        pass


def sectors_of(data: bytes | memoryview) -> dict[int, bytes]:
    """The sectors that are not zeros."""
    step = 64 * KIB
    zeros = bytes(step)
    found = {}
    for start in range(0, len(data), step):
        piece = bytes(data[start : start + step])
        if piece == zeros[: len(piece)]:
            continue
        for at in range(0, len(piece), SECTOR):
            if (sector := piece[at : at + SECTOR]) != ZEROS:
                found[(start + at) // SECTOR] = sector
    return found


def _fill(volume: octavo.Volume) -> None:
    """A small tree: names long and short, files in one piece and in several, empty ones."""
    volume.mkdir("sub/Deeper than it was", parents=True)
    for i in range(5):
        volume.write_bytes(f"file{i}.txt", bytes([65 + i]) * (700 * i))
        volume.write_bytes(f"sub/A longer name {i}.data", bytes([97 + i]) * 1500)
    for i in range(4):
        with volume.open("pieces.bin", "ab") as file:
            file.write(bytes([i]) * 900)
        volume.write_bytes(f"sub/Deeper than it was/{i}", b"x" * 600)
    volume.remove("file2.txt")


def _fat_regions(data: memoryview) -> Iterator[tuple[str, tuple[int, int]]]:
    """Where a FAT volume's metadata is."""
    boot = parse_boot_sector(bytes(data[:SECTOR]), "base", len(data))
    yield "boot", (0, 90)
    yield "mark", (508, 4)
    if boot.bits == 32:
        yield "fsinfo", (boot.fsinfo_offset, SECTOR)
        yield "backup", (boot.backup_offset, 90)
    for copy in range(boot.fats):
        yield f"fat{copy + 1}", (boot.fat_offset + copy * boot.fat_size, 200)
    yield "root", (boot.root_offset or boot.data_offset, SECTOR)
    for name, first in (("sub", b"SUB     "), ("deep", b"DEEPER")):
        for at in range(boot.root_offset or boot.data_offset, boot.data_offset + 64 * KIB, 32):
            if data[at : at + len(first)] == first and data[at + 11] == 0x10:
                cluster = struct.unpack_from("<H", data, at + 26)[0]
                yield name, (boot.data_offset + (cluster - 2) * boot.cluster, SECTOR)
                break


def _fat(name: str, folder: Path) -> Base:
    bits, size, cluster = FAT_KINDS[name]
    image = make_volume(folder / name, size, bits, cluster)
    with octavo.boot("4M", [folder / name], seed=1) as system:  # in virtual time: the same bytes
        _fill(next(iter(system.volumes.values())))
    return Base(name, len(image), sectors_of(image), dict(_fat_regions(image)))


def _ext_regions(base: Base) -> Iterator[tuple[str, tuple[int, int]]]:
    """Where an ext2 volume's metadata is, in blocks of 1 KiB and inodes of 256 bytes."""
    block_map, inode_map, table = (base.u32(2 * KIB + 4 * n) * KIB for n in range(3))
    yield "super", (KIB, 264)
    yield "groups", (2 * KIB, 32)
    yield "blockmap", (block_map, 64)
    yield "inodemap", (inode_map, 32)
    yield "inodes", (table, 24 * 256)
    root = base.u32(table + 256 + 40) * KIB
    yield "root", (root, 256)
    at = root
    while at < root + KIB and base.u16(at + 4):
        name = base.read(at + 8, base.u16(at + 6) & 255).decode()
        inode = table + (base.u32(at) - 1) * 256
        if name in ("dir", "two", "slow"):
            yield name, (base.u32(inode + 40) * KIB, 64)
            yield f"{name} inode", (inode, 160)
        if name == "two":
            yield "indirect", (base.u32(inode + 40 + 12 * 4) * KIB, 64)
        at += base.u16(at + 4)


def _ext(folder: Path) -> Base:
    tree = folder / "tree"
    (tree / "dir" / "below").mkdir(parents=True)
    (tree / "small").write_text("small")
    (tree / "two").write_bytes(b"2" * 40 * KIB)
    (tree / "fast").symlink_to("small")
    (tree / "slow").symlink_to("./" * 40 + "small")
    (tree / "dir" / "file").write_text("file")
    options = ("-b", "1024", "-I", "256", "-U", "clear", "-O", "^resize_inode,^dir_index")
    data = make_ext(folder / "ext2", "256K", tree, *options).read_bytes()
    base = Base("ext2", len(data), sectors_of(data))
    return Base("ext2", len(data), base.sectors, dict(_ext_regions(base)))


def _mbr(inner: Base) -> Base:
    """A disk with two primary and two logical partitions; each has the same volume."""
    sectors = inner.size // SECTOR
    starts = [64, 512, 1088, 1600]
    rows = {
        0: [(1, starts[0], sectors), (6, starts[1], sectors), (5, 1024, 1200)],
        1024: [(1, starts[2] - 1024, sectors), (5, 512, 600)],
        1536: [(1, starts[3] - 1536, sectors)],
    }
    data = bytearray(mbr_disk(rows, 2400))
    for start in starts:
        data[start * SECTOR : start * SECTOR + inner.size] = inner.read(0, inner.size)
    regions = {f"table{n}": (at * SECTOR + 440, 72) for n, at in enumerate(rows)}
    regions |= {f"volume{n}": (start * SECTOR, 64) for n, start in enumerate(starts)}
    return Base("mbr", len(data), sectors_of(bytes(data)), regions)


def _gpt(inner: Base) -> Base:
    """A disk with two partitions and a backup; each has the same volume."""
    starts, count = [40, 400], inner.size // SECTOR
    rows = [gpt_entry(start, start + count - 1, name="a name") for start in starts]
    data = bytearray(gpt_disk(rows, sectors=1000))
    for start in starts:
        data[start * SECTOR : start * SECTOR + inner.size] = inner.read(0, inner.size)
    regions = {"table": (440, 72), "header": (SECTOR, 92), "array": (2 * SECTOR, 256)}
    regions |= {"header2": (999 * SECTOR, 92), "array2": (995 * SECTOR, 256)}
    return Base("gpt", len(data), sectors_of(bytes(data)), regions)


def with_checksums(disk: DamagedDisk) -> None:
    """Makes the checksums of a GPT those of what is there, as far as it makes sense."""
    for place in (SECTOR, 999 * SECTOR):
        header = bytearray(disk.bytes(place, SECTOR))
        length = struct.unpack_from("<I", header, 12)[0]
        array, count, size = struct.unpack_from("<QII", header, 72)
        if count * size <= 8 * KIB and array < 1000:
            whole = disk.bytes(array * SECTOR, -(-count * size // SECTOR) * SECTOR)
            struct.pack_into("<I", header, 88, crc32(whole[: count * size]))
        if 92 <= length <= SECTOR:
            struct.pack_into("<I", header, 16, 0)
            struct.pack_into("<I", header, 16, crc32(header[:length]))
            disk.patch(place, bytes(header))


@cache
def bases() -> dict[str, Base]:
    """All of them, by name. Needs mke2fs."""
    with shared_memory() as folder:
        found = {name: _fat(name, folder) for name in FAT_KINDS}
        found["ext2"] = _ext(folder)
    return found | {"mbr": _mbr(found["fat12"]), "gpt": _gpt(found["fat12"])}
