"""A file that is closed while a flush writes its entry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import octavo
from octavo.fs.vfs.volume import Volume

TIME = 1_000_000_000  # seconds since 1970


def test_a_file_that_is_closed_while_its_entry_is_written(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flush waits for the page that an entry is in, and the file is closed meanwhile: the next
    flush writes what closing has put into the entry.
    """
    with octavo.boot(memory="1M", disks=[image], seed=1) as system:
        core = next(iter(system.volumes.values())).core
        assert isinstance(core, Volume)
        run = system.scheduler.run
        file = run(core.open("f", write=True, create=True))
        run(file.write(0, b"longer"))
        run(file.set_modified(TIME))
        cache = core.cache
        hold = cache.hold

        @asynccontextmanager
        async def waits(*arguments: Any) -> AsyncIterator[None]:
            monkeypatch.undo()
            async with hold(*arguments):
                await file.close()
                yield

        monkeypatch.setattr(cache, "put", lambda edits: False)
        monkeypatch.setattr(cache, "hold", waits)
        run(core.flush())
    with octavo.boot(memory="2M", disks=[image]) as system:
        found = next(iter(system.volumes.values())).stat("f")
        assert (found.size, found.modified.timestamp()) == (6, TIME)
