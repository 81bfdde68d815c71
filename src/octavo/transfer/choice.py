"""Which files of the sources of a copy are wanted, and what of what is there they may replace.

A pattern has `*`, `?` and `[...]`, as fnmatch has them. One without "/" is compared with the name
of each file and directory, one with "/" with the path below the source; one that ends in "/" is for
directories. What is excluded is left out with all that is below it. The case of letters counts
where it counts in the source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property

from octavo.transfer.tree import Item, Step, Tree

TICK = 2  # seconds in the times of FAT: what is no more than that apart is of one time


@dataclass(frozen=True)
class Choice:
    """`excluded` are patterns; with `keep` nothing is replaced, with `newer` only what is older
    than the file that replaces it.
    """

    excluded: tuple[str, ...] = ()
    keep: bool = False
    newer: bool = False

    @cached_property
    def _tests(self) -> list[tuple[bool, bool, str]]:
        """(for directories only, for paths, expression) of each pattern."""
        found = []
        for pattern in self.excluded:
            bare = pattern.rstrip("/")
            found.append((bare != pattern, "/" in bare, translate(bare.lstrip("/"))))
        return found

    def excludes(self, source: Tree) -> Callable[[str, Item], bool]:
        """A test of the items of a tree by their paths below the source; "" is the source itself,
        whose name counts.
        """
        flags = re.IGNORECASE if source.key("a") == source.key("A") else 0
        tests = [(only, paths, re.compile(text, flags).match) for only, paths, text in self._tests]

        def test(path: str, item: Item) -> bool:
            return any(
                fits(path if paths else item.name)
                for only, paths, fits in tests
                if item.directory or not only
            )

        return test

    def chosen(self, steps: Sequence[Step], target: Tree) -> list[Step]:
        """The steps that are wanted of those that replace something."""
        if not (self.keep or self.newer):
            return list(steps)
        return [s for s in steps if s.item.directory or not s.replaces or self._wanted(s, target)]

    def _wanted(self, step: Step, target: Tree) -> bool:
        there = None if self.keep else target.find(step.to)
        if there is None:
            return False
        return min(step.item.modified, target.latest) >= there.modified + TICK


ALL = Choice()
