"""Hostile arguments to the kernel's own memory: each public call, each of its arguments, each value
that it cannot be.

The call ends at once, in StatusError INVALID_PARAMETER, and nothing has changed. A number that is
only too large, or an address where nothing is, may end in a status (or a PoolError or SlabError,
which names it) that says so.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

import octavo
from octavo.arguments import hexed, named, shown, whole
from octavo.heap.kernelmemory import KernelMemory
from octavo.heap.pool import Pool, PoolError, Quota
from octavo.heap.poolpages import RegionPages
from octavo.heap.slab import SlabCache, SlabCaches, SlabError
from octavo.heap.specialpool import SpecialPool
from octavo.heap.stacks import KernelStacks
from octavo.heap.systemptes import SystemPtes
from octavo.machine.abi import PAGE_SIZE
from octavo.status import Status, StatusError

NUMBERS: list[object] = [
    0,
    -1,
    -8,
    -(10**400),
    1 << 31,
    1 << 63,
    (1 << 64) - 1,
    1 << 64,
    10**400,
    10**5000,
]
OTHERS: list[object] = [
    None,
    True,
    False,
    1.0,
    float("nan"),
    float("inf"),
    "",
    "8",
    "\0",
    "٣",
    b"8",
    [],
    [1],
    (1,),
    {},
    {1},
    object(),
    int,
]
TOO_MUCH = (
    Status.NO_MEMORY,
    Status.INSUFFICIENT_RESOURCES,
    Status.QUOTA_EXCEEDED,
    Status.ACCESS_VIOLATION,
    Status.NOT_MAPPED_VIEW,
    Status.CONFLICTING_ADDRESSES,
)
FAR = 0xFFFFF88100000000  # where nothing is


class Call(NamedTuple):
    """A call by its name, what is given to it when all is right, and which values are right, too,
    by position.
    """

    name: str
    arguments: Callable[[KernelMemory], tuple[object, ...]]
    call: Callable[[KernelMemory], Callable[..., object]]
    right: dict[int, list[object]] = {}


def nothing(data: object) -> None:
    """A constructor, or a handler, that does nothing."""


def cache_of(kernel: KernelMemory) -> SlabCache:
    """The cache that is there from the beginning."""
    return kernel.caches.caches["thing"]


def object_of(kernel: KernelMemory) -> int:
    """An object that is allocated."""
    return kernel.objects[0]  # type: ignore[attr-defined, no-any-return]


BIG: list[object] = [n for n in NUMBERS if isinstance(n, int) and n > 0]
TEXTS: list[object] = ["", "8", "\0", "٣"]

PLACES: list[object] = [
    0,
    1 << 31,
    1 << 63,
    (1 << 64) - 1,
]  # addresses, some of which can be mapped

CALLS = [
    Call("SystemPtes", lambda k: (100, 33), lambda k: SystemPtes, {0: BIG, 1: []}),
    Call("reserve", lambda k: (1,), lambda k: k.ptes.reserve, {0: BIG}),  # 0: there are none
    Call("release", lambda k: (40, 1), lambda k: k.ptes.release),
    Call(
        "RegionPages",
        lambda k: (k.space, FAR, 0, 9, "pool", 0),
        lambda k: RegionPages,
        {1: [0, *BIG], 2: [0], 3: [0, *BIG], 5: [0, *BIG]},
    ),
    Call("pages.allocate", lambda k: (1,), lambda k: k.paged.pages.allocate, {0: BIG}),
    Call("pages.free", lambda k: (FAR, 1), lambda k: k.paged.pages.free),
    Call("Pool", lambda k: ("pool", k.paged.pages, 16, 1), lambda k: Pool, {3: [1]}),
    Call(
        "pool.allocate",
        lambda k: (24, "Test", None, 0),
        lambda k: k.nonpaged.allocate,
        {0: [0], 1: ["8"], 2: [None], 3: [0]},
    ),
    Call(
        "pool.free",
        lambda k: (next(iter(k.nonpaged.live)), "Test", 0),
        lambda k: k.nonpaged.free,
        {1: ["", "Test"], 2: [0]},
    ),
    Call(
        "pool.leaks",
        lambda k: ({},),
        lambda k: k.nonpaged.leaks,
        {0: [None, {}, 0, False, "", [], float("0")]},
    ),
    Call("Quota", lambda k: ("q", 5), lambda k: Quota, {1: NUMBERS}),
    Call(
        "special",
        lambda k: (8, "over"),
        lambda k: SpecialPool(k.space, k.ptes, FAR).allocate,
        {0: BIG},
    ),
    Call("SlabCaches", lambda k: (k.physical, 1), lambda k: SlabCaches, {1: [1]}),
    Call(
        "create",
        lambda k: ("new", 64, 8, None, False),
        lambda k: k.caches.create,
        {0: TEXTS, 3: [None, int], 4: [*NUMBERS, *OTHERS]},
    ),
    Call("destroy", lambda k: ("nope",), lambda k: k.caches.destroy),
    Call("object", lambda k: (object_of(k),), lambda k: cache_of(k).object),
    Call("slab.allocate", lambda k: (0,), lambda k: cache_of(k).allocate, {0: [0]}),
    Call("slab.free", lambda k: (object_of(k), 0), lambda k: cache_of(k).free, {1: [0]}),
    Call(
        "stacks.allocate",
        lambda k: (PAGE_SIZE, 0, "s"),
        lambda k: k.stacks.allocate,
        {1: [0], 2: TEXTS},
    ),
    Call("stacks.free", lambda k: (None,), lambda k: k.stacks.free),
    Call("back", lambda k: (FAR, 1, 1), lambda k: k.space.back, {0: PLACES, 1: [0]}),
    Call("space.release", lambda k: (FAR, 1, 1), lambda k: k.space.release, {1: [0]}),
    Call("map", lambda k: (FAR, []), lambda k: k.space.map, {0: PLACES, 1: [[], [1]]}),
    Call("unmap", lambda k: (FAR, 1), lambda k: k.space.unmap, {1: [0]}),
    Call(
        "handle",
        lambda k: (FAR, FAR + 1, nothing),
        lambda k: k.space.handle,
        {0: [1 << 31, 1 << 63], 1: [(1 << 64) - 1, 1 << 64], 2: [int]},
    ),
    Call("forget", lambda k: (FAR,), lambda k: k.space.forget),
    Call("touch", lambda k: (FAR,), lambda k: k.space.touch),
    Call("read", lambda k: (next(iter(k.nonpaged.live)), 8), lambda k: k.space.read, {1: [0]}),
    Call(
        "write", lambda k: (next(iter(k.nonpaged.live)), b"x"), lambda k: k.space.write, {1: [b"8"]}
    ),
    *(
        Call(f"{name}.reap", lambda k: (1,), lambda k, part=part: part(k).reap, {0: [0, *BIG]})  # type: ignore[misc]
        for name, part in {
            "cache": cache_of,
            "caches": lambda k: k.caches,
            "stacks": lambda k: k.stacks,
            "pages": lambda k: k.paged.pages,
            "kernel": lambda k: k,
        }.items()
    ),
]


@pytest.fixture
def kernel() -> Iterator[KernelMemory]:
    """Some of everything on a booted machine; a call that takes longer than a second is one that
    does not end.
    """

    def late(number: int, frame: object) -> None:
        raise TimeoutError("the call does not end")

    signal.signal(signal.SIGALRM, late)
    with octavo.boot(memory="16M", seed=1) as system:
        made = system.kernel
        made.nonpaged.allocate(100, "Test")
        made.paged.allocate(100, "Test")
        cache = made.caches.create("thing", 64)
        made.objects = [cache.allocate(), cache.allocate()]  # type: ignore[attr-defined]
        made.stacks.allocate(PAGE_SIZE)
        yield made
        signal.setitimer(signal.ITIMER_REAL, 0)
        system.check()


def books(kernel: KernelMemory) -> list[object]:
    """What a call that fails must leave as it was."""
    pools = [pool.statistics() for pool in (kernel.nonpaged, kernel.paged)]
    ptes = replace(kernel.ptes.statistics(), failures=0)
    caches = {name: cache.statistics() for name, cache in kernel.caches.caches.items()}
    return [
        kernel.physical.available,
        len(kernel.space.tables.tables),
        pools,
        ptes,
        kernel.stacks.statistics(),
        caches,
    ]


def attempt(
    call: Callable[..., Any], arguments: tuple[object, ...], value: object, names: str
) -> None:
    """It fails, in the way that the value deserves."""
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        result = call(*arguments)
    except StatusError as error:
        number = type(value) is int
        assert (
            error.status == Status.INVALID_PARAMETER
            or (number and error.status in TOO_MUCH)
            or "destroy" in names
        ), f"{names}: {error.text}"
        assert len(error.text) < 300 and "\0" not in error.text, f"{names}: {error.text}"
    except (PoolError, SlabError) as error:
        assert type(value) is int or "pool.free" in names, names
        assert len(str(error)) < 300
    else:
        raise AssertionError(f"{names} returned {result!r}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.mark.parametrize("entry", CALLS, ids=lambda c: c.name)
def test_each_argument_that_cannot_be(entry: Call, kernel: KernelMemory) -> None:
    """Each argument alone, the others being right."""
    call = entry.call(kernel)
    arguments = entry.arguments(kernel)
    tried = 0
    for at, good in enumerate(arguments):
        if isinstance(good, str) and entry.name in ("RegionPages", "Pool", "Quota"):
            continue  # a name that is only told
        if not isinstance(good, int | str | bytes | list | dict | type(None)) and not callable(
            good
        ):
            continue  # another object of ours
        for value in [*NUMBERS, *OTHERS]:
            right = entry.right.get(at, [])
            if any(value is r or (type(value) is type(r) and value == r) for r in right):
                continue
            before = books(kernel)
            attempt(
                call,
                (*arguments[:at], value, *arguments[at + 1 :]),
                value,
                f"{entry.name}, argument {at}, {shown(value)}",
            )
            assert books(kernel) == before, f"{entry.name}, argument {at}, {shown(value)}"
            tried += 1
    assert tried >= 10
    kernel.check()


@pytest.mark.parametrize("entry", [c for c in CALLS if c.right], ids=lambda c: c.name)
def test_what_is_right_beside_it(entry: Call, kernel: KernelMemory) -> None:
    """Values that look hostile and are not: they work, or say that there is too much of them, and
    the ledger balances.
    """
    arguments = entry.arguments(kernel)
    for at, values in entry.right.items():
        for value in values:
            if value == "" and entry.name == "pool.free":
                continue
            signal.setitimer(signal.ITIMER_REAL, 1)
            try:
                entry.call(kernel)(*arguments[:at], value, *arguments[at + 1 :])
            except StatusError as error:
                assert error.status in (
                    *TOO_MUCH,
                    Status.INVALID_PARAMETER,
                    Status.OBJECT_NAME_COLLISION,
                    Status.CONFLICTING_ADDRESSES,
                )
                assert not (value == 0 and error.status == Status.INVALID_PARAMETER), error.text
            except (PoolError, SlabError) as error:
                assert "free" in entry.name, error
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            kernel.check()


def test_frames_that_cannot_be_mapped(kernel: KernelMemory) -> None:
    """The first and one beyond the last, with the bounds; those between can be."""
    most = kernel.physical.pfns.frames
    for frame in (0, -1, most):
        with pytest.raises(
            StatusError,
            match=f"a frame cannot be {frame}: a whole number from 1 to {most - 1} is needed",
        ):
            kernel.space.map(FAR, [1, frame])
    for frame in (1, most - 1):
        kernel.space.map(FAR, [frame])
        assert kernel.space.unmap(FAR, 1) == [frame]


def test_a_stack_s_owner_is_needed(kernel: KernelMemory) -> None:
    """Numbers and names free no stack."""
    before = books(kernel)
    for value in [*NUMBERS, *OTHERS, *kernel.stacks.live]:
        with pytest.raises(StatusError, match="is freed and is no stack"):
            kernel.stacks.free(value)  # type: ignore[arg-type]
    assert books(kernel) == before and isinstance(kernel.stacks, KernelStacks)


def test_what_arguments_are_called() -> None:
    """Short, with bounds, in one sentence."""
    assert whole(5, "x", 5, 5) == 5 and whole(10**400, "x") == 10**400 and named("a", "x") == "a"
    assert (shown(10**400), shown(-5), hexed(255), hexed(None)) == (
        "a number of 1329 bits",
        "-5",
        "0xff",
        "None",
    )
    assert len(shown("x" * 1000)) < 40 and len(shown([1] * 1000)) < 60
    for low, high, bounds in ((None, None, ""), (1, None, " from 1 on"), (1, 8, " from 1 to 8")):
        with pytest.raises(
            StatusError, match=f"a size cannot be None: a whole number{bounds} is needed"
        ):
            whole(None, "a size", low, high)
