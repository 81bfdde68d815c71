"""Several address spaces with forks against a model of protections and bytes."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from octavo.machine.abi import PAGE_SIZE
from octavo.machine.paging import FORMATS
from octavo.memory.spaces.addressspace import AddressSpace, Allocate, Free
from octavo.memory.spaces.protect import Protect
from octavo.status import Status, StatusError
from tests.machines import Machine, fails

COMMIT, RESERVE, RESET, TOP_DOWN = (
    Allocate.COMMIT,
    Allocate.RESERVE,
    Allocate.RESET,
    Allocate.TOP_DOWN,
)
RO, RW, NOACCESS, GUARD = Protect.READONLY, Protect.READWRITE, Protect.NOACCESS, Protect.GUARD
KERNEL = {
    "i386": 0x80000000,
    "pae": 0x80000000,
    "x86-64": 0xFFFF800000000000,
    "la57": 0xFF00000000000000,
}


class SpacesMachine(RuleBasedStateMachine):
    """The model of a space: page -> (protection, contents), reserved pages by allocation."""

    @initialize(arch=st.sampled_from(list(FORMATS)))
    def begin(self, arch: str) -> None:
        """One space."""
        self.machine = Machine(arch, 300)
        self.models: dict[AddressSpace, dict[int, list[object]]] = {self.machine.space: {}}
        self.reserved: dict[AddressSpace, dict[int, int]] = {self.machine.space: {}}
        self.forks = 0

    def choose(self, data: st.DataObject) -> AddressSpace:
        """Any space."""
        return data.draw(st.sampled_from(sorted(self.models, key=lambda s: s.name)))

    def range_of(self, data: st.DataObject, space: AddressSpace) -> tuple[int, int]:
        """Pages inside some allocation."""
        base = data.draw(st.sampled_from(sorted(self.reserved[space])))
        first = data.draw(st.integers(base, self.reserved[space][base] - 1))
        return first, data.draw(st.integers(first + 1, self.reserved[space][base]))

    @rule(data=st.data(), pages=st.integers(1, 30), commit=st.booleans(), top_down=st.booleans())
    def allocate(self, data: st.DataObject, pages: int, commit: bool, top_down: bool) -> None:
        """A new allocation that meets no other."""
        space = self.choose(data)
        how = RESERVE | (COMMIT if commit else 0) | (TOP_DOWN if top_down else 0)
        try:
            base, size = space.allocate(0, pages * PAGE_SIZE, how)
        except StatusError as error:
            assert error.status == Status.COMMITMENT_LIMIT
            return
        first = base // PAGE_SIZE
        assert size == pages * PAGE_SIZE and not any(
            a < first + pages and first < b for a, b in self.reserved[space].items()
        )
        self.reserved[space][first] = first + pages
        if commit:
            self.models[space].update({p: [RW, b""] for p in range(first, first + pages)})

    @precondition(lambda self: any(self.reserved.values()))
    @rule(
        data=st.data(),
        protect=st.sampled_from([RW, RO, NOACCESS, RW | GUARD, Protect.EXECUTE_READWRITE]),
    )
    def commit_or_protect(self, data: st.DataObject, protect: Protect) -> None:
        """Commits a part; or another protection for it, if all of it is committed."""
        space = self.choose(data)
        if not self.reserved[space]:
            return
        first, end = self.range_of(data, space)
        model = self.models[space]
        if data.draw(st.booleans()):
            try:
                space.allocate(first * PAGE_SIZE, (end - first) * PAGE_SIZE, COMMIT, protect)
            except StatusError as error:
                assert error.status == Status.COMMITMENT_LIMIT
                return
        elif all(p in model for p in range(first, end)):
            old = space.protect(first * PAGE_SIZE, (end - first) * PAGE_SIZE, protect)[2]
            assert old == model[first][0]
        else:
            fails(
                Status.NOT_COMMITTED,
                space.protect,
                first * PAGE_SIZE,
                (end - first) * PAGE_SIZE,
                protect,
            )
            return
        for page in range(first, end):
            model[page] = [protect, model[page][1] if page in model else b""]

    @precondition(lambda self: any(self.reserved.values()))
    @rule(data=st.data(), release=st.booleans())
    def free(self, data: st.DataObject, release: bool) -> None:
        """Decommits or releases a part; a release leaves none, one or two allocations."""
        space = self.choose(data)
        if not self.reserved[space]:
            return
        first, end = self.range_of(data, space)
        space.free(
            first * PAGE_SIZE, (end - first) * PAGE_SIZE, Free.RELEASE if release else Free.DECOMMIT
        )
        for page in range(first, end):
            self.models[space].pop(page, None)
        if release:
            start = max(a for a in self.reserved[space] if a <= first)
            stop = self.reserved[space].pop(start)
            for a, b in ((start, first), (end, stop)):
                if a < b:
                    self.reserved[space][a] = b

    @precondition(lambda self: any(self.models.values()))
    @rule(data=st.data(), write=st.booleans(), value=st.binary(min_size=4, max_size=4))
    def access(self, data: st.DataObject, write: bool, value: bytes) -> None:
        """A read or write ends as the model says, and changes what it says."""
        space = self.choose(data)
        model = self.models[space]
        pages = [*sorted(model), max(model, default=100) + 1]
        page = data.draw(st.sampled_from(pages))
        protect, contents = model.get(page, [None, b""])
        call = (
            (lambda: self.machine.write(page * PAGE_SIZE + 8, value, space))
            if write
            else (lambda: self.machine.read(page * PAGE_SIZE + 8, 4, space))
        )
        assert isinstance(contents, bytes) and (protect is None or isinstance(protect, Protect))
        if protect is None or protect & NOACCESS or (protect == RO and write):
            fails(Status.ACCESS_VIOLATION, call)
        elif protect & GUARD:
            fails(Status.GUARD_PAGE_VIOLATION, call)
            model[page][0] = protect & ~GUARD
        elif write:
            call()
            model[page][1] = value
        else:
            assert call() == (contents or bytes(4))

    @precondition(lambda self: len(self.models) < 4)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        """A space with the same contents, from then on its own."""
        parent = self.choose(data)
        self.forks += 1
        try:
            child = self.machine.virtual.fork(parent, f"child {self.forks}")
        except StatusError as error:
            assert error.status in (Status.COMMITMENT_LIMIT, Status.INSUFFICIENT_RESOURCES)
            return
        self.models[child] = {page: list(state) for page, state in self.models[parent].items()}
        self.reserved[child] = dict(self.reserved[parent])

    @precondition(lambda self: len(self.models) > 1)
    @rule(data=st.data())
    def destroy(self, data: st.DataObject) -> None:
        """A space ends; the others keep what they have."""
        space = self.choose(data)
        self.machine.virtual.destroy(space)
        del self.models[space], self.reserved[space]

    @invariant()
    def agrees(self) -> None:
        """Ledger, and what query says of every page."""
        self.machine.check()
        for space, model in self.models.items():
            assert space.charge == len(model)
            for page, (protect, _) in list(model.items())[::7]:
                assert space.query(page * PAGE_SIZE).protect == protect

    def teardown(self) -> None:
        """Everything is given back."""
        if hasattr(self, "machine"):
            for space in list(self.machine.virtual.spaces):
                self.machine.virtual.destroy(space)
            self.machine.check()
            assert self.machine.memory.physical.available == 300
            self.machine.scheduler.close()


TestSpaces = SpacesMachine.TestCase
TestSpaces.settings = settings(max_examples=40, stateful_step_count=40)
