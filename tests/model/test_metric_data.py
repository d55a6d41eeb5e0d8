"""`MetricData`: its form in the run log, and the merging of what several sources know."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_taskgroup._model.downsample import CurveSample
from clearml_taskgroup._model.metric_data import (
    MetricData,
    add_skipped,
    are_exact,
    copy_metrics,
    keys_by_name,
    metrics_from_json,
    metrics_to_json,
)
from clearml_taskgroup._model.metrics import MetricKey
from clearml_taskgroup._model.name_template import Name
from clearml_taskgroup._model.stats import Stats

Values = list[tuple[int | None, float]]

LISTED_VALUES = st.lists(
    st.tuples(st.none() | st.integers(0, 20), st.integers(-100, 100).map(float)), max_size=12
)


def data_of(values: Values, name: str = "value") -> MetricData:
    data = MetricData(names=(Name("loss", name),), sample=CurveSample())
    for iteration, value in values:
        data.stats.add(value, iteration)
        if iteration is not None and data.sample is not None:
            data.sample.add(iteration, value)
    return data


def test_a_metric_key_is_equal_to_a_plain_tuple() -> None:
    key = MetricKey("acc", (("flag", (True,)), ("split", "val")))
    plain = ("acc", (("flag", (True,)), ("split", "val")))
    assert (key, hash(key)) == (plain, hash(plain))
    assert str(key) == "acc[flag=True,split=val]"
    assert str(MetricKey("acc", ())) == "acc"


@given(values=LISTED_VALUES.filter(bool), context=st.sampled_from([{}, {"split": "val"}, {"flag": (True,)}]))
def test_what_the_run_log_has_is_read_back(values: Values, context: dict[str, Any]) -> None:
    key = MetricKey("loss", tuple(context.items()))
    data = data_of(values)
    line = json.loads(json.dumps(metrics_to_json({key: data})))
    stats = [*attrs.astuple(data.stats)]
    assert line == [["loss", json.loads(json.dumps(context)), stats, [["loss", "value"]]]]
    ((found, read),) = metrics_from_json(line).items()
    assert found == key
    assert attrs.astuple(read.stats) == attrs.astuple(data.stats)
    assert (read.names, read.sample) == (data.names, None)


@given(own=LISTED_VALUES, first=LISTED_VALUES, more=LISTED_VALUES)
def test_what_was_merged_before_does_not_count_twice(own: Values, first: Values, more: Values) -> None:
    """A worker's counts merged twice, the second time with more, are those of its values once."""
    merged, once = data_of(own), data_of(own)
    before, after = data_of(first, "worker"), data_of([*first, *more], "worker")
    merged.merge(before)
    merged.merge(after, before)
    once.merge(after)
    assert (merged.stats.count, merged.stats.total) == (once.stats.count, once.stats.total)
    assert (merged.stats.min, merged.stats.max) == (once.stats.min, once.stats.max)
    assert merged.names == (Name("loss", "value"), Name("loss", "worker"))


@pytest.mark.parametrize("curve_first", [True, False])
def test_a_curve_and_its_single_value_are_one_metric(curve_first: bool) -> None:
    curve, single = data_of([(0, 2.0), (1, 1.0)]), data_of([(None, 9.0)], "single")
    data, other = (curve, single) if curve_first else (single, curve)
    data.merge(other)
    expected = Stats(2.0, 0, 9.0, None, 1.0, 1, 2.0, 0, 3.0, 2, single=True, end=1)
    assert attrs.astuple(data.stats) == attrs.astuple(expected)


@pytest.mark.parametrize(
    ("values", "skipped", "diverged"),
    [
        ([], [], False),
        ([], [0], True),
        ([(3, 1.0)], [2], False),
        ([(3, 1.0)], [3], False),
        ([(3, 1.0)], [4, 2], True),
        ([(None, 1.0)], [5], False),
        ([(None, 1.0)], [None], True),
        ([(3, 1.0)], [None], True),
    ],
)
def test_a_metric_has_diverged_if_its_last_value_was_skipped(
    values: Values, skipped: list[int | None], diverged: bool
) -> None:
    """The last one is that of the highest iteration; a single value goes before."""
    data = data_of(values)
    for iteration in skipped:
        data.skip(iteration)
    assert (data.has_diverged, data.skipped, data.is_empty) == (
        diverged,
        len(skipped),
        not (values or skipped),
    )


def skipping(*iterations: int | None) -> MetricData:
    data = MetricData()
    for iteration in iterations:
        data.skip(iteration)
    return data


def test_what_others_skipped_is_added() -> None:
    """Once, also if a worker tells it again with more; only a later line or value ends a divergence."""
    data, first, more = skipping(3), skipping(5), skipping(5, None)
    data.merge_skipped(first)
    data.merge_skipped(more, first)
    assert data.skipped_to_json() == [3, 5, True]
    data.merge_skipped(skipping(1), None)
    assert data.skipped_to_json() == [4, 5, True]
    data.take_skipped(skipping(9))
    assert data.skipped_to_json() == [5, 9, True]
    data.take_skipped(MetricData())
    assert data.skipped_to_json() == [5, 9, False]
    data.single_skipped = True
    data.merge_skipped(data_of([(None, 1.0)]))
    assert not data.single_skipped


def test_what_only_a_run_log_knows_of_skipped_values() -> None:
    """It is added where nothing is known, and such a curve has to be read: nobody knows where it ends."""
    key, single, known, new = (MetricKey(name, ()) for name in ("curve", "single", "known", "new"))
    metrics = {key: data_of([(0, 1.0)]), single: data_of([(None, 1.0)]), known: skipping(1)}
    add_skipped(metrics, {key: skipping(1), single: skipping(1), known: skipping(7), new: skipping(2)})
    add_skipped(metrics, {MetricKey("complete", ()): data_of([(0, 1.0)])})
    assert {one.metric: data.skipped_at for one, data in metrics.items()} == {
        "curve": 1,
        "single": 1,
        "known": 1,
        "new": 2,
    }
    assert [data.stats.exact for data in metrics.values()] == [False, True, True, True]
    assert [are_exact(metrics), are_exact({known: metrics[known]})] == [False, True]


def test_the_longer_sample_is_kept() -> None:
    long, short = data_of([(0, 1.0), (5, 1.0)]), data_of([(0, 1.0), (4, 1.0)])
    sample = long.sample
    for data, other in ((long, short), (short, long)):
        data.merge(other)
        assert data.sample is sample


def test_a_copy_stays_as_it_is() -> None:
    key = MetricKey("loss", ())
    data = data_of([(0, 1.0)])
    copy = copy_metrics({key: data, MetricKey("empty", ()): MetricData()})
    data.stats.add(5.0, 1)
    data.add_names([Name("loss", "other"), Name("loss", "value")])
    assert [*copy] == [key]
    assert (copy[key].stats.last, copy[key].names) == (1.0, (Name("loss", "value"),))
    assert data.names == (Name("loss", "value"), Name("loss", "other"))


def test_what_names_stand_for() -> None:
    first, second = MetricKey("loss", ()), MetricKey("loss", (("split", "val"),))
    tasks = [{first: data_of([], "value")}, {second: data_of([], "val")}]
    assert keys_by_name(tasks) == {Name("loss", "value"): first, Name("loss", "val"): second}
