"""The cache's interfaces against a bytearray: copies, waiting or not, pins, maps, lists of frames,
unbuffered transfers, zeros, flushes, purges, sizes, and a mapped view, with the ledger after each
step.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from octavo.cache.mdl import FrameList
from octavo.cache.pins import ControlBlock
from octavo.cache.readahead import ReadAhead
from octavo.machine.abi import PAGE_SIZE, State
from octavo.machine.frames import Frames
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError
from octavo.testing.bytespager import BytesPager
from tests.memory.memories import make_machine

MOST = 1_500_000
places = st.integers(0, MOST)
lengths = st.one_of(st.integers(0, 9000), st.integers(0, 200_000))


class CacheInterfaces(RuleBasedStateMachine):
    """One section in 1.25 MiB of memory, and what somebody keeps of it."""

    @initialize(seed=st.integers(0, 1000), size=st.integers(0, MOST))
    def boot(self, seed: int, size: int) -> None:
        """A machine, a section, and frames of somebody else's."""
        self.scheduler, self.memory, self.cache = make_machine(seed=seed)
        self.run = self.scheduler.run
        self.model = bytearray(bytes(range(1, 252)) * (size // 251 + 1))[:size]
        self.pager = BytesPager(self.scheduler, bytearray(self.model))
        self.section = Section("s", self.pager, None, size)
        self.blocks: list[ControlBlock] = []
        self.lists: list[FrameList] = []
        self.writing: list[tuple[FrameList, bytes]] = []
        self.buffer = self.memory.allocate_contiguous(40)
        self.history = ReadAhead()

    def _clip(self, at: int, length: int) -> tuple[int, int]:
        at = min(at, len(self.model))
        return at, min(length, len(self.model) - at)

    def _frames(self, length: int, skew: int) -> Frames:
        length = min(length, 40 * PAGE_SIZE - skew)
        return Frames(self.memory.ram, [((self.buffer << 12) + skew, length)], length)

    def _put(self, at: int, data: bytes) -> None:
        self.model[at : at + len(data)] = data

    @rule(at=places, length=lengths)
    def read(self, at: int, length: int) -> None:
        """Waiting."""
        got = self.run(self.cache.copy_read(self.section, at, length, self.history))
        assert got == self.model[at : at + length]

    @rule(at=places, length=lengths)
    def read_at_once(self, at: int, length: int) -> None:
        """Without waiting: right, or nothing, and there soon after."""
        got = self.cache.at_once.read(self.section, at, length)
        assert got is None or got == self.model[at : at + length]
        if got is None and length < 100_000:
            self.run(self.scheduler.sleep(0.1))
            got = self.cache.at_once.read(self.section, at, length)
            assert got is None or got == self.model[at : at + length]

    @rule(at=places, length=lengths, fill=st.integers(1, 255), through=st.booleans())
    def write(self, at: int, length: int, fill: int, through: bool) -> None:
        """Waiting, up to or over the end, or through to the pager."""
        at, data = min(at, len(self.model)), bytes([fill]) * length
        self.run(self.cache.copy_write(self.section, at, data, through))
        self._put(at, data)
        if through:
            self._arrived(at, length)

    def _arrived(self, at: int, length: int) -> None:
        end = at + length
        assert self.pager.data[at:end] == self.model[at:end], "it has not gone through"

    @rule(at=places, length=lengths, fill=st.integers(1, 255))
    def write_at_once(self, at: int, length: int, fill: int) -> None:
        """All of it, or nothing."""
        at, data = min(at, len(self.model)), bytes([fill]) * length
        if self.cache.at_once.write(self.section, at, data):
            self._put(at, data)

    @rule(at=places, length=st.one_of(lengths, st.integers(0, MOST)))
    def zero(self, at: int, length: int) -> None:
        """Short ranges in the views, long ones past them."""
        at, length = min(at, len(self.model)), min(length, MOST)
        self.run(self.cache.zero(self.section, at, length))
        self._put(at, bytes(length))

    @rule(at=places, length=lengths, skew=st.sampled_from([0, 0, 512]))
    def read_unbuffered(self, at: int, length: int, skew: int) -> None:
        """Into frames of somebody else's."""
        frames = self._frames(length, skew)
        frames.fill(b"?" * frames.length)
        count = self.run(self.cache.unbuffered.read(self.section, at, frames))
        assert frames.read()[:count] == self.model[at : at + frames.length]
        assert count == len(self.model[at : at + frames.length])

    @rule(at=places, length=lengths, skew=st.sampled_from([0, 0, 512]), aligned=st.booleans())
    def write_unbuffered(self, at: int, length: int, skew: int, aligned: bool) -> None:
        """From frames of somebody else's; afterwards the pager has it."""
        at = min(at, len(self.model))
        if aligned:
            at, length = at & ~4095, length & ~4095
        if not length:
            return
        frames = self._frames(length, skew)
        frames.fill(bytes([length % 255 + 1]) * frames.length)
        self.run(self.cache.unbuffered.write(self.section, at, frames))
        self._put(at, frames.read())
        self._arrived(at, frames.length)

    @rule(at=places, length=lengths)
    def map(self, at: int, length: int) -> None:
        """Bytes to be looked at, for as long as it takes."""
        at, length = self._clip(at, min(length, 60_000))
        if length and len(self.blocks) < 4:
            block = self.run(self.cache.blocks.map(self.section, at, length))
            assert self.cache.blocks.part(block, at, length).read() == self.model[at : at + length]
            self.blocks.append(block)

    @rule(at=places, length=lengths, fill=st.integers(1, 255), exclusive=st.booleans())
    def pin(self, at: int, length: int, fill: int, exclusive: bool) -> None:
        """Bytes to be changed, if nobody has them already."""
        at, length = self._clip(at, min(length, 60_000))
        if not length or len(self.blocks) >= 4:
            return
        if any(b.pinned for b in self.blocks):
            block = self.cache.blocks.try_pin(self.section, at, length, exclusive)
            if block is None:
                return
        else:
            block = self.run(self.cache.blocks.pin(self.section, at, length, exclusive))
        part = self.cache.blocks.part(block, at, length)
        assert part.read() == self.model[at : at + length]
        part.fill(bytes([fill]) * length)
        self.cache.blocks.set_dirty(block)
        self._put(at, bytes([fill]) * length)
        self.blocks.append(block)

    @precondition(lambda self: bool(getattr(self, "blocks", None)))
    @rule(which=st.integers(0, 3), through=st.booleans())
    def unpin(self, which: int, through: bool) -> None:
        """One of them ends; its bytes were right until then."""
        block = self.blocks.pop(which % len(self.blocks))
        at = block.first * PAGE_SIZE
        length = min(block.end * PAGE_SIZE, len(self.model)) - at
        got = self.cache.blocks.part(block, at, length).read()
        assert got == self.model[at : at + length]
        if through:
            self.run(self.cache.blocks.unpin_through(block))
            valid = max(0, min(length, self.section.valid - at))
            self._arrived(at, 0 if at + length > len(self.pager.data) else valid)
        else:
            self.cache.blocks.unpin(block)

    @rule(at=places, length=lengths)
    def list_read(self, at: int, length: int) -> None:
        """Frames for a device."""
        if len(self.lists) < 3:
            made = self.run(self.cache.lists.read(self.section, at, min(length, 60_000)))
            assert made.frames.read() == self.model[at : at + min(length, 60_000)]
            self.lists.append(made)

    @precondition(lambda self: bool(getattr(self, "lists", None)))
    @rule()
    def list_read_complete(self) -> None:
        """The device is done."""
        self.cache.lists.read_complete(self.lists.pop(0))

    @rule(at=places, length=lengths, fill=st.integers(1, 255))
    def list_write(self, at: int, length: int, fill: int) -> None:
        """Frames that a device fills; nobody sees it."""
        length = min(length, 60_000)
        if length and len(self.writing) < 3:
            at = min(at, len(self.model))
            made = self.run(self.cache.lists.prepare_write(self.section, at, length))
            made.frames.fill(bytes([fill]) * length)
            self.writing.append((made, bytes([fill]) * length))

    @precondition(lambda self: bool(getattr(self, "writing", None)))
    @rule(abort=st.booleans(), through=st.booleans())
    def list_write_end(self, abort: bool, through: bool) -> None:
        """Completed, all of it is there; aborted, nothing."""
        made, data = self.writing.pop(0)
        if abort or made.offset > len(self.model):
            self.cache.lists.write_abort(made)
            return
        self.run(self.cache.lists.write_complete(made, through))
        self._put(made.offset, data)
        if through:
            self._arrived(made.offset, made.length)

    @rule(at=places, length=lengths)
    def flush(self, at: int, length: int) -> None:
        """A range."""
        at, length = self._clip(at, length)
        self.run(self.cache.flush(self.section, at, length))
        valid = max(0, min(at + length, self.section.valid, len(self.pager.data)) - at)
        self._arrived(at, valid)

    @rule(at=places, length=st.integers(0, MOST))
    def purge(self, at: int, length: int) -> None:
        """A range that was flushed; what is pinned stays."""
        self.run(self.cache.flush(self.section))
        self.run(self.cache.purge_range(self.section, at, length))

    @rule(size=st.integers(0, MOST), lower=st.integers(0, 30_000))
    def set_sizes(self, size: int, lower: int) -> None:
        """What grows is zeros, and so is what is valid no more."""
        old, _ = len(self.model), self.cache.sizes.get(self.section)
        valid = max(0, min(self.section.valid, old, size) - (lower if lower < 10_000 else 0))
        pinned = self.section.is_locked(-(-valid // PAGE_SIZE))
        try:
            self.run(self.cache.sizes.set(self.section, max(size, old), size, valid))
        except StatusError as error:
            assert error.status == Status.USER_MAPPED_FILE and pinned
            assert self.section.size == old
        else:
            del self.model[size:]
            self.model += bytes(size - len(self.model))
            self.model[valid:] = bytes(size - valid)
            assert self.cache.sizes.get(self.section)[1:] == (size, valid)

    @rule()
    def all_valid(self) -> None:
        """Zeros that nobody has written are written."""
        self.run(self.cache.sizes.reach(self.section, len(self.model)))
        assert self.section.valid >= self.section.size

    @rule(pages=st.integers(1, 400))
    def trim(self, pages: int) -> None:
        """Pressure: views are let go."""
        self.memory.pageout.trim(pages)

    @rule()
    def failing_flush(self) -> None:
        """It says so, and loses nothing."""
        self.run(self.cache.copy_write(self.section, 0, b"dirty"))
        self._put(0, b"dirty")
        self.pager.broken = {"write"}
        try:
            self.run(self.cache.flush(self.section))
            raise AssertionError("a flush that failed said nothing")
        except StatusError as error:
            assert error.status == Status.IO_DEVICE_ERROR
        self.pager.broken = set()

    @invariant()
    def balances(self) -> None:
        """The ledger, and what is flushed says where the dirty pages begin."""
        if hasattr(self, "memory"):
            self.memory.check()
            self.cache.check()
            assert self.section.size == len(self.model)

    def teardown(self) -> None:
        """What is kept ends; then the pager has everything, and every frame comes back."""
        if not hasattr(self, "memory"):
            return
        for block in self.blocks:
            self.cache.blocks.unpin(block)
        for made in self.lists:
            self.cache.lists.read_complete(made)
        for made, _ in self.writing:
            self.cache.lists.write_abort(made)
        assert not (self.cache.locked.count or self.cache.lists.count or self.cache.blocks.count)
        self.all_valid()
        self.run(self.cache.flush(self.section))
        assert self.pager.data[: len(self.model)].ljust(len(self.model), b"\0") == self.model
        self.run(self.cache.drop(self.section))
        self.memory.free_contiguous(self.buffer, 40)
        counts = self.memory.pfns.counts
        assert counts[State.STANDBY] == counts[State.MODIFIED] == counts[State.TRANSITION] == 0
        assert counts[State.ACTIVE] == -(-self.memory.pfns.frames * 32 // PAGE_SIZE)
        self.balances_at_the_end()

    def balances_at_the_end(self) -> None:
        """Once more."""
        self.memory.check()
        self.cache.check()


TestCacheInterfaces = CacheInterfaces.TestCase
TestCacheInterfaces.settings = settings(max_examples=25, stateful_step_count=40)
