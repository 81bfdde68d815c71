"""The region map against a list of units."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from octavo.memory.pagers.regionmap import RegionMap


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5)), min_size=1, max_size=30),
    st.integers(0, 60_000),
    st.integers(1, 60_000),
    st.integers(0, 80),
)
def test_region_map(runs: list[tuple[int, int]], offset: int, length: int, keep: int) -> None:
    """Against a list of units."""
    regions, model = RegionMap(512), list[int]()
    for place, count in runs:
        regions.append(place * 512, count)
        model += [place * 512 + i * 512 for i in range(count)]
    regions.truncate(keep)
    model = model[:keep]
    assert regions.total == len(model) * 512
    found = [place + i for place, size in regions.locate(offset, length) for i in range(size)]
    assert found == [
        model[b // 512] + b % 512 for b in range(offset, min(offset + length, len(model) * 512))
    ]
    assert [p + i * 512 for p, n in regions.units() for i in range(n)] == model
    if model:
        assert regions.last_place() == model[-1]
