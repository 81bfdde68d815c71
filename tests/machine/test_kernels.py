"""Kernels in two lives: what is compiled is what is written, whatever it was made from has changed
since.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from octavo.heap import slabkernels
from octavo.machine import kernels, mmukernels
from octavo.memory.frames import buddykernels, pagepools
from octavo.memory.reclaim import harvestkernels
from octavo.memory.reclaim.policies import MODULES, arc, fifo, lists, replay
from octavo.memory.spaces import faultkernels

PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np
from octavo.machine.kernels import compile_kernels
import one, two
run = compile_kernels(one, two).run
print(run(np.arange(10)))
"""
ONE = """
from octavo.machine.kernels import kernel
from elsewhere import K

@kernel
def look(a, i):
    return a[i] + K
"""
TWO = """
from octavo.machine.kernels import kernel
from one import look

@kernel
def run(a):
    return look(a, 3)
"""


def result(folder: Path, k: int, one: str = ONE, two: str = TWO, jit: bool = True) -> str:
    """What a fresh interpreter prints, or the last line of its error."""
    for name, text in (("elsewhere", f"K = {k}\n"), ("one", one), ("two", two)):
        (folder / f"{name}.py").write_text(text)
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "0" if jit else "1"}
    program = PROGRAM.format(folder=str(folder))
    done = subprocess.run(
        [sys.executable, "-B", "-c", program], env=environment, capture_output=True, text=True
    )
    return (done.stdout if done.returncode == 0 else done.stderr.splitlines()[-1]).strip()


def test_no_compiled_kernel_is_stale(tmp_path: Path) -> None:
    """A callee changes, and a constant in a file that is not among the modules: both are seen."""
    assert result(tmp_path, 5) == "8"
    assert result(tmp_path, 6) == "9"
    assert result(tmp_path, 6, ONE.replace("+ K", "+ K * 2")) == "15"
    assert result(tmp_path, 6) == "9"


def test_a_negative_index_is_found_by_the_interpreter(tmp_path: Path) -> None:
    """Compiled it would read what lies in front of the array."""
    wrong = TWO.replace("look(a, 3)", "look(a, -1)")
    assert result(tmp_path, 5, jit=False) == "8"
    assert "a kernel reads element -1" in result(tmp_path, 5, two=wrong, jit=False)


@pytest.mark.parametrize(
    ("one", "two", "says"),
    [
        (
            ONE.replace("K\n", "K\nSIZES = [1]\n").replace("+ K", "+ SIZES[0]"),
            TWO,
            "one.look uses SIZES, no number",
        ),
        (ONE, TWO.replace("look(a, 3)", "sum(a)"), "two.run uses sum, no number"),
        (ONE + "\n@kernel\ndef run(a):\n    return 1\n", TWO, "two kernels are called run"),
        (
            ONE,
            TWO.replace("from one import look", "def look(a, i):\n    return 0\n"),
            "which is another look",
        ),
    ],
)
def test_what_kernels_may_not_use(one: str, two: str, says: str, tmp_path: Path) -> None:
    """Names that the compiler would freeze, or bind to something else than the interpreter does."""
    assert says in result(tmp_path, 5, one, two)


def test_a_policy_takes_its_seams() -> None:
    """Replay calls the policy's own kernels where it has them, else those that do nothing."""
    for module in (arc, fifo):
        made = kernels.interpreted(lists, module, replay)
        for name in ("insert", "touch", "victim"):
            assert getattr(made, name).__code__ is getattr(module, name).__code__
            assert made.replay.__globals__[name] is getattr(made, name)
    assert made.miss.__code__ is lists.miss.__code__  # FIFO has no ghosts
    assert kernels.interpreted(lists, arc, replay).miss.__code__ is arc.miss.__code__


def test_every_set_that_is_compiled_is_sound() -> None:
    """Its names are numbers and kernels of its own, and its digest changes with any constant of the
    ABI that it uses.
    """
    policies = [
        __import__(f"octavo.memory.reclaim.policies.{m}", fromlist=["x"]) for m in MODULES.values()
    ]
    sets = [
        (mmukernels,),
        (buddykernels, pagepools, slabkernels),
        (lists, mmukernels, faultkernels),
    ]
    sets += [(lists, p, replay) for p in policies] + [
        (lists, p, mmukernels, harvestkernels) for p in policies
    ]
    digests = [kernels.digest(*modules) for modules in sets]
    assert len(set(digests)) == len(digests)


def test_a_constant_of_the_abi_is_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernels of the soft MMU and of the buddy allocator use them."""
    for module, name in (
        (mmukernels, "ACCESSED"),
        (buddykernels, "BLOCK_ORDER"),
        (faultkernels, "COPIED"),
    ):
        modules = (lists, mmukernels, module) if module is faultkernels else (module,)
        before = kernels.digest(*modules)
        monkeypatch.setattr(module, name, 77)
        assert kernels.digest(*modules) != before


def test_interpreted_kernels_check_their_indexes() -> None:
    """Within what a policy does, none is negative."""
    state = kernels._Checked(np.arange(4))
    assert state[3] == 3 and len(state) == 4
    with pytest.raises(AssertionError, match="element -1"):
        state[-1] = 5
