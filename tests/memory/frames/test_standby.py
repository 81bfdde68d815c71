"""The standby lists by themselves: what a kernel leaves of one."""

from __future__ import annotations

import pytest

from octavo.machine.abi import State
from octavo.machine.ram import Ram
from octavo.memory.frames.pagelists import StandbyLists
from octavo.memory.frames.pfn import PfnDatabase


def test_what_a_kernel_took_is_counted_as_active() -> None:
    """From the head of one list: the rest stays linked; down to nothing; never more than before."""
    pfns = PfnDatabase(Ram(64), 64, 60)
    standby = StandbyLists(pfns)
    pfns.claim(1, 20, State.ACTIVE)
    standby.append(1, 12, State.ACTIVE, 5)
    standby.append(13, 8, State.ACTIVE, 2)
    pfns.prev[4] = 0
    for pfn in (1, 2, 3):
        pfns.state[pfn] = State.ACTIVE  # as the kernel does, word by word
    standby.taken(5, 4, 12, 9)
    standby.check()
    assert standby.count == 17 and pfns.counts[State.ACTIVE] == 3
    for pfn in range(4, 13):
        pfns.state[pfn] = State.ACTIVE
    standby.taken(5, 0, 0, 0)
    standby.check()
    assert standby.by_priority() == [0, 0, 8, 0, 0, 0, 0, 0]
    for head, tail, count in ((13, 20, 9), (0, 20, 3), (13, 0, 3), (0, 0, 1)):
        with pytest.raises(AssertionError, match="a list grew in a kernel"):
            standby.taken(2, head, tail, count)
    standby.check()
