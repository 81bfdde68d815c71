"""The table of NT's statuses in docs/statuses.md: complete, and every test that it names exists."""

from __future__ import annotations

import re

from tests.places import ROOT, test_file

TABLE = ROOT / "docs" / "statuses.md"
# The cases that concern virtual memory and sections.
ROWS = {
    1,
    2,
    4,
    5,
    7,
    8,
    10,
    11,
    13,
    14,
    16,
    17,
    19,
    20,
    22,
    23,
    25,
    26,
    28,
    29,
    31,
    32,
    34,
    35,
    37,
    38,
    40,
    41,
    43,
    44,
    46,
    47,
    49,
    50,
    52,
    53,
    55,
    56,
    58,
    59,
}
ROWS |= {61, 62, 64, 65, 67, 68, 70, 71, 73, 74, 76, 77, 79, 80, 82, 83, 86}
ROWS |= {88, 89, 91, 92, 94, 95, 97, 98}  # of the cache manager


def test_every_case_passes_or_is_a_stated_departure() -> None:
    """Each row has a test that exists, or says why not; those with numbers are all that there
    are.
    """
    seen: set[int] = set()
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 3 or cells[2] in ("Where", "---"):
            continue
        numbers = {int(n) for n in cells[0].split(",")} if cells[0][0].isdigit() else set()
        assert not numbers & seen
        seen |= numbers
        tests = re.findall(r"`(test_\w+\.py)::(\w+)`", cells[2])
        assert tests or "departure: " in cells[2], line
        for file, name in tests:
            text = test_file(file).read_text()
            found = re.search(rf'def {name}\([^)]*\) -> None:\n    """([^"]*)"""', text)
            assert found, f"{file} has no {name}"
    assert seen == ROWS
