"""Means over seeds and folds: which tasks belong together, and the numbers."""

from __future__ import annotations

import math
import re
import statistics
import warnings
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_taskgroup import Aggregates, Metric, TaskGroup
from clearml_taskgroup._results import aggregate
from clearml_taskgroup._results.aggregate import mean_of, standard_deviation
from clearml_taskgroup.errors import ArgumentError, DriftWarning, NoSuchResultError
from clearml_taskgroup.testing import recording
from tests.support.rows import LOSS, made_results, made_row, metric_key

POINTS = [(c, seed, fold) for c in (1, 10) for seed in range(2) for fold in range(3)]


def score(c: int, seed: int, fold: int) -> float:
    """A number that differs from task to task."""
    return c / 7 + seed / 3 + fold**2 / 11


pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture
def group() -> TaskGroup:
    """A closed group of two configurations, each with two seeds and three folds."""
    with TaskGroup("digits", "sweep") as opened:
        for c, seed, fold in POINTS:
            opened.task({"C": c, "seed": seed, "fold": fold}).report(
                {"accuracy": score(c, seed, fold)}, 1, split="val"
            )
    return opened


def test_over_several_parameters(group: TaskGroup) -> None:
    """Over seed and fold there is one row for each C, in the order of opening."""
    rows = group.results().aggregate(over=["seed", "fold"])
    assert [(row.name, row.params, row.n) for row in rows] == [
        ("C=1", {"C": 1}, 6),
        ("C=10", {"C": 10}, 6),
    ]
    for row in rows:
        values = [score(*point) for point in POINTS if point[0] == row.params["C"]]
        (mean,) = row.stats.values()
        assert mean.mean == pytest.approx(np.mean(values))
        assert mean.std == pytest.approx(np.std(values, ddof=1))
        assert mean.sem == pytest.approx(np.std(values, ddof=1) / np.sqrt(6))
        assert mean.n == 6


def test_over_one_parameter(group: TaskGroup) -> None:
    """Over the fold alone, C and seed make a configuration together."""
    rows = group.results().aggregate(over="fold")
    assert [row.name for row in rows] == ["C=1,seed=0", "C=1,seed=1", "C=10,seed=0", "C=10,seed=1"]
    assert {row.n for row in rows} == {3}
    assert len(rows) == 4
    assert rows[0].name == next(iter(rows)).name


def test_over_the_seed_if_nothing_is_said(group: TaskGroup) -> None:
    """The usual case, seeds, is the default."""
    assert [row.name for row in group.results().aggregate()] == [
        row.name for row in group.results().aggregate(over="seed")
    ]


def test_over_all_parameters(group: TaskGroup) -> None:
    """Where nothing is left to tell configurations apart, there is one, called 'all'."""
    (row,) = group.results().aggregate(over=("C", "seed", "fold"))
    assert (row.name, row.params, row.n) == ("all", {}, 12)


@pytest.mark.parametrize("over", ["sed", ["seed", "C "], ""])
def test_over_a_parameter_that_no_task_has(group: TaskGroup, over: Any) -> None:
    """A misspelt parameter is told with those that there are."""
    with pytest.raises(ArgumentError, match="one of the parameters C, seed, fold"):
        group.results().aggregate(over=over)


def test_configurations_are_told_apart_by_identity() -> None:
    """1 and 1.0 are one configuration; 1, True and "1" are three; so are missing and None."""
    with TaskGroup("digits", "sweep") as group:
        for seed, c in enumerate((1, 1.0, np.int64(1), True, "1", None)):
            group.task({"C": c, "seed": seed}).report({"loss": 1.0}, 1)
        group.task({"seed": 9}).report({"loss": 1.0}, 1)
    counts = {row.name: row.n for row in group.results().aggregate()}
    assert counts == {"C=1": 3, "C=True": 1, 'C="1"': 1, "C=None": 1, "all": 1}


def test_parameters_without_identity() -> None:
    """Tasks that were given key= for their parameters can be aggregated all the same."""

    def loss(x: float) -> float:
        """Has no module path."""
        return x

    with TaskGroup("digits", "sweep") as group:
        for seed in range(2):
            task = group.task({"f": loss, "seed": seed}, key=f"k{seed}")
            task.report({"loss": float(seed)}, 1)
    (row,) = group.results().aggregate()
    assert row.n == 2
    assert row.name.startswith('f="<function')


def test_one_task_has_no_spread() -> None:
    """A single task has a mean; its std and sem are NaN, and not shown."""
    with TaskGroup("digits", "sweep") as group:
        group.task({"C": 1, "seed": 0}).report({"loss": 0.5}, 1)
    rows = group.results().aggregate()
    (mean,) = rows[0].stats.values()
    assert (mean.mean, mean.n) == (0.5, 1)
    assert math.isnan(mean.std)
    assert math.isnan(mean.sem)
    assert str(mean) == "0.5"


@pytest.mark.parametrize(("of", "expected"), [("last", 1.5), ("first", 2.5), ("max", 4.5), ("min", 0.5)])
def test_of_which_value(of: Any, expected: float) -> None:
    """`of` says which value of each task goes into the mean."""
    with TaskGroup("digits", "sweep") as group:
        for task in group.tasks({"seed": [0, 1]}):
            for step, value in enumerate((2.0, 4.0, 0.0, 1.0)):
                task.report({"loss": value + task.params["seed"]}, step)
    rows = group.results().aggregate(of=of)
    assert rows.best("loss", mode="min").value == expected
    assert rows.best("loss", mode="min").of == of


def test_failed_and_stopped_tasks_are_named_and_not_counted() -> None:
    """They are in no mean, but in `left_out`; open ones are in it, and in `unfinished`."""
    with TaskGroup("digits", "sweep") as group:
        tasks = group.tasks({"C": [1], "seed": range(4)})
        for task in tasks:
            task.report({"loss": float(task.params["seed"])}, 1)
        tasks[0].mark_completed()
        tasks[1].mark_failed("no memory")
        tasks[2].mark_stopped()
        rows = group.results().aggregate()
    (row,) = rows
    assert (row.n, row.left_out, row.unfinished) == (2, ("seed=1", "seed=2"), ("seed=3",))
    assert rows.best("loss", mode="min").value == 1.5
    assert "not counted in, failed or stopped: 2 (seed=1, seed=2)" in repr(rows)
    assert "counted in, but still open: 1 (seed=3)" in repr(rows)
    assert rows.to_records()[0]["left_out"] == 2
    with pytest.raises(NoSuchResultError, match=r"there is: loss$"):  # it is not for those that failed
        rows.best("f1", mode="min")


def test_n_is_of_the_tasks_that_have_the_metric() -> None:
    """A metric that one seed lacks has its own n, and mean over the others."""
    with TaskGroup("digits", "sweep", metrics=["loss", "extra"]) as group:
        for task in group.tasks({"seed": range(3)}):
            seed = task.params["seed"]
            task.report({"loss": 1.0, **({"extra": float(seed)} if seed else {})}, 1)
    rows = group.results().aggregate()
    assert {metric_key[0]: mean.n for metric_key, mean in rows[0].stats.items()} == {"loss": 3, "extra": 2}
    assert repr(rows).splitlines()[2].split() == ["all", "3", "1", "±", "0", "1.5", "±", "0.71", "(n=2)"]
    assert rows.best("extra", mode="max").value == 1.5


def test_why_no_configuration_is_the_best() -> None:
    """All diverged, or all failed: that, not that nothing was reported."""
    with warnings.catch_warnings(), TaskGroup("digits", "sweep") as group:
        warnings.simplefilter("ignore")
        for task in group.tasks({"seed": [0, 1]}):
            task.report({"loss": 1.0}, 0)
            task.report({"loss": math.nan}, 1)
    with TaskGroup("digits", "failed") as failed:
        for task in failed.tasks({"seed": [0, 1]}):
            task.report({"loss": 1.0}, 0)
            task.mark_failed("out of memory")
    means = group.results().aggregate(over="seed")
    with pytest.raises(NoSuchResultError, match=r"loss; it diverged in 2 tasks \(seed=0, seed=1\)"):
        means.best("loss", mode="min")
    assert len(means.sort("loss", mode="min")) == 1
    means = failed.results().aggregate(over="seed")
    with pytest.raises(NoSuchResultError, match=r"loss; 2 tasks failed, .* \(seed=0, seed=1\)$"):
        means.best("loss", mode="min")


@pytest.mark.parametrize(("mode", "order"), [("max", ["C=2", "C=3", "C=1"]), ("min", ["C=1", "C=3", "C=2"])])
def test_best_and_sorted(mode: Any, order: list[str]) -> None:
    """Configurations are sorted by their means, the best first; `best` has mean, spread and n."""
    with TaskGroup("digits", "sweep") as group:
        for task in group.tasks({"C": [1, 2, 3], "seed": range(2)}):
            value = {1: 0.25, 2: 0.75, 3: 0.5}[task.params["C"]] + task.params["seed"]
            task.report({"accuracy": value}, 1)
    rows = group.results().aggregate()
    assert [row.name for row in rows.sort("accuracy", mode=mode)] == order
    assert [row.name for row in rows] == ["C=1", "C=2", "C=3"]
    best = rows.best("accuracy", mode=mode)
    assert (best.name, best.n, best.key) == (order[0], 2, None)
    assert best.value == {"C=1": 0.75, "C=2": 1.25}[order[0]]
    assert best.std == pytest.approx(math.sqrt(0.5))
    assert best.sem == pytest.approx(0.5)
    assert rows.best("accuracy").name == "C=2"  # a word says which is better
    with pytest.raises(NoSuchResultError):
        rows.sort("loss", mode=mode)


def test_other_values_than_the_last_are_told() -> None:
    """Which of the tasks' values a mean is of stands in headings and before the best; n=1 has no spread."""
    with TaskGroup("digits", "sweep") as group:
        for task in group.tasks({"C": [1, 2], "seed": [0]}):
            for step, value in enumerate((0.5, 0.75, 0.25)):
                task.report({"accuracy": value / task.params["C"]}, step)
    results = group.results()
    assert str(results.best("accuracy", mode="max", of="max")) == "C=1: max of accuracy = 0.75, the greatest"
    assert str(results.best("accuracy", mode="max")) == "C=1: accuracy = 0.25, the greatest"
    rows = results.aggregate(of="max")
    assert repr(rows).splitlines()[0].split("  ")[-1].strip() == "max of accuracy"
    assert str(rows.best("accuracy", mode="max")) == "C=1: max of accuracy = 0.75 (n=1), the greatest"
    assert str(results.aggregate().best("accuracy", mode="max")) == "C=1: accuracy = 0.25 (n=1), the greatest"


def test_records(group: TaskGroup) -> None:
    """Records are flat dicts: configuration, n and four numbers for each metric and context."""
    record = group.results().aggregate(over=("seed", "fold")).to_records()[0]
    assert list(record) == ["name", "n", "left_out", "unfinished", "params.C"] + [
        f"accuracy[split=val].{part}" for part in ("mean", "std", "sem", "n")
    ]
    assert (record["name"], record["n"], record["params.C"]) == ("C=1", 6, 1)


def test_columns_have_all_parameters_first() -> None:
    """As in the tasks' own records parameters stand before metrics, also those that the first row lacks."""
    with TaskGroup("digits", "sweep") as group:
        spaces: list[dict[str, Any]] = [{"model": "svm", "C": 1}, {"model": "tree", "max_depth": 3}]
        for space in spaces:
            for task in group.tasks([{**space, "seed": seed} for seed in range(2)]):
                task.report({"accuracy": 0.5}, 1)
    results = group.results()
    params = ["params.C", "params.max_depth", "params.model"]
    columns = results.aggregate().to_csv().splitlines()[0].split(",")
    assert columns[:7] == ["name", "n", "left_out", "unfinished", *params]
    assert columns[7:] == [f"accuracy.{part}" for part in ("mean", "std", "sem", "n")]
    assert [name for name in results._columns(results.to_records()) if name in params] == params
    assert list(results.aggregate().to_pandas().columns) == columns


@pytest.mark.parametrize("count", [0, 1, 100])
def test_reprs(count: int) -> None:
    """A table of configurations reads well for none, one and a hundred of them."""
    with TaskGroup("digits", "sweep") as group:
        for c in range(count):
            for seed in range(2):
                group.task({"C": c, "seed": seed}).report({"loss": c + seed}, 1)
    rows: Aggregates = group.results().aggregate()
    lines = repr(rows).splitlines()
    assert lines[0].split() == ["configuration", "n", "loss"][: 3 if count else 2]
    assert lines[-1] == "mean ± std over seed"
    assert len(lines) == {0: 3, 1: 4, 100: 44}[count]
    if count:
        assert lines[2].split() == ["C=0", "2", "0.5", "±", "0.71"]


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=6))
def test_means_are_those_of_statistics(values: list[float]) -> None:
    """Mean, sample standard deviation and standard error are those of Python's `statistics`."""
    with recording(), TaskGroup("digits", "sweep") as group:
        for task, value in zip(group.tasks({"seed": range(len(values))}), values, strict=True):
            task.report({"loss": value}, 1)
    (mean,) = group.results().aggregate()[0].stats.values()
    assert mean.mean == pytest.approx(statistics.fmean(values), rel=1e-9, abs=1e-9)
    assert mean.std == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)
    assert mean.sem == pytest.approx(statistics.stdev(values) / math.sqrt(len(values)), rel=1e-6, abs=1e-6)


@given(st.floats(-3.4e38, 3.4e38), st.integers(2, 50))
def test_equal_values_have_no_spread(value: float, n: int) -> None:
    assert standard_deviation([value] * n) == 0
    assert str(mean_of([value] * n)).endswith(" ± 0")


@pytest.mark.parametrize("values", [[], [0.5], [0.5, math.inf], [math.nan, 1.0]])
def test_values_without_a_spread(values: list[float]) -> None:
    assert math.isnan(standard_deviation(values))


def test_three_equal_values_in_every_table(tmp_path: Path) -> None:
    """0.1 + 0.3 has no exact binary form; the spread of three equal values is 0 nevertheless."""
    with TaskGroup("digits", "sweep", metrics=[Metric("loss", mode="min")]) as group:
        for task in group.tasks({"C": [1, 2], "seed": range(3)}):
            task.report({"loss": 0.1 + 0.3}, 1)
    results = group.results()
    assert repr(results.aggregate()).splitlines()[2].split() == ["C=1", "3", "0.4", "±", "0"]
    best = "C=1: loss = 0.4 ± 0 (mean ± std, n=3), the least; 1 other configuration has the same value"
    assert str(results.aggregate().best("loss")) == best
    page = results.save_html(tmp_path / "report.html").read_text("utf-8")
    assert "0.4 ± 0.0" in page
    assert not re.search(r"\de-1\d", page)


numbers = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda x: round(x, 6))
points = st.fixed_dictionaries(
    {"C": st.integers(0, 2), "seed": st.integers(0, 9)},
    optional={"gamma": st.sampled_from([0.1, 0.5]), "fold": st.integers(0, 1)},
)


@given(
    st.lists(
        st.tuples(
            points,
            st.fixed_dictionaries({}, optional={"loss": numbers, "accuracy": numbers}),
            st.booleans(),
        ),
        min_size=1,
        max_size=25,
        unique_by=lambda item: tuple(sorted(item[0].items())),
    ),
    st.sampled_from(["seed", ["seed", "fold"], ["C", "seed", "fold", "gamma"]]),
)
def test_agrees_with_pandas(tasks: list[Any], over: Any) -> None:
    """Mean, std, sem and n are those of pandas' groupby, with tasks and values missing and tasks failed."""
    with recording(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DriftWarning)
        with TaskGroup("digits", "sweep") as group:
            for params, reported, fails in tasks:
                task = group.task(params)
                task.report(reported, 1, split="val")
                if fails:
                    task.mark_failed("bad luck")
        results = group.results()
    names = [over] if isinstance(over, str) else over
    known = results.parameters
    if any(name not in known for name in names):
        with pytest.raises(ArgumentError):
            results.aggregate(over=over)
        return
    aggregated = results.aggregate(over=over)
    frame = results.to_pandas()
    frame = frame[frame["status"] == "completed"]
    rest = [f"params.{name}" for name in known if name not in names]
    groups = frame.groupby(rest, dropna=False) if rest else [((), frame)]
    expected = {}
    for key, members in groups:
        for metric in ("loss", "accuracy"):
            column = f"{metric}[split=val].last"
            found = members[column].dropna() if column in members else members["index"][:0]
            if len(found):
                expected[_plain(key), metric] = (found.mean(), found.std(), found.sem(), len(found))
    have = {
        (_plain(tuple(row.params.get(name.removeprefix("params."), math.nan) for name in rest)), metric): mean
        for row in aggregated
        for (metric, _), mean in row.stats.items()
    }
    assert have.keys() == expected.keys()
    for case, (mean, std, sem, n) in expected.items():
        got = have[case]
        assert got.n == n
        assert got.mean == pytest.approx(mean, rel=1e-9, abs=1e-9)
        assert got.std == pytest.approx(std, rel=1e-6, abs=1e-6, nan_ok=True)
        assert got.sem == pytest.approx(sem, rel=1e-6, abs=1e-6, nan_ok=True)
    assert sum(len(row.left_out) for row in aggregated) == sum(fails for *_, fails in tasks)
    assert sum(row.n for row in aggregated) == len(frame)


def _plain(key: Any) -> tuple[str, ...]:
    """A group's key as text: NaN is not equal to itself, and 1 comes back as 1.0."""
    listed = key if isinstance(key, tuple) else (key,)
    return tuple("missing" if value != value else f"{float(value):g}" for value in listed)


def test_the_seed_is_not_what_a_user_gave() -> None:
    """Where no task has a seed, and none was asked for, the error says what the default is."""
    with TaskGroup("digits", "sweep") as group:
        group.task({"C": 1, "sed": 1})
    with pytest.raises(ArgumentError, match=r"over= was not given, and no task has a parameter seed or"):
        group.results().aggregate()
    with pytest.raises(ArgumentError, match=r"over=3 was given; expected the name of a parameter"):
        group.results().aggregate(over=3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"over='seed' was given.*\(did you mean 'sed'\?\)"):
        group.results().aggregate(over="seed")


def test_tasks_that_wait_are_not_failed() -> None:
    """Queued and drafted tasks are named as not finished, beside those that failed and those that run."""
    with TaskGroup("digits", "sweep") as group:
        for task in group.tasks({"seed": range(4)}):
            task.report({"loss": float(task.index)}, 1)
        group.get(seed=0).mark_failed("bad")
        results = group.results()
    statuses: tuple[Any, ...] = ("failed", "queued", "created", "in_progress")
    rows = [attrs.evolve(row, status=status) for row, status in zip(results, statuses, strict=True)]
    means = attrs.evolve(results, rows=tuple(rows)).aggregate()
    assert (means[0].n, means[0].left_out, means[0].waiting, means[0].unfinished) == (
        1,
        ("seed=0",),
        ("seed=1", "seed=2"),
        ("seed=3",),
    )
    assert "not counted in, failed or stopped: 1 (seed=0)" in repr(means)
    assert "not counted in, not finished: 2 (seed=1, seed=2)" in repr(means)
    assert "counted in, but still open: 1 (seed=3)" in repr(means)
    assert (means.to_records()[0]["left_out"], means.to_records()[0]["unfinished"]) == (1, 3)


def test_in_a_loop_each_configuration_is_named_once_for_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the means are taken over; the parameters in the result are copies."""
    named = list[Any]()
    name_of = aggregate._configuration_name

    def count(params: Any) -> str:
        named.append(params)
        return name_of(params)

    monkeypatch.setattr(aggregate, "_configuration_name", count)
    with TaskGroup("digits", "loop") as group:
        for task in group.sweep({"layers": [[8, 8]], "seed": range(5)}):
            with task:
                task.report({"accuracy": 0.5}, 0)
            (row,) = group.results().aggregate("seed")
            assert (row.name, row.params, row.n) == (
                "layers=[8,8]",
                {"layers": [8, 8]},
                task.params["seed"] + 1,
            )
            row.params["layers"].append(0)
        assert len(named) == 5
        assert [row.name for row in group.results().aggregate("layers")] == [
            f"seed={seed}" for seed in range(5)
        ]
        assert len(named) == 10


def test_metrics_in_other_contexts_only_are_named() -> None:
    """Of configurations without open tasks; not where the metric diverged."""
    other, accuracy = metric_key("loss", split="val"), metric_key("accuracy")
    rows = [
        made_row("a", {"C": 1, "seed": 0}, {LOSS: 1.0, accuracy: 1.0}),
        made_row("b", {"C": 2, "seed": 0}, {other: 1.0, accuracy: 1.0}),
        made_row("c", {"C": 3, "seed": 0}, {other: 1.0, LOSS: math.nan}),
        made_row("d", {"C": 4, "seed": 0}, {other: 1.0}, status="in_progress"),
        made_row("e", {"C": 5, "seed": 0}, {accuracy: 1.0}),
    ]
    best = made_results(*rows).aggregate().best("loss", split="value")
    assert best.name == "C=1"
    elsewhere = "1 of 5 configurations has no loss[split=value], but loss[split=val]"
    assert best.note == f"without 1 task that diverged (c); {elsewhere}"
    assert made_results(*rows).aggregate().best("accuracy").note == ""


@pytest.mark.parametrize(
    ("spelt", "told"),
    [("accuracy", False), ("acuracy", True), ("acc", True), ("loss", False), ("recall", False)],
)
def test_what_looks_like_a_misspelt_metric_is_named(spelt: str, told: bool) -> None:
    """Of tasks that lack the metric, whose values may be better: of single tasks, and of configurations."""
    rows = [
        made_row("a", {"C": 1, "seed": 0}, {metric_key("accuracy"): 0.5}),
        made_row("b", {"C": 2, "seed": 0}, {metric_key(spelt): 0.25}),
    ]
    results = made_results(*rows)
    have = f"has no accuracy[split=value], but {spelt}[split=value]"
    lacking = [f"1 of 2 {things} {have}" for things in ("tasks", "configurations") if told]
    notes = [results.best("accuracy").note, results.aggregate().best("accuracy").note]
    assert notes == (lacking or ["", ""])
    assert results.best("accuracy").excluded == (("b",) if told else ())


def test_the_best_mean_says_what_is_behind_it() -> None:
    """How many configurations are as good, and which of its tasks are not in the mean."""
    rows = [
        made_row("a", {"C": 1, "seed": 0}, {LOSS: 1.0}),
        made_row("b", {"C": 1, "seed": 1}, {LOSS: 0.0}, status="failed"),
        made_row("c", {"C": 2, "seed": 0}, {LOSS: 1.0}),
        made_row("d", {"C": 3, "seed": 0}, {LOSS: 2.0}),
    ]
    best = made_results(*rows).aggregate().best("loss")
    assert (best.name, best.n, best.ties) == ("C=1", 1, 2)
    assert best.note == "not in the mean of C=1: 1 failed or stopped task (b)"
    assert made_results(*rows).aggregate().best("loss", mode="max").ties == 1


def test_cells_and_notes() -> None:
    """A mean of fewer tasks than count has its own n; tasks that do not count are named."""
    accuracy = metric_key("accuracy")
    rows = [
        made_row("a", {"C": 1, "seed": 0}, {LOSS: 1.0, accuracy: 1.0}),
        made_row("b", {"C": 1, "seed": 1}, {LOSS: 2.0, accuracy: math.nan}),
        made_row("c", {"C": 1, "seed": 2}, {LOSS: 9.0}, status="failed"),
        made_row("d", {"C": 2, "seed": 0}, {}, status="queued"),
        made_row("e", {"C": 2, "seed": 1}, {LOSS: 3.0}, status="in_progress"),
    ]
    means = made_results(*rows).aggregate()
    head, body = means._table()
    assert head == ["configuration", "n", "loss", "accuracy"]
    assert body == [["C=1", "2", "1.5 ± 0.71", "1 (n=1)"], ["C=2", "1", "3", "–"]]
    assert means._notes() == [
        "mean ± std over seed",
        "not counted in, failed or stopped: 1 (c)",
        "not counted in, not finished: 1 (d)",
        "counted in, but still open: 1 (e)",
        "not counted in, accuracy diverged: 1 (b)",
    ]
    records = means.to_records()
    assert [records[0][name] for name in ("n", "left_out", "unfinished", "accuracy.diverged")] == [2, 1, 0, 1]
    assert [records[1][name] for name in ("n", "left_out", "unfinished")] == [1, 0, 2]
    assert [records[0][f"loss.{part}"] for part in ("mean", "n")] == [1.5, 2]
    assert [row.name for row in means.sort("loss", mode="max")] == ["C=2", "C=1"]
    assert [row.name for row in means.sort("accuracy", mode="max")] == ["C=1", "C=2"]
    assert means.excluded == {accuracy: ("b",)}
    with pytest.raises(NoSuchResultError, match=r"2 tasks failed, stopped or not begun \(c, d\)"):
        made_results(*rows[2:4]).aggregate().best("loss")
    with pytest.raises(NoSuchResultError) as caught:
        means.best("x")
    assert "not begun" not in str(caught.value)


def test_spreads_of_very_small_and_very_large_values() -> None:
    """Squares leave the range of floats, the standard deviation does not."""
    for scale in (1e-200, 1.0, 1e150, 1e200):
        assert standard_deviation([scale, 3 * scale]) == pytest.approx(math.sqrt(2) * scale)
    assert mean_of([1.0, 3.0]).sem == pytest.approx(1)
    assert mean_of([1.0, 3.0, 5.0]).n == 3
