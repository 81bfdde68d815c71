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

    def under_way(self, out: bool = False) -> Transfer:
        """For the time of a `with`: one more. With `out` it takes pages out of memory, and its
        error, or that it had none, is kept in `failure`.
        """
        return Transfer(self, out)


class Transfer:
    """One of them, see `Transfers.under_way`."""

    __slots__ = ("out", "transfers")

    def __init__(self, transfers: Transfers, out: bool) -> None:
        self.transfers, self.out = transfers, out

    def __enter__(self) -> None:
        self.transfers.count += 1

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        transfers = self.transfers
        assert transfers.count > 0, "a transfer ended that had not begun"
        transfers.count -= 1
        if self.out:
            transfers.failure = error if isinstance(error, StatusError) else None
        transfers.ended.signal()
