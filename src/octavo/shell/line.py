r"""A line of the shell, taken apart.

    dir/s "my files" > list.txt
    name  words        output

The name ends at a blank, or at what cannot be in one: `cd\docs`, `cd..` and `dir/s` are lines. "@"
in front of it is nothing, as in scripts for NT. Words have ' or " around blanks. `> FILE` and
`>> FILE` say where output goes, `< FILE` where input comes from; `|` is refused.

`echo` and `rem` take text as it stands: there ' is a letter, and a " that has no end goes to the
end of the line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MOST_LINE = 8191  # characters, as a line of NT's shell has

_NAME = re.compile(r"\s*@?\s*(?:([A-Za-z]:|[A-Za-z]+)(?=[\s/\\.<>|]|$)|([^\s<>|]*))")
_WORD = r"""(?:"[^"]*"|'[^']*'|[^\s"'<>|])+"""
_TEXT = r"""(?:"[^"]*(?:"|$)|[^\s"<>|])+"""
_TOKENS = {
    text: re.compile(rf"(?P<blank>\s+)|(?P<operator>>>|[<>|])|(?P<word>{word})|(?P<open>.)", re.S)
    for text, word in ((False, _WORD), (True, _TEXT))
}
_QUOTED = re.compile(r""""([^"]*)"|'([^']*)'""")


class UsageError(Exception):
    """The command was called wrongly; the text says how it is called."""


@dataclass(slots=True)
class Line:
    """What stands behind a command's name: words without their quotes, or `text`; the files for
    output and input.
    """

    words: list[str] = field(default_factory=list)
    text: str = ""
    output: str | None = None
    append: bool = False
    input: str | None = None


def split_name(line: str) -> tuple[str, str]:
    """The name of a line's command in lower case, and what stands behind it; "c:" only where
    nothing does.
    """
    found = _NAME.match(line)
    assert found is not None
    return (found[1] or found[2]).lower(), line[found.end() :]


def read_line(rest: str, text: bool) -> Line:
    """Takes apart what stands behind a name; with `text` it is text but for what begins with "<"
    and ">". UsageError for what makes no sense.
    """
    line, kept = Line(), []
    operator = ""
    for found in _TOKENS[text].finditer(rest):
        if found["open"]:
            raise UsageError(f"the quote {found['open']} has no end")
        if found["word"] and operator:
            _redirect(line, operator, unquoted(found["word"]))
            operator = ""
        elif found["word"]:
            line.words.append(unquoted(found["word"]))
            kept.append(found[0])
        elif found["operator"] == "|":
            raise UsageError(
                "| is not had here: send output to a file with >, and read it from there with <"
            )
        elif found["operator"] and operator:
            break
        elif found["operator"]:
            operator = found["operator"]
        elif not operator:
            kept.append(found[0])
    if operator:
        raise UsageError(f"{operator} needs the name of a file behind it")
    line.text = "".join(kept)
    return line


def _redirect(line: Line, operator: str, path: str) -> None:
    """Notes the file for output or input. UsageError for a second one."""
    if line.input is not None if operator == "<" else line.output is not None:
        raise UsageError(f"{operator} {path}: there is one {operator[0]} in the line already")
    if operator == "<":
        line.input = path
    else:
        line.output, line.append = path, operator == ">>"


def unquoted(word: str) -> str:
    """A word without its quotes."""
    return _QUOTED.sub(lambda m: m[1] if m[1] is not None else m[2], word)


def split_words(line: str) -> list[str]:
    """The words of a line that may have any end, as one that is being typed has: quotes taken off,
    signs of redirection left out.
    """
    return [unquoted(m["word"]) for m in _TOKENS[False].finditer(line) if m["word"]]


def split_commands(text: str) -> list[str]:
    """The commands of a text: ";" and line ends separate them, but not inside quotes."""
    out: list[str] = []
    quote, begun = "", 0
    for at, c in enumerate(text):
        if not quote and c in ";\n":
            out.append(text[begun:at])
            begun = at + 1
        elif c in "\"'" and quote in ("", c):
            quote = "" if quote else c
    return [line for line in (*out, text[begun:]) if line.strip()]
