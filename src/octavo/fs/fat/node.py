"""What a volume keeps in memory of a file or directory: its section, where its clusters are, and a
directory's names.

    Directory --names--> Entry --node--> Node --section--> pages
        ^                                  |
        '------------- directory ----------'     (a Node of a directory has the
                                                 Directory parsed from its bytes)

A Node is there while the file is open or has pages worth keeping; a Directory stays while any of
its entries has a Node. The volume's mutex covers all of this but the reading and writing of bytes
that have a place already.
"""

from __future__ import annotations

from octavo.fs.fat.entry import Entry, Parsed
from octavo.fs.fat.names import fold
from octavo.fs.fat.slots import FreeSlots
from octavo.memory.pagers.region import Mapping
from octavo.memory.pagers.regionmap import RegionMap
from octavo.memory.pages.section import Section


class Node:
    """One file or directory in use. `entry` is None for the root directory, which has no entry."""

    __slots__ = ("entry", "parent", "path", "opens", "mapping", "section", "directory", "stale")

    def __init__(self, entry: Entry | None, parent: Directory | None, path: str) -> None:
        self.entry = entry
        self.parent = parent
        self.path = path
        self.opens = 0
        self.mapping: Mapping | None = None
        self.section: Section | None = None
        self.directory: Directory | None = None
        self.stale = False  # its entry differs from what its directory's pages say

    @property
    def regions(self) -> RegionMap:
        """Where its clusters are; only after `FatVolume.load`."""
        assert self.mapping is not None
        return self.mapping.regions


class Directory:
    """The names of one directory, by folded long name, and its free slots."""

    __slots__ = ("node", "names", "slots", "live", "_shorts", "leaving")

    def __init__(self, node: Node, parsed: Parsed) -> None:
        self.node = node
        self.slots = FreeSlots(parsed.free, parsed.end)
        self.leaving: set[str] = (
            set()
        )  # folded names, short ones too, of entries that wait for being erased
        self.live = 0  # entries that have a Node
        self._shorts: dict[str, Entry] | None = None  # by short name, of those that have a long one
        names = {entry.name.upper(): entry for entry in parsed.entries}
        if (
            len(names) < len(parsed.entries)
            or not "".join([e.name for e in parsed.entries]).isascii()
        ):
            names = _distinct(parsed.entries)
        names.pop(".", None)
        names.pop("..", None)
        self.names: dict[str, Entry] = names

    def find(self, name: str) -> Entry | None:
        """The entry of a name, long or short, in any case."""
        key = fold(name)
        entry = self.names.get(key)
        if entry is None:
            if len(key) > 12 and not key.endswith((".", " ")):
                return None  # it is no short name
            entry = self.shorts.get(key) or self.names.get(fold(name.rstrip(". ")))
        return entry

    @property
    def shorts(self) -> dict[str, Entry]:
        """Entries by the short names that stand beside long ones."""
        if self._shorts is None:
            self._shorts = {fold(e.short_name): e for e in self.names.values() if e.slots > 1}
        return self._shorts

    def __contains__(self, key: object) -> bool:
        """True when a folded name is taken, as a long or as a short one."""
        return key in self.names or key in self.shorts

    def add(self, entry: Entry) -> None:
        """Notes an entry whose slots have been written."""
        self.names[fold(entry.name)] = entry
        if self._shorts is not None and entry.slots > 1:
            self._shorts[fold(entry.short_name)] = entry

    def drop(self, entry: Entry) -> None:
        """Forgets an entry; its slots are not free before they are erased."""
        if self.names.get(fold(entry.name)) is entry:
            del self.names[fold(entry.name)]
        if self._shorts is not None and self._shorts.get(fold(entry.short_name)) is entry:
            del self._shorts[fold(entry.short_name)]


def _distinct(entries: list[Entry]) -> dict[str, Entry]:
    """Entries by folded name. Of two with one name, which only damage makes, the second goes by its
    short name, or one with its slot.
    """
    names: dict[str, Entry] = {}
    for entry in entries:
        for name in (entry.name, entry.short_name, f"{entry.name}~{entry.slot}"):
            if fold(name) not in names:
                names[fold(name)] = entry
                entry.name = name
                break
    return names
