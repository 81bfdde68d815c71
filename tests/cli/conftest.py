"""Fixtures of the command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files and directories, one of them empty, and some that FAT cannot take."""
    root = tmp_path / "tree"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a.txt").write_bytes(b"a" * 100)
    (root / "sub" / "Größe.txt").write_bytes(b"b" * 70_000)
    (root / "sub" / "deep" / "big.bin").write_bytes(os.urandom(3 << 20))
    (root / "none").write_bytes(b"")
    return root
