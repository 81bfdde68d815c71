"""What a volume keeps in memory of a file or directory: its section, where its bytes are, and a
directory's names.

    Directory --names--> Entry --node--> Node --section--> pages
        ^                                  |
        '------------- directory ----------'     (a Node of a directory has the
                                                 Directory parsed from its bytes)

A Node is there while the file is open or has pages worth keeping; a Directory stays while any of
its entries has a Node. An Entry is the format's: what its directory, or its inode, says of a file.
The volume's mutex covers all of this but the reading and writing of bytes that have a place
already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from octavo.memory.pagers.region import Mapping
from octavo.memory.pagers.regionmap import RegionMap
from octavo.memory.pages.section import Section

if TYPE_CHECKING:
    from typing import Protocol

    from octavo.fs.protocol import FileInfo

    class Entry(FileInfo, Protocol):
        """A file or directory as its format knows it; `node` is the volume's, None while it has
        none.
        """

        name: str
        node: Any  # Node[E] | None


E = TypeVar("E", bound="Entry")


class Node(Generic[E]):
    """One file or directory in use; `parent` is None for the root directory."""

    __slots__ = ("entry", "parent", "path", "opens", "mapping", "section", "directory", "stale")

    def __init__(self, entry: E, parent: Directory[E] | None, path: str) -> None:
        self.entry = entry
        self.parent = parent
        self.path = path
        self.opens = 0
        self.mapping: Mapping | None = None
        self.section: Section | None = None
        self.directory: Directory[E] | None = None
        self.stale = False  # its entry differs from what the pages say

    @property
    def regions(self) -> RegionMap:
        """Where its bytes are; only after `Nodes.load`."""
        assert self.mapping is not None
        return self.mapping.regions


class Directory(Generic[E]):
    """The names of one directory, without "." and "..", in the order of the disk. A format whose
    names fold, or are found in other ways, has a class of its own.
    """

    __slots__ = ("node", "names", "live", "leaving")

    def __init__(self, node: Node[E], names: dict[str, E]) -> None:
        self.node = node
        self.names = names
        self.live = 0  # entries that have a Node, or wait for being erased
        self.leaving: set[str] = set()  # keys of entries that wait for being erased

    def find(self, name: str) -> E | None:
        """The entry of a name."""
        return self.names.get(name)

    def key(self, name: str) -> str:
        """What a name is compared by: who is found by a name has that key among those of his
        names.
        """
        return name

    def keys(self, entry: E) -> set[str]:
        """What nobody else in the directory may be called while the entry is on the medium."""
        return {entry.name}

    def add(self, entry: E) -> None:
        """Notes an entry that has been written."""
        self.names[entry.name] = entry

    def drop(self, entry: E) -> None:
        """Forgets an entry."""
        if self.names.get(entry.name) is entry:
            del self.names[entry.name]
