"""The command, as a program, and within this one."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

from octavo.cli.main import run_whole

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


def call(*arguments: object, code: int | None = 0) -> str:
    """Runs a command line within this process, which is quicker; returns as `octavo` does. With
    None any exit code will do, and errors are returned.
    """
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        got = run_whole([*map(str, arguments)])
    out.seek(0)
    printed = out.read()
    assert code in (got, None), f"exit {got}: {printed}{err.getvalue()}"
    return printed if code == 0 else err.getvalue()
