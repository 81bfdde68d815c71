r"""What a shell command works with: the system, the current drive and directories, and where lines
go and come from.

A path is such as C:\docs\a.txt, docs/a.txt or \docs; each drive has a current directory of its
own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from octavo.arguments import given, invalid, shown
from octavo.files import Volume
from octavo.fs.base import split_path
from octavo.fs.wildcards import find
from octavo.printing import printable
from octavo.shell.redirect import Output
from octavo.status import Status, StatusError
from octavo.system import System

if TYPE_CHECKING:
    from octavo.fs.protocol import FileInfo

Print = Callable[[str], None]
Ask = Callable[[str], "str | None"]

_DRIVE = re.compile(r"([A-Za-z]:)(.*)", re.DOTALL)


class Session:
    """Somebody at work on `system`, whose lines go to `out`, and errors to `err` (None: to `out`,
    too).

    `status` is that of the last command; `done` is set by exit. `output` is the file that lines go
    to instead, `input` gives those that come from one. Nothing in a line can take over a terminal.
    """

    def __init__(self, system: System, out: Print = print, err: Print | None = None) -> None:
        self.system = given(system, System, "the system of a shell")
        for print_line in (out, out if err is None else err):
            if not callable(print_line):
                raise invalid(
                    f"{shown(print_line)} prints no lines: a function of a text is needed"
                )
        self.print_line = out
        self.print_error = out if err is None else err
        self.name = ""  # of the command that runs
        self.where = ""  # of the line that runs, in front of its errors: "script.txt:3: "
        self.clear: Callable[[], None] = lambda: None  # empties the screen, where there is one
        self.ask: Ask = lambda prompt: None  # a line from whoever is there; None: nothing comes
        self.interactive = False  # Ctrl-C ends what is done now, and whoever is there goes on
        self.output: Output | None = None
        self.input: Iterator[str] | None = None
        self.status = 0
        self.done = False
        self.echo = False  # scripts show their lines
        self.space = "shell"  # the address space that `vm` works in
        self.drive = next((d for d in ("C:", *sorted(system.volumes)) if d in system.volumes), "C:")
        self._directories: dict[str, list[str]] = {}

    # -- lines -------------------------------------------------------------------------------------

    def out(self, line: str) -> None:
        """One line of output. StatusError when it goes to a file that cannot take it."""
        if self.output is not None:
            self.output.line(line)
        else:
            self.print_line(printable(line))

    def err(self, line: str) -> None:
        """One line about what is wrong; never to a file."""
        self.print_error(printable(self.where + line))

    def next_line(self, prompt: str) -> str | None:
        """The next line of what a command is told: of its input, or of whoever is there."""
        return self.ask(prompt) if self.input is None else next(self.input, None)

    # -- drives and paths --------------------------------------------------------------------------

    @property
    def prompt(self) -> str:
        r"""Such as C:\docs>."""
        return self.current(self.drive) + ">"

    def current(self, drive: str) -> str:
        """The current directory of a drive, as people see it."""
        return self.shown(drive, self._directories.get(drive, []))

    def volume(self, drive: str) -> Volume:
        """The volume of a drive letter. StatusError NO_SUCH_DEVICE, and FILE_CLOSED when the system
        was ended.
        """
        self.system.scheduler.check_open()
        try:
            return self.system.volumes[drive.upper()]
        except KeyError:
            raise StatusError(
                Status.NO_SUCH_DEVICE,
                f"no volume is mounted on {drive.upper()}; mount IMAGE mounts one",
            ) from None

    def letter(self, word: str) -> str:
        r"""The letter of a drive that has a volume, such as "C:", as c, c: or C:\. StatusError
        NO_SUCH_DEVICE when there is none.
        """
        drive = word.upper().rstrip("\\/").removesuffix(":") + ":"
        self.volume(drive)
        return drive

    def resolve(self, path: str) -> tuple[str, Volume, str]:
        """The drive, its volume, and the absolute path on it (with "/", also at its end if there is
        one; "" for the root).
        """
        drive = self.drive
        if drive_and_path := _DRIVE.fullmatch(path):
            drive, path = drive_and_path[1].upper(), drive_and_path[2]
        volume = self.volume(drive)
        base = [] if path.startswith(("/", "\\")) else self._directories.get(drive, [])
        found = split_path("/".join(base) + "/" + path)
        return drive, volume, "/".join(found) + "/" * (found != [] and path.endswith(("/", "\\")))

    def find(self, volume: Volume, path: str) -> tuple[str, list[FileInfo]]:
        """The directory of a path and the entries that its last name means, as `wildcards.find`."""
        return self.system.scheduler.run(find(volume.core, path))

    def change(self, drive: str, path: str | None) -> None:
        """Makes a drive the current one, and with a path also its current directory."""
        self.drive = drive
        if path is not None:
            self._directories[drive] = split_path(path)

    def forget(self, drive: str) -> None:
        """Lets a drive that is no more have no current directory."""
        self._directories.pop(drive, None)

    def check_not_current(self, drive: str, volume: Volume, path: str) -> None:
        """StatusError SHARING_VIOLATION for the current directory of its drive, and those above
        it.
        """
        here = self._directories.get(drive, [])
        above = ["/".join(here[: n + 1]) for n in range(len(here))]
        number = volume.stat(path).number if above else 0
        if number and any(volume.exists(p) and volume.stat(p).number == number for p in above):
            raise StatusError(
                Status.SHARING_VIOLATION,
                f"{self.shown(drive, path)}: the current directory of {drive} is there",
            )

    def shown(self, drive: str, path: str | list[str]) -> str:
        r"""A path as people see it here: C:\docs\a.txt."""
        parts = split_path(path) if isinstance(path, str) else path
        return f"{drive}\\" + "\\".join(parts)
