"""Room for the bytes of files and directories: extents that they get and give back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from octavo.fs.vfs.edits import Change, Phase
from octavo.fs.vfs.node import E, Node
from octavo.fs.vfs.order import Writer
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.fs.vfs.format import Planner


class Room(Generic[E]):
    """The extents of a volume that can be changed. All methods are called under its mutex."""

    def __init__(self, writer: Writer[E]) -> None:
        self.writer = writer
        self.planner: Planner[E] = writer.planner

    def too_large(self, path: str) -> StatusError:
        """The error of a file with more bytes than any can have."""
        planner = self.planner
        return StatusError(
            Status.FILE_TOO_LARGE,
            f"{path}: a file on {planner.family} has at most {planner.most_bytes} bytes",
        )

    def section(self, node: Node[E]) -> Section:
        """The section of a node that has no extents if it has none yet: it gets an empty one."""
        if node.section is None:
            planner = self.planner
            node.mapping = planner.map(planner.change())
            name = f"{self.writer.name}:{node.path}"
            node.section = Section(name, planner.pager, node.mapping, 0)
        return node.section

    async def grow(self, node: Node[E], size: int) -> None:
        """Gives a node extents for `size` bytes, or none: StatusError DISK_FULL. The caller has
        begun (`Writer.begin`).
        """
        regions = node.regions
        had = regions.total
        if size <= had:
            return
        writer, planner = self.writer, self.planner
        if not planner.joined(node):
            await writer.write_in_order()
        try:
            while regions.total < size:
                with planner.change() as change:
                    await self.allocate(change, node.entry, node, size)
                    await writer.apply(change)
                self.extended(node, change)
        except StatusError:
            if regions.total > had:
                await self.shrink(node, had)
            raise

    async def allocate(self, change: Change, entry: E, node: Node[E] | None, size: int) -> None:
        """As `Planner.extend`; what waits to be freed is freed when it is needed."""
        writer, planner = self.writer, self.planner
        try:
            await planner.extend(change, entry, node, size)
        except StatusError as error:
            if (
                error.status != Status.DISK_FULL
                or not planner.waiting(Phase.FREE)
                or not await writer.make_way()
            ):
                raise
            await planner.extend(change, entry, node, size)

    def extended(self, node: Node[E], change: Change) -> None:
        """A node has what a change got for it."""
        regions = node.regions
        if not regions.total:
            self.writer.mark_stale(node)
        for place, units in change.extents:
            regions.append(place, units)

    async def bury(self, node: Node[E]) -> None:
        """Gives back all of a file whose name is gone, and that nobody has open any more."""
        if node.section is not None:
            await self.writer.cache.drop(node.section)
            node.section = None
        if node.mapping is not None:
            await self.shrink(node, 0)
        del self.writer.gone[node]

    async def reserve(self, node: Node[E], size: int) -> None:
        """Gives a file room for `size` bytes, which it need not have; until its last close."""
        await self.grow(node, size)
        self.writer.ahead[node] = None

    async def fit(self, node: Node[E], size: int) -> None:
        """Takes back the room behind a file's bytes."""
        await self.shrink(node, size)
        self.writer.ahead.pop(node, None)

    async def shrink(self, node: Node[E], size: int) -> None:
        """Gives back a file's extents beyond `size` bytes; its pages there must be gone already."""
        regions = node.regions
        keep = -(-size // regions.unit)
        if keep * regions.unit >= regions.total:
            return
        writer, planner = self.writer, self.planner
        await writer.begin()
        with planner.change() as change:
            planner.shorten(change, node, keep)
            await writer.apply(change)
        regions.truncate(keep)
        if not keep:
            writer.mark_stale(node)
