"""Rows of int32 numbers: what NumPy would make, at every length and at the ends of the range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavo.machine.ramps import MOST, negated, rises, rising, same

COUNTS = st.one_of(st.integers(1, MOST + 2), st.integers(1, 20 * MOST))
TOP = 2**31


@given(COUNTS, st.data())
def test_rows_are_as_numpy_makes_them(count: int, data: st.DataObject) -> None:
    first = data.draw(st.one_of(st.integers(1, TOP - count), st.just(TOP - count)))
    row = rising(first, count)
    assert (row.format, len(row)) == ("i", count)
    assert row.tolist() == np.arange(first, first + count, dtype=np.int32).tolist()
    assert negated(first, count).tolist() == [-first - i for i in range(count)]
    assert rises(row, first) and not rises(row, first - 1)


@given(COUNTS, st.data())
def test_one_number_that_differs_is_seen(count: int, data: st.DataObject) -> None:
    """In a row, and in a column of a table."""
    at = data.draw(st.integers(0, count - 1))
    column = memoryview(np.zeros(count * 8, np.int32).data)[3::8]
    column[:] = rising(7, count)
    assert rises(column, 7)
    column[at] ^= 1 << data.draw(st.integers(0, 30))
    assert not rises(column, 7)


@pytest.mark.parametrize("value", [0, 1, -1, TOP - 1, -TOP])
def test_one_number_again_and_again(value: int) -> None:
    for count in (0, 1, MOST, MOST + 1):
        assert same(value, count).tolist() == [value] * count
    assert rising(0, 1).tolist() == [0] and rises(rising(0, 0), 5)
