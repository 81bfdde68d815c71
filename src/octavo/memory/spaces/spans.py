"""Spans: pages that are alike, as (first, end, protection); no protection is: reserved.

A stretch of pages is tiled by spans, so a gigabyte is committed, protected or queried as one of
them, whatever page tables hold.

    stretch  | RW, committed | reserved | RO, committed | reserved ................ |
    pages    start                                                                end
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.memory.runs import parts_of, run_at, with_run
from octavo.memory.spaces.protect import Protect

Span = tuple[int, int, Protect | None]  # first page, end, protection (None: reserved)


def pages_in(base: int, size: int) -> tuple[int, int]:
    """The pages that bytes [base, base + size) lie in: first and end."""
    return base >> PAGE_SHIFT, base + size + PAGE_SIZE - 1 >> PAGE_SHIFT


def pages_for(size: int) -> int:
    """Pages that so many bytes come to."""
    return size + PAGE_SIZE - 1 >> PAGE_SHIFT


def groups_in(spans: Sequence[Span], shift: int) -> int:
    """Groups of 1 << `shift` pages in which ascending spans have committed pages."""
    found, last = 0, -1
    for first, end, protect in spans:
        if protect is not None:
            found += max(0, (end - 1 >> shift) - max(first >> shift, last + 1) + 1)
            last = end - 1 >> shift
    return found


@dataclass(eq=False)
class Stretch:
    """Pages [start, end), made with `protect`: reserved, unless other `spans` are given.

    `version` changes with every protection: who looked before a wait asks whether that holds still.
    """

    start: int
    end: int
    protect: Protect
    spans: list[Span] = field(default_factory=list)
    version: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not self.spans:
            self.spans = [(self.start, self.end, None)]

    def span_at(self, page: int) -> Span:
        """The span that a page is in."""
        spans = self.spans
        return spans[0] if len(spans) == 1 else run_at(spans, page)

    def parts(self, first: int, end: int) -> list[Span]:
        """The spans of pages [first, end), cut to them."""
        return parts_of(self.spans, first, end)

    def set(self, first: int, end: int, protect: Protect | None) -> None:
        """Gives pages [first, end) one protection; spans that continue each other become one."""
        self.version += 1
        self.spans = with_run(self.spans, first, end, protect)

    def committed(self, first: int, end: int) -> int:
        """Committed pages of [first, end)."""
        return sum(b - a for a, b, p in self.parts(first, end) if p is not None)
