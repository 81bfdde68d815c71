"""A pager on the other side of a byte pipe: the messages are encoded, go through pipes that hold
less than one of them, and are decoded; it works as one in the same process does.
"""

from __future__ import annotations

import json
import typing
from collections import deque
from dataclasses import fields
from enum import Enum
from types import NoneType, UnionType

import pytest

from octavo.machine.abi import PAGE_SIZE
from octavo.memory.pagers.external import messages as m
from octavo.memory.pagers.external.asked import MOST_THINKING, Asked
from octavo.memory.pagers.external.memoryobject import MOST_MESSAGES, MOST_TIMEOUTS, MemoryObject
from octavo.memory.pagers.external.pager import Control, Outcome, serve
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.view import SectionObject
from octavo.statistics import of
from octavo.status import Status, StatusError
from octavo.threads.wait import Queue, Waiters, park, wake_all
from tests.books import PAGES, Book
from tests.machines import Machine, fails

KINDS = {
    kind.__name__: kind for kind in (*typing.get_args(m.ToPager), *typing.get_args(m.FromPager))
}
Data = bytes | bytearray | memoryview


def encode(message: object) -> bytes:
    """A line of JSON with the fields, and the bytes behind it; a length before each."""
    data, head = b"", [type(message).__name__]
    for f in fields(message):  # type: ignore[arg-type]
        value = getattr(message, f.name)
        if isinstance(value, Data):
            data, value = bytes(value), None
        if isinstance(value, tuple):
            value = [[s.length, s.dirty, s.kept] for s in value]
        head.append(value.value if isinstance(value, Enum) else value)
    text = json.dumps(head).encode()
    return len(text).to_bytes(4, "little") + len(data).to_bytes(4, "little") + text + data


def decode(text: bytes, data: bytes) -> typing.Any:
    """The message of a line and of the bytes behind it."""
    name, *values = json.loads(text)
    kind = KINDS[name]
    hints = typing.get_type_hints(kind)
    return kind(*(plain(hints[f.name], v, data) for f, v in zip(fields(kind), values, strict=True)))


def plain(hint: typing.Any, value: typing.Any, data: bytes) -> typing.Any:
    """A field of a message."""
    kinds = typing.get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if bytes in kinds:
        return data
    if typing.get_origin(hint) is tuple:
        return tuple(m.Alike(*part) for part in value)
    if value is None and NoneType in kinds:
        return None
    kind = next(k for k in kinds if k is not NoneType)
    return kind(value) if issubclass(kind, Enum) else value


class Pipe:
    """Bytes in a row, `bound` of them at most; who reads gets what there is."""

    def __init__(self, bound: int = 1000) -> None:
        self.bound, self.bytes = bound, bytearray()
        self.waiters: Waiters = deque()

    async def write(self, data: bytes) -> None:
        """Waits while it is full."""
        while data:
            room = self.bound - len(self.bytes)
            self.bytes += data[:room]
            data = data[room:]
            await self._change(bool(data))

    async def read(self, count: int) -> bytes:
        """Waits until so many have come."""
        out = b""
        while len(out) < count:
            part = bytes(self.bytes[: count - len(out)])
            del self.bytes[: len(part)]
            out += part
            await self._change(len(out) < count)
        return out

    async def _change(self, wait: bool) -> None:
        wake_all(self.waiters)
        if wait:
            await park(self.waiters)

    async def receive(self) -> typing.Any:
        """The next message."""
        lengths = await self.read(8)
        text = await self.read(int.from_bytes(lengths[:4], "little"))
        return decode(text, await self.read(int.from_bytes(lengths[4:], "little")))


class Far:
    """Both ends of two pipes: on the one a memory object, on the other a pager."""

    def __init__(self, machine: Machine, kept: MemoryObject, pager: Book | None) -> None:
        self.kept, self.down, self.up, self.wrong = kept, Pipe(), Pipe(), 0
        self.said: Queue[bytes] = Queue(MOST_MESSAGES)
        self.heard: Queue[m.ToPager] = Queue(16)
        self.control = Control("far", self.tell)
        start = machine.scheduler.serve
        start(self.carry_down, "object's messages")
        start(self.carry_up, "pager's messages")
        start(self.take_in, "messages at the object")
        if pager is not None:
            start(self.take_out, "messages at the pager")
            start(lambda: serve(pager, self.control, self.heard, self.tell), "pager")

    async def carry_down(self) -> None:
        """From the object into the pipe."""
        while True:
            await self.down.write(encode(await self.kept.messages.get()))

    async def take_out(self) -> None:
        """From the pipe to the pager."""
        while True:
            await self.heard.put(await self.down.receive())

    def tell(self, message: m.FromPager) -> Outcome:
        """The pager says something: it does not hear what was taken."""
        assert self.said.try_put(encode(message))
        return Outcome(len(message.data) if isinstance(message, m.DataSupply) else 0)

    async def carry_up(self) -> None:
        """From the pager into the pipe."""
        while True:
            await self.up.write(await self.said.get())

    async def take_in(self) -> None:
        """From the pipe to the object."""
        while True:
            try:
                self.kept.receive(await self.up.receive())
            except StatusError as error:
                assert error.status == Status.INVALID_PARAMETER
                self.wrong += 1


class World:
    """A machine with a book mapped, near or far."""

    def __init__(self, manner: str, far: bool, cluster: int = 16) -> None:
        self.machine = Machine(frames=300)
        self.book = Book(self.machine, manner, cluster)
        sections, size = self.machine.virtual.sections, PAGES * PAGE_SIZE
        self.section: SectionObject
        if far:
            self.section, kept = sections.create_memory_object(size, "book")
            self.far = Far(self.machine, kept, self.book)
        else:
            self.section, _ = sections.create_external(self.book, size, "book")
        self.base, _ = self.machine.space.map(self.section)
        self.machine.run(self.machine.space.advise(self.base, 1, Advice.SEQUENTIAL))

    def do(self, write: bool, page: int) -> object:
        """Reads or writes 8 bytes of a page; what is read, or the words of the error."""
        address = self.base + page * PAGE_SIZE
        try:
            if write:
                self.machine.write(address, b"new %4d" % page)
            return self.machine.read(address, 8)
        except StatusError as error:
            self.machine.run(self.machine.scheduler.sleep(10))
            return error.status, error.text

    def story(self) -> list[object]:
        """Pages are read and written, go back, are locked and asked for again; the object ends."""
        run, space = self.machine.run, self.machine.space
        told = [self.do(False, page) for page in range(40)]
        told += [self.do(True, page) for page in (3, 4, 30, 50)]
        try:
            run(space.flush(self.base))
        except StatusError as error:
            told.append((error.status, error.text))
        told += [self.do(False, page) for page in (3, 30, 56)]
        self.machine.check()
        self.machine.virtual.destroy(space)
        self.machine.virtual.sections.close(self.section)
        run(self.machine.scheduler.sleep(20))
        self.machine.check()
        assert self.section.memory_object is not None
        counts = {
            k: n for k, n in of(self.section.memory_object.statistics()).items() if k != "ignored"
        }
        return [*told, counts, self.book.log, self.book.returns, bytes(self.book.data)]


MANNERS = ["good", "pieces", "partial", "unavailable", "error", "error beyond", "late", "silent"]
MANNERS += ["failing", "precious", "locked", "keeps nothing", "never ready", "again"]


@pytest.mark.parametrize("manner", MANNERS)
def test_a_far_pager_works_as_a_near_one(manner: str) -> None:
    """What is read, what is said, which pages come back in which parts, and what is counted is
    the same.
    """
    near, far = World(manner, False).story(), World(manner, True).story()
    for one, other in zip(near, far, strict=True):
        assert one == other
    assert any(far[-3:-1])


def test_every_message_goes_through_bytes() -> None:
    """Each kind, each field with a value that is not the first of its kind."""
    parts = (m.Alike(PAGE_SIZE, True, False), m.Alike(2 * PAGE_SIZE, False, True))
    given = [
        m.Init(PAGE_SIZE, 5),
        m.DataRequest(PAGE_SIZE, 2, m.Access.ALL),
        m.DataReturn(7, PAGE_SIZE, b"x" * 3, parts),
        m.DataUnlock(1, 2, m.Access.WRITE),
        m.LockCompleted(1, 2, 3, "four"),
        m.Terminate(),
        m.Ready(),
        m.DataSupply(1, b"data", m.Access.READ, True),
        m.DataUnavailable(1, 2),
        m.DataError(1, 2, "three"),
        m.DataReturned(1, 2, "three"),
        m.LockRequest(1, 2, m.Return.ALL, True, m.Access.NONE),
        m.ChangeAttributes(1, False, m.CopyStrategy.DELAY),
        m.Destroy("gone"),
        m.Refused(),
    ]
    assert {type(message) for message in given} == set(KINDS.values())
    for message in given:
        code = encode(message)
        at = 8 + int.from_bytes(code[:4], "little")
        assert decode(code[8:at], code[at:]) == message


def object_alone(machine: Machine, timeout: float = 5.0) -> tuple[MemoryObject, int]:
    """A mapped object whose messages nobody takes, with clusters of 4 pages, and its address."""
    section, kept = machine.virtual.sections.create_memory_object(16 * PAGE_SIZE, "far", timeout)
    kept.receive(m.ChangeAttributes(4 * PAGE_SIZE))
    kept.receive(m.Ready())
    return kept, machine.space.map(section)[0]


def taken(machine: Machine, kept: MemoryObject) -> list[m.ToPager]:
    """What the pager has not looked at, taken away."""
    return [machine.run(kept.messages.get()) for _ in range(len(kept.messages))]


def test_answers_to_a_return() -> None:
    """One that comes twice, or to a number that was not given, changes nothing and is counted; a
    status that there is not is some error; after the timeout an answer is nobody's.
    """
    machine = Machine()
    kept, base = object_alone(machine)
    kept.receive(m.DataSupply(0, bytes(4 * PAGE_SIZE), precious=True))

    async def go(answers: list[m.DataReturned]) -> None:
        try:
            flush = machine.scheduler.spawn(machine.space.flush(base), "flush")
            await machine.scheduler.sleep(0.1)
            for answer in answers:
                kept.receive(answer)
        finally:
            await flush.join()

    with pytest.raises(StatusError, match="no shelf") as error:
        full = m.DataReturned(1, Status.DISK_FULL, "no shelf")
        machine.run(go([m.DataReturned(9), full, m.DataReturned(1)]))
    assert error.value.status == Status.DISK_FULL and kept.counts.ignored == 2
    assert kept.section.dirty == 4 and kept.counts.returned == 0
    with pytest.raises(StatusError, match="no such status") as error:
        machine.run(go([m.DataReturned(2, 5, "no such status")]))
    assert error.value.status == Status.IO_DEVICE_ERROR and kept.section.dirty == 4
    with pytest.raises(StatusError, match="has not taken page 0 back"):
        machine.run(go([]))
    kept.receive(m.DataReturned(3))  # late
    assert kept.counts.ignored == 3 and kept.section.dirty == 4
    machine.run(go([m.DataReturned(4)]))
    assert not kept.section.dirty and kept.counts.returned == 4
    assert [x.number for x in taken(machine, kept) if isinstance(x, m.DataReturn)] == [1, 2, 3, 4]
    machine.check()


def test_precious_pages_that_were_kept_are_precious_no_more() -> None:
    """When the pager has said so, and not before; and it shows life by that."""
    machine = Machine()
    kept, base = object_alone(machine, 0.1)
    kept.receive(m.DataSupply(0, bytes(4 * PAGE_SIZE), precious=True))
    for _ in range(MOST_TIMEOUTS):
        with pytest.raises(StatusError):
            machine.run(machine.space.read(base + 8 * PAGE_SIZE, 1))
    with pytest.raises(StatusError, match="is not asked any more"):
        machine.run(machine.space.read(base + 8 * PAGE_SIZE, 1))

    async def go() -> None:
        flush = machine.scheduler.spawn(machine.space.flush(base), "flush")
        await machine.scheduler.sleep(0.05)
        assert kept.section.precious == {0, 1, 2, 3}
        kept.receive(m.DataReturned(1))
        assert not kept.section.precious
        await flush.join()

    machine.run(go())
    with pytest.raises(StatusError, match="has not answered for page 8"):
        machine.run(machine.space.read(base + 8 * PAGE_SIZE, 1))


def test_a_pager_of_single_pages_may_think_about_one_for_a_while() -> None:
    """It is asked again for one that it has answered for, or cannot give, or has not answered in
    time; not for one that it is thinking about. Who waits comes first.
    """
    asked = Asked()
    pages = [memoryview(bytearray(PAGE_SIZE)) for _ in range(3)]
    request = asked.open(7, pages, range(1, 2))
    assert asked.singly(request, range(1, 2), now=0.0, until=1.0) == [1, 0, 2]
    assert asked.singly(request, range(1, 2), now=0.5, until=1.5) == []
    assert asked.answer(9, memoryview(bytes(PAGE_SIZE))) and not request.event.signalled
    assert asked.singly(request, range(1, 2), now=0.5, until=1.5) == [2]
    asked.fail(7, 9, lambda page: StatusError(Status.IO_DEVICE_ERROR, f"no page {page}"))
    assert request.event.signalled and str(request.error) == "no page 8"
    assert asked.singly(request, range(1, 2), now=0.5, until=1.5) == [1, 0]
    assert asked.singly(request, range(1, 2), now=1.5, until=2.5) == [1, 0, 2]
    assert not asked.answer(9, memoryview(bytes(PAGE_SIZE))) and asked.pages(0, 9) == [7, 8]
    asked.close(request)
    assert not asked.answer(7, memoryview(bytes(PAGE_SIZE))) and not asked.pages(0, 99)


def test_pages_that_are_never_answered_for_are_forgotten() -> None:
    """What is remembered of them does not grow with the pages that were ever asked for."""
    asked, page = Asked(), memoryview(bytearray(PAGE_SIZE))
    for number in range(4 * MOST_THINKING):
        request = asked.open(number, [page], range(1))
        assert asked.singly(request, range(1), now=number, until=number + 1.5) == [0]
        assert asked.singly(request, range(1), now=number, until=number + 1.5) == []
        asked.close(request)
    assert asked.thinking <= MOST_THINKING + 1


def test_a_message_that_cannot_be_changes_nothing() -> None:
    """Numbers that are outside of the object, and what is no message at all."""
    machine = Machine()
    kept, _ = object_alone(machine)
    before = kept.statistics(), list(kept.locks), kept.traits.cluster, kept.section.resident()
    wrong: list[typing.Any] = [
        m.DataSupply(16 * PAGE_SIZE, bytes(PAGE_SIZE)),
        m.DataSupply(0, bytes(5)),
        m.DataUnavailable(-PAGE_SIZE, PAGE_SIZE),
        m.DataError(0, 1 << 70, "far"),
        m.LockRequest(0, 17 * PAGE_SIZE),
        m.ChangeAttributes(3 * PAGE_SIZE, False),
        m.DataReturned("one"),  # type: ignore[arg-type]
        m.Init(PAGE_SIZE, 5),
        "ready",
    ]
    for message in wrong:
        fails(Status.INVALID_PARAMETER, kept.receive, message)
    assert before == (
        kept.statistics(),
        list(kept.locks),
        kept.traits.cluster,
        kept.section.resident(),
    )
    assert kept.may_cache


def test_lock_requests_are_bounded() -> None:
    """A pager that asks for its pages back and does not take them has so many requests under way,
    and one more is refused; all end with the error of the return.
    """
    machine = Machine()
    kept, base = object_alone(machine, 1.0)
    kept.receive(m.DataSupply(0, bytes(4 * PAGE_SIZE)))
    machine.write(base, b"new")
    request = m.LockRequest(0, PAGE_SIZE, m.Return.DIRTY)
    outcomes = [kept.receive(request) for _ in range(MOST_MESSAGES)]
    fails(Status.INSUFFICIENT_RESOURCES, kept.receive, request)
    told: list[m.ToPager] = []

    async def take() -> None:
        while True:
            told.append(await kept.messages.get())

    machine.scheduler.serve(take, "pager")
    machine.run(machine.scheduler.sleep(2 * MOST_MESSAGES))
    assert all(o.done is not None and o.done.signalled for o in outcomes)
    ended = [x.status for x in told if isinstance(x, m.LockCompleted)]
    assert ended == [Status.IO_TIMEOUT] * MOST_MESSAGES
    kept.receive(request)  # there is room again
    machine.check()


def test_a_pager_that_takes_no_message_is_sent_so_many() -> None:
    """Messages stop at the bound of the queue; what cannot be sent fails at once."""
    machine = Machine()
    kept, base = object_alone(machine, 0.1)
    kept.receive(m.DataSupply(0, bytes(4 * PAGE_SIZE)))
    machine.write(base, b"new")
    while len(kept.messages) < MOST_MESSAGES:
        kept.receive(m.LockRequest(8 * PAGE_SIZE, PAGE_SIZE))
    with pytest.raises(StatusError, match=f"its pager has {MOST_MESSAGES} messages to look at"):
        machine.run(machine.space.flush(base))
    assert len(kept.messages) == MOST_MESSAGES and kept.section.dirty == 1
    machine.check()
