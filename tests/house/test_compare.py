"""`make bench-compare`: what it decides and says, and that each row runs on this tree."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain, cycle
from pathlib import Path

import pytest
from benchmarks import compare, images, older, report, rows
from benchmarks.compare import Figures

from octavo.transfer import plan

IN_GIT = (report.ROOT / ".git").exists()
NAMES = ["abc1234", "new"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([10, 11, 12], [14, 15, 16], "slower"),
        ([14, 15, 16], [10, 11, 12], "faster"),
        ([10, 11, 12], [12.1, 12.2, 12.3], "slower"),  # 10.9 % at the medians
        ([10, 11, 12], [12.01, 12.05, 12.1], "same"),  # 9.5 %
        ([12.01, 12.05, 12.1], [10, 11, 12], "same"),
        ([10, 11, 15], [14, 20, 21], "same"),  # ranges that overlap
        ([10, 11, 14], [14, 20, 21], "same"),  # and that touch
        ([10, 10, 10, 10, 10, 10, 30], [20] * 7, "same"),  # by one figure of seven
        ([10, 11, 12], [10, 11, 12], "same"),
        ([10], [12], "slower"),
    ],
)
def test_decision(old: list[float], new: list[float], expected: str) -> None:
    """More than 10 % between the medians, and ranges that do not overlap: both have to be so."""
    assert compare.verdict(old, new) == expected


def test_trees_take_turns(tmp_path: Path) -> None:
    """Each pair has both trees, and the order within a pair changes."""
    trees = [tmp_path / name for name in NAMES]
    asked = []

    def run(row: str, tree: Path) -> float:
        asked.append(tree.name)
        return float(len(asked))

    old, new = compare.measure("fork", trees, 3, run)
    assert asked == ["abc1234", "new", "new", "abc1234", "abc1234", "new"]
    assert (old.times, new.times) == ([1, 4, 5], [2, 3, 6])


@pytest.mark.parametrize("missing", [0, 1])
def test_a_tree_that_cannot_run_a_row(tmp_path: Path, missing: int) -> None:
    """It is asked once, the other is measured to the end, and the table says why."""
    trees = [tmp_path / name for name in NAMES]
    asked = []

    def run(row: str, tree: Path) -> float:
        asked.append(tree)
        if tree == trees[missing]:
            raise RuntimeError("ImportError: no fork")
        return 2e-3

    found = compare.measure("fork", trees, 3, run)
    assert found[missing] == Figures([], "ImportError: no fork")
    assert asked.count(trees[missing]) == 1
    assert found[1 - missing] == Figures([2e-3] * 3)
    line = compare.line("fork", "fork", found[0], found[1], NAMES)
    assert f"{NAMES[missing]} cannot run it: ImportError: no fork" in line
    assert "2 ms (2 to 2)" in line
    assert not any(word in line for word in ("slower", "faster", "same"))


def test_the_line_of_a_row() -> None:
    """Medians and ranges in a unit that suits, the ratio, and the decision."""
    old, new = Figures([30e-6, 31e-6, 29e-6]), Figures([70e-6, 1.5e-3, 69e-6])
    cells = [c.strip() for c in compare.line("fork", "64 MiB", old, new, NAMES).split("  ") if c]
    assert cells == ["fork", "64 MiB", "30 us (29 to 31)", "70 us (69 to 1500)", "2.33", "slower"]
    assert compare.shown(Figures([0.41e-9])) == "0.41 ns (0.41 to 0.41)"
    assert compare.shown(Figures([2.0, 3.0])) == "2.5 s (2 to 3)"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["no-such-commit"], 1, "no-such-commit: no commit of this clone"),
        (["HEAD", "--rows", "fork,forks"], 2, "no row is named forks"),
        (["HEAD", "--pairs", "0"], 2, "0 pairs measure nothing"),
    ],
)
def test_calls_that_are_wrong(arguments: list[str], code: int, said: str) -> None:
    """One sentence each, and nothing is measured."""
    program = [sys.executable, "-m", "benchmarks.compare", *arguments]
    done = subprocess.run(program, cwd=report.ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "") and said in done.stderr


def test_one_figure_of_this_tree(tmp_path: Path) -> None:
    """By a fresh interpreter, on the tree that is named; a row that fails says why."""
    tree = tmp_path / "new"
    tree.mkdir()
    (tree / "src").symlink_to(report.ROOT / "src")
    assert 0 < compare.run_row("soft-executive", tree) < 1
    with pytest.raises(RuntimeError, match="^KeyError: 'no-such-row'$"):
        compare.run_row("no-such-row", tree)


@pytest.mark.skipif(not IN_GIT, reason="commits are compared in a clone only")
def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Both trees are there, as fresh as each other; exit code 1 when neither can run a row."""
    measured: list[Path] = []

    def run(row: str, tree: Path) -> float:
        assert (tree / "src" / "octavo" / "__init__.py").exists()
        assert not list(tree.rglob("__pycache__"))
        measured.append(tree)
        if row == "evict":
            raise RuntimeError("no page file")
        return 1e-6 if tree.name == "new" else 2e-6

    monkeypatch.setattr(compare, "run_row", run)
    monkeypatch.setattr(sys, "argv", ["compare", "HEAD", "--rows", "fork,evict", "--pairs", "2"])
    assert compare.main() == 0
    out, err = capsys.readouterr()
    head = report.git("rev-parse", "--short", "HEAD")
    assert {tree.name for tree in measured} == {head, "new"}
    assert not any(tree.exists() for tree in measured)
    fork, evict = out.splitlines()[-2:]
    assert fork.endswith("0.50   faster")
    why = "cannot run it: no page file"
    assert evict.endswith(f"{head} {why}; new {why}")
    assert err.splitlines()[0] == f"fork, pair 1 of 2, {head} ..."

    monkeypatch.setattr(sys, "argv", ["compare", "HEAD", "--rows", "evict"])
    assert compare.main() == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with small images."""
    path = tmp_path_factory.mktemp("images")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "FILES", 20)
        patch.setattr(images, "BIG_MIB", 8)
        images.make(path)
        yield path


@pytest.mark.mtools
@pytest.mark.dosfstools
@pytest.mark.parametrize("name", [name for name, row in rows.ROWS.items() if row.images])
def test_rows_on_images(folder: Path, name: str) -> None:
    """Each of them does its work, on this tree."""
    assert 0 < rows.ROWS[name].setup(folder)() < 60


@pytest.mark.parametrize("name", [name for name, row in rows.ROWS.items() if not row.images])
def test_rows_without_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each of them does its work, on this tree."""
    monkeypatch.setattr(rows, "PAGED", 256)
    monkeypatch.setattr(rows, "ZEROED", 256)
    assert 0 < rows.ROWS[name].setup(tmp_path)() < 60


def test_images_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rows that need them say so; the others are measured."""

    def without_mkfs(folder: Path) -> None:
        raise FileNotFoundError("mkfs.fat")

    monkeypatch.setattr(images, "make", without_mkfs)
    monkeypatch.setattr(compare, "copies", lambda folder, commit: [folder / commit, folder / "new"])
    monkeypatch.setattr(compare, "run_row", lambda row, tree: 1.0)
    found = dict(compare.compare(["list", "fork"], "abc1234", 2))
    assert found["fork"] == [Figures([1.0, 1.0])] * 2
    why = "its images could not be made with mtools and dosfstools: mkfs.fat"
    assert found["list"] == [Figures(reason=why)] * 2


def test_a_figure_is_the_fastest_but_the_first() -> None:
    """The first call compiles and loads: it does not count."""
    times = chain([1.0], cycle([3.0, 2.0, 4.0]))
    assert rows.measure(lambda: next(times)) == 2.0


def test_names_of_this_tree() -> None:
    """Nothing is adapted here: each module that has moved is where this tree has it."""
    before = {name: older.there(name) for name in older.MOVED}
    assert None not in before.values()
    plan_copy = plan.plan_copy
    older.adapt()
    assert {name: sys.modules[name] for name in older.MOVED} == before
    assert plan.plan_copy is plan_copy


OLDER = """
def plan_copy(source, path, target, to, recursive):
    return [source, path, target, to, recursive]
"""
PROGRAM = """
import inspect
from benchmarks import older
older.MOVED["octavo.room.inner.kernels"] = ("octavo.transfer",)
older.MOVED["octavo.room.both"] = ("octavo.transfer", "octavo.nowhere", "octavo.other")
older.adapt()
from octavo.room.inner import kernels
from octavo.room.both import plan_copy, other
assert inspect.getsource(kernels).startswith("\\ndef plan_copy(") and other == 1
from octavo.machine.kernels import kernel
@kernel
@kernel
def work(): pass
assert KERNELS == ["work"]
from octavo.transfer.plan import plan_copy
assert plan_copy([("host", "a")], "volume", "b", True) == ["host", "a", "volume", "b", True]
assert older.there("octavo.transfer.plan") and not older.there("octavo.system")
"""


def test_names_of_an_older_tree(tmp_path: Path) -> None:
    """What it has elsewhere is found by its name of today, and called as today."""
    package = tmp_path / "octavo"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "transfer.py").write_text(OLDER)
    (package / "machine").mkdir()
    for name in ("kernels.py", "frames.py"):
        (package / "machine" / name).touch()
    (package / "other.py").write_text("other = 1")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=report.ROOT, env=env, check=True)
