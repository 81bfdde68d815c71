"""The free frames of a machine: one buddy allocator for each zone, and who may fall back to
which.

Zones are given lowest first. A caller names the highest zone that it reaches; frames come
from there first and then from the lower ones, so that the scarce low memory lasts. Whatever is
given back goes to the zone that it lies in.

For the rest of memory this is one allocator with `Buddy`'s interface.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from octavo.machine.abi import State
from octavo.memory.frames.buddy import MAX_ORDER, Buddy, Run
from octavo.memory.frames.buddykernels import FREE
from octavo.memory.frames.pfn import PfnDatabase

if TYPE_CHECKING:
    from octavo.statistics import FreeFramesStatistics

Bounds = tuple[str, int, int]  # name, first frame, end


class FreeFrames:
    """Buddy allocators over `bounds` (ascending, disjoint); without bounds, one over everything."""

    def __init__(
        self, pfns: PfnDatabase, bounds: Sequence[Bounds] = (), max_order: int = MAX_ORDER
    ) -> None:
        self.pfns = pfns
        self.max_order = max_order
        self.zones = [Buddy(pfns, max_order, first, end, name) for name, first, end in bounds] or [
            Buddy(pfns, max_order)
        ]
        self._starts = [first for _, first, _ in bounds] or [0]
        self._states = [zone.state for zone in self.zones]
        self._downward = list(reversed(self.zones))

    @property
    def free_frames(self) -> int:
        """Frames on all free lists."""
        # asked for several times a fault: a sum() over a generator would be three times as slow
        total = 0
        for state in self._states:
            total += state[FREE]
        return total

    @property
    def blocks(self) -> list[int]:
        """Free blocks by order, of all zones."""
        return [sum(column) for column in zip(*(zone.blocks for zone in self.zones), strict=True)]

    def zone_of(self, frame: int) -> Buddy:
        """The zone in which a frame lies."""
        return self.zones[bisect_right(self._starts, frame) - 1]

    def reaching(self, name: str) -> list[Buddy]:
        """The zones that a caller uses who reaches up to the one called `name`, in the order of
        use.
        """
        index = next((i for i, zone in enumerate(self.zones) if zone.name == name), -1)
        return list(reversed(self.zones[: index + 1]))

    def _split(self, first: int, count: int) -> list[tuple[Buddy, int, int]]:
        """A run as (zone, first, count), cut where zones meet."""
        out = []
        while count:
            index = bisect_right(self._starts, first) - 1
            end = self._starts[index + 1] if index + 1 < len(self._starts) else first + count
            size = min(count, end - first)
            out.append((self.zones[index], first, size))
            first += size
            count -= size
        return out

    def add(self, first: int, count: int) -> None:
        """Gives the allocators frames that were ABSENT until now (boot)."""
        for zone, start, size in self._split(first, count):
            zone.add(start, size)

    def free(self, first: int, count: int, was: State) -> None:
        """Gives back `count` frames from `first` on, all in state `was`, without flags or PTE."""
        if len(self.zones) == 1:
            self.zones[0].free(first, count, was)
            return
        for zone, start, size in self._split(first, count):
            zone.free(start, size, was)

    def take(self, count: int, state: State) -> list[Run]:
        """`count` frames in state `state`, as runs, from the highest zone that has any; the
        caller has seen that they are there.
        """
        out: list[Run] = []
        for zone in self._downward:
            have = zone.state[FREE]
            if have >= count:
                return out + zone.take(count, state) if out else zone.take(count, state)
            if have:
                out += zone.take(have, state)
                count -= have
        raise AssertionError("more frames were asked for than are free")

    def take_constrained(
        self,
        count: int,
        state: State,
        below: int = 0,
        align: int = 1,
        boundary: int = 0,
        privileged: bool = False,
    ) -> int:
        """As `Buddy.take_constrained`, from the highest zone that has such a run."""
        for zone in self._downward:
            first = zone.take_constrained(count, state, below, align, boundary, privileged)
            if first:
                return first
        return 0

    def take_block(
        self, order: int, state: State, reaching: str = "", privileged: bool = False
    ) -> int:
        """As `Buddy.take_block`, from the zones up to the one called `reaching` ("": all)."""
        for zone in self.reaching(reaching) if reaching else self._downward:
            first = zone.take_block(order, state, privileged)
            if first:
                return first
        return 0

    def statistics(self) -> FreeFramesStatistics:
        """Free frames and free blocks by order in all, and the figures of each zone."""
        from octavo.statistics import FreeFramesStatistics

        return FreeFramesStatistics(
            free_frames=self.free_frames,
            blocks=self.blocks,
            # scripts know zones by this key
            segments={z.name: z.statistics() for z in self.zones},
        )

    def check(self) -> None:
        """Every zone is right, and together they hold every free frame."""
        for zone in self.zones:
            zone.check()
        assert self.free_frames == self.pfns.counts[State.FREE]
