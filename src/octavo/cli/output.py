"""What commands print: lines, JSON, progress bars, errors. Nothing of it can take over a
terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from octavo.cli.streams import give_up
from octavo.printing import escaped, keep, printable
from octavo.status import StatusError

if TYPE_CHECKING:
    from rich.progress import Progress

    from octavo.fs.protocol import FileInfo

SLOW_BYTES = 8 << 20  # work on fewer bytes shows no progress bar


class Advance(Protocol):
    """Called with a name and the number of units done."""

    def __call__(self, name: str, count: int) -> None: ...


told: list[str] = []  # what this command has said on standard error


def show(line: str) -> None:
    """One line on standard output."""
    print(printable(line))


def print_json(data: object) -> None:
    """One JSON document."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(escaped(json.dumps(data, indent=2, ensure_ascii=not unicode)))


def tell(line: str) -> None:
    """One line on standard error; nothing when that is closed or full."""
    keep(told, line)
    try:
        print(printable(line), file=sys.stderr, flush=True)
    except OSError:
        give_up(sys.stderr)


def complain(error: StatusError | str) -> None:
    """An error, as one line on standard error."""
    tell(f"octavo: {error if isinstance(error, str) else error.text}")


def complain_at_end(error: StatusError) -> None:
    """The error that ends the program, unless its cause was told of something else: a full host is
    met again at unmounting.
    """
    cause = error.text.partition(": ")[2]
    if not cause or not any(line.endswith(cause) for line in told):
        complain(error)


class Failures:
    """What could not be done while the rest was: each is told when it comes; `code` is the exit
    code. With `stop`, the first one ends the command.
    """

    def __init__(self, stop: bool = False) -> None:
        self.code = 0
        self.stop = stop

    def __call__(self, error: StatusError) -> None:
        """Tells one, or raises it."""
        if self.stop:
            raise error
        complain(error)
        self.code = 1

    def all(self, errors: Iterable[StatusError]) -> None:
        """Tells several."""
        for error in errors:
            self(error)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """A `with` block whose failure is told, so that what comes after it is done all the
        same.
        """
        try:
            yield
        except StatusError as error:
            self(error)


def info_record(info: FileInfo, path: str) -> dict[str, object]:
    """A file or directory for JSON."""
    return {
        "path": path,
        "type": "directory" if info.is_directory else "file",
        "size": 0 if info.is_directory else info.size,
        "modified": info.modified.isoformat(),
        "attributes": info.flags,
        "short_name": info.short_name,
    }


def _bar(unit: str) -> Progress:
    from rich import progress as rich
    from rich.console import Console

    amount = (
        [rich.DownloadColumn(), rich.TransferSpeedColumn()]
        if unit == "bytes"
        else [rich.MofNCompleteColumn()]
    )
    return rich.Progress(
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        *amount,
        rich.TextColumn("{task.fields[name]}", markup=False),
        console=Console(stderr=True),
    )


@contextmanager
def progress(title: str, total: int, unit: str = "bytes") -> Iterator[Advance | None]:
    """A progress bar on standard error; None where that is no terminal or the work is short."""
    if not sys.stderr.isatty() or (unit == "bytes" and total < SLOW_BYTES):
        yield None
        return
    bar = _bar(unit)
    with bar:
        task = bar.add_task(title, total=total, name="")
        yield lambda name, count: bar.update(task, advance=count, name=printable(name[-40:]))
