"""Who has which cluster of a volume, by number: what a check learns by following chains. 4 bytes a
cluster, a path each.
"""

from __future__ import annotations

import numpy as np

from octavo.fs.fat.books import Run

TAIL = 1  # a number for clusters behind the ends of files: nobody's, and still linked to a chain


class Owners:
    """Owners are numbered from 2 on; 0 is nobody. `riddles` are directories that share clusters."""

    def __init__(self, clusters: int) -> None:
        self.by = np.zeros(clusters + 2, np.uint32)
        self.names = ["nobody", "the end of a file"]
        self.firsts = [0, 0]  # owner -> first cluster of a directory, 0 for files
        self.riddles: set[str] = set()
        self.claimed = 0

    def add(self, path: str, directory: int = 0) -> int:
        """A new owner's number; `directory` is the first cluster of one."""
        self.names.append(path)
        self.firsts.append(directory)
        return len(self.names) - 1

    def take(self, me: int, runs: list[Run], most: int | None = None) -> tuple[list[Run], int]:
        """Gives an owner the first `most` clusters of a chain, up to the first that somebody has.

        Returns what it got, and that cluster; 0 when there was none, or it was its own.
        """
        own: list[Run] = []
        left = len(self.by) if most is None else most
        for start, count in runs:
            part = self.by[start : start + min(count, left)]
            taken = np.flatnonzero(part)
            size = int(taken[0]) if len(taken) else len(part)
            part[:size] = me
            self.claimed += size
            left -= size
            if size:
                own.append((start, size))
            if len(taken):
                other = int(part[size])
                return own, start + size if other != me else 0
            if not left:
                break
        return own, 0

    def meet(self, me: int, cluster: int, wrong: bool = False) -> str:
        """What is said of an owner that has come upon a cluster of another; directories among them
        become riddles.

        It is none that one directory is entered twice, nor that a file which is `wrong` leads to
        the beginning of one.
        """
        other = int(self.by[cluster])
        begins = self.firsts[other] == cluster
        if not (begins and (wrong or self.firsts[me] == cluster)):
            self.riddles |= {self.names[i] for i in (me, other) if self.firsts[i]}
        return f"shares cluster {cluster} with {self.names[other]}"

    def mark(self, runs: list[Run], me: int) -> None:
        """Gives an owner those clusters of a chain that nobody has; with TAIL, they are behind an
        end.
        """
        for start, count in runs:
            part = self.by[start : start + count]
            part[part < (TAIL if me == TAIL else TAIL + 1)] = me

    def give_up(self, runs: list[Run]) -> None:
        """Nobody has these clusters any more."""
        for start, count in runs:
            self.by[start : start + count] = 0

    def cut_off(self, runs: list[Run]) -> None:
        """What is behind an end, and nobody else's, is linked to nothing any more."""
        for start, count in runs:
            part = self.by[start : start + count]
            part[part == TAIL] = 0


def first_of(runs: list[Run], most: int) -> list[Run]:
    """The first `most` clusters of a chain."""
    out: list[Run] = []
    for start, count in runs:
        if most <= 0:
            break
        out.append((start, min(count, most)))
        most -= count
    return out


def behind(runs: list[Run], most: int) -> list[Run]:
    """The clusters of a chain behind the first `most`."""
    out: list[Run] = []
    for start, count in runs:
        if count > most:
            out.append((start + most, count - most))
        most = max(0, most - count)
    return out


def length(runs: list[Run]) -> int:
    """How many clusters a chain has."""
    return sum(count for _, count in runs)
