"""Images for filesystems of fsspec; without fsspec and who uses it nothing here is collected, which
OCTAVO_NO_SKIPS forbids.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from octavo.adapters.fsspec import OctavoFileSystem

NEEDED = ("fsspec", "pandas", "pyarrow")
if not os.environ.get("OCTAVO_NO_SKIPS") and not all(map(importlib.util.find_spec, NEEDED)):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of an empty volume of 1440 KiB."""
    from octavo.cli.main import run

    path = tmp_path_factory.mktemp("blank") / "disk.img"
    assert run(["mkfs", "--size", "1440K", str(path)]) == 0
    return path.read_bytes()


@pytest.fixture
def disk(tmp_path: Path, blank: bytes) -> Path:
    """An empty volume in a file of the host."""
    path = tmp_path / "disk.img"
    path.write_bytes(blank)
    return path


@pytest.fixture
def memory(blank: bytes) -> Iterator[Any]:
    """fsspec's memory with an empty volume in /disk.img."""
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/disk.img", blank)
    yield memory
    memory.rm("/disk.img")


@pytest.fixture
def fs(memory: Any) -> Iterator[OctavoFileSystem]:
    """A filesystem in fsspec's memory, which is sound at the end."""
    from octavo.adapters.fsspec import OctavoFileSystem

    with OctavoFileSystem("/disk.img", "memory", auto_mkdir=True, skip_instance_cache=True) as fs:
        yield fs
        with fs.image.use(fs.part) as volume:
            assert volume.check() == []
