"""Errors of writes that nobody waited for: each is told once, to whoever asks first."""

from __future__ import annotations

import pytest

from octavo.machine.clock import VirtualClock
from octavo.memory.pages.section import Section
from octavo.memory.pages.writeerrors import WriteErrors
from octavo.status import Status, StatusError
from octavo.testing.bytespager import BytesPager
from octavo.threads.scheduler import Scheduler
from tests.memory.memories import make_machine


def _error(text: str) -> StatusError:
    return StatusError(Status.IO_DEVICE_ERROR, text)


def test_an_error_is_told_once_and_the_first_one_is() -> None:
    """Noted twice, looked at, taken, and gone."""
    scheduler = Scheduler(VirtualClock(), 1)
    pager, other = BytesPager(scheduler, bytearray()), BytesPager(scheduler, bytearray())
    errors = WriteErrors()
    a, b, c = Section("a", pager, None, 0), Section("b", pager, None, 0), Section("c", other, 0, 0)
    assert errors.take(a) is None and errors.peek(a) is None and not len(errors)
    first = _error("first")
    errors.note(a, first)
    errors.note(a, _error("second"))
    assert errors.peek(a) is first and errors.peek(a) is first
    assert errors.take(a) is first and errors.take(a) is None and errors.peek(a) is None
    errors.note(a, _error("a"))
    errors.note(b, _error("b"))
    errors.note(c, _error("c"))
    errors.forget(c)
    assert errors.peek(c) is None
    errors.note(c, _error("c"))
    told = errors.take_all(pager)
    assert told is not None and told.text == "a" and len(errors) == 1
    assert errors.take_all(pager) is None and errors.take(c) is not None
    errors.forget(c)  # nothing is there to be forgotten


def test_what_the_lazy_writer_could_not_write_is_told_to_one_flush() -> None:
    """The flush that comes next raises it, though it can write everything; the one after that does
    not.
    """
    scheduler, memory, cache = make_machine()
    pager = BytesPager(scheduler, bytearray())
    section = Section("s", pager, None, 0)
    pager.broken = {"write"}
    scheduler.run(cache.copy_write(section, 0, bytes(10_000)))
    scheduler.run(scheduler.sleep(3.5))
    assert len(memory.writeback.errors) == 1 and section.dirty
    pager.broken = set()
    with pytest.raises(StatusError) as caught:
        scheduler.run(cache.flush(section))
    assert caught.value.status == Status.IO_DEVICE_ERROR and not section.dirty
    scheduler.run(cache.flush(section))
    assert not len(memory.writeback.errors)
    pager.broken = {"write"}
    scheduler.run(cache.copy_write(section, 0, bytes(10_000)))
    scheduler.run(scheduler.sleep(3))
    assert len(memory.writeback.errors) == 1
    scheduler.run(cache.drop(section))  # nobody will ask
    assert not len(memory.writeback.errors)
    memory.check()
