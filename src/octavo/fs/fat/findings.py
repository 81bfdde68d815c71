"""What a check finds, and how it is told and mended: shared by the parts of a check."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from octavo.fs.base import Problem
from octavo.fs.fat.books import Run
from octavo.fs.fat.entry import Entry
from octavo.fs.fat.format import FatFormat
from octavo.fs.fat.owners import Owners
from octavo.fs.fat.planner import FatPlanner
from octavo.fs.vfs.edits import Phase
from octavo.fs.vfs.format import Mender
from octavo.fs.vfs.node import Node
from octavo.memory.pages.section import Section

MOST_PROBLEMS = 1000


async def done() -> None:
    """For what was mended on the way, or is going to be: `Findings.left` takes it back."""


class Findings:
    """The problems of a volume whose mutex the caller holds; where there is a mender they are
    mended, by changes that it applies.
    """

    def __init__(self, format: FatFormat, mender: Mender | None) -> None:
        self.format = format
        self.repair = mender is not None
        self._mender = mender
        self.planner = FatPlanner(format)
        self.problems: list[Problem] = []
        self.owners = Owners(format.geometry.clusters)
        self.unseen = False  # something could not be read: what seems lost may be in there

    async def say(
        self, where: str, what: str, mend: Coroutine[Any, Any, None] | None = None
    ) -> None:
        """Notes a problem, and mends it if that is asked for and can be done."""
        mended = self.repair and mend is not None
        if len(self.problems) == MOST_PROBLEMS and not mended:
            self.problems.pop()  # what is left wrong is told first
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(where, what, mended))
        if mend is None:
            return
        try:
            if mended:
                await self.mender.begin()
                await mend
        finally:
            mend.close()  # which may not have begun

    async def left(self, where: str, why: str) -> None:
        """What was said of a place last is not mended after all."""
        for i in range(len(self.problems) - 1, -1, -1):
            if self.problems[i].where == where:
                what = self.problems[i].what + why
                self.problems[i] = self.problems[i]._replace(what=what, mended=False)
                return
        await self.say(where, "is not sound" + why)  # there were too many to be listed

    async def let_go(self, node: Node[Entry]) -> None:
        """Writes a directory's pages and drops them."""
        if node.section is not None:
            await self.format.cache.flush(node.section)
            await self.format.cache.drop(node.section)
            node.section = node.mapping = None

    async def settle(self) -> None:
        """Has all that was changed so far on the medium, before what comes next."""
        if error := await self.mender.write_pages():
            raise error
        await self.format.pager.barrier()

    # -- pages -------------------------------------------------------------------------------------

    @property
    def mender(self) -> Mender:
        """Who applies what is mended."""
        assert self._mender is not None, "nothing is to be changed by a check"
        return self._mender

    async def load(self, node: Node[Entry]) -> Section:
        """The section of a directory that is looked into; StatusError as `FatFormat.locate`."""
        if node.section is None:
            what = f"{self.format.name}:{node.path or '/'}"
            node.mapping, size = await self.format.locate(node, what)
            node.section = Section(what, self.format.pager, node.mapping, size)
            if self._mender is not None:
                node.section.leads = self._mender.lead
        return node.section

    async def set(self, cluster: int, value: int) -> None:
        """Changes an entry of the FAT."""
        with self.planner.change() as change:
            await self.format.table.plan(change, cluster, value)
            await self.mender.apply(change)

    async def end(self, cluster: int) -> None:
        """Makes a cluster the last of its chain."""
        await self.set(cluster, self.format.table.end_mark)

    async def free(self, clusters: list[int]) -> None:
        """Frees clusters at once."""
        self.format.books.frees += [(cluster, 1) for cluster in clusters]
        while (change := await self.planner.due(Phase.FREE)) is not None:
            with change:
                await self.mender.apply(change)

    async def allocate(self, clusters: int) -> list[Run]:
        """Takes clusters for a copy; StatusError DISK_FULL."""
        with self.planner.change() as change:
            await self.format.table.allocate(change, clusters)
            await self.mender.apply(change)
        return list(change.taken)

    async def summarize(self) -> None:
        """Has FSInfo say what is so."""
        with self.planner.change() as change:
            await self.planner.summarize(change)
            await self.mender.apply(change)
