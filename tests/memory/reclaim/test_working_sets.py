"""Who leaves memory, live: policies decide as in replay, working sets have bounds, profiles page as
their systems do, the worst case is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import octavo
from octavo.machine.abi import PAGE_SIZE
from octavo.machine.mmu import reference
from octavo.machine.mmukernels import READ, WRITE
from octavo.memory.reclaim.balance import OutOfMemory
from octavo.memory.reclaim.conditions import MemoryConditions, low_threshold
from octavo.memory.reclaim.pageout import Pageout
from octavo.memory.reclaim.policies import MODULES, lists
from octavo.memory.reclaim.policies.lists import key_of
from octavo.memory.reclaim.policies.policy import Policy
from octavo.memory.reclaim.profiles import make_profile
from octavo.memory.spaces.addressspace import AddressSpace, Allocate, Free
from octavo.memory.spaces.advice import Advice
from octavo.status import Status, StatusError
from octavo.testing.bufferdisk import BufferDisk
from tests.machines import Machine, MemoryFile, fails
from tests.memory.reclaim.plain import trace
from tests.stores import Store, make

COMMIT = Allocate.COMMIT


def machine_with(policy: str, frames: int) -> Machine:
    """A machine that pages one page at a time by a policy."""
    machine = Machine(frames=frames, profile=make_profile("nt", policy, 1))
    machine.virtual.add_page_file(
        BufferDisk("pagefile", bytearray(600 * PAGE_SIZE))
    )  # it takes no time: nothing ticks
    machine.virtual.eviction.batch = 1
    return machine


def live_victims(policy: str, pages: list[int]) -> tuple[int, list[int]]:
    """(pages that fit, pages that left, in order) of one space that references pages one after the
    other; accessed bits are looked at each time.
    """
    fit = 0
    for capacity in (0, 1):  # a dry run to see how many fit
        machine = machine_with(policy, 90)
        replacement = machine.virtual.replacement
        if capacity:
            replacement.policy.words[lists.CAPACITY] = replacement.policy.capacity = fit
        base, _ = machine.space.allocate(0, 512 * PAGE_SIZE, COMMIT)
        gone: list[int] = []
        choose = replacement.policy.victim

        def watched(
            choose: object = choose,
            machine: Machine = machine,
            gone: list[int] = gone,
            base: int = base,
        ) -> int:
            frame = choose()  # type: ignore[operator]  # the bound method
            gone.append(machine.virtual.replacement.page_of(frame) - base // PAGE_SIZE)
            return int(frame)

        replacement.policy.victim = watched  # type: ignore[method-assign]  # a wrapper that counts
        for page in pages:
            machine.touch(base + page * PAGE_SIZE, WRITE)
            replacement.harvest()
            fit = max(fit, machine.space.pages.resident)
        machine.check()
        machine.scheduler.close()
    return fit, gone


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"clock"}))
def test_live_memory_and_replay_decide_alike(name: str) -> None:
    """The same references: the same pages leave, in the same order (CLOCK goes by frame numbers,
    which live memory deals out otherwise).
    """
    pages = (trace(5, 100, 900) % 200).tolist()
    fit, gone = live_victims(name, pages)
    family, base = 1, 0x10000 // PAGE_SIZE
    keys = np.array([key_of(family, base + page, 0) for page in pages], np.int64)
    _, victims = Policy(name, fit, fit).replay(keys)
    back = {key_of(family, base + page, 0): page for page in range(200)}
    assert len(gone) > 100 and gone == [back[v] for v in victims.tolist() if v >= 0]


def test_accessed_pages_stay_by_the_policy() -> None:
    """With ageing, what is used each second stays; what was not used for longest goes first."""
    machine, _ = make(200)
    base, _ = machine.space.allocate(0, 100 * PAGE_SIZE, COMMIT)
    for page in range(100):
        machine.write(base + page * PAGE_SIZE, b"%d" % page)
    for _ in range(4):
        machine.run(machine.scheduler.sleep(1.01))
        for page in range(0, 100, 3):
            machine.touch(base + page * PAGE_SIZE)
    assert machine.run(machine.virtual.eviction.evict(40)) >= 40
    there = [bool(machine.space.tables.get(base + page * PAGE_SIZE) & 1) for page in range(100)]
    assert all(there[::3]) and sum(there) <= 60
    assert machine.virtual.balance.passes == 4
    machine.check()


def test_minimum_and_maximum() -> None:
    """When memory is short a space over its maximum is trimmed to it; one at its minimum keeps its
    pages; bounds that cannot hold are refused.
    """
    machine, _ = make(400, 1000)
    large, small = machine.space, machine.virtual.create("small")
    pages = {large: 250, small: 60}
    bases = {
        space: space.allocate(0, count * PAGE_SIZE, COMMIT)[0] for space, count in pages.items()
    }
    for space, count in pages.items():
        for page in range(count):
            machine.write(bases[space] + page * PAGE_SIZE, b"%d" % page, space)
    small.set_working_set(60, 100)
    large.set_working_set(0, 120)
    fails(Status.INVALID_PARAMETER, large.set_working_set, 10, 5)
    fails(Status.INVALID_PARAMETER, large.set_working_set, -1)
    fails(Status.INVALID_PARAMETER, large.set_working_set, 100_000)
    machine.run(machine.virtual.balance.balance())
    assert large.pages.resident == 250, "memory is not short"
    other = machine.virtual.create("other")
    base, _ = other.allocate(0, 40 * PAGE_SIZE, COMMIT)
    for page in range(40):
        machine.write(base + page * PAGE_SIZE, b"x", other)
    machine.run(machine.virtual.balance.balance())
    assert large.pages.resident == 120 and small.pages.resident == 60 and large.pages.paged == 130
    more, _ = other.allocate(0, 400 * PAGE_SIZE, COMMIT)
    for page in range(400):
        machine.write(more + page * PAGE_SIZE, b"x", other)
    assert small.pages.resident == 60 and large.pages.resident < 120
    machine.check()
    for space, count in pages.items():
        for page in range(count):
            assert (
                machine.read(bases[space] + page * PAGE_SIZE, 3, space).rstrip(b"\0")
                == b"%d" % page
            )


@pytest.mark.parametrize("kind", ["private", "view", "view twice", "forked"])
@pytest.mark.parametrize(
    "way", ["evict", "trim", "DONTNEED", "SEQUENTIAL", "pressure", "balance", "failing"]
)
def test_a_minimum_is_kept_by_every_way_out(way: str, kind: str) -> None:
    """25 of 40 pages stay in frames, at every moment, whoever wants them to leave; the contents of
    all are kept.
    """
    machine, store = make(160, 600)
    space, virtual = machine.space, machine.virtual
    if kind in ("private", "forked"):
        base, _ = space.allocate(0, 60 * PAGE_SIZE, COMMIT)
    else:
        section = machine.run(virtual.sections.create(60 * PAGE_SIZE))
        base, _ = space.map(section)
    for page in range(40):
        machine.write(base + page * PAGE_SIZE, b"%d" % page)
    if kind == "view twice":
        second, _ = space.map(section)
        for page in range(40):
            machine.touch(second + page * PAGE_SIZE)
    if kind == "forked":
        virtual.fork(space, "child")
    space.set_working_set(25, 30 if way == "balance" else None)
    lowest = [space.pages.staying]
    _use, begin = space.pages._use, space.pages.begin_write

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def watch(*arguments: Any) -> Any:
            result = call(*arguments)
            lowest.append(space.pages.staying)
            return result

        return watch

    space.pages._use, space.pages.begin_write = watched(_use), watched(begin)  # type: ignore[method-assign]
    store.fail_writes = way == "failing"
    if way in ("evict", "failing"):
        machine.run(virtual.eviction.evict(1000))
        machine.run(virtual.eviction.evict(1000))
    elif way == "trim":
        machine.run(virtual.eviction.trim(space, 1000))
    elif way == "DONTNEED":
        machine.run(space.advise(base, 40 * PAGE_SIZE, Advice.DONTNEED))
    elif way == "SEQUENTIAL":
        machine.run(space.advise(base, PAGE_SIZE, Advice.SEQUENTIAL))
        for page in range(60):
            machine.touch(base + page * PAGE_SIZE)
    else:
        other = virtual.create("other")
        more, _ = other.allocate(0, 400 * PAGE_SIZE, COMMIT)
        for page in range(400):
            machine.write(more + page * PAGE_SIZE, b"x", other)
        machine.run(machine.scheduler.sleep(3 if way == "balance" else 0))
    assert min(lowest) >= 25 and space.pages.staying >= 25
    machine.check()
    store.fail_writes = False
    for page in range(40):
        assert machine.read(base + page * PAGE_SIZE, 4).rstrip(b"\0") == b"%d" % page


def test_a_space_that_shrinks_meanwhile_is_not_trimmed_below_its_maximum() -> None:
    """Two are over their maximum; while pages of the first are written the second lets go of some
    itself.
    """
    machine, _ = make(400, 1000)
    spaces = [machine.space, machine.virtual.create("second")]
    bases = [space.allocate(0, 180 * PAGE_SIZE, COMMIT)[0] for space in spaces]
    for space, base, pages in zip(spaces, bases, (180, 170), strict=True):
        for page in range(pages):
            machine.write(base + page * PAGE_SIZE, b"x", space)
        space.set_working_set(0, 100)

    async def both() -> None:
        thread = machine.scheduler.spawn(machine.virtual.balance.balance(), "balance")
        await machine.scheduler.sleep(0.0005)
        spaces[1].free(bases[1], 30 * PAGE_SIZE, Free.DECOMMIT)
        await thread.join()

    machine.run(both())
    assert [space.pages.resident for space in spaces] == [100, 100]
    machine.check()


def test_shared_pages_count_once() -> None:
    """Each space has them in its working set; the frames in use by all are fewer."""
    machine = Machine()
    section = machine.run(machine.virtual.sections.create(10 * PAGE_SIZE))
    for name in ("a", "b", "c"):
        space = machine.virtual.create(name)
        base, _ = space.map(section)
        for page in range(10):
            machine.touch(base + page * PAGE_SIZE, WRITE, space)
    data = machine.virtual.statistics()
    assert data.working_sets == 30 and data.working_set_frames == 10
    machine.check()


def test_low_and_high_memory() -> None:
    """The thresholds are NT's; waiting threads are woken when memory becomes low, and when it is
    high again.
    """
    assert [low_threshold(mib << 8) for mib in (4, 16, 128, 512, 1024, 2048, 32768)] == [
        128,
        400,
        400,
        3472,
        7568,
        10240,
        16384,
    ]
    conditions = MemoryConditions(1000)
    assert conditions.high_memory.signalled and not conditions.low_memory.signalled
    conditions.look(200)
    assert not conditions.high_memory.signalled and not conditions.low_memory.signalled
    machine, _ = make(400)
    events = machine.memory.pageout.conditions
    base, _ = machine.space.allocate(0, 380 * PAGE_SIZE, COMMIT)
    heard: list[str] = []

    async def listen() -> None:
        await events.low_memory.wait()
        heard.append("low")

    thread = machine.scheduler.spawn(listen(), "listener")
    for page in range(380):
        machine.write(base + page * PAGE_SIZE, b"x")
    machine.run(thread.join())
    assert heard == ["low"]
    machine.space.free(base, 0, 0x8000)
    machine.run(machine.scheduler.sleep(1.1))
    assert events.high_memory.signalled and not events.low_memory.signalled
    base, _ = machine.space.allocate(0, 300 * PAGE_SIZE, COMMIT)
    machine.run(
        machine.virtual.run(
            machine.space,
            np.array([reference(base + page * PAGE_SIZE, WRITE) for page in range(300)], np.int64),
        )
    )
    assert not events.high_memory.signalled, "what a kernel takes counts at once"


def out_of_frames(policy: OutOfMemory) -> tuple[Machine, AddressSpace, AddressSpace]:
    """A machine whose page file fails, a large and a small space on it."""
    machine, store = make(150, 1000)
    machine.virtual.balance.out_of_memory = policy
    hog, small = machine.virtual.create("hog"), machine.virtual.create("small")
    base, _ = hog.allocate(0, 400 * PAGE_SIZE, COMMIT)
    store.fail_writes = True
    mine, _ = small.allocate(0, 70 * PAGE_SIZE, COMMIT)
    for page in range(80):
        machine.write(base + page * PAGE_SIZE, b"hog", hog)
    for page in range(70):
        machine.write(mine + page * PAGE_SIZE, b"mine", small)
    return machine, hog, small


def test_out_of_memory_fails_by_default() -> None:
    """Nothing is ended."""
    with pytest.raises(StatusError) as error:
        out_of_frames(OutOfMemory.FAIL)
    assert error.value.status == Status.NO_MEMORY


def test_out_of_memory_ends_the_largest_space_and_says_so() -> None:
    """The small one gets its frames; a reference to the one that ended hears why; protected spaces
    are spared.
    """
    machine, hog, small = out_of_frames(OutOfMemory.END_LARGEST)
    assert machine.virtual.balance.log == [
        "out of memory: hog was ended, which had 80 private pages, and 80 pages in frames, "
        "400 committed"
    ]
    assert hog not in machine.virtual.spaces and small.pages.resident == 70
    with pytest.raises(StatusError, match="out of memory: hog was ended") as error:
        machine.touch(0x10000, READ, hog)
    assert error.value.status == Status.PROCESS_IS_TERMINATING
    machine.check()
    small.protected = True
    base, _ = machine.space.allocate(0, 300 * PAGE_SIZE, COMMIT)
    with pytest.raises(StatusError) as error:
        for page in range(300):
            machine.write(base + page * PAGE_SIZE, b"x")
    assert error.value.status == Status.PROCESS_IS_TERMINATING and small in machine.virtual.spaces
    assert machine.read(0x10000, 4, small) == b"mine"
    machine.check()


def scan(
    profile: str, pages: int, rounds: int, policy: str | None = None
) -> tuple[Machine, MemoryFile]:
    """A machine that has read a mapped file in sequence some times."""
    machine = Machine(frames=200, profile=make_profile(profile, policy))
    file = MemoryFile(machine, bytes(pages * PAGE_SIZE))
    base, _ = machine.space.map(machine.run(machine.virtual.sections.create(0, file=file)))
    for _ in range(rounds):
        for page in range(pages):
            machine.touch(base + page * PAGE_SIZE)
    machine.check()
    return machine, file


def test_profiles() -> None:
    """The same scan of a file: the size of requests (before the reader is steady, and fetched for
    ahead), where pages go that leave, and what is kept when it is larger than memory.
    """
    requests = {name: scan(name, 90, 1)[1].pager.requests for name in ("nt", "mach", "linux")}
    assert {name: max(n for _, n in asked) for name, asked in requests.items()} == {
        "nt": 16,
        "mach": 1,
        "linux": 32,
    }
    machine, _ = scan("mach", 300, 1)
    assert machine.memory.physical.standby.count == 0 and machine.memory.physical.repurposed > 100
    machine, _ = scan("nt", 300, 1)
    assert machine.memory.physical.standby.count > 0
    loop = {
        policy: len(scan("mach", 220, 8, policy)[1].pager.requests)
        for policy in ("lru", "2q", "s3-fifo")
    }
    assert (
        loop["lru"] == 220 * 8 and loop["2q"] < 220 * 7 and loop["s3-fifo"] < 220 * 6
    )  # a loop a little larger than memory
    fails(Status.INVALID_PARAMETER, make_profile, "vms")
    fails(Status.INVALID_PARAMETER, make_profile, "nt", "mru")
    fails(Status.INVALID_PARAMETER, make_profile, "nt", None, 0)
    with octavo.boot(memory="4M", profile="linux", policy="sieve", cluster=8) as system:
        assert system.virtual.cluster == 8 and system.virtual.replacement.policy.name == "sieve"


def test_standby_pages_of_low_priority_go_first() -> None:
    """Whatever came first; a page that is used again leaves its list, whichever it is."""
    machine = Machine(frames=300)
    files = [MemoryFile(machine, bytes(60 * PAGE_SIZE), path=f"file {i}") for i in range(3)]
    made = [machine.run(machine.virtual.sections.create(0, file=file)) for file in files]
    bases = [machine.space.map(section)[0] for section in made]
    fails(Status.INVALID_PARAMETER, machine.virtual.sections.set_priority, made[0], 8)
    for section, priority in zip(made, (7, 5, 1), strict=True):
        machine.virtual.sections.set_priority(section, priority)
    for base in bases:
        machine.run(machine.space.advise(base, 60 * PAGE_SIZE, Advice.WILLNEED))
    assert machine.memory.physical.standby.by_priority() == [0, 60, 0, 0, 0, 60, 0, 60]
    machine.touch(bases[2] + 30 * PAGE_SIZE)
    machine.virtual.sections.set_priority(made[2], 0)
    machine.run(machine.space.advise(bases[2], 60 * PAGE_SIZE, Advice.DONTNEED))
    assert machine.memory.physical.standby.by_priority() == [1, 59, 0, 0, 0, 60, 0, 60]
    machine.check()
    hog, _ = machine.space.allocate(0, 180 * PAGE_SIZE, COMMIT)
    for page in range(180):
        machine.write(hog + page * PAGE_SIZE, b"x")
    low, middle, high = (section.section.resident() for section in made[::-1])
    assert low == 0 and 0 < middle < 60 and high == 60
    machine.check()


def test_external_pages_leave_before_internal_ones() -> None:
    """Mach's rule: while a file's pages can be dropped, private memory is not written to the page
    file.
    """
    machine = Machine(frames=200, profile=make_profile("mach"))
    store = Store(machine.scheduler, 500)
    machine.virtual.add_page_file(store)
    base, _ = machine.space.allocate(0, 60 * PAGE_SIZE, COMMIT)
    for page in range(60):
        machine.write(base + page * PAGE_SIZE, b"mine")
    file = MemoryFile(machine, bytes(600 * PAGE_SIZE))
    view, _ = machine.space.map(machine.run(machine.virtual.sections.create(0, file=file)))
    for page in range(600):
        machine.touch(view + page * PAGE_SIZE)
    assert not store.requests and machine.space.pages.paged == 0
    machine.check()


def test_accessed_bits_in_bulk() -> None:
    """The compiled harvest sees what the interpreted one sees, and the virtual CPUs set the bits
    again.
    """
    found = []
    for compile_from in (1, 1 << 30):
        machine = Machine(frames=600)
        base, _ = machine.space.allocate(0, 400 * PAGE_SIZE, COMMIT)
        for page in range(400):
            machine.touch(base + page * PAGE_SIZE, WRITE)
        import octavo.memory.reclaim.replacement as module

        old, module.COMPILE_FROM = module.COMPILE_FROM, compile_from
        try:
            replacement = machine.virtual.replacement
            first = replacement.harvest()
            refs = np.array(
                [reference(base + page * PAGE_SIZE) for page in range(0, 400, 7)], np.int64
            )
            machine.run(machine.virtual.run(machine.space, refs))
            found.append((first, replacement.harvest(), replacement.harvest()))
        finally:
            module.COMPILE_FROM = old
        order = [replacement.policy.victim() for _ in range(400)]
        found.append((order.index(machine.touch(base) >> 12),) * 3)
    assert found[0] == found[2] == (400, 58, 0) and found[1] == found[3]


def test_pageout_always_finishes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the smallest machines, with a page file that fails now and then: each reference ends, by
    its page or by a sentence, in bounded time.
    """
    calls = 0
    relieve = Pageout.relieve

    async def counted(self: Pageout, needed: int) -> None:
        nonlocal calls
        calls += 1
        await relieve(self, needed)

    monkeypatch.setattr(Pageout, "relieve", counted)
    start, done, failed = time.perf_counter(), 0, 0
    for frames in range(26, 60, 3):
        machine, store = make(frames, 300)
        base, _ = machine.space.allocate(0, 100 * PAGE_SIZE, COMMIT)
        for i in range(200):
            store.fail_writes = i % 50 > 40
            try:
                machine.write(base + i * 37 % 100 * PAGE_SIZE, b"x")
                done += 1
            except StatusError as error:
                assert error.status == Status.NO_MEMORY
                failed += 1
        machine.check()
    assert done > 1500 and failed > 10 and calls > 100 and time.perf_counter() - start < 60
