r"""The shell: one line in, output and a status out.

A line is a command and its arguments, with ' or " around those that have spaces, and where output
goes (`line`). Commands are found in any case, and by any beginning that fits only one of them.
`/?` behind one is its help. An error is one line, "command: what is wrong", and status 1; a line
that makes no sense has status 2.

The commands are in `looking`, `compare`, `changing`, `drives`, `edlin`, `inspection` and `vm`, and
those of the shell itself here; what they work with is a `Session`.

Source: the commands of Neptune's native shell, with the names and switches of NT's. Departures:
output goes to a file as a whole, or not at all; del, copy and rd ask nobody; cd with a drive makes
it the current one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from textwrap import wrap

from octavo.arguments import named
from octavo.files import File
from octavo.shell import changing, compare, drives, edlin, inspection, looking, vm
from octavo.shell.command import Command, Words, command
from octavo.shell.line import MOST_LINE, Line, UsageError, read_line, split_commands, split_name
from octavo.shell.redirect import FileOutput, Nowhere, Output
from octavo.shell.session import Session
from octavo.shell.texts import chunks, lines, text
from octavo.status import Status, StatusError

_USAGE_WIDTH, _ABOUT_WIDTH = 24, 70  # columns
_MOST_STATUS = 255

COMMANDS: dict[str, Command] = {
    **looking.COMMANDS,
    **compare.COMMANDS,
    **changing.COMMANDS,
    **drives.COMMANDS,
    **edlin.COMMANDS,
    **inspection.COMMANDS,
    **vm.COMMANDS,
}


@command(COMMANDS, "echo", 0, 1, lambda shell, words: [], text=True)
def echo(shell: Session, arguments: Words) -> None:
    """echo [TEXT | on | off]

    Prints a text as it stands; "echo." prints an empty line. With on and off, says whether a script
    shows its lines before it runs them; without a text, whether it does.

    Example: echo Hello, world > hello.txt
    """
    said = arguments[0].strip()
    if said.lower() in ("on", "off"):
        shell.echo = said.lower() == "on"
    else:
        shell.out(arguments[0][1:] if said else f"echo is {'on' if shell.echo else 'off'}")


@command(COMMANDS, "rem", 0, 1, lambda shell, words: [], text=True)
def rem(shell: Session, arguments: Words) -> None:
    """rem [TEXT]

    Does nothing: a remark in a script.

    Example: rem what follows copies the drivers
    """


@command(COMMANDS, "cls", 0, 0)
def cls(shell: Session, arguments: Words) -> None:
    """cls

    Empties the screen.

    Example: cls
    """
    shell.clear()


@command(COMMANDS, "shutdown", 0, 0)
def shutdown(shell: Session, arguments: Words) -> None:
    """shutdown

    Writes everything to all drives and ends; goes on when that fails.

    Example: shutdown
    """
    shell.out("Syncing disks...")
    for _, volume in sorted(shell.system.volumes.items()):
        volume.flush()
    shell.done = True
    shell.out("It is now safe to turn off your computer.")


@command(COMMANDS, "exit", 0, 1, lambda shell, words: [])
def exit_(shell: Session, arguments: Words) -> int:
    """exit [STATUS]

    Unmounts everything and ends, with the status of the last command or the one that is given.

    Example: exit 3
    """
    status = arguments[0] if arguments else str(shell.status)
    if not (status.isascii() and status.isdigit() and int(status[:9]) <= _MOST_STATUS):
        raise UsageError(f"{status[:40]}: a status is a number from 0 to {_MOST_STATUS}")
    shell.done = True
    return int(status)


@command(COMMANDS, "help", 0, 1, lambda shell, words: sorted(COMMANDS))
def help_(shell: Session, arguments: Words) -> None:
    """help [COMMAND]

    Lists the commands, or explains one; so does /? behind its name.

    Example: help copy
    """
    if not arguments:
        for name in sorted(COMMANDS):
            usage, about = COMMANDS[name].help[0], wrap(COMMANDS[name].summary, _ABOUT_WIDTH)
            beside = about.pop(0) if len(usage) < _USAGE_WIDTH else ""
            shell.out(f"  {usage:<{_USAGE_WIDTH}}{beside}".rstrip())
            for line in about:
                shell.out(f"  {'':<{_USAGE_WIDTH}}{line}")
        return
    try:
        name = _find(arguments[0].lower())
    except UsageError as error:
        raise UsageError(f"{arguments[0].lower()}: {error}") from None
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

    def run_script(self, script: Iterable[str], name: str = "", keep_going: bool = True) -> int:
        """Runs the lines of a script, each of them one command, as `run`; a command that asks for
        lines gets those behind it. Errors have the script's name, if it has one, and the number of
        the line in front.
        """
        lines, asked = enumerate(script, 1), self.ask

        def next_line(prompt: str) -> str | None:
            number, line = next(lines, (0, None))
            self.where = f"{name}:{number}: " if name and number else self.where
            return line and line.removesuffix("\n").removesuffix("\r").removeprefix("\ufeff")

        self.ask = next_line
        try:
            while (line := next_line("")) is not None:
                if self.echo and line.strip() and not line.lstrip().startswith("@"):
                    self.out(self.prompt + line)
                self.execute(line)
                if self.done or (self.status and not keep_going):
                    break
        finally:
            self.ask, self.where = asked, ""
        return self.status

    def execute(self, line: str) -> int:
        """Runs one command; returns its status: 0 done, 1 failed, 2 called wrongly. StatusError
        INVALID_PARAMETER for what is no text.
        """
        name, rest = split_name(named(line, "a command")[: MOST_LINE + 1])
        if not name and not rest.strip():
            return self.status
        told = name and name + ": "  # in front of an error
        try:
            if len(line) > MOST_LINE:
                raise UsageError(f"the line has more than {MOST_LINE} characters")
            if name[1:] == ":" and not rest.strip():
                told = ""
                self.status = COMMANDS["cd"].run(self, [name]) or 0
                return self.status
            self.name = name = _find(name)
            told = name + ": "
            self.status = self._run(name, rest)
        except (StatusError, UsageError) as error:
            self.err(f"{told}{error}")
            self.status = 2 if _is_wrong(error) else 1
        return self.status

    def _run(self, name: str, rest: str) -> int:
        """Runs a command, its output and input where the line says."""
        command = COMMANDS[name]
        if command.function is rem and rest.strip() != "/?":
            return 0  # whatever stands behind it
        line = read_line(rest, command.text)
        if "/?" in line.words:
            command, line.words = COMMANDS["help"], [name]
        with self._redirected(line):
            return command.run(self, [line.text.rstrip()] if command.text else line.words) or 0

    @contextmanager
    def _redirected(self, line: Line) -> Iterator[None]:
        """Output and input of a line while its command runs. One that is called wrongly, fails or
        is interrupted before its end leaves the file as it was.
        """
        output = self._target(line)
        try:
            with ExitStack() as stack:
                if line.input is not None:
                    _, volume, path = self.resolve(line.input)
                    file: File = stack.enter_context(volume.open(path))
                    self.input = map(text, lines(chunks(file)))
                self.output = output
                yield
        except BaseException:
            if output is not None:
                output.give_up()
            raise
        finally:
            self.output = self.input = None
        if output is not None:
            output.finish()

    def _target(self, line: Line) -> Output | None:
        """The file that a line's output goes to, if it goes to one."""
        if line.output is None:
            return None
        if line.output.lower() == "nul":
            return Nowhere()
        _, volume, path = self.resolve(line.output)
        return FileOutput(volume, path, line.append)


def _find(name: str) -> str:
    """The command that a name, or its beginning, means. UsageError for none, and for several."""
    if not name:
        raise UsageError("a command is missing in front of it")
    found = [name] if name in COMMANDS else [c for c in COMMANDS if c.startswith(name)]
    if len(found) != 1:
        raise UsageError(f"could be {', '.join(found)}" if found else "no such command; try help")
    return found[0]


def _is_wrong(error: StatusError | UsageError) -> bool:
    """Whether the call was wrong, and not what it was for."""
    return isinstance(error, UsageError) or error.status == Status.INVALID_PARAMETER
