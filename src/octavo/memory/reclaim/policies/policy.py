"""A replacement policy at work: its array, and its kernels interpreted for single events or
compiled for many.

    policy = Policy("s3-fifo", slots=frames, capacity=pages)
    policy.miss(key); policy.insert(frame, key); policy.touch(frame)
    frame = policy.victim(); policy.remove(frame)
    misses, victims = Policy("lru", 1000, 1000).replay(keys)

Live memory and replay call the same kernels (rule 10; tests/memory/reclaim/test_policies.py shows
that they decide alike). The array takes 48 bytes a frame, and as many for each ghost, once they are
used: what is 0 costs the host nothing.
"""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from octavo.arguments import invalid, label, shown, whole
from octavo.machine.kernels import Ints, compile_kernels, interpreted, need_compiler
from octavo.machine.ram import MAX_FRAMES
from octavo.memory.reclaim.policies import MODULES, lists, replay
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.statistics import PolicyStatistics

COMPILE_FROM = 20_000  # references


class Policy:
    """Policy `name` over frames 1 to `slots`; `capacity` is how many pages its targets and ghosts
    refer to.

    StatusError INVALID_PARAMETER, OBJECT_NAME_INVALID for a name that cannot be shown,
    INSUFFICIENT_RESOURCES when the host has no room for the array.
    """

    def __init__(self, name: str, slots: int, capacity: int) -> None:
        if label(name, "a replacement policy") not in MODULES:
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"there is no replacement policy {name!r}: {', '.join(MODULES)}",
            )
        whole(slots, "the frames of a policy", 0, MAX_FRAMES)
        whole(capacity, "the pages of a policy", 0, MAX_FRAMES)
        self.name, self.capacity = name, capacity
        self.module = import_module(f"octavo.memory.reclaim.policies.{MODULES[name]}")
        ghosts = capacity * getattr(self.module, "GHOSTS_PER_PAGE", 0)
        bits = ghosts.bit_length() + 1  # of a table at least twice as large
        table = lists.BASE + (slots + ghosts + 1) * lists.NODE
        try:
            self.state: npt.NDArray[np.int64] = np.zeros(
                table + (1 << bits if ghosts else 0), np.int64
            )
        except MemoryError:
            raise StatusError(
                Status.INSUFFICIENT_RESOURCES,
                f"the host has no room for policy {name} over {slots} frames and {capacity} pages",
            ) from None
        self.words: Ints = memoryview(self.state.data)
        self.state[[lists.SLOTS, lists.GHOSTS, lists.CAPACITY, lists.TABLE, lists.BITS]] = (
            slots,
            ghosts,
            capacity,
            table,
            bits,
        )
        self._kernels = interpreted(lists, self.module, replay)

    @property
    def compiled(self) -> SimpleNamespace:
        """The compiled kernels."""
        return compile_kernels(lists, self.module, replay)

    @property
    def count(self) -> int:
        """Frames that it chooses from."""
        return self.words[lists.COUNT]

    def has(self, frame: int) -> bool:
        """True when a frame is among them."""
        return self.words[lists.BASE + frame * lists.NODE + lists.LIST] > 0

    def frames(self) -> set[int]:
        """All of them."""
        column = self.state[
            lists.BASE + lists.LIST : lists.BASE
            + (self.words[lists.SLOTS] + 1) * lists.NODE : lists.NODE
        ]
        return set(np.flatnonzero(column).tolist())

    def list_of(self, frame: int) -> int:
        """Which of the policy's lists a frame is on, by its number in the policy's module; -1 for
        none.
        """
        return lists.list_of(self.words, frame)

    def miss(self, key: int) -> None:
        """A page is about to be brought in."""
        self._kernels.miss(self.words, key)

    def insert(self, frame: int, key: int) -> None:
        """A page has come into a frame."""
        assert not self.has(frame)
        self._kernels.insert(self.words, frame, key)

    def touch(self, frame: int) -> None:
        """The page in a frame was used again."""
        assert self.has(frame)
        self._kernels.touch(self.words, frame)

    def look(self, frame: int) -> None:
        """The accessed bit of the page in a frame was found set; for the first time that is the
        fault that brought it.
        """
        at = lists.BASE + frame * lists.NODE
        if self.words[at + lists.FRESH]:
            self.words[at + lists.FRESH] = 0
        else:
            self._kernels.touch(self.words, frame)

    def remove(self, frame: int) -> None:
        """The page in a frame has gone for another reason."""
        assert self.has(frame)
        self._kernels.remove(self.words, frame)

    def victim(self) -> int:
        """The frame that shall leave, which it chooses from no more; 0 when there is none."""
        return int(self._kernels.victim(self.words)) if self.count else 0

    def tick(self) -> None:
        """Time has passed."""
        self._kernels.tick(self.words)

    def replay(self, keys: npt.NDArray[np.int64]) -> tuple[int, npt.NDArray[np.int64]]:
        """Runs references by key, none below 0, over an empty policy; returns the misses, and the
        key that each has evicted (-1: none).

        StatusError INVALID_PARAMETER for keys that are no row of int64, for a policy in use, and
        for more pages than frames; NOT_SUPPORTED for more keys than the interpreter may have, where
        Numba is missing.
        """
        if not isinstance(keys, np.ndarray) or keys.dtype != np.int64 or keys.ndim != 1:
            raise invalid(
                f"the keys of a replay cannot be {shown(keys)}: a NumPy array of int64 in "
                "one dimension is needed"
            )
        if (
            self.count
            or self.capacity < 1
            or self.capacity > self.words[lists.SLOTS]
            or (len(keys) and keys.min() < 0)
        ):
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"{self.name}: a replay needs an empty policy, a capacity within its "
                "frames, and keys from 0 on",
            )
        need_compiler(len(keys), f"{self.name}: a replay")
        bits = max(4, (2 * self.capacity).bit_length())
        index = np.zeros(1 << bits, np.int64)
        victims = np.full(len(keys), -1, np.int64)
        if len(keys) >= COMPILE_FROM:
            misses = self.compiled.replay(self.state, index, bits, keys, 0, len(keys), victims)
        else:
            run = self._kernels.replay
            misses = run(
                self.words,
                memoryview(index.data),
                bits,
                memoryview(keys.data),
                0,
                len(keys),
                memoryview(victims.data),
            )
        return int(misses), victims[: int(misses)]

    def statistics(self) -> PolicyStatistics:
        """Name, frames, and the lengths of its lists."""
        from octavo.statistics import PolicyStatistics

        counts = [self.words[lists.FIRST_LIST + 3 * i + 2] for i in range(lists.LISTS)]
        return PolicyStatistics(policy=self.name, pages=self.count, lists=counts)

    def check(self) -> None:
        """Lists are linked and counted, frames and ghosts are on them once, and the table finds
        every ghost.
        """
        slots, ghosts = self.words[lists.SLOTS], self.words[lists.GHOSTS]
        seen: set[int] = set()
        for which in range(lists.LISTS):
            node, before, length = self.words[lists.FIRST_LIST + 3 * which], 0, 0
            while node:
                at = lists.BASE + node * lists.NODE
                assert (
                    node not in seen
                    and lists.list_of(self.words, node) == which
                    and self.words[at + lists.PREV] == before
                )
                if node > slots:
                    assert lists.ghost_of(self.words, self.words[at + lists.KEY]) == node, (
                        "a ghost is not found"
                    )
                seen.add(node)
                node, before, length = self.words[at + lists.NEXT], node, length + 1
            assert (
                length == self.words[lists.FIRST_LIST + 3 * which + 2]
                and before == self.words[lists.FIRST_LIST + 3 * which + 1]
            )
        assert sum(1 for node in seen if node <= slots) == self.count
        free, node = ghosts - self.words[lists.MADE], self.words[lists.FREE]
        while node:
            free, node = free + 1, self.words[lists.BASE + node * lists.NODE + lists.NEXT]
        assert free + sum(1 for node in seen if node > slots) == ghosts, "ghosts are lost"
