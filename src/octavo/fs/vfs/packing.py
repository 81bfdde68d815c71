"""What a batch of many new files and directories is, to who asks for one and to who makes it
(`octavo.fs.vfs.batch`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

DIRECTORY_SIZE = -1  # what a directory has as its size in a batch
TOP = -1  # the number of what is above a top
# A part of a file to be read: its number, from which byte on, where to in the stage, how many bytes
# that is, and how many fit there: one more at a file's end shows that it has grown.
Job = tuple[int, int, int, int, int]
Window = Callable[
    [int, int], list[memoryview]
]  # where so many bytes from a place of a stage on are
# Does jobs; returns the numbers of files that did not have the bytes. It waits for nothing in
# Octavo, and what it raises ends the batch.
Fill = Callable[[Sequence[Job], Window], list[int]]

# The other way: files by their numbers, where their bytes begin, and how many there are; False when
# no more are wanted.
Found = tuple[int, int, int]
Give = Callable[[Sequence[Found], Window], bool]


@dataclass(slots=True)
class Batch:
    """What is to be made, by numbers: a directory before what is in it, which is in the order in
    which it will be listed.

    A name is clean (`Planner.clean_name`), and no two fold alike in a directory. Above a top is
    TOP, and its name is the path of a place where nothing is.
    """

    names: list[str] = field(default_factory=list)
    above: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)  # bytes of a file, or DIRECTORY_SIZE
    times: list[float] = field(default_factory=list)  # of the last writing, seconds since 1970
    there: list[bool] = field(default_factory=list)  # said afterwards: made, and named

    def inside(self) -> dict[int, list[int]]:
        """What is in each new directory, by their numbers."""
        inside: dict[int, list[int]] = {
            i: [] for i, s in enumerate(self.sizes) if s == DIRECTORY_SIZE
        }
        for number, above in enumerate(self.above):
            if above != TOP:
                inside[above].append(number)
        return inside
