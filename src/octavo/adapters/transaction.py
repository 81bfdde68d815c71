"""Transactions of the fsspec filesystem: files that take their places one behind the other at the
end, and are then on the medium.

A file that cannot take its place ends that: it and those behind it leave what was there before.
Those before it have taken theirs and keep them: what they replaced is gone.

Source: `fsspec.transaction.Transaction`, whose subclass this is. Used by `octavo.adapters.fsspec`.
"""

from __future__ import annotations

from typing import Any

from fsspec.transaction import Transaction

from octavo.threads.interrupts import uninterrupted


class OctavoTransaction(Transaction):  # type: ignore[misc]  # fsspec has no types
    """The files that are written between its beginning and its end."""

    fs: Any

    @uninterrupted()
    def complete(self, commit: bool = True) -> None:
        """Puts the files into their places, or leaves what was there before, as for those behind
        one that cannot take its place: OSError says why. The transaction has ended, whatever comes.
        """
        fs: Any = self.fs
        failed: BaseException | None = None
        try:
            with fs.settled():
                while self.files:
                    file = self.files.popleft()
                    try:
                        file.commit() if commit and failed is None else file.discard()
                    except BaseException as error:  # noqa: BLE001 -- Ctrl-C, too
                        if failed is None or not isinstance(error, Exception):
                            failed = error
        finally:
            fs.leave_transaction()
            self.fs = None
        if failed is not None:
            raise failed
