"""The k-th taking of frames fails, for every k, in every scenario of the kernel's own memory: the ledger balances to the frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from octavo.machine.clock import VirtualClock
from octavo.machine.paging import FORMATS
from octavo.machine.ram import PAGE_SIZE, Ram
from octavo.memory.buddy import Run
from octavo.memory.kernel import KernelMemory
from octavo.memory.manager import MemoryManager
from octavo.memory.pfn import State
from octavo.memory.physical import PhysicalMemory
from octavo.status import Status, StatusError
from octavo.threads.scheduler import Scheduler

PLACES = {"nonpaged pool": (0xFFFFFA8000000000, 8), "paged pool": (0xFFFFF8A000000000, 64), "system PTEs": (0xFFFFF88000000000, 200)}
EXPANSION = {"nonpaged expansion": (0xFFFFFA8000008000, 64)}


class Failing:
    """Makes the k-th taking of frames fail: `left` calls from now, never while it is negative."""

    def __init__(self, physical: PhysicalMemory) -> None:
        self.left = -1
        self.inside = False
        for name in ("try_take", "try_take_zeroed"):
            setattr(physical, name, self.wrap(getattr(physical, name)))

    def wrap(self, real: Callable[..., list[Run] | None]) -> Callable[..., list[Run] | None]:
        """The same method; what it calls itself is not counted."""

        def take(count: int, state: State, privileged: bool = False) -> list[Run] | None:
            if self.inside:
                return real(count, state, privileged)
            self.left -= 1
            if self.left == 0:
                return None
            self.inside = True
            try:
                return real(count, state, privileged)
            finally:
                self.inside = False

        return take


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


@pytest.mark.parametrize("scenario", [stack_that_grows, pools_that_expand])
def test_every_kth_taking_fails(scenario: Callable[[KernelMemory], Callable[[], None]], memory: MemoryManager) -> None:
    """NO_MEMORY each time, nothing lost, and without the fault the same scenario works on the same machine."""
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
        scenario(kernel)()
        kernel.reap(1 << 20)
        assert memory.physical.available == free
    assert failed >= 1  # a stack that cannot grow by a whole step grows by what is needed


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
