"""Trees that are copied, and volumes that they are copied to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import octavo
from tests.conftest import fsck


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory for sources."""
    path = tmp_path / "source"
    path.mkdir()
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A directory for targets."""
    path = tmp_path / "out"
    path.mkdir()
    return path


@pytest.fixture
def volume(image: Path) -> Iterator[octavo.Volume]:
    """The volume of 16 MiB, clean at the end, with nothing left of a copy that failed."""
    with octavo.open_image(image) as mounted:
        yield mounted
        assert not [
            e.name for _, entries in mounted.walk() for e in entries if e.name.startswith("OCTAVO")
        ]
        assert mounted.check() == []
    fsck(image)
