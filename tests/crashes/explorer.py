"""Explores histories of one type of volume until enough states have been judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

from octavo.arguments import parse_size
from octavo.storage.device import SECTOR
from octavo.testing.crash import Epoch, State, replay, states, torn_states
from tests.crashes.history import History, Script
from tests.crashes.judge import Judge, Verdict
from tests.crashes.model import Demands, Tree
from tests.crashes.scripts import DESIGNED, ROOM, designed, fill_base, random_script
from tests.volumes import make_volume, shared_memory


class Kind(NamedTuple):
    """A volume to explore; with `leave`, so many of its clusters are free."""

    bits: int
    size: str
    cluster: int
    leave: int | None = None


KINDS = [
    Kind(12, "160K", 512), Kind(12, "160K", 512, 24), Kind(12, "400K", 2048),
    Kind(16, "2300K", 512), Kind(16, "2300K", 512, 24),
    Kind(32, "34M", 512), Kind(32, "34M", 512, 24),
]  # fmt: skip
RANDOM_STEPS = 12
REPAIRS = 5  # of so many states that need it one is repaired, too


class Finding(NamedTuple):
    """A state that breaks the promise, with the history that led to it."""

    fault: str
    what: str
    where: str
    done: tuple[str, ...]


@dataclass
class Tally:
    """States judged and faults found, the smallest history of each fault first."""

    states: int = 0
    torn: int = 0
    histories: int = 0
    broken: int = 0  # states with a fault
    faults: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def note(self, verdict: Verdict, where: str, done: list[str]) -> None:
        """Counts a verdict."""
        self.broken += bool(verdict.faults)
        for fault, what in verdict.faults.items():
            self.faults[fault] += 1
            self.findings.append(Finding(fault, what, where, tuple(done)))

    def add(self, other: Tally) -> None:
        """Counts another tally in."""
        self.states += other.states
        self.torn += other.torn
        self.histories += other.histories
        self.broken += other.broken
        self.faults += other.faults
        self.findings += other.findings

    def smallest(self) -> list[Finding]:
        """Of each fault, and each first operation of a history, the finding with the shortest
        one.
        """
        first: dict[tuple[str, str], Finding] = {}
        for finding in sorted(self.findings, key=lambda f: len(f.done)):
            first.setdefault((finding.fault, finding.done[0].split()[0]), finding)
        return list(first.values())


class Explorer:
    """The histories of one kind of volume, in a folder of its own."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind = kind
        self.path = folder / f"fat{kind.bits}.img"
        self.image = make_volume(self.path, parse_size(kind.size), kind.bits, kind.cluster, ROOM)
        history = History(self.image, {}, 1)
        fill_base(history, Random(1), kind.leave)
        self.tree: Tree = history.tree
        history.close()
        self.base = bytes(history.buffer)
        self.image[:] = self.base
        self.judge = Judge(self.path, self.image)

    def close(self) -> None:
        """Ends the judge."""
        self.judge.close()

    def run(self, script: Script, seed: int) -> History:
        """One history, to its unmount."""
        history = History(self.base, self.tree, seed)
        script(history)
        history.close()
        return history

    def explore(self, history: History, name: str, seed: int, most: int, room: int) -> Tally:
        """Judges up to `room` states of one history, `most` subsets an epoch and sort of piece."""
        tally = Tally(histories=1)
        epochs, random, seen = history.device.epochs, Random(seed), set[tuple[int, int]]()
        for state in replay(self.image, epochs, states(epochs, random, most)):
            key = self._key(epochs, state)
            if key not in seen and tally.states < room:
                seen.add(key)
                tally.states += 1
                demands = Demands(history.steps, history.heirs, state)
                verdict = self.judge.state(demands)
                if verdict.told and tally.states % REPAIRS == 0 and not verdict.faults:
                    verdict.faults.update(self.judge.repaired(demands))
                tally.note(
                    verdict,
                    f"FAT{self.kind.bits} {name}, seed {seed}, {place(epochs, state)}",
                    history.done,
                )
        self._restore(epochs)
        for state in replay(self.image, epochs, torn_states(epochs, random, max(1, most // 16))):
            tally.torn += 1
            tally.note(
                self.judge.torn(),
                f"FAT{self.kind.bits} {name}, seed {seed}, torn sector in {place(epochs, state)}",
                history.done,
            )
        self._restore(epochs)
        return tally

    def _key(self, epochs: list[Epoch], state: State) -> tuple[int, int]:
        """Tells states apart: two that have the same bytes, in one epoch, are one."""
        return state.epoch, hash(
            tuple(bytes(self.image[w.offset : w.offset + len(w.data)]) for w in epochs[state.epoch])
        )

    def _restore(self, epochs: list[Epoch]) -> None:
        for epoch in epochs:
            for _, offset, data in epoch:
                self.image[offset : offset + len(data)] = self.base[offset : offset + len(data)]


def place(epochs: list[Epoch], state: State) -> str:
    """A state in words."""
    sectors = [w.offset // SECTOR for w in state.kept]
    shown = ", ".join(map(str, sectors[:8])) + (" ..." if len(sectors) > 8 else "")
    return (
        f"cut in epoch {state.epoch} of {len(epochs)}, {len(state.kept)} pieces of its "
        f"{len(epochs[state.epoch])} writes there: sectors {shown}"
    )


def explore(
    bits: int,
    goal: int,
    seed: int,
    most: int = 64,
    progress: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Judges `goal` states of volumes of one type: the designed histories, as many as fit, then
    random ones from the seed on.
    """
    total = Tally()
    with shared_memory() as folder:
        for number, kind in enumerate(kinds := [k for k in KINDS if k.bits == bits]):
            share = goal * (number + 1) // len(kinds)
            explorer = Explorer(kind, folder)
            for name, script, own in _scripts(Random(seed + number), seed):
                if total.states >= share:
                    break
                total.add(
                    explorer.explore(
                        explorer.run(script, own), name, own, most, share - total.states
                    )
                )
                progress(total)
            explorer.close()
    return total


def _scripts(random: Random, seed: int) -> Iterator[tuple[str, Script, int]]:
    """Designed scripts in a drawn order, each followed by a random one; then random ones for
    ever.
    """
    names = [(name, lazy) for name in DESIGNED for lazy in (False, True)]
    random.shuffle(names)
    own = seed * 1_000_000
    while True:
        if names:
            name, lazy = names.pop()
            yield f"{name!r}{' and the lazy writer' if lazy else ''}", designed(name, lazy), own
        own += 1
        yield "random", random_script(Random(own), RANDOM_STEPS), own
