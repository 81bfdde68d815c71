"""Transfers: I/O on pages that is under way. Who waits for frames waits for the end of one, and
gives up when there is none.

    with transfers.under_way():           a page-in or a page-out, also of private pages
        await ...                         frames may be had, or free to leave, when it has ended

Only this class counts transfers, signals `ended`, and keeps the error of the last page-out.
"""

from __future__ import annotations

from octavo.status import StatusError
from octavo.threads.wait import Event


class Transfers:
    """The transfers of one machine. `ended` is signalled whenever one ends, well or not; who waits
    for it clears it before he looks at what there is.
    """

    def __init__(self) -> None:
        self.count = 0
        self.ended = Event()
        self.failure: StatusError | None = None  # of the last page-out, if it failed
        self._any, self._out = Transfer(self), PageOut(self)

    def under_way(self) -> Transfer:
        """For the time of a `with`: one more."""
        return self._any

    def page_out(self) -> Transfer:
        """As `under_way`, for one that takes private pages out of memory: its error, or that it had
        none, is kept in `failure`.
        """
        return self._out


class Transfer:
    """What `with` begins and ends: of no state, so that there is one of each kind."""

    __slots__ = ("transfers",)

    def __init__(self, transfers: Transfers) -> None:
        self.transfers = transfers

    def __enter__(self) -> None:
        self.transfers.count += 1

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        assert self.transfers.count > 0, "a transfer ended that had not begun"
        self.transfers.count -= 1
        self.transfers.ended.signal()


class PageOut(Transfer):
    """One whose error is kept."""

    __slots__ = ()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.transfers.failure = error if isinstance(error, StatusError) else None
        super().__exit__(kind, error, trace)
