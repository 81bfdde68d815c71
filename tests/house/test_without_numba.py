"""Numba is an extra: without it the image verbs, the shell, address spaces and policies do what
they do with it, and what would take too long asks for it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.places import ROOT

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numba", "llvmlite"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

if {blocked}:
    sys.meta_path.insert(0, Blocker())
"""

VERBS = """
import os
from octavo.cli.main import run

def verb(*arguments):
    try:
        code = run(list(arguments))
    except SystemExit as error:
        code = error.code
    print(arguments[0], code, flush=True)

open("note.txt", "w").write("ten bytes\\n")
os.utime("note.txt", (1e9, 1e9))
verb("--help")
verb("mkfs", "--size", "4M", "disk.img")
verb("cp", "note.txt", "disk.img:NOTE.TXT")
verb("ls", "disk.img:")
verb("cat", "disk.img:NOTE.TXT")
verb("check", "disk.img")
verb("df", "disk.img")
verb("boot", "disk.img", "-c", "dir", "-c", "memory", "-c", "vm alloc 100K", "-c",
     "vm scan 0x10000 write", "-c", "vm fork", "-c", "memory spaces", "-c", "memory paging")
import octavo
with octavo.open_image("disk.img") as volume:
    print(volume.read_bytes("NOTE.TXT"), volume.kind)
"""

SPACES = """
import numpy as np
import octavo
from octavo.images import RamDisk
from octavo.policies import NAMES, Policy
from octavo.vm import READ, WRITE, Allocate, reference

keys = np.random.default_rng(1).zipf(1.2, 30_000) % 3000
for name in NAMES:
    misses, evicted = Policy(name, slots=300, capacity=300).replay(keys)
    print(name, misses, evicted.sum())

for policy in ("ageing", "s3-fifo"):
    with octavo.boot(memory="8M", policy=policy) as system:
        system.virtual.add_page_file(RamDisk("pagefile", 2 << 20, system.memory))
        system.virtual.bulk_pages = 1
        space = system.virtual.create("init")
        base, size = space.allocate(0, 2 << 20, Allocate.COMMIT)
        run = system.scheduler.run
        # again and again: so many accessed bits are harvested that a kernel does it
        pages = np.random.default_rng(2).integers(0, size >> 12, 30_000)
        trace = np.array([reference(base + int(p) * 4096, int(p) & 1) for p in pages], np.int64)
        faults = run(system.virtual.run(space, trace))
        child = system.virtual.fork(space, "child")
        faults += run(system.virtual.run(child, trace[:5000]))
        system.virtual.replacement.harvest()
        print(policy, faults, system.statistics()["virtual"])
        system.check()
"""

LARGE = """
import numpy as np
import octavo
from octavo.machine.kernels import MOST_INTERPRETED
from octavo.policies import Policy
from octavo.vm import Allocate, reference

for count in (MOST_INTERPRETED, MOST_INTERPRETED + 1):
    keys = np.zeros(count, np.int64)
    try:
        print(Policy("fifo", slots=3, capacity=3).replay(keys)[0])
    except octavo.StatusError as error:
        print(error.status.name, error)
with octavo.boot(memory="8M") as system:
    space = system.virtual.create("init")
    base, size = space.allocate(0, 1 << 20, Allocate.COMMIT)
    for run in (lambda: system.scheduler.run(system.virtual.run(space, keys)),
                lambda: system.virtual.mmu.run(0, keys)):
        try:
            print(run())
        except octavo.StatusError as error:
            print(error.status.name, error)
"""


def said(program: str, blocked: bool, folder: Path) -> str:
    """What a program prints in a fresh interpreter, with or without Numba."""
    done = subprocess.run(
        [sys.executable, "-c", BLOCKER.replace("{blocked}", str(blocked)) + program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return re.sub("serial [-0-9A-F]+", "serial", done.stdout)  # it is made of the time


@pytest.mark.parametrize("program", [VERBS, SPACES], ids=["verbs and shell", "spaces and policies"])
def test_all_is_the_same_without_numba(program: str, tmp_path: Path) -> None:
    """Each line that is printed."""
    outs = []
    for blocked in (True, False):
        folder = tmp_path / str(blocked)
        folder.mkdir()
        outs.append(said(program, blocked, folder).splitlines())
    for without, with_it in zip(*outs, strict=True):
        assert without == with_it
    assert len(outs[0]) > 12


def test_what_takes_too_long_asks_for_numba(tmp_path: Path) -> None:
    """One reference more than the interpreter may have; with Numba there is no bound."""
    first, second, third, fourth = said(LARGE, True, tmp_path).splitlines()
    says = "of 2097153 references needs compiled kernels: pip install 'octavo[kernels]'"
    assert first == "1" and second == f"NOT_SUPPORTED fifo: a replay {says}"
    assert third == fourth == f"NOT_SUPPORTED a run {says}"
    assert "octavo[kernels]" not in said(LARGE.split("with octavo")[0], False, tmp_path)


def test_numba_is_an_extra() -> None:
    """NumPy and the terminal are what an installation needs; tests and benchmarks install Numba."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [text.partition(">")[0] for text in project["dependencies"]]
    assert sorted(needed) == ["numpy", "prompt_toolkit", "rich"]
    extras = project["optional-dependencies"]
    assert [text.partition(">")[0] for text in extras["kernels"]] == ["numba"]
    assert all(extras[kind][0].startswith("octavo[kernels") for kind in ("test", "bench"))


@pytest.mark.parametrize("arguments", [["--help"], ["boot", "disk.img", "-c", "memory"]])
def test_nobody_imports_numba_before_it_is_needed(arguments: list[str], tmp_path: Path) -> None:
    """Nor do help and the shell."""
    program = (
        "from octavo.cli.main import run\nimport sys\n"
        "run(['mkfs', '--size', '2M', 'disk.img'])\n"
        f"try:\n    run({arguments!r})\nexcept SystemExit:\n    pass\n"
        "print('numba' in sys.modules, 'llvmlite' in sys.modules)"
    )
    assert said(program, False, tmp_path).splitlines()[-1] == "False False"
