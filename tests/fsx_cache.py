"""Ways of fsx's case that go to the cache itself: control blocks, lists of frames, copies that do
not wait, transfers without a copy, zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from octavo.machine.abi import PAGE_SIZE
from octavo.machine.frames import Frames
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.cache.pins import ControlBlock
    from tests.fsx import Exercise

MOST = 16 * PAGE_SIZE  # bytes of one call
TRIES = 50  # of a copy that does not wait


def _where(case: Exercise, what: str) -> tuple[Section, int, int] | None:
    """The section of an open file that will be changed, and a stretch of it."""
    at, length = case.stretch(len(case.content))
    length = min(length, MOST)
    if not length:
        return None
    case.note(f"{what} {at} {length}")
    core = case.file().core
    case.run(core.prepare_mapping())
    return core.section, at, length


def block_read(case: Exercise) -> None:
    """A mapped control block."""
    if found := _where(case, "map block"):
        section, at, length = found
        blocks = case.system.cache.blocks
        block = case.run(blocks.map(section, at, length))
        case.agree(blocks.part(block, at, length).read(), at, at + length)
        blocks.unpin(block)


def block_write(case: Exercise) -> None:
    """A pinned one: changed while it is mapped as well, or written over without a read."""
    found = _where(case, "pin block")
    if found is None:
        return
    section, at, length = found
    blocks, data = case.system.cache.blocks, case.data(length)
    whole = not (at | length) % PAGE_SIZE
    look: ControlBlock | None = None
    if whole and case.random.random() < 0.5:
        block = case.run(blocks.prepare_write(section, at, length))
    else:
        look = case.run(blocks.map(section, at, length))
        block = case.run(blocks.pin(section, at, length, exclusive=case.random.random() < 0.5))
    blocks.part(block, at, length).fill(data)
    blocks.set_dirty(block)
    case.put(at, data)
    if look is not None:
        assert blocks.part(look, at, length).read() == data
        blocks.unpin(look)
    if case.random.random() < 0.2:
        case.run(blocks.unpin_through(block))
    else:
        blocks.unpin(block)


def list_read(case: Exercise) -> None:
    """The frames of the bytes."""
    if found := _where(case, "list"):
        section, at, length = found
        lists = case.system.cache.lists
        made = case.run(lists.read(section, at, length))
        case.agree(made.frames.read(), at, at + length)
        lists.read_complete(made)


def list_write(case: Exercise) -> None:
    """Frames that become the section's, or do not."""
    if found := _where(case, "list write"):
        section, at, length = found
        lists, data = case.system.cache.lists, case.data(length)
        made = case.run(lists.prepare_write(section, at, length))
        made.frames.fill(data)
        if case.random.random() < 0.2:
            lists.write_abort(made)
        else:
            case.run(lists.write_complete(made, through=case.random.random() < 0.3))
            case.put(at, data)


def read_at_once(case: Exercise) -> None:
    """A copy that does not wait, asked for until it is there."""
    if found := _where(case, "read at once"):
        section, at, length = found
        for _ in range(TRIES):
            data = case.system.cache.at_once.read(section, at, length)
            if data is not None:
                case.agree(data, at, at + length)
                return
            case.run(case.system.scheduler.sleep(0.001))
        case.done["would wait"] += 1


def write_at_once(case: Exercise) -> None:
    """The same; what would have had to wait has changed nothing."""
    if found := _where(case, "write at once"):
        section, at, length = found
        data = case.data(length)
        if case.system.cache.at_once.write(section, at, data):
            case.put(at, data)


@contextmanager
def _frames(case: Exercise, length: int) -> Iterator[Frames | None]:
    """Somebody's own frames; None where memory has none."""
    memory, count = case.system.memory, -(-length // PAGE_SIZE)
    first = memory.allocate_contiguous(count)
    if not first:
        yield None
        return
    try:
        yield Frames.of(case.system.ram, range(first, first + count)).part(0, length)
    finally:
        memory.free_contiguous(first, count)


def read_past(case: Exercise) -> None:
    """Without a copy in the cache."""
    if found := _where(case, "read past"):
        section, at, length = found
        with _frames(case, length) as frames:
            if frames is not None:
                count = case.run(case.system.cache.unbuffered.read(section, at, frames))
                case.agree(frames.read()[:count], at, at + length)


def write_past(case: Exercise) -> None:
    """The same."""
    if found := _where(case, "write past"):
        section, at, length = found
        data = case.data(length)
        with _frames(case, length) as frames:
            if frames is not None:
                frames.fill(data)
                case.run(case.system.cache.unbuffered.write(section, at, frames))
                case.put(at, data)


def zero(case: Exercise) -> None:
    """Zeros over what is there."""
    if found := _where(case, "zero"):
        section, at, length = found
        case.run(case.system.cache.zero(section, at, length))
        case.put(at, bytes(length))


def purge(case: Exercise) -> None:
    """Pages that nobody uses are forgotten; what was not written is written first."""
    if found := _where(case, "purge"):
        section, at, length = found
        case.run(case.system.cache.flush(section))
        try:
            case.run(case.system.cache.purge_range(section, at, length))
        except StatusError as error:
            assert error.status == Status.SHARING_VIOLATION, error


CACHE_WAYS: dict[Callable[[Exercise], None], int] = {
    block_read: 3, block_write: 4, list_read: 3, list_write: 4, read_at_once: 3, write_at_once: 3,
    read_past: 3, write_past: 3, zero: 2, purge: 1,
}  # fmt: skip
