"""Where things are in this project, however its tests are laid out."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "octavo"
TESTS = ROOT / "tests"
DATA = TESTS / "data"
PROGRAM = Path("/bin/true")  # an ELF image that is there


def test_files() -> list[Path]:
    """All files of tests. No two have one name: a name is enough to cite one."""
    found = sorted(TESTS.rglob("test_*.py"))
    names = [path.name for path in found]
    assert len(set(names)) == len(names), "two files of tests have one name"
    return found


def test_file(name: str) -> Path:
    """The file of tests with a name such as "test_buddy.py". KeyError when there is none."""
    return {path.name: path for path in test_files()}[name]


test_files.__test__ = test_file.__test__ = False  # type: ignore[attr-defined]
