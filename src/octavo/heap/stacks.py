"""Kernel stacks: any size, a guard page below, growth by steps, and a word when they overflow.

    low address                                                            high address
    | guard: never mapped | reserved for growth ... | committed, zeroed ... |  <- top (exclusive)

A stack has system PTEs for its guard and for all that it may grow to, and frames for what is
committed. Touching a page of the part reserved for growth commits the pages from there up, in whole
steps. Touching the guard is STACK_OVERFLOW: the error says how large the stack was and which one.

Freed stacks are zeroed and kept with their frames, a few of each shape, and handed out again;
`reap` gives them back. One that was written after it was freed is told by `check`, and when it
would be handed out, by the name of its last owner. A `Stack` is for one owner: who gets a kept
stack gets another object, so that one that was freed is never taken for the new owner's.

Source: ExectOS's kpool.cc (16 and 32 KiB, one guard PTE, arbitrary sizes); NT's growing kernel
stacks. Departures: cached; freed frames go to the free lists, where the original put them on the
modified list.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from octavo.arguments import invalid, named, shown, whole
from octavo.heap.hostlock import locked
from octavo.heap.kernelspace import KernelSpace
from octavo.heap.systemptes import SystemPtes
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.memory.frames.physical import ZERO_PAGE
from octavo.status import Status, StatusError
from octavo.threads.workers import HostLock

if TYPE_CHECKING:
    from octavo.statistics import StacksStatistics

STEP = 4  # pages
MOST_CACHED = 8  # of one shape
MOST_PAGES = 1 << 14  # 64 MiB


class StackError(AssertionError):
    """A stack was written after it was freed."""


@dataclass(eq=False)
class Stack:
    """Addresses from `limit`, the lowest it may grow to, up to `top`; `committed` pages below `top`
    have frames.
    """

    name: str
    limit: int
    top: int
    committed: int
    shape: tuple[int, int]  # pages at first, pages at most
    frames: list[int] = field(default_factory=list)  # the highest page's first

    @property
    def guard(self) -> int:
        """Address of the guard page."""
        return self.limit - PAGE_SIZE


class KernelStacks:
    """The stacks of one machine, at system PTEs of the region that begins at `base`."""

    def __init__(self, space: KernelSpace, ptes: SystemPtes, base: int) -> None:
        self.space, self.ptes, self.base = space, ptes, base
        self.lock: HostLock = space.lock
        self.holder = space.physical.pfns.new_holder("kernel stacks")
        self.live: dict[int, Stack] = {}  # by top
        self.cached: dict[tuple[int, int], list[Stack]] = {}
        self.made = self.reused = self.grown = self.overflows = 0

    @locked
    def allocate(self, size: int, most: int = 0, name: str = "stack") -> Stack:
        """A zeroed stack of `size` bytes that may grow to `most` (less than `size`: not at all),
        both rounded up to pages.

        StatusError INVALID_PARAMETER, INSUFFICIENT_RESOURCES without system PTEs, NO_MEMORY without
        frames; nothing is taken then. StackError for a kept stack that was written after it was
        freed: it stays where it is.
        """
        named(name, "the name of a stack")
        pages = -(-whole(size, f"{name}: the size of a stack") // PAGE_SIZE)
        limit = max(pages, -(-whole(most, f"{name}: the most that a stack grows to") // PAGE_SIZE))
        if not 0 < pages <= limit <= MOST_PAGES or most < 0:
            sizes = f"of {shown(size)} bytes that grows to {shown(most)}"
            raise invalid(f"{name}: a stack {sizes} is not possible: at most {MOST_PAGES} pages")
        kept = self.cached.get((pages, limit))
        if kept:
            self._refuse_written(kept[-1])
            old = kept.pop()
            stack = replace(old, name=name, frames=list(old.frames))
            self.reused += 1
        else:
            stack = self._make(pages, limit, name)
            self.made += 1
        self.live[stack.top] = stack
        self.space.handle(stack.guard, stack.top, lambda address: self._fault(stack, address))
        return stack

    def _make(self, pages: int, limit: int, name: str) -> Stack:
        index = self.ptes.reserve(limit + 1)
        if not index:
            largest = self.ptes.statistics().largest
            raise StatusError(
                Status.INSUFFICIENT_RESOURCES,
                f"{name}: no {limit + 1} system PTEs in a row are left; the largest "
                f"cluster has {largest}",
            )
        bottom = self.base + (index + 1 << PAGE_SHIFT)
        stack = Stack(name, bottom, bottom + (limit << PAGE_SHIFT), 0, (pages, limit))
        try:
            self._commit(stack, pages)
        except StatusError:
            self.ptes.release(index, limit + 1)
            raise
        return stack

    def _commit(self, stack: Stack, pages: int) -> None:
        """Gives a stack `pages` more pages."""
        frames = self.space.back(
            stack.top - (stack.committed + pages << PAGE_SHIFT), pages, self.holder
        )
        stack.frames += frames[::-1]
        stack.committed += pages

    @locked
    def _fault(self, stack: Stack, address: int) -> None:
        limit = stack.shape[1]
        needed = (stack.top - 1 - address >> PAGE_SHIFT) + 1
        if needed > limit:
            self.overflows += 1
            below = self.live.get(stack.guard)
            other = (
                f"; or {below.name}, which ends there, was written past its top" if below else ""
            )
            text = (
                f"{stack.name}: stack overflow at {address:#x}: its {limit} pages below "
                f"{stack.top:#x} are used up{other}"
            )
            raise StatusError(Status.STACK_OVERFLOW, text)
        steps = min(limit, stack.committed + -(-(needed - stack.committed) // STEP) * STEP)
        try:
            self._commit(stack, steps - stack.committed)
        except StatusError as error:
            if steps == needed or error.status != Status.NO_MEMORY:
                raise
            self._commit(stack, needed - stack.committed)
        self.grown += 1

    @locked
    def free(self, stack: Stack) -> None:
        """Gives a stack back.

        StatusError INVALID_PARAMETER for one that was freed, whoever has its addresses now: nothing
        is changed then.
        """
        if not isinstance(stack, Stack):
            raise invalid(f"{shown(stack)} is freed and is no stack")
        owner = self.live.get(stack.top)
        if owner is not stack:
            now = f"belongs to {owner.name} now" if owner else "nobody has it"
            raise invalid(
                f"{stack.name}: the stack below {stack.top:#x} is freed and is not this "
                f"one's: {now}"
            )
        del self.live[stack.top]
        self.space.forget(stack.guard)
        kept = self.cached.setdefault(stack.shape, [])
        if len(kept) < MOST_CACHED:
            self._shrink(stack, stack.shape[0])
            for frame in stack.frames:
                self.space.physical.clear(frame, 1)
            kept.append(stack)
        else:
            self._destroy(stack)

    def _refuse_written(self, stack: Stack) -> None:
        """StackError for a kept stack that is not zeros any more."""
        for page, frame in enumerate(stack.frames, 1):
            data = bytes(self.space.physical.ram.frame(frame))
            if data != ZERO_PAGE:
                at = stack.top - page * PAGE_SIZE + next(i for i, byte in enumerate(data) if byte)
                raise StackError(
                    f"{stack.name}: the stack below {stack.top:#x} was written at {at:#x} "
                    "after it was freed"
                )

    def _shrink(self, stack: Stack, pages: int) -> None:
        extra = stack.committed - pages
        if extra:
            self.space.release(stack.top - (stack.committed << PAGE_SHIFT), extra, self.holder)
            del stack.frames[pages:]
            stack.committed = pages

    def _destroy(self, stack: Stack) -> None:
        self._shrink(stack, 0)
        self.ptes.release(stack.guard - self.base >> PAGE_SHIFT, stack.shape[1] + 1)

    @locked
    def reap(self, frames: int = 1 << 30) -> int:
        """Gives cached stacks back until `frames` frames are free; returns how many are."""
        whole(frames, "the number of frames", 0)
        done = 0
        for kept in self.cached.values():
            while kept and done < frames:
                done += kept[-1].committed
                self._destroy(kept.pop())
        return done

    @locked
    def statistics(self) -> StacksStatistics:
        """Stacks in use and cached, their frames, and what has happened."""
        from octavo.statistics import StacksStatistics

        kept = [stack for stacks in self.cached.values() for stack in stacks]
        frames = sum(len(s.frames) for s in [*self.live.values(), *kept])
        return StacksStatistics(
            live=len(self.live),
            cached=len(kept),
            frames=frames,
            made=self.made,
            reused=self.reused,
            grown=self.grown,
            overflows=self.overflows,
        )

    @locked
    def check(self) -> None:
        """Every stack's pages lead to its frames, its guard and what it has not grown to lead
        nowhere.

        Those that are kept are zeros (StackError, by name).
        """
        stacks = [*self.live.values(), *(s for kept in self.cached.values() for s in kept)]
        for stack in stacks:
            limit = stack.shape[1]
            assert len(stack.frames) == stack.committed <= limit
            ptes = self.ptes.taken.get(stack.guard - self.base >> PAGE_SHIFT)
            assert ptes == limit + 1, f"{stack.name}: its system PTEs are not its own"
            for page in range(1, limit + 2):
                found = self.space.tables.translate(stack.top - (page << PAGE_SHIFT))
                if page <= stack.committed:
                    right = (
                        found is not None and found.physical == stack.frames[page - 1] << PAGE_SHIFT
                    )
                    assert right, f"{stack.name}: page {page} leads to another frame"
                else:
                    what = "the guard page" if page > limit else "a page that it has not grown to"
                    assert found is None, f"{stack.name}: {what} is mapped"
        for kept in self.cached.values():
            for stack in kept:
                self._refuse_written(stack)
        frames, held = sum(s.committed for s in stacks), self.space.held(self.holder)
        assert held == frames, f"{held} frames are held for stacks that have {frames}"
