"""The demo is the first thing that a newcomer sees: it must run, and say what the memory manager
did.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import fsck
from tests.places import ROOT


@pytest.mark.dosfstools
def test_demo(tmp_path: Path) -> None:
    """Run from a copy, so that nobody's demo image is touched."""
    shutil.copy(ROOT / "demo.py", tmp_path)
    done = subprocess.run(
        [sys.executable, tmp_path / "demo.py"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for line in (
        "PFN database:",
        "C:\\>md work",
        "Welcome to Octavo.",
        "What the memory manager did:",
        "Read-ahead:",
        "The tour went well.",
    ):
        assert line in done.stdout
    fsck(tmp_path / "demo" / "disk.img")
