"""Texts for people: numbers with what they count, and names: what would take over a terminal, or
turn a line round, is shown as "?".
"""

from __future__ import annotations

import re

MOST_LINES = 1000  # of a log
# Control characters (C0 but the tab, DEL, C1), what breaks lines, and what changes the direction of
# text.
_HOSTILE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """One line for a terminal: names and labels from images, arguments and firmware may have
    anything in them.
    """
    return text if text.isprintable() else _HOSTILE.sub("?", text)


def counted(number: int, one: str, more: str = "", width: int = 0) -> str:
    """A number, in `width` columns, and what it counts: "1 file", "2 files"; `more` where that is
    not `one` with an "s".
    """
    return f"{number:{width}d} {one if number == 1 else more or one + 's'}"


def escaped(json: str) -> str:
    """A JSON document with the same in its strings as \\u escapes, which are the same data."""
    return re.sub(
        "[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]",
        lambda found: f"\\u{ord(found[0]):04x}",
        json,
    )


def keep(lines: list[str], line: str) -> None:
    """Adds a line to a log, which keeps the last MOST_LINES: a system that runs for long says
    much.
    """
    lines.append(line)
    del lines[:-MOST_LINES]
