"""The bookkeeper of pages: each way in and out by itself, what it refuses, and its last units."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from octavo.machine.abi import MODIFIED, SEGMENT_PAGES, WRITING, State
from octavo.machine.clock import VirtualClock
from octavo.machine.ram import Ram
from octavo.memory.frames.pfn import PfnDatabase
from octavo.memory.frames.physical import PhysicalMemory
from octavo.memory.manager import MemoryManager
from octavo.memory.pages.section import VIEW_SIZE, Pins, Section, Segment
from octavo.memory.pages.segmenttable import BASES_IN_FRAME
from octavo.memory.pages.transfers import Transfers
from octavo.status import Status, StatusError
from octavo.testing.bytespager import BytesPager
from octavo.threads.scheduler import Scheduler

FRAMES = 600


class Small:
    """A machine of few frames with one section, whose pages are moved by hand."""

    def __init__(self, frames: int = FRAMES) -> None:
        scheduler = Scheduler(VirtualClock(), 1)
        self.memory = MemoryManager(
            Ram(frames + 8), frames + 8, [(1, frames)], (frames + 1, 6), scheduler
        )
        self.scheduler, self.residency = scheduler, self.memory.residency
        self.physical, self.pfns = self.memory.physical, self.memory.pfns
        self.pins = Pins()
        self.pager = BytesPager(scheduler, bytearray(8 * VIEW_SIZE))
        self.section = Section("s", self.pager, None, 8 * VIEW_SIZE)

    def frames(self, count: int) -> list[tuple[int, int]]:
        """That many active frames."""
        runs = self.physical.try_take(count, State.ACTIVE)
        assert runs is not None
        return runs

    def segment(self, pages: int, mapped: bool = True, index: int = 0) -> Segment:
        """A segment with so many active pages from its first on, mapped, so that they stay so."""
        segment = self.residency.try_map(self.section, index)
        assert segment is not None
        if pages:
            self.residency.insert(segment, 0, self.frames(pages))
        if not mapped:
            self.residency.unmap(segment)
        return segment

    def states(self, segment: Segment, pages: int) -> list[State]:
        """The states of its first pages' frames."""
        entries = self.residency.link[segment.base : segment.base + pages].tolist()
        return [self.pfns.state_of(abs(entry)) for entry in entries]

    def written(self, segment: Segment, first: int, end: int) -> None:
        """Marks pages as modified, as a write does."""
        self.memory.writeback.mark(segment, (1 << end) - (1 << first))


@pytest.fixture(name="small")
def _small() -> Small:
    return Small()


@pytest.mark.parametrize("pages", [1, 3, 7, 8, 9, SEGMENT_PAGES])
def test_a_page_becomes_standby_by_the_end_of_its_use(small: Small, pages: int) -> None:
    """Views, page-table entries and holds: while there is one the page is active, with the last
    one it stands by, and a soft fault brings it back.
    """
    residency, segment = small.residency, small.segment(pages)
    frame = residency.link[segment.base]
    residency.share(segment, frame)
    residency.unmap(segment)
    assert small.states(segment, pages) == [State.ACTIVE] + [State.STANDBY] * (pages - 1)
    with residency.held(segment, 0, pages):
        for i in range(1, pages):
            residency.activate(segment, i)
        assert small.states(segment, pages) == [State.ACTIVE] * pages
        residency.unshare(frame)  # nobody looks at it any more
        assert small.states(segment, 1) == [State.STANDBY]
    assert small.states(segment, pages) == [State.STANDBY] * pages
    small.memory.check()
    assert residency.drop(segment, (1 << SEGMENT_PAGES) - 1) == 0
    assert not residency.segments.all() and not residency.segments.frames
    small.memory.check()


@pytest.mark.parametrize("pages", [1, 2, 7, 8, 9, SEGMENT_PAGES])
@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("apart", [True, False])
def test_many_pages_are_written_as_one_is(
    small: Small, pages: int, mapped: bool, apart: bool
) -> None:
    """In frames that lie in a row or apart, in use or on their list: modified, written, modified by
    half once more, and dropped.
    """
    residency, segment = small.residency, small.segment(0)
    if apart:
        frames = [small.frames(2)[0] for _ in range(pages)]
        residency.insert(segment, 0, [(first, 1) for first, _ in frames])
    else:
        residency.insert(segment, 0, small.frames(pages))
    small.written(segment, 0, pages)
    if not mapped:
        residency.unmap(segment)
        assert small.states(segment, pages) == [State.MODIFIED] * pages
    runs = residency.begin_write(segment, 0, pages)
    assert len(runs) == (pages if apart else 1) and sum(n for _, n in runs) == pages
    idle = State.ACTIVE if mapped else State.TRANSITION
    assert small.states(segment, pages) == [idle] * pages
    written = [pfn for first, n in runs for pfn in range(first, first + n)]
    assert [small.pfns.flags[pfn] for pfn in written] == [WRITING] * pages
    half = (1 << pages // 2) - 1
    assert residency.modify(segment, half) == pages // 2
    residency.end_write(segment, 0, pages)
    flags = [MODIFIED] * (pages // 2) + [0] * (pages - pages // 2)
    assert [small.pfns.flags[pfn] for pfn in written] == flags
    before = small.physical.buddy.free_frames
    assert residency.drop(segment, (1 << SEGMENT_PAGES) - 1) == pages // 2
    assert small.physical.buddy.free_frames == before + pages + (not mapped)  # that of the PTEs
    assert not any(small.pfns.pte[pfn] or small.pfns.flags[pfn] for pfn in written)


def test_a_modified_page_goes_to_its_list_and_by_its_writing_to_standby(small: Small) -> None:
    """Modified, in transition while it is written, and standby by its end; one that is modified
    once more meanwhile is modified still.
    """
    residency, segment = small.residency, small.segment(4)
    small.written(segment, 0, 3)
    residency.unmap(segment)
    assert small.states(segment, 4) == [State.MODIFIED] * 3 + [State.STANDBY]
    runs = residency.begin_write(segment, 0, 3)
    frames = [pfn for first, count in runs for pfn in range(first, first + count)]
    assert small.states(segment, 4) == [State.TRANSITION] * 3 + [State.STANDBY]
    assert (segment.dirty, segment.writing) == (0, 0b111)
    residency.activate(segment, 1)  # somebody looks at one while it is written
    assert residency.modify(segment, 0b110) == 2 and residency.modify(segment, 0b110) == 0
    residency.end_write(segment, 0, 3)
    assert small.states(segment, 4) == [
        State.STANDBY,
        State.ACTIVE,
        State.MODIFIED,
        State.STANDBY,
    ]
    assert [small.pfns.flags[f] & (MODIFIED | WRITING) for f in frames] == [0, MODIFIED, MODIFIED]
    residency.settle(segment, 0, 4)
    assert small.states(segment, 2) == [State.STANDBY, State.MODIFIED]
    residency.check()


def test_a_read_that_fails_leaves_nothing(small: Small) -> None:
    """In transition while they are read; absent again by a failure, with their frames free and the
    segment gone by the end of the hold.
    """
    residency = small.residency
    free = small.physical.available
    segment = small.residency.segments.try_get(small.section, 0)
    assert segment is not None
    with residency.held(segment, 0, 20):
        runs = small.frames(20)
        residency.begin_read(segment, 5, runs)
        assert small.states(segment, 25)[5:] == [State.TRANSITION] * 20
        residency.fail_read(segment, 5, runs)
        assert not segment.used and not any(residency.link[segment.base : segment.base + 128])
    assert small.physical.available == free and not residency.segments.all()
    small.memory.check()


def test_what_a_pager_leaves_out_is_absent(small: Small) -> None:
    """Of pages that were read those that were not supplied go, whichever they are."""
    residency, segment = small.residency, small.segment(0)
    runs = small.frames(10)
    residency.begin_read(segment, 0, runs)
    residency.end_read(segment, 0, runs)
    residency.leave_out(segment, [0, 4, 9])
    assert segment.used == 7
    present = [bool(e) for e in residency.link[segment.base : segment.base + 10].tolist()]
    assert present == [i not in (0, 4, 9) for i in range(10)]
    small.memory.check()


@pytest.mark.parametrize("pages", [1, 7, 8, 40, SEGMENT_PAGES])
def test_a_reader_who_goes_on_leaves_free_frames(small: Small, pages: int) -> None:
    """A clean view that is one run is given up at once, with its segment; nothing else is."""
    residency, segment = small.residency, small.segment(pages)
    free = small.physical.buddy.free_frames
    with segment.pinned():
        assert not residency.abandon(segment)
    with residency.held(segment, 0, 0):
        assert not residency.abandon(segment)
    small.written(segment, pages - 1, pages)
    assert not residency.abandon(segment)
    residency.begin_write(segment, pages - 1, pages)
    assert not residency.abandon(segment)
    residency.end_write(segment, pages - 1, pages)
    residency.share(segment, residency.link[segment.base])
    assert not residency.abandon(segment)
    residency.unshare(residency.link[segment.base])
    assert residency.abandon(segment) and not residency.abandon(segment)
    # the frame of its PTEs has gone, too
    assert small.physical.buddy.free_frames == free + pages + 1
    residency.check()


def test_standby_frames_that_others_get_are_forgotten(small: Small) -> None:
    """Whoever takes a frame takes its page from its segment, in long runs and one by one; the last
    page takes the segment along.
    """
    residency = small.residency
    segments = [small.segment(SEGMENT_PAGES, False, index) for index in range(3)]
    last = small.segment(3, False, 3)
    left = small.physical.available - small.physical.standby.count
    small.frames(left + 2 * SEGMENT_PAGES + 5)
    assert [s.used for s in segments] == [0, 0, SEGMENT_PAGES - 5] and last.used == 3
    assert [s.index for s in residency.segments.all()] == [2, 3]
    residency.check()
    pfn = -residency.link[last.base + 1]
    small.physical.drop_standby(pfn)
    assert last.used == 2 and small.pfns.state_of(pfn) == State.FREE
    residency.check()


def test_frames_without_an_owner_are_not_reused_in_silence() -> None:
    """Physical memory without sections has nobody to ask whose a standby frame was."""
    ram = Ram(64)
    pfns = PfnDatabase(ram, 64, 60)
    pfns.claim(60, 1, State.ACTIVE)
    physical = PhysicalMemory(ram, pfns)
    physical.buddy.add(1, 40)
    runs = physical.try_take(2, State.ACTIVE)
    assert runs is not None
    physical.standby.append(runs[0][0], 1, State.ACTIVE, 5)
    with pytest.raises(AssertionError, match="nobody to own them"):
        physical.drop_standby(runs[0][0])
    physical.forget = lambda first, count: None
    pfns.pte[runs[0][0] + 1] = 77
    physical.standby.append(runs[0][0] + 1, 1, State.ACTIVE, 5)
    with pytest.raises(AssertionError, match="has an owner still"):
        physical.drop_standby(runs[0][0] + 1)


# -- prototype PTEs' last units -------------------------------------------------------------------


def test_eight_segments_have_one_frame_and_the_last_one_gives_it_back(small: Small) -> None:
    """A frame for each eight segments begun; freed with the last of its eight, in whatever order
    they go.
    """
    table = small.residency.segments
    free = small.physical.available
    made = [table.try_get(small.section, index) for index in range(BASES_IN_FRAME + 1)]
    segments = [segment for segment in made if segment is not None]
    assert len(segments) == BASES_IN_FRAME + 1 and table.frames == 2
    assert small.physical.available == free - 2
    assert len({segment.base for segment in segments}) == len(segments)
    for segment in segments[1::2] + segments[::2]:
        assert table.frames
        table.release_if_empty(segment)
    assert not table.frames and not table.all() and not small.section.segments
    assert small.physical.available == free
    small.memory.check()


def test_the_last_frame_serves_for_prototype_ptes_and_the_next_one_is_refused() -> None:
    """Privileged, down to the last frame that is available; then there is no new segment, and
    those that have a frame already are made still.
    """
    small = Small()
    table = small.residency.segments
    runs = small.physical.try_take(small.physical.available - 1, State.ACTIVE, privileged=True)
    assert runs is not None and small.physical.available == 1
    for index in range(BASES_IN_FRAME):
        assert small.residency.try_map(small.section, index) is not None
    assert small.physical.available == 0
    assert table.try_get(small.section, BASES_IN_FRAME) is None
    assert small.residency.try_map(small.section, BASES_IN_FRAME) is None
    assert small.residency.adopt(small.section, BASES_IN_FRAME * SEGMENT_PAGES) is None
    assert len(table.all()) == BASES_IN_FRAME and table.frames == 1
    table.check()


def test_a_segment_that_loses_its_last_page_to_another_ones_ptes_goes() -> None:
    """The frame for a ninth segment's PTEs is the only page of another segment: that one goes, and
    the new one may have its place.
    """
    small = Small()
    segments = [small.segment(1 if i == 7 else 0, i != 7, i) for i in range(BASES_IN_FRAME)]
    frame = -small.residency.link[segments[7].base]
    count = small.physical.available - 1
    assert small.physical.try_take(count, State.ACTIVE, privileged=True) is not None
    small.physical.standby.check()
    assert small.physical.available == 1 and segments[7].used == 1
    ninth = small.residency.try_map(small.section, BASES_IN_FRAME)
    assert ninth is not None and 7 not in small.section.segments
    assert small.pfns.holder[frame] and ninth.base >> 10 == frame  # its PTEs are there now
    small.residency.check()


def test_a_page_that_nobody_asked_for_takes_no_segment_along() -> None:
    """`adopt` without a frame for the page: nothing is left, also when the page was there."""
    small = Small()
    held = small.segment(1)
    assert small.residency.adopt(small.section, 0) is None and held.used == 1
    taken = small.residency.adopt(small.section, 1)
    assert taken == (held, small.residency.link[held.base + 1])
    assert small.pfns.state_of(taken[1]) == State.ACTIVE
    assert small.physical.try_take(small.physical.available - 16, State.ACTIVE) is not None
    assert small.residency.adopt(small.section, 5 * SEGMENT_PAGES) is None
    assert list(small.section.segments) == [0]
    small.residency.check()


# -- with ... --------------------------------------------------------------------------------------


def test_holds_pins_and_transfers_end_by_exceptions(small: Small) -> None:
    """Whatever ends the block: counts are what they were, and pages that nobody uses stand by."""
    residency, segment = small.residency, small.segment(2, False)
    with pytest.raises(KeyboardInterrupt), residency.held(segment, 0, 2):
        residency.activate(segment, 1)
        raise KeyboardInterrupt
    assert not segment.holds and small.states(segment, 2) == [State.STANDBY] * 2
    with pytest.raises(StatusError), segment.pinned():
        assert segment.pins == 1
        raise StatusError(Status.IO_DEVICE_ERROR, "gone")
    assert not segment.pins
    with pytest.raises(ValueError, match="x"), Pins() as pins:
        for _ in range(3):
            pins.pin(segment)
        assert pins[0].pins == 3
        raise ValueError("x")
    assert not segment.pins and not pins
    transfers = Transfers()
    with pytest.raises(StatusError), transfers.under_way(), transfers.page_out():
        assert transfers.count == 2 and not transfers.ended.signalled
        raise StatusError(Status.IO_DEVICE_ERROR, "no disk")
    assert not transfers.count and transfers.ended.signalled
    assert transfers.failure is not None and transfers.failure.text == "no disk"
    with transfers.under_way():  # a page-in says nothing of page-outs
        pass
    assert transfers.failure.text == "no disk"
    with transfers.page_out():
        pass
    assert transfers.failure is None
    small.memory.check()


def test_a_hold_that_ends_takes_its_empty_segment_along(small: Small) -> None:
    """Nested holds: the outer one decides."""
    segment = small.residency.segments.try_get(small.section, 3)
    assert segment is not None
    with small.residency.held(segment, 0, 128):
        with small.residency.held(segment, 0, 128):
            assert segment.holds == 2
        assert small.section.segments == {3: segment}
    assert not small.section.segments and not small.residency.segments.frames


# -- what is refused -------------------------------------------------------------------------------

Step = Callable[[Small, Segment], object]


def _frame(segment: Segment, small: Small, i: int = 0) -> int:
    """The frame of a page."""
    return abs(small.residency.link[segment.base + i])


UNMAP: Step = lambda s, g: s.residency.unmap(g)  # noqa: E731 -- a word for a step
MODIFY: Step = lambda s, g: s.residency.modify(g, 1)  # noqa: E731
WRITE: Step = lambda s, g: s.residency.begin_write(g, 0, 1)  # noqa: E731

REFUSED: dict[str, tuple[str, list[Step]]] = {
    "unmap twice": ("a view ends that is none", [UNMAP, UNMAP]),
    "unmap a pinned one": ("or is worked on", [lambda s, g: g.pinned().__enter__(), UNMAP]),
    "share what stands by": (
        "a page that is not active is shown",
        [UNMAP, lambda s, g: s.residency.share(g, _frame(g, s))],
    ),
    "unshare what nobody shares": (
        "an entry ended that nobody had",
        [lambda s, g: s.residency.unshare(_frame(g, s))],
    ),
    "insert where a page is": (
        "taken twice",
        [lambda s, g: s.residency.insert(g, 1, s.frames(1))],
    ),
    "insert a frame that has a page": (
        "taken twice",
        [lambda s, g: s.residency.insert(g, 100, [(_frame(g, s), 1)])],
    ),
    "insert behind the segment": (
        "more pages come than a segment has",
        [lambda s, g: s.residency.insert(g, SEGMENT_PAGES - 1, s.frames(2))],
    ),
    "read into a frame that is not active": (
        "to be TRANSITION are not ACTIVE",
        [
            lambda s, g: s.residency.begin_read(
                g, 20, s.physical.try_take(1, State.TRANSITION) or []
            )
        ],
    ),
    "end a read of what is not there": (
        "a page that was read has gone",
        [lambda s, g: s.residency.end_read(g, 20, s.frames(1))],
    ),
    "end a read that had not begun": (
        "to be ACTIVE are not TRANSITION",
        [UNMAP, lambda s, g: s.residency.end_read(g, 0, [(_frame(g, s), 1)])],
    ),
    "leave out what is absent": (
        "left out is not active",
        [lambda s, g: s.residency.leave_out(g, [70])],
    ),
    "activate what is active": ("is made active", [lambda s, g: s.residency.activate(g, 0)]),
    "activate what is absent": ("is made active", [lambda s, g: s.residency.activate(g, 90)]),
    "activate what is being read": (
        "is not being written",
        [
            lambda s, g: s.residency.begin_read(g, 20, s.frames(1)),
            lambda s, g: s.residency.activate(g, 20),
        ],
    ),
    "deactivate twice": (
        "not active goes to a list",
        [UNMAP, lambda s, g: s.residency.deactivate(g, _frame(g, s))],
    ),
    "modify what is absent": (
        "absent is modified",
        [lambda s, g: s.residency.modify(g, 1 << 80)],
    ),
    "write what is clean": ("that is not dirty", [WRITE]),
    "write twice at once": ("written twice at once", [MODIFY, WRITE, MODIFY, WRITE]),
    "end a write that had not begun": (
        "had not begun",
        [lambda s, g: s.residency.end_write(g, 0, 1)],
    ),
    "drop what is written": (
        "goes while it is written",
        [MODIFY, WRITE, lambda s, g: s.residency.drop(g, 1)],
    ),
    "drop what is in page tables": (
        "in page tables",
        [
            lambda s, g: s.residency.share(g, _frame(g, s)),
            lambda s, g: s.residency.drop(g, 1),
        ],
    ),
    "lose a page that does not stand by": (
        "not standing by is taken away",
        [lambda s, g: s.physical.forget(_frame(g, s), 1)],
    ),
    "lose pages that do not stand by": (
        "not standing by is taken away",
        [lambda s, g: s.physical.forget(_frame(g, s), 10)],
    ),
    "kernels that take entries away": (
        "has taken entries away",
        [lambda s, g: s.residency.count_shares(g, -1)],
    ),
    "release what has dirty pages": (
        "has pages at work",
        [
            lambda s, g: setattr(g, "used", 0),
            lambda s, g: setattr(g, "mapped", False),
            lambda s, g: setattr(g, "dirty", 1),
            lambda s, g: s.residency.segments.release_if_empty(g),
        ],
    ),
    "end a pin twice": ("a pin ended", [lambda s, g: g.pinned().__exit__(None, None, None)]),
    "end pins that nobody had": (
        "a pin ended",
        [
            lambda s, g: s.pins.pin(g),
            lambda s, g: setattr(g, "pins", 0),
            lambda s, g: s.pins.__exit__(None, None, None),
        ],
    ),
    "end a hold twice": (
        "nobody held",
        [lambda s, g: s.residency.held(g, 0, 0).__exit__(None, None, None)],
    ),
    "end a transfer twice": (
        "had not begun",
        [lambda s, g: s.memory.transfers.under_way().__exit__(None, None, None)],
    ),
    "more clean pages than were dirty": (
        "more pages are clean than were dirty",
        [
            lambda s, g: s.written(g, 0, 2),
            lambda s, g: setattr(g.section, "dirty", 1),
            lambda s, g: s.memory.scheduler.run(s.memory.writeback.purge(g.section, 0)),
        ],
    ),
    "more pages that go than were there": (
        "more pages went than were there",
        [lambda s, g: setattr(g, "used", 1), lambda s, g: s.residency.leave_out(g, [0, 1])],
    ),
    "more pages that are forgotten than were there": (
        "more pages went than were there",
        [
            UNMAP,
            lambda s, g: setattr(g, "used", 0),
            lambda s, g: s.physical.drop_standby(_frame(g, s)),
        ],
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_the_bookkeeper_refuses(small: Small, what: str) -> None:
    """Each precondition stands in the code, and is there in production: a caller who breaks it is
    stopped before the books are wrong. All steps but the last are allowed.
    """
    says, steps = REFUSED[what]
    segment = small.segment(12)
    for step in steps[:-1]:
        step(small, segment)
    with pytest.raises(AssertionError, match=says):
        steps[-1](small, segment)


def test_check_finds_what_the_books_hide(small: Small) -> None:
    """Each kind of disagreement is found by `check`: counts, masks, owners, states."""
    residency, segment = small.residency, small.segment(12)
    link, frame = residency.link, residency.link[segment.base]
    residency.check()
    for change, back in (
        ((segment, "used", 11), 12),
        ((segment, "shares", 1), 0),
        ((segment, "dirty", 1), 0),
        ((segment, "writing", 1 << 100), 0),
        ((segment, "mapped", False), True),
    ):
        setattr(*change)
        with pytest.raises(AssertionError):
            residency.check()
        setattr(*change[:2], back)
    for words, at, value in (
        (link, segment.base, -frame),
        (link, segment.base + 50, frame),
        (small.pfns.pte, frame, segment.base + 1),
        (small.pfns.flags, frame, MODIFIED),
        (small.pfns.flags, frame, WRITING),
        (small.pfns.use, frame, 1),
    ):
        old, words[at] = words[at], value
        with pytest.raises(AssertionError):
            residency.check()
        words[at] = old
    other = small.frames(1)[0][0]
    small.pfns.pte[other] = segment.base + 60
    with pytest.raises(AssertionError, match="owned by no segment"):
        residency.check()
    small.pfns.pte[other] = 0
    residency.check()
