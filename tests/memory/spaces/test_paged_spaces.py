"""Several spaces with forks on few frames and a page file against a model of bytes; the same with
forks and faults in bulk.
"""

from __future__ import annotations

import random

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from octavo.machine.abi import PAGE_SIZE
from octavo.machine.mmu import reference
from octavo.memory.spaces.addressspace import AddressSpace, Allocate, Free
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.protect import Protect
from octavo.status import Status, StatusError
from tests.machines import fails
from tests.stores import make

COMMIT = Allocate.COMMIT
SLOTS = st.sampled_from(
    [300, 300, 300, 300, 3, 30]
)  # a third of the time all are used, and all that may be committed is


class PagedMachine(RuleBasedStateMachine):
    """Few frames, a page file, several spaces; the model is space -> page -> bytes."""

    @initialize(slots=SLOTS)
    def boot(self, slots: int) -> None:
        """A machine with a page file."""
        self.slots = slots
        self.machine, self.store = make(70, slots)
        self.models: dict[AddressSpace, dict[int, bytes]] = {self.machine.space: {}}
        self.count = 0

    def choose(self, data: st.DataObject) -> AddressSpace:
        """Any space."""
        return data.draw(st.sampled_from(sorted(self.models, key=lambda s: s.name)))

    @rule(data=st.data(), pages=st.integers(10, 60))
    def commit(self, data: st.DataObject, pages: int) -> None:
        """More pages than fit into memory, after a few."""
        space = self.choose(data)
        try:
            base, _ = space.allocate(0, pages * PAGE_SIZE, COMMIT)
        except StatusError as error:
            assert error.status == Status.COMMITMENT_LIMIT
            return
        self.models[space].update(
            dict.fromkeys(range(base // PAGE_SIZE, base // PAGE_SIZE + pages), b"")
        )

    @precondition(lambda self: any(self.models.values()))
    @rule(data=st.data(), count=st.integers(1, 40), write=st.booleans())
    def access(self, data: st.DataObject, count: int, write: bool) -> None:
        """A stretch of pages, read or written."""
        space = self.choose(data)
        model = self.models[space]
        if not model:
            return
        first = data.draw(st.sampled_from(sorted(model)))
        for page in range(first, first + count):
            if page not in model:
                break
            try:
                if write:
                    self.count += 1
                    value = b"%d" % self.count
                    self.machine.write(page * PAGE_SIZE, value, space)
                    model[page] = value
                else:
                    assert (
                        self.machine.read(page * PAGE_SIZE, max(len(model[page]), 4), space).rstrip(
                            b"\0"
                        )
                        == model[page]
                    )
            except StatusError as error:
                assert error.status == Status.NO_MEMORY and self.store.fail_writes, error.text
                return

    @precondition(lambda self: any(self.models.values()))
    @rule(data=st.data(), count=st.integers(1, 30), protect=st.booleans())
    def free_or_protect(self, data: st.DataObject, count: int, protect: bool) -> None:
        """A stretch inside one allocation goes, or is NOACCESS for a moment."""
        space = self.choose(data)
        model = self.models[space]
        if not model:
            return
        first = data.draw(st.sampled_from(sorted(model)))
        vad = space.vads.find(first)
        assert vad is not None
        end = next(
            (p for p in range(first, min(first + count, vad.end)) if p not in model),
            min(first + count, vad.end),
        )
        if protect:
            space.protect(first * PAGE_SIZE, (end - first) * PAGE_SIZE, Protect.NOACCESS)
            fails(Status.ACCESS_VIOLATION, self.machine.read, first * PAGE_SIZE, 1, space)
            space.protect(first * PAGE_SIZE, (end - first) * PAGE_SIZE, Protect.READWRITE)
        else:
            space.free(first * PAGE_SIZE, (end - first) * PAGE_SIZE, Free.DECOMMIT)
            for page in range(first, end):
                del model[page]

    @precondition(lambda self: any(self.models.values()))
    @rule(data=st.data(), advice=st.sampled_from(list(Advice)), count=st.integers(1, 40))
    def advise(self, data: st.DataObject, advice: Advice, count: int) -> None:
        """Changes nothing that can be seen."""
        space = self.choose(data)
        if self.models[space]:
            first = data.draw(st.sampled_from(sorted(self.models[space])))
            self.machine.run(space.advise(first * PAGE_SIZE, count * PAGE_SIZE, advice))

    @precondition(lambda self: len(self.models) < 3)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        """Half of its pages may be in the page file."""
        parent = self.choose(data)
        self.count += 1
        try:
            child = self.machine.virtual.fork(parent, f"child {self.count}")
        except StatusError as error:
            assert error.status in (Status.COMMITMENT_LIMIT, Status.INSUFFICIENT_RESOURCES)
            return
        self.models[child] = dict(self.models[parent])

    @precondition(lambda self: len(self.models) > 1)
    @rule(data=st.data())
    def destroy(self, data: st.DataObject) -> None:
        """The others keep what they have."""
        space = self.choose(data)
        self.machine.virtual.destroy(space)
        del self.models[space]
        self.store.fail_writes = self.store.fail_writes and len(self.models) > 1

    @rule(fail=st.booleans())
    def store_fails(self, fail: bool) -> None:
        """From now on writes to the page file fail, or work again."""
        self.store.fail_writes = fail and len(self.models) > 1

    @invariant()
    def agrees(self) -> None:
        """Frames, slots, charges."""
        self.machine.check()

    def teardown(self) -> None:
        """Everything reads as the model says, and is given back."""
        self.store.fail_writes = False
        spaces = list(self.models)
        for space in spaces[1:]:
            self.machine.virtual.destroy(space)
        for page, value in self.models[spaces[0]].items():
            assert (
                self.machine.read(page * PAGE_SIZE, max(len(value), 4), spaces[0]).rstrip(b"\0")
                == value
            )
        self.machine.virtual.destroy(spaces[0])
        self.machine.check()
        assert (
            self.machine.memory.physical.available == 70
            and self.machine.virtual.files.free == self.slots
        )
        self.machine.scheduler.close()


TestPaged = PagedMachine.TestCase
TestPaged.settings = settings(max_examples=40, stateful_step_count=30)


class BulkMachine(PagedMachine):
    """The same, with every fork through the kernel, and stretches of pages touched as references on
    a virtual CPU.
    """

    @initialize(slots=SLOTS)
    def boot(self, slots: int) -> None:
        """A machine with a page file, on which every fork is one in bulk."""
        super().boot(slots)
        self.machine.virtual.lifetimes.bulk_pages = 1

    @precondition(lambda self: any(self.models.values()))
    @rule(data=st.data(), seed=st.integers(0, 1000), count=st.integers(1, 300))
    def references(self, data: st.DataObject, seed: int, count: int) -> None:
        """Reads at random over one space, some of pages that are nowhere yet or in the page
        file.
        """
        space = self.choose(data)
        if not self.models[space]:
            return
        pages = random.Random(seed).choices(sorted(self.models[space]), k=count)
        refs = np.array([reference(page * PAGE_SIZE + 64) for page in pages], np.int64)
        try:
            self.machine.scheduler.run(self.machine.virtual.run(space, refs))
        except StatusError as error:
            assert error.status == Status.NO_MEMORY and self.store.fail_writes, error.text


TestBulk = BulkMachine.TestCase
TestBulk.settings = settings(max_examples=40, stateful_step_count=30)
