"""Hostile arguments to all that `octavo.boot` leads to, and to all that docs/api.md names: each
argument, each value.

The methods of the kernel's heap are called in `test_hostile_heap.py`, those of spaces and sections
in `test_hostile.py`, the others here; what is in none of the three is the executive's own, and
`INTERNAL` says why. A call ends in a StatusError, or (of a file that is not open for it) as
Python's io does, and has changed nothing; or the value is a right one. Flags are left out: they are
taken by their truth, as Python does.
"""

from __future__ import annotations

import enum
import inspect
import io
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from types import CoroutineType, MethodType
from typing import Any, NamedTuple

import numpy as np
import pytest

import octavo
from octavo.arguments import shown
from octavo.files import File, Volume
from octavo.fs.vfs.file import OpenedFile
from octavo.fs.vfs.volume import Volume as MountedVolume
from octavo.heap.kernelmemory import KernelMemory
from octavo.images import plan_volume
from octavo.machines import load_firmware_map
from octavo.memory.manager import MemoryManager
from octavo.memory.pagers.medium import FLUSH
from octavo.memory.spaces.sectionobjects import SectionObjects
from octavo.policies import NAMES, Policy
from octavo.printing import printable
from octavo.reports import Shell
from octavo.status import StatusError
from octavo.storage.image import ImageDisk
from octavo.storage.ramdisk import RamDisk
from octavo.storage.rawfile import RawFile
from octavo.system import System
from octavo.testing import FLASH, BufferDisk
from octavo.threads.scheduler import Scheduler
from octavo.threads.wait import Event
from tests.conftest import blank_image
from tests.heap.test_hostile_heap import CALLS as CALLS_OF_HEAP
from tests.house.test_api import NAMES as DOCUMENTED
from tests.machines import within_seconds
from tests.memory.spaces.test_hostile import CALLS as CALLS_OF_SPACES
from tests.memory.spaces.test_hostile import World as SpaceWorld

NUMBERS: list[object] = [True, 1.5, -1, 2**63, 10**400, 10**5000, -(10**5000)]
TEXTS: list[object] = ["", "x" * 5000, "\0"]
EMPTY: list[object] = [
    [],
    {},
    b"",
    *TEXTS,
]  # what has nothing in it, or only what is refused one by one
HOSTILE: list[object] = [None, *NUMBERS, float("nan"), *TEXTS, [], {}, object(), b"", b"x"]
Right = dict[int, list[object]]


class World:
    """A system with an image, and a file that is open."""

    def __init__(self, path: Path) -> None:
        from octavo.cli.main import run

        assert run(["mkfs", "--size", "4M", str(path)]) == 0
        self.other = blank_image(path.with_suffix(".none"), 4096)
        self.system = octavo.boot(memory="8M", disks=[path], seed=1)
        self.volume = self.system.volumes["C:"]
        self.disk = self.volume.core.device
        self.ram_disk = RamDisk("ram", 8192, self.system.memory)
        self.event = Event()

    def prepare(self) -> None:
        """Makes everything what it was before."""
        for letter in [letter for letter in self.system.volumes if letter != "C:"]:
            self.system.unmount(letter)
        self.volume.rmtree("", force=True)
        self.volume.write_bytes("a", b"abc\ndef")
        self.volume.mkdir("d")
        self.file: File = self.volume.open("a", "r+b")

    def books(self) -> list[object]:
        """What a call that fails must leave as it was."""
        entries = [(e.name, e.size, e.flags, e.modified) for e in self.volume.entries()]
        return [
            entries,
            self.volume.read_bytes("a"),
            self.file.tell(),
            sorted(self.system.volumes),
            len(self.system.log),
        ]


class Call(NamedTuple):
    """A method of what `subject` gives, what is given to it when all is right, and by position
    which hostile values are right, too.
    """

    kind: type
    method: str
    subject: Callable[[World], Any]
    arguments: tuple[object, ...]
    right: Right


def calls(kind: type, subject: Callable[[World], Any], **methods: tuple[object, ...]) -> list[Call]:
    """Calls of a class: the arguments, and behind them the dictionary of right values if there is
    one.
    """
    out = []
    for method, given in methods.items():
        right = given[-1] if isinstance(given[-1], dict) else {}
        out.append(
            Call(kind, method.rstrip("_"), subject, given[: len(given) - bool(right)], right)
        )
    return out


REPORT = [None]
SOON: list[object] = [1.5, -1, -(10**5000)]
WALL: list[object] = [None, *NUMBERS]
CALLS = [
    *calls(
        System, lambda w: w.system, attach=("none",), attach_device=(None,),
        attach_ram_disk=(1 << 20,), add_page_file=("none",),
        unmount=("C:",), mount=("C:",), verify=("C:",), resize=("Z:", 1 << 20), explain=(1,),
        say=("line", {0: TEXTS}),
    ),
    *calls(
        Volume, lambda w: w.volume, open=("a", "rb"), open_=("new", "w", "utf-8"),
        read_bytes=("a",), write_bytes=("b", b"x", 1.0, {1: [b"", b"x"], 2: WALL}),
        create_bytes=("b", b"x", 1.0, {1: [b"", b"x"], 2: WALL}), open_beside=("a",),
        set_modified=("d", 1.0, {1: NUMBERS}), stat=("a", {0: [""]}),
        exists=("a", {0: TEXTS}), is_dir=("a", {0: TEXTS}), entries=("", {0: [""]}),
        walk=("", None, {0: [""], 1: REPORT}), mkdir=("b",), remove=("a",),
        rmdir=("d",), rmtree=("d", None, {0: [""], 1: REPORT}), rename=("d", "e"),
        set_attributes=("d", "r", "h", {1: [""], 2: [""]}), check=(None, {0: REPORT}),
        set_label=("new", {0: [""]}), set_serial=(1,),
    ),
    *calls(
        File, lambda w: w.file, read=(1, {0: [None, *NUMBERS]}),
        readinto=(bytearray(2), {0: [b""]}), readline=(1, {0: [None, *NUMBERS]}),
        readlines=(1, {0: [None, *NUMBERS]}), write=(b"x", {0: [b"", b"x"]}),
        writelines=([b"x"], {0: EMPTY}), seek=(0, 0), truncate=(1, {0: [None]}),
        set_modified=(1.0, {0: NUMBERS}), try_read=(1, {0: NUMBERS}),
        try_write=(b"x", {0: [b"", b"x"]}), advise=(1,), reserve=(1,),
    ),
    *calls(
        OpenedFile, lambda w: w.file.core, read=(0, 1, {0: NUMBERS, 1: NUMBERS}),
        read_into=(0, memoryview(bytearray(1)), {0: NUMBERS, 1: [b""]}),
        write=(0, b"x", {1: [b"", b"x"]}), truncate=(1,), grow=(1,),
        set_modified=(1.0, {0: NUMBERS}), try_read=(0, 1, {0: NUMBERS, 1: NUMBERS}),
        try_write=(0, b"x", {0: NUMBERS, 1: [b"", b"x"]}), advise=(1,), reserve=(1,),
    ),
    *calls(
        MountedVolume, lambda w: w.volume.core, open=("a",), stat=("a", {0: [""]}),
        entries=("", {0: [""]}), make_directory=("b",), remove=("a",),
        remove_directory=("d",), rename=("d", "e"), set_modified=("d", 1.0, {1: NUMBERS}),
        set_attributes=("d", "r", "h", {1: [""], 2: [""]}), check=(None, {0: REPORT}),
        set_label=("new", {0: [""]}), set_serial=(1,), unlock=(None,),
        watch_space=(1, 1), unwatch=(None, {0: HOSTILE}),
    ),
    *calls(
        ImageDisk, lambda w: w.disk, resize=(4 << 20,), submit=([FLUSH],), insert=("none",),
    ),
    *calls(RamDisk, lambda w: w.ram_disk, submit=([FLUSH],)),
    *calls(RawFile, lambda w: RawFile(w.disk), grow=(1,)),
    *calls(
        MemoryManager, lambda w: w.system.memory,
        allocate_contiguous=(1, {0: [2**63, 10**400, 10**5000]}), free_contiguous=(1, 1),
        explain=(1,),
    ),
    *calls(
        Scheduler, lambda w: w.system.scheduler, run=(None,), spawn=(None, "name", {1: HOSTILE}),
        serve=(None, "name", {1: HOSTILE}),
        start=(None, "name", {1: HOSTILE}), sleep=(0.0, {0: SOON}),
        wait=(Event(), 0.0, {1: SOON}), pump=(0.0, {0: SOON}),
    ),
]  # fmt: skip

# the executive's own classes and methods, which nobody calls from outside: why, and which
INTERNAL = {
    "a part of address spaces, called by them with pages that they have looked up, for "
    "each page of a bulk call": (
        "PageTables PrivatePages Vads Vad View Pattern Bulk Commitment SoftMmu Eviction "
        "Lifetimes Roster Allocations Stretch "
        "Replacement Policy DefaultPager PageTableFormat PageFiles"
    ),
    "frames by number, for the parts of the memory manager: a check here would be paid for "
    "each fault": (
        "Faults Pageout Donors PhysicalMemory Residency Section.is_locked SegmentTable "
        "TableFrames PfnDatabase WriteBack WriteErrors PageList "
        "StandbyLists FreeFrames Buddy Ram MemoryConditions"
    ),
    "for file systems, which have looked at places and "
    "lengths": "CacheManager Ahead AtOnce ControlBlocks FrameLists LockedPages "
    "SectionSizes Unbuffered Views Writers RegionMap RegionPager MemoryManager.zeros",
    "for the kernel's allocators, which have looked at sizes and "
    "addresses": "PoolBlocks SpecialPool KernelSpace SlabCache",
    "a part of a volume, which has looked at paths and has its "
    "mutex": "Volume.create_whole Volume.is_open Volume.make_many Volume.glance "
    "Volume.read_many "
    "Volume.writing Store Drives Nodes Names Room Writer Fat "
    "FatPlanner Books Search FatTable "
    "FatDirectory FreeSlots Geometry Entry Census KnownNames",
    "for drivers, events, mutexes and traces": "Workers VirtualClock Scheduler.call "
    "Scheduler.make_ready Scheduler.note Scheduler.add Scheduler.remove Scheduler.share "
    "Scheduler.run_specially Sources Timers",
    "called while the system boots": "BootPlan",
    "for who opens a part of an image": "ImageDisk.is_at",
    "for the parts of a space, with pages that they have looked up": (
        "AddressSpace.commit_reserved AddressSpace.gap AddressSpace.undo_write AddressSpace.whole"
    ),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all: every call is checked to leave it as it was."""
    made = World(tmp_path_factory.mktemp("sweep") / "disk.img")
    with made.system:
        yield made
        made.system.check()
        assert made.volume.check() == []


def places(function: Callable[..., object]) -> list[int]:
    """The positions of arguments that are no flags."""
    parameters = [
        p
        for p in inspect.signature(function).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return [at for at, p in enumerate(parameters) if p.annotation not in ("bool", bool)]


def outcome(
    world: World, call: Callable[..., Any], arguments: tuple[object, ...]
) -> StatusError | None:
    """What a call ends in, at once: the error is a sentence of Octavo's."""
    try:
        with within_seconds(3):
            result = call(*arguments)
            if isinstance(result, CoroutineType):
                world.system.scheduler.run(result)
            elif inspect.isgenerator(result):
                deque(result, 0)
            elif isinstance(result, io.IOBase | ImageDisk | RamDisk):
                result.close()
            elif isinstance(result, System):
                result.abandon()
            elif isinstance(result, AbstractContextManager) and not isinstance(result, Volume):
                result.__enter__()
    except StatusError as error:
        longest = max((len(a) for a in arguments if isinstance(a, str)), default=0)
        assert 8 < len(error.text) < 300 + longest, error.text
        assert "Exceeds" not in error.text and "object has no" not in error.text, error.text
        return error
    return None


class Named(NamedTuple):
    """A name of docs/api.md that is called; the arguments are of a world, those that have a right
    value by position.
    """

    module: str
    name: str
    arguments: Callable[[World], tuple[object, ...]]
    right: Right = {}


SIZE = 8 << 20
PRINT: Callable[[str], None] = deque[str](maxlen=1).append
BOOT: tuple[object, ...] = (
    "8M",
    [],
    "x86-64",
    "pc-6g",
    False,
    1,
    True,
    None,
    "nt",
    None,
    None,
    437,
    False,
)
SEEDS: list[object] = [None, -1, 2**63]
NAMED = [
    Named(
        "octavo",
        "boot",
        lambda w: BOOT,
        {0: [None], 1: [[]], 5: SEEDS, 7: [None], 9: [None], 10: [None]},
    ),
    Named(
        "octavo",
        "System",
        lambda w: (BOOT[0], *BOOT[2:4], *BOOT[5:]),
        {0: [None], 3: SEEDS, 5: [None], 7: [None], 8: [None], 11: [None]},
    ),
    Named("octavo", "open_image", lambda w: ("none", True, "8M", 437), {2: [None]}),
    Named(
        "octavo.images",
        "FileDisk",
        lambda w: ("file", io.BytesIO(bytes(4096)), w.system.scheduler, True),
        {0: TEXTS},
    ),
    Named("octavo.images", "ImageDisk", lambda w: (w.other, w.system.scheduler, True)),
    Named("octavo.images", "RamDisk", lambda w: ("disk", 4096, w.system.memory), {0: TEXTS[:1]}),
    Named("octavo.images", "plan_volume", lambda w: (SIZE, 0, 0, 2)),
    Named(
        "octavo.images",
        "make_fat",
        lambda w: (
            BufferDisk("new", bytearray(1 << 20)),
            w.system.cache,
            plan_volume(1 << 20),
            "LABEL",
            True,
        ),
        {3: TEXTS[:1]},
    ),
    Named(
        "octavo.machines", "compute_layout", lambda w: (w.system.plan.arch, 1 << 16, 1 << 16, 512)
    ),
    Named("octavo.machines", "load_firmware_map", lambda w: ("pc-6g",)),
    Named(
        "octavo.machines",
        "plan_boot",
        lambda w: (load_firmware_map("pc-6g"), "x86-64", SIZE, False),
        {2: [None]},
    ),
    Named("octavo.policies", "Policy", lambda w: ("lru", 5, 5)),
    Named("octavo.policies", "Policy.replay", lambda w: (Policy("lru", 5, 5), np.arange(9))),
    Named("octavo.reports", "Shell", lambda w: (w.system, print, None), {2: [None]}),
    Named("octavo.reports", "Shell.run", lambda w: (Shell(w.system, PRINT), "ver"), {1: TEXTS}),
    Named("octavo.reports", "Shell.execute", lambda w: (Shell(w.system, PRINT), "ver"), {1: TEXTS}),
    Named("octavo.reports", "cache_report", lambda w: (w.system,)),
    Named("octavo.reports", "memory_report", lambda w: (w.system,)),
    Named(
        "octavo.testing",
        "BufferDisk",
        lambda w: ("disk", bytearray(512), False, False),
        {0: TEXTS[:1], 1: [b""]},
    ),
    Named("octavo.testing", "BytesPager", lambda w: (w.system.scheduler, bytearray(9))),
    Named(
        "octavo.testing",
        "DiskModel",
        lambda w: (0.0, 0.0, 1.0),
        {0: [1.5], 1: [1.5], 2: [1.5, 2**63, 10**400, 10**5000]},
    ),
    Named("octavo.testing", "FaultyDevice", lambda w: (w.ram_disk, lambda verb, number: False)),
    Named("octavo.testing", "ModelledDisk", lambda w: (w.ram_disk, w.system.scheduler, FLASH)),
    Named("octavo.testing", "RecordingDevice", lambda w: (w.ram_disk,)),
    Named("octavo.vm", "make_profile", lambda w: ("nt", "lru", 4), {1: [None], 2: [None]}),
    Named("octavo.vm", "reference", lambda w: (4096, 1), {0: [2**63]}),
]
NOT_CALLED = {  # names of docs/api.md with nothing to sweep: why, and which
    "made by calls that are swept, and swept by its "
    "methods": "File Volume AddressSpace KernelMemory",
    "an enumeration or an exception, as Python makes them": (
        "Status StatusError PoolError SlabError MemoryKind Access Advice Allocate "
        "Attribute CopyStrategy Free Inherit Lock MemoryType OutOfMemory PageState"
        " Protect Return Op"
    ),
    "a record, which is looked at by whoever takes it": "BootPlan FirmwareMap FirmwareRange "
    "MemoryInformation Profile Frames Request",
    "a class to derive from, or what a parameter must be": "Device ExternalPager Plan",
    "a value, or a call without arguments": "__version__ recorded_maps NAMES FLASH HARD_DISK "
    "EXECUTE READ WRITE",
}


def of_module(entry: Named) -> Any:
    """What is called."""
    return attrgetter(entry.name)(import_module(entry.module))


@pytest.mark.parametrize("entry", NAMED, ids=lambda e: e.name)
def test_each_argument_of_what_the_documents_name(entry: Named, world: World) -> None:
    """Each argument alone, the others being right; which they are is tried first."""
    call, tried = of_module(entry), 0
    world.prepare()
    with world.file:
        assert entry.name == "open_image" or outcome(world, call, entry.arguments(world)) is None
    for at in places(call)["." in entry.name :]:  # self is no argument
        for value in HOSTILE:
            world.prepare()
            given, before = entry.arguments(world), world.books()
            with world.file:
                error = outcome(world, call, (*given[:at], value, *given[at + 1 :]))
                fine = is_one_of(value, entry.right.get(at, []))
                names = f"{entry.name}, argument {at}, {shown(value)}"
                assert fine or (error is not None and world.books() == before), (
                    f"{names}: {printable(error.text) if error else 'was taken'}"
                )
            tried += 1
    assert tried >= len(HOSTILE)


def test_every_name_of_the_documents_is_looked_at() -> None:
    """Each is called above, or there is a reason."""
    reasons = {name for names in NOT_CALLED.values() for name in names.split()}
    called = {entry.name.split(".")[0] for entry in NAMED}
    assert not reasons & called
    assert reasons | called == {name for names in DOCUMENTED.values() for name in names}


KEYS = [
    [1, 2],
    [1.0],
    np.array([1.0]),
    np.array([[1]]),
    np.array(5),
    np.array(["x"]),
    np.arange(3, dtype=np.uint64),
    np.arange(3, dtype=np.int32),
    np.array([-1]),
]


@pytest.mark.parametrize("name", NAMES)
def test_keys_that_are_no_row_of_int64_are_not_replayed(name: str) -> None:
    """Those that are may be large, few, or taken from among others."""
    for keys in KEYS:
        with pytest.raises(StatusError, match="a replay"):
            Policy(name, 5, 5).replay(keys)  # type: ignore[arg-type]
    for row in (np.array([], np.int64), np.array([2**62, 2**63 - 1, 2**62]), np.arange(99)[::2]):
        assert Policy(name, 5, 5).replay(row)[0] == len(set(row.tolist()))


def is_one_of(value: object, values: list[object]) -> bool:
    """True for the same value of the same type."""
    return any(value is v or (type(value) is type(v) and value == v) for v in values)


@pytest.mark.parametrize("entry", CALLS, ids=lambda c: f"{c.kind.__name__}.{c.method}")
def test_each_argument_that_cannot_be(entry: Call, world: World) -> None:
    """Each argument alone, the others being right."""
    tried = 0
    for at in places(getattr(entry.kind, entry.method)):
        at -= 1  # self
        if not 0 <= at < len(entry.arguments):
            continue
        for value in HOSTILE:
            world.prepare()
            call, before = getattr(entry.subject(world), entry.method), world.books()
            arguments = (*entry.arguments[:at], value, *entry.arguments[at + 1 :])
            names = f"{entry.kind.__name__}.{entry.method}, argument {at}, {shown(value)}"
            with world.file:
                error = outcome(world, call, arguments)
                fine = is_one_of(value, entry.right.get(at, []))
                assert fine or (error is not None and world.books() == before), (
                    f"{names}: {printable(error.text) if error else 'was taken'}"
                )
            tried += 1
    assert tried >= len(HOSTILE)


def octavos(world: World, heap: KernelMemory) -> dict[type, object]:
    """One of each class of Octavo's that public attributes lead to, from the system, a space and a
    file.
    """
    space = world.system.virtual.create("space")
    section = world.system.scheduler.run(world.system.virtual.sections.create(1 << 16, 4))
    space.map(section)
    seen: dict[int, object] = {}  # alive, so that no other thing gets its id
    found: dict[type, object] = {}
    pending: deque[object] = deque([world.system, space, world.file, world.ram_disk, heap])
    while pending:
        thing = pending.popleft()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
        if isinstance(thing, dict):
            pending.extend([*list(thing)[:9], *list(thing.values())[:9]])
        elif isinstance(thing, list | tuple | set):
            pending.extend(list(thing)[:9])
        elif type(thing).__module__.startswith("octavo") and not isinstance(thing, enum.Enum):
            found.setdefault(type(thing), thing)
            pending.extend(getattr(thing, name) for name in dir(thing) if not name.startswith("_"))
    world.system.virtual.destroy(space)
    world.system.virtual.sections.close(section)
    return found


def bound(method: Any) -> tuple[str, str]:
    """The class and the name of a method."""
    return (
        (type(method.__self__).__name__, method.__name__)
        if isinstance(method, MethodType)
        else (method.__name__, "__init__")
    )


def test_every_public_method_is_looked_at(world: World) -> None:
    """Each that takes something is called by one of the three sweeps, or is the executive's own:
    for a reason, and one that is needed.
    """
    world.prepare()
    heap = world.system.kernel
    heap.nonpaged.allocate(100, "Test")
    made = heap.caches.create("thing", 64)
    made.allocate()
    heap.stacks.allocate(4096)
    spaces = SpaceWorld()
    internal = {name for names in INTERNAL.values() for name in names.split()}
    swept = (
        {(c.kind.__name__, c.method) for c in CALLS}
        | {bound(c.call(spaces)) for c in CALLS_OF_SPACES}
        | {bound(c.call(heap)) for c in CALLS_OF_HEAP}
    )
    needed = set()
    found = octavos(world, heap)
    world.file.close()
    assert {System, Volume, File, OpenedFile, SectionObjects, RamDisk} <= found.keys()
    for kind, thing in found.items():
        for name in dir(kind):
            method = getattr(kind, name)
            if (
                name.startswith("_")
                or not inspect.isfunction(method)
                or places(method) in ([], [0])
                or (kind.__name__, name) in swept
            ):
                continue
            reasons = {kind.__name__, f"{kind.__name__}.{name}"} & internal
            assert reasons, f"{kind.__name__}.{name} of {thing} is called by no sweep"
            needed |= reasons
    assert internal == needed, f"reasons for nothing: {internal - needed}"
