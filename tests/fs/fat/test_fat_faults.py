"""FAT volumes on a device that fails now and then: an operation happens whole or not at all, and in
the end everything is on the medium.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from octavo.testing.crash import State
from tests.crashes.explorer import KINDS, Explorer, Kind
from tests.crashes.history import History
from tests.crashes.model import Demands
from tests.crashes.scripts import random_script

SEEDS = 6


def failing_history(explorer: Explorer, seed: int, faults: tuple[str, ...]) -> History:
    """Random operations, of which a third meets a device that fails; then the device is well, and
    the volume is unmounted.
    """
    history = History(explorer.base, explorer.tree, seed, faults=faults)
    history.press()  # so that little stays in memory, and reads can fail
    random_script(Random(seed), 16)(history)
    history.close()
    return history


def judge_the_end(explorer: Explorer, history: History) -> None:
    """What is on the medium has all that it must have; it is clean, but for what follows a flush of
    the device that failed.
    """
    explorer.image[:] = history.buffer
    end = State(len(history.device.epochs) - 1, tuple(history.device.epochs[-1]))
    verdict = explorer.judge.state(Demands(history.steps, history.heirs, end))
    assert not verdict.faults, (verdict.faults, history.done)
    if not history.discarded:
        assert not verdict.told, history.done
        exact = Demands([history.steps[-1]._replace(started=(0, 0), flushed=0)], {}, end)
        assert not explorer.judge.state(exact).faults, history.done
    explorer.image[:] = explorer.base


@pytest.mark.dosfstools
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: f"fat{k.bits}-{k.size}-{k.leave}")
@pytest.mark.parametrize(
    "faults", [("read",), ("write",), ("read", "write"), ("flush",)], ids="-".join
)
def test_operations_on_a_device_that_fails(
    kind: Kind, faults: tuple[str, ...], tmp_path: Path
) -> None:
    """Nothing that was flushed is lost, before the end or at it, whenever the power goes; once the
    device is well, all is written.

    After a device flush that failed nobody knows what is on the medium, so that every later flush
    fails and the volume is given up.
    """
    explorer = Explorer(kind, tmp_path)
    failures = 0
    for seed in range(SEEDS):
        history = failing_history(explorer, seed, faults)
        failures += len(history.faulty.failed)
        assert history.discarded <= (faults == ("flush",))
        judge_the_end(explorer, history)
        tally = explorer.explore(history, f"{faults} fail", seed, 4, 24)
        assert not tally.findings, "\n".join(map(str, tally.smallest()))
    explorer.close()
    assert failures >= (1 if faults == ("read",) else SEEDS // 2)
