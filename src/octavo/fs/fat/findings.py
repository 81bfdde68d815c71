"""What a check finds, and how it is told and mended: shared by the parts of a check."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from octavo.fs.base import Problem
from octavo.fs.fat.node import Node
from octavo.fs.fat.owners import Owners
from octavo.fs.fat.storage import Storage

MOST_PROBLEMS = 1000
Progress = Callable[[int, int], None]


async def done() -> None:
    """For what was mended on the way, or is going to be: `Findings.left` takes it back."""


class Findings:
    """The problems of a volume whose mutex the caller holds; with `repair` they are mended."""

    def __init__(self, volume: Storage, repair: bool) -> None:
        self.volume = volume
        self.repair = repair
        self.problems: list[Problem] = []
        self.owners = Owners(volume.geometry.clusters)
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
                await self.volume._modify()
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

    async def let_go(self, node: Node) -> None:
        """Writes a directory's pages and drops them."""
        if node.section is not None:
            await self.volume.cache.flush(node.section)
            await self.volume.cache.drop(node.section)
            node.section = node.mapping = None

    async def settle(self) -> None:
        """Has all that was changed so far on the medium, before what comes next."""
        if error := await self.volume._write_pages():
            raise error
        await self.volume.pager.barrier()
