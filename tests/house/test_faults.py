"""The list of faults in faults.md: no number is missing, and every test that it names exists."""

from __future__ import annotations

import re

import pytest

from tests.places import TESTS, test_file

LISTS = {
    "Nothing lost": ["1", *(f"2.{n}" for n in range(1, 19)), *(f"3.{n}" for n in range(1, 8))],
    "Right and kind": [
        *(f"1.{n}" for n in range(1, 11)),
        *(f"2.{n}" for n in range(1, 12)),
        *(f"3.{n}" for n in range(1, 9)),
        "4",
        *(f"5.{n}" for n in range(1, 10)),
        "6",
    ],
}


def rows(title: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """(number, tests as (file, name)) of one list."""
    text = (TESTS / "faults.md").read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    out = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"[\d.]+", cells[0]):
            out.append((cells[0], re.findall(r"`(test_\w+\.py)::([\w*]+)`", cells[2])))
    return out


@pytest.mark.parametrize("title", LISTS)
def test_every_number_has_tests(title: str) -> None:
    """In order, none left out."""
    numbers = [number for number, _ in rows(title)]
    assert list(dict.fromkeys(numbers)) == LISTS[title]
    assert all(tests for _, tests in rows(title))


@pytest.mark.parametrize("title", LISTS)
def test_every_test_exists(title: str) -> None:
    """As a function, or as the test case of a state machine."""
    for number, tests in rows(title):
        for file, name in tests:
            text = test_file(file).read_text()
            pattern = (
                rf"^(def {name}\(|{name} = )" if not name.endswith("*") else rf"^def {name[:-1]}"
            )
            assert re.search(pattern, text, re.MULTILINE), f"{number}: {file} has no {name}"
