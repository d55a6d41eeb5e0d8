"""Sketches: curves at low resolution."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clearml_taskgroup._model.downsample import MOST, Sketch


@given(st.integers(0, 2000))
def test_a_sketch_is_evenly_spread(count: int) -> None:
    """However many points there were, a few at most are kept, evenly spread, the first among them."""
    sketch = Sketch()
    passes = 0
    for step in range(count):
        if passes:
            passes -= 1
        else:
            passes = sketch.add(step * 3, float(step))
    assert len(sketch.xs) == len(sketch.ys) <= MOST
    assert [x / 3 for x in sketch.xs] == list(sketch.ys)
    assert list(sketch.ys[:1]) == [0.0][:count]
    gaps = {b - a for a, b in zip(sketch.ys, sketch.ys[1:], strict=False)}
    assert len(gaps) <= 1
    if count >= MOST:
        assert len(sketch.xs) >= MOST // 2
        assert count - 1 - sketch.ys[-1] < gaps.pop()
    else:
        assert len(sketch.xs) == count
