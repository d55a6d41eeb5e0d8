"""Results: a row for each task, the best of them, and flat records."""

from __future__ import annotations

import contextlib
import math
import sys
from typing import Any

import pytest

from clearml_taskgroup import Metric, Results, TaskGroup
from clearml_taskgroup._results import loading
from clearml_taskgroup._text import width
from clearml_taskgroup.errors import (
    AmbiguousResultError,
    ArgumentError,
    GroupStateError,
    MetricValueError,
    NonFiniteWarning,
    NoSuchResultError,
)
from clearml_taskgroup.testing import recording
from tests.support.rows import LOSS, VAL_LOSS, made_results, made_row

pytestmark = pytest.mark.usefixtures("backend")


def swept(scores: list[float], **context: Any) -> Results:
    """The results of a sweep with one accuracy for each C."""
    with TaskGroup("digits", "sweep") as group:
        for task, score in zip(group.tasks({"C": range(len(scores))}), scores, strict=True):
            task.report({"accuracy": score}, 1, **context)
    return group.results()


def test_rows_are_the_tasks_in_order() -> None:
    """There is one row for each task, in the order of opening, with all that tells who it is."""
    with TaskGroup("digits", "sweep") as group:
        tasks = [group.task({"C": 2, "model": {"depth": 3}}), group.task(name="baseline")]
        tasks[0].report({"loss": 0.5}, 1, split="val")
        tasks[0].set_parameters({"found": 7})
        tasks[1].report({"loss": 0.25}, 1)
        results = group.results()
    assert [(r.key, r.name, r.index, r.id) for r in results] == [
        (t.key, str(t.name), t.index, t.id) for t in tasks
    ]
    assert [row.params for row in results] == [{"C": 2, "model/depth": 3, "found": 7}, {}]
    assert (len(results), results[1].name, next(iter(results))) == (2, "baseline", results[0])
    assert all(row.duration >= 0 for row in results)


def test_text_of_results_does_nothing_to_a_terminal() -> None:
    """What a `print` or a notebook shows of results has names as text, each row in one line."""
    odd = "\x1b[31m\x9b\u202e\n"
    with TaskGroup("digits", f"sweep{odd}") as group:
        for seed in range(2):
            task = group.task({f"p{odd}": f"v{odd}", "seed": seed}, name=f"n{odd}{seed}", key=f"k{seed}")
            task.report({f"m{odd}": 1.0}, 1)
        with group.task(name=f"failed{odd}") as task, contextlib.suppress(ValueError):
            task.mark_failed(f"why{odd}")
        results = group.results()
    means = results.aggregate("seed")
    best, mean_best = results.best(f"m{odd}", mode="max"), means.best(f"m{odd}", mode="max")
    history = results.history(f"m{odd}")
    shown: list[Any] = [
        results,
        results[0],
        means,
        means[0],
        best,
        mean_best,
        history,
        history[0],
        results.about,
    ]
    shown += [task, task.bind(), group, group.get(key="k0")]
    texts = [text for one in shown for text in (str(one), repr(one))]
    texts += [one._repr_html_() for one in (results, means, history)]
    texts.remove(str(task))  # a name as it is
    texts.remove(str(group.get(key="k0")))
    for text in texts:
        assert not set(text) & set(odd[0] + odd[-2:-1] + "\x9b"), text
    assert [text.count("\n") for text in texts[:2]] == [5, 5]


def test_values_are_counted_as_they_came() -> None:
    """A row's stats hold first, last, min, max, mean and count of the curve, in any order of arrival."""
    with TaskGroup("digits", "sweep") as group:
        task = group.task({"C": 1})
        for step, value in ((5, 3.0), (3, 1.0), (9, 1.0), (9, 2.0)):
            task.report({"loss": value}, step)
        (stats,) = group.results()[0].stats.values()
    assert (stats.first, stats.last, stats.min, stats.max, stats.mean, stats.count) == (1, 2, 1, 3, 2, 3)
    assert (stats.last_iteration, stats.min_iteration, stats.max_iteration) == (9, 3, 5)


def test_results_do_not_change_afterwards() -> None:
    """Results are what there was when they were asked for; partial as long as tasks are open."""
    with TaskGroup("digits", "sweep") as group:
        task = group.task({"C": 1})
        task.report({"loss": 1.0}, 1)
        early = group.results()
        task.report({"loss": 2.0}, 2)
        task.set_parameters({"extra": 1})
    late = group.results()
    assert (early[0].value("loss"), late[0].value("loss")) == (1.0, 2.0)
    assert (early[0].status, late[0].status) == ("in_progress", "completed")
    assert (early.partial, late.partial) == (True, False)
    assert "extra" not in early[0].params


def test_results_of_a_group_that_was_never_opened() -> None:
    """A group that was not opened has no results, and says how to open it."""
    with pytest.raises(GroupStateError, match="not open yet"):
        TaskGroup("digits", "sweep").results()


def test_nothing_left_out_counts() -> None:
    """Points that were left out as NaN are in no result."""
    with TaskGroup("digits", "sweep") as group:
        task = group.task({"C": 1})
        with pytest.warns(NonFiniteWarning, match="only_nan is nan"):
            task.report({"loss": 1.0, "only_nan": math.nan}, 1)
        with pytest.warns(NonFiniteWarning, match="loss is nan"):
            task.report({"loss": math.nan}, 0)
    row = group.results()[0]
    assert row.value("loss") == row.value("loss", of="mean") == 1.0
    with pytest.raises(NoSuchResultError):
        row.value("only_nan")


def test_a_refused_report_is_no_result() -> None:
    """A metric that stood in nothing but a refused report is in no row."""
    with TaskGroup("digits", "sweep") as group:
        task = group.task({"C": 1})
        with pytest.raises(MetricValueError):
            task.report({"loss": 1.0, "text": "x"}, 1)  # type: ignore[dict-item]
        assert group.results()[0].stats == {}


@pytest.mark.parametrize(("mode", "best"), [("max", 2), ("min", 1)])
def test_best(mode: Any, best: int) -> None:
    """The best task is the one with the greatest or least value, with its key, id and parameters."""
    results = swept([0.5, 0.25, 0.75], split="val")
    found = results.best("accuracy", mode=mode, split="val")
    row = results[best]
    assert (found.name, found.key, found.id, found.params) == (row.name, row.key, row.id, {"C": best})
    assert (found.value, found.metric) == (row.value("accuracy"), "accuracy[split=val]")
    assert (found.mode, found.of, found.n, found.std) == (mode, "last", 1, None)


@pytest.mark.parametrize("mode", ["max", "min"])
def test_of_equals_the_first_is_best(mode: Any) -> None:
    """Equally good tasks give the one that was opened first."""
    assert swept([0.5, 0.5, 0.5]).best("accuracy", mode=mode).params == {"C": 0}


@pytest.mark.parametrize(("of", "best"), [("last", 1), ("first", 2), ("max", 0), ("min", 1), ("mean", 0)])
def test_best_of_what(of: Any, best: int) -> None:
    """`of` says which value of each task is compared."""
    with TaskGroup("digits", "sweep") as group:
        courses = ([0.1, 1.0, 0.1], [0.2, 0.3, 0.4], [0.6, 0.0, 0.2])
        for task, course in zip(group.tasks({"C": range(3)}), courses, strict=True):
            for step, value in enumerate(course):
                task.report({"accuracy": value}, step)
    assert group.results().best("accuracy", mode="max", of=of).params == {"C": best}


def test_an_ambiguous_best() -> None:
    """Contexts of all tasks together decide whether a question is clear."""
    with TaskGroup("digits", "sweep") as group:
        group.task({"C": 1}).report({"accuracy": 0.5}, 1, split="val")
        group.task({"C": 2}).report({"accuracy": 0.9}, 1, split="train")
    with pytest.raises(AmbiguousResultError, match=r"split=val.*split=train"):
        group.results().best("accuracy", mode="max")
    assert group.results().best("accuracy", mode="max", split="val").params == {"C": 1}


def test_failed_and_stopped_tasks_are_not_the_best() -> None:
    """Their rows stay, with status and reason, but only completed and open tasks are compared."""
    with TaskGroup("digits", "sweep") as group:
        done, failed, stopped, still_open = group.tasks({"C": range(4)})
        for task, value in ((done, 0.5), (failed, 0.9), (stopped, 0.8), (still_open, 0.6)):
            task.report({"accuracy": value}, 1)
        done.mark_completed()
        failed.mark_failed("no memory")
        stopped.mark_stopped("pruned")
        results = group.results()
        assert [row.status for row in results] == ["completed", "failed", "stopped", "in_progress"]
        assert [row.status_reason for row in results] == ["", "no memory", "pruned", ""]
        assert results.best("accuracy", mode="max").params == {"C": 3}
        assert results[1].value("accuracy") == 0.9


def test_no_task_that_counts() -> None:
    """If only failed tasks have the metric, there is no best."""
    with TaskGroup("digits", "sweep") as group:
        task = group.task({"C": 1})
        task.report({"accuracy": 0.5}, 1)
        task.mark_failed()
    with pytest.raises(NoSuchResultError):
        group.results().best("accuracy", mode="max")


def test_tasks_without_the_metric_are_left_out() -> None:
    with TaskGroup("digits", "sweep", metrics=["loss", "accuracy"]) as group:
        first, second = group.tasks({"C": [1, 2]})
        first.report({"loss": 0.5}, 1)
        second.report({"loss": 0.5, "accuracy": 0.1}, 1)
    assert group.results().best("accuracy", mode="max").params == {"C": 2}


def test_records() -> None:
    """Records are flat dicts: who, `params.…` and ten numbers for each metric and context."""
    with TaskGroup("digits", "sweep") as group:
        task = group.task({"C": 1, "model": {"depth": 3}})
        for step, value in enumerate((1.0, 3.0, 2.0)):
            task.report({"loss": value}, step, split="val")
    (record,) = group.results().to_records()
    duration = record.pop("duration")
    assert isinstance(duration, float)
    assert record == {
        "key": task.key,
        "name": "C=1,model/depth=3",
        "index": 0,
        "id": task.id,
        "attempt": 1,
        "status": "completed",
        "status_reason": "",
        "params.C": 1,
        "params.model/depth": 3,
        "loss[split=val].first": 1.0,
        "loss[split=val].last": 2.0,
        "loss[split=val].min": 1.0,
        "loss[split=val].max": 3.0,
        "loss[split=val].mean": 2.0,
        "loss[split=val].count": 3,
        "loss[split=val].first_iteration": 0,
        "loss[split=val].last_iteration": 2,
        "loss[split=val].min_iteration": 0,
        "loss[split=val].max_iteration": 1,
    }


def test_what_results_know_of_metrics() -> None:
    """The keys in the order of their appearance, labels with units, and which values are better."""
    metrics: list[str | Metric] = [Metric("loss", mode="max", unit="nats"), "x"]
    rows = [made_row("a", {"C": 1}, {VAL_LOSS: 1}), made_row("b", {"n": 1, "C": 1}, {LOSS: 2, VAL_LOSS: 2})]
    results = made_results(*rows, metrics=metrics)
    assert results.metric_keys == results.measures == [VAL_LOSS, LOSS]
    assert results.parameters == ["C", "n"]
    assert [results.label(key) for key in results.metric_keys] == ["loss[split=val] (nats)", "loss (nats)"]
    assert (results.mode_of("loss"), results.mode_of("loss", "min"), results.mode_of("x")) == (
        "max",
        "min",
        None,
    )
    assert results.find("loss", split="val") == VAL_LOSS
    assert results.counts_text() == "2 completed"


def test_another_run_is_given_or_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """`diff` takes the results of a run, or what names one."""
    results, asked = made_results(made_row("a")), list[object]()

    def load_other_run(about: object, run: object) -> Results:
        asked.append(run)
        return results

    monkeypatch.setattr(loading, "load_other_run", load_other_run)
    assert results.diff(made_results()).added == list(results.rows)
    assert asked == []
    assert results.diff(3).added == []
    assert results.diff().before is results.about
    assert asked == [3, None]


def test_a_repr_of_nothing() -> None:
    """No tasks still read well, and have no records."""
    with TaskGroup("digits", "sweep") as group:
        results = group.results()
    assert repr(results).splitlines()[-1] == "0 tasks: none"
    assert results.to_records() == []
    assert len(results) == 0


def test_a_repr_of_few() -> None:
    """Each task is a line with its values; a dash where it has none."""
    with TaskGroup("digits", "sweep", metrics=["loss", "accuracy"]) as group:
        first, second = group.tasks({"C": [1, 10]})
        first.report({"loss": 0.123456, "accuracy": 0.5}, 1, split="val")
        second.report({"loss": 1e-9}, 1, split="val")
    assert repr(group.results()).splitlines()[:4] == [
        "task  status     loss[split=val]  accuracy[split=val]",
        "----  ---------  ---------------  -------------------",
        "C=1   completed  0.1235           0.5",
        "C=10  completed  1e-09            –",
    ]
    assert str(group.results()[0]) == "C=1  completed  loss[split=val]=0.123456  accuracy[split=val]=0.5"


def test_a_repr_of_many() -> None:
    """A hundred tasks are cut to forty lines, and counted by status."""
    with TaskGroup("digits", "sweep") as group:
        for task in group.tasks({"C": range(100)}):
            task.report({"loss": 1.0}, 1)
        group.get(C=0).mark_failed()
        lines = repr(group.results()).splitlines()
    assert len(lines) == 44
    assert lines[-2] == "… and 60 more"
    assert lines[-1] == "100 tasks: 1 failed, 99 in progress, partial: tasks are still open"
    assert max(map(len, lines)) < 80


def test_slices_are_results() -> None:
    """A slice of rows, means or curves is again a table, with all that it can do."""
    with TaskGroup("digits", "sweep") as group:
        for task in group.tasks({"C": range(3), "seed": range(2)}):
            task.report({"loss": float(task.index)}, 1)
    results = group.results()
    assert [row.params["C"] for row in results[1:4]] == [0, 1, 1]
    assert results[-2:].best("loss", mode="min").value == 4.0
    assert len(results.aggregate()[1:].to_records()) == 2
    assert "6 tasks" in repr(results[:])
    assert len(results.history("loss")[::2].to_records()) == 3


def test_a_row_reads_well() -> None:
    """Its short form has the key, the status and the last values, the first few of them."""
    with TaskGroup("digits", "sweep") as group:
        task = group.task({"C": 1})
        task.report({f"m{number}": number / 3 for number in range(6)}, 1)
        group.task({"C": 2}).mark_failed("bad")
    rows = group.results()
    assert (
        repr(rows[0]) == f"<Row 'C=1' key={task.key} completed m0=0, m1=0.3333, m2=0.6667, m3=1 and 2 more>"
    )
    assert repr(rows[1]) == f"<Row 'C=2' key={rows[1].key} failed>"


def chosen() -> Results:
    """Results of tasks of several statuses and types of parameters."""
    with TaskGroup("digits", "sweep") as group:
        for task in group.tasks({"alpha": [0.01, 0.1], "n": [1, 2], "flag": [True], "text": ["10"]}):
            task.report({"loss": 1.0}, 1)
        group.get(alpha=0.1, n=2).mark_failed("bad")
    return group.results()


@pytest.mark.filterwarnings("ignore::clearml_taskgroup.errors.NonFiniteWarning")
@pytest.mark.parametrize(
    ("of", "cells"),
    [("last", ["1", "diverged", "diverged", "–"]), ("max", ["3", "3 (diverged)", "diverged", "–"])],
)
def test_a_table_tells_what_diverged(of: Any, cells: list[str]) -> None:
    """It has no last value; its other statistics are those of the values before."""
    reported: list[list[float]] = [[3, 1], [3, math.nan], [math.nan], []]
    with TaskGroup("digits", "sweep") as group:
        for task, values in zip(group.tasks({"C": range(4)}), reported, strict=True):
            for step, value in enumerate(values):
                task.report({"loss": value}, step)
    assert [line[-1] for line in group.results()._table(of)[1]] == cells


def test_where_takes_a_function() -> None:
    """A function is given each row, beside parameters by name."""
    results = chosen()
    assert [row.name for row in results.where(lambda row: row.index > 1)] == [r.name for r in results[2:]]
    assert [row.index for row in results.where(lambda row: row.index > 1, n=1)] == [2]
    assert len(results.where({"n": 1}, alpha=0.1)) == 1


def test_where_knows_a_rows_own_facts() -> None:
    """Status and identity choose rows, unless a parameter is called like them."""
    results = chosen()
    assert [row.index for row in results.where(status="failed")] == [3]
    assert [row.index for row in results.where(index=1, status="completed")] == [1]
    assert results.where(key=results[2].key)[0] == results[2]
    assert len(results.where(status="queued")) == 0
    assert len(results.where(status="abandoned")) == 0
    with pytest.raises(ArgumentError, match=r"status='faild'.*did you mean 'failed'\?"):
        results.where(status="faild")
    with TaskGroup("digits", "sweep") as group:
        group.tasks({"status": ["good", "bad"]})
    assert [row.params for row in group.results().where(status="bad")] == [{"status": "bad"}]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"alpha": "0.01"}, r"alpha='0.01' was given; expected 0.01 \(float\)"),
        ({"alpha": "1e-2"}, r"expected 0.01 \(float\)"),
        ({"n": "2"}, r"expected 2 \(int\)"),
        ({"n": True}, r"expected 1 \(int\)"),
        ({"flag": 1}, r"expected True \(bool\)"),
        ({"flag": "True"}, r"expected True \(bool\)"),
        ({"text": 10}, r"expected '10' \(str\)"),
        ({"n": [1, 2]}, r"where\(lambda row: row.params\['n'\] in \[1, 2\]\)"),
        ({"n": math.nan}, r"where\(lambda row: row.params\['n'\] …\)"),
        ({"n": lambda n: n > 1}, r"where\(lambda row: row.params\['n'\] …\)"),
        ({"a-b": 1}, r"^where\(\{'a-b': …\}\) was given, but no task has"),
        ({"alhpa": 1}, r"^where\(alhpa=…\) was given, .* \(did you mean 'alpha'\?\).*alpha, n, flag, text"),
    ],
)
def test_where_refuses_what_was_probably_not_meant(wanted: dict[str, Any], expected: str) -> None:
    """A value that reads like one there is, and is of another type, is an error; so is a misspelt name."""
    with pytest.raises(ArgumentError, match=expected):
        chosen().where(wanted)


def test_where_may_find_nothing() -> None:
    """A value that no task has gives no rows, whose tables still have a head."""
    nothing = chosen().where(alpha=99, text="x")
    assert len(nothing) == 0
    assert nothing.to_csv().startswith("key,name,index,id,attempt,status")
    assert list(nothing.to_pandas().columns)[:2] == ["key", "name"]
    with pytest.raises(ArgumentError, match="where=3 was given; expected a dict"):
        chosen().where(3)  # type: ignore[arg-type]


def test_a_sweep_that_goes_on_is_partial() -> None:
    """Between the turns of a sweep no task is open, but there is more to come, and it is said."""
    said = []
    with TaskGroup("digits", "sweep") as group:
        for task in group.sweep({"seed": range(3)}):
            said.append(repr(group.results()).splitlines()[-1])
            with task:
                task.report({"loss": 1.0}, 1)
            said.append(repr(group.results()).splitlines()[-1])
        after = group.results()
        assert repr(group.results()[:2]).splitlines()[-1] == "2 tasks: 2 completed"
    assert said[:3] == [
        "1 task: 1 in progress, partial: tasks are still open",
        "1 task: 1 completed, partial: the sweep goes on",
        "2 tasks: 1 completed, 1 in progress, partial: tasks are still open",
    ]
    assert (said[-1], after.partial) == ("3 tasks: 3 completed", False)
    with TaskGroup("digits", "sweep") as group:
        for task in group.sweep({"seed": range(3)}):
            task.report({"loss": 1.0}, 1)
            if task.index == 1:
                early = group.results()
                break
    assert repr(early.where(seed=0)).endswith("partial: the sweep goes on")
    assert repr(group.results()).endswith("2 tasks: 2 completed")


def test_a_failed_task_without_values_is_told() -> None:
    """Asked for a value, it says how the task ended; the best says whose values do not count."""
    with TaskGroup("digits", "sweep") as group:
        done, failed, silent = group.tasks({"C": range(3)})
        done.report({"loss": 1.0}, 1)
        failed.report({"loss": 2.0, "extra": 3.0}, 1)
        failed.mark_failed("out of memory")
        silent.mark_failed("no node")
    results = group.results()
    with pytest.raises(
        NoSuchResultError, match=r"the task C=2 \(failed: no node\) has no value for loss; it"
    ):
        results[2].value("loss")
    with pytest.raises(NoSuchResultError, match=r"the task C=0 \(completed\).*there is: loss"):
        results[0].history("accuracy")
    with pytest.raises(NoSuchResultError, match=r"that of 1 task that failed or stopped \(C=1\) does"):
        results.best("extra", mode="max")
    with pytest.raises(NoSuchResultError, match=r"2 tasks failed, stopped or not begun$"):
        results.where(status="failed").best("accuracy", mode="max")
    assert [row.name for row in results.sort("extra", mode="max")] == ["C=0", "C=1", "C=2"]


def test_columns_are_in_order() -> None:
    """Files have metrics as the vocabulary, parameters and contexts by name, numbers by value."""
    with TaskGroup("digits", "sweep", template="{metric}/{fold=0}", metrics=["loss", "accuracy"]) as group:
        first, second = group.task({"b": 1, "a": 2}), group.task({"a": 2, "layer10": 1, "layer2": 1})
        first.report({"loss": 1.0}, 1, fold=10)
        second.report({"loss": 1.0}, 1, fold=2)
        second.report({"accuracy": 1.0}, 1)
    results = group.results()
    columns = results.to_csv().splitlines()[0].split(",")
    assert [column for column in columns if column.startswith("params")] == [
        "params.a",
        "params.b",
        "params.layer2",
        "params.layer10",
    ]
    lasts = [column for column in columns if column.endswith(".last")]
    assert lasts == ["loss[fold=2].last", "loss[fold=10].last", "accuracy.last"]
    assert list(results.to_pandas().columns) == columns
    assert results.to_records()[0]["accuracy.last"] is None
    assert "params.layer2" not in results.to_records()[0]


def test_parameters_stand_after_names_that_lack_them() -> None:
    """As of Optuna's trials; a name that is made of them is not made longer."""
    params = {"lr": 0.0123456789, "model": "x" * 50, "c": 3, "d": [1], "e": None, "f": True, "g": 1, "h": 2}
    with recording(), TaskGroup("digits", "names") as group:
        for made in ({"params": params, "name": "trial-0008"}, {"params": {"C": 1}}, {"name": "baseline"}):
            with group.task(**made) as task:
                task.report({"loss": float(task.index)})
    lines = repr(group.results()).splitlines()
    name = f"trial-0008 (lr=0.01235, model={'x' * 19}…{'x' * 10}, c=3, d=[1], e=None, f=True and 2 more)"
    assert [line.partition("  ")[0] for line in lines[2:5]] == [name, "C=1", "baseline"]
    best = group.results().best("loss")
    assert str(best).startswith(f"{name}: loss = 0")
    assert best.name == "trial-0008"
    assert str(group.results()[0]).startswith(f"{name}  completed")


def test_a_table_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide characters take two columns, and metrics without room are named."""
    with recording(), TaskGroup("digits", "wide") as group:
        for task in group.sweep({"モデル": ["日本語", "b"]}):
            task.report({f"metric_number_{i}": i for i in range(14)})
    monkeypatch.setenv("COLUMNS", "80")
    whole = repr(group.results())
    assert "metric_number_13" in whole.splitlines()[0]
    columns = [whole.splitlines()[line] for line in (2, 3)]
    assert len({width(line.partition("completed")[0]) for line in columns}) == 1
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    fitted = repr(group.results()).splitlines()
    assert max(map(width, fitted)) <= 80
    assert "no room for" in fitted[4]
    assert "to_csv() and to_records() have all columns" in " ".join(fitted)
