"""The messages between a memory object and its external pager. They are data: numbers, enumerations
of this file and bytes, so that a queue, a port or a pipe to another process can carry them.

    object -> pager     Init, DataRequest, DataReturn, DataUnlock, LockCompleted, Terminate
    pager -> object     Ready, DataSupply, DataUnavailable, DataError, DataReturned, LockRequest,
                        ChangeAttributes, Destroy, Refused

The object puts its messages into a bounded queue, `MemoryObject.messages`, and what the pager says
goes to `MemoryObject.receive`; the two know no more of one another. Each way keeps its order. All
are one-way; `DataReturned` names the `DataReturn` that it answers by its number. Offsets and
lengths are bytes, whole pages, in the object.

Source: Mach 3's memory object interface (Young et al. 1987; GNU Mach's mach/memory_object.defs).
Departures: `DataReturned` acknowledges a return, so that a page stays modified until its pager has
it, and one DataReturn has a whole run, with what is said of each row of pages that are alike;
`Refused` tells the object that its pager has failed at a message; no supply_completed, for
`receive` tells at once how much was taken; memory_object_copy is not sent (copy strategy CALL is
refused).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


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


# -- from the object to its pager ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Init:
    """The object exists, and has `size` bytes; nothing is asked before `Ready`."""

    page_size: int
    size: int


@dataclass(frozen=True, slots=True)
class DataRequest:
    """Somebody wants these bytes."""

    offset: int
    length: int
    access: Access


@dataclass(frozen=True, slots=True)
class Alike:
    """`length` bytes of pages that are alike: not `dirty`, they are precious pages that nobody has
    modified; `kept` when the kernel goes on to use its copy of them.
    """

    length: int
    dirty: bool
    kept: bool


@dataclass(frozen=True, slots=True)
class DataReturn:
    """Bytes to be kept, from `offset` on, in `parts` one after the other. `number` is for the
    answer, `DataReturned`; each has another.
    """

    number: int
    offset: int
    data: bytes
    parts: tuple[Alike, ...]


@dataclass(frozen=True, slots=True)
class DataUnlock:
    """Somebody wants an access that a lock prohibits."""

    offset: int
    length: int
    access: Access


@dataclass(frozen=True, slots=True)
class LockCompleted:
    """A `LockRequest` has been carried out; or has failed, when `status`, a Status, is not 0."""

    offset: int
    length: int
    status: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Terminate:
    """The object is gone, and this is the last message."""


ToPager = Init | DataRequest | DataReturn | DataUnlock | LockCompleted | Terminate


# -- from the pager to its object ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready:
    """The pager can be asked."""


@dataclass(frozen=True, slots=True)
class DataSupply:
    """Whole pages from `offset` on, asked for or not. `lock` prohibits accesses; a `precious` page
    is returned when it leaves, modified or not.
    """

    offset: int
    data: bytes | bytearray | memoryview
    lock: Access = Access.NONE
    precious: bool = False


@dataclass(frozen=True, slots=True)
class DataUnavailable:
    """The pager has nothing for these pages: they are zeros."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class DataError:
    """The pager cannot give these pages; `text` is a sentence for who waits."""

    offset: int
    length: int
    text: str


@dataclass(frozen=True, slots=True)
class DataReturned:
    """The answer to `DataReturn` `number`: its bytes are kept; or they are not, when `status`, a
    Status, is not 0, and `text` is a sentence that says why.
    """

    number: int
    status: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class LockRequest:
    """Change locks (None: as they are), return resident pages, then drop them with `flush`."""

    offset: int
    length: int
    give: Return = Return.NONE
    flush: bool = False
    lock: Access | None = None


@dataclass(frozen=True, slots=True)
class ChangeAttributes:
    """Bytes that one DataRequest may ask for (0: a page), whether pages stay without a view, how
    copies are made; None: as it is.
    """

    cluster_size: int | None = None
    may_cache: bool | None = None
    copy_strategy: CopyStrategy | None = None


@dataclass(frozen=True, slots=True)
class Destroy:
    """The pager gives the object up; `text` says why."""

    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The pager has failed at a message that is no DataReturn."""


FromPager = (
    Ready
    | DataSupply
    | DataUnavailable
    | DataError
    | DataReturned
    | LockRequest
    | ChangeAttributes
    | Destroy
    | Refused
)
