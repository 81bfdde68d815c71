"""Replacement policies: against plain models of them, against their own invariants, and live memory
against replay.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import OrderedDict, deque
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from octavo.memory.reclaim.policies import MODULES
from octavo.memory.reclaim.policies.policy import Policy
from octavo.status import Status
from tests.machines import fails
from tests.memory.reclaim.plain import arc, trace
from tests.places import ROOT

Model = Callable[[list[int], int], list[int]]  # keys, capacity -> the key that each miss evicts


def fifo(keys: list[int], capacity: int) -> list[int]:
    """The plain form."""
    queue: deque[int] = deque()
    out = []
    for key in keys:
        if key not in queue:
            out.append(queue.popleft() if len(queue) == capacity else -1)
            queue.append(key)
    return out


def lru(keys: list[int], capacity: int) -> list[int]:
    """The plain form."""
    pages: OrderedDict[int, None] = OrderedDict()
    out = []
    for key in keys:
        if key in pages:
            pages.move_to_end(key)
        else:
            out.append(pages.popitem(last=False)[0] if len(pages) == capacity else -1)
            pages[key] = None
    return out


def second_chance(keys: list[int], capacity: int) -> list[int]:
    """The plain form."""
    pages: OrderedDict[int, bool] = OrderedDict()
    out = []
    for key in keys:
        if key in pages:
            pages[key] = True
            continue
        gone = -1
        if len(pages) == capacity:
            while True:
                gone, marked = pages.popitem(last=False)
                if not marked:
                    break
                pages[gone] = False
        out.append(gone)
        pages[key] = False
    return out


def clock(keys: list[int], capacity: int) -> list[int]:
    """The plain form: an array of frames, and a hand."""
    frames: list[list[int]] = []
    hand, out = -1, []
    for key in keys:
        found = next((f for f in frames if f[0] == key), None)
        if found:
            found[1] = 1
        elif len(frames) < capacity:
            frames.append([key, 0])
            out.append(-1)
        else:
            hand = (hand + 1) % capacity
            while frames[hand][1]:
                frames[hand][1] = 0
                hand = (hand + 1) % capacity
            out.append(frames[hand][0])
            frames[hand] = [key, 0]
    return out


def sieve(keys: list[int], capacity: int) -> list[int]:
    """The paper's algorithm on a list, newest first."""
    queue: list[list[int]] = []
    hand: list[int] | None = None
    out = []
    for key in keys:
        found = next((e for e in queue if e[0] == key), None)
        if found:
            found[1] = 1
            continue
        gone = -1
        if len(queue) == capacity:
            at = queue.index(hand) if hand in queue else len(queue) - 1
            while queue[at][1]:
                queue[at][1] = 0
                at = at - 1 if at else len(queue) - 1
            gone = queue[at][0]
            hand = queue[at - 1] if at else None
            del queue[at]
        out.append(gone)
        queue.insert(0, [key, 0])
    return out


def two_q(keys: list[int], capacity: int) -> list[int]:
    """The paper's full version."""
    short: deque[int] = deque()
    ghosts: deque[int] = deque()
    main: OrderedDict[int, None] = OrderedDict()
    out = []
    for key in keys:
        if key in main:
            main.move_to_end(key)
        elif key not in short:
            gone = -1
            if len(short) + len(main) == capacity:
                if len(short) > capacity // 4 or not main:
                    gone = short.popleft()
                    if capacity // 2:
                        while len(ghosts) >= capacity // 2:
                            ghosts.popleft()
                        ghosts.append(gone)
                else:
                    gone = main.popitem(last=False)[0]
            out.append(gone)
            if key in ghosts:
                ghosts.remove(key)
                main[key] = None
            else:
                short.append(key)
    return out


def s3_fifo(keys: list[int], capacity: int) -> list[int]:
    """The paper's algorithm."""
    small, main = OrderedDict[int, int](), OrderedDict[int, int]()
    ghosts: deque[int] = deque()
    out = []
    for key in keys:
        if key in small:
            small[key] = min(3, small[key] + 1)
            continue
        if key in main:
            main[key] = min(3, main[key] + 1)
            continue
        gone = -1
        while gone < 0 and len(small) + len(main) == capacity:
            if small and (len(small) >= max(1, capacity // 10) or not main):
                candidate, uses = small.popitem(last=False)
                if uses >= 2:
                    main[candidate] = 0
                else:
                    gone = candidate
                    while len(ghosts) >= capacity - capacity // 10:
                        ghosts.popleft()
                    ghosts.append(gone)
            else:
                candidate, uses = main.popitem(last=False)
                if uses:
                    main[candidate] = uses - 1
                else:
                    gone = candidate
        out.append(gone)
        if key in ghosts:
            ghosts.remove(key)
            main[key] = 0
        else:
            small[key] = 0
    return out


def mach(keys: list[int], capacity: int) -> list[int]:
    """Active and inactive queues by kind (odd keys: external); a third of all is active; marked
    inactive pages become active.
    """
    active: dict[int, list[int]] = {1: [], 0: []}
    inactive: dict[int, list[int]] = {1: [], 0: []}
    marked: set[int] = set()
    out = []

    def leave() -> int:
        while True:
            while 3 * (len(active[1]) + len(active[0])) > capacity:
                kind = 1 if len(active[1]) >= len(active[0]) else 0
                key = active[kind].pop(0)
                marked.discard(key)
                inactive[kind].append(key)
            kind = 1 if inactive[1] else 0
            key = inactive[kind].pop(0)
            if key not in marked:
                return key
            marked.discard(key)
            active[key & 1].append(key)

    for key in keys:
        if any(key in queue for queue in (*active.values(), *inactive.values())):
            marked.add(key)
            continue
        full = sum(map(len, (*active.values(), *inactive.values()))) == capacity
        out.append(leave() if full else -1)
        active[key & 1].append(key)
    return out


def linux(keys: list[int], capacity: int) -> list[int]:
    """Inactive and active lists by kind (odd keys: file pages), and the refault distance of those
    that come back.
    """
    inactive: dict[int, list[int]] = {1: [], 0: []}
    active: dict[int, list[int]] = {1: [], 0: []}
    marked: set[int] = set()
    shadows: dict[int, int] = {}  # key -> evictions and activations when it left, oldest first
    age = 0
    out = []

    def leave() -> int:
        nonlocal age
        while True:
            files, others = len(inactive[1]) + len(active[1]), len(inactive[0]) + len(active[0])
            kind = 0 if files * 8 <= files + others and others else 1
            while len(inactive[kind]) < len(active[kind]):
                inactive[kind].append(active[kind].pop(0))
                marked.discard(inactive[kind][-1])
            key = inactive[kind].pop(0)
            if key not in marked:
                age += 1
                shadows[key] = age
                if len(shadows) > capacity:
                    del shadows[next(iter(shadows))]
                return key
            marked.discard(key)
            inactive[kind].append(key)

    for key in keys:
        kind = key & 1
        if key in active[kind]:
            marked.add(key)
        elif key in inactive[kind]:
            if key in marked:
                marked.discard(key)
                age += 1
                inactive[kind].remove(key)
                active[kind].append(key)
            else:
                marked.add(key)
        else:
            full = sum(map(len, (*active.values(), *inactive.values()))) == capacity
            out.append(leave() if full else -1)
            left = shadows.pop(key, None)
            if left is not None and age - left <= len(active[0]) + len(active[1]):
                age += 1
                active[kind].append(key)
            else:
                inactive[kind].append(key)
    return out


MODELS: dict[str, Model] = {
    "fifo": fifo,
    "lru": lru,
    "second-chance": second_chance,
    "clock": clock,
    "sieve": sieve,
    "2q": two_q,
    "arc": arc,
    "s3-fifo": s3_fifo,
    "ageing": lru,  # without ticks
    "mach": mach,
    "linux": linux,
}


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=200)
@given(keys=st.lists(st.integers(0, 12), max_size=80), capacity=st.integers(1, 8))
@example(keys=[0, 2, 2, 4, 0, 1, 3, 0, 1], capacity=2)  # ARC: a full T1, and a ghost of T2
@example(keys=[0, 3, 3, 0, 1, 1, 2, 2, 3, 0], capacity=2)  # ARC: the oldest ghost of a full B2
def test_every_policy_decides_as_its_paper_says(name: str, keys: list[int], capacity: int) -> None:
    """The key that each miss evicts, for short traces of all kinds."""
    policy = Policy(name, capacity, capacity)
    misses, victims = policy.replay(np.array(keys, np.int64))
    expected = MODELS[name](keys, capacity)
    assert (misses, victims.tolist()) == (len(expected), expected)
    policy.check()


@pytest.mark.parametrize("name", MODULES)
def test_compiled_and_interpreted_agree(name: str) -> None:
    """Victim for victim, on a trace long enough to be compiled; and with the model where there is
    one.
    """
    keys = trace(1, 300, 21_000)
    misses, victims = Policy(name, 100, 100).replay(keys)
    policy = Policy(name, 100, 100)
    index = np.zeros(1 << 8, np.int64)
    slow = np.full(len(keys), -1, np.int64)
    again = policy._kernels.replay(
        policy.words,
        memoryview(index.data),
        8,
        memoryview(keys.data),
        0,
        len(keys),
        memoryview(slow.data),
    )
    assert (misses, victims.tolist()) == (again, slow[:again].tolist())
    policy.check()
    if name in MODELS:
        assert victims.tolist() == MODELS[name](keys.tolist(), 100)


@pytest.mark.parametrize("name", MODULES)
@settings(max_examples=40)
@given(data=st.data())
def test_frames_come_and_go(name: str, data: st.DataObject) -> None:
    """Frames that leave for other reasons, ticks, evictions without a miss: the invariants hold,
    and no frame is chosen twice.
    """
    policy = Policy(name, 12, 8)
    held: set[int] = set()
    for _ in range(data.draw(st.integers(0, 60))):
        what = data.draw(st.sampled_from(["insert", "touch", "remove", "victim", "tick"]))
        if what == "insert" and len(held) < 12:
            frame = min(set(range(1, 13)) - held)
            key = data.draw(st.integers(0, 40))
            policy.miss(key)
            policy.insert(frame, key)
            held.add(frame)
        elif what in ("touch", "remove") and held:
            frame = data.draw(st.sampled_from(sorted(held)))
            (policy.touch if what == "touch" else policy.remove)(frame)
            held -= {frame} if what == "remove" else set()
        elif what == "victim":
            frame = policy.victim()
            assert (frame in held) if held else frame == 0
            held.discard(frame)
        elif what == "tick":
            policy.tick()
        policy.check()
        assert policy.count == len(held) and all(policy.has(f) == (f in held) for f in range(1, 13))


def test_what_they_are_for() -> None:
    """A loop larger than memory: LRU and FIFO miss always, S3-FIFO and ARC do not; after a scan, 2Q
    and SIEVE still have what is hot.
    """
    loop = np.tile(np.arange(110, dtype=np.int64), 60)
    rates = {name: Policy(name, 100, 100).replay(loop)[0] / len(loop) for name in MODULES}
    assert rates["lru"] == rates["fifo"] == 1.0 and rates["linux"] < 0.9
    keys = trace(3, 300, 19_000)
    misses = {name: Policy(name, 60, 60).replay(keys)[0] for name in MODULES}
    assert (
        misses["s3-fifo"] < misses["lru"] < misses["fifo"]
        and misses["sieve"] < misses["lru"]
        and misses["2q"] < misses["lru"]
    )


def test_wrong_use() -> None:
    """A policy that does not exist, a replay over pages that are there, a capacity of more than its
    frames, keys below 0.
    """
    fails(Status.INVALID_PARAMETER, Policy, "mru", 10, 10)
    policy = Policy("lru", 10, 10)
    policy.insert(3, 1)
    fails(Status.INVALID_PARAMETER, policy.replay, np.zeros(1, np.int64))
    fails(Status.INVALID_PARAMETER, Policy("lru", 5, 10).replay, np.zeros(1, np.int64))
    fails(Status.INVALID_PARAMETER, Policy("lru", 5, 5).replay, np.full(1, -1, np.int64))


WITHOUT_COMPILER = """
import numpy as np
from octavo.machine.mmu import reference
from octavo.machine.abi import PAGE_SIZE
from octavo.memory.reclaim.policies.policy import Policy
from octavo.memory.spaces.addressspace import Allocate
from tests.machines import Machine
from tests.memory.reclaim.plain import arc, trace

keys = trace(1, 300, 21_000)
policy = Policy("arc", 100, 100)
assert not policy.compiled.compiled and policy.replay(keys)[1].tolist() == arc(keys.tolist(), 100)
machine = Machine("i386", 900)
machine.virtual.lifetimes.bulk_pages = 1
base, _ = machine.space.allocate(0, 300 * PAGE_SIZE, Allocate.COMMIT)
refs = np.array([reference(base + page * PAGE_SIZE, 1) for page in range(300)], np.int64)
assert machine.run(machine.virtual.run(machine.space, refs)) == 300
machine.virtual.fork(machine.space, "child")
machine.virtual.replacement.harvest()
machine.check()
"""


def test_without_the_compiler() -> None:
    """With NUMBA_DISABLE_JIT=1 the kernels run as Python, in replay, in bulk faults, forks and
    harvests.
    """
    environment = {
        **os.environ,
        "NUMBA_DISABLE_JIT": "1",
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run([sys.executable, "-c", WITHOUT_COMPILER], env=environment, check=True)
