"""Faults for `tests.mutants` that once survived, and edits that change nothing that anybody can
see.
"""

# (file below src/octavo, text, what it becomes, in words)
NAMED: list[tuple[str, str, str, str]] = [
    ("storage/image.py", "lambda: os.fsync(self._fd)", "lambda: None", "fsync left out"),
    (
        "fs/vfs/order.py",
        "        await self.write_in_order()\n        await self.pager.barrier()\n",
        "        await self.write_in_order()\n",
        "dirty flag cleared with the data",
    ),
    (
        "fs/vfs/order.py",
        "            await self.cache.flush(self.planner.sections[0])\n"
        "            await self.pager.barrier()",
        "            pass",
        "dirty flag set later",
    ),
    (
        "fs/fat/books.py",
        "            self.books.give_back(chained)\n",
        "",
        "what a failed allocation has chained is lost",
    ),
    (
        "fs/vfs/order.py",
        "            error = error or await self._put_entries()\n",
        "            await self._erase()\n            error = error or await self._put_entries()\n",
        "old name erased with the new one",
    ),
    (
        "fs/vfs/file.py",
        "            if error is not None:\n                raise error\n",
        "",
        "an error lost at close",
    ),
    (
        "memory/pagers/region.py",
        "        if self.lost is not None:\n            raise self.lost\n",
        "",
        "a failed flush forgotten",
    ),
    (
        "cache/ahead.py",
        "        if wanted and self.memory.physical.available",
        "        if not wanted and self.memory.physical.available",
        "read-ahead off",
    ),
    (
        "memory/reclaim/policies/mach.py",
        ") * 3 >",
        ") * 2 >",
        "a half of the pages active instead of a third",
    ),
    (
        "memory/reclaim/policies/linux.py",
        "s[CLOCK] - s[",
        "s[CLOCK] + 1 - s[",
        "refault distance off by one",
    ),
    (
        "memory/reclaim/policies/linux.py",
        "* 8 <=",
        "* 2 <=",
        "file pages spared while they are half of all",
    ),
    (
        "fs/fat/census.py",
        "        if free < count:",
        "        if free < count - 1:",
        "one cluster more than there is",
    ),
]

# (file, line of code) -> why the edit is the same to everybody
EQUIVALENT: dict[tuple[str, str], str] = {
    (
        "boot/loader.py",
        "hit = [i for i in self.items if i.first < end and i.end > first]",
    ): "what only touches is put back as it was, and leaves no gap",
    (
        "fs/vfs/volume.py",
        "source.live += 1  # keeps it while the other path is looked up",
    ): "what was looked up last is the newest node, and a trim drops the older half",
    ("boot/plan.py", "for frame in range(0xF0, 0, -0x10):"): "the last frame before 1 is 0x10, too",
    (
        "memory/frames/buddy.py",
        "for order in range(self.max_order + 1):",
    ): "no block is in a list above the highest order",
    (
        "memory/reclaim/policies/policy.py",
        "bits = ghosts.bit_length() + 1  # of a table at least twice as large",
    ): "a larger table of ghosts holds the same",
    (
        "memory/pages/residency.py",
        "self.physical.buddy.free(first, count, State.ACTIVE)",
    ): "both give back frames that nobody has, and no thread runs between",
    (
        "memory/spaces/bulk.py",
        "bases = [segment.base if segment is not None else 0 for segment in found]",
    ): "links 1 to 128 are in frame 0, which is zeros",
    (
        "memory/spaces/processors.py",
        "await self.faults.touch(space, stop.address & (1 << 64) - 1, _kind(stop))",
    ): "references are to multiples of 4",
    (
        "shell/picture.py",
        "raster.fill(x, y, LINE, LINE, i + _KINDS)",
    ): "the square and the words beside it do not overlap",
    (
        "threads/scheduler.py",
        "self.trace.append(line)",
    ): "the trace and its hash do not look at each other",
    ("threads/wait.py", "self.items.append(item)"): "who is woken runs later, and finds the item",
}
