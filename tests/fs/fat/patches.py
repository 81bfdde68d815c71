"""Bytes of a FAT16 image, changed behind everybody's back."""

from __future__ import annotations

import struct
from pathlib import Path

FAT_OFFSET = 512  # of the fixture's volume: one reserved sector


def patch(image: Path, at: int, data: bytes) -> None:
    """Overwrites bytes of the image."""
    with open(image, "r+b") as file:
        file.seek(at)
        file.write(data)


def set_fat(image: Path, cluster: int, value: int) -> None:
    """Changes a FAT16 entry in both copies."""
    for copy in range(2):
        patch(image, FAT_OFFSET + copy * fat_bytes(image) + cluster * 2, struct.pack("<H", value))


def fat_bytes(image: Path) -> int:
    """Bytes in one FAT."""
    return struct.unpack_from("<H", image.read_bytes()[:512], 22)[0] * 512  # type: ignore[no-any-return]


def root_offset(image: Path) -> int:
    """Where the root directory is."""
    return FAT_OFFSET + 2 * fat_bytes(image)


def data_offset(image: Path, cluster: int) -> int:
    """Where a cluster is."""
    return root_offset(image) + 512 * 32 + (cluster - 2) * 1024
