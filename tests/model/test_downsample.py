"""Sketches: curves at low resolution."""

from __future__ import annotations

import gc
import itertools

from hypothesis import given
from hypothesis import strategies as st

from clearml_taskgroup._model.downsample import MAX_SAMPLE_POINTS, CurveSample


@given(st.integers(0, 2000))
def test_a_sketch_is_evenly_spread(count: int) -> None:
    """However many points there were, a few at most are kept, evenly spread, the first among them."""
    sample = CurveSample()
    passes = 0
    for step in range(count):
        if passes:
            passes -= 1
        else:
            passes = sample.add(step * 3, float(step))
    points = sample.points
    assert len(points) <= MAX_SAMPLE_POINTS
    assert all(x == y * 3 for x, y in points)
    assert points[:1] == [(0, 0.0)][:count]
    assert (bool(sample), sample.end) == ((True, points[-1][0]) if count else (False, None))
    gaps = {later - earlier for (earlier, _), (later, _) in itertools.pairwise(points)}
    assert len(gaps) <= 1
    if count >= MAX_SAMPLE_POINTS:
        assert len(points) >= MAX_SAMPLE_POINTS // 2
        assert (count - 1) * 3 - points[-1][0] < gaps.pop()
    else:
        assert len(points) == count


def test_a_sample_makes_no_work_for_the_garbage_collector() -> None:
    """Its points are no objects that a collection looks at, however many curves a group has."""
    sample = CurveSample()
    sample.add(-(2**31) + 1, 1e-300)
    sample.add(2**63 - 1, -3.4e38)
    assert not [one for one in gc.get_referents(sample) if gc.is_tracked(one) and one is not CurveSample]
    assert sample.points == [(-(2**31) + 1, 1e-300), (2**63 - 1, -3.4e38)]
    assert CurveSample.from_json(sample.to_json()).points == sample.points
