"""Is this tree slower than another commit? Both run the same rows by turns.

    make bench-compare REF=COMMIT [ROWS=NAME,...] [PAIRS=7]
    .venv/bin/python -m benchmarks.compare COMMIT [--rows NAME,...] [--pairs 7]

What is compared are two copies: the commit's src, and the working tree's as it is when this begins.
A row is measured in pairs, once on each copy, each time by a fresh interpreter; the order within a
pair changes from pair to pair, so that a machine that becomes slower by and by is not taken for a
tree that does. A row is slower (or faster) when the larger median is more than 10 % above the
smaller one and the ranges of the two do not overlap; otherwise it is the same.

The rows are this tree's (`benchmarks/rows.py`), on older code too (`benchmarks/older.py`). One that
a tree cannot run is told with the reason. Exit code 1 if nothing could be measured, 2 for a wrong
call, else 0: what is slower is for the reader to judge.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import images, report
from benchmarks.rows import ROWS
from octavo.version import VERSION

MARGIN = 1.1
IMAGES = "images"  # a folder beside the trees
PATIENCE = 600  # seconds for one figure; the first of a tree compiles its kernels
UNITS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))


@dataclass
class Figures:
    """What was measured of a row on one tree: seconds, or why nothing was."""

    times: list[float] = field(default_factory=list)
    reason: str = ""


Run = Callable[[str, Path], float]  # a figure of a row on a tree; RuntimeError says why not


def verdict(old: list[float], new: list[float]) -> str:
    """`slower`, `faster` or `same`: how the new times are."""
    below, above = sorted((old, new), key=statistics.median)
    if statistics.median(above) <= MARGIN * statistics.median(below) or min(above) <= max(below):
        return "same"
    return "slower" if above is new else "faster"


def measure(row: str, trees: list[Path], pairs: int, run: Run) -> list[Figures]:
    """A row on both trees by turns; a tree that cannot run it is not asked again."""
    found = [Figures(), Figures()]
    for pair in range(pairs):
        for i in (0, 1) if pair % 2 == 0 else (1, 0):
            if found[i].reason:
                continue
            progress(f"{row}, pair {pair + 1} of {pairs}, {trees[i].name}")
            try:
                found[i].times.append(run(row, trees[i]))
            except RuntimeError as error:
                found[i] = Figures(reason=str(error))
    return found


def run_row(row: str, tree: Path) -> float:
    """One figure, by an interpreter of its own; RuntimeError with its last words when it fails."""
    program = [sys.executable, "-m", "benchmarks.older", "benchmarks.rows"]
    environment = os.environ | {
        "PYTHONPATH": str(tree / "src"),
        "NUMBA_CACHE_DIR": str(tree / "kernels"),  # no tree gets a kernel compiled for the other
    }
    try:
        done = subprocess.run(
            [*program, row, str(tree.parent / IMAGES)],
            cwd=report.ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"took more than {PATIENCE} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RuntimeError(said[-1] if said else f"exit code {done.returncode}")
    told = json.loads(done.stdout)
    assert Path(told["octavo"]).is_relative_to(tree), f"{told['octavo']} was measured, not {tree}"
    return float(told["seconds"])


def progress(text: str) -> None:
    """Says on standard error what is being done."""
    print(f"{text} ...", file=sys.stderr, flush=True)


def shown(figures: Figures) -> str:
    """The median and the range, in a unit that suits the median."""
    if figures.reason:
        return "-"
    median = statistics.median(figures.times)
    unit, size = next((u for u in UNITS if abs(median) >= u[1]), UNITS[-1])
    least, most = min(figures.times) / size, max(figures.times) / size
    return f"{digits(median / size)} {unit} ({digits(least)} to {digits(most)})"


def digits(value: float) -> str:
    """A number with three digits, or all before its point."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def line(row: str, unit: str, old: Figures, new: Figures, names: list[str]) -> str:
    """A row of the table."""
    pairs = zip(names, (old, new), strict=True)
    missing = [f"{name} cannot run it: {f.reason}" for name, f in pairs if f.reason]
    ratio, judged = "-", "; ".join(missing)
    if not missing:
        ratio = f"{statistics.median(new.times) / statistics.median(old.times):.2f}"
        judged = verdict(old.times, new.times)
    return f"{row:<16}{unit:<31}{shown(old):>28}{shown(new):>28}{ratio:>9}   {judged}"


def copies(folder: Path, commit: str) -> list[Path]:
    """The two trees in a folder: the commit's src, and the working tree's."""
    old, new = folder / commit, folder / "new"
    archive = folder / "src.tar"
    report.git("archive", "-o", str(archive), commit, "src")
    shutil.unpack_archive(archive, old)
    shutil.copytree(report.ROOT / "src", new / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return [old, new]


def make_images(folder: Path) -> str:
    """Makes what rows on images need; returns why that was not possible, "" if it was."""
    progress("making images")
    try:
        images.make(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"its images could not be made with mtools and dosfstools: {error}"
    return ""


def compare(rows: list[str], commit: str, pairs: int) -> Iterable[tuple[str, list[Figures]]]:
    """Each row with its figures on the commit and on the working tree."""
    with tempfile.TemporaryDirectory(prefix="octavo-compare-") as name:
        folder = Path(name)
        trees = copies(folder, commit)
        (folder / IMAGES).mkdir()  # rows without images have files of their own there
        missing = make_images(folder / IMAGES) if any(ROWS[row].images for row in rows) else ""
        for row in rows:
            if missing and ROWS[row].images:
                yield row, [Figures(reason=missing), Figures(reason=missing)]
            else:
                yield row, measure(row, trees, pairs, run_row)


def arguments() -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("commit", metavar="COMMIT", help="what the working tree is compared with")
    every = ",".join(ROWS)
    parser.add_argument("--rows", metavar="NAME,...", default=every, help="some of %(default)s")
    parser.add_argument("--pairs", type=int, default=7, help="figures of a row (%(default)s)")
    given = parser.parse_args()
    given.rows = given.rows.split(",")
    unknown = [row for row in given.rows if row not in ROWS]
    if unknown:
        parser.error(f"no row is named {', '.join(unknown)}: take some of {', '.join(ROWS)}")
    if given.pairs < 1:
        parser.error(f"{given.pairs} pairs measure nothing: take 1 or more")
    return given


def commit_of(name: str) -> str:
    """The short name of a commit, "" for what is none of this clone."""
    try:
        return report.git("rev-parse", "--short", "--verify", "--quiet", name + "^{commit}")
    except subprocess.CalledProcessError:
        return ""


def main() -> int:
    """Measures, and prints the table; exit code 1 when nothing could be measured."""
    given = arguments()
    commit = commit_of(given.commit)
    if not commit:
        print(f"{given.commit}: no commit of this clone; `git log` shows what is", file=sys.stderr)
        return 1
    words = ["python -m benchmarks.compare", commit, f"--pairs {given.pairs}"]
    words += [f"--rows {','.join(given.rows)}"] if given.rows != list(ROWS) else []
    names = [commit, "new"]
    print(f"{report.machine()}; octavo {VERSION}")
    print(f"new is {report.commit()}; command: {' '.join(words)}")
    print("medians and ranges; slower or faster: over 10 % apart, and ranges that do not overlap\n")
    print(f"{'':<16}{'time for each':<31}{commit:>28}{'new':>28}{'new/old':>9}", flush=True)
    measured = False
    for row, (old, new) in compare(given.rows, commit, given.pairs):
        print(line(row, ROWS[row].unit, old, new, names), flush=True)
        measured = measured or not (old.reason or new.reason)
    return int(not measured)


if __name__ == "__main__":
    sys.exit(main())
