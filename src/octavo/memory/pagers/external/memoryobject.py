"""A memory object: a section whose pager is external, and the kernel's end of the protocol (the
control).

    fault --> Faults --> data_request ----------message-----------> pager
                             ^                                        |
                             '--- data_supply, _unavailable, _error --'

The faulting thread waits for the pages it needs only, `timeout` seconds at most.

What a pager does wrong harms itself: an answer that nobody waits for is taken as an unasked supply
if the page is absent and frames are free, and ignored otherwise; pages that were not supplied with
a cluster are left out; one that does not answer costs each who needs its pages a timeout, and
MOST_TIMEOUTS of them in a row end the object until its pager shows life; one that does not take
pages back keeps its own pages modified, `quota` of them at most, and nobody else's.

A pager is asked for whole clusters once it has set a cluster size by `change_attributes`. One that
has not knows single pages only: each request is split, and a DeprecationWarning says so once a
pager.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from octavo.arguments import given, named, numbers, octets
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE, SEGMENT_PAGES
from octavo.memory.manager import MemoryManager
from octavo.memory.pagers.external.asking import Request, alike, resident_pages, want_back
from octavo.memory.pagers.external.messages import Access, CopyStrategy, ExternalPager, Return
from octavo.memory.pages.section import DirtyRun, PagerTraits, Section, pages_of
from octavo.memory.runs import run_at, with_run
from octavo.printing import counted
from octavo.status import Status, StatusError
from octavo.threads.wait import Event, Queue

TIMEOUT_SECONDS = 5.0
MOST_TIMEOUTS = 3  # in a row
MOST_MESSAGES = 1024  # that a pager has not looked at
_warned: weakref.WeakSet[object] = weakref.WeakSet()


class MemoryObject:
    """`size` bytes that `pager` keeps; `section` is what is mapped, read and written. Made by
    `Sections.create_external`.
    """

    def __init__(
        self,
        memory: MemoryManager,
        pager: ExternalPager,
        name: str,
        size: int,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self.memory, self.pager, self.timeout = memory, pager, timeout
        self.section = Section(name, self, None, size)
        quota = max(16, memory.physical.available // 8)
        self.traits = PagerTraits(lazy=False, quota=quota, gate=self)
        self.may_cache = True
        self.dead: StatusError | None = None
        self.locks = [(0, self.section.pages, Access.NONE)]  # runs of pages
        self.requests: list[Request] = []
        self.counts = dict.fromkeys(
            (
                "requests",
                "messages",
                "supplied",
                "unasked",
                "ignored",
                "timeouts",
                "returned",
                "refused",
            ),
            0,
        )
        self._ready, self._unlocked = Event(), Event()
        self._clustered = False
        self._asked: dict[
            int, float
            # pages that a pager of single pages has been asked for, and until when it may think
            # about
            # them
        ] = {}
        self._silent = 0  # timeouts in a row
        self._messages: Queue[Callable[[], Awaitable[None]]] = Queue(MOST_MESSAGES)
        memory.scheduler.serve(self._serve, f"pager of {name}")
        self._post(lambda: pager.init(self, PAGE_SIZE))

    # -- messages to the pager --------------------------------------------------------------------

    async def _serve(self) -> None:
        while True:
            message = await self._messages.get()
            try:
                await message()
            except Exception:  # noqa: BLE001 -- it is the pager's own failure, whatever it is
                self.counts["refused"] += 1

    def _post(self, message: Callable[[], Awaitable[None]]) -> bool:
        """Sends a message; False when the pager has too many that it has not looked at."""
        self.counts["messages"] += 1
        return self._messages.try_put(message)

    async def data_request(
        self, section: Section, page: int, buffers: list[memoryview], need: range
    ) -> int | None:
        """See `octavo.memory.pages.section.Pager`. StatusError IO_TIMEOUT, or what it said."""
        self._check_alive()
        pages = pages_of(buffers)
        request = Request(page, pages, (1 << need.stop) - (1 << need.start))
        self.requests.append(request)
        self.counts["requests"] += 1
        try:
            if not self._ready.signalled and not await self.memory.scheduler.wait(
                self._ready, self.timeout
            ):
                raise self._timed_out(f"{section.name}: its pager is not ready")
            self._ask(request, need)
            if not request.event.signalled and not await self.memory.scheduler.wait(
                request.event, self.timeout
            ):
                raise self._timed_out(
                    f"{section.name}: its pager has not answered for page "
                    f"{page + need.start} within {self.timeout:g} s"
                )
        finally:
            self.requests.remove(request)
        if request.error is not None:
            raise request.error
        return None if request.supplied == (1 << len(pages)) - 1 else request.supplied

    def _ask(self, request: Request, need: range) -> None:
        count = len(request.buffers)
        if (
            self._clustered
        ):  # who waits comes first: a pager may supply only what a message begins with
            parts = [(need.start, count - need.start), *([(0, need.start)] if need.start else [])]
        else:
            now = self.memory.scheduler.clock.now()
            order = (*need, *(i for i in range(count) if i not in need))  # who waits comes first
            parts = [(i, 1) for i in order if self._asked.get(request.page + i, 0) <= now]
            self._asked.update((request.page + i, now + self.timeout) for i, _ in parts)
            if count > 1 and self.pager not in _warned:
                _warned.add(self.pager)
                warnings.warn(
                    f"the pager of {self.section.name} takes single pages only: set a "
                    "cluster size by change_attributes",
                    DeprecationWarning,
                    stacklevel=2,
                )
        for i, pages in parts:
            offset, length = request.page + i << PAGE_SHIFT, pages << PAGE_SHIFT
            # the defaults bind both now, and mypy does not infer such a lambda
            self._post(lambda o=offset, n=length: self.pager.data_request(self, o, n, Access.READ))  # type: ignore[misc]

    def _check_alive(self) -> None:
        if self.dead is not None:
            raise self.dead
        if self._silent >= MOST_TIMEOUTS:
            raise StatusError(
                Status.IO_TIMEOUT,
                f"{self.section.name}: its pager has not answered "
                f"{counted(self._silent, 'time')} and is not asked any more",
            )

    def _timed_out(self, text: str) -> StatusError:
        self.counts["timeouts"] += 1
        self._silent += 1
        return StatusError(Status.IO_TIMEOUT, text)

    async def data_return(self, runs: Sequence[DirtyRun]) -> list[StatusError | None]:
        """See `octavo.memory.pages.section.Pager`: one message a run, and the time for all of them
        together is bounded.
        """
        acknowledged = [self._give_back(run) for run in runs]
        deadline = self.memory.scheduler.clock.now() + self.timeout
        out: list[StatusError | None] = []
        for run, (done, errors) in zip(runs, acknowledged, strict=True):
            left = deadline - self.memory.scheduler.clock.now()
            if not done.signalled and not (
                left > 0 and await self.memory.scheduler.wait(done, left)
            ):
                errors.append(
                    self._timed_out(
                        f"{self.section.name}: its pager has not taken page {run.page} back"
                    )
                )
            out.append(errors[0] if errors else None)
            self.counts["returned"] += 0 if errors else sum(map(len, run.buffers)) >> PAGE_SHIFT
        return out

    def _give_back(self, run: DirtyRun) -> tuple[Event, list[StatusError]]:
        """Sends the bytes of a run, a message for each stretch of pages that are alike; returns the
        event of their being kept, and where errors will be.
        """
        done, errors = Event(), list[StatusError]()
        data, precious = b"".join(run.buffers), self.section.precious
        parts = alike(self.memory.ram, self.section, run.page, len(data) >> PAGE_SHIFT)

        async def deliver() -> None:
            try:
                for page, count, dirty, kept in parts:
                    at = page - run.page << PAGE_SHIFT
                    await self.pager.data_return(
                        self, page << PAGE_SHIFT, data[at : at + (count << PAGE_SHIFT)], dirty, kept
                    )
                    precious.difference_update(range(page, page + count))
                self._silent = 0
            except StatusError as error:
                errors.append(error)
            except Exception as error:  # noqa: BLE001 -- the pager's own failure
                errors.append(
                    StatusError(
                        Status.IO_DEVICE_ERROR,
                        f"{self.section.name}: its pager has failed: {error!r}",
                    )
                )
            done.signal()

        busy = StatusError(
            Status.INSUFFICIENT_RESOURCES,
            f"{self.section.name}: its pager has {MOST_MESSAGES} messages to look at",
        )
        refusal = self.dead or (None if self._post(deliver) else busy)
        if refusal is not None:
            errors.append(refusal)
            done.signal()
        return done, errors

    # -- messages from the pager ------------------------------------------------------------------

    def ready(self) -> None:
        """The pager can be asked."""
        self._ready.signal()

    def data_supply(
        self,
        offset: int,
        data: bytes | bytearray | memoryview,
        lock: Access = Access.NONE,
        precious: bool = False,
    ) -> int:
        """Whole pages of data from `offset` on, asked for or not; returns the bytes taken, which
        end at the first page that is there already.

        `lock` prohibits accesses; a `precious` page is returned when it leaves, modified or not.
        StatusError INVALID_PARAMETER.
        """
        view = octets(data, f"{self.section.name}: what its pager supplies")
        first, count = self._pages(offset, len(view))
        given(lock, Access, f"{self.section.name}: a lock")
        self._silent = 0
        for i in range(count):
            part = view[i << PAGE_SHIFT : i + 1 << PAGE_SHIFT]
            if not self._answer(first + i, part) and not self._unasked(first + i, part, precious):
                self.counts["ignored"] += 1
                return i << PAGE_SHIFT
            if lock:
                self.locks = with_run(self.locks, first + i, first + i + 1, lock)
            if precious:  # who waits for the page runs later, and sees it
                self.section.precious.add(first + i)
            self.counts["supplied"] += 1
        return len(view)

    def data_unavailable(self, offset: int, length: int) -> None:
        """The pager has nothing for these pages: they are zeros."""
        first, count = self._pages(offset, length)
        self._silent = 0
        for page in sorted(
            {page for request in self.requests for page in request.within(first, first + count)}
        ):
            self._answer(page, memoryview(bytes(PAGE_SIZE)))

    def data_error(self, offset: int, length: int, text: str) -> None:
        """The pager cannot give these pages: who waits for one of them gets an error, the others
        are left out.
        """
        first, count = self._pages(offset, length)
        named(text, f"{self.section.name}: an error of its pager")
        self._silent = 0
        for request in self.requests:
            for page in request.within(first, first + count):
                self._asked.pop(page, None)
                bit = 1 << page - request.page
                request.answered |= bit
                if request.need & bit & ~request.supplied:
                    request.error = StatusError(
                        Status.IO_DEVICE_ERROR,
                        f"{self.section.name}: its pager cannot give page {page}: {text}",
                    )
            request.look()

    def _pages(self, offset: int, length: int) -> tuple[int, int]:
        numbers(offset=offset, length=length)
        if (
            offset < 0
            or length <= 0
            or (offset | length) & PAGE_SIZE - 1
            or offset + length > self.section.pages << PAGE_SHIFT
        ):
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"{self.section.name}: {length} bytes at {offset} are not whole pages of "
                f"its {counted(self.section.size, 'byte')}",
            )
        return offset >> PAGE_SHIFT, length >> PAGE_SHIFT

    def _answer(self, page: int, data: memoryview) -> bool:
        """Fills a page that was asked for; False when it was not, or was answered before."""
        self._asked.pop(page, None)
        for request in self.requests:
            i = page - request.page
            if 0 <= i < len(request.buffers) and not request.answered >> i & 1:
                request.buffers[i][:] = data
                request.answered |= 1 << i
                request.supplied |= 1 << i
                request.look()
                return True
        return False

    def _unasked(self, page: int, data: memoryview, precious: bool) -> bool:
        """Takes a page that nobody asked for to its list; False when it is there already, or frames
        are wanted elsewhere.
        """
        physical = self.memory.physical
        if physical.buddy.free_frames < self.memory.pageout.low:
            return False
        adopted = self.memory.residency.adopt(self.section, page)
        if adopted is None:
            return False
        segment, frame = adopted
        physical.ram.frame(frame)[:] = data
        if precious:
            self.memory.writeback.mark(segment, 1 << page % SEGMENT_PAGES, written=False)
        self.memory.residency.deactivate(segment, frame)
        self.counts["unasked"] += 1
        return True

    async def lock_request(
        self,
        offset: int,
        length: int,
        give: Return = Return.NONE,
        flush: bool = False,
        lock: Access | None = None,
    ) -> None:
        """Changes locks (None: as they are), returns resident pages, then drops them with `flush`;
        then sends lock_completed.

        What is modified while others are returned stays. StatusError INVALID_PARAMETER, or that of
        a return that failed; then nothing is dropped.
        """
        first, count = self._pages(offset, length)
        given(give, Return, f"{self.section.name}: the pages to give back")
        given(Access.NONE if lock is None else lock, Access, f"{self.section.name}: a lock")
        if lock is not None:
            self.locks = with_run(self.locks, first, first + count, lock)
            for view in self.section.views:
                view.forget(first, first + count)
            self._unlocked.signal()
            self._unlocked = Event()
        writeback = self.memory.writeback
        if give == Return.ALL:
            for page in resident_pages(self.memory, self.section, first, first + count):
                await want_back(self.memory, self.section, page)
        if give != Return.NONE:
            await writeback.flush(self.section, first, first + count)
        if flush:
            await writeback.purge(self.section, first, first + count, dirty=give == Return.NONE)
        self._post(lambda: self.pager.lock_completed(self, offset, length))

    def prohibits(self, page: int, write: bool) -> bool:
        """See `octavo.memory.pages.section.Gate`."""
        return bool(run_at(self.locks, page)[2] & (Access.WRITE if write else Access.READ))

    async def admit(self, page: int, write: bool) -> None:
        """See `octavo.memory.pages.section.Gate`. StatusError IO_TIMEOUT."""
        wanted = Access.WRITE if write else Access.READ
        while self.prohibits(page, write):
            self._check_alive()
            event = self._unlocked
            self._post(lambda: self.pager.data_unlock(self, page << PAGE_SHIFT, PAGE_SIZE, wanted))
            if not await self.memory.scheduler.wait(event, self.timeout):
                raise self._timed_out(
                    f"{self.section.name}: its pager has not unlocked page {page}"
                )

    def change_attributes(
        self,
        cluster_size: int | None = None,
        may_cache: bool | None = None,
        copy_strategy: CopyStrategy | None = None,
    ) -> None:
        """Sets the bytes that one data_request may ask for (0: a page), whether pages stay without
        a view, and how copies are made.

        StatusError INVALID_PARAMETER for a cluster that is not a power of two of pages, or more
        than a segment.
        """
        given(
            CopyStrategy.DELAY if copy_strategy is None else copy_strategy,
            CopyStrategy,
            f"{self.section.name}: a copy strategy",
        )
        if cluster_size is not None:
            numbers(cluster_size=cluster_size)
            pages = max(cluster_size, PAGE_SIZE) >> PAGE_SHIFT
            if (
                cluster_size & PAGE_SIZE - 1
                or pages & pages - 1
                or not 0 < pages <= SEGMENT_PAGES
                or cluster_size < 0
            ):
                raise StatusError(
                    Status.INVALID_PARAMETER,
                    f"{self.section.name}: a cluster of {cluster_size} bytes is not a "
                    f"power of two of up to {SEGMENT_PAGES} pages",
                )
            self._clustered, self.traits = True, replace(self.traits, cluster=pages)
        if may_cache is not None:
            self.may_cache = may_cache
        if copy_strategy is not None:
            self.traits = replace(self.traits, eager=copy_strategy == CopyStrategy.NONE)

    def destroy(self, text: str) -> None:
        """The pager gives the object up: whoever waits, and whoever comes, gets an error.

        StatusError INVALID_PARAMETER.
        """
        named(text, f"{self.section.name}: why its pager gives it up")
        self.dead = StatusError(
            Status.IO_DEVICE_ERROR, f"{self.section.name}: its pager has given it up: {text}"
        )
        for request in self.requests:
            request.error = self.dead
            request.event.signal()
        self._unlocked.signal()

    # -- the end ----------------------------------------------------------------------------------

    async def let_go(self) -> None:
        """No view is left and the pager does not want its pages kept: modified ones are returned,
        all are dropped, unless returning fails.

        What is modified meanwhile, through another view, stays.
        """
        try:
            await self.memory.writeback.flush(self.section)
        except StatusError as error:
            self.memory.writeback.errors.note(self.section, error)
        else:
            await self.memory.writeback.purge(self.section, 0, dirty=False)

    async def end(self) -> None:
        """The object ends: modified pages are returned if the pager takes them, and it is told."""
        if self.dead is None:
            await self.let_go()
        self.section.size = 0
        await self.memory.writeback.purge(self.section, 0)
        self.memory.writeback.errors.forget(self.section)
        self._post(lambda: self.pager.terminate(self))

    def statistics(self) -> dict[str, int]:
        """Requests, messages, pages supplied, unasked, ignored, returned; timeouts, and messages
        that the pager refused.
        """
        return dict(self.counts)
