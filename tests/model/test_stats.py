"""Statistics of a curve: a map from iteration to value, whatever the order of arrival."""

from __future__ import annotations

import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_taskgroup._model.stats import Stats

Points = list[tuple[int | None, float]]
POINTS = st.lists(st.tuples(st.integers(0, 12), st.integers(-9, 9).map(float)), max_size=14)


def model(points: Points) -> dict[str, float | int | None]:
    """The statistics, from their definition."""
    curve = {iteration: value for iteration, value in points if iteration is not None}
    first, last = min(curve), max(curve)
    low, high = min(curve.values()), max(curve.values())
    return {
        "first": curve[first],
        "first_iteration": first,
        "last": curve[last],
        "last_iteration": last,
        "min": low,
        "min_iteration": min(at for at, value in curve.items() if value == low),
        "max": high,
        "max_iteration": min(at for at, value in curve.items() if value == high),
        "total": math.fsum(curve.values()),
        "count": len(curve),
    }


def shown(stats: Stats) -> dict[str, float | int | None]:
    fields = attrs.asdict(stats)
    return {name: fields[name] for name in fields.keys() - {"single", "end", "exact", "ordered"}}


def added(points: Points) -> Stats:
    stats = Stats()
    for iteration, value in points:
        stats.add(value, iteration)
    return stats


@given(points=POINTS.filter(bool))
def test_statistics_are_those_of_the_stored_curve(points: Points) -> None:
    assert shown(Stats.of(points)) == model(points)


@given(points=POINTS.filter(bool))
def test_what_is_added_is_exact_or_says_that_it_is_not(points: Points) -> None:
    stats, increasing = (
        added(points),
        [at for at, _ in points] == sorted({at for at, _ in points if at is not None}),
    )
    assert stats.exact == stats.ordered == increasing
    if stats.exact:
        assert shown(stats) == model(points)


@given(points=POINTS.filter(bool))
def test_until_the_curve_is_read_every_report_counts(points: Points) -> None:
    """Ends of the curve are those of the latest reports, its extremes those of all reports."""
    stats, expected = added(points), model(points)
    ends = ("first", "first_iteration", "last", "last_iteration")
    assert [getattr(stats, end) for end in ends] == [expected[end] for end in ends]
    values = [value for _, value in points]
    assert (stats.min, stats.max) == (min(values), max(values))
    assert (stats.min_iteration, stats.min) in points
    assert (stats.max_iteration, stats.max) in points


@given(points=POINTS.filter(bool), single=st.floats(0, 1))
def test_out_of_order_a_single_value_stays_last(points: Points, single: float) -> None:
    stats = added([(None, single), *points])
    assert (stats.last, stats.last_iteration, stats.single) == (single, None, True)


@given(one=POINTS.filter(bool), other=POINTS.filter(bool))
def test_merged_extremes_are_those_of_all_reports(one: Points, other: Points) -> None:
    stats = added(one)
    stats.merge(added(other))
    values = [value for _, value in [*one, *other]]
    assert (stats.min, stats.max) == (min(values), max(values))
    assert stats.first_iteration == min(at for at, _ in [*one, *other] if at is not None)
    assert stats.end == max(at for at, _ in [*one, *other] if at is not None)


def test_a_worker_that_goes_on_is_added_without_reading_the_curve() -> None:
    first, more = added([(0, 1.0), (1, 2.0)]), added([(0, 1.0), (1, 2.0), (2, 3.0)])
    stats = Stats()
    stats.merge(first)
    stats.merge(more, first)
    assert stats.exact
    assert shown(stats) == model([(0, 1.0), (1, 2.0), (2, 3.0)])
    later, again = added([(2, 3.0)]), added([(1, 3.0)])
    for other, exact in ((later, True), (again, False)):
        stats = added([(0, 1.0), (1, 2.0)])
        stats.merge(other)
        assert stats.exact == stats.ordered == exact


def test_an_earlier_part_is_exact_but_out_of_order() -> None:
    stats = added([(2, 3.0)])
    stats.merge(added([(0, 1.0), (1, 5.0)]))
    assert (stats.exact, stats.ordered) == (True, False)
    assert shown(stats) == model([(0, 1.0), (1, 5.0), (2, 3.0)])


def test_a_curve_that_has_to_be_read_still_has_to_after_a_merge() -> None:
    """A note may say so before any of its values is known."""
    for one, other in (
        (Stats(exact=False, ordered=False), added([(0, 1.0)])),
        (Stats(), added([(0, 1.0)] * 2)),
    ):
        one.merge(other)
        assert (one.exact, one.ordered, one.last) == (False, False, 1.0)


@pytest.mark.parametrize(
    ("part", "value"), [("first", 0.0), ("last", 0.0), ("min", 0.0), ("max", 9.0), ("count", 1)]
)
def test_agreement_is_of_all_parts(part: str, value: float) -> None:
    stats = added([(0, 1.0), (1, 2.0)])
    assert stats.agrees_with(attrs.evolve(stats, last_iteration=None, total=math.nan))
    other = attrs.evolve(stats)
    setattr(other, part, value)
    assert not stats.agrees_with(other)


@given(one=POINTS, other=POINTS, more=POINTS)
def test_merged_statistics_are_exact_or_say_that_they_are_not(
    one: Points, other: Points, more: Points
) -> None:
    stats = added(one)
    before = added(other)
    after = added([*other, *more])
    stats.merge(before)
    stats.merge(after, before)
    points = [*one, *other, *more]
    if points and stats.exact:
        assert shown(stats) == model(points)


@pytest.mark.parametrize("values", [[3.0], [1.0, 3.0], [9.0, 1.0, 3.0]])
def test_of_a_single_value_the_latest_report_counts(values: list[float]) -> None:
    stats = added([(None, value) for value in values])
    assert (stats.first, stats.min, stats.max, stats.mean, stats.last, stats.count) == (*[3.0] * 5, 1)


def test_a_single_value_beside_a_curve_is_last_alone() -> None:
    for points in ([(None, 7.0), (0, 1.0), (1, 2.0)], [(0, 1.0), (1, 2.0), (None, 7.0)]):
        stats = Stats.of(points)
        assert (stats.first, stats.last, stats.min, stats.max, stats.mean) == (1.0, 7.0, 1.0, 2.0, 1.5)


def test_statistics_that_version_0_1_wrote_are_not_trusted() -> None:
    written = {
        "first": 1.0,
        "first_iteration": 0,
        "last": 1.0,
        "last_iteration": 4,
        "min": 1.0,
        "min_iteration": 0,
    }
    written |= {"max": 1.0, "max_iteration": 0, "total": 6.0, "count": 6, "single": False}
    stats = Stats.from_json(written)
    assert (stats.end, stats.exact) == (4, False)
    assert Stats.from_json(attrs.asdict(Stats.of([(0, 1.0)]))).exact


def test_a_copy_is_independent_and_has_every_field() -> None:
    """Each field is in the copy and in the JSON, in its place."""
    stats = Stats(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, True, 11, False, False)
    copy = stats.copy()
    assert [*attrs.astuple(copy)] == [*attrs.astuple(stats)] == stats.to_json()
    copy.add(0.5, 12)
    assert (stats.count, copy.count) == (9, 10)
