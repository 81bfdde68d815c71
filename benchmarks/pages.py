"""Tables of docs/ that a benchmark counts, and writes into their page when it is asked to."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def put_table(page: str, table: str) -> None:
    """Puts a table into a page of docs/, in the place of the one whose first column has this
    name.
    """
    path, first = DOCS / page, re.escape(table.partition(" | ")[0])
    place = re.compile(rf"^{first} \|.*\n(?:\|.*\n)+", re.MULTILINE)
    text, found = place.subn(lambda _: f"{table}\n", path.read_text())
    assert found == 1, f"{path} has no place for the table"
    path.write_text(text)
