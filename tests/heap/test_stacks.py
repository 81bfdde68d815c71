"""System PTEs against a model; kernel stacks: guard, growth, overflow, caching, and what is left
when memory runs out.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from octavo.heap.kernelspace import KernelSpace
from octavo.heap.stacks import MOST_CACHED, STEP, KernelStacks, Stack, StackError
from octavo.heap.systemptes import SystemPtes
from octavo.machine.abi import PAGE_SIZE
from octavo.machine.paging import FORMATS
from octavo.memory.frames.physical import PhysicalMemory
from octavo.memory.spaces.addressspace import Free
from octavo.statistics import SystemPtesStatistics
from octavo.status import Status, StatusError
from tests.machines import Machine, emptied, fails
from tests.memory.memories import make_memory

BASE = {
    "i386": 0xECC00000,
    "pae": 0xECC00000,
    "x86-64": 0xFFFFF88000000000,
    "la57": 0xFFFFF88000000000,
}


@pytest.fixture
def machine() -> Iterator[Machine]:
    """400 frames and one space."""
    yield from emptied(Machine())


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
    """36: of 22000, 21967 are free, and after any use one cluster. 37: an exact fit leaves its
    neighbour alone.
    """
    ptes = SystemPtes(22000)
    assert ptes.free == 21967
    runs = [ptes.reserve(n) for n in (1, 5, 100, 7, 1)]
    for index in (runs[3], runs[0], runs[4], runs[2], runs[1]):
        ptes.release(index)
    assert ptes.statistics() == SystemPtesStatistics(
        count=22000, free=21967, clusters=1, largest=21967, failures=0
    )
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


def make_stacks(
    arch: str = "x86-64", frames: int = 256, ptes: int = 400
) -> tuple[PhysicalMemory, KernelStacks]:
    """Stacks on a machine of so many frames."""
    physical = make_memory(frames)
    return physical, KernelStacks(
        KernelSpace(physical, FORMATS[arch]), SystemPtes(ptes), BASE[arch]
    )


@pytest.mark.parametrize("arch", FORMATS)
def test_a_stack_of_16_kib(arch: str) -> None:
    """35: five PTEs, zeroed, the guard faults, and the counts are restored."""
    physical, stacks = make_stacks(arch)
    stacks.free(stacks.allocate(16384))
    stacks.reap()
    ptes, free = stacks.ptes.free, physical.available
    stack = stacks.allocate(16384, name="thread 7")
    assert ptes - stacks.ptes.free == 5 and free - physical.available == 4
    assert stack.top - stack.limit == 16384 and stacks.space.read(stack.limit, 16384) == bytes(
        16384
    )
    stacks.space.write(stack.top - 8, b"returned")
    with pytest.raises(
        StatusError, match="thread 7: stack overflow at 0x.*its 4 pages below"
    ) as error:
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
    """Touching below the committed part commits steps; data above stays; beyond the limit it
    overflows.
    """
    physical, stacks = make_stacks()
    stack = stacks.allocate(2 * PAGE_SIZE, 11 * PAGE_SIZE, "deep")
    seen = [stack.committed]
    for page in range(11):
        address = stack.top - (page + 1) * PAGE_SIZE
        stacks.space.write(address, bytes([page]) * 10)
        stacks.check()
        seen.append(stack.committed)
    assert sorted(set(seen)) == [2, 2 + STEP, 2 + 2 * STEP, 11]
    assert [stacks.space.read(stack.top - (p + 1) * PAGE_SIZE, 1)[0] for p in range(11)] == list(
        range(11)
    )
    with pytest.raises(StatusError, match="deep: stack overflow"):
        stacks.space.touch(stack.limit - PAGE_SIZE)
    stacks.free(stack)
    assert stacks.statistics().cached == 1 and stack.committed == 2
    physical.check()


def test_cached_stacks_are_zeroed_again() -> None:
    """A stack that comes back shows nothing of its last owner; no more than MOST_CACHED are
    kept.
    """
    physical, stacks = make_stacks()
    made = [stacks.allocate(PAGE_SIZE) for _ in range(MOST_CACHED + 3)]
    for stack in made:
        stacks.space.write(stack.limit, b"secret")
        stacks.free(stack)
    assert stacks.statistics().cached == MOST_CACHED
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
        assert stacks.statistics().frames == 0 and stacks.ptes.statistics().clusters == 1
        stacks.space.close()
        assert physical.available == frames
    _, stacks = make_stacks("x86-64", 256, 40)
    with pytest.raises(
        StatusError, match="no 11 system PTEs in a row are left; the largest cluster has 7"
    ):
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
        assert self.stacks.space.read(stack.top - pages * PAGE_SIZE, pages * PAGE_SIZE) == bytes(
            pages * PAGE_SIZE
        )
        self.model[stack] = {}

    @precondition(lambda self: self.model)
    @rule(data=st.data(), depth=st.integers(0, 20))
    def touch(self, data: st.DataObject, depth: int) -> None:
        """Writes `depth` pages below the top: it works within the limit, unless frames are short;
        below it overflows.
        """
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
        assert not self.stacks.statistics().cached

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


# -- mistakes of callers, the last unit and one beyond ---------------------------------------------


def test_a_stale_stack_is_not_its_next_owners() -> None:
    """One is freed, two gets its addresses: freeing one again says so, and two keeps all it has."""
    physical, stacks = make_stacks()
    one = stacks.allocate(4 * PAGE_SIZE, 8 * PAGE_SIZE, "one")
    stacks.free(one)
    fails(Status.INVALID_PARAMETER, stacks.free, one)
    two = stacks.allocate(4 * PAGE_SIZE, 8 * PAGE_SIZE, "two")
    assert two is not one and two.top == one.top
    stacks.space.write(two.top - 8, b"twotwo!!")
    with pytest.raises(
        StatusError,
        match=f"one: the stack below {one.top:#x} is freed and is not this one's: belongs to two "
        "now",
    ):
        stacks.free(one)
    assert stacks.live == {two.top: two} and one.name == "one" and two.name == "two"
    stacks.space.write(two.limit, b"deep")  # it still grows
    three = stacks.allocate(4 * PAGE_SIZE, 8 * PAGE_SIZE, "three")
    assert three.top != two.top and stacks.space.read(two.top - 8, 8) == b"twotwo!!"
    _, others = make_stacks()
    theirs = others.allocate(4 * PAGE_SIZE, 8 * PAGE_SIZE, "theirs")
    fails(Status.INVALID_PARAMETER, stacks.free, theirs)  # of another machine
    stacks.check()
    stacks.free(two)
    stacks.free(three)
    fails(Status.INVALID_PARAMETER, stacks.free, two)
    stacks.check()
    stacks.reap()
    assert stacks.statistics().frames == 0
    physical.check()


def test_a_stack_written_after_it_was_freed_is_named() -> None:
    """At any byte that is kept: by check, and before it is handed out; where it had grown to,
    nothing is left to be written.
    """
    physical, stacks = make_stacks()
    stack = stacks.allocate(2 * PAGE_SIZE, 8 * PAGE_SIZE, "one")
    stacks.space.write(stack.limit, b"x" * 8 * PAGE_SIZE)
    stacks.free(stack)
    with pytest.raises(StatusError, match="nothing is mapped at"):
        stacks.space.write(stack.top - 2 * PAGE_SIZE - 1, b"!")
    stacks.check()
    for at in (
        stack.top - 1,
        stack.top - PAGE_SIZE,
        stack.top - PAGE_SIZE - 1,
        stack.top - 2 * PAGE_SIZE,
    ):
        stacks.space.write(at, b"!")
        for look in (stacks.check, lambda: stacks.allocate(2 * PAGE_SIZE, 8 * PAGE_SIZE, "two")):
            with pytest.raises(
                StackError,
                match=f"one: the stack below {stack.top:#x} was written at {at:#x} after it was "
                "freed",
            ):
                look()
        assert not stacks.live and stacks.statistics().cached == 1
        stacks.space.write(at, b"\0")
    assert stacks.allocate(2 * PAGE_SIZE, 8 * PAGE_SIZE, "two").top == stack.top
    stacks.check()
    physical.check()


def test_one_byte_too_far() -> None:
    """Below the limit it is the stack's overflow, whatever its depth; over the top the one above is
    named with the writer; nothing is written.
    """
    _, stacks = make_stacks()
    high = stacks.allocate(PAGE_SIZE, 4 * PAGE_SIZE, "high")
    low = stacks.allocate(PAGE_SIZE, name="low")
    assert low.top == high.guard
    for count in range(1, 17):
        with pytest.raises(StatusError, match="low: stack overflow at") as error:
            stacks.space.write(low.limit - count, b"x" * count)
        assert error.value.status == Status.STACK_OVERFLOW
        with pytest.raises(
            StatusError,
            match="high: stack overflow at .*; or low, which ends there, was written past its top",
        ):
            stacks.space.write(low.top, b"x" * count)
        with pytest.raises(StatusError, match="nothing is mapped at"):
            stacks.space.write(high.top, b"x" * count)
    assert stacks.space.read(low.limit, PAGE_SIZE) == bytes(PAGE_SIZE) and high.committed == 1
    assert stacks.overflows == 32 and stacks.grown == 0
    stacks.check()


@pytest.mark.parametrize("ptes", [44, 60, 100])
def test_stacks_to_the_last_system_pte(ptes: int) -> None:
    """Full again and again: what is on them stays, one more takes nothing, one that is freed is had
    again.
    """
    physical, stacks = make_stacks("x86-64", 256, ptes)
    model: dict[Stack, bytes] = {}
    for turn in range(4):
        with pytest.raises(StatusError, match=r"no \d system PTEs in a row are left") as error:
            while True:
                before = (physical.available, stacks.ptes.free)
                stack = stacks.allocate(
                    PAGE_SIZE, (1 + len(model) % 3) * PAGE_SIZE, f"s{len(model)}"
                )
                model[stack] = (len(model) + 16 * turn + 1).to_bytes(8, "little")
                stacks.space.write(stack.limit, model[stack])
        assert (
            error.value.status == Status.INSUFFICIENT_RESOURCES
            and (physical.available, stacks.ptes.free) == before
        )
        stacks.check()
        stacks.ptes.check()
        physical.check()
        assert all(stacks.space.read(s.limit, 8) == data for s, data in model.items())
        for stack in sorted(model, key=lambda s: s.top)[turn % 2 :: 2]:
            stacks.free(stack)
            del model[stack]
        if turn % 2:
            stacks.reap()
    for stack in model:
        stacks.free(stack)
    stacks.reap()
    assert stacks.ptes.statistics().largest == ptes - 33


def test_system_ptes_to_the_last() -> None:
    """Each entry alone, none twice, one beyond is refused and counted; wrong releases change
    nothing.
    """
    ptes = SystemPtes(60, 3)
    got = [ptes.reserve(1) for _ in range(57)]
    assert sorted(got) == list(range(3, 60)) and ptes.reserve(1) == 0 == ptes.free
    assert ptes.failures == 1
    for index in got[::2]:
        assert ptes.release(index, 1) == 1
    assert ptes.reserve(2) == 0
    ptes.check()
    for index in got[1::2]:
        ptes.release(index)
    run = ptes.reserve(57)
    assert run == 3 and ptes.reserve(1) == 0
    before = dict(ptes.taken)
    for index, count, says in (
        (4, 0, "its run has 57 from 3 on: no run begins there"),
        (3, 56, "with 56 in a row and its run has 57 from 3 on"),
        (3, 58, "with 58 in a row"),
        (2, 0, "no run begins there"),
        (60, 0, "no run begins there"),
        (-3, 0, "no run begins there"),
    ):
        with pytest.raises(StatusError, match=says):
            ptes.release(index, count)
        assert ptes.taken == before
        ptes.check()
    assert ptes.release(run, 57) == 57
    with pytest.raises(StatusError, match="no run begins there: it is free"):
        ptes.release(run)
    ptes.check()


# -- stacks of address spaces ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [-1, 0, 1, PAGE_SIZE, 1.5, True, None, "8K", 10**400])
def test_sizes_of_a_space_s_stack_that_cannot_be(size: object, machine: Machine) -> None:
    """A guard and one page are the least; a commit is from 0 to the size. Nothing is kept."""
    with pytest.raises(StatusError) as error:
        machine.space.allocate_stack(size, 0)  # type: ignore[arg-type]
    assert error.value.status in (Status.INVALID_PARAMETER, Status.INVALID_PARAMETER_4)
    fails(Status.INVALID_PARAMETER, machine.space.allocate_stack, 4 * PAGE_SIZE, PAGE_SIZE * 4 + 1)
    if size != 1 and size != PAGE_SIZE and size != 0:
        fails(Status.INVALID_PARAMETER, machine.space.allocate_stack, 4 * PAGE_SIZE, size)
    assert not machine.space.vads.all and machine.virtual.charged == 0 and not machine.space.stacks


@pytest.mark.parametrize("pages", [2, 3, 6])
def test_every_commit_of_a_space_s_stack(pages: int, machine: Machine) -> None:
    """From none to all of it: the first push works, pages and guard are charged, and it grows to
    its second page and no further.
    """
    for commit in range(pages * PAGE_SIZE + 1)[:: PAGE_SIZE // 2]:
        low, top = machine.space.allocate_stack(pages * PAGE_SIZE, commit)
        assert machine.virtual.charged == min(max(-(-commit // PAGE_SIZE), 1) + 1, pages)
        machine.check()
        for page in range(1, pages - 1):
            machine.write(top - page * PAGE_SIZE, page.to_bytes(8, "little"))
            machine.check()
        if pages == 2:
            machine.write(top - 8, b"the only")
        at_first = (
            pages == 2 or commit > (pages - 2) * PAGE_SIZE
        )  # then its guard is the lowest page, and stays there
        fails(Status.STACK_OVERFLOW, machine.touch, low if at_first else low + PAGE_SIZE)
        for page in range(1, pages - 1):
            assert machine.read(top - page * PAGE_SIZE) == page.to_bytes(8, "little")
        machine.space.free(low, 0, Free.RELEASE)
        assert machine.virtual.charged == 0


def test_a_space_s_stack_to_the_last_page_of_commit(machine: Machine) -> None:
    """All of the limit is had, one page more is refused at once or when it grows, and keeps neither
    charge nor addresses.
    """
    space, limit = machine.space, machine.virtual.limit
    for beyond in (1, 2, limit):
        fails(
            Status.COMMITMENT_LIMIT,
            space.allocate_stack,
            (limit + 10) * PAGE_SIZE,
            (limit - 1 + beyond if beyond < 3 else limit) * PAGE_SIZE,
        )
        assert not space.vads.all and not space.stacks and machine.virtual.charged == 0
        machine.check()
    _, top = space.allocate_stack((limit + 10) * PAGE_SIZE, (limit - 2) * PAGE_SIZE)
    assert machine.virtual.charged == limit - 1
    machine.write(top - 8, b"at first")
    guard = top - (limit - 1) * PAGE_SIZE
    machine.touch(guard)  # the guard moves down a page: the last of the limit
    machine.write(guard, b"grown by")
    assert machine.virtual.charged == limit
    fails(Status.COMMITMENT_LIMIT, machine.touch, guard - PAGE_SIZE)
    fails(Status.COMMITMENT_LIMIT, space.allocate_stack, 2 * PAGE_SIZE, 0)
    machine.check()
    assert machine.virtual.charged == limit and len(space.vads.all) == 1
    assert (machine.read(top - 8), machine.read(guard)) == (b"at first", b"grown by")
