"""The rules of docs/principles.md: each that is cited is there, each has tests that exist, and no
text cites what is nowhere.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.places import ROOT, test_file

ROWS = re.findall(
    r"^\| (\d+) \| (.+) \| (.+) \|$", (ROOT / "docs" / "principles.md").read_text(), re.MULTILINE
)
HERE = Path(__file__).name


def texts() -> dict[str, str]:
    """Everything that people read: code, tests, documents."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    found += [p for d in ("src", "tests", "benchmarks") for p in (ROOT / d).rglob("*.py")]
    return {str(path.relative_to(ROOT)): path.read_text() for path in found if path.name != HERE}


def test_each_rule_has_tests_that_exist() -> None:
    """Eleven rules, in order."""
    assert [int(number) for number, _, _ in ROWS] == list(range(1, 12))
    for _, _, held in ROWS:
        tests = re.findall(r"`(test_\w+\.py)::(\w+)`", held)
        assert tests and "departure" not in held
        for file, name in tests:
            assert re.search(rf"^def {name}\(", test_file(file).read_text(), re.MULTILINE), name


def test_what_is_cited_is_there() -> None:
    """Rules by their numbers, and documents of this project by their names."""
    numbers = {number for number, _, _ in ROWS}
    for where, text in texts().items():
        for number in re.findall(r"\b[Rr]ule (\d+)", text):
            assert number in numbers, f"{where} cites rule {number}"
        assert "reference/" not in text, f"{where} cites a document that the project does not have"
        for name in re.findall(r"docs/[\w/-]+\.md", text):
            assert (ROOT / name).exists(), f"{where} cites {name}"
