"""Which tests reach which line of src/octavo, and how long each takes: so that a fault is tried
against those alone.

Measured once, with coverage.py, on a copy of the project for each job, each running a part of the
test files. Not seen: what runs in other processes, and compiled kernels.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

_DURATION = re.compile(r"^([0-9.]+)s (?:call|setup) +(\S.*)$", re.MULTILINE)
_PLAIN = "import sys; sys.exit(__import__('pytest').main(sys.argv[1:]))"


@dataclass
class Reach:
    """(file below src/octavo, line) -> tests; test -> seconds."""

    lines: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def tests(self, path: str, line: int, most: float) -> list[str]:
        """The tests that reach a line, quickest first, as many as take `most` seconds together."""
        out: list[str] = []
        for test in sorted(self.lines.get((path, line), ()), key=lambda t: (self.seconds[t], t)):
            most -= self.seconds[test]
            if most < 0 and out:
                break
            out.append(test)
        return out


def environment(home: Path) -> dict[str, str]:
    """In which the tests of a copy run."""
    path = f"{home / 'src'}:{home}"
    return {**os.environ, "PYTHONPATH": path, "CI": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def measure(homes: list[Path]) -> Reach:
    """Runs all tests, a part in each copy. Tests that fail, as they may when they are traced, count
    like others.
    """
    reach = Reach()
    with ThreadPoolExecutor(len(homes)) as pool:
        for part in pool.map(lambda i: _part(homes[i], i, len(homes)), range(len(homes))):
            for place, tests in part.lines.items():
                reach.lines[place] |= tests
            reach.seconds.update(part.seconds)
    return reach


def _part(home: Path, number: int, of: int) -> Reach:
    from coverage import CoverageData  # an extra, and slow to import

    files = sorted(str(file.relative_to(home)) for file in home.glob("tests/**/test_*.py"))
    options = ["-p", "no:cacheprovider", "--cov=octavo", "--cov-context=test", "--cov-report="]
    options += ["-vv", "--durations=0", "--durations-min=0", f"--basetemp={home / 'tmp'}"]
    command = [sys.executable, "-c", _PLAIN, *options, *files[number::of]]
    done = subprocess.run(
        command, cwd=home, env=environment(home), capture_output=True, text=True, check=False
    )
    reach = Reach()
    for seconds, test in _DURATION.findall(done.stdout):
        reach.seconds[test] += float(seconds)
    data = CoverageData(str(home / ".coverage"))
    data.read()
    base = home / "src" / "octavo"
    for file in data.measured_files():
        for line, contexts in data.contexts_by_lineno(file).items():
            place = (str(Path(file).relative_to(base)), line)
            reach.lines[place] |= {c.rpartition("|")[0] for c in contexts} - {""}
    return reach
