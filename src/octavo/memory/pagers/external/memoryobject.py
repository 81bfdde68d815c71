"""A memory object: a section whose pager is external, and the kernel's end of the protocol.

    fault --> Faults --> DataRequest -----------message-----------> pager
                             ^                                        |
                             '--- DataSupply, Unavailable, Error -----'

The faulting thread waits for the pages it needs only, `timeout` seconds at most.

What a pager does wrong harms itself: an answer that nobody waits for is taken as an unasked supply
if the page is absent and frames are free, and ignored otherwise; pages that were not supplied with
a cluster are left out; one that does not answer costs each who needs its pages a timeout, and
MOST_TIMEOUTS of them in a row end the object until its pager shows life; one that does not take
pages back keeps its own pages modified, `quota` of them at most, and nobody else's.

A pager is asked for whole clusters once it has set a cluster size by `ChangeAttributes`. One that
has not knows single pages only: each request is split, and a DeprecationWarning says so once an
object.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from octavo.arguments import given, invalid, named, numbers, octets
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE, SEGMENT_PAGES
from octavo.machine.frames import Frames
from octavo.memory.pagers.external.asked import Asked, Question
from octavo.memory.pagers.external.messages import (
    Access,
    ChangeAttributes,
    CopyStrategy,
    DataError,
    DataRequest,
    DataReturn,
    DataReturned,
    DataSupply,
    DataUnavailable,
    DataUnlock,
    Destroy,
    FromPager,
    Init,
    LockCompleted,
    LockRequest,
    Ready,
    Refused,
    Return,
    Terminate,
    ToPager,
)
from octavo.memory.pagers.external.pager import Outcome
from octavo.memory.pagers.external.residentpages import ResidentPages
from octavo.memory.pages.section import DirtyRun, PagerTraits, Section
from octavo.memory.runs import run_at, with_run
from octavo.printing import counted
from octavo.status import Status, StatusError
from octavo.threads.scheduler import Scheduler
from octavo.threads.wait import Event, Queue

if TYPE_CHECKING:
    from octavo.statistics import MemoryObjectStatistics

TIMEOUT_SECONDS = 5.0
MOST_TIMEOUTS = 3  # in a row
MOST_MESSAGES = 1024  # that a pager has not looked at, and lock requests under way


@dataclass
class MemoryObjectCounts:
    """What has happened: see `octavo.statistics.MemoryObjectStatistics`."""

    requests: int = 0
    messages: int = 0
    supplied: int = 0
    unasked: int = 0
    ignored: int = 0
    timeouts: int = 0
    returned: int = 0
    refused: int = 0


@dataclass(slots=True, eq=False)
class _Returning:
    """A run of `length` bytes from `page` on that the pager was given and has not answered for."""

    page: int
    length: int
    done: Event = field(default_factory=Event)
    error: StatusError | None = None


class MemoryObject:
    """`size` bytes that somebody keeps who takes `messages`, and who answers by `receive`.
    `section` is what is mapped, read and written.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        resident: ResidentPages,
        name: str,
        size: int,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._scheduler, self._resident, self.timeout = scheduler, resident, timeout
        self.section = Section(name, self, None, size)
        self.traits = PagerTraits(lazy=False, quota=resident.quota(), gate=self)
        self.may_cache = True
        self.dead: StatusError | None = None
        self.locks = [(0, self.section.pages, Access.NONE)]  # runs of pages
        self.counts = MemoryObjectCounts()
        self.messages: Queue[ToPager] = Queue(MOST_MESSAGES)
        self._asked = Asked()
        self._ready, self._unlocked = Event(), Event()
        self._clustered = self._warned = False
        self._silent = 0  # timeouts in a row
        self._returning: dict[int, _Returning] = {}  # by the number of the message
        self._numbers = 0  # of DataReturns so far
        self._locking = 0  # lock requests under way
        self._post(Init(PAGE_SIZE, size))

    def _post(self, message: ToPager) -> bool:
        """Sends a message; False when the pager has too many that it has not looked at."""
        self.counts.messages += 1
        return self.messages.try_put(message)

    # -- pages come -------------------------------------------------------------------------------

    async def data_request(
        self, section: Section, page: int, frames: Frames, need: range
    ) -> int | None:
        """See `octavo.memory.pages.section.Pager`. StatusError IO_TIMEOUT, or what it said."""
        self._check_alive()
        pages = [frames.ram.frame(pfn) for pfn in frames.pages()]
        question = self._asked.open(page, pages, need)
        self.counts.requests += 1
        late = f"has not answered for page {page + need.start} within {self.timeout:g} s"
        try:
            if not await self._scheduler.wait(self._ready, self.timeout):
                raise self._timed_out("is not ready")
            self._ask(question, need)
            if not await self._scheduler.wait(question.event, self.timeout):
                raise self._timed_out(late)
        finally:
            self._asked.close(question)
        if question.error is not None:
            raise question.error
        return None if question.supplied == (1 << len(question.buffers)) - 1 else question.supplied

    def _ask(self, question: Question, need: range) -> None:
        """Sends the messages of a request. Who waits comes first: a pager may supply only what a
        message begins with.
        """
        count = len(question.buffers)
        if self._clustered:
            parts = [(need.start, count - need.start), *([(0, need.start)] if need.start else [])]
        else:
            now = self._scheduler.clock.now()
            single = self._asked.singly(question, need, now, now + self.timeout)
            parts = [(i, 1) for i in single]
            if count > 1:
                self._warn()
        for i, pages in parts:
            offset, length = question.page + i << PAGE_SHIFT, pages << PAGE_SHIFT
            self._post(DataRequest(offset, length, Access.READ))

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            text = f"the pager of {self.section.name} takes single pages only: set a cluster size"
            warnings.warn(f"{text} by change_attributes", DeprecationWarning, stacklevel=2)

    def _check_alive(self) -> None:
        if self.dead is not None:
            raise self.dead
        if self._silent >= MOST_TIMEOUTS:
            times = counted(self._silent, "time")
            raise self._error(
                Status.IO_TIMEOUT, f"its pager has not answered {times} and is not asked any more"
            )

    def _timed_out(self, what: str) -> StatusError:
        self.counts.timeouts += 1
        self._silent += 1
        return self._error(Status.IO_TIMEOUT, f"its pager {what}")

    def _error(self, status: Status, text: str) -> StatusError:
        return StatusError(status, f"{self.section.name}: {text}")

    # -- pages go ---------------------------------------------------------------------------------

    async def data_return(self, runs: Sequence[DirtyRun]) -> list[StatusError | None]:
        """See `octavo.memory.pages.section.Pager`: one message a run, and the time for all of them
        together is bounded.
        """
        sent = [(run.page, *self._give_back(run)) for run in runs]
        deadline = self._scheduler.clock.now() + self.timeout
        out: list[StatusError | None] = []
        for page, number, returning in sent:
            left = deadline - self._scheduler.clock.now()
            done = returning.done
            if not done.signalled and not (left > 0 and await self._scheduler.wait(done, left)):
                returning.error = self._timed_out(f"has not taken page {page} back")
            # An answer that comes from now on is nobody's: the pages are dirty, and go once more.
            self._returning.pop(number, None)
            out.append(returning.error)
            self.counts.returned += 0 if returning.error else returning.length >> PAGE_SHIFT
        return out

    def _give_back(self, run: DirtyRun) -> tuple[int, _Returning]:
        """Sends the bytes of a run; returns the number of the message and where its answer goes."""
        data = run.frames.read()
        returning = _Returning(run.page, len(data))
        self._numbers += 1
        number = self._numbers
        parts = self._resident.parts(self.section, run.page, len(data) >> PAGE_SHIFT)
        if self.dead is not None:
            returning.error = self.dead
        elif self._post(DataReturn(number, run.page << PAGE_SHIFT, data, parts)):
            self._returning[number] = returning
            return number, returning
        else:
            text = f"its pager has {MOST_MESSAGES} messages to look at"
            returning.error = self._error(Status.INSUFFICIENT_RESOURCES, text)
        returning.done.signal()
        return number, returning

    # -- messages from the pager ------------------------------------------------------------------

    def receive(self, message: FromPager) -> Outcome:
        """Does what a message of the pager's says, or begins to. StatusError INVALID_PARAMETER for
        one that cannot be, INSUFFICIENT_RESOURCES for one lock request too many: nothing is done.
        """
        match message:
            case DataSupply():
                return Outcome(self._supply(message))
            case LockRequest():
                return self._begin_lock(message)
            case DataReturned():
                self._returned(message)
            case DataUnavailable():
                self._unavailable(message)
            case DataError():
                self._fail(message)
            case Ready():
                self._ready.signal()
            case ChangeAttributes():
                self._change(message)
            case Destroy():
                self._destroy(message)
            case Refused():
                self.counts.refused += 1
            case _:
                raise invalid(f"{self.section.name}: its pager says nothing that is known")
        return Outcome()

    def _pages(self, offset: int, length: int) -> tuple[int, int]:
        """First and number of the pages that a message is about."""
        numbers(offset=offset, length=length)
        size = self.section.pages << PAGE_SHIFT
        whole = not (offset | length) & PAGE_SIZE - 1
        if offset < 0 or length <= 0 or not whole or offset + length > size:
            raise self._error(
                Status.INVALID_PARAMETER,
                f"{length} bytes at {offset} are not whole pages of "
                f"its {counted(self.section.size, 'byte')}",
            )
        return offset >> PAGE_SHIFT, length >> PAGE_SHIFT

    def _supply(self, message: DataSupply) -> int:
        """Returns the bytes taken, which end at the first page that is there already."""
        view = octets(message.data, f"{self.section.name}: what its pager supplies")
        first, count = self._pages(message.offset, len(view))
        lock = given(message.lock, Access, f"{self.section.name}: a lock")
        self._silent = 0
        for i in range(count):
            part = view[i << PAGE_SHIFT : i + 1 << PAGE_SHIFT]
            if not self._take(first + i, part, message.precious):
                self.counts.ignored += 1
                return i << PAGE_SHIFT
            if lock:
                self.locks = with_run(self.locks, first + i, first + i + 1, lock)
            if message.precious:  # who waits for the page runs later, and sees it
                self.section.precious.add(first + i)
            self.counts.supplied += 1
        return len(view)

    def _take(self, page: int, data: memoryview, precious: bool) -> bool:
        """Takes a page, asked for or not; False when it is there already or cannot be had."""
        if self._asked.answer(page, data):
            return True
        taken = self._resident.take_in(self.section, page, data, precious)
        self.counts.unasked += taken
        return taken

    def _unavailable(self, message: DataUnavailable) -> None:
        first, count = self._pages(message.offset, message.length)
        self._silent = 0
        for page in self._asked.pages(first, first + count):
            self._asked.answer(page, memoryview(bytes(PAGE_SIZE)))

    def _fail(self, message: DataError) -> None:
        first, count = self._pages(message.offset, message.length)
        text = named(message.text, f"{self.section.name}: an error of its pager")
        self._silent = 0

        def error(page: int) -> StatusError:
            return self._error(Status.IO_DEVICE_ERROR, f"its pager cannot give page {page}: {text}")

        self._asked.fail(first, first + count, error)

    def _returned(self, message: DataReturned) -> None:
        """A run has been kept, or not. An answer to what was not asked, or twice, is ignored."""
        numbers(number=message.number)
        text = named(message.text, f"{self.section.name}: an error of its pager")
        returning = self._returning.pop(message.number, None)
        if returning is None:
            self.counts.ignored += 1
            return
        if message.status:
            returning.error = StatusError(_status(message.status), text)
        else:
            self._silent = 0
            end = returning.page + (returning.length >> PAGE_SHIFT)
            self.section.precious.difference_update(range(returning.page, end))
        returning.done.signal()

    def _begin_lock(self, message: LockRequest) -> Outcome:
        """Changes locks at once; what has to be returned and dropped is by a thread of its own."""
        name, lock = self.section.name, message.lock
        first, count = self._pages(message.offset, message.length)
        given(message.give, Return, f"{name}: the pages to give back")
        given(Access.NONE if lock is None else lock, Access, f"{name}: a lock")
        if self._locking >= MOST_MESSAGES:
            text = f"its pager has {MOST_MESSAGES} lock requests under way"
            raise self._error(Status.INSUFFICIENT_RESOURCES, text)
        if lock is not None:
            self.locks = with_run(self.locks, first, first + count, lock)
            for view in self.section.views:
                view.forget(first, first + count)
            self._unlocked.signal()
            self._unlocked = Event()
        outcome = Outcome(done=Event())
        self._locking += 1
        self._scheduler.start(self._finish_lock(message, outcome), f"lock request of {name}")
        return outcome

    async def _finish_lock(self, message: LockRequest, outcome: Outcome) -> None:
        first, count = message.offset >> PAGE_SHIFT, message.length >> PAGE_SHIFT
        status, text = 0, ""
        try:
            await self._resident.give_back(
                self.section, first, first + count, message.give, bool(message.flush)
            )
        except StatusError as error:
            outcome.error, status, text = error, error.status, error.text
        finally:
            self._locking -= 1
        self._post(LockCompleted(message.offset, message.length, status, text))
        assert outcome.done is not None
        outcome.done.signal()

    def _change(self, message: ChangeAttributes) -> None:
        size, strategy = message.cluster_size, message.copy_strategy
        if strategy is not None:
            given(strategy, CopyStrategy, f"{self.section.name}: a copy strategy")
        if size is not None:
            self.traits = replace(self.traits, cluster=self._cluster(size))
            self._clustered = True
        if message.may_cache is not None:
            self.may_cache = message.may_cache
        if strategy is not None:
            self.traits = replace(self.traits, eager=strategy == CopyStrategy.NONE)

    def _cluster(self, size: int) -> int:
        """Pages of a cluster of `size` bytes. StatusError INVALID_PARAMETER."""
        numbers(cluster_size=size)
        pages = max(size, PAGE_SIZE) >> PAGE_SHIFT
        if size < 0 or size & PAGE_SIZE - 1 or pages & pages - 1 or pages > SEGMENT_PAGES:
            raise self._error(
                Status.INVALID_PARAMETER,
                f"a cluster of {size} bytes is not a power of two of up to {SEGMENT_PAGES} pages",
            )
        return pages

    def _destroy(self, message: Destroy) -> None:
        text = named(message.text, f"{self.section.name}: why its pager gives it up")
        self.dead = self._error(Status.IO_DEVICE_ERROR, f"its pager has given it up: {text}")
        self._asked.end(self.dead)
        self._unlocked.signal()

    # -- locks ------------------------------------------------------------------------------------

    def prohibits(self, page: int, write: bool) -> bool:
        """See `octavo.memory.pages.section.Gate`."""
        return bool(run_at(self.locks, page)[2] & (Access.WRITE if write else Access.READ))

    async def admit(self, page: int, write: bool) -> None:
        """See `octavo.memory.pages.section.Gate`. StatusError IO_TIMEOUT."""
        wanted = Access.WRITE if write else Access.READ
        while self.prohibits(page, write):
            self._check_alive()
            event = self._unlocked
            self._post(DataUnlock(page << PAGE_SHIFT, PAGE_SIZE, wanted))
            if not await self._scheduler.wait(event, self.timeout):
                raise self._timed_out(f"has not unlocked page {page}")

    # -- the end ----------------------------------------------------------------------------------

    async def let_go(self) -> None:
        """No view is left and the pager does not want its pages kept: modified ones are returned,
        all are dropped, unless returning fails.

        What is modified meanwhile, through another view, stays.
        """
        await self._resident.put_away(self.section)

    async def end(self) -> None:
        """The object ends: modified pages are returned if the pager takes them, and it is told."""
        if self.dead is None:
            await self.let_go()
        await self._resident.drop_all(self.section)
        self._post(Terminate())

    def statistics(self) -> MemoryObjectStatistics:
        """Requests, messages, pages supplied, unasked, ignored, returned; timeouts, and messages
        that the pager refused.
        """
        from octavo.statistics import MemoryObjectStatistics

        return MemoryObjectStatistics(**vars(self.counts))


def _status(number: int) -> Status:
    """The status of a number that a pager gave; IO_DEVICE_ERROR for one that there is not."""
    try:
        return Status(number)
    except ValueError:
        return Status.IO_DEVICE_ERROR
