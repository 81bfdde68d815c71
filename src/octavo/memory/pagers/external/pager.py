"""An external pager that is an object of this process: what it offers, the control that it is
given, and who calls it.

    MemoryObject.messages --> serve --calls--> ExternalPager
                                                    |
    MemoryObject.receive <--messages-- Control <--calls

A pager's methods are coroutines that a kernel thread of its own runs, one message after the other,
and whatever they take, nobody but those who need this pager's pages waits for them.

A pager in another process has the same three there: messages come to `serve` from whatever carries
them, and its control's `tell` sends them back (`Outcome` cannot say then what was taken).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

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
from octavo.status import Status, StatusError
from octavo.threads.scheduler import Scheduler
from octavo.threads.wait import Event, Queue

METHODS = (
    "init",
    "data_request",
    "data_return",
    "data_unlock",
    "lock_completed",
    "terminate",
)  # that a pager has


@dataclass(slots=True, eq=False)
class Outcome:
    """What became of a message of the pager's: bytes `taken` of a supply; `done`, if there, is
    signalled when what was asked for has been carried out, or has failed with `error`.
    """

    taken: int = 0
    done: Event | None = None
    error: StatusError | None = None


class Control:
    """What a pager says to the executive about the object `name`. `tell` takes each message there;
    it raises StatusError INVALID_PARAMETER for one that cannot be.
    """

    __slots__ = ("name", "_tell")

    def __init__(self, name: str, tell: Callable[[FromPager], Outcome]) -> None:
        self.name, self._tell = name, tell

    def ready(self) -> None:
        """The pager can be asked."""
        self._tell(Ready())

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
        return self._tell(DataSupply(offset, data, lock, precious)).taken

    def data_unavailable(self, offset: int, length: int) -> None:
        """The pager has nothing for these pages: they are zeros. StatusError INVALID_PARAMETER."""
        self._tell(DataUnavailable(offset, length))

    def data_error(self, offset: int, length: int, text: str) -> None:
        """The pager cannot give these pages: who waits for one of them gets an error, the others
        are left out. StatusError INVALID_PARAMETER.
        """
        self._tell(DataError(offset, length, text))

    async def lock_request(
        self,
        offset: int,
        length: int,
        give: Return = Return.NONE,
        flush: bool = False,
        lock: Access | None = None,
    ) -> None:
        """Changes locks (None: as they are), returns resident pages, then drops them with `flush`;
        then lock_completed is called.

        What is modified meanwhile stays. StatusError INVALID_PARAMETER, INSUFFICIENT_RESOURCES (too
        many are under way), or that of a return that failed; then nothing is dropped.
        """
        outcome = self._tell(LockRequest(offset, length, give, flush, lock))
        if outcome.done is not None:
            await outcome.done.wait()
        if outcome.error is not None:
            raise outcome.error

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
        self._tell(ChangeAttributes(cluster_size, may_cache, copy_strategy))

    def destroy(self, text: str) -> None:
        """The pager gives the object up: whoever waits, and whoever comes, gets an error.

        StatusError INVALID_PARAMETER.
        """
        self._tell(Destroy(text))


class ExternalPager(Protocol):
    """Who keeps a memory object's data. A method that raises has refused; a StatusError's sentence
    reaches who waits.
    """

    async def init(self, control: Control, page_size: int) -> None:
        """The object exists; nothing is asked before `control.ready()`."""

    async def data_request(
        self, control: Control, offset: int, length: int, access: Access
    ) -> None:
        """Somebody wants these bytes: answer by data_supply, data_unavailable or data_error, now or
        later, in any order and in parts.
        """

    async def data_return(
        self, control: Control, offset: int, data: bytes, dirty: bool, kept: bool
    ) -> None:
        """Keep these bytes; when this returns, they are kept.

        Not `dirty`, they are precious pages that nobody has modified; `kept` when the kernel goes
        on to use its copy of them.
        """

    async def data_unlock(self, control: Control, offset: int, length: int, access: Access) -> None:
        """Somebody wants an access that a lock prohibits: answer by lock_request with a lesser
        lock.
        """

    async def lock_completed(self, control: Control, offset: int, length: int) -> None:
        """A lock_request has been carried out."""

    async def terminate(self, control: Control) -> None:
        """The object is gone; its modified pages have been returned."""


def attach(
    scheduler: Scheduler,
    pager: ExternalPager,
    name: str,
    messages: Queue[ToPager],
    tell: Callable[[FromPager], Outcome],
) -> Control:
    """Starts the kernel thread that serves a pager; returns the control that the pager gets."""
    control = Control(name, tell)
    scheduler.serve(lambda: serve(pager, control, messages, tell), f"pager of {name}")
    return control


async def serve(
    pager: ExternalPager,
    control: Control,
    messages: Queue[ToPager],
    tell: Callable[[FromPager], Outcome],
) -> None:
    """Calls a method for each message, one after the other, until Terminate; tells what fails."""
    while True:
        message = await messages.get()
        if isinstance(message, DataReturn):
            tell(await _give(pager, control, message))
            continue
        try:
            await _call(pager, control, message)
        except Exception:  # noqa: BLE001 -- it is the pager's own failure, whatever it is
            tell(Refused())
        if isinstance(message, Terminate):
            return


async def _call(pager: ExternalPager, control: Control, message: ToPager) -> None:
    match message:
        case Init(page_size):
            await pager.init(control, page_size)
        case DataRequest(offset, length, access):
            await pager.data_request(control, offset, length, access)
        case DataUnlock(offset, length, access):
            await pager.data_unlock(control, offset, length, access)
        case LockCompleted(offset, length, status):
            if not status:  # else who asked for it has been told
                await pager.lock_completed(control, offset, length)
        case Terminate():
            await pager.terminate(control)


async def _give(pager: ExternalPager, control: Control, message: DataReturn) -> DataReturned:
    """Gives a run to the pager, a call for each part, up to the first that it does not take."""
    at = 0
    try:
        for part in message.parts:
            data = message.data[at : at + part.length]
            await pager.data_return(control, message.offset + at, data, part.dirty, part.kept)
            at += part.length
    except StatusError as error:
        status = error.status or Status.IO_DEVICE_ERROR
        return DataReturned(message.number, status, str(error.text))
    except Exception as error:  # noqa: BLE001 -- the pager's own failure
        text = f"{control.name}: its pager has failed: {error!r}"
        return DataReturned(message.number, Status.IO_DEVICE_ERROR, text)
    return DataReturned(message.number)
