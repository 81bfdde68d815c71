"""Help, and what a command imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import OCTAVO, octavo


def test_version_and_help() -> None:
    """Every verb explains itself, with an example."""
    assert octavo("--version").startswith("octavo 0.")
    out = octavo("--help")
    for verb in ("boot", "ls", "cat", "cp", "mv", "rm", "mkdir", "df", "mkfs", "check"):
        assert f"    {verb}" in out
        assert f"examples:\n  octavo {verb}" in octavo(verb, "--help")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("call", [["--help"], ["--version"], ["ls", "--help"]])
def test_help_that_cannot_be_written(call: list[str], unbuffered: str) -> None:
    """It is output as any other is, whether Python keeps it for a while or writes it at once."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*OCTAVO, *call],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            check=False,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (
        1,
        "octavo: standard output: No space left on device\n",
    )


def test_ls_does_not_import_what_it_does_not_need(image: Path) -> None:
    """`octavo ls` starts at once: no Numba, no rich, no prompt_toolkit, no other verb,
    no reader of maps, nothing that writes.
    """
    script = (
        f"import sys; from octavo.cli.main import run; run(['ls', {str(image) + ':'!r}]); "
        "print(sorted(sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    for module in (
        "numba",
        "rich",
        "prompt_toolkit",
        "typer",
        "asyncio",
        "concurrent",
        "octavo.cli.boot",
        "octavo.shell",
        "octavo.fs.fat.mkfs",
        "octavo.fs.fat.planner",
        "octavo.fs.vfs.order",
        "octavo.fs.vfs.names",
        "octavo.fs.vfs.format",
        "octavo.fs.protocol",
        "octavo.machine.mapsources",
        "octavo.transfer",
    ):
        assert f"'{module}'" not in out


def test_the_public_names_are_there_when_they_are_asked_for() -> None:
    """Importing the package imports nothing else; `octavo.boot` is the function, whatever else was
    imported before.
    """
    script = (
        "import sys, octavo; print([m for m in sys.modules if m in ('numpy', "
        "'octavo.system', 'argparse')], set(octavo.__all__) <= set(dir(octavo)));"
    )
    script += (
        "import octavo.boot.plan; print(octavo.boot is octavo.system.boot, "
        "octavo.Status.SUCCESS.name, hasattr(octavo, 'nothing'))"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert out.split("\n") == ["[] True", "True SUCCESS False", ""]
