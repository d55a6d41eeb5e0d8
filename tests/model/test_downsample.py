"""Sketches: curves at low resolution."""

from __future__ import annotations

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
    assert len(sample.xs) == len(sample.ys) <= MAX_SAMPLE_POINTS
    assert [x / 3 for x in sample.xs] == list(sample.ys)
    assert list(sample.ys[:1]) == [0.0][:count]
    gaps = {b - a for a, b in zip(sample.ys, sample.ys[1:], strict=False)}
    assert len(gaps) <= 1
    if count >= MAX_SAMPLE_POINTS:
        assert len(sample.xs) >= MAX_SAMPLE_POINTS // 2
        assert count - 1 - sample.ys[-1] < gaps.pop()
    else:
        assert len(sample.xs) == count
