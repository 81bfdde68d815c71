"""The tables of docs/ that say what trips of pages, and files in a copied tree, cost."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.places import ROOT


@pytest.mark.parametrize(
    ("benchmark", "page"), [("trips", "architecture.md"), ("batches", "batches.md")]
)
def test_the_table_is_of_this_code(benchmark: str, page: str) -> None:
    """Calls and bytes, as a process of its own counts them."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{benchmark}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) > 5
    assert done.stdout in (ROOT / "docs" / page).read_text()
