"""The k-th taking of frames fails, for every k, in every scenario of the kernel's own memory: the
ledger balances to the frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from octavo.heap.kernelmemory import KernelMemory
from octavo.heap.pool import Pool
from octavo.heap.stacks import Stack
from octavo.heap.systemptes import SystemPtes
from octavo.machine.abi import PAGE_SIZE
from octavo.machine.clock import VirtualClock
from octavo.machine.paging import FORMATS
from octavo.machine.ram import Ram
from octavo.memory.manager import MemoryManager
from octavo.status import Status, StatusError
from octavo.threads.scheduler import Scheduler
from tests.memory.failing import EXPANSION, PLACES, Failing


@pytest.fixture
def memory() -> Iterator[MemoryManager]:
    """A machine of 590 frames."""
    scheduler = Scheduler(VirtualClock(), 1)
    yield MemoryManager(Ram(600), 600, [(1, 590)], (591, 5), scheduler)
    scheduler.close()


def stack_that_grows(kernel: KernelMemory) -> Callable[[], None]:
    """A stack, grown to its limit."""
    stack = kernel.stacks.allocate(PAGE_SIZE, 12 * PAGE_SIZE)
    try:
        for page in range(12):
            kernel.space.write(stack.top - (page + 1) * PAGE_SIZE, b"x")
    except StatusError:
        kernel.stacks.free(stack)
        raise
    return lambda: kernel.stacks.free(stack)


def pools_that_expand(kernel: KernelMemory) -> Callable[[], None]:
    """Small and large allocations of both pools, and a special one."""
    kernel.nonpaged.special = {"Spec": "over"}
    got: list[tuple[str, int]] = []

    def undo() -> None:
        for which, address in got:
            getattr(kernel, which).free(address)
        for pool in (kernel.nonpaged, kernel.paged):
            pool.trim()

    try:
        for i in range(12):
            which = "paged" if i % 3 else "nonpaged"
            got.append((which, getattr(kernel, which).allocate(200 + i * 1500, "Data")))
        got.append(("nonpaged", kernel.nonpaged.allocate(50, "Spec")))
    except StatusError:
        undo()
        raise
    return undo


def special_allocations(kernel: KernelMemory) -> Callable[[], None]:
    """Of one page and of several, at either guard, of both pools."""
    got: list[tuple[Pool, int]] = []

    def undo() -> None:
        for pool, address in got:
            pool.free(address)

    try:
        for pool in (kernel.nonpaged, kernel.paged):
            pool.special = {"Over": "over", "Undr": "under"}
            for i, size in enumerate((1, 4096, 4097, 13000)):
                got.append((pool, pool.allocate(size, ("Over", "Undr")[i % 2])))
    except StatusError:
        undo()
        raise
    return undo


def stacks_of_many_shapes(kernel: KernelMemory) -> Callable[[], None]:
    """New ones, ones that were kept, some of which have grown."""
    got: list[Stack] = []

    def undo() -> None:
        for stack in got:
            kernel.stacks.free(stack)

    try:
        for i in range(12):
            got.append(
                kernel.stacks.allocate((i % 3 + 1) * PAGE_SIZE, (i % 4 + 3) * PAGE_SIZE, f"s{i}")
            )
            kernel.space.write(got[-1].limit, b"deep")
            if i % 4 == 3:
                kernel.stacks.free(got.pop(0))
    except StatusError:
        undo()
        raise
    return undo


SCENARIOS = [stack_that_grows, pools_that_expand, special_allocations, stacks_of_many_shapes]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_kth_taking_fails(
    scenario: Callable[[KernelMemory], Callable[[], None]], memory: MemoryManager
) -> None:
    """NO_MEMORY each time, nothing lost, and without the fault the same scenario works on the same
    machine.
    """
    failing = Failing(memory.physical)
    kernel = KernelMemory(memory, FORMATS["x86-64"], PLACES | EXPANSION)
    scenario(kernel)()
    kernel.reap(1 << 20)
    free = memory.physical.available
    failed = 0
    for k in range(1, 100):
        failing.left = k
        try:
            undo = scenario(kernel)
        except StatusError as error:
            assert error.status == Status.NO_MEMORY
            failed += 1
        else:
            undo()
        failing.left = -1
        kernel.check()
        kernel.reap(1 << 20)
        memory.check()
        assert memory.physical.available == free, k
        assert kernel.ptes.statistics().largest == kernel.ptes.free == 200 - 33
        scenario(kernel)()
        kernel.reap(1 << 20)
        assert memory.physical.available == free
    assert failed >= 1  # a stack that cannot grow by a whole step grows by what is needed


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_kth_reservation_of_addresses_fails(
    scenario: Callable[[KernelMemory], Callable[[], None]],
    memory: MemoryManager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """System PTEs and the pools' expansions: nothing that was taken for it is kept, frames
    neither.
    """
    kernel = KernelMemory(memory, FORMATS["x86-64"], PLACES | EXPANSION)
    scenario(kernel)()
    kernel.reap(1 << 20)
    free, left, real = memory.physical.available, -1, SystemPtes.reserve

    def reserve(ptes: SystemPtes, count: int) -> int:
        nonlocal left
        left -= 1
        return 0 if left == 0 else real(ptes, count)

    monkeypatch.setattr(SystemPtes, "reserve", reserve)
    failed = 0
    for k in range(1, 40):
        left = k
        try:
            undo = scenario(kernel)
        except StatusError as error:
            assert error.status in (Status.NO_MEMORY, Status.INSUFFICIENT_RESOURCES)
            failed += 1
        else:
            undo()
        left = -1
        kernel.check()
        kernel.reap(1 << 20)
        memory.check()
        assert memory.physical.available == free, k
        assert kernel.ptes.statistics().largest == kernel.ptes.free == 200 - 33
    assert failed >= 1


def test_frames_that_nobody_accounts_for_are_found_by_check(memory: MemoryManager) -> None:
    """One more under the name of each part: its check says whose it is."""
    kernel = KernelMemory(memory, FORMATS["x86-64"], PLACES | EXPANSION)
    cache = kernel.caches.create("thing", 64)
    cache.allocate()
    far = 0xFFFFF90000000000
    for holder in ("nonpaged pool", "paged pool", "special pool", "stacks", "slab thing"):
        number = next(i for i, name in enumerate(memory.pfns.holders) if name.endswith(holder))
        kernel.space.back(far, 1, number)
        with pytest.raises(
            AssertionError, match=rf"{holder.removeprefix('slab ')}.*|\d frames are held"
        ):
            kernel.check()
        for other in range(1, len(memory.pfns.holders)):
            if other != number:
                with pytest.raises(StatusError, match=f"is given back and is held by .*{holder}"):
                    kernel.space.release(far, 1, other)
        kernel.space.release(far, 1, number)
        kernel.check()


@pytest.mark.parametrize("ptes", [0, 1, 33, -5, None])
def test_kernel_memory_that_cannot_be_keeps_nothing(ptes: object, memory: MemoryManager) -> None:
    """Too few system PTEs, or no number of them: not a frame, nor a table."""
    places = PLACES | {"system PTEs": (PLACES["system PTEs"][0], ptes)}
    free = memory.physical.available
    with pytest.raises(StatusError) as error:
        KernelMemory(memory, FORMATS["x86-64"], places)  # type: ignore[arg-type]
    assert error.value.status == Status.INVALID_PARAMETER and memory.physical.available == free
    memory.check()


def test_making_the_kernel_memory_fails_whole(memory: MemoryManager) -> None:
    """At any taking of a frame while pools and tables are made: every frame is back."""
    free = memory.physical.available
    failing = Failing(memory.physical)
    for k in range(1, 30):
        failing.left = k
        try:
            kernel = KernelMemory(memory, FORMATS["x86-64"], PLACES | EXPANSION)
        except StatusError:
            assert memory.physical.available == free
            memory.check()
        else:
            assert failing.left > 0
            kernel.check()
            return
    raise AssertionError("it never went through")
