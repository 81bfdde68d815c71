"""The nodes of a volume, and the ways to them: from a path to a directory, an entry and a name.

Nodes are bounded: beyond `most`, and twice those that are needed, the older ones that nobody needs
are written and dropped. A node is needed while it is open, or something in it is.
Directories that were found lately are kept by the text of their paths. A path that ends in a slash,
"." or ".." is a directory's: StatusError NOT_A_DIRECTORY where a file is there, or is to be made.

All methods are called under the volume's mutex.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Generic

from octavo.fs.base import MOST_PATH, check_file_path, check_path, not_found, split_path
from octavo.fs.vfs.known import KnownNames
from octavo.fs.vfs.node import Directory, E, Node
from octavo.memory.pagers.region import Mapping
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.fs.vfs.format import Format
    from octavo.fs.vfs.store import Store

MOST_LINKS = 40  # symbolic ones, that lead to one place


class Nodes(Generic[E]):
    """The nodes of the volume called `name`; `used` are those below the root, oldest first."""

    def __init__(self, name: str, format: Format[E], store: Store[E]) -> None:
        self.name = name
        self.format = format
        self.links = format.links
        self.store, self.cache, self.writer = store, store.cache, store.writer
        self.root: Node[E] = Node(format.root(), None, "")
        self.used: OrderedDict[Node[E], None] = OrderedDict()
        self.most = min(8192, max(128, self.cache.memory.limit // 4))
        self._needed = 0  # nodes that the last trim had to leave
        self.known: KnownNames[E] = KnownNames(self.most)

    # -- nodes -------------------------------------------------------------------------------------

    def node(self, directory: Directory[E], entry: E) -> Node[E]:
        """The node of an entry."""
        node: Node[E] | None = entry.node
        if node is None:
            node = Node(entry, directory, f"{directory.node.path}/{entry.name}")
            entry.node = node
            directory.live += 1
            self.used[node] = None
        return node

    def adopt(self, directory: Directory[E], entry: E, section: Section) -> None:
        """A new entry's bytes are those of a section."""
        assert isinstance(section.token, Mapping)
        node = self.node(directory, entry)
        node.mapping, node.section = section.token, section

    def section_name(self, path: str) -> str:
        """How sections and errors call what has a path."""
        return f"{self.name}:{path or '/'}"

    async def load(self, node: Node[E]) -> Section:
        """Gives a node its mapping and section; StatusError as `Format.locate` has it."""
        if node.section is None:
            what = self.section_name(node.path)
            mapping, size = await self.format.locate(node, what)
            if node.section is not None:  # who made the file was faster
                return node.section
            node.mapping = mapping
            node.section = Section(what, self.format.pager, mapping, size)
            if node.entry.is_directory and self.writer is not None:
                node.section.leads = self.writer.lead
        return node.section

    async def directory(self, node: Node[E]) -> Directory[E]:
        """The parsed form of a directory."""
        if node.directory is None:
            section = await self.load(node)
            self._refuse_loop(node)
            node.directory = await self.format.parse(node, section)
        return node.directory

    def _refuse_loop(self, node: Node[E]) -> None:
        """Before a directory is entered: it may be one of those that led to it."""
        above, number = node.parent, node.entry.number
        while above is not None and number:
            if above.node.entry.number == number:
                why = f"{self.section_name(node.path)}: the directory contains itself"
                raise StatusError(Status.FILE_CORRUPT_ERROR, why)
            above = above.node.parent

    async def drop(self, node: Node[E]) -> None:
        """Forgets a node and its pages, written or not."""
        if node.section is not None:
            await self.drop_section(node.section)
        if self.writer is not None:
            self.writer.stale.pop(node, None)
        if node.parent is not None and node.entry.node is node:
            node.entry.node = None
            node.parent.live -= 1
            del self.used[node]

    def unname(self, node: Node[E]) -> None:
        """A file that is open has no name any more."""
        assert self.writer is not None and node.parent is not None
        self.writer.stale.pop(node, None)
        self.writer.gone[node] = None
        self.writer.ahead.pop(node, None)
        node.stale, node.entry.node = False, None
        node.parent.live -= 1
        del self.used[node]

    async def drop_section(self, section: Section) -> None:
        """Forgets a section that nobody has any more, and its pages, written or not."""
        await self.cache.drop(section)
        if self.writer is not None:
            self.writer.fresh.pop(section, None)

    def rename(self, node: Node[E], directory: Directory[E], entry: E) -> None:
        """A node has another entry, in another directory perhaps: the old one is nobody's."""
        node.entry.node, entry.node = None, node
        if node.parent is not None:
            node.parent.live -= 1
        directory.live += 1
        node.entry, node.parent = entry, directory
        node.path = f"{directory.node.path}/{entry.name}"
        if node.section is not None:
            node.section.name = self.section_name(node.path)

    async def trim(self) -> None:
        """Drops the older nodes that nobody needs, after writing what they have; where too many are
        left, all that nobody needs. Only between operations, when nobody holds one.
        """
        self.known.clear()
        await self._drop_unused(list(islice(self.used, len(self.used) // 2)))
        self._needed = 0
        if len(self.used) > self.most:
            await self._drop_unused(list(self.used))
            self._needed = len(self.used)

    async def _drop_unused(self, nodes: list[Node[E]]) -> None:
        """Drops those that are not open, have nothing open below them, and could be written."""
        nodes = [node for node in nodes if not node.opens]
        writeback = self.cache.memory.writeback
        if self.writer is not None:
            if self.writer.erasures or any(n.stale for n in nodes):  # an erasure keeps a directory
                await self.writer.make_way()
            dirty = [n.section for n in nodes if n.section is not None and n.section.dirty]
            await writeback.write([p for s in dirty for p in writeback.picks(s)], asked=False)
        for node in reversed(nodes):  # a directory has become one before what is in it
            busy = node.section is not None and (
                node.section.dirty or writeback.errors.peek(node.section)
            )
            if not (node.opens or busy or (node.directory is not None and node.directory.live)):
                await self.drop(node)

    async def forget(self) -> None:
        """Lets go of all that is known of files and directories, and of their pages."""
        self.known.clear()
        for node in [*self.used, self.root]:
            node.directory = None
            await self.drop(node)
        self.root = Node(self.format.root(), None, "")

    # -- paths -------------------------------------------------------------------------------------

    def check_usable(self) -> None:
        """StatusError when paths are refused now: `Store` has the reasons."""
        if self.store.bar is not None:
            raise self.store.bar()

    async def resolve(self, path: str, passing: bool = False) -> tuple[Directory[E], E | None, str]:
        """The directory that a path's last name is in, its entry if there is one, and the name.
        `passing`: that is not kept, since it is about to change.
        """
        if self.store.bar is not None:
            self.check_usable()
        if (count := len(self.used)) > self.most and count > 2 * self._needed:
            await self.trim()
        if type(path) is not str or len(path) > MOST_PATH:
            check_path(path)
        known = self.known
        found = known.find(path)
        if found is not None:
            if found.above:
                raise not_found(path, parent=True)
            return found.directory, found.entry, found.name
        known.misses += 1
        head, _, name = path.rpartition("/")
        directory = known.directories.get(head)
        if directory is None or name in ("", ".", "..") or "\\" in name:
            directory, name = await self._resolve(path, head, name)
        entry = directory.find(name)
        if path.endswith(name):
            if not passing:
                known.note(path, directory, entry, name)
        elif entry is not None and self.links is not None and self.links.is_link(entry):
            await self.enter(await self.follow(directory, entry, path), path)
        elif entry is not None and not entry.is_directory:
            check_file_path(path)
        return directory, entry, name

    async def _resolve(self, path: str, head: str, name: str) -> tuple[Directory[E], str]:
        """The directory that a path's last name is in, and that name."""
        names = split_path(path)
        if not names:
            raise StatusError(
                Status.ACCESS_DENIED,
                f"{path or '/'}: the root directory cannot be opened as a file, made, "
                "moved or removed",
            )
        above, _, last = head.rpartition("/")
        known = self.known.directories.get(above)
        if [last, name] == names[-2:] and known is not None:
            directory = await self.step(known, last, path)
        else:
            directory = self.root.directory or await self.directory(self.root)
            for part in names[:-1]:
                directory = await self.step(directory, part, path)
        if name == names[-1]:
            self.known.lead(head, directory)
        return directory, names[-1]

    async def existing(self, path: str) -> tuple[Directory[E], E]:
        """As `resolve`, of what must be there."""
        directory, entry, _ = await self.resolve(path)
        if entry is None:
            raise not_found(path)
        return directory, entry

    async def step(self, directory: Directory[E], name: str, path: str) -> Directory[E]:
        """The directory of that name in another, on the way to `path`."""
        entry = directory.find(name)
        if entry is None:
            self.known.note(path, directory, None, name, above=True)
            raise not_found(path, parent=True)
        if self.links is not None and self.links.is_link(entry):
            return await self.enter(await self.follow(directory, entry, path), path)
        if not entry.is_directory:
            raise StatusError(Status.OBJECT_PATH_NOT_FOUND, f"{path}: {name} is not a directory")
        node = self.node(directory, entry)
        return node.directory or await self.directory(node)

    async def enter(self, node: Node[E], path: str) -> Directory[E]:
        """The directory that a node is, on the way to `path`."""
        if not node.entry.is_directory:
            name = node.entry.name
            raise StatusError(Status.OBJECT_PATH_NOT_FOUND, f"{path}: {name} is not a directory")
        return node.directory or await self.directory(node)

    async def target(self, directory: Directory[E], entry: E, path: str) -> Node[E] | None:
        """The node of what the entry at a path leads to as a symbolic link, as `follow` has it;
        None for what is no link.
        """
        if self.links is None:
            return None
        try:
            return self.known.link(path)
        except KeyError:
            node = None
        if self.links.is_link(entry):
            node = await self.follow(directory, entry, path)
        self.known.note_link(path, node)
        return node

    async def follow(self, directory: Directory[E], entry: E, path: str) -> Node[E]:
        """The node of what an entry leads to as a symbolic link. StatusError OBJECT_NAME_NOT_FOUND
        where that is nothing, REPARSE_POINT_NOT_RESOLVED after MOST_LINKS.
        """
        links = self.links
        assert links is not None, "there are no links"
        followed, rest = 0, [entry.name]  # names that are still to be found, the next one last
        while rest:
            name = rest.pop()
            if name in ("", ".", ".."):
                up = directory.node.parent if name == ".." else None
                directory = directory if up is None else up
                continue
            found = directory.find(name)
            if found is None:
                text = f"{path}: is a link to nothing: there is no {directory.node.path}/{name}"
                raise StatusError(Status.OBJECT_NAME_NOT_FOUND, text)
            if links.is_link(found):
                followed += 1
                if followed > MOST_LINKS:
                    text = f"{path}: leads through more than {MOST_LINKS} symbolic links"
                    raise StatusError(Status.REPARSE_POINT_NOT_RESOLVED, text)
                target = await links.target(found, self.section_name(path))
                rest += reversed(target.split("/"))
                if target.startswith("/"):
                    directory = await self.directory(self.root)
            elif rest:
                directory = await self.enter(self.node(directory, found), path)
            else:
                return self.node(directory, found)
        return directory.node

    async def directory_at(self, path: str) -> Directory[E]:
        """The directory that a path names."""
        if path in ("", "/") or not split_path(path):
            self.check_usable()
            return self.root.directory or await self.directory(self.root)
        directory, entry = await self.existing(path)
        return await self.step(directory, entry.name, path)
