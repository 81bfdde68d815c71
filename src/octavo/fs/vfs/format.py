"""What a file system's format is to the volume over it: a `Format` that reads, and, where it can be
changed, a `Planner` that returns edits.

A format knows what bytes mean: where a file's bytes are, and what a directory's bytes say. It reads
pages (`CacheManager.copy_read` over sections of its own, or a directory's), and keeps no node,
opens no file and takes no lock: the volume does, and calls one method at a time, under its mutex.

Nothing here may be believed: what a format reads may be damaged, or made by an enemy. It says so
with StatusError FILE_CORRUPT_ERROR and one sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from octavo.fs.base import Problem, Space
from octavo.fs.vfs.edits import Change, Edit, Phase
from octavo.fs.vfs.node import Directory, E, Node
from octavo.memory.pagers.region import Mapping, RegionPager
from octavo.memory.pagers.regionmap import RegionMap
from octavo.memory.pages.section import Section
from octavo.status import StatusError

if TYPE_CHECKING:
    from octavo.fs.protocol import Glance
    from octavo.fs.vfs.node import Entry
    from octavo.fs.vfs.packing import Batch

Progress = Callable[[int, int], None]


L = TypeVar("L", bound="Entry", contravariant=True)


class Links(Protocol[L]):
    """What a format with symbolic links can do."""

    def is_link(self, entry: L) -> bool:
        """True for a symbolic link."""

    async def target(self, entry: L, what: str) -> str:
        """The path that a link leads to, which is not ""; errors name the link `what`."""


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
    kept: list[RegionMap]  # for a check: extents of files that are open, and have no name
    ahead: set[int]  # and the numbers of open files that have more room than bytes

    @property
    def links(self) -> Links[E] | None:
        """None for a format that has no symbolic links."""

    def root(self) -> E:
        """The root directory's entry; its name is ""."""

    async def locate(self, node: Node[E], what: str) -> tuple[Mapping, int]:
        """Where a node's bytes are, holes included, and how many it has; errors name it `what`."""

    async def parse(self, node: Node[E], section: Section) -> Directory[E]:
        """What the bytes of a directory, which are `section`'s, say.

        No name is "", ".", ".." or has a "/" in it. `Entry.number` tells directories apart: one
        that leads back to a directory above it is refused by the volume, unless numbers are 0.
        """

    async def glance(self, numbers: list[int]) -> dict[int, Glance]:
        """What directories say that have no node, and what those below them say, some of them, by
        their numbers. What is left out is to be opened.
        """

    def extents(self) -> Extents | None:
        """Where files are; None for a format that does not know it by their numbers."""

    async def space(self) -> Space:
        """Size and free space."""

    @property
    def layout(self) -> object:
        """What does not change while it is mounted: equal for the same volume only."""

    def forget(self) -> None:
        """Lets go of what it knows of the volume beside its geometry: all is read anew."""

    async def check(self, progress: Progress | None, mender: Mender | None) -> list[Problem]:
        """What is wrong with the volume, which is flushed; with a mender, what can be mended is.
        StatusError when the format cannot say.
        """


class Mender(Protocol):
    """Who applies what a repair changes: the volume's `Writer`."""

    async def begin(self) -> None: ...
    async def apply(self, change: Change) -> None: ...
    async def put(self, section: Section, offset: int, data: bytes) -> None: ...
    async def write_pages(self, directories: bool = True) -> StatusError | None: ...
    async def lead(self) -> None: ...


class Planner(Protocol[E]):
    """How a volume of a format is changed.

    What is planned is noted in a change (`octavo.fs.vfs.edits`), and is done when the volume's
    `Writer` has applied it. A method that is no coroutine needs no page that is not there.

    `pager` and `sections` are the format's: `sections[0]` has the dirty flag, and all of them what
    nothing points to yet. `unclean`: the volume had the flag when it was mounted, and keeps it.
    """

    pager: RegionPager
    sections: list[Section]
    unclean: bool
    family: str  # "FAT", as sentences have it
    most_bytes: int  # of a file

    def change(self) -> Change:
        """An empty change, with the books of the format."""

    # -- entries -----------------------------------------------------------------------------------

    def clean_name(self, name: str) -> str:
        """A name as it is stored; StatusError OBJECT_NAME_INVALID when it cannot be."""

    def clean_time(self, wall: float) -> float:
        """A time (seconds since 1970) that can be stored; StatusError INVALID_PARAMETER when it is
        none.
        """

    def attributes(self, letters: str) -> int:
        """What letters of `flags` stand for; StatusError INVALID_PARAMETER."""

    def new_entry(self, name: str, directory: bool, wall: float | None, size: int) -> E:
        """An entry with a clean name, written at `wall` (None: now), that has no extents yet and no
        place.
        """

    def renamed(self, entry: E, name: str) -> E:
        """A copy of an entry with another name, that has no place and no node yet."""

    def protected(self, entry: E) -> bool:
        """Whether an entry says that its file may be neither written nor removed."""

    def set_attributes(self, entry: E, on: int, off: int) -> None:
        """Sets attributes and clears others."""

    def set_written(self, entry: E, wall: float | None) -> None:
        """Sets when a file or directory was last written (None: now)."""

    def set_changed(self, entry: E, wall: float | None) -> None:
        """As `set_written`, for a file whose bytes were changed."""

    def set_size(self, entry: E, size: int) -> None:
        """Sets a file's size."""

    # -- names -------------------------------------------------------------------------------------

    def place(self, change: Change, directory: Directory[E], entry: E) -> bool:
        """Finds a place for a new entry; False, and nothing done, when the directory must grow."""

    def insert(self, change: Change, directory: Directory[E], entry: E) -> None:
        """Plans a new entry at its place."""

    def plain_file(self, directory: Directory[E], name: str) -> tuple[E, Edit] | None:
        """An empty file made now, with its place, and the one edit that it needs; None when more
        than that has to be planned. Nobody has that name.
        """

    def unplace(self, directory: Directory[E], entry: E) -> None:
        """The place of a plain file that was not made is free again."""

    def erase(self, change: Change, directory: Directory[E], entry: E) -> None:
        """Plans that an entry goes, and its place is free."""

    def describe(self, change: Change, node: Node[E]) -> None:
        """Plans that a node's entry says what it says in memory."""

    def respell(self, change: Change, directory: Directory[E], entry: E, name: str) -> E | None:
        """Plans another name for an entry where it stands; the entry as it is then. None when it
        needs another place.
        """

    def supplant(self, change: Change, directory: Directory[E], old: E, entry: E) -> E:
        """Plans, in one sector, that an old entry leads to the file of another one; the entry as it
        is then.
        """

    async def point_up(self, change: Change, inner: Section, target: Node[E]) -> None:
        """Plans that a directory has another parent."""

    def blank_directory(self, entry: E, parent: Node[E]) -> bytes:
        """The bytes of a new directory, which has its extents."""

    # -- the volume's own name ---------------------------------------------------------------------

    def clean_label(self, label: str) -> str:
        """A label as it is shown, "" for none; StatusError OBJECT_NAME_INVALID when it cannot be
        one.
        """

    async def relabel(self, change: Change, root: Directory[E], label: str) -> bool:
        """Plans another label; False, and nothing done, when the root directory must grow."""

    async def renumber(self, change: Change, serial: int) -> None:
        """Plans another serial number; StatusError NOT_SUPPORTED when the volume has none."""

    # -- extents -----------------------------------------------------------------------------------

    def check_growth(self, node: Node[E]) -> None:
        """StatusError DISK_FULL when a directory cannot grow."""

    def map(self, change: Change) -> Mapping:
        """Where the bytes of a new node will be."""

    async def expect(self, count: int) -> None:
        """StatusError DISK_FULL when there is no room for so many bytes more."""

    def joined(self, node: Node[E]) -> bool:
        """False while what waits to be cut off a node is in the way of more."""

    async def extend(self, change: Change, entry: E, node: Node[E] | None, size: int) -> None:
        """Plans the extents that a file or directory (None: one that is new) needs for `size`
        bytes, or some of them: the volume asks again. StatusError DISK_FULL.
        """

    def shorten(self, change: Change, node: Node[E], units: int) -> None:
        """Plans that a node keeps only so many units of its region map; entry included."""

    async def held(self, entry: E, path: str) -> list[tuple[int, int]]:
        """The extents of a file or directory, in the format's terms, which it has to itself;
        StatusError FILE_CORRUPT_ERROR when that is in doubt.
        """

    def give_back(self, change: Change, held: list[tuple[int, int]]) -> None:
        """Plans that what `held` has found is free when nothing on the medium points to it."""

    # -- the order of writes -----------------------------------------------------------------------

    def free_bytes(self) -> int:
        """Free space, as `Format.space` has it; -1 where that was not asked yet."""

    def waiting(self, phase: Phase | None = None) -> int:
        """How many things wait for a phase, or for any."""

    async def due(self, phase: Phase) -> Change | None:
        """The next of the changes that have waited for a phase; None when there is no other."""

    def settled(self) -> None:
        """What was fresh is on the medium."""

    async def flag(self, change: Change, dirty: bool) -> None:
        """Plans that the volume is marked as in use, or not."""

    async def summarize(self, change: Change) -> None:
        """Plans what the volume says of itself: its free counts."""


class Extents(Protocol):
    """Where files are, by the numbers that listings have of them: in units of `unit` bytes."""

    unit: int

    async def of(self, number: int, size: int) -> list[tuple[int, int]] | None:
        """The (place, units) of a file's first `size` bytes; None when that cannot be said so."""


class Layout(Protocol):
    """What new directories will say, as far as that is known before their files are there. `sizes`
    are the bytes that each needs, in whole units; 0 for one that cannot be. `clashes` are numbers
    of what cannot have its name beside what is before it there.
    """

    sizes: list[int]
    clashes: list[int]

    def pack(
        self, first: Sequence[int], parents: Sequence[int], good: Sequence[bool]
    ) -> Iterator[bytes]:
        """The bytes of each, whole units. By the numbers of the batch: the number of the first unit
        of each file and directory, and whether it is there; of each directory what it names as its
        parent.
        """


class Packer(Protocol[E]):
    """What a format can do for batches, beside its `Planner`. Extents are of `unit` bytes."""

    unit: int

    def lay(self, batch: Batch, directories: Sequence[int], inside: list[list[int]]) -> Layout:
        """New directories of a batch, and what is in each of them."""

    async def chain(
        self, change: Change, counts: Sequence[int]
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Plans extents of so many units each, one behind the other in `change.extents`. Returns
        the number of each one's first unit, 0 for none, and all as (number, units). StatusError
        DISK_FULL.
        """

    def number(self, node: Node[E]) -> int:
        """What a new directory in that of a node names as its parent."""

    def begins(self, entry: E, number: int) -> None:
        """Says in an entry where its extents begin."""
