"""The shell on a terminal: prompt, history, completion of commands and paths.

While the prompt waits, the system's kernel threads go on (the lazy writer, above all).
"""

from __future__ import annotations

from collections.abc import Iterable

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory

from octavo.shell import inspection  # noqa: F401 -- adds its commands
from octavo.shell.commands import COMMANDS
from octavo.shell.shell import Shell
from octavo.status import StatusError

IDLE_SECONDS = 0.05


class _Completer(Completer):
    def __init__(self, shell: Shell) -> None:
        self.shell = shell

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        word = text.rpartition(" ")[2].lstrip("\"'")
        if " " not in text.lstrip():
            for name in sorted(COMMANDS):
                if name.startswith(word.lower()):
                    yield Completion(name, -len(word))
            return
        cut = max(word.rfind(c) for c in "/\\:") + 1
        try:
            _, volume, path = self.shell.resolve(word[:cut] or ".")
            entries = volume.entries(path)
        except StatusError:
            return
        last = word[cut:].upper()
        for entry in entries:
            if entry.name.upper().startswith(last):
                yield Completion(entry.name + ("\\" if entry.is_directory else ""), -len(last))


def run_terminal(shell: Shell) -> int:
    """Reads and runs lines until exit or the end of input; returns the last status."""
    session: PromptSession[str] = PromptSession(history=InMemoryHistory(), completer=_Completer(shell), complete_while_typing=False)

    def idle(context: object) -> None:
        while not context.input_is_ready():  # type: ignore[attr-defined]
            shell.system.scheduler.pump(IDLE_SECONDS)

    while not shell.done:
        try:
            shell.execute(session.prompt(shell.prompt, inputhook=idle))
        except KeyboardInterrupt:
            continue
        except EOFError:
            break
    return shell.status
