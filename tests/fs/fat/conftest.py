"""Fixtures of FAT volumes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import octavo
from octavo.files import Volume
from tests.conftest import make_image
from tests.fs.fat.tables import SIZES


@pytest.fixture
def filled(image: Path) -> Path:
    """Files a.bin and b.bin of three clusters each (clusters 2-4 and 5-7), directory d (cluster 8)
    with d/inner.txt (cluster 9).
    """
    with octavo.open_image(image) as volume:
        volume.write_bytes("a.bin", b"a" * 3000)
        volume.write_bytes("b.bin", b"b" * 3000)
        volume.mkdir("d")
        volume.write_bytes("d/inner.txt", b"inner")
        assert volume.space().unit == 1024
    return image


@pytest.fixture(params=[12, 16, 32])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Volume, Path]]:
    """A small volume of each type."""
    image = make_image(tmp_path / "disk.img", SIZES[request.param], request.param, 512)
    with octavo.boot(memory="4M", disks=[image]) as system:
        yield next(iter(system.volumes.values())), image
