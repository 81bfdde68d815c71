"""The shell: one line in, output and a status out.

A line is a command and its arguments, with ' or " around those that have spaces. Commands are found
in any case, and by any beginning that fits only one of them. An error is one line, "command: what
is wrong", and status 1; a line that makes no sense has status 2.

The commands are in `octavo.shell.commands`, `octavo.shell.inspection` and `octavo.shell.vm`; what
they work with is a `Session`.
"""

from __future__ import annotations

import re

from octavo.arguments import named
from octavo.shell import commands, inspection, vm
from octavo.shell.command import Command, command
from octavo.shell.session import Session, UsageError
from octavo.status import StatusError

_WORD = re.compile(r"""(?:"[^"]*"|'[^']*'|[^\s"']+)+""")
_QUOTED = re.compile(r""""([^"]*)"|'([^']*)'""")
_USAGE_WIDTH = 24  # columns

COMMANDS: dict[str, Command] = {**commands.COMMANDS, **inspection.COMMANDS, **vm.COMMANDS}


@command(COMMANDS, "help", 0, 1, lambda shell, words: sorted(COMMANDS))
def help_(shell: Session, arguments: list[str]) -> None:
    """help [COMMAND]

    Lists the commands, or explains one.
    """
    if not arguments:
        for name in sorted(COMMANDS):
            lines = COMMANDS[name].help
            about = lines[2] if len(lines) > 2 else ""
            if len(lines[0]) < _USAGE_WIDTH:
                shell.out(f"  {lines[0]:<{_USAGE_WIDTH}}{about}")
            else:
                shell.out(f"  {lines[0]}")
                shell.out(f"  {'':<{_USAGE_WIDTH}}{about}")
        return
    name = arguments[0].lower()
    if name not in COMMANDS:
        raise UsageError(f"{name}: no such command")
    for line in COMMANDS[name].help:
        shell.out(line)


class Shell(Session):
    """A shell on `system` that writes lines to `out`, and errors to `err` (None: to `out`, too)."""

    def run(self, text: str, keep_going: bool = True) -> int:
        """Runs the commands in a text, separated by ";" or line ends; returns the status of the
        last one.

        Without `keep_going` the first that fails is the last. StatusError INVALID_PARAMETER for
        what is no text.
        """
        for line in split_commands(named(text, "what a shell runs")):
            self.execute(line)
            if self.done or (self.status and not keep_going):
                break
        return self.status

    def run_lines(self, text: str) -> None:
        """Runs the lines of a text, such as one that was pasted, up to exit; each is one command,
        whatever is in it.
        """
        for line in text.split("\n"):
            self.execute(line)
            if self.done:
                break

    def execute(self, line: str) -> int:
        """Runs one command; returns its status: 0 done, 1 failed, 2 called wrongly. StatusError
        INVALID_PARAMETER for what is no text.
        """
        words = split_words(named(line, "a command"))
        if not words:
            return self.status
        name = words[0].lower()
        told = name + ": "  # in front of an error
        if re.fullmatch(r"[a-z]:", name):
            name, words, told = "cd", ["cd", words[0]], ""
        try:
            name = _find(name)
            if quote := _open_quote(line):
                raise UsageError(f"the quote {quote} has no end")
            told = told and name + ": "
            self.status = COMMANDS[name].run(self, words[1:]) or 0
        except (StatusError, UsageError) as error:
            self.err(f"{told}{error}")
            self.status = 2 if isinstance(error, UsageError) else 1
        return self.status


def _find(name: str) -> str:
    """The command that a name, or its beginning, means. UsageError for none, and for several."""
    found = [name] if name in COMMANDS else [c for c in COMMANDS if c.startswith(name)]
    if len(found) != 1:
        raise UsageError(f"could be {', '.join(found)}" if found else "no such command; try help")
    return found[0]


def split_words(line: str) -> list[str]:
    """The words of a line, quotes taken off."""
    return [
        _QUOTED.sub(lambda m: m[1] if m[1] is not None else m[2], w) for w in _WORD.findall(line)
    ]


def _open_quote(line: str) -> str:
    """The quote of a line that has no end; "" for none."""
    return _WORD.sub("", line).strip()[:1]


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
