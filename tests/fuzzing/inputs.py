"""What a fuzzer's bytes mean: a base, where it is cut, and patches of its metadata.

    0  base, by number; + 128: the checksums of a GPT are made right
    1  where it is cut, in 256ths; 0: not at all
    2  the parts that are tried after reading: 1 change, 2 repair
    3  ... patches:  region, by number   offset in it, 2 bytes   length - 1   bytes

Any bytes mean something; what is missing is zero.
"""

from __future__ import annotations

from collections.abc import Iterator

from octavo.storage.device import SECTOR
from tests.fuzzing.bases import Base, DamagedDisk, Patch, bases, with_checksums
from tests.fuzzing.trial import Outcome, try_changing, try_reading, try_repairing

MOST_PATCHES = 64
MOST_LENGTH = 32


def patches(base: Base, data: bytes) -> Iterator[Patch]:
    """The patches in the bytes behind the first three."""
    regions = list(base.regions.values())
    at = 3
    for _ in range(MOST_PATCHES):
        if at + 4 > len(data):
            return
        first, length = regions[data[at] % len(regions)]
        offset = int.from_bytes(data[at + 1 : at + 3], "little") % length
        count = min(data[at + 3] % MOST_LENGTH + 1, length - offset)
        piece = data[at + 4 : at + 4 + count]
        yield first + offset, piece
        at += 4 + count


def disk_of(data: bytes) -> DamagedDisk:
    """The image that the bytes stand for."""
    head = data[:3].ljust(3, b"\0")
    known = list(bases().values())
    base = known[(head[0] & 127) % len(known)]
    disk = DamagedDisk(base, list(patches(base, data)))
    if head[0] & 128 and base.name == "gpt":
        with_checksums(disk)
    if head[1]:
        disk.size = base.size * head[1] // 256 // SECTOR * SECTOR
    return disk


def try_input(data: bytes) -> Outcome:
    """Tries the image that the bytes stand for; AssertionError, or another, for what may not be."""
    disk = disk_of(data)
    found = try_reading(disk.again())
    parts = data[2] if len(data) > 2 else 0
    if parts & 1:
        try_changing(disk.again(), found)
    if parts & 2:
        try_repairing(disk.again())
    return found


def encoded(
    base: str, changes: list[tuple[str, int, bytes]], cut: int = 0, parts: int = 3
) -> bytes:
    """The bytes that stand for patches of (region, offset, bytes): for seeds."""
    known = bases()[base]
    names = list(known.regions)
    out = bytes([list(bases()).index(base), cut, parts])
    for region, offset, piece in changes:
        for at in range(0, len(piece), MOST_LENGTH):
            part = piece[at : at + MOST_LENGTH]
            place = (offset + at).to_bytes(2, "little")
            out += bytes([names.index(region)]) + place + bytes([len(part) - 1]) + part
    return out
