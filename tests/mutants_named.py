"""Faults for `tests.mutants` that once survived, and edits that change nothing that anybody can see."""

# (file below src/octavo, text, what it becomes, in words)
NAMED: list[tuple[str, str, str, str]] = [
    ("drivers/image.py", "lambda: os.fsync(self._fd)", "lambda: None", "fsync left out"),
    (
        "fs/fat/core.py",
        "        await self._write_in_order()\n        await self.pager.barrier()\n        self.modified = False",
        "        await self._write_in_order()\n        self.modified = False",
        "dirty flag cleared with the data",
    ),
    ("fs/fat/core.py", "            await self.cache.flush(self.section)\n            await self.pager.barrier()", "            pass", "dirty flag set later"),
    ("fs/fat/table.py", "            self.begun = runs\n", "", "undo of a failed allocation left out"),
    (
        "fs/fat/core.py",
        "            error = error or await self._write_entries()\n",
        "            await self._erase_moved()\n            error = error or await self._write_entries()\n",
        "old name erased with the new one",
    ),
    ("fs/fat/file.py", "        if error is not None:\n            raise error\n", "", "an error lost at close"),
    ("io/regionpager.py", "        if self.lost is not None:\n            raise self.lost\n", "", "a failed flush forgotten"),
    ("cache/manager.py", "        if not views or self.memory", "        if views or self.memory", "read-ahead off"),
    ("fs/fat/table.py", "if 0 <= self.free_count < count:", "if 0 <= self.free_count < count - 1:", "one cluster more than there is"),
]

# (file, line of code) -> why the edit is the same to everybody
EQUIVALENT: dict[tuple[str, str], str] = {}
