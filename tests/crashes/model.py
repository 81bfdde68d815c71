"""What was on a volume at each step of a history, and what of it a power cut must leave.

A file or directory is a number for as long as it lives; its names, places and contents are those of
the trees that have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from octavo.files import Volume
from octavo.status import StatusError
from octavo.testing.crash import State

ROOT = 0


class Item(NamedTuple):
    """A file, or a directory when `content` is None."""

    parent: int
    name: str
    content: bytes | None


Tree = dict[int, Item]


class Step(NamedTuple):
    """The volume may be as `tree` from the device's position `started` on; from epoch `flushed` on
    it surely has been.
    """

    started: tuple[int, int]
    tree: Tree
    flushed: int | None = None


class Demands:
    """What a state must have: everything of the last flush before it, but for what was touched
    between the flush and the cut.
    """

    def __init__(self, steps: list[Step], heirs: dict[int, int], state: State) -> None:
        first = max(
            i
            for i, step in enumerate(steps)
            if step.flushed is not None and step.flushed <= state.epoch
        )
        begun = [step.tree for step in steps[first:] if step.started <= (state.epoch, state.last)]
        self.trees = list({id(tree): tree for tree in (steps[first].tree, *begun)}.values())
        self.heirs = heirs

    def names(self, thing: int, without: int = -1) -> set[str]:
        """Every path that a file or directory may have, "" for the root; those since another one is
        gone.
        """
        if thing == ROOT:
            return {""}
        homes = {
            (tree[thing].parent, tree[thing].name)
            for tree in self.trees
            if thing in tree and without not in tree
        }
        return {f"{above}/{name}" for parent, name in homes for above in self.names(parent)}

    def same(self, path: str, other: str) -> bool:
        """Whether two paths, perhaps of short names, may be of one file or directory, which is
        being moved or lies in one that is.
        """
        things = {thing for tree in self.trees for thing in tree}
        for new, old in ((path, other), (other, path)):
            names = {old}  # the file may have been moved since it got these contents
            for thing in things:
                if any(_is(old, name) for name in self.names(thing)):
                    names |= self.names(thing)
            if any(_beside(new, name) for name in names):
                return True
        return any(
            all(any(_is(p, name) for name in self.names(thing)) for p in (path, other))
            for thing in things
        )

    def only_the_case(self, directory: str, name: str) -> bool:
        """Whether a name in a directory may be there twice, since only its case is being
        changed.
        """
        path = f"{directory.rstrip('/')}/{name}".upper()
        things = {thing for tree in self.trees for thing in tree}
        return any(
            sum(found.upper() == path for found in self.names(thing)) > 1 for thing in things
        )

    def moved(self, path: str) -> bool:
        """Whether a path may be of a directory that is being moved."""
        things = {thing for tree in self.trees for thing in tree}
        return any(path in names and len(names) > 1 for names in map(self.names, things))

    def missing(self, volume: Volume) -> list[str]:
        """What was flushed and is not there, or not with its contents."""
        return [text for thing in self.trees[0] if (text := self._missing(volume, thing))]

    def _missing(self, volume: Volume, thing: int) -> str:
        heir = self.heirs.get(thing, -1)
        if any(thing not in tree and heir not in tree for tree in self.trees):
            return ""  # it was removed
        names = self.names(thing) | self.names(heir, without=thing)
        item = self.trees[0][thing]
        found = {path: _read(volume, path, item.content is None) for path in sorted(names)}
        if item.content is None:
            return (
                ""
                if any(content is not None for content in found.values())
                else f"the directory {_or(names)} is not there"
            )
        choices = [versions for versions in map(self._versions, (thing, heir)) if versions]
        if any(
            content is not None and any(whole(content, c) for c in choices)
            for content in found.values()
        ):
            return ""
        sizes = {path: len(content) for path, content in found.items() if content is not None}
        return (
            f"{_or(names)} is not there"
            if not sizes
            else f"{_or(names)} has other contents than were flushed: {sizes} bytes"
        )

    def _versions(self, thing: int) -> list[bytes]:
        return [
            content
            for tree in self.trees
            if thing in tree and (content := tree[thing].content) is not None
        ]


def _beside(path: str, other: str) -> bool:
    """Whether a path is that of new contents on their way into another file's place
    (`octavo.fs.replace`).
    """
    above, _, name = path.rpartition("/")
    return (
        re.fullmatch(r"OCTAVO\d+\.TMP", name) is not None
        and other.rpartition("/")[0].upper() == above.upper()
    )


def _is(path: str, name: str) -> bool:
    """Whether a path is a name, or may be what is left of it when its long parts are lost."""
    parts, names = path.upper().split("/"), name.upper().split("/")
    return len(parts) == len(names) and all(
        part == long
        or (
            "~" in part
            and "".join(filter(str.isalnum, long)).startswith(part.partition("~")[0][:6])
        )
        for part, long in zip(parts, names, strict=True)
    )


def _or(names: Iterable[str]) -> str:
    return " or ".join(sorted(names))


def _read(volume: Volume, path: str, directory: bool) -> bytes | None:
    try:
        if directory:
            return b"" if volume.stat(path).is_directory else None
        return volume.read_bytes(path)
    except StatusError:
        return None


def whole(found: bytes, versions: list[bytes]) -> bool:
    """Whether contents are one of the versions, or a mixture: as long as one of them, and each byte
    that all of them have is some version's.
    """
    if found in versions:
        return True
    if len(found) not in {len(v) for v in versions}:
        return False
    least = min(map(len, versions))
    rows = np.array([np.frombuffer(v[:least], np.uint8) for v in versions])
    return bool((rows == np.frombuffer(found[:least], np.uint8)).any(axis=0).all())
