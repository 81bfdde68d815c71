"""Views of files, page-file-backed sections and an external pager's object in several spaces, with
cached reads and writes, forks, memory pressure, failing allocations and threads that interleave,
against a model of bytes: all agree after every step.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from octavo.machine.abi import PAGE_SIZE
from octavo.machine.mmu import reference
from octavo.machine.mmukernels import READ, WRITE
from octavo.memory.spaces.addressspace import AddressSpace, Allocate
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.protect import Protect
from octavo.memory.spaces.view import SectionObject
from octavo.status import Status, StatusError
from tests.books import Book
from tests.machines import MemoryFile
from tests.memory.failing import Failing
from tests.stores import make

PAGES = 48  # of each section
FRAMES = 110
SLOTS = st.sampled_from(
    [400, 400, 400, 400, 2, 12]
)  # a third of the time all are used, and all that may be committed is


@dataclass(eq=False)
class Model:
    """A view: where it is, of which section, and the pages that it has copies of."""

    base: int
    section: int
    copy: bool
    own: dict[int, bytes] = field(default_factory=dict, repr=False)


class ViewMachine(RuleBasedStateMachine):
    """Two files and a page-file-backed section; spaces with views of them, on fewer frames than
    their pages.
    """

    arch = "x86-64"

    @initialize(slots=SLOTS)
    def boot(self, slots: int) -> None:
        """A machine with a page file."""
        self.slots = slots
        self.machine, self.store = make(FRAMES, slots, self.arch, cpus=2)
        virtual = self.machine.virtual
        self.contents = [bytearray(b"%d" % i * (PAGES * PAGE_SIZE)) for i in range(2)] + [
            bytearray(PAGES * PAGE_SIZE)
        ]
        self.files = [
            MemoryFile(self.machine, bytes(self.contents[i]), path=f"file {i}") for i in range(2)
        ]
        create = virtual.sections.create
        self.sections: list[SectionObject] = [
            self.machine.run(create(0, file=file)) for file in self.files
        ] + [self.machine.run(create(PAGES * PAGE_SIZE))]
        self.book = Book(self.machine)
        self.sections.append(
            virtual.sections.create_external(self.book, PAGES * PAGE_SIZE, "book")[0]
        )
        self.contents.append(bytearray(self.book.data[: PAGES * PAGE_SIZE]))
        self.failing = Failing(self.machine.memory.physical)
        self.spaces: dict[AddressSpace, list[Model]] = {self.machine.space: []}
        self.count = 0

    @property
    def failing_writes(self) -> bool:
        """True when somebody does not take pages, so that memory may run out."""
        return (
            self.store.fail_writes
            or self.book.manner == "keeps nothing"
            or any("write" in file.pager.broken for file in self.files)
        )

    def unreadable(self, section: int) -> bool:
        """True when the device of a file cannot read."""
        return section < 2 and "read" in self.files[section].pager.broken

    def choose(self, data: st.DataObject) -> tuple[AddressSpace, Model] | None:
        """Any view of any space."""
        views = [
            (space, view)
            for space in sorted(self.spaces, key=lambda s: s.name)
            for view in self.spaces[space]
        ]
        return data.draw(st.sampled_from(views)) if views else None

    def shown(self, view: Model, page: int) -> bytes:
        """What a page of a view shows; b"" behind the end."""
        at = page * PAGE_SIZE
        whole = bytes(self.contents[view.section][at : at + PAGE_SIZE])
        return view.own.get(page) or (whole.ljust(PAGE_SIZE, b"\0") if whole else b"")

    @rule(
        data=st.data(),
        section=st.integers(0, 3),
        copy=st.booleans(),
        advice=st.sampled_from([Advice.NORMAL, Advice.SEQUENTIAL, Advice.REVERSE, Advice.RANDOM]),
    )
    def map(self, data: st.DataObject, section: int, copy: bool, advice: Advice) -> None:
        """Another view."""
        space = data.draw(st.sampled_from(sorted(self.spaces, key=lambda s: s.name)))
        if len(self.spaces[space]) > 4:
            return
        try:
            base, _ = space.map(
                self.sections[section], protect=Protect.WRITECOPY if copy else Protect.READWRITE
            )
        except StatusError as error:
            assert error.status == Status.COMMITMENT_LIMIT
            return
        self.machine.run(space.advise(base, 1, advice))
        self.spaces[space].append(Model(base, section, copy))

    @rule(
        data=st.data(),
        page=st.integers(0, PAGES - 1),
        count=st.integers(1, 20),
        write=st.booleans(),
    )
    def access(self, data: st.DataObject, page: int, count: int, write: bool) -> None:
        """Some pages of a view, read or written."""
        found = self.choose(data)
        if found is None:
            return
        space, view = found
        for number in range(page, min(page + count, PAGES)):
            shown = self.shown(view, number)
            address = view.base + number * PAGE_SIZE
            try:
                if not write:
                    assert self.machine.read(address, PAGE_SIZE, space) == shown
                    continue
                self.count += 1
                value = b"%d" % self.count
                if not view.copy and 0 < len(
                    self.contents[view.section]
                ) - number * PAGE_SIZE < 7 + len(value):
                    return  # bytes behind the end are nobody's
                self.machine.write(address + 7, value, space)
            except StatusError as error:
                if error.status == Status.NO_MEMORY:
                    assert self.failing_writes, error.text
                else:
                    stuck = (
                        view.section == 3 and self.book.manner == "keeps nothing"
                    )  # its quota is used up
                    assert error.status == Status.IN_PAGE_ERROR and (
                        not shown or stuck or self.unreadable(view.section)
                    ), error.text
                return
            assert shown, "a page behind the end was written"
            if view.copy:
                view.own[number] = shown[:7] + value + shown[7 + len(value) :]
            else:
                content = self.contents[view.section]
                content[number * PAGE_SIZE + 7 : number * PAGE_SIZE + 7 + len(value)] = value

    @rule(
        i=st.integers(0, 1),
        at=st.integers(0, PAGES * PAGE_SIZE),
        length=st.integers(1, 60_000),
        write=st.booleans(),
    )
    def cached(self, i: int, at: int, length: int, write: bool) -> None:
        """Reads or writes through the cache."""
        content, section = self.contents[i], self.files[i].section
        at = min(at, len(content))
        try:
            if write and at + length <= PAGES * PAGE_SIZE:
                self.count += 1
                data = (b"%d " % self.count * length)[:length]
                self.machine.run(self.machine.cache.copy_write(section, at, data))
                content[at : at + length] = data
            else:
                assert (
                    self.machine.run(self.machine.cache.copy_read(section, at, length))
                    == content[at : at + length]
                )
        except StatusError as error:
            full = error.status == Status.NO_MEMORY and self.failing_writes
            assert full or (error.status == Status.IO_DEVICE_ERROR and self.unreadable(i)), (
                error.text
            )
            if write:
                self.reload(i)

    def reload(self, i: int) -> None:
        """After a write that was cut short by want of memory: the model takes over what the cache
        has.
        """
        for space in list(self.spaces)[1:]:
            self.machine.virtual.destroy(space)
            del self.spaces[space]
        self.store.fail_writes, self.book.manner = False, "good"
        for file in self.files:
            file.pager.broken = set()
        section = self.files[i].section
        self.contents[i][:] = self.machine.run(
            self.machine.cache.copy_read(section, 0, section.size)
        )

    @rule(i=st.integers(0, 1))
    def flush(self, i: int) -> None:
        """After a flush the device has what views and cache show; one that fails loses nothing, and
        is told once.
        """
        try:
            self.machine.run(self.machine.cache.flush(self.files[i].section))
        except StatusError as error:
            assert error.status == Status.IO_DEVICE_ERROR
            if self.files[i].pager.broken:
                return
            self.machine.run(self.machine.cache.flush(self.files[i].section))  # it was an old error
        assert self.files[i].pager.data[: len(self.contents[i])] == self.contents[i]

    @rule(i=st.integers(0, 1), size=st.integers(1, PAGES * PAGE_SIZE))
    def resize(self, i: int, size: int) -> None:
        """A file is cut or grows while it is mapped; pages of their own stay with the views."""
        content = self.contents[i]
        if abs(size - len(content)) > 20 * PAGE_SIZE and size > len(content):
            size = len(content) + 20 * PAGE_SIZE
        try:
            self.machine.run(self.files[i].truncate(size))
        except StatusError as error:
            full = error.status == Status.NO_MEMORY and self.failing_writes
            assert full or (error.status == Status.IO_DEVICE_ERROR and self.unreadable(i)), (
                error.text
            )
            self.reload(i)
            return
        old = len(content)
        del content[size:]
        content.extend(bytes(max(0, size - old)))

    @precondition(lambda self: len(self.spaces) < 3)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        """The child shares the views; copies that they have are its own from then on."""
        parent = data.draw(st.sampled_from(sorted(self.spaces, key=lambda s: s.name)))
        self.count += 1
        try:
            child = self.machine.virtual.fork(parent, f"child {self.count}")
        except StatusError as error:
            assert error.status in (Status.COMMITMENT_LIMIT, Status.INSUFFICIENT_RESOURCES)
            return
        self.spaces[child] = [
            Model(v.base, v.section, v.copy, dict(v.own)) for v in self.spaces[parent]
        ]

    @rule(data=st.data())
    def unmap(self, data: st.DataObject) -> None:
        """A view ends."""
        found = self.choose(data)
        if found is not None:
            found[0].unmap(found[1].base + 5)
            self.spaces[found[0]].remove(found[1])

    @precondition(lambda self: len(self.spaces) > 1)
    @rule(data=st.data())
    def destroy(self, data: st.DataObject) -> None:
        """A space ends; the others keep what they have."""
        space = data.draw(st.sampled_from(sorted(list(self.spaces)[1:], key=lambda s: s.name)))
        self.machine.virtual.destroy(space)
        del self.spaces[space]

    @rule(pages=st.integers(10, 60))
    def pressure(self, pages: int) -> None:
        """Private memory comes, and goes again."""
        try:
            base, _ = self.machine.space.allocate(0, pages * PAGE_SIZE, Allocate.COMMIT)
        except StatusError as error:
            assert error.status == Status.COMMITMENT_LIMIT
            return
        try:
            for page in range(pages):
                self.machine.write(base + page * PAGE_SIZE, b"x")
        except StatusError as error:
            assert error.status == Status.NO_MEMORY and self.failing_writes
        self.machine.space.free(base, 0, 0x8000)

    @rule(
        data=st.data(),
        advice=st.sampled_from([Advice.WILLNEED, Advice.DONTNEED]),
        page=st.integers(0, PAGES - 1),
        count=st.integers(1, PAGES),
    )
    def advise(self, data: st.DataObject, advice: Advice, page: int, count: int) -> None:
        """Changes nothing that can be seen."""
        found = self.choose(data)
        if found is not None:
            self.machine.run(
                found[0].advise(
                    found[1].base + page * PAGE_SIZE, min(count, PAGES - page) * PAGE_SIZE, advice
                )
            )

    @rule(
        data=st.data(),
        protect=st.sampled_from([Protect.NOACCESS, Protect.READONLY]),
        page=st.integers(0, PAGES - 1),
    )
    def protect(self, data: st.DataObject, protect: Protect, page: int) -> None:
        """Another protection for a moment: a write is refused."""
        found = self.choose(data)
        if found is None:
            return
        space, view = found
        old = space.protect(view.base + page * PAGE_SIZE, PAGE_SIZE, protect)[2]
        try:
            self.machine.write(view.base + page * PAGE_SIZE, b"no", space)
            raise AssertionError("written")
        except StatusError as error:
            assert error.status == Status.ACCESS_VIOLATION
        space.protect(view.base + page * PAGE_SIZE, PAGE_SIZE, old)

    @rule(
        manner=st.sampled_from(["good", "pieces", "partial", "again", "precious", "keeps nothing"])
    )
    def pager_changes(self, manner: str) -> None:
        """The external pager has another manner from now on."""
        self.book.manner = manner

    @rule(k=st.integers(1, 12))
    def allocation_fails(self, k: int) -> None:
        """The k-th taking of frames from now on fails: nobody is to notice."""
        self.failing.left = k

    @rule(
        i=st.integers(0, 1), broken=st.sampled_from([set(), {"read"}, {"write"}, {"read", "write"}])
    )
    def device_changes(self, i: int, broken: set[str]) -> None:
        """The device of a file fails to read or write from now on, or works again."""
        self.files[i].pager.broken = broken

    @precondition(
        lambda self: (
            any(self.spaces.values())
            and self.book.manner != "keeps nothing"
            and not any(file.pager.broken for file in self.files)
        )
    )
    @rule(data=st.data(), seed=st.integers(0, 1000), steps=st.integers(1, 25))
    def threads(self, data: st.DataObject, seed: int, steps: int) -> None:
        """Four threads on views of any space, each on pages of its own, a flusher and an evicter,
        in an order that the seed draws.
        """
        machine = self.machine
        assert machine.scheduler.random is not None
        machine.scheduler.random.seed(seed)
        for i in range(2):
            self.flush(i)  # old errors are told here
        views = [(space, view) for space in self.spaces for view in self.spaces[space]]
        draw = random.Random(seed)

        async def work(number: int) -> None:
            for _ in range(steps):
                space, view = draw.choice(views)
                page = draw.randrange(number, PAGES, 4)
                shown = self.shown(view, page)
                if (
                    len(shown) < PAGE_SIZE
                    or len(self.contents[view.section]) < (page + 1) * PAGE_SIZE
                ):
                    continue
                address = view.base + page * PAGE_SIZE
                if (
                    draw.random() < 0.5
                ):  # on one of two CPUs, which others use while this thread waits
                    refs = [
                        reference(address + 64 * i, WRITE if draw.random() < 0.1 else READ)
                        for i in range(8)
                    ]
                    await machine.virtual.run(space, np.array(refs, np.int64), draw.randrange(2))
                    if view.copy and any(ref & 3 == WRITE for ref in refs):
                        view.own[page] = self.shown(view, page)
                data = await space.read(address, PAGE_SIZE)
                assert data == self.shown(view, page), (
                    space.name,
                    view,
                    page,
                    self.book.manner,
                    data[:120],
                    self.shown(view, page)[:120],
                )
                if draw.random() < 0.5:
                    value = b"%d" % seed
                    await space.write(address + 100, value)
                    if view.copy:
                        shown = self.shown(view, page)
                        view.own[page] = shown[:100] + value + shown[100 + len(value) :]
                    else:
                        at = page * PAGE_SIZE + 100
                        self.contents[view.section][at : at + len(value)] = value

        async def disturb() -> None:
            for i in range(3):
                await machine.virtual.eviction.evict(8)
                await machine.cache.flush(self.sections[i % 2].section)

        async def all_of_them() -> list[StatusError]:
            threads = [
                machine.scheduler.spawn(work(number), f"worker {number}") for number in range(4)
            ]
            threads.append(machine.scheduler.spawn(disturb(), "disturber"))
            errors = []
            for thread in threads:
                try:
                    await thread.join()
                except StatusError as error:
                    errors.append(error)
            return errors

        for error in machine.run(all_of_them()):
            assert error.status == Status.NO_MEMORY and self.failing_writes, error

    @rule(fail=st.booleans())
    def store_fails(self, fail: bool) -> None:
        """From now on writes to the page file fail, or work again."""
        self.store.fail_writes = fail

    @invariant()
    def agrees(self) -> None:
        """The whole ledger."""
        if hasattr(self, "machine"):
            self.machine.check()

    def teardown(self) -> None:
        """Everything is as the model says, and is given back."""
        if not hasattr(self, "machine"):
            return
        self.store.fail_writes, self.book.manner, self.failing.left = False, "good", -1
        for i in range(2):
            self.files[i].pager.broken = set()
            self.flush(i)
        for space in list(self.spaces)[1:]:
            self.machine.virtual.destroy(space)
        for view in self.spaces[self.machine.space]:
            for page in range(PAGES):
                if shown := self.shown(view, page):
                    assert self.machine.read(view.base + page * PAGE_SIZE, PAGE_SIZE) == shown
        self.machine.virtual.destroy(self.machine.space)
        for section in self.sections:
            self.machine.virtual.sections.close(section)
        self.machine.run(self.machine.scheduler.sleep(1))
        for _ in range(10):  # on CPUs that pre-empt each other a second may pass sooner
            if self.machine.virtual.sections.ending:
                self.machine.run(self.machine.scheduler.sleep(1))
        for file in self.files:
            self.machine.run(self.machine.cache.flush(file.section))
            self.machine.run(self.machine.cache.drop(file.section))
            assert file.opens == 1
        self.machine.check()
        assert self.book.data[: PAGES * PAGE_SIZE] == self.contents[3]
        assert (
            self.machine.memory.physical.available,
            self.machine.virtual.files.free,
            self.machine.virtual.charged,
        ) == (FRAMES, self.slots, 0)
        self.machine.scheduler.close()

    @rule(data=st.data(), seed=st.integers(0, 1000), count=st.integers(1, 200), write=st.booleans())
    def references(self, data: st.DataObject, seed: int, count: int, write: bool) -> None:
        """References on a virtual CPU to the pages of a view, at random; soft faults are resolved
        by a kernel.
        """
        found = self.choose(data)
        if found is None:
            return
        space, view = found
        pages = [page for page in range(PAGES) if self.shown(view, page)]
        if not pages or (write and view.copy):
            return
        kinds = random.Random(seed)
        refs = [
            reference(
                view.base + kinds.choice(pages) * PAGE_SIZE + 64,
                WRITE if write and kinds.random() < 0.2 else READ,
            )
            for _ in range(count)
        ]
        try:
            self.machine.run(self.machine.virtual.run(space, np.array(refs, np.int64)))
        except StatusError as error:
            stuck = (view.section == 3 and self.book.manner == "keeps nothing") or self.unreadable(
                view.section
            )
            assert (stuck and error.status == Status.IN_PAGE_ERROR) or (
                error.status == Status.NO_MEMORY and self.failing_writes
            ), error.text


TestViews = ViewMachine.TestCase
TestViews.settings = settings(max_examples=40, stateful_step_count=30)


class SmallViewMachine(ViewMachine):
    """The same with entries of 32 bits, whose tables must lie low."""

    arch = "i386"


TestSmallViews = SmallViewMachine.TestCase
TestSmallViews.settings = settings(max_examples=25, stateful_step_count=30)
