"""Volumes that tests of what is rare begin with."""

from __future__ import annotations

import hashlib
from pathlib import Path

import octavo
from octavo.fs.fat.mkfs import make_fat, plan_volume
from octavo.storage.image import ImageDisk
from tests.conftest import blank_image

MIB = 1 << 20


def digest(image: Path) -> str:
    """The image's contents in short."""
    return hashlib.sha256(image.read_bytes()).hexdigest()


def volume_of(path: Path, bits: int, fats: int = 2) -> Path:
    """A volume of each type, with a.bin and d/b.bin."""
    size, cluster = {12: (MIB, 512), 16: (16 * MIB, 1024), 32: (36 * MIB, 512)}[bits]
    plan = plan_volume(size, bits, cluster, fats)
    with octavo.System("4M") as system:
        device = ImageDisk(blank_image(path, size), system.scheduler)
        system.scheduler.run(make_fat(device, system.cache, plan, "", blank=True))
        device.close()
    with octavo.open_image(path) as volume:
        volume.write_bytes("a.bin", b"A" * 3000)
        volume.mkdir("d")
        volume.write_bytes("d/b.bin", b"B" * 3000)
    return path
