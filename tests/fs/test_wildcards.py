"""Names with * and ? as NT has them, against what the words of its documents say, letter by
letter; and masks for new names.
"""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavo.fs.wildcards import matcher, renamed

# (pattern, names that fit, names that do not), names parted by blanks
CASES = [
    ("*", "a .a a.b a.b.c", ""),
    ("*.*", "a .a a.b a.b.c", ""),
    ("*.", "a abc", "a.b .a a.b.c"),
    ("a*.*", "a abc a.b a.b.c", "b ba.a"),
    ("*.txt", "a.txt A.TXT a.b.txt .txt", "a txt a.txt.b a.tx a.txtx"),
    ("*.b.c", "a.b.c", "b.c a.b"),
    ("*.t*", "a.txt a.b.t a.txt.zip", "a a.b at"),
    ("?", "a b", "ab a.b"),
    ("??.txt", "a.txt ab.txt .txt", "abc.txt ab"),
    ("a?", "a ab A", "abc ba a.b"),
    ("a?c*.TXT", "abc.txt AXCdef.txt", "ac.txt abc.tx"),
    ("*?", "a ab a.b", ""),
    ("????????.???", "a readme.txt abc.d", "readmexyz.txt a.html a.b.c"),
    ("a.?", "a a.b", "a.bc ab"),
    ("a.*", "a a.b a.b.c", "ab ab.c"),
    ("abc", "abc ABC", "ab abcd"),
    ("abc.", "abc", "abcd"),
    ("ä*", "Ärger ä", "a"),
]


@pytest.mark.parametrize(("pattern", "fit", "others"), CASES, ids=lambda value: str(value))
def test_names_that_fit(pattern: str, fit: str, others: str) -> None:
    """As FindFirstFile gives them."""
    fits = matcher(pattern)
    assert [name for name in fit.split() if not fits(name)] == []
    assert [name for name in others.split() if fits(name)] == []


def told(pattern: str, name: str) -> bool:
    """The same by the words: what each character of a pattern may be, tried in all ways."""
    meant = [(c, pattern[i + 1 : i + 2]) for i, c in enumerate(pattern[: len(pattern.rstrip("."))])]

    def from_(i: int, j: int) -> bool:
        if i == len(meant):
            return j == len(name)
        c, follows = meant[i]
        here = name[j : j + 1]
        if c == "*":
            may = here and not (follows == "." and j == name.rfind("."))
            return from_(i + 1, j) or bool(may and from_(i, j + 1))
        if c == "?":
            return from_(i + 1, j) if here in ("", ".") else from_(i + 1, j + 1)
        if c == "." and follows in ("*", "?"):
            return from_(i + 1, j + (here == ".")) if here in ("", ".") else False
        return here == c and from_(i + 1, j + 1)

    return from_(0, 0)


@given(st.text("AB.*?", max_size=8), st.text("AB.", min_size=1, max_size=8))
def test_any_pattern_and_any_name(pattern: str, name: str) -> None:
    """As tried in all ways."""
    if pattern != "*.*":
        assert matcher(pattern)(name) == told(pattern, name)


def test_a_pattern_that_would_never_end() -> None:
    """Its time is bounded by the lengths, not by the ways to fit."""
    begun = time.perf_counter()
    assert not matcher("*a" * 100 + "b")("a" * 255)
    assert time.perf_counter() - begun < 1


@pytest.mark.parametrize(
    ("name", "mask", "new"),
    [
        ("a.txt", "*.bak", "a.bak"),
        ("a.b.txt", "*.bak", "a.b.bak"),
        ("a", "*.bak", "a.bak"),
        ("a.txt", "*", "a.txt"),
        ("a.txt", "b.*", "b.txt"),
        ("a.b.txt", "x.*", "x.b.txt"),
        ("readme.txt", "new*", "newdme.txt"),
        ("readme.txt", "???.*", "rea.txt"),
        ("ab.txt", "????x.*", "abx.txt"),
        ("abc", "*?", "abc"),
        ("part1.r00", "*r.zip", "part1.r.zip"),
        ("a.txt", "*.", "a"),
        ("a.txt", "plain.doc", "plain.doc"),
    ],
)
def test_masks_for_new_names(name: str, mask: str, new: str) -> None:
    """As ren of NT's shell fills them."""
    assert renamed(name, mask) == new
