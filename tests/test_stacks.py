"""System PTEs against a model; kernel stacks: guard, growth, overflow, caching, and what is left when memory runs out."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from octavo.machine.paging import FORMATS
from octavo.machine.ram import PAGE_SIZE
from octavo.memory.kernelspace import KernelSpace
from octavo.memory.physical import PhysicalMemory
from octavo.memory.stacks import MOST_CACHED, STEP, KernelStacks, Stack
from octavo.memory.systemptes import SystemPtes
from octavo.status import Status, StatusError
from tests.test_slab import make_memory

BASE = {"i386": 0xECC00000, "pae": 0xECC00000, "x86-64": 0xFFFFF88000000000, "la57": 0xFFFFF88000000000}


class PtesMachine(RuleBasedStateMachine):
    """The model is the set of entries that are taken."""

    def __init__(self) -> None:
        super().__init__()
        self.ptes = SystemPtes(200, 5)
        self.runs: dict[int, int] = {}

    @rule(count=st.integers(1, 60))
    def reserve(self, count: int) -> None:
        """It succeeds exactly when so many are free in a row."""
        taken = {i for f, n in self.runs.items() for i in range(f, f + n)} | set(range(5))
        possible = any(all(i not in taken for i in range(f, f + count)) for f in range(201 - count))
        index = self.ptes.reserve(count)
        assert bool(index) == possible
        if index:
            assert not taken & set(range(index, index + count))
            self.runs[index] = count

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """Any run, whole."""
        index = data.draw(st.sampled_from(sorted(self.runs)))
        assert self.ptes.release(index) == self.runs.pop(index)

    @invariant()
    def agrees(self) -> None:
        """Tiled, merged, counted."""
        self.ptes.check()
        assert self.ptes.taken == self.runs


TestPtes = PtesMachine.TestCase
TestPtes.settings = settings(max_examples=60, stateful_step_count=40)


def test_exectos_cases() -> None:
    """36: of 22000, 21967 are free, and after any use one cluster. 37: an exact fit leaves its neighbour alone."""
    ptes = SystemPtes(22000)
    assert ptes.free == 21967
    runs = [ptes.reserve(n) for n in (1, 5, 100, 7, 1)]
    for index in (runs[3], runs[0], runs[4], runs[2], runs[1]):
        ptes.release(index)
    assert ptes.statistics() == {"count": 22000, "free": 21967, "clusters": 1, "largest": 21967, "failures": 0}
    ptes = SystemPtes(43, 33)
    high = ptes.reserve(1)  # 42
    middle = ptes.reserve(1)  # 41
    ptes.reserve(1)  # 40
    ptes.release(middle)  # clusters: 33..39 and the single 41
    assert (high, middle) == (42, 41) and ptes.reserve(1) == 41
    ptes.check()
    assert ptes.free == 7 and ptes.taken[42] == 1
    with pytest.raises(StatusError, match="no run begins there"):
        ptes.release(34)


def make_stacks(arch: str = "x86-64", frames: int = 256, ptes: int = 400) -> tuple[PhysicalMemory, KernelStacks]:
    """Stacks on a machine of so many frames."""
    physical = make_memory(frames)
    return physical, KernelStacks(KernelSpace(physical, FORMATS[arch]), SystemPtes(ptes), BASE[arch])


@pytest.mark.parametrize("arch", FORMATS)
def test_a_stack_of_16_kib(arch: str) -> None:
    """35: five PTEs, zeroed, the guard faults, and the counts are restored."""
    physical, stacks = make_stacks(arch)
    stacks.free(stacks.allocate(16384))
    stacks.reap()
    ptes, free = stacks.ptes.free, physical.available
    stack = stacks.allocate(16384, name="thread 7")
    assert ptes - stacks.ptes.free == 5 and free - physical.available == 4
    assert stack.top - stack.limit == 16384 and stacks.space.read(stack.limit, 16384) == bytes(16384)
    stacks.space.write(stack.top - 8, b"returned")
    with pytest.raises(StatusError, match="thread 7: stack overflow at 0x.*its 4 pages below") as error:
        stacks.space.write(stack.limit - 1, b"x")
    assert error.value.status == Status.STACK_OVERFLOW
    with pytest.raises(StatusError, match="nothing is mapped at"):
        stacks.space.touch(stack.top)
    stacks.check()
    physical.check()
    stacks.free(stack)
    with pytest.raises(StatusError, match="nobody has it"):
        stacks.free(stack)
    stacks.reap()
    assert (stacks.ptes.free, physical.available) == (ptes, free)
    physical.check()


def test_growth_in_steps_to_the_limit() -> None:
    """Touching below the committed part commits steps; data above stays; beyond the limit it overflows."""
    physical, stacks = make_stacks()
    stack = stacks.allocate(2 * PAGE_SIZE, 11 * PAGE_SIZE, "deep")
    seen = [stack.committed]
    for page in range(11):
        address = stack.top - (page + 1) * PAGE_SIZE
        stacks.space.write(address, bytes([page]) * 10)
        stacks.check()
        seen.append(stack.committed)
    assert sorted(set(seen)) == [2, 2 + STEP, 2 + 2 * STEP, 11]
    assert [stacks.space.read(stack.top - (p + 1) * PAGE_SIZE, 1)[0] for p in range(11)] == list(range(11))
    with pytest.raises(StatusError, match="deep: stack overflow"):
        stacks.space.touch(stack.limit - PAGE_SIZE)
    stacks.free(stack)
    assert stacks.statistics()["cached"] == 1 and stack.committed == 2
    physical.check()


def test_cached_stacks_are_zeroed_again() -> None:
    """A stack that comes back shows nothing of its last owner; no more than MOST_CACHED are kept."""
    physical, stacks = make_stacks()
    made = [stacks.allocate(PAGE_SIZE) for _ in range(MOST_CACHED + 3)]
    for stack in made:
        stacks.space.write(stack.limit, b"secret")
        stacks.free(stack)
    assert stacks.statistics()["cached"] == MOST_CACHED
    again = stacks.allocate(PAGE_SIZE)
    assert stacks.reused == 1 and stacks.space.read(again.limit, PAGE_SIZE) == bytes(PAGE_SIZE)
    assert stacks.reap() == MOST_CACHED - 1
    stacks.check()
    physical.check()


def test_running_out_of_either() -> None:
    """For every amount of frames, and for few PTEs: the error says which, and nothing is lost."""
    for frames in range(24, 60):
        physical, stacks = make_stacks("x86-64", frames)
        live: list[Stack] = []
        with pytest.raises(StatusError) as error:
            while True:
                live.append(stacks.allocate(3 * PAGE_SIZE, 6 * PAGE_SIZE))
                stacks.space.touch(live[-1].limit)
        assert error.value.status in (Status.NO_MEMORY, Status.INSUFFICIENT_RESOURCES)
        stacks.check()
        physical.check()
        for stack in live:
            stacks.free(stack)
        stacks.reap()
        assert stacks.statistics()["frames"] == 0 and stacks.ptes.statistics()["clusters"] == 1
        stacks.space.close()
        assert physical.available == frames
    _, stacks = make_stacks("x86-64", 256, 40)
    with pytest.raises(StatusError, match="no 11 system PTEs in a row are left; the largest cluster has 7"):
        stacks.allocate(10 * PAGE_SIZE)
    with pytest.raises(StatusError, match="is not possible"):
        stacks.allocate(0)


class StacksMachine(RuleBasedStateMachine):
    """The model is stack -> what was written at each page; touching goes as deep as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.physical, self.stacks = make_stacks("x86-64", 120, 150)
        self.model: dict[Stack, dict[int, bytes]] = {}
        self.next = 0

    @rule(pages=st.integers(1, 6), more=st.integers(0, 12))
    def allocate(self, pages: int, more: int) -> None:
        """Zeroed where it is committed, or an error with nothing taken."""
        try:
            stack = self.stacks.allocate(pages * PAGE_SIZE, (pages + more) * PAGE_SIZE)
        except StatusError as error:
            assert error.status in (Status.NO_MEMORY, Status.INSUFFICIENT_RESOURCES)
            return
        assert self.stacks.space.read(stack.top - pages * PAGE_SIZE, pages * PAGE_SIZE) == bytes(pages * PAGE_SIZE)
        self.model[stack] = {}

    @precondition(lambda self: self.model)
    @rule(data=st.data(), depth=st.integers(0, 20))
    def touch(self, data: st.DataObject, depth: int) -> None:
        """Writes `depth` pages below the top: it works within the limit, unless frames are short; below it overflows."""
        stack = data.draw(st.sampled_from(sorted(self.model, key=lambda s: s.top)))
        depth = min(depth, stack.shape[1])  # the guard; below it lies another stack
        self.next += 1
        value = self.next.to_bytes(4, "little")
        try:
            self.stacks.space.write(stack.top - depth * PAGE_SIZE - 8, value)
        except StatusError as error:
            beyond = depth >= stack.shape[1]
            assert error.status == (Status.STACK_OVERFLOW if beyond else Status.NO_MEMORY)
        else:
            if depth < stack.shape[1]:
                self.model[stack][depth] = value

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        """Any of them."""
        stack = data.draw(st.sampled_from(sorted(self.model, key=lambda s: s.top)))
        self.stacks.free(stack)
        del self.model[stack]

    @rule()
    def reap(self) -> None:
        """No stack is cached then."""
        self.stacks.reap()
        assert not self.stacks.statistics()["cached"]

    @invariant()
    def agrees(self) -> None:
        """What was written is there; pages, guards, PTEs and frames are right."""
        self.stacks.check()
        self.stacks.ptes.check()
        self.physical.check()
        for stack, pages in self.model.items():
            for depth, value in pages.items():
                assert self.stacks.space.read(stack.top - depth * PAGE_SIZE - 8, 4) == value


TestStacks = StacksMachine.TestCase
TestStacks.settings = settings(max_examples=30, stateful_step_count=30)
