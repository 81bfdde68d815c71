"""The command, as a program."""

from __future__ import annotations

import subprocess
import sys

OCTAVO = [sys.executable, "-m", "octavo"]


def octavo(*arguments: object, code: int = 0, stdin: str = "") -> str:
    """Runs the command in a process of its own; returns stdout, or stderr when a failure is
    expected.
    """
    done = subprocess.run(
        [*OCTAVO, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        input=stdin,
        timeout=120,
    )
    assert done.returncode == code, f"exit {done.returncode}: {done.stdout}{done.stderr}"
    return done.stderr if code else done.stdout
