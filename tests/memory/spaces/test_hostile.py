"""Hostile arguments to spaces, sections, pagers, page files and a system: each public call, each of
its arguments, each value.

What is of a wrong type ends at once in StatusError INVALID_PARAMETER (or the status that the entry
names); a number ends in a status, or is a legal one and the call works. Either way the ledger
balances afterwards, and a call that failed has changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import CoroutineType
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import octavo
from octavo.arguments import parse_size, shown
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.machine.mmu import reference
from octavo.machine.mmukernels import WRITE
from octavo.memory.pagers.external.memoryobject import MemoryObject
from octavo.memory.pagers.external.messages import Access, CopyStrategy, Return
from octavo.memory.pagers.external.pager import Control
from octavo.memory.pagers.pagefile import PageFiles
from octavo.memory.spaces.addressspace import AddressSpace, Allocate, Free
from octavo.memory.spaces.protect import Protect
from octavo.memory.spaces.sectionobjects import SectionObjects
from octavo.memory.spaces.view import Attribute
from octavo.memory.spaces.virtual import VirtualMemory
from octavo.status import Status, StatusError
from octavo.system import System
from tests.books import Book
from tests.conftest import make_image
from tests.machines import MemoryFile, fails, within_seconds
from tests.stores import Store, make

NUMBERS: list[object] = [
    0,
    -1,
    -8,
    -(10**10),
    -(10**400),
    3,
    9,
    22,
    1 << 29,
    1 << 31,
    1 << 46,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
    1 << 64,
    10**400,
    10**5000,
]
OTHERS: list[object] = [
    None,
    True,
    1.0,
    float("nan"),
    float("inf"),
    "nope",
    "\0",
    "٣",
    b"8",
    bytearray(3),
    [],
    [4096],
    (1,),
    {},
    {1},
    object(),
    int,
    np.int64(4096),
]
CODE = Protect.EXECUTE_READWRITE
Right = dict[int, list[object]]  # by position: which other values are right


class SmallFile(MemoryFile):
    """A file that grows to a mebibyte."""

    async def grow(self, size: int) -> None:
        """Adds zeros, while there is room."""
        if size > 1 << 20:
            raise StatusError(Status.DISK_FULL, f"{self.path}: there is no room for {size} bytes")
        await super().grow(size)


class World:
    """A small machine with some of everything."""

    def __init__(self) -> None:
        self.machine, self.store = make(120, 200)
        self.virtual, self.space = self.machine.virtual, self.machine.space
        run, sections = self.machine.run, self.virtual.sections
        self.base, _ = self.space.allocate(
            0, 4 * PAGE_SIZE, Allocate.COMMIT | Allocate.RESERVE | Allocate.WRITE_WATCH
        )
        self.file = SmallFile(self.machine, b"f" * 9000)
        self.section = run(sections.create(8 * PAGE_SIZE, CODE, name="section"))
        self.reserved = run(sections.create(8 * PAGE_SIZE, CODE, Attribute.RESERVE))
        self.mapped = run(sections.create(0, Protect.READWRITE, file=self.file))
        self.image = run(sections.create(0, Protect.READONLY, Attribute.IMAGE, self.file))
        self.view, _ = self.space.map(self.section)
        self.hole, _ = self.space.map(self.reserved)
        self.window, _ = self.space.map(self.mapped)
        self.book = Book(self.machine)
        self.external, self.control = sections.create_external(self.book, 16 * PAGE_SIZE, "book")
        assert self.external.memory_object is not None
        self.kept = self.external.memory_object
        self.pages, _ = self.space.map(self.external)
        for address in (self.base, self.view, self.window, self.pages):
            self.machine.write(address, b"kept")
        run(self.space.lock(self.base, PAGE_SIZE))
        self.refs = np.array([reference(self.base, WRITE)], np.int64)
        self.spaces = 0

    def books(self) -> list[object]:
        """What a call that fails must leave as it was."""
        virtual = self.virtual
        spaces = [
            (
                s.name,
                s.charge,
                dict(s.locked),
                s.minimum,
                s.maximum,
                [(v.start, v.end, v.spans, v.inherit, v.advice) for v in s.vads.all],
            )
            for s in virtual.spaces
        ]
        sections = [
            (
                s.name,
                s.size,
                s.shape.spans,
                s.closed,
                len(s.views),
                s.section.priority,
                s.section.pager.traits.cluster,
            )
            for s in virtual.sections.all
        ]
        held = [
            self.file.opens,
            self.kept.locks,
            self.kept.may_cache,
            self.kept.dead,
            self.kept.traits.eager,
        ]
        return [
            spaces,
            sections,
            sorted(virtual.sections.names),
            virtual.charged,
            virtual.commitment.slots,
            len(virtual.files.stores),
            *held,
        ]

    def check(self) -> None:
        """The ledger, and what was written."""
        self.machine.check()


class Call(NamedTuple):
    """A call by its name, what is given to it when all is right, and by position which other values
    are right, too, or which status they end in.
    """

    name: str
    call: Callable[[World], Callable[..., Any]]
    arguments: Callable[[World], tuple[object, ...]]
    right: Right = {}
    status: dict[int, Status] = {}


def of_space(
    name: str, arguments: Callable[[World], tuple[object, ...]], right: Right | None = None
) -> Call:
    """A call of an address space."""
    return Call(f"AddressSpace.{name}", lambda w: getattr(w.space, name), arguments, right or {})


def of_sections(
    name: str,
    arguments: Callable[[World], tuple[object, ...]],
    right: Right | None = None,
    status: dict[int, Status] | None = None,
) -> Call:
    """A call on sections."""
    return Call(
        f"SectionObjects.{name}",
        lambda w: getattr(w.virtual.sections, name),
        arguments,
        right or {},
        status or {},
    )


def of_pager(
    name: str, arguments: Callable[[World], tuple[object, ...]], right: Right | None = None
) -> Call:
    """A call of an external pager's on its control."""
    return Call(f"Control.{name}", lambda w: getattr(w.control, name), arguments, right or {})


TEXTS: list[object] = ["nope", "٣"]
BYTES: list[object] = [b"8", bytearray(3)]
COMMIT, RW = Allocate.COMMIT, Protect.READWRITE

CALLS = [
    of_space("allocate", lambda w: (0, PAGE_SIZE, COMMIT, RW, 0)),
    of_space("allocate", lambda w: (w.hole, PAGE_SIZE, COMMIT, RW, 0)),
    of_space("allocate_stack", lambda w: (4 * PAGE_SIZE, PAGE_SIZE)),
    of_space("free", lambda w: (w.base, PAGE_SIZE, Free.DECOMMIT)),
    of_space("free", lambda w: (w.base, 0, Free.RELEASE)),
    of_space("protect", lambda w: (w.base, PAGE_SIZE, Protect.READONLY)),
    of_space("query", lambda w: (w.base,)),
    of_space("write_watch", lambda w: (w.base, PAGE_SIZE)),
    of_space("set_working_set", lambda w: (1, 2), {1: [None]}),
    of_space("lock", lambda w: (w.base, PAGE_SIZE, 1)),
    of_space("unlock", lambda w: (w.base, PAGE_SIZE, 1)),
    of_space("touch", lambda w: (w.base, WRITE)),
    of_space("read", lambda w: (w.base, 8)),
    of_space("write", lambda w: (w.base, b"x"), {1: BYTES}),
    of_space("map", lambda w: (w.section, 0, 0, 0, RW, 1, 0, 0, 0)),
    of_space("map_image", lambda w: (w.image,)),
    of_space("unmap", lambda w: (w.view,)),
    of_space("flush", lambda w: (w.window, PAGE_SIZE)),
    of_space("set_inheritance", lambda w: (w.base, 2)),
    of_space("advise", lambda w: (w.base, PAGE_SIZE, 1)),
    of_space("below", lambda w: (3, Status.INVALID_PARAMETER_3), {1: [*NUMBERS, *OTHERS]}),
    of_space("forget_locks", lambda w: (w.base >> PAGE_SHIFT, (w.base >> PAGE_SHIFT) + 1)),
    of_sections(
        "create",
        lambda w: (PAGE_SIZE, RW, Attribute.COMMIT, None, ""),
        {3: [None], 4: TEXTS},
        {3: Status.INVALID_FILE_FOR_SECTION},
    ),
    of_sections(
        "create",
        lambda w: (0, RW, Attribute.COMMIT, w.file, "named"),
        {4: TEXTS, 3: [None]},
        {3: Status.INVALID_FILE_FOR_SECTION},
    ),
    of_sections(
        "create_external", lambda w: (w.book, PAGE_SIZE, "other", 5.0), {2: TEXTS, 3: [1.0]}
    ),
    of_sections("create_memory_object", lambda w: (PAGE_SIZE, "far", 5.0), {1: TEXTS, 2: [1.0]}),
    of_sections(
        "create_device", lambda w: (w.machine.memory.pfns.frames - 4, 1, RW, "device"), {3: TEXTS}
    ),
    of_sections("open", lambda w: ("section",), {0: TEXTS}),
    of_sections("check_open", lambda w: (w.section,)),
    of_sections("extend", lambda w: (w.section, 16 * PAGE_SIZE)),
    of_sections("set_priority", lambda w: (w.section, 1)),
    of_sections("query", lambda w: (w.section,)),
    of_sections("close", lambda w: (w.section,)),
    of_sections("commit", lambda w: (w.reserved, 0, 1)),
    of_sections("release", lambda w: (w.section,)),
    of_sections("allow", lambda w: (w.section, RW)),
    Call("VirtualMemory.create", lambda w: w.virtual.create, lambda w: ("other",), {0: TEXTS}),
    Call("VirtualMemory.fork", lambda w: w.virtual.fork, lambda w: (w.space, "child"), {1: TEXTS}),
    Call("VirtualMemory.destroy", lambda w: w.virtual.destroy, lambda w: (w.space,)),
    Call("VirtualMemory.run", lambda w: w.virtual.run, lambda w: (w.space, w.refs, 0)),
    Call("VirtualMemory.explain", lambda w: w.virtual.explain, lambda w: (1,)),
    Call(
        "VirtualMemory.add_page_file",
        lambda w: w.virtual.add_page_file,
        lambda w: (Store(w.machine.scheduler, 9), PAGE_SIZE, 2 * PAGE_SIZE),
        {1: [None], 2: [None]},
    ),
    Call(
        "PageFiles.add",
        lambda w: w.virtual.files.add,
        lambda w: (Store(w.machine.scheduler, 9), PAGE_SIZE, 2 * PAGE_SIZE),
        {1: [None], 2: [None]},
    ),
    of_pager("data_supply", lambda w: (8 * PAGE_SIZE, bytes(PAGE_SIZE), Access.NONE)),
    of_pager("data_unavailable", lambda w: (0, PAGE_SIZE)),
    of_pager("data_error", lambda w: (0, PAGE_SIZE, "torn"), {2: ["nope", "\0", "٣"]}),
    of_pager(
        "lock_request",
        lambda w: (0, PAGE_SIZE, Return.NONE, False, Access.NONE),
        {3: [*NUMBERS, *OTHERS], 4: [None]},
    ),
    of_pager(
        "change_attributes",
        lambda w: (PAGE_SIZE, True, CopyStrategy.NONE),
        {0: [None], 1: [*NUMBERS, *OTHERS], 2: [None]},
    ),
    of_pager("destroy", lambda w: ("gone",), {0: ["nope", "\0", "٣"]}),
]

INNER = {  # what the executive calls, and what takes nothing
    AddressSpace: "check_alive commit_reserved gap ranges undo_write whole",
    SectionObjects: "check slots",
    VirtualMemory: "check close statistics",
    PageFiles: "check drop entry fetch grow place runs statistics take use write",
    Control: "ready",
    MemoryObject: "admit data_request data_return end let_go prohibits receive statistics",
}


def test_every_call_is_looked_at() -> None:
    """Each public method is in the table, or is the executive's own."""
    for kind, inner in INNER.items():
        public = {
            name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name))
        }
        named = {
            entry.name.partition(".")[2]
            for entry in CALLS
            if entry.name.startswith(kind.__name__ + ".")
        }
        assert public == named | set(inner.split()) and not named & set(inner.split()), (
            kind.__name__
        )


def outcome(
    world: World, call: Callable[..., Any], arguments: tuple[object, ...], names: str
) -> StatusError | None:
    """What a call ends in, at once: the error, if it is one, is a sentence."""
    with within_seconds(3):
        try:
            result = call(*arguments)
            if isinstance(result, CoroutineType):
                world.machine.run(result)
        except StatusError as error:
            assert (
                10 < len(error.text) < 400 and "\0" not in error.text and "\n" not in error.text
            ), f"{names}: {error.text}"
            return error
    return None


def attempt(world: World, entry: Call, at: int, value: object) -> bool:
    """One value in place of one argument; False when the call worked, after which the world is
    another.
    """
    names = f"{entry.name}, argument {at}, {shown(value)}"
    arguments, before = entry.arguments(world), world.books()
    right = entry.right.get(at, [])
    fine = any(value is r or (type(value) is type(r) and value == r) for r in right)
    error = outcome(world, entry.call(world), (*arguments[:at], value, *arguments[at + 1 :]), names)
    if error is None:
        assert fine or (type(value) is int and isinstance(arguments[at], int | float)), (
            f"{names} was taken"
        )
        return False
    if not fine and type(value) is not int:
        allowed = {Status.INVALID_PARAMETER, entry.status.get(at, Status.INVALID_PARAMETER)} | (
            {Status.OBJECT_NAME_INVALID} if isinstance(value, str) else set()
        )
        assert error.status in allowed, f"{names}: {error.status.name}: {error.text}"
    assert world.books() == before, names
    return True


@pytest.mark.parametrize("entry", CALLS, ids=lambda c: c.name)
def test_each_argument_that_cannot_be(entry: Call) -> None:
    """Each argument alone, the others being right; the ledger balances after each, and the right
    call works at the end.
    """
    world = World()
    for at in range(len(entry.arguments(world))):
        for value in [*NUMBERS, *OTHERS]:
            failed = attempt(world, entry, at, value)
            world.check()
            if not failed:
                world = World()
    assert (
        outcome(world, entry.call(world), entry.arguments(world), entry.name) is None
        or entry.name == "AddressSpace.map_image"
    )
    world.check()


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_several_arguments_that_cannot_be(data: st.DataObject) -> None:
    """Calls in a row with any of their arguments drawn from what is hostile: each ends in a status
    or works, and the ledger balances.
    """
    world = World()
    for _ in range(12):
        entry = data.draw(st.sampled_from(CALLS))
        arguments = [
            data.draw(st.sampled_from([good, good, *NUMBERS, *OTHERS]))
            for good in entry.arguments(world)
        ]
        outcome(world, entry.call(world), tuple(arguments), entry.name)
        world.check()


def test_references_that_are_none() -> None:
    """Arrays of another kind, shape or order; addresses and kinds that cannot be; CPUs that are not
    there.
    """
    world = World()
    good, run = world.refs, world.virtual.run
    for refs in (
        [reference(world.base)],
        good.astype(np.int32),
        good.astype(float),
        good.reshape(1, 1),
        good.tolist(),
        np.array(["a"]),
        np.array([None]),
    ):
        assert (
            error := outcome(world, run, (world.space, refs), "run")
        ) and error.status == Status.INVALID_PARAMETER
    for word in (
        -1,
        -(1 << 63),
        (1 << 63) - 1,
        reference(1 << 50),
        reference(0xFFFF800000000000),
        world.base | 3,
    ):
        error = outcome(world, run, (world.space, np.array([word], np.int64)), "run")
        assert (
            error is not None and error.status == Status.ACCESS_VIOLATION
        ) or word == world.base | 3, word
        world.check()
    assert outcome(world, run, (world.space, np.repeat(good, 6)[::2]), "strided") is None
    assert outcome(world, run, (world.space, np.array([], np.int64)), "none") is None
    world.check()


def test_what_belongs_to_another_machine() -> None:
    """Spaces and sections of one machine are nothing to another."""
    world, other = World(), World()
    fails(Status.FILE_CLOSED, world.space.map, other.section)
    fails(Status.INVALID_PARAMETER, world.virtual.fork, other.space, "x")
    fails(Status.INVALID_PARAMETER, world.virtual.destroy, other.space)
    assert other.space in other.virtual.spaces
    for each in (world, other):
        each.check()


# -- sizes, and a system ---------------------------------------------------------------------------


def test_sizes() -> None:
    """Exact to the byte; anything else ends at once in one short sentence."""
    good = {
        "0": 0,
        "16M": 16 << 20,
        "1.5G": 3 << 29,
        "4096": 4096,
        " 2 KiB ": 2048,
        "2kb": 2048,
        "7B": 7,
        "16777215.99999T": (16777216 << 40) - (1 << 40) // 100000 - 1,
    }
    good["18446744073709551615"] = (1 << 64) - 1
    good["9007199254740993"] = 9007199254740993  # which no float is
    for text, size in good.items():
        assert parse_size(text) == size, text
    bad: list[object] = [
        "16iB",
        "",
        " ",
        "M",
        "-1",
        "+1",
        "1.",
        ".5",
        "1e3",
        "٣",
        "\uff11\uff16M",
        "16\u212a",
        "inf",
        "nan",
        "0x10",
        "16 M B",
        "16MM",
        "1,5G",
        "16Mi",
        "\0",
    ]
    bad += [
        "9" * 400,
        "9" * 400 + "T",
        "1." + "0" * 400,
        "16777216T",
        "18446744073709551616",
        " " * 10**6 + "x",
        -1,
        1 << 64,
        10**400,
        10**5000,
    ]
    for value in [*bad, *(v for v in OTHERS if v not in ("nope",)), "nope"]:
        with within_seconds(2), pytest.raises(StatusError) as error:
            parse_size(value)  # type: ignore[arg-type]
        assert error.value.status == Status.INVALID_PARAMETER and len(error.value.text) < 200


HOSTILE: dict[
    str, list[object]
] = {  # of a system, beside OTHERS, what one of its arguments cannot be
    "memory": [
        "",
        "-1",
        "16iB",
        "9" * 400,
        -1,
        0,
        1,
        (1 << 20) - 1,
        10**400,
        1 << 64,
        (1 << 64) - 1,
    ],
    "arch": ["", "X86-64", "x" * 10**5, 0, 10**400],
    "firmware_map": ["", "\0", "no such map", 0, 10**400, [None], ["x"], b"host"],
    "seed": [10**400, -(10**400), 1 << 64],
    "profile": ["", "NT", 0],
    "policy": ["", "LRU", 0],
    "cluster": [0, -1, 129, 10**400, 2.5],
    "echo": ["print", 0],
    "codepage": ["", "utf-8", "hex", 0, -1, 10**400, 10**5000, "x" * 10**5],
    "disks": ["disk.img", b"disk.img", 0, [None], [0], [""], ["\0"], ["no such image"], [b"x"]],
}
RIGHT: dict[str, list[object]] = {
    "memory": [None],
    "firmware_map": [],
    "seed": [None],
    "policy": [None],
    "cluster": [None],
    "echo": [None, int],
    "disks": [[], (), {}],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_system_that_cannot_be(name: str) -> None:
    """Each argument of `boot`: a status and a sentence, and nothing stays open."""
    for value in [*HOSTILE[name], *OTHERS]:
        if any(type(value) is type(r) and value == r for r in RIGHT.get(name, [])):
            continue
        with within_seconds(5), pytest.raises(StatusError) as error:
            octavo.boot(**{"memory": "4M", "seed": 1, name: value})  # type: ignore[arg-type]
        assert len(error.value.text) < 600 and "\0" not in error.value.text, (
            f"{name}={shown(value)}"
        )


@pytest.fixture
def system(tmp_path: Any) -> Iterator[System]:
    """A system with a volume."""
    with octavo.boot(
        memory="8M", disks=[make_image(tmp_path / "a.img", 4 << 20, 12)], seed=1
    ) as made:
        yield made
        made.check()


def test_a_system_s_calls(system: System) -> None:
    """Paths, letters, sizes and frames that cannot be; what is mounted stays so."""
    calls: dict[str, tuple[Callable[[Any], object], list[object]]] = {
        "attach": (system.attach, []),
        "add_page_file": (system.add_page_file, []),
        "unmount": (system.unmount, []),
        "attach_ram_disk": (system.attach_ram_disk, []),
        "explain": (system.explain, [0, 3, 9, 22, 1 << 29, 1 << 31, 1 << 46]),
        "memory.explain": (system.memory.explain, [0, 3, 9, 22, 1 << 29, 1 << 31, 1 << 46]),
    }
    for name, (call, right) in calls.items():
        for value in [
            v for v in [*NUMBERS, *OTHERS] if not any(type(v) is int and v == r for r in right)
        ]:
            with within_seconds(5), pytest.raises(StatusError) as error:
                call(value)
            assert len(error.value.text) < 300 and "\0" not in error.value.text, (
                f"{name}({shown(value)})"
            )
        for value in right:
            assert call(value)
    assert list(system.volumes) == ["C:"]


@pytest.mark.parametrize("offset", [-1, -(10**30)])
def test_files(image: Path, offset: int) -> None:
    """Places and paths that cannot be, at files and volumes."""
    with octavo.open_image(image) as volume:
        volume.write_bytes("a", b"abc")
        with volume.open("a", "r+b") as file:
            for seek in ((0, 3), (0, -1), (1.5, 0), (offset, 0)):
                with pytest.raises(StatusError):
                    file.seek(*seek)
            for call in (
                file.core.read(offset, 3),
                file.core.read_into(offset, memoryview(bytearray(3))),
                file.core.write(offset, b"x"),
            ):
                with pytest.raises(StatusError):
                    volume.scheduler.run(call)
            with pytest.raises(StatusError):
                file.truncate(offset)
            assert file.read() == b"abc"
        for path in (5, None, b"a", ["a"]):
            with pytest.raises(StatusError):
                volume.open(path)  # type: ignore[call-overload]
        assert volume.check() == []


def test_contents_and_sizes_of_files(image: Path) -> None:
    """What is no number of bytes, and what has no bytes, leaves the file as it is, and no other
    behind.
    """
    with octavo.open_image(image) as volume:
        volume.write_bytes("a", b"abc")
        with volume.open("a", "r+b") as file, pytest.raises(StatusError):
            file.truncate(1.5)  # type: ignore[arg-type]
        for data in ("text", 5, None, ["a"]):
            with pytest.raises(StatusError):
                volume.write_bytes("b", data)  # type: ignore[arg-type]
        volume.write_bytes("c", memoryview(np.array([1, 2], np.uint32)))  # type: ignore[arg-type]
        assert volume.read_bytes("a") == b"abc" and volume.read_bytes("c") == b"\1\0\0\0\2\0\0\0"
        for call in (volume.stat, volume.entries, volume.exists, volume.mkdir, volume.remove):
            with pytest.raises(StatusError):
                call(5)  # type: ignore[arg-type]
        assert [e.name for e in volume.entries()] == ["a", "c"] and volume.check() == []
