"""Who raises a section's valid length: one thread at a time.

    0 .......... valid ......... offset ......... end
    the pager's  zeros that      what somebody
                 nobody has      writes
                 written: they
                 are, first

Whoever writes behind the valid bytes is alone there from before he looks at them until he has
raised them: between `begin` and `finish`, or inside `behind`. Else the zeros of one writer, whose
place he chose before he waited, would go over what another has written meanwhile. Writes that end
within the valid bytes need nothing of it, and so do all of a section that is valid as a whole.

Used by the cache's interfaces. The zeros are those of `octavo.cache.unbuffered`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from octavo.memory.pages.section import Section
from octavo.threads.wait import Event


async def begin(section: Section) -> None:
    """Waits until nobody else raises the section's valid length; until `finish` nobody will."""
    while section.raising is not None:
        await section.raising.wait()
    section.raising = Event()


def finish(section: Section) -> None:
    """Lets the next one in."""
    event = section.raising
    assert event is not None, "a valid length is raised that nobody has begun with"
    section.raising = None
    event.signal()


@asynccontextmanager
async def behind(section: Section, end: int) -> AsyncIterator[None]:
    """Alone there inside of the block, where bytes up to `end` are not all valid."""
    if end <= section.valid:
        yield
        return
    await begin(section)
    try:
        yield
    finally:
        finish(section)
