"""The table of docs/architecture.md that says what trips cost."""

from __future__ import annotations

from pathlib import Path

from benchmarks.trips import table, trips

from tests.places import ROOT


def test_the_table_of_trips_is_of_this_code(tmp_path: Path) -> None:
    """Each trip's calls, functions, files and rooms: `python -m benchmarks.trips` prints them."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert table(trips(tmp_path)) in page
