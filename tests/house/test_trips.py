"""The table of docs/architecture.md that says what trips cost."""

from __future__ import annotations

import subprocess
import sys

from tests.places import ROOT


def test_the_table_of_trips_is_of_this_code() -> None:
    """Each trip's calls, functions, files and rooms, as a process of its own counts them."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.trips"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) > 5
    assert done.stdout in (ROOT / "docs" / "architecture.md").read_text()
