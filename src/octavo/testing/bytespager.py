"""A pager that keeps one section in a bytearray, takes a millisecond of virtual time a request, and
fails when it is told to.

For tests of what stands on pagers: sections, views, page-out.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo.arguments import given
from octavo.machine.abi import PAGE_SIZE
from octavo.machine.frames import Frames
from octavo.memory.pages.section import ORDINARY, DirtyRun, Section
from octavo.status import StatusError
from octavo.testing.faulty import FaultPlan
from octavo.threads.scheduler import Scheduler


class BytesPager:
    """Fails the requests whose verb, "read" or "write", is in `broken`, and the read of number
    `fail_at`, from 1.

    `requests` lists the reads as (first page, pages). With `slow` set to False nothing waits.
    """

    traits = ORDINARY

    def __init__(self, scheduler: Scheduler, data: bytearray) -> None:
        self.scheduler = given(scheduler, Scheduler, "a scheduler")
        self.data = given(data, bytearray, "the data of a pager")
        self.broken: set[str] = set()
        self.fail_at = 0
        self.faults = FaultPlan("the pager", self._fails)
        self.requests: list[tuple[int, int]] = []
        self.slow = True

    def _fails(self, verb: str, number: int) -> bool:
        return verb in self.broken or (verb == "read" and number == self.fail_at)

    async def data_request(self, section: Section, page: int, frames: Frames, need: range) -> None:
        """Copies from the bytearray; behind its end there are zeros."""
        self.requests.append((page, frames.length // PAGE_SIZE))
        if self.slow:
            await self.scheduler.sleep(0.001)
        self.faults.step("read")
        at = page * PAGE_SIZE
        frames.fill(bytes(self.data[at : at + frames.length]).ljust(frames.length, b"\0"))

    async def data_return(self, runs: Sequence[DirtyRun]) -> list[StatusError | None]:
        """Copies into the bytearray, which grows as it must."""
        if self.slow:
            await self.scheduler.sleep(0.001)
        try:
            self.faults.step("write")
        except StatusError as error:
            return [error] * len(runs)
        for run in runs:
            at = run.page * PAGE_SIZE
            data = run.frames.read()
            self.data.extend(bytes(max(0, at + len(data) - len(self.data))))
            self.data[at : at + len(data)] = data
        return [None] * len(runs)
