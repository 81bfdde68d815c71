"""What a file system's format is to the volume over it.

A format knows what bytes mean: where a file's bytes are, and what a directory's bytes say. It reads
pages (`CacheManager.copy_read` over sections of its own, or a directory's), and keeps no node,
opens no file and takes no lock: the volume does, and calls one method at a time, under its mutex.

Nothing here may be believed: what a format reads may be damaged, or made by an enemy. It says so
with StatusError FILE_CORRUPT_ERROR and one sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from octavo.fs.base import Problem, Space
from octavo.fs.vfs.node import Directory, E, Node
from octavo.memory.pagers.region import Mapping, RegionPager
from octavo.memory.pages.section import Section


class Format(Protocol[E]):
    """A format that can be read.

    `pager` serves the sections of the volume's files, and `sections`, those that the format has for
    itself (the volume drops them when it is unmounted). `refusal` says why the volume can only be
    read, "" when it can be changed.
    """

    kind: str  # "FAT16", "ext2"
    label: str
    serial: int
    refusal: str
    pager: RegionPager
    sections: list[Section]

    def root(self) -> E:
        """The root directory's entry; its name is ""."""

    async def locate(self, node: Node[E], what: str) -> tuple[Mapping, int]:
        """Where a node's bytes are, holes included, and how many it has; errors name it `what`."""

    async def parse(self, node: Node[E], section: Section) -> Directory[E]:
        """What the bytes of a directory, which are `section`'s, say.

        No name is "", ".", ".." or has a "/" in it. `Entry.number` tells directories apart: one
        that leads back to a directory above it is refused by the volume, unless numbers are 0.
        """

    async def space(self) -> Space:
        """Size and free space."""

    async def check(
        self, progress: Callable[[int, int], None] | None, repair: bool
    ) -> list[Problem]:
        """What is wrong with the volume; StatusError when the format cannot say."""
