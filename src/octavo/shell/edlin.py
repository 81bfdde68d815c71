"""The command edlin: a text is changed line by line."""

from __future__ import annotations

import re
from collections.abc import Callable

from octavo.fs.base import check_file_path
from octavo.printing import counted
from octavo.shell.command import Command, Words, command
from octavo.shell.document import Document
from octavo.shell.line import MOST_LINE
from octavo.shell.session import Session
from octavo.shell.texts import text
from octavo.status import Status, StatusError
from octavo.threads.interrupts import Terminated

COMMANDS: dict[str, Command] = {}
PAGE = 20  # lines that p prints
_MOST_SHOWN = 4096  # characters of a line

_HELP = """\
  N           prints line N
  N TEXT      puts a text into line N, or behind the last one
  i N TEXT    inserts a line before line N
  d N [M]     deletes line N, or lines N to M
  p [N [M]]   prints lines; without numbers, the next 20, or those that were changed
  f TEXT      prints the lines that have a text in them
  s           saves
  q           ends; twice, if there is something that was not saved"""


@command(COMMANDS, "edlin", 1, 1)
def edlin(shell: Session, arguments: Words) -> int:
    """edlin FILE

    Changes a text by commands, one a line; "?" lists them. A file that is not there is a new one,
    and is made when it is saved. In a script the commands are the lines behind edlin, or those of
    the file behind "<".
      N, N TEXT, i N TEXT, d N [M], p [N [M]], f TEXT, s, q

    Example: edlin notes.txt < docs/edits.txt
    """
    _, volume, path = shell.resolve(arguments[0])
    check_file_path(path)
    document = Document(volume, path, shell.system.scheduler.clock.wall())
    try:
        return _Edlin(shell, document).run()
    finally:
        document.close()


class _Edlin:
    """Somebody who edits a document."""

    def __init__(self, shell: Session, document: Document) -> None:
        self._shell = shell
        self._document = document
        self._next = 1  # line for p: behind what was printed, or where something was changed
        self._leaving = False  # q was said once
        self._status = 0

    def run(self) -> int:
        """Takes commands until q; the status is 1 when one failed, or changes were left."""
        self._shell.out(f"{counted(len(self._document), 'line')}; ? lists the commands")
        while (line := self._shell.next_line("*")) is not None:
            try:
                if self._obey(line):
                    return self._status
            except StatusError as error:
                self._shell.err(f"edlin: {error}")
                self._status = 1
            except KeyboardInterrupt as stop:  # of a long print, say: the changes are still there
                if isinstance(stop, Terminated) or not self._shell.interactive:
                    raise
        if self._document.changed:
            self._shell.err("edlin: the input ended, and what was changed was not saved")
            self._status = 1
        return self._status

    def _obey(self, line: str) -> bool:
        """Does what a line says; True for the end."""
        leaving, self._leaving = self._leaving, False
        if len(line) > MOST_LINE:
            what = f"the line has more than {MOST_LINE} characters"
            raise StatusError(Status.INVALID_PARAMETER, what)
        line = line.lstrip()
        for pattern, do in _COMMANDS:
            if found := pattern.fullmatch(line):
                do(self, *found.groups())
                return self._leaving and (leaving or not self._document.changed)
        if line:
            what = f"{line[:40]}: is no command of edlin; ? lists them"
            raise StatusError(Status.INVALID_PARAMETER, what)
        return False

    def put(self, number: str, new: str) -> None:
        """N TEXT"""
        self._document.put(int(number), new)
        self._next = int(number)

    def insert(self, number: str, new: str | None) -> None:
        """i N TEXT"""
        self._document.insert(int(number), new or "")
        self._next = int(number)

    def delete(self, first: str, last: str | None) -> None:
        """d N [M]"""
        self._document.delete(int(first), int(last or first))
        self._next = int(first)

    def show(self, number: str) -> None:
        """N"""
        self.print(number, number)

    def print(self, first: str | None, last: str | None) -> None:
        """p [N [M]]"""
        begin = int(first or self._next)
        end = int(last) if last else begin + PAGE - 1
        if begin > len(self._document):
            self._shell.out("that was the last line")
            begin, end = 1, 0
        self._next = end + 1
        told = 0
        for number, line in self._document.numbered(begin):
            if number > end:
                break
            if number != told:  # not the rest of a long one
                self._out(number, line)
            told = number

    def find(self, wanted: str) -> None:
        """f TEXT"""
        for number, line in self._document.numbered(1):
            if wanted in text(line):
                self._out(number, line)

    def _out(self, number: int, line: bytes) -> None:
        self._shell.out(f"{number:>6}: {text(line)[:_MOST_SHOWN]}")

    def save(self) -> None:
        """s"""
        self._document.save()
        self._shell.out(f"{counted(len(self._document), 'line')} saved")

    def quit(self) -> None:
        """q"""
        self._leaving = True
        if self._document.changed:
            self._shell.out("there are changes: s saves them, and q once more gives them up")

    def help(self) -> None:
        """?"""
        for said in _HELP.splitlines():
            self._shell.out(said)


_NUMBER = r"(\d{1,18})"
_COMMANDS: tuple[tuple[re.Pattern[str], Callable[..., None]], ...] = tuple(
    (re.compile(pattern, re.S | re.I), do)
    for pattern, do in (
        (rf"{_NUMBER} (.*)", _Edlin.put),
        (rf"{_NUMBER}", _Edlin.show),
        (rf"i *{_NUMBER}(?: (.*))?", _Edlin.insert),
        (rf"d *{_NUMBER}(?: +{_NUMBER})? *", _Edlin.delete),
        (rf"p *{_NUMBER}?(?: +{_NUMBER})? *", _Edlin.print),
        (r"f (.+)", _Edlin.find),
        (r"s *", _Edlin.save),
        (r"q *", _Edlin.quit),
        (r"\? *", _Edlin.help),
    )
)
