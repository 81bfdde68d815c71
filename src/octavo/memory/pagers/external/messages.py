"""The messages between the kernel and an external pager, and what a pager has to offer.

    kernel -> pager     init, data_request, data_return, data_unlock, lock_completed, terminate
    pager -> kernel     ready, data_supply, data_unavailable, data_error, lock_request,
                        change_attributes, destroy
                        (methods of `MemoryObject`, the control, in
                        `octavo.memory.pagers.external.memoryobject`)

All are one-way: a pager's methods are coroutines that a kernel thread of its own runs, one message
after the other, and whatever they take, nobody but those who need this pager's pages waits for
them. Offsets and lengths are bytes, whole pages.

Source: Mach 3's memory object interface (Young et al. 1987; GNU Mach's mach/memory_object.defs).
Departures: the end of `data_return` is its acknowledgement, so that a page stays modified until its
pager has it; no supply_completed, for data_supply tells at once how much was taken;
memory_object_copy is not sent (copy strategy CALL is refused).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from octavo.memory.pagers.external.memoryobject import MemoryObject


class Access(enum.IntFlag):
    """Kinds of access that a lock prohibits, or that somebody waits for."""

    NONE = 0
    READ = 1
    WRITE = 2
    ALL = 3


class Return(enum.Enum):
    """Which resident pages a lock_request wants back."""

    NONE = 0
    DIRTY = 1
    ALL = 2


class CopyStrategy(enum.Enum):
    """How copies of an object are made."""

    NONE = 0  # at the first reference: the pager changes data behind the kernel's back
    DELAY = 2  # at the first write


MESSAGES = (
    "init",
    "data_request",
    "data_return",
    "data_unlock",
    "lock_completed",
    "terminate",
)  # that a pager takes


class ExternalPager(Protocol):
    """Who keeps a memory object's data. A method that raises has refused; a StatusError's sentence
    reaches who waits.
    """

    async def init(self, control: MemoryObject, page_size: int) -> None:
        """The object exists; nothing is asked before `control.ready()`."""

    async def data_request(
        self, control: MemoryObject, offset: int, length: int, access: Access
    ) -> None:
        """Somebody wants these bytes: answer by data_supply, data_unavailable or data_error, now or
        later, in any order and in parts.
        """

    async def data_return(
        self, control: MemoryObject, offset: int, data: bytes, dirty: bool, kept: bool
    ) -> None:
        """Keep these bytes; when this returns, they are kept.

        Not `dirty`, they are precious pages that nobody has modified; `kept` when the kernel goes
        on to use its copy of them.
        """

    async def data_unlock(
        self, control: MemoryObject, offset: int, length: int, access: Access
    ) -> None:
        """Somebody wants an access that a lock prohibits: answer by lock_request with a lesser
        lock.
        """

    async def lock_completed(self, control: MemoryObject, offset: int, length: int) -> None:
        """A lock_request has been carried out."""

    async def terminate(self, control: MemoryObject) -> None:
        """The object is gone; its modified pages have been returned."""
