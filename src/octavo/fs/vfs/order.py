"""How changes get into memory, and from there to the device: whole, and in order.

Whoever is pointed to is on the medium before who points, and nothing is given away before nobody
points to it there:

    flag     the dirty flag is set                                    before the first change
    FRESH    data, new chains, directories that are new
    JOIN     chains of the medium are joined to what was appended
    NAME     directories: entries point to what is fresh or joined, and sizes fit
    ERASE    names that were moved away from are erased
    CUT      chains are cut
    FREE     extents are freed, and the summary (free counts) is written
    flag     the dirty flag is cleared

`flush` writes all of this with a barrier (a device flush) between two lines; lines without work
cost none. The lazy writer and pageout write FRESH and NAME only, by `lead`. What waits for the
other lines is kept in memory: entries that have changed (`stale`: of nodes, which are bounded),
names that were moved away from (`erasures`), and what the format has (`Planner.due`), MOST_WAITING
of these two at most.

Source: soft updates (Ganger and Patt 1994), as far as FAT needs them. docs/decisions/0015.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Generic

from octavo.cache.manager import CacheManager
from octavo.fs.vfs.edits import MOST_HELD, PAGE_MASK, Change, Edit, Phase
from octavo.fs.vfs.node import Directory, E, Node
from octavo.fs.vfs.watch import SpaceWatch
from octavo.memory.pages.section import Section
from octavo.status import Status, StatusError
from octavo.threads.wait import marks, preemption_point

if TYPE_CHECKING:
    from octavo.fs.vfs.format import Planner

MOST_WAITING = 4096
MOST_TRIES = 4  # of a writer in the background, while others change what is fresh


class Writer(Generic[E]):
    """The changes of one volume. All methods but `lead` are called under its mutex."""

    def __init__(self, name: str, planner: Planner[E], cache: CacheManager) -> None:
        self.name = name
        self.planner = planner
        self.cache = cache
        self.pager = planner.pager
        self.stale: dict[Node[E], None] = {}
        self.fresh: dict[Section, None] = {}  # of directories that nothing on the medium names yet
        # directories, which are kept for it, entries, and what nobody else may be called there
        self.erasures: list[tuple[Directory[E], E, set[str]]] = []
        self.gone: dict[Node[E], None] = {}  # files that are open, and have no name any more
        self.ahead: dict[Node[E], None] = {}  # open files that have more room than bytes
        self.watches: list[SpaceWatch] = []
        self.modified = False  # since the last complete flush: the flag is on the medium
        self.flagged = False  # the flag may be on the medium
        self.changes = 0  # of pages and entries
        self._flushing = False

    # -- changes in memory -------------------------------------------------------------------------

    def begun(self) -> bool:
        """Whether a change may be planned at once, since `begin` has nothing to do."""
        return self.modified and len(self.erasures) + self.planner.waiting() <= MOST_WAITING

    @property
    def idle(self) -> bool:
        """Nothing waits to be written."""
        return not (
            self.modified or self.stale or self.gone or self.ahead or self._dirty(directories=True)
        )

    async def begin(self) -> None:
        """Called before each change is planned: has the dirty flag on the medium before the first
        one, and keeps short what waits.
        """
        if self.begun():
            return
        if self.modified:
            await self.make_way()
            return
        if not self.planner.unclean:
            self.flagged = True
            await self._set_flag(True)
            await self.cache.flush(self.planner.sections[0])
            await self.pager.barrier()
        self.modified = True

    async def apply(self, change: Change) -> None:
        """Puts every edit of a change into memory, or none; StatusError when a page cannot be
        read.
        """
        if marks.on:
            await preemption_point()
        if not self._try_put(change, change.edits):
            await self._apply_held(change)
        change.settle()
        if self.watches:
            self.tell_space()

    def try_apply(self, change: Change) -> bool:
        """As `apply`, without waiting; False, and nothing done, when a page is not there."""
        if marks.on or not self._try_put(change, change.edits):
            return False
        change.settle()
        if self.watches:
            self.tell_space()
        return True

    def tell_space(self) -> None:
        """Who watches the free space learns how much there is, where that is known."""
        free = self.planner.free_bytes()
        for watch in self.watches if free >= 0 else ():
            watch.look(free)

    def try_edit(self, edit: Edit) -> bool:
        """As `try_apply`, of one edit that no book is about."""
        self.changes += 1
        return self.cache.put((edit,))

    def _try_put(self, change: Change, edits: list[Edit], last: bool = True) -> bool:
        """Puts edits, with the last one of the change if it still wants it; False, and nothing
        done, when a page is not there.
        """
        self.changes += 1
        if last and change.last and change.wants_last():
            edits = [*edits, *change.last]
        return self.cache.put(edits)

    async def _apply_held(self, change: Change) -> None:
        """Puts a change whose pages are made resident first, and held until all of them are there.

        Where they are too many, the edits that nothing points to go before the others, a few pages
        at a time: what has begun then, and does not come to its end, is in nobody's way.
        """
        edits = change.edits
        if len(_pages(edits)) > MOST_HELD:
            loose = [edit for edit in edits if edit[0].leads is None]
            edits = [edit for edit in edits if edit[0].leads is not None]
            for group in _groups(loose):
                await self._put_held(change, group, last=False)
                change.begun += len(group)
        await self._put_held(change, edits, last=True)

    async def _put_held(self, change: Change, edits: list[Edit], last: bool) -> None:
        if self._try_put(change, edits, last):
            return
        every = [*edits, *change.last] if last else edits
        async with AsyncExitStack() as held:
            for section, page in _pages(every):
                await held.enter_async_context(self.cache.hold(section, page, 1))
            while not self._try_put(change, edits, last):
                busy = next((s for s, _, _ in every if s.leads is not None and s.writes), None)
                assert busy is not None, "a page that is held went away"
                await self.cache.memory.writeback.wait_idle(busy)

    async def put(self, section: Section, offset: int, data: bytes) -> None:
        """A change of bytes in one place, which no book is about."""
        with Change() as change:
            change.edit(section, offset, data)
            await self.apply(change)

    def mended(self) -> None:
        """Nothing is wrong with the volume any more: the next flush may clear the dirty flag."""
        self.flagged = self.flagged or self.planner.unclean
        self.planner.unclean = False

    async def _set_flag(self, dirty: bool) -> None:
        with Change() as change:
            await self.planner.flag(change, dirty)
            await self.apply(change)

    # -- what waits --------------------------------------------------------------------------------

    def mark_stale(self, node: Node[E]) -> None:
        """Notes that a node's entry has changed, if it has one still."""
        if node in self.gone:
            return
        self.changes += 1
        node.stale = True
        self.stale[node] = None

    def leave(self, source: Directory[E], entry: E) -> None:
        """Takes a name that was moved away from out of its directory; it is erased in its phase."""
        keys = source.keys(entry)
        source.drop(entry)
        source.live += 1
        source.leaving |= keys
        self.erasures.append((source, entry, keys))

    def leaves(self, directory: Directory[E]) -> bool:
        """True when a name waits for being erased in a directory."""
        return any(waiting is directory for waiting, _, _ in self.erasures)

    # -- writing -----------------------------------------------------------------------------------

    def _dirty(self, directories: bool) -> list[Section]:
        """The volume's sections with dirty pages, those of directories that entries name only if
        asked for.
        """
        return [
            s
            for s in self.cache.memory.writeback.sections
            if s.pager is self.pager and (directories or s.leads is None)
        ]

    async def write_pages(self, directories: bool = True) -> StatusError | None:
        """Writes every dirty page (without those of directories, if not asked for), whatever
        happens to others of them.

        Returns the first error, or one that a write in the background has left.
        """
        writeback = self.cache.memory.writeback
        first: StatusError | None = None
        failed: set[Section] = set()
        while True:
            sections = [s for s in self._dirty(directories) if s not in failed]
            if picks := [p for s in sections for p in writeback.picks(s)]:
                _, error = await writeback.write(picks)
                if error is not None:
                    first = first or error
                    failed.update(s for s in sections if s.dirty)
            elif busy := next(
                (s for s in writeback.in_flight_sections if s.pager is self.pager), None
            ):
                await writeback.wait_idle(busy)
            else:
                break
        told = writeback.errors.take_all(self.pager)
        return first or told

    async def lead(self) -> None:
        """What entries point to is on the medium (FRESH); StatusError when it cannot be,
        DEVICE_BUSY while others go on changing it.
        """
        writeback = self.cache.memory.writeback
        for _ in range(MOST_TRIES):
            pointed = [*self.planner.sections, *self.fresh]
            sections = (
                pointed if self._flushing else self._dirty(directories=False)
            )  # a flush has written the data already
            await writeback.write([p for s in sections for p in writeback.picks(s)], asked=False)
            for section in pointed:
                await writeback.wait_idle(section)
            await self.pager.barrier()
            # Others may have changed them, and even written them, since the barrier.
            if not any(s.dirty or s.writes or s in self.pager.loose for s in pointed):
                break
            for section in pointed:
                if error := writeback.errors.peek(section):
                    raise error
        else:
            raise StatusError(
                Status.DEVICE_BUSY,
                f"{self.name}: directories cannot be written while files are being made",
            )
        for section in self.fresh:  # from now on they may be named
            section.leads = self.lead
        self.fresh.clear()
        self.planner.settled()

    async def write_in_order(self) -> None:
        """Brings all changes to the medium but the clean flag; raises the first error after all was
        tried that may be tried.
        """
        self._flushing = True
        try:
            error = await self.write_pages(directories=False)
            self._expect_clean(error, [*self.planner.sections, *self.fresh])
            if self.planner.waiting(Phase.JOIN):
                await self.pager.barrier()
                await self._put_due(Phase.JOIN)
                self._expect_clean(await self.write_pages(directories=False), self.planner.sections)
            error = error or await self._put_entries()
            error = await self.write_pages() or error
            self._expect_clean(error, [s for s in self._dirty(True) if s.leads is not None])
            if error is not None:
                raise error
            if self.erasures:
                await self._erase()
                self._expect_clean(
                    await self.write_pages(), self._dirty(True)
                )  # `lead` has a barrier before them
            await self._give_back()
        finally:
            self._flushing = False

    async def make_way(self) -> bool:
        """As `write_in_order`, for an operation that gains by it and can go on without; the next
        flush tells what failed.
        """
        try:
            await self.write_in_order()
        except StatusError as error:
            self.cache.memory.writeback.errors.note(self.planner.sections[0], error)
            return False
        return True

    def _expect_clean(self, error: StatusError | None, sections: list[Section]) -> None:
        """Raises the error that left one of these sections dirty: what follows on the medium must
        not come before it.
        """
        if error is not None and any(section.dirty for section in sections):
            raise error

    async def _put_due(self, phase: Phase) -> None:
        """Puts into memory what has waited for a phase."""
        while (change := await self.planner.due(phase)) is not None:
            with change:
                await self.apply(change)

    async def _put_entries(self) -> StatusError | None:
        """Puts all changed entries into their pages, as far as it goes; returns the first error."""
        assert not self.planner.waiting(Phase.JOIN), "an entry would claim what it does not have"
        nodes, change = list(self.stale), Change()
        for node in nodes:
            self.planner.describe(change, node)
        if self.cache.put(change.edits):
            self.stale.clear()
            for node in nodes:
                node.stale = False
            return None
        first = None
        for node in nodes:
            # before anything waits: who closes the file meanwhile marks it again
            self.stale.pop(node, None)
            node.stale = False
            try:
                with Change() as change:
                    self.planner.describe(change, node)
                    await self.apply(change)
            except StatusError as error:
                self.mark_stale(node)
                first = first or error
        return first

    async def _erase(self) -> None:
        """Erases the names that were moved away from, a few at a time: their pages are held."""
        while batch := self.erasures[: MOST_HELD // 2]:
            with self.planner.change() as change:
                for directory, entry, _ in batch:
                    self.planner.erase(change, directory, entry)
                await self.apply(change)
            del self.erasures[: len(batch)]
            for directory, _, keys in batch:
                directory.live -= 1
                directory.leaving -= keys

    async def _give_back(self) -> None:
        """Cuts and frees what no entry on the medium points to any more."""
        cuts = self.planner.waiting(Phase.CUT)
        if cuts or self.planner.waiting(Phase.FREE):
            await self.pager.barrier()
            if cuts:
                await self._put_due(Phase.CUT)
                self._expect_clean(await self.write_pages(), self._dirty(True))
                await self.pager.barrier()
            await self._put_due(Phase.FREE)
        if self.modified:
            with self.planner.change() as change:
                await self.planner.summarize(change)
                await self.apply(change)
        if error := await self.write_pages():
            raise error

    async def flush(self) -> None:
        """Writes all that is dirty, then the clean flag; returns when all of it is on stable
        storage. While there are files without names, or with room that they do not use, which
        a power cut would leave to nobody, the volume keeps its dirty flag.
        """
        await self.write_in_order()
        await self.pager.barrier()
        # the next change sets the flag again, whatever becomes of the following write
        self.modified = False
        if self.flagged and not (self.gone or self.ahead):
            await self._set_flag(False)
            if error := await self.write_pages():
                raise error
            await self.pager.barrier()
            self.flagged = False


def _pages(edits: list[Edit]) -> dict[tuple[Section, int], None]:
    """The pages that edits are in, each once: (section, offset of the page)."""
    return {(section, offset & ~PAGE_MASK): None for section, offset, _ in edits}


def _groups(edits: list[Edit]) -> Iterator[list[Edit]]:
    """Edits in their order, in groups that MOST_HELD pages have."""
    group: list[Edit] = []
    pages: set[tuple[Section, int]] = set()
    for edit in edits:
        page = (edit[0], edit[1] & ~PAGE_MASK)
        if page not in pages and len(pages) == MOST_HELD:
            yield group
            group, pages = [], set()
        group.append(edit)
        pages.add(page)
    yield group
