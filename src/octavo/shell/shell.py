"""The shell: one line in, output and a status out.

A line is a command and its arguments, with ' or " around those that have spaces. Commands are found in any case, and by
any beginning that fits only one of them. A path is such as C:\\docs\\a.txt, docs/a.txt or \\docs; each drive has a current
directory of its own. An error is one line, "command: what is wrong", and status 1; a line that makes no sense has status 2.

The commands are in `octavo.shell.commands`, `octavo.shell.inspection` and `octavo.shell.vm`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from octavo.files import Volume
from octavo.fs.base import split_path
from octavo.printing import printable
from octavo.status import Status, StatusError
from octavo.system import System

Print = Callable[[str], None]

_WORD = re.compile(r"""(?:"[^"]*"|'[^']*'|[^\s"']+)+""")
_QUOTED = re.compile(r""""([^"]*)"|'([^']*)'""")
_DRIVE = re.compile(r"([A-Za-z]:)(.*)", re.DOTALL)


class UsageError(Exception):
    """The command was called wrongly; the text says how it is called."""


class Shell:
    """A shell on `system` that writes lines to `out`, and errors to `err` (None: to `out`, too).

    `status` is that of the last command; `done` is set by exit. Nothing in a line can take over a terminal.
    """

    def __init__(self, system: System, out: Print = print, err: Print | None = None) -> None:
        self.system = system
        self.out: Print = lambda line: out(printable(line))
        self.err: Print = lambda line: (err or out)(printable(line))
        self.clear: Callable[[], None] = lambda: None  # empties the screen, where there is one
        self.status = 0
        self.done = False
        self.space = "shell"  # the address space that `vm` works in
        self.drive = next((d for d in ("C:", *sorted(system.volumes)) if d in system.volumes), "C:")
        self._directories: dict[str, list[str]] = {}

    @property
    def prompt(self) -> str:
        r"""Such as C:\docs>."""
        return self.shown(self.drive, self._directories.get(self.drive, [])) + ">"

    def run(self, text: str, keep_going: bool = True) -> int:
        """Runs the commands in a text, separated by ";" or line ends; returns the status of the last one.

        Without `keep_going` the first that fails is the last.
        """
        for line in split_commands(text):
            self.execute(line)
            if self.done or (self.status and not keep_going):
                break
        return self.status

    def execute(self, line: str) -> int:
        """Runs one command; returns its status: 0 done, 1 failed, 2 called wrongly."""
        from octavo.shell import inspection, vm  # noqa: F401 -- they add their commands
        from octavo.shell.commands import COMMANDS

        words = split_words(line)
        if not words:
            return self.status
        name = words[0].lower()
        if re.fullmatch(r"[a-z]:", name):
            name, words = "cd", ["cd", words[0]]
        found = [name] if name in COMMANDS else [c for c in COMMANDS if c.startswith(name)]
        try:
            if len(found) != 1:
                what = f"could be {', '.join(found)}" if found else "no such command; try help"
                raise UsageError(what)
            name = found[0]
            self.status = COMMANDS[name].run(self, words[1:]) or 0
        except StatusError as error:
            self.err(f"{name}: {error.text}")
            self.status = 1
        except UsageError as error:
            self.err(f"{name}: {error}")
            self.status = 2
        return self.status

    # -- paths ----------------------------------------------------------------------------------------------------

    def volume(self, drive: str) -> Volume:
        """The volume of a drive letter."""
        try:
            return self.system.volumes[drive.upper()]
        except KeyError:
            raise StatusError(Status.NO_SUCH_DEVICE, f"{drive.upper()} no volume is mounted there; mount IMAGE mounts one") from None

    def resolve(self, path: str) -> tuple[str, Volume, str]:
        """The drive, its volume, and the absolute path on it (with "/", also at its end if there is one; "" for the root)."""
        drive = self.drive
        if drive_and_path := _DRIVE.fullmatch(path):
            drive, path = drive_and_path[1].upper(), drive_and_path[2]
        volume = self.volume(drive)
        base = [] if path.startswith(("/", "\\")) else self._directories.get(drive, [])
        found = split_path("/".join(base) + "/" + path)
        return drive, volume, "/".join(found) + "/" * (found != [] and path.endswith(("/", "\\")))

    def change(self, drive: str, path: str | None) -> None:
        """Makes a drive the current one, and with a path also its current directory."""
        self.drive = drive
        if path is not None:
            self._directories[drive] = split_path(path)

    def shown(self, drive: str, path: str | list[str]) -> str:
        r"""A path as people see it here: C:\docs\a.txt."""
        parts = split_path(path) if isinstance(path, str) else path
        return f"{drive}\\" + "\\".join(parts)


def split_words(line: str) -> list[str]:
    """The words of a line, quotes taken off."""
    return [_QUOTED.sub(lambda m: m[1] if m[1] is not None else m[2], w) for w in _WORD.findall(line)]


def split_commands(text: str) -> list[str]:
    """The commands of a text: ";" and line ends separate them, but not inside quotes."""
    out = [""]
    quote = ""
    for c in text:
        if not quote and c in ";\n":
            out.append("")
            continue
        if c in "\"'" and quote in ("", c):
            quote = "" if quote else c
        out[-1] += c
    return [line for line in out if line.strip()]
