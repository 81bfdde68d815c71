"""A fault looks at each thing once, and again only after a wait; and nobody keeps the whole of
virtual memory.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType, MethodType
from typing import Any

import pytest

from octavo.machine.abi import PAGE_SIZE
from octavo.machine.mmukernels import READ, WRITE
from octavo.memory.spaces.addressspace import Allocate, Free
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.fault import STALE, Fault
from octavo.memory.spaces.protect import Protect
from octavo.memory.spaces.virtual import VirtualMemory
from octavo.status import Status, StatusError
from tests.machines import Machine, MemoryFile, fails
from tests.places import SOURCE

RW = Allocate.COMMIT | Allocate.RESERVE
ONCE = ("_look", "find", "span_at", "get")  # of the allocation, its protection, the tables


def calls(call: Callable[[], object]) -> Counter[str]:
    """How often each of Octavo's functions was called."""
    seen: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(SOURCE)):
            seen[frame.f_code.co_name] += 1

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return seen


def standing_by(machine: Machine, pages: int) -> int:
    """A view of a file, all pages of which are on the standby list; where it begins."""
    file = MemoryFile(machine, b"f" * pages * PAGE_SIZE)
    section = machine.run(machine.virtual.sections.create(0, Protect.READWRITE, file=file))
    base, size = machine.space.map(section)
    machine.run(machine.space.advise(base, size, Advice.WILLNEED))
    assert machine.memory.physical.standby.count == pages
    return base


@pytest.mark.parametrize("kind", [READ, WRITE])
def test_a_soft_fault_looks_once(kind: int) -> None:
    """From the first reference to a page that stands by: 82 calls before faults were values."""
    machine = Machine()
    base = standing_by(machine, 4)
    machine.touch(base, kind)  # makes the page table
    seen = calls(lambda: machine.touch(base + PAGE_SIZE, kind))
    assert [seen[name] for name in ONCE] == [1] * len(ONCE), seen
    assert seen["_activate"] + seen["activate"] == 1 and seen.total() <= 60, seen.total()
    assert calls(lambda: machine.touch(base + PAGE_SIZE, kind)).total() <= 15
    machine.check()


def test_a_page_that_could_not_be_entered_stands_by_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A soft fault that fails when its page is active leaves it on its list, as it was."""
    machine = Machine()
    base = standing_by(machine, 4)

    def refuse(*_: object) -> int:
        raise StatusError(Status.IN_PAGE_ERROR, "there is no table")

    with monkeypatch.context() as patch:
        patch.setattr(machine.space.pages, "map_page", refuse)
        with pytest.raises(StatusError, match="there is no table"):
            machine.touch(base, READ)
    assert machine.memory.physical.standby.count == 4
    machine.check()
    machine.touch(base, READ)
    machine.check()


def test_a_demand_zero_fault_looks_once() -> None:
    """It was 74 calls, and three looks."""
    machine = Machine()
    base, _ = machine.space.allocate(0, 4 * PAGE_SIZE, RW)
    machine.touch(base, WRITE)
    seen = calls(lambda: machine.touch(base + PAGE_SIZE, WRITE))
    assert [seen[name] for name in ONCE] == [1] * len(ONCE), seen
    assert seen["supply"] == 1 and seen["put"] == 1 and seen.total() <= 55, seen.total()
    machine.check()


def test_what_a_fault_has_learnt_holds_until_its_allocation_changes() -> None:
    """Other allocations are nothing to it."""
    machine = Machine()
    space = machine.space
    base, size = space.allocate(0, 4 * PAGE_SIZE, RW)
    fault = Fault(space, base + 5, READ)
    vad = space.vads.find(base // PAGE_SIZE)
    assert vad is not None and fault.entry == STALE and fault.start == base

    def learn() -> None:
        fault.vad, fault.version = vad, vad.version
        assert fault.is_current()

    learn()
    other, _ = space.allocate(0, PAGE_SIZE, RW)
    space.free(other, 0, Free.RELEASE)
    assert fault.is_current()
    space.protect(base + 2 * PAGE_SIZE, PAGE_SIZE, Protect.READONLY)
    assert not fault.is_current()
    learn()
    space.free(base, PAGE_SIZE, Free.DECOMMIT)
    assert not fault.is_current()
    learn()
    space.free(base, 0, Free.RELEASE)
    assert not fault.is_current()
    with pytest.raises(AssertionError):
        fault.take_spare()
    assert size == 4 * PAGE_SIZE


@pytest.mark.parametrize("what", ["nothing", "another", "protect", "unmap"])
def test_a_hard_fault_looks_again_if_its_view_has_changed(what: str) -> None:
    """While its page is read: the page of a view that is as it was is entered by the same fault."""
    machine = Machine()
    space, pages = machine.space, 4
    file = MemoryFile(machine, b"f" * pages * PAGE_SIZE)
    section = machine.run(machine.virtual.sections.create(0, Protect.READWRITE, file=file))
    base, _ = space.map(section)
    request = file.pager.data_request

    async def slow(*arguments: Any) -> None:
        await request(*arguments)
        await machine.scheduler.sleep(0.1)

    file.pager.data_request = slow  # type: ignore[method-assign, assignment]

    async def change() -> None:
        await machine.scheduler.sleep(0.05)
        if what == "another":
            space.allocate(0, PAGE_SIZE, RW)
        elif what == "protect":
            space.protect(base, PAGE_SIZE, Protect.READONLY)
        elif what == "unmap":
            space.unmap(base)

    thread = machine.scheduler.spawn(change(), "change")
    before = space.faults
    if what == "unmap":
        fails(Status.ACCESS_VIOLATION, machine.touch, base)
    else:
        machine.touch(base)
        assert space.faults - before == (2 if what == "protect" else 1)
    machine.run(thread.join())
    machine.check()


def parts(root: VirtualMemory) -> list[object]:
    """All objects of the memory of spaces that lead on from its parts, without the root."""
    found, pending = dict[int, object](), list(vars(root).values())
    while pending:
        thing = pending.pop()
        if id(thing) in found:
            continue
        found[id(thing)] = thing
        if isinstance(thing, MethodType):
            pending.append(thing.__self__)
        elif isinstance(thing, dict):
            pending += [*thing, *thing.values()]
        elif isinstance(thing, list | tuple | set):
            pending += thing
        elif type(thing).__module__.startswith("octavo"):
            names = [n for kind in type(thing).__mro__ for n in getattr(kind, "__slots__", ())]
            pending += [getattr(thing, name, None) for name in names]
            pending += vars(thing).values() if hasattr(thing, "__dict__") else []
    return list(found.values())


def test_no_part_keeps_the_root() -> None:
    """What virtual memory is made of does not lead back to it, not by a bound method either."""
    machine = Machine()
    base = standing_by(machine, 4)
    machine.touch(base)
    child = machine.virtual.fork(machine.space, "child")
    found = parts(machine.virtual)
    looked_at = {id(thing) for thing in found}
    assert {id(machine.space), id(child), id(machine.virtual.balance)} <= looked_at
    assert not [thing for thing in found if thing is machine.virtual]
    machine.check()
