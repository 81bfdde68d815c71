"""The shell on a terminal: prompt, history, completion.

While the prompt waits, the system's kernel threads go on (the lazy writer, above all).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer
from prompt_toolkit.completion import Completion as Offer
from prompt_toolkit.document import Document
from prompt_toolkit.eventloop import InputHookContext
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.shortcuts import clear

from octavo.shell.completion import completions
from octavo.shell.shell import Shell
from octavo.threads.interrupts import Terminated

IDLE_SECONDS = 0.05


class _Completer(Completer):
    def __init__(self, shell: Shell) -> None:
        self.shell = shell

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Offer]:
        for found in completions(self.shell, document.text_before_cursor):
            yield Offer(found.text, -found.replaces, found.shown)


class _History(FileHistory):
    def load_history_strings(self) -> Iterable[str]:
        try:
            return super().load_history_strings()
        except OSError:  # nor is one that cannot be read
            return []

    def store_string(self, string: str) -> None:
        with suppress(OSError):  # a line that cannot be kept is no reason to end
            super().store_string(string)


def open_history() -> History:
    """The lines of earlier sessions, kept in octavo/history below XDG_STATE_HOME; of this session
    only where that cannot be.
    """
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    path = Path(base) / "octavo" / "history"
    try:
        path.parent.mkdir(0o700, parents=True, exist_ok=True)
        path.touch(0o600)
        if path.is_file():  # a device or a FIFO might have no end
            return _History(str(path))
    except OSError:
        pass
    return InMemoryHistory()


def _idle(shell: Shell) -> Callable[[InputHookContext], None]:
    """What the prompt calls while it waits: kernel threads go on until there is input."""

    def idle(context: InputHookContext) -> None:
        while not context.input_is_ready():
            shell.system.scheduler.pump(IDLE_SECONDS)

    return idle


def _asker(idle: Callable[[InputHookContext], None]) -> Callable[[str], str | None]:
    """Asks for lines of a command, such as edlin: they have no history, and Ctrl-C only takes one
    away.
    """
    session: PromptSession[str] = PromptSession(history=InMemoryHistory())

    def ask(prompt: str) -> str | None:
        try:
            return session.prompt(prompt, inputhook=idle)
        except Terminated:
            raise
        except KeyboardInterrupt:
            return ""
        except EOFError:
            return None

    return ask


def run_terminal(shell: Shell) -> int:
    """Reads and runs lines until exit or the end of input; returns the last status."""
    session: PromptSession[str] = PromptSession(
        history=open_history(), completer=_Completer(shell), complete_while_typing=False
    )
    shell.clear = clear
    idle = _idle(shell)
    shell.ask, shell.interactive = _asker(idle), True
    while not shell.done:
        try:
            shell.run_lines(session.prompt(shell.prompt, inputhook=idle))
        except Terminated:
            raise
        except KeyboardInterrupt:
            continue
        except EOFError:
            break
    return shell.status
