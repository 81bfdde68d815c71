"""What a volume knows of names without asking its format: where paths led lately, also to nothing.

    stat("Docs/a.txt") --find--> directory, entry         a warm name: the format is asked nothing
    create, rename, remove --tell--> Changed(directory, keys)       what was known of these is gone

Names are kept by the texts of their paths. Of each text it is known in which directory the last
name was looked for, and by which key the format compares it (`Directory.key`): whoever changes a
directory tells the keys that are not what they were, all that a name goes by among them. What is
told is plain data, so that a format in another process can tell it, too. An entry is the one that
the directory has: what another open file writes is seen.

Where there are symbolic links, nothing can be changed: nobody tells what leads through one.

At most `most` texts are kept; the one that was not used for longest goes. Nothing here waits; all
but `find` is called under the volume's mutex.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, NamedTuple

from octavo.fs.vfs.node import Directory, E, Node

if TYPE_CHECKING:
    from octavo.statistics import NameStatistics


class Changed(NamedTuple):
    """Names of the directory with a number, by their keys, are not what they were. `tree`: one of
    them is a directory's, and what is below it is elsewhere.
    """

    directory: int
    keys: tuple[str, ...]
    tree: bool


class Found(NamedTuple, Generic[E]):
    """Where a path led: its directory, its entry (None: nothing), its last name. `above`: that name
    is not the last, and nothing is there.
    """

    directory: Directory[E]
    entry: E | None
    name: str
    number: int  # of the directory
    key: str  # of the name
    above: bool


class KnownNames(Generic[E]):
    """The names that a volume knows. `hits` are look-ups by `find`; `misses`, those for which the
    format was asked, are counted by who asks it.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.hits = 0
        self.misses = 0
        self.directories: dict[str, Directory[E]] = {}  # by the text of the paths that led to them
        self._links: dict[str, Node[E] | None] = {}  # what they led to; None: it is no link
        self._texts: OrderedDict[str, Found[E]] = OrderedDict()  # the front goes first
        self._by: dict[int, dict[str, list[str]]] = {}  # texts, by directory and key

    def __len__(self) -> int:
        return len(self._texts)

    def find(self, path: str) -> Found[E] | None:
        """Where a path led; None when that is not known."""
        found = self._texts.get(path)
        if found is not None:
            self.hits += 1
            self._texts.move_to_end(path)
        return found

    def note(
        self,
        path: str,
        directory: Directory[E],
        entry: E | None,
        name: str,
        above: bool = False,
    ) -> None:
        """Keeps where a path led."""
        if path in self._texts:
            return
        if len(self._texts) >= self.most:
            gone, found = self._texts.popitem(last=False)
            self._forget(gone, found.number, found.key)
        number, key = directory.node.entry.number, directory.key(name)
        self._texts[path] = Found(directory, entry, name, number, key, above)
        self._by.setdefault(number, {}).setdefault(key, []).append(path)

    def _forget(self, path: str, number: int, key: str) -> None:
        keys = self._by[number]
        keys[key].remove(path)
        if not keys[key]:
            del keys[key]
            if not keys:
                del self._by[number]

    def lead(self, path: str, directory: Directory[E]) -> None:
        """Keeps that a path led to a directory."""
        if len(self.directories) >= self.most:
            self.directories.clear()
        self.directories[path] = directory

    def link(self, path: str) -> Node[E] | None:
        """What the symbolic link at a path led to; None for what is none. KeyError when that is not
        known.
        """
        return self._links[path]

    def note_link(self, path: str, node: Node[E] | None) -> None:
        """Keeps that."""
        if len(self._links) >= self.most:
            self._links.clear()
        self._links[path] = node

    def changed(self, directory: Directory[E], *entries: E) -> None:
        """Entries of a directory came, went or were replaced."""
        number, tree = directory.node.entry.number, False
        for entry in entries:
            tree = tree or entry.is_directory
        if not (tree or number in self._by):
            return
        keys = {directory.key(name) for entry in entries for name in directory.keys(entry)}
        self.tell(Changed(number, tuple(sorted(keys)), tree))

    def tell(self, changed: Changed) -> None:
        """What is not as it was is not known any more."""
        if changed.tree:
            self.clear()
            return
        known = self._by.get(changed.directory)
        if known is None:
            return
        for key in changed.keys:
            for path in known.pop(key, ()):
                del self._texts[path]
        if not known:
            del self._by[changed.directory]

    def clear(self) -> None:
        """Nothing is known: directories or nodes have gone."""
        self.directories.clear()
        self._links.clear()
        self._texts.clear()
        self._by.clear()

    def statistics(self) -> NameStatistics:
        """What was known, and what was not."""
        from octavo.statistics import NameStatistics

        return NameStatistics(hits=self.hits, misses=self.misses, entries=len(self))

    def check(self) -> None:
        """Texts and their index agree, and are bounded."""
        index = {
            path: (number, key)
            for number, keys in self._by.items()
            for key, paths in keys.items()
            for path in paths
        }
        assert index == {path: (f.number, f.key) for path, f in self._texts.items()}
        assert all(keys and all(keys.values()) for keys in self._by.values()), "an empty place"
        assert max(len(self._texts), len(self.directories), len(self._links)) <= self.most
