"""Who is asked for pages, and in which order; who waits, and for what; whose error is told."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable

import pytest

from octavo.machine.abi import State
from octavo.machine.clock import VirtualClock
from octavo.machine.ram import Ram
from octavo.memory.frames.physical import RESERVE
from octavo.memory.manager import MemoryManager
from octavo.memory.reclaim import donors
from octavo.memory.reclaim.donors import Donor, Donors, Need, Turn
from octavo.status import Status, StatusError
from octavo.threads.scheduler import Scheduler

CHEAP = [Turn.SPARE, Turn.VIEWS, Turn.KEPT]
OTHERS: list[Turn] = [*CHEAP, Turn.SPACES, Turn.LAST]  # MODIFIED and UNDER_WAY are pageout's own


class Full:
    """A machine all of whose frames are in use; who asks whom is in `log`, and `gives` says who has
    a frame to give.
    """

    def __init__(self) -> None:
        self.scheduler = Scheduler(VirtualClock(), 1)
        self.memory = MemoryManager(Ram(220), 220, [(1, 200)], (210, 2), self.scheduler)
        runs = self.memory.physical.try_take(self.memory.physical.available - RESERVE, State.ACTIVE)
        assert runs is not None
        self.taken = [pfn for first, count in runs for pfn in range(first, first + count)]
        self.log: list[Turn] = []
        self.gives: set[Turn] = set()

    def donor(self, turn: Turn) -> Callable[[int], int | Awaitable[int]]:
        """Somebody who notes that he was asked."""

        def ask(pages: int) -> int:
            self.log.append(turn)
            if turn not in self.gives:
                return 0
            self.gives.discard(turn)
            self.memory.physical.free([self.taken.pop()], State.ACTIVE)
            return 1

        async def wait(pages: int) -> int:
            await self.scheduler.sleep(0.01)
            return ask(pages)

        return wait if turn == Turn.SPACES else ask

    def fill(self, turns: list[Turn]) -> None:
        """Somebody for each of these turns."""
        for turn in turns:
            self.memory.pageout.add(turn, self.donor(turn))

    def relieve(self) -> None:
        """Somebody needs a frame."""
        self.scheduler.run(self.memory.pageout.relieve(1))


def test_the_order_is_that_of_the_table() -> None:
    """What the page says is what the code does: turns ascend, three of them are cheap."""
    rows = re.findall(r"^    ([A-Z_]+)  ", str(donors.__doc__), re.MULTILINE)
    assert rows == [turn.name for turn in sorted(Turn)]
    assert [turn for turn in Turn if turn.cheap] == CHEAP


@pytest.mark.parametrize("seed", range(4))
def test_all_are_asked_in_order_whoever_came_first(seed: int) -> None:
    """However they were added, the cheap ones are asked first, then the others, once each, and
    then there is no memory.
    """
    full, order = Full(), random.Random(seed)
    full.fill(order.sample(OTHERS, len(OTHERS)))
    assert full.memory.pageout.donors.turns() == list(Turn)
    with pytest.raises(StatusError) as caught:
        full.relieve()
    assert caught.value.status == Status.NO_MEMORY
    assert full.log == OTHERS


@pytest.mark.parametrize("giver", OTHERS)
def test_whoever_gives_ends_the_round(giver: Turn) -> None:
    """Nobody behind him is asked: no I/O while views can be given up, no end of a space while
    pages can leave.
    """
    full = Full()
    full.fill(OTHERS)
    full.gives = {giver}
    full.relieve()
    asked = [turn for turn in OTHERS if turn <= giver]
    if giver.cheap:  # cheap ones are asked for more than the frame that is needed
        asked = CHEAP
    assert full.log == asked


def test_each_round_begins_with_the_cheap_ones() -> None:
    """What one has given may be what makes a view one that can be given up."""
    full = Full()
    full.fill([Turn.LAST, Turn.SPACES, Turn.VIEWS])
    full.gives = {Turn.SPACES, Turn.LAST}
    full.scheduler.run(full.memory.pageout.relieve(2))
    views, spaces, last = Turn.VIEWS, Turn.SPACES, Turn.LAST
    assert full.log == [views, spaces, views, spaces, last]


def test_trimming_ahead_of_need_asks_the_cheap_ones_only() -> None:
    """`trim` asks for what is left to be had, and stops when it has enough."""
    asked: list[tuple[Turn, int]] = []

    def of(turn: Turn, most: int) -> Donor:
        def ask(need: Need) -> int:
            asked.append((turn, need.pages))
            return min(need.pages, most)

        return Donor(turn, ask)

    found = Donors()
    for turn, most in ((Turn.LAST, 9), (Turn.KEPT, 50), (Turn.VIEWS, 30), (Turn.SPARE, 5)):
        found.add(of(turn, most))
    assert found.trim(20) == 20
    assert asked == [(Turn.SPARE, 20), (Turn.VIEWS, 15)]
    asked.clear()
    assert found.trim(100) == 85
    assert asked == [(Turn.SPARE, 100), (Turn.VIEWS, 95), (Turn.KEPT, 65)]
    assert found.trim(0) == 0 and len(asked) == 3


def test_a_cheap_one_that_waits_is_refused() -> None:
    """Trimming is done where nothing may wait."""

    async def wait() -> int:
        return 1

    found, waits = Donors(), wait()
    found.add(Donor(Turn.VIEWS, lambda need: waits))
    with pytest.raises(AssertionError, match="VIEWS is not cheap"):
        found.trim(1)
    waits.close()


def test_one_that_takes_pages_is_found() -> None:
    """Who says that he has let go of less than nothing has miscounted."""
    full = Full()
    found = Donors()
    found.add(Donor(Turn.LAST, lambda need: -1))
    with pytest.raises(AssertionError, match="LAST has taken pages"):
        full.scheduler.run(found.ask(Need(1), lambda pages: False))
    found = Donors()
    found.add(Donor(Turn.SPARE, lambda need: -1))
    with pytest.raises(AssertionError, match="SPARE is not cheap"):
        found.trim(1)


def test_transfers_of_others_are_waited_for_before_the_last_resort() -> None:
    """While something is under way nobody is ended; when it has ended in vain, somebody is."""
    full = Full()
    full.fill([Turn.LAST])
    full.gives = {Turn.LAST}
    seen: list[float] = []

    async def transfer() -> None:
        with full.memory.transfers.under_way():
            await full.scheduler.sleep(0.55)
        seen.append(full.scheduler.clock.now())

    began = full.scheduler.clock.now()
    full.scheduler.spawn(transfer(), "transfer")
    full.scheduler.run(full.scheduler.sleep(0.01))
    full.relieve()
    assert seen and full.scheduler.clock.now() >= began + 0.55
    assert full.log == [Turn.LAST]


def test_the_failure_of_the_last_page_out_is_told() -> None:
    """Who gets no frame learns why no page could leave; a page-out that worked since has nothing
    to say.
    """
    full = Full()
    with pytest.raises(StatusError), full.memory.transfers.page_out():
        raise StatusError(Status.IO_DEVICE_ERROR, "the disk is gone")
    with pytest.raises(StatusError, match="cannot be written: the disk is gone"):
        full.relieve()
    with full.memory.transfers.page_out():
        pass
    with pytest.raises(StatusError, match="cannot be written$"):
        full.relieve()
