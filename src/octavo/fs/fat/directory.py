"""A directory of FAT: names that fold, short ones beside long ones, and free slots."""

from __future__ import annotations

from octavo.fs.fat.entry import Entry, Parsed
from octavo.fs.fat.names import fold
from octavo.fs.fat.slots import FreeSlots
from octavo.fs.vfs.node import Directory, Node


class FatDirectory(Directory[Entry]):
    """The names of one directory, by folded long name, and its free slots."""

    __slots__ = ("slots", "_shorts")

    def __init__(self, node: Node[Entry], parsed: Parsed) -> None:
        self.slots = FreeSlots(parsed.free, parsed.end)
        self._shorts: dict[str, Entry] | None = None  # by short name, of those that have a long one
        super().__init__(node, named(parsed.entries))

    def find(self, name: str) -> Entry | None:
        """The entry of a name, long or short, in any case."""
        key = fold(name)
        entry = self.names.get(key)
        if entry is None:
            if len(key) > 12 and not key.endswith((".", " ")):
                return None  # it is no short name
            entry = self.shorts.get(key)
            if entry is None and key.endswith((".", " ")):
                entry = self.names.get(fold(name.rstrip(". ")))
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

    def key(self, name: str) -> str:
        """Folded, without the dots and spaces behind it that are not looked at."""
        return fold(name.rstrip(". ") or name)

    def keys(self, entry: Entry) -> set[str]:
        """Folded names, the short one too."""
        return {fold(entry.name), fold(entry.short_name)}

    def add(self, entry: Entry) -> None:
        """Notes an entry whose slots have been written."""
        self.names[fold(entry.name)] = entry
        if self._shorts is not None and entry.slots > 1:
            self._shorts[fold(entry.short_name)] = entry

    def drop(self, entry: Entry) -> None:
        """Forgets an entry; its slots are not free before they are erased."""
        key = fold(entry.name)
        if self.names.get(key) is entry:
            del self.names[key]
        if self._shorts is not None and self._shorts.get(fold(entry.short_name)) is entry:
            del self._shorts[fold(entry.short_name)]


def named(entries: list[Entry]) -> dict[str, Entry]:
    """Entries by folded name, without "." and ".."."""
    names = {entry.name.upper(): entry for entry in entries}
    if len(names) < len(entries) or not "".join([e.name for e in entries]).isascii():
        names = _distinct(entries)
    names.pop(".", None)
    names.pop("..", None)
    return names


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
