"""What the two sides of a copy have in common: a tree of the host or of a volume, and the steps
that are planned between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from octavo.files import Report

CHUNK = 1 << 20
Progress = Callable[[str, int], None]  # called with the target and the size of each chunk


@dataclass(slots=True)
class Item:
    """A file or directory: `size` in bytes, `modified` in seconds since 1970.

    A walk does not enter one with `skip`. `number` is what a volume knows a file by, 0 for none.
    """

    name: str
    directory: bool
    size: int
    modified: float
    skip: bool = False
    number: int = 0
    unknown: bool = False  # how many bytes there are is known when they have come


Excluded = Callable[[str, Item], bool]  # of a path below the start, and what is there


@dataclass(slots=True, eq=False)
class Step:
    """One file or directory to be copied from `path` to `to`, into the directory of the step
    `above`.

    `replaces` is what the target has there already. `names` is of directories: by the target's
    keys, what is in the target's directory (an Item), and what is going to be (the source's path,
    as messages have it).
    """

    source: Tree
    path: str
    to: str
    item: Item
    above: Step | None
    replaces: Item | None
    names: dict[str, Item | str] = field(default_factory=dict)
    failed: bool = False
    done: bool = False  # it was one of many
    made: bool = False  # it was done by itself
    dated: bool = False  # it has its time, and keeps it


class Tree(Protocol):
    """One side of a copy. All raise StatusError.

    `shown` is a path as messages have it; `join` a path below a path, `split` its directory and its
    name ("" for a root, "." and ".."). `find` is what stands at a path (None: nothing), without
    following a link. `walk` yields (path below the start, what is in it) of a directory and of all
    below it, parents first, but for what is `excluded`; it enters neither what the caller has given
    `skip` nor what cannot be read, which is reported.

    `before` is what stands before a name in a directory's paths.

    As a target: `fit` is a name as it would be stored, OBJECT_NAME_INVALID when it cannot be; `key`
    is equal for names that are one name there; `fit_all` are the keys of names that are stored as
    they are, all of them different, and None in any other case; `names` is what a directory has, by
    key; `largest` is the size limit of a file, `latest` the last moment that it can have been
    written at, in seconds since 1970; `admit` raises DISK_FULL when steps cannot all have room.
    `write` and `mkdir` make what is not there; `write` with `replaces` puts a new file into the
    place of an old one, which stays as it is when that fails.

    `attributes` are those that a file has and those that it has not, of "r", "h", "s" and "a".

    `parts` are the names that lead to a path in `store`: equal, or the first of another's, when it
    is the same, or above it.
    """

    largest: int

    @property
    def store(self) -> object: ...
    @property
    def latest(self) -> float: ...
    def shown(self, path: str) -> str: ...
    def join(self, path: str, name: str) -> str: ...
    def split(self, path: str) -> tuple[str, str]: ...
    def parts(self, path: str) -> list[str]: ...
    def is_dir(self, path: str) -> bool: ...
    def stat(self, path: str) -> Item: ...
    def find(self, path: str) -> Item | None: ...
    def walk(
        self, path: str, report: Report, excluded: Excluded | None = None
    ) -> Iterator[tuple[str, list[Item]]]: ...
    def before(self, path: str) -> str: ...
    def fit(self, name: str) -> str: ...
    def fit_all(self, names: Sequence[str]) -> list[str] | None: ...
    def key(self, name: str) -> str: ...
    def names(self, path: str) -> dict[str, Item | str]: ...
    def admit(self, steps: Sequence[Step]) -> None: ...
    def read(self, path: str, size: int) -> Iterable[bytes]: ...
    def write(
        self, path: str, size: int, chunks: Iterable[bytes], modified: float, replaces: Item | None
    ) -> None: ...
    def mkdir(self, path: str) -> None: ...
    def set_modified(self, path: str, modified: float) -> None: ...
    def attributes(self, path: str) -> tuple[str, str]: ...
    def set_attributes(self, path: str, on: str, off: str) -> None: ...
