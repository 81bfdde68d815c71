"""Changes of names: making, erasing, moving and replacing entries, each planned with the format and
applied whole. What is kept in memory of directories and nodes follows when that has succeeded.

Whether an operation may be is the volume's question (`octavo.fs.vfs.volume`), who has the mutex.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from octavo.cache.manager import CacheManager
from octavo.fs.vfs.edits import Change, Phase
from octavo.fs.vfs.node import Directory, E, Node
from octavo.fs.vfs.nodes import Nodes
from octavo.fs.vfs.room import Room
from octavo.memory.pages.section import Section
from octavo.status import StatusError
from octavo.threads.wait import marks

if TYPE_CHECKING:
    from octavo.fs.vfs.format import Planner


class Names(Generic[E]):
    """The names of a volume that can be changed."""

    def __init__(self, nodes: Nodes[E], room: Room[E], cache: CacheManager) -> None:
        self.nodes = nodes
        self.room = room
        self.cache = cache
        self.writer = room.writer
        self.planner: Planner[E] = room.planner

    async def make(self, directory: Directory[E], entry: E, data: bytes | None) -> None:
        """Makes a file of `data`, or a directory. Its bytes are in the pages of a section that
        nobody else has yet, before the change that makes it; where there is no data (None), the
        entry has its extents already.
        """
        writer, planner = self.writer, self.planner
        if not writer.begun():
            await writer.begin()
        size, section = 0 if data is None else len(data) or int(entry.is_directory), None
        try:
            with planner.change() as change:
                if not planner.place(change, directory, entry):
                    await self._make_place(change, directory, entry, size)
                if data is not None and size:
                    await self.room.allocate(change, entry, None, size)
                    if entry.is_directory:
                        data = planner.blank_directory(entry, directory.node)
                    name = self.nodes.section_name(f"{directory.node.path}/{entry.name}")
                    section = Section(name, planner.pager, planner.map(change), 0)
                    if entry.is_directory:
                        writer.fresh[section] = None
                    await self.cache.copy_write(section, 0, data)
                planner.insert(change, directory, entry)
                if not writer.try_apply(change):
                    await writer.apply(change)
        except StatusError:
            if section is not None:
                await self.nodes.drop_section(section)
            raise
        directory.add(entry)
        self.nodes.known.changed(directory, entry)
        if section is not None:
            self.nodes.adopt(directory, entry, section)

    def try_make(self, directory: Directory[E], name: str) -> E | None:
        """Makes an empty file at once, where its page is there and nothing about its name has to be
        found out: else None, and nothing done.
        """
        if marks.on or not self.writer.begun():
            return None
        plain = self.planner.plain_file(directory, name)
        if plain is None:
            return None
        entry, edit = plain
        if not self.writer.try_edit(edit):
            self.planner.unplace(directory, entry)
            return None
        directory.add(entry)
        self.nodes.known.changed(directory, entry)
        return entry

    async def _make_place(
        self, change: Change, directory: Directory[E], entry: E, size: int
    ) -> None:
        """Makes a place for a new entry, where need be in a directory that grows for it; not when
        there would be no room then for a file of `size` bytes.
        """
        writer, planner = self.writer, self.planner
        placed = False
        while not placed:
            if directory.leaving & directory.keys(entry):
                # a name that was moved away from: the medium is not to have it twice
                await writer.write_in_order()
            elif not (writer.leaves(directory) and await writer.make_way()):
                planner.check_growth(directory.node)
                await planner.expect(size)
                await self._grow_directory(directory.node)
            placed = planner.place(change, directory, entry)

    async def _grow_directory(self, node: Node[E]) -> None:
        """Adds a unit of zeros to a directory."""
        writer, planner = self.writer, self.planner
        section, regions = await self.nodes.load(node), node.regions
        with planner.change() as change:
            await self.room.allocate(change, node.entry, node, regions.total + regions.unit)
            for place, units in change.extents:
                async with self.cache.memory.zeros(units * regions.unit) as zeros:
                    await planner.pager.write(place, zeros)
            await writer.apply(change)
        self.room.extended(node, change)
        section.size = regions.total

    async def relabel(self, label: str) -> None:
        """Gives the volume a label, which may take a place in the root directory."""
        writer, planner = self.writer, self.planner
        await writer.begin()
        root = await self.nodes.directory(self.nodes.root)
        with planner.change() as change:
            while not await planner.relabel(change, root, label):
                if not (writer.leaves(root) and await writer.make_way()):
                    planner.check_growth(root.node)
                    await planner.expect(0)
                    await self._grow_directory(root.node)
            await writer.apply(change)

    async def erase(self, directory: Directory[E], entry: E, held: list[tuple[int, int]]) -> None:
        """Erases an entry, whose extents are given back when nobody has it open any more."""
        writer, planner = self.writer, self.planner
        node: Node[E] | None = entry.node
        if not writer.begun():
            await writer.begin()
        if node is not None and node.directory is not None and writer.leaves(node.directory):
            # what was moved out of a directory that goes must be found elsewhere before
            await writer.write_in_order()
        opened = node is not None and node.opens > 0
        with planner.change() as change:
            planner.erase(change, directory, entry)
            if not opened:
                planner.give_back(change, held)
            if not writer.try_apply(change):
                await writer.apply(change)
        directory.drop(entry)
        self.nodes.known.changed(directory, entry)
        if node is not None:
            await self._end(node, opened)

    async def _end(self, node: Node[E], opened: bool) -> None:
        """A node whose entry is no more goes, but for a file that was open when that was planned:
        it stays without a name.
        """
        if not opened:
            await self.nodes.drop(node)
            return
        self.nodes.unname(node)
        if not node.opens:  # it was closed meanwhile
            await self.room.bury(node)

    async def respell(self, directory: Directory[E], entry: E, name: str) -> None:
        """Another case, or the long name in place of the short one: in the same place where that
        can be, else never both for long.

        The medium must not have two names that fold alike when a third file is to take one of them.
        """
        writer, planner = self.writer, self.planner
        name = planner.clean_name(name)
        await writer.begin()
        with planner.change() as change:
            spelt = planner.respell(change, directory, entry, name)
            if spelt is not None:
                await writer.apply(change)
        if spelt is None:
            await self.move(directory, entry, directory, name)
            await writer.make_way()
            return
        directory.drop(entry)
        self.nodes.known.changed(directory, entry)
        self._carry(entry, directory, spelt)

    async def move(self, source: Directory[E], entry: E, target: Directory[E], name: str) -> None:
        """Gives an entry another name, or place: the new one is inserted now, the old one erased
        when that is on the medium.
        """
        writer, planner = self.writer, self.planner
        name = planner.clean_name(name)
        await self._begin_move(entry)
        moved = planner.renamed(entry, name)
        with planner.change() as change:
            if not planner.place(change, target, moved):
                await self._make_place(change, target, moved, 0)
            if entry.is_directory and source is not target:
                inner = await self.nodes.load(self.nodes.node(source, entry))
                await planner.point_up(change, inner, target.node)
            planner.insert(change, target, moved)
            await writer.apply(change)
        self._leave(source, entry)
        self._carry(entry, target, moved)

    async def _begin_move(self, entry: E) -> None:
        """Before an entry is written at another place: it is not to claim what is not joined to its
        chain.
        """
        writer, planner = self.writer, self.planner
        await writer.begin()
        node: Node[E] | None = entry.node
        if node is not None and node.stale and planner.waiting(Phase.JOIN):
            await writer.write_in_order()

    async def replace(
        self,
        source: Directory[E],
        entry: E,
        target: Directory[E],
        existing: E,
        held: list[tuple[int, int]],
    ) -> None:
        """Lets an existing entry lead to a file's extents, in one sector, and gives its own back
        (when nobody has it open any more); the file's own entry is erased afterwards.
        """
        writer, planner = self.writer, self.planner
        old: Node[E] | None = existing.node
        await self._begin_move(entry)
        opened = old is not None and old.opens > 0
        with planner.change() as change:
            moved = planner.supplant(change, target, existing, entry)
            if not opened:
                planner.give_back(change, held)
            await writer.apply(change)
        target.drop(existing)
        self.nodes.known.changed(target, existing)
        self._leave(source, entry)
        self._carry(entry, target, moved)
        if old is not None:
            await self._end(old, opened)

    def _leave(self, source: Directory[E], entry: E) -> None:
        """A name was moved away from, and is erased in its phase."""
        self.writer.leave(source, entry)
        self.nodes.known.changed(source, entry)

    def _carry(self, entry: E, target: Directory[E], moved: E) -> None:
        """An entry is another one from now on, in a directory; its node goes with it."""
        target.add(moved)
        self.nodes.known.changed(target, moved)
        node: Node[E] | None = entry.node
        if node is not None:
            self.nodes.rename(node, target, moved)
