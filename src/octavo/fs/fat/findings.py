"""What a check finds, and how it is told and mended: shared by the parts of a check."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np

from octavo.fs.base import Problem
from octavo.fs.fat.storage import Storage

MOST_PROBLEMS = 1000
Progress = Callable[[int, int], None]


class Findings:
    """The problems of a volume whose mutex the caller holds; with `repair` they are mended."""

    def __init__(self, volume: Storage, repair: bool) -> None:
        self.volume = volume
        self.repair = repair
        self.problems: list[Problem] = []
        self.owners = np.zeros(volume.geometry.clusters + 2, np.uint32)  # by cluster; 0 is nobody
        self.unseen = False  # something could not be read: what seems lost may be in there

    async def say(self, where: str, what: str, mend: Coroutine[Any, Any, None] | None = None) -> None:
        """Notes a problem, and mends it if that is asked for and can be done."""
        mended = self.repair and mend is not None
        if len(self.problems) == MOST_PROBLEMS and not mended:
            self.problems.pop()  # what is left wrong is told first
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(where, what, mended))
        if mend is not None:
            if mended:
                await self.volume._modify()
                await mend
            else:
                mend.close()
