"""The table of docs/batches.md that says what files cost."""

from __future__ import annotations

import subprocess
import sys

from tests.places import ROOT


def test_the_table_of_batches_is_of_this_code() -> None:
    """Calls and bytes of a file, in a batch and one by one, as a process of its own counts them."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.batches"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 6
    assert done.stdout in (ROOT / "docs" / "batches.md").read_text()
