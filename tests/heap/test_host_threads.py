"""Pools, system PTEs and stacks under several host threads at once, which the interpreter switches
between as often as it can; at the end everything balances.

That each test fails without the lock was tried by hand. With a `make_lock` whose lock does nothing,
89 of 90 runs of the thirty tests before the last failed. With `Scheduler._holding` that never takes
the lock, the one beside the executive did not come to its end with 8 threads (it was stopped after
40 s), and failed in one of six runs before.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from random import Random

import pytest

import octavo
from octavo.heap.kernelmemory import KernelMemory
from octavo.heap.pool import Quota
from octavo.heap.systemptes import SystemPtes
from octavo.machine.abi import PAGE_SIZE
from octavo.machine.paging import FORMATS
from octavo.memory.spaces.addressspace import Allocate
from octavo.status import Status, StatusError
from tests.machines import Machine
from tests.memory.failing import EXPANSION, PLACES

THREADS = (2, 4, 8)
ROOM = (Status.NO_MEMORY, Status.INSUFFICIENT_RESOURCES, Status.QUOTA_EXCEEDED)


@pytest.fixture(autouse=True)
def often() -> Iterator[None]:
    """Another thread's turn comes after a microsecond, and at a call now and then."""
    before, random = sys.getswitchinterval(), Random(1)

    def rest(frame: object, event: str, argument: object) -> None:
        if event == "call" and random.random() < 1 / 60:
            time.sleep(1e-6)

    sys.setswitchinterval(1e-6)
    threading.setprofile(rest)
    yield
    threading.setprofile(None)
    sys.setswitchinterval(before)


def at_once(threads: int, work: Callable[[int], None]) -> None:
    """Runs `work(number)` on so many host threads, which begin together; raises what one raised."""
    start, errors = threading.Barrier(threads), list[BaseException]()

    def run(number: int) -> None:
        start.wait()
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 -- raised again below
            errors.append(error)

    made = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(threads)]
    for thread in made:
        thread.start()
    for thread in made:
        thread.join(60)
        assert not thread.is_alive(), "a thread has not ended"
    if errors:
        raise errors[0]


def churn(
    rounds: int, random: Random, take: Callable[[], object], give: Callable[[object], None]
) -> None:
    """Takes and gives back at random; nothing is kept. What cannot be had is left."""
    held: list[object] = []
    for _ in range(rounds):
        if held and random.random() < 0.5:
            give(held.pop(random.randrange(len(held))))
            continue
        try:
            held.append(take())
        except StatusError as error:
            assert error.status in ROOM, error
    for thing in held:
        give(thing)


def make_kernel(frames: int = 590, expansion: bool = True) -> tuple[Machine, KernelMemory]:
    """A machine with the kernel's own memory."""
    machine = Machine(frames=frames)
    places = {**PLACES, **(EXPANSION if expansion else {})}
    return machine, KernelMemory(machine.memory, FORMATS["x86-64"], places, 8)


def balance(machine: Machine, kernel: KernelMemory) -> None:
    """The ledger; and what is kept can be given back."""
    kernel.check()
    machine.check()
    kernel.nonpaged.trim()
    kernel.reap(1 << 20)
    assert not kernel.nonpaged.live and not kernel.nonpaged.leaks()
    assert kernel.ptes.free == kernel.ptes.count - kernel.ptes.reserved
    kernel.check()
    machine.check()
    machine.scheduler.close()


@pytest.mark.parametrize("threads", THREADS)
def test_system_ptes(threads: int) -> None:
    """No entry is given twice or lost."""
    ptes = SystemPtes(400, 5)
    owner = [0] * 400

    def work(number: int) -> None:
        random = Random(number)

        def take() -> object:
            count = random.randint(1, 20)
            index = ptes.reserve(count)
            if not index:
                raise StatusError(Status.INSUFFICIENT_RESOURCES, "none is left")
            assert not any(owner[index : index + count])
            owner[index : index + count] = [number + 1] * count
            return index, count

        def give(run: object) -> None:
            assert isinstance(run, tuple)
            index, count = run
            assert owner[index : index + count] == [number + 1] * count
            owner[index : index + count] = [0] * count
            assert ptes.release(index, count) == count

        churn(1500, random, take, give)

    at_once(threads, work)
    ptes.check()
    assert ptes.free == 395 and ptes.statistics().clusters == 1


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("cpus", [1, 8], ids=["on one CPU", "on a CPU each"])
def test_pools(threads: int, cpus: int) -> None:
    """What a thread writes into its allocations stays; tags, blocks and pages balance."""
    machine, kernel = make_kernel()
    pool = kernel.nonpaged
    pool.special["Spec"] = "over"

    def work(number: int) -> None:
        random = Random(number)
        cpu = number % cpus
        tag = f"T{number}"

        def take() -> object:
            size = random.choice((1, 8, 60, 200, 1000, 4064, 5000, 13_000))
            special = random.random() < 0.1
            address = pool.allocate(size, "Spec" if special else tag, cpu=cpu)
            pool.space.write(address, bytes([number + 1]) * size)
            return address, size

        def give(thing: object) -> None:
            assert isinstance(thing, tuple)
            address, size = thing
            assert pool.space.read(address, size) == bytes([number + 1]) * size
            pool.free(address, cpu=cpu)

        churn(300, random, take, give)

    at_once(threads, work)
    counts = pool.tags[f"T{threads - 1}"]
    assert counts.allocations == counts.frees > 0 and counts.bytes == 0
    balance(machine, kernel)


@pytest.mark.parametrize("threads", THREADS)
def test_stacks(threads: int) -> None:
    """Stacks that grow, and are zeros when they are given, whoever had them."""
    machine, kernel = make_kernel()
    stacks, space = kernel.stacks, kernel.space

    def work(number: int) -> None:
        random = Random(number)

        def take() -> object:
            stack = stacks.allocate(PAGE_SIZE * random.randint(1, 2), 8 * PAGE_SIZE, f"s{number}")
            try:
                depth = random.randint(1, 8)
                assert not any(space.read(stack.top - PAGE_SIZE, PAGE_SIZE))
                for page in range(1, depth + 1):
                    space.write(stack.top - page * PAGE_SIZE, bytes([number + 1]) * PAGE_SIZE)
            except StatusError:
                stacks.free(stack)
                raise
            return stack, depth

        def give(thing: object) -> None:
            assert isinstance(thing, tuple)
            stack, depth = thing
            for page in range(1, depth + 1):
                data = space.read(stack.top - page * PAGE_SIZE, PAGE_SIZE)
                assert data == bytes([number + 1]) * PAGE_SIZE
            stacks.free(stack)

        churn(60, random, take, give)

    at_once(threads, work)
    balance(machine, kernel)


def taken_by_all(threads: int, take: Callable[[], object]) -> int:
    """How many all have got when nothing is left for any."""
    got = [0] * threads

    def work(number: int) -> None:
        try:
            while take():
                got[number] += 1
        except StatusError as error:
            assert error.status in ROOM, error

    at_once(threads, work)
    return sum(got)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("what", ["pages", "blocks", "PTEs", "stacks", "quota"])
def test_the_last_unit(what: str, threads: int) -> None:
    """Exactly as many succeed as there is room for, ten times in a row."""
    for _ in range(10):
        machine, kernel = make_kernel(expansion=False)
        pool = kernel.nonpaged
        quota = Quota("q", 20 * 1300)
        rooms: dict[str, tuple[int, Callable[[], object]]] = {
            "pages": (8, lambda: pool.allocate(PAGE_SIZE)),  # 8 pages, none behind them
            "blocks": (8 * 4, lambda: pool.allocate(1000)),  # 4 blocks of 63 units in a page
            "PTEs": (200 - 33, lambda: kernel.ptes.reserve(1)),
            "stacks": ((200 - 33) // 5, lambda: kernel.stacks.allocate(4 * PAGE_SIZE)),
            "quota": (20, lambda: pool.allocate(1300, "Quot", quota)),
        }
        room, take = rooms[what]
        assert taken_by_all(threads, take) == room
        kernel.check()
        machine.check()
        machine.scheduler.close()


@pytest.mark.parametrize("threads", THREADS)
def test_beside_the_executive(threads: int) -> None:
    """Pools that grow and shrink while kernel threads take and give up the same frames."""
    machine, kernel = make_kernel()
    pool = kernel.nonpaged
    busy = threading.Event()

    async def press() -> None:
        for _ in range(12):
            base, _ = machine.space.allocate(0, 120 * PAGE_SIZE, Allocate.COMMIT)
            for page in range(120):
                await machine.space.write(base + page * PAGE_SIZE, b"x")
            machine.space.free(base, 0, 0x8000)

    def work(number: int) -> None:
        if not number:
            machine.run(press())
            busy.set()
            return
        random = Random(number)
        while not busy.is_set():
            size = PAGE_SIZE * random.randint(4, 12)
            try:
                pool.free(pool.allocate(size, f"T{number}"))
            except StatusError as error:
                assert error.status in ROOM, error

    at_once(threads, work)
    machine.virtual.destroy(machine.space)
    balance(machine, kernel)


def test_while_the_executive_sleeps() -> None:
    """Its threads all wait: another host thread need not. While one runs, it does."""
    with octavo.boot(memory="16M") as system:
        pool, seen = system.kernel.nonpaged, list[str]()

        async def main() -> None:
            other = threading.Thread(target=lambda: seen.append(hex(pool.allocate(100))))
            other.start()
            other.join(0.05)
            seen.append("works")
            await system.scheduler.sleep(0.5)
            seen.append("slept")
            other.join()

        system.scheduler.run(main())
        assert [seen[0], seen[2]] == ["works", "slept"] and seen[1].startswith("0x")
        pool.free(int(seen[1], 16))
        system.check()
