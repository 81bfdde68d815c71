"""The cache's writers: what becomes of dirty pages that nobody flushes.

    lazy writer     each second writes an eighth of the dirty pages, those of the longest dirty
                    sections first
    write-behind    from half of the dirty limit on writes while others go on
    throttle        who writes beyond the limit writes some pages himself first

Errors stay with the sections that they happened to, for their next flush.

Source: NT's lazy writer (eighth of the dirty pages, each second) and CcCanIWrite. Departures: a
throttled writer does work instead of waiting in a queue.
"""

from __future__ import annotations

from octavo.memory.manager import MemoryManager
from octavo.threads.wait import Event

LAZY_SECONDS = 1.0
LAZY_FRACTION = 8
LAZY_LEAST = 64  # pages


class Writers:
    """The kernel threads that write, and the limit of `most_dirty` pages that they keep."""

    def __init__(self, memory: MemoryManager) -> None:
        self.writeback = memory.writeback
        self.scheduler = memory.scheduler
        self.most_dirty = max(LAZY_LEAST, memory.physical.available // 4)
        self.throttled = 0
        self._pressure = Event()
        self.scheduler.serve(self._lazy_writer, "lazy-writer")
        self.scheduler.serve(self._write_behind, "write-behind")

    async def admit(self) -> None:
        """Called before more pages are dirtied when half of the limit is passed; beyond the limit
        it writes.
        """
        self._pressure.signal()
        if self.writeback.dirty > self.most_dirty:
            self.throttled += 1
            await self.writeback.write(
                self.writeback.oldest(max(LAZY_LEAST, self.most_dirty >> 2)), asked=False
            )

    async def _lazy_writer(self) -> None:
        while True:
            await self.scheduler.sleep(LAZY_SECONDS)
            dirty = self.writeback.dirty
            if dirty:
                writeback = self.writeback
                await writeback.write(
                    writeback.oldest(max(LAZY_LEAST, dirty // LAZY_FRACTION)), asked=False
                )

    async def _write_behind(self) -> None:
        writeback = self.writeback
        while True:
            await self._pressure.wait()
            self._pressure.clear()
            while writeback.dirty > self.most_dirty >> 2:
                clean, _ = await writeback.write(
                    writeback.oldest(max(LAZY_LEAST, self.most_dirty >> 2)), asked=False
                )
                if not clean:
                    break
