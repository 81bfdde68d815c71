"""Writes docs/measurements.md: runs the benchmarks and puts their tables into the page, each with
what it was measured on.

    make measurements        or        .venv/bin/python -m benchmarks.report [WORD ...]

The page names the command of each table, in a comment above it; with words, only the tables are
measured whose commands have one of them. A table that is not measured this time, or whose command
fails, stays as it is, and its note says up to which commit it was not measured again. Everything
else in the page is written by hand. It needs git, and a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "measurements.md"
TABLE = re.compile(
    r"<!-- measured by: (?P<command>[^\n]+) -->\n(?P<note>[^\n]*)\n\n```text\n(?P<table>.*?)```\n",
    re.S,
)
AGAIN = "; not measured again up to "


def git(*arguments: str) -> str:
    """What git says of this clone."""
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def commit() -> str:
    """The commit that is measured."""
    changed = git("status", "--porcelain", "--", "src", "benchmarks")
    return f"`{git('rev-parse', '--short', 'HEAD')}`" + (
        " with changes that are not committed" if changed else ""
    )


def machine() -> str:
    """The machine and the versions that matter."""
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    versions = ", ".join(f"{name} {version(name)}" for name in ("NumPy", "Numba"))
    what = f"{os.cpu_count()} CPUs ({model[1] if model else platform.machine()}), {memory} GiB"
    return f"{what}, Linux {platform.release()}, Python {platform.python_version()}, {versions}"


def measure(command: str) -> str | None:
    """What a benchmark prints; None when it fails, and its own words are on standard error."""
    print(f"{command} ...", file=sys.stderr, flush=True)
    program, *arguments = shlex.split(command)
    program = sys.executable if program == "python" else program
    done = subprocess.run(
        [program, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    return done.stdout.strip() + "\n" if done.returncode == 0 else None


def renewed(found: re.Match[str], table: str | None, here: str, stamp: str) -> str:
    """A table's part of the page: `table` is what was measured at the commit `here`, None if
    nothing was.
    """
    note = (
        found["note"].partition(AGAIN)[0].rstrip(".") + AGAIN + f"{here}."
        if table is None
        else f"Measured on commit {here}, {stamp}."
    )
    return (
        f"<!-- measured by: {found['command']} "
        f"-->\n{note}\n\n```text\n{found['table'] if table is None else table}```\n"
    )


def write(
    page: Path,
    words: list[str],
    here: str,
    stamp: str,
    measured: Callable[[str], str | None] = measure,
) -> list[str]:
    """Renews the tables of a page whose commands have one of the words, or all; returns the
    commands that failed.

    The page is written after each table, so that an interruption loses one.
    """
    failed = []
    for command in [found["command"] for found in TABLE.finditer(page.read_text())]:
        wanted = not words or any(word in command for word in words)
        table = measured(command) if wanted else None
        if wanted and table is None:
            failed.append(command)
        text = page.read_text()
        found = next(f for f in TABLE.finditer(text) if f["command"] == command)
        page.write_text(
            text[: found.start()] + renewed(found, table, here, stamp) + text[found.end() :]
        )
    return failed


def main() -> int:
    """Measures; exit code 1 when a command failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "words",
        metavar="WORD",
        nargs="*",
        help="a part of the commands of the tables to measure; all, if none is given",
    )
    failed = write(PAGE, parser.parse_args().words, commit(), f"{date.today()}, {machine()}")
    for command in failed:
        print(f"{command} failed; its table is as it was", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
