"""A frame or a slot for each promised page: commit, page files, frames and page tables are used to
the last unit and one beyond, by several spaces at once, and all that was promised can be had, with
the contents that a model has.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

import octavo
from octavo.machine.abi import PAGE_SIZE, PRIORITY, SEGMENT_PAGES
from octavo.memory.pages.section import NoRoomError
from octavo.memory.pages.segmenttable import BASES_IN_FRAME
from octavo.memory.reclaim.balance import OutOfMemory
from octavo.memory.spaces.addressspace import AddressSpace, Allocate, Free
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.view import Attribute
from octavo.status import Status, StatusError
from octavo.system import System
from tests.machines import Machine, fails
from tests.memory.failing import Failing
from tests.stores import Store, make

COMMIT = Allocate.COMMIT
KINDS = ("private", "section")


def commit(machine: Machine, kind: str, pages: int) -> int:
    """So many pages, and where they are."""
    if kind == "private":
        return machine.space.allocate(0, pages * PAGE_SIZE, COMMIT)[0]
    return machine.space.map(machine.run(machine.virtual.sections.create(pages * PAGE_SIZE)))[0]


@dataclass
class History:
    """Promises to the last page, then references at random; `model` has what was written, by page
    or by page of a section.
    """

    machine: Machine
    random: random.Random
    sparse: bool
    spaces: list[AddressSpace] = field(default_factory=list)
    pages: list[tuple[AddressSpace, int, object]] = field(default_factory=list)
    model: dict[object, bytes] = field(default_factory=dict)

    def promise(self) -> None:
        """Commits until nothing more can be: private pages, and sections that some of the spaces
        see.
        """
        virtual, draw = self.machine.virtual, self.random
        self.spaces = [self.machine.space, virtual.create("second"), virtual.create("third")][
            : draw.choice((1, 2, 3))
        ]
        while virtual.charged < virtual.limit:
            count = 1 if self.sparse else min(draw.randint(1, 50), virtual.limit - virtual.charged)
            place = draw.randrange(1, 30_000) << 16 if self.sparse else 0
            try:
                if draw.random() < 0.5:
                    space = draw.choice(self.spaces)
                    base, _ = space.allocate(place, count * PAGE_SIZE, COMMIT | Allocate.RESERVE)
                    self.pages += [
                        (space, base + i * PAGE_SIZE, (space, base + i * PAGE_SIZE))
                        for i in range(count)
                    ]
                    continue
                section = self.machine.run(virtual.sections.create(count * PAGE_SIZE))
                for space in self.spaces:
                    base, _ = space.map(section, place)
                    self.pages += [
                        (space, base + i * PAGE_SIZE, (section, i)) for i in range(count)
                    ]
            except StatusError as error:
                if error.status == Status.COMMITMENT_LIMIT:
                    break  # for want of page tables
                assert error.status == Status.CONFLICTING_ADDRESSES and self.sparse, error.text
        if not self.sparse and virtual.charged >= virtual.limit:
            fails(Status.COMMITMENT_LIMIT, self.machine.space.allocate, 0, PAGE_SIZE, COMMIT)

    def keep(self) -> None:
        """Some pages are to stay in frames."""
        for space in self.spaces:
            if self.random.random() < 0.3:
                space.set_working_set(min(10, self.machine.virtual.commitment.frames_left // 8))

    def step(self, number: int) -> None:
        """One reference, or something that changes where pages are and nothing else."""
        machine, draw = self.machine, self.random
        space, address, key = draw.choice(self.pages)
        kind = draw.random()
        if kind < 0.6:
            machine.write(address, b"%d" % number, space)
            self.model[key] = b"%d" % number
        elif kind < 0.93:
            assert machine.read(address, 8, space).rstrip(b"\0") == self.model.get(key, b"")
        elif kind < 0.95:
            machine.run(machine.virtual.eviction.evict(draw.randint(1, 60)))
        elif kind < 0.97:
            machine.run(
                space.advise(
                    address, 20 * PAGE_SIZE, draw.choice((Advice.WILLNEED, Advice.DONTNEED))
                )
            )
        elif len(space.locked) < 5:
            try:
                machine.run(space.lock(address, PAGE_SIZE))
            except StatusError as error:
                assert error.status == Status.NO_MEMORY and "cannot be locked" in error.text

    def end(self) -> None:
        """Everything reads as the model says."""
        for space, address, key in self.pages:
            assert self.machine.read(address, 8, space).rstrip(b"\0") == self.model.get(key, b"")
        self.machine.check()
        for space in list(self.machine.virtual.spaces):
            self.machine.virtual.destroy(space)
        for section in list(self.machine.virtual.sections.all):
            self.machine.virtual.sections.close(section)
        self.machine.run(self.machine.scheduler.sleep(1))
        self.machine.check()
        files = self.machine.virtual.files.statistics()
        assert (
            files.free == files.slots
            and not self.machine.virtual.charged
            and not self.machine.memory.pfns.wired
        )
        self.machine.scheduler.close()


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("sparse", [False, True])
def test_everything_promised_can_be_had(sparse: bool, seed: int) -> None:
    """Whatever is promised, by whom, and in which order it is used; with frames that cannot be
    taken at times.
    """
    draw = random.Random(seed)
    machine, _ = make(
        draw.choice((70, 90, 110, 160)),
        draw.choice((1, 3, 40, 90, 200)),
        draw.choice(("x86-64", "i386", "pae", "la57")),
    )
    history = History(machine, draw, sparse)
    history.promise()
    history.keep()
    failing = Failing(machine.memory.physical)
    for number in range(400):
        failing.left = draw.randint(1, 8) if draw.random() < 0.1 else -1
        history.step(number)
        if number % 50 == 0:
            machine.check()
    failing.left = -1
    history.end()


@pytest.mark.parametrize("slots", [1, 60, 200, 600])
@pytest.mark.parametrize("order", ["sequential", "random"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_of_the_limit_is_written_over_and_over(kind: str, order: str, slots: int) -> None:
    """Four times in a row or at random; another space's pages can be had meanwhile, and nobody is
    ended for want of memory.
    """
    machine, _ = make(110, slots)
    machine.virtual.balance.out_of_memory = OutOfMemory.END_LARGEST
    other = machine.virtual.create("other")
    base, _ = other.allocate(0, 20 * PAGE_SIZE, COMMIT)
    pages = machine.virtual.limit - machine.virtual.charged
    start, draw, model = commit(machine, kind, pages), random.Random(1), dict[int, bytes]()
    for turn in range(4):
        for i, page in enumerate(
            range(pages) if order == "sequential" else draw.sample(range(pages), pages)
        ):
            model[page] = b"%d.%d" % (turn, page)
            machine.write(start + page * PAGE_SIZE, model[page])
            if i % 9 == 0:
                machine.write(base + i % 20 * PAGE_SIZE, b"other", other)
    machine.check()
    for page, value in model.items():
        assert machine.read(start + page * PAGE_SIZE, len(value)) == value
    assert not machine.virtual.balance.log


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_file_that_fails_for_a_while_costs_nothing(kind: str) -> None:
    """Its slots are all in use, or none is: pages that it could not take are written later, and
    none is lost.
    """
    machine, store = make(110, 60)
    pages = machine.virtual.limit
    start, model, failed = commit(machine, kind, pages), dict[int, bytes](), 0
    for number in range(3 * pages):
        store.fail_writes = number // 20 % 3 == 2
        try:
            machine.write(start + number * 7 % pages * PAGE_SIZE, b"%d" % number)
            model[number * 7 % pages] = b"%d" % number
        except StatusError as error:
            assert error.status == Status.NO_MEMORY and store.fail_writes
            failed += 1
        if number % 40 == 0:
            machine.check()
    store.fail_writes = False
    assert failed
    for page, value in model.items():
        assert machine.read(start + page * PAGE_SIZE, len(value)) == value
    machine.check()


def test_slots_of_pages_in_use_are_taken_back() -> None:
    """Pages that stay in frames, locked, have slots as well: who needs them gets them, and the
    pages are written again when they leave.
    """
    machine, _ = make(160, 40)
    space, files = machine.space, machine.virtual.files
    base = commit(machine, "section", 40)
    for page in range(40):
        machine.write(base + page * PAGE_SIZE, b"%d" % page)
    machine.run(machine.space.flush(base))
    machine.run(space.lock(base, 40 * PAGE_SIZE))
    assert not files.free
    other = commit(machine, "private", machine.virtual.limit - machine.virtual.charged)
    count = space.query(other).size // PAGE_SIZE
    for page in range(count):
        machine.write(other + page * PAGE_SIZE, b"%d" % page)
    machine.check()
    space.unlock(base, 40 * PAGE_SIZE)
    for page in range(count):
        assert machine.read(other + page * PAGE_SIZE, 4).rstrip(b"\0") == b"%d" % page
    for page in range(40):
        assert machine.read(base + page * PAGE_SIZE, 4).rstrip(b"\0") == b"%d" % page
    machine.check()


# -- what others take ------------------------------------------------------------------------------


def pool(system: System) -> Callable[[], object]:
    """Three pages of nonpaged pool each time."""
    return lambda: system.kernel.nonpaged.allocate(3 * PAGE_SIZE, "Test")


def slab(system: System) -> Callable[[], object]:
    """Objects of a page."""
    cache = system.kernel.caches.create("pages", PAGE_SIZE)
    return cache.allocate


def large_slab(system: System) -> Callable[[], object]:
    """Objects of four pages."""
    cache = system.kernel.caches.create("pages", 4 * PAGE_SIZE)
    return cache.allocate


def stack(system: System) -> Callable[[], object]:
    """Stacks of the kernel, all of each backed at once."""
    return lambda: system.kernel.stacks.allocate(4 * PAGE_SIZE, 4 * PAGE_SIZE)


def ram_disk(system: System) -> Callable[[], object]:
    """Disks of 64 KiB."""
    return lambda: system.attach_ram_disk(64 << 10)


@pytest.mark.parametrize("when", ["before", "after", "between"])
@pytest.mark.parametrize("who", [pool, slab, large_slab, stack, ram_disk])
def test_what_the_kernel_takes_was_not_promised(
    tmp_path_factory: pytest.TempPathFactory,
    who: Callable[[System], Callable[[], object]],
    when: str,
) -> None:
    """Taken before, it lowers the limit; after all is committed it is refused, and takes nothing;
    each committed page can be had.
    """
    path = tmp_path_factory.mktemp("pages") / "pages"
    path.write_bytes(bytes(1 << 20))
    with octavo.boot(memory="4M", seed=1) as system:
        system.add_page_file(path)
        virtual, physical, run = system.virtual, system.memory.physical, system.scheduler.run
        assert system.kernel
        first, take = virtual.limit, who(system)
        taken = 0
        if when != "after":
            for _ in range(20):
                take()
                taken += 1
            assert virtual.limit <= first - (
                0 if who is pool else 20
            )  # the pool has pages of its own from the beginning
        space = virtual.create("program")
        pages = virtual.limit - (50 if when == "between" else 0)
        base, _ = space.allocate(0, pages * PAGE_SIZE, COMMIT)
        try:
            for _ in range(1000):
                wired = system.memory.pfns.wired
                take()
                taken += 1
        except StatusError as error:
            assert error.status in (
                Status.NO_MEMORY,
                Status.INSUFFICIENT_RESOURCES,
                Status.NO_SUCH_DEVICE,
            ), error.text
        assert (
            system.memory.pfns.wired <= max(wired, system.memory.pfns.wired)
            and virtual.charged <= virtual.limit
        )
        system.check()
        for page in range(pages):
            run(space.write(base + page * PAGE_SIZE, b"%d" % page))
        for page in range(pages):
            assert run(space.read(base + page * PAGE_SIZE, 4)).rstrip(b"\0") == b"%d" % page
        system.check()
        assert virtual.charged == pages and physical.available >= 0
        virtual.destroy(space)


def test_page_tables_are_part_of_the_promise() -> None:
    """Pages far apart need tables of their own: they are counted when the pages are committed, and
    what is refused then could not be had.
    """
    machine, _ = make(110, 200)
    limit = machine.virtual.limit
    committed: list[int] = []
    with pytest.raises(StatusError) as error:
        for i in range(1, 400):
            committed.append(
                machine.space.allocate(i << 21, PAGE_SIZE, COMMIT | Allocate.RESERVE)[0]
            )
    assert error.value.status == Status.COMMITMENT_LIMIT and 40 < len(committed) < 110 < limit
    for turn in range(2):
        for address in committed:
            machine.write(address, b"%d %d" % (turn, address))
    for address in committed:
        assert machine.read(address, 30).rstrip(b"\0") == b"1 %d" % address
    machine.check()
    for address in committed:
        machine.space.free(address, 0, Free.RELEASE)
    assert machine.virtual.limit == limit
    machine.check()


def test_prototype_ptes_to_their_last_frame() -> None:
    """Sections of one page need an eighth of a frame each for their PTEs; each taking of a frame
    fails once, and nothing is lost.
    """
    machine, _ = make(140, 300)
    failing, sections = Failing(machine.memory.physical), []
    for i in range(machine.virtual.limit):
        try:
            section = machine.run(machine.virtual.sections.create(PAGE_SIZE))
            base, _ = machine.space.map(section, 0x1000_0000 + (i << 16))
        except StatusError as error:
            assert error.status == Status.COMMITMENT_LIMIT
            break
        sections.append((base, b"%d" % i))
        failing.left = i % 7
        machine.write(base, b"%d" % i)
    failing.left = -1
    assert len(sections) > 200
    machine.check()
    assert machine.memory.residency.segments.frames <= len(sections) // BASES_IN_FRAME + 1
    for base, value in sections:
        assert machine.read(base, 4).rstrip(b"\0") == value
        machine.space.unmap(base)
    for section in list(machine.virtual.sections.all):
        machine.virtual.sections.close(section)
    machine.run(machine.scheduler.sleep(1))
    machine.check()
    segments = machine.memory.residency.segments
    assert not segments.frames and not segments.all()


def test_a_section_committed_far_apart() -> None:
    """A RESERVE section of 2^34 bytes, of which one page in a segment is committed until nothing is
    left to commit.
    """
    machine, _ = make(200, 60)
    section = machine.run(machine.virtual.sections.create(1 << 34, attributes=Attribute.RESERVE))
    base, _ = machine.space.map(section)
    done = []
    try:
        for i in range(400):
            done.append(
                machine.space.allocate(base + i * SEGMENT_PAGES * PAGE_SIZE, PAGE_SIZE, COMMIT)[0]
            )
    except StatusError as error:
        assert error.status == Status.COMMITMENT_LIMIT
    assert len(done) > 60 and section.section.priority == PRIORITY
    for turn in range(2):
        for address in done:
            machine.write(address, b"%d %d" % (turn, address))
    for address in done:
        assert machine.read(address, 30).rstrip(b"\0") == b"1 %d" % address
    machine.check()


def test_one_large_promise() -> None:
    """A hundred times as many pages as frames, in one call: what their page tables need is taken
    off before, not afterwards.
    """
    machine, _ = make(200, 20_000)
    limit = machine.virtual.limit
    with pytest.raises(StatusError) as error:
        commit(machine, "private", limit)
    assert error.value.status == Status.COMMITMENT_LIMIT
    commit(machine, "private", limit - 100)
    assert machine.virtual.charged <= machine.virtual.limit < limit
    machine.check()


# -- pagers without room ---------------------------------------------------------------------------


def test_pages_on_their_way_out_get_the_last_slots() -> None:
    """Of a run of ten pages the last four are in no page table any more: the two slots that are
    left are theirs, and two frames are had.
    """
    machine, _ = make(160, 2)
    base = commit(machine, "section", 10)
    for page in range(10):
        machine.write(base + page * PAGE_SIZE, b"%d" % page)
    view, writeback = machine.space.vads.all[0].view, machine.memory.writeback
    assert view is not None
    view.forget(6, 10)
    section, standby = view.object.section, machine.memory.physical.standby.count
    clean, error = machine.run(writeback.write(writeback.picks(section), asked=False))
    assert clean == 2 and isinstance(error, NoRoomError) and "no room for 8 pages" in error.text
    assert (
        machine.memory.physical.standby.count == standby + 2
        and section.dirty == 8
        and not writeback.errors
    )
    machine.check()
    assert [machine.read(base + page * PAGE_SIZE, 1) for page in range(10)] == [
        b"%d" % page for page in range(10)
    ]


def test_minimums_and_locks_leave_frames_for_others() -> None:
    """No more than the frames there are can be kept, however many slots there are."""
    machine = Machine(frames=120)
    machine.virtual.add_page_file(Store(machine.scheduler, 1000))
    frames = machine.virtual.commitment.frames_left
    fails(Status.INVALID_PARAMETER, machine.space.set_working_set, frames // 2 + 1)
    machine.space.set_working_set(frames // 2)
    base, _ = machine.space.allocate(0, 500 * PAGE_SIZE, COMMIT)
    fails(Status.NO_MEMORY, lambda: machine.run(machine.space.lock(base, 500 * PAGE_SIZE)))
    assert not machine.space.locked and not machine.space.pages.resident
    locked = 0
    with pytest.raises(StatusError) as error:
        for page in range(500):
            machine.run(machine.space.lock(base + page * PAGE_SIZE, PAGE_SIZE))
            locked += 1
    assert error.value.status == Status.NO_MEMORY and frames // 4 < locked <= frames
    for page in range(500):
        machine.write(base + page * PAGE_SIZE, b"%d" % page)
    for page in range(500):
        assert machine.read(base + page * PAGE_SIZE, 4).rstrip(b"\0") == b"%d" % page
    machine.check()
