"""What a line may go on with: commands, their verbs, and paths of volumes or of the host, with
quotes around blanks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from octavo.printing import printable
from octavo.shell.command import Place
from octavo.shell.line import split_words
from octavo.shell.shell import COMMANDS, Shell
from octavo.status import StatusError

_TOKEN = re.compile(r"""\s+|[<>]+|(?:"[^"]*"?|'[^']*'?|[^\s"'<>])+""")


class Completion(NamedTuple):
    """`text` for the last `replaces` characters of a line; `shown` is what a menu has."""

    text: str
    replaces: int
    shown: str


def completions(shell: Shell, line: str) -> Iterator[Completion]:
    """What the last word of a line may be, in the order of names."""
    tokens = _TOKEN.findall(line.lstrip())
    raw = tokens.pop() if tokens and not tokens[-1].isspace() else ""
    if raw[:1] in ("<", ">"):
        tokens, raw = [*tokens, raw], ""
    word = raw.replace('"', "").replace("'", "")
    signs = [token[0] in "<>" for token in tokens if not token.isspace()]
    if True in signs:  # the name of one file comes behind the last sign, and nothing more
        found = _volume_paths(shell, word, False) if signs[-1] else iter(())
    else:
        found = iter(_words(shell, split_words("".join(tokens)), word))
    for text, shown in found:
        quoted = (
            f'"{text}' + ("" if text.endswith(("\\", "/")) else '"')
            if " " in text or raw.startswith('"')
            else text
        )
        yield Completion(quoted, len(raw), printable(shown))


def _words(shell: Shell, before: list[str], word: str) -> Iterable[tuple[str, str]]:
    """(word, what a menu has) for all words that begin as `word` does."""
    if not before:
        return _choices(COMMANDS, word)
    found = COMMANDS.get(before[0].lower())
    if found is None:
        return []
    if word.startswith("/") and found.switches:
        return _choices((f"/{c}" for c in (*found.switches, "?") if c != ":"), word)
    words = [w for w in before[1:] if not (found.switches and w.startswith("/"))]
    if len(words) >= found.most:
        return []
    offered = found.complete(shell, [w.lower() for w in words])
    if offered is Place.VOLUME or offered is Place.DIRECTORY:
        return _volume_paths(shell, word, offered is Place.DIRECTORY)
    return _host_paths(word) if offered is Place.HOST else _choices(offered, word)


def _choices(words: Iterable[str], word: str) -> list[tuple[str, str]]:
    return [(w, w) for w in sorted(words) if w.lower().startswith(word.lower())]


def _volume_paths(shell: Shell, word: str, directories: bool) -> Iterator[tuple[str, str]]:
    cut = max(word.rfind(c) for c in "/\\:") + 1
    try:
        _, volume, path = shell.resolve(word[:cut] or ".")
        entries = volume.entries(path)
    except StatusError:
        return
    for entry in sorted(entries, key=lambda e: e.name.lower()):
        if entry.name.upper().startswith(word[cut:].upper()) and (
            entry.is_directory or not directories
        ):
            name = entry.name + ("\\" if entry.is_directory else "")
            yield word[:cut] + name, name


def _host_paths(word: str) -> Iterator[tuple[str, str]]:
    cut = word.rfind("/") + 1
    try:
        with os.scandir(word[:cut] or ".") as found:
            names = sorted(e.name + ("/" if e.is_dir() else "") for e in found)
    except OSError:
        return
    hidden = word[cut:].startswith(".")
    for name in names:
        if name.startswith(word[cut:]) and (hidden or not name.startswith(".")):
            yield word[:cut] + name, name
