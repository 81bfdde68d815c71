"""A view of a whole file, for tests of views."""

from __future__ import annotations

from octavo.memory.spaces.advice import Advice
from tests.machines import Machine, MemoryFile


def show(machine: Machine, file: MemoryFile, advice: Advice = Advice.NORMAL) -> int:
    """Where a view of the whole file begins."""
    base, _ = machine.space.map(machine.run(machine.virtual.sections.create(0, file=file)))
    machine.run(machine.space.advise(base, 1, advice))
    return base
