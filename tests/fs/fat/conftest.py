"""Fixtures of FAT volumes."""

from __future__ import annotations

from pathlib import Path

import pytest

import octavo


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
