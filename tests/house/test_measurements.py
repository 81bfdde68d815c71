"""The page of measurements: each table names its command and what it was measured on, and the
script renews only tables.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks import report


def test_tables_are_renewed(tmp_path: Path) -> None:
    """What is measured replaces a table and its note; what is not, or fails, keeps its own and says
    up to when.
    """
    page = tmp_path / "measurements.md"
    shutil.copy(report.PAGE, page)
    before = page.read_text()
    tables = list(report.TABLE.finditer(before))
    assert len(tables) == before.count("```text") == 4
    assert all(
        t["note"].startswith("Measured on commit `")
        and (report.ROOT / script(t["command"])).exists()
        for t in tables
    )

    measured = {
        "python -m benchmarks.paging --rounds 3": "new\n",
        "python -m benchmarks.virtual --rounds 7": None,
    }
    assert report.write(page, ["paging", "virtual"], "`abc1234`", "today", measured.get) == [
        "python -m benchmarks.virtual --rounds 7"
    ]
    after = {t["command"]: t for t in report.TABLE.finditer(page.read_text())}
    for old in tables:
        new = after[old["command"]]
        if measured.get(old["command"]):
            assert (new["note"], new["table"]) == ("Measured on commit `abc1234`, today.", "new\n")
        else:
            kept = old["note"].partition(report.AGAIN)[0].rstrip(".")
            assert (new["note"], new["table"]) == (
                f"{kept}; not measured again up to `abc1234`.",
                old["table"],
            )
    assert report.TABLE.sub("", page.read_text()) == report.TABLE.sub("", before), (
        "what is written by hand stays"
    )
    once = page.read_text()
    report.write(page, ["no such command"], "`abc1234`", "today", measured.get)
    assert (
        "today; not measured again up to `abc1234`." in page.read_text()
        and page.read_text().count("up to") == once.count("up to") + 1
    )


def script(command: str) -> str:
    """The file that a command runs."""
    word = command.split()[1:3]
    return word[1].replace(".", "/") + ".py" if word[0] == "-m" else word[0]


def test_a_command_that_fails() -> None:
    """A benchmark is run by this Python; a failure is no table."""
    assert report.measure("python -c 'print(3)'") == "3\n"
    assert report.measure("python -c 'raise SystemExit(1)'") is None
    assert "Python" in report.machine()
