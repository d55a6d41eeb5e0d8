"""A run's results are what is stored with its tasks: the same live, from disk and from a server elsewhere."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import os
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, Metric, MetricKey, Results, TaskGroup
from clearml_taskgroup._clearml import sdk
from clearml_taskgroup.errors import NoSuchResultError, NoSuchRunError, SpaceError
from clearml_taskgroup.testing import recording
from tests.loopback import LoopbackServer
from tests.support.runs import kill
from tests.support.scripts import run_script
from tests.support.server_view import View

NAN, INF = math.nan, math.inf
STATISTICS: tuple[Any, ...] = ("first", "last", "min", "max", "mean")
FORK = multiprocessing.get_context("fork")

Views = Callable[..., list[Results]]


@pytest.fixture(params=["offline", "online"])
def mode(request: pytest.FixtureRequest) -> str:
    """The mode of the groups."""
    if request.param == "online":
        request.getfixturevalue("loopback")
    return str(request.param)


def group(mode: str, **options: Any) -> TaskGroup:
    return TaskGroup("the project", "the group", mode=mode, provenance=False, **options)  # type: ignore[arg-type]


def views(group: TaskGroup, mode: str) -> Iterator[Results]:
    """The results of a closed group: live, loaded here, and loaded where no run log is."""
    yield group.results()
    yield TaskGroup.load("the project", "the group", mode=mode)  # type: ignore[arg-type]
    if mode == "online":
        shutil.rmtree(Path(sdk.cache_folder()) / "taskgroup")
        yield TaskGroup.load("the project", "the group", mode="online")


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# --- a curve is a map from iteration to value ----------------------------------------------------


CURVES = [
    [(0, 0.5), (1, 0.9), (1, 0.4)],
    [(0, 0.9), (1, 0.5), (0, 0.4)],
    [(5, 1.0), (3, 2.0), (4, 3.0)],
    [(0, 1.0), (1, 9.0), (2, 2.0), (1, 3.0), (2, 4.0), (3, 5.0)],
    [(-3, 2.0), (7, 1.0), (-3, 5.0)],
]


@pytest.mark.quick(4)
@pytest.mark.parametrize("points", CURVES)
def test_statistics_are_those_of_the_stored_curve(mode: str, points: list[tuple[int, float]]) -> None:
    curve = dict(sorted(dict(points).items()))
    values = list(curve.values())
    expected = [values[0], values[-1], min(values), max(values), sum(values) / len(values)]
    with group(mode) as one:
        for number in range(2):
            with one.task({"n": number}) as task:
                for iteration, value in points:
                    task.report({"loss": value}, iteration)
                assert [one.results()[number].value("loss", of=of) for of in STATISTICS] == expected
    for results in views(one, mode):
        for row in results.with_means():
            assert [row.value("loss", of=of) for of in STATISTICS] == expected
            assert row.history("loss").values == tuple(values)


def test_an_attempt_that_goes_on_from_a_checkpoint_replaces_points(mode: str) -> None:
    for begin in (0, 10):
        try:
            with group(mode, resume=begin > 0, retry="continue") as one, one.task({"n": 1}) as task:
                for step in range(begin, begin + 15):
                    task.report({"acc": 0.99 if begin == 0 and step == 14 else 0.5}, step)
                if begin == 0:
                    raise RuntimeError("node lost")
        except RuntimeError:
            pass
    for results in views(one, mode):
        (row,) = results.with_means()
        assert [row.value("acc", of=of) for of in STATISTICS] == [0.5] * 5
        assert row.stats["acc", ()].count == 25


# --- diverged ------------------------------------------------------------------------------------


@pytest.mark.quick(4)
@pytest.mark.parametrize("bad", [NAN, INF, -INF, 1e39])
def test_a_task_that_diverged_does_not_win(mode: str, bad: float) -> None:
    with group(mode, metrics=[Metric("loss", mode="min")]) as one:
        for task in one.sweep({"lr": [0.1, 10.0], "seed": [0, 1]}):
            with task:
                for step in range(6):
                    diverges = task.params["lr"] > 1 and task.params["seed"] == 1 and step >= 3
                    task.report(
                        {"loss": bad if diverges else 0.5 - step / 100 - task.params["lr"] / 100}, step
                    )
    for results in views(one, mode):
        diverged = results.where(lr=10.0, seed=1)[0]
        assert diverged.diverged == {("loss", ())}
        assert math.isnan(diverged.value("loss"))
        assert diverged.value("loss", of="min") == pytest.approx(0.38)
        best = results.best("loss")
        assert (best.name, best.excluded) == ("lr=10,seed=0", ("lr=10,seed=1",))
        assert "1 task that diverged (lr=10,seed=1)" in str(best)
        assert results.sort("loss")[-1].name == "lr=10,seed=1"
        means = results.aggregate(over="seed")
        assert [row.stats[MetricKey("loss", ())].n for row in means] == [2, 1]
        assert means.excluded == {("loss", ()): ("lr=10,seed=1",)}
        assert "diverged" in str(means)
        assert "diverged" in str(results)
        lowest = results.best("loss", of="min")
        assert lowest.excluded == ()
        record = results.to_records()[-1]
        assert (record["loss.last"], record["loss.count"]) == (None, 3 if record["loss.count"] else None)


def test_a_later_finite_point_ends_it(mode: str) -> None:
    with group(mode) as one, one.task({"n": 1}) as task:
        for step, value in enumerate([1.0, NAN, 2.0]):
            task.report({"loss": value, "acc": value}, step)
        task.report({"acc": NAN}, 1)
    for results in views(one, mode):
        assert results[0].diverged == frozenset()
        assert results.best("loss", mode="min").value == 2.0


def test_of_a_single_value_the_latest_report_decides(mode: str) -> None:
    with group(mode) as one, one.task({"n": 1}) as task:
        for name, values in {"bad": [1.0, NAN], "good": [NAN, 1.0]}.items():
            for value in values:
                task.report({name: value})
    for results in views(one, mode):
        assert results[0].diverged == {("bad", ())}
        assert results.best("good", mode="min").value == 1.0
        with pytest.raises(NoSuchResultError, match=r"it diverged in 1 task \(n=1\)"):
            results.best("bad", mode="min")


def test_how_a_single_value_ended_is_known_after_a_kill() -> None:
    one = group("offline").open()
    task = one.task({"n": 1})
    for name, values in {"bad": [1.0, NAN], "good": [NAN, 1.0], "worse": [NAN, 1.0, NAN]}.items():
        for value in values:
            task.report({name: value})
    kill(one)
    results = TaskGroup.load("the project", "the group", mode="offline")
    assert results[0].diverged == {("bad", ()), ("worse", ())}
    assert results[0].value("good") == 1.0


@pytest.mark.parametrize("dies", [False, True])
def test_an_uploaded_run_is_the_same_elsewhere(dies: bool, loopback: LoopbackServer) -> None:
    """What the events do not say is uploaded, too: what was skipped and replaced, and ambiguous names."""
    one = group("offline", template="{metric}/{task_id} {split=value}").open()
    task = one.task({"n": 1})
    for step, value in enumerate([0.5, NAN]):
        task.report({"loss": value}, step)
    for value in (0.9, 0.5):
        task.report({"again": value}, 1)
    task.report({"single": NAN})
    task.report({"acc": 1.0}, 1, split="1")
    if dies:
        kill(one)
    else:
        one.close()
    uploaded = TaskGroup.upload(one.record_path or "")
    assert uploaded.problems == ()
    shutil.rmtree(Path(sdk.cache_folder()) / "taskgroup")
    (row,) = TaskGroup.load("the project", "the group", mode="online")
    assert row.diverged == {("loss", ()), ("single", ())}
    assert row.value("again", of="max") == 0.5
    assert set(row.stats) == {("loss", ()), ("again", ()), ("acc", (("split", "1"),))}


def test_what_diverged_before_a_kill_is_known_on_this_machine(mode: str) -> None:
    """After a resume that does not report it again, everywhere."""
    one = group(mode).open()
    task = one.task({"n": 1})
    for step, value in enumerate([1.0, NAN]):
        task.report({"bad": value, "only": NAN, "good": value}, step)
        task.report({"single": value})
    for step in (2, 3):
        task.report({"good": 5.0 - step}, step)
    one.flush()
    kill(one)
    diverged = {("bad", ()), ("only", ()), ("single", ())}
    loaded = TaskGroup.load("the project", "the group", mode=mode)  # type: ignore[arg-type]
    assert loaded[0].diverged == diverged
    with group(mode, resume=True, retry="continue") as one:
        one.task({"n": 1}).report({"other": 1.0}, 4)
    for results in views(one, mode):
        assert results[0].diverged == diverged
        assert results[0].value("good") == 2.0


def test_a_metric_without_any_finite_value_is_excluded(mode: str) -> None:
    with group(mode) as one:
        for task in one.tasks({"n": [1, 2]}):
            task.report({"loss": NAN if task.params["n"] == 1 else 0.5}, 0)
    for results in views(one, mode):
        assert results.best("loss", mode="min").excluded == ("n=1",)


def test_what_diverged_is_in_records_and_has_no_value(mode: str) -> None:
    with group(mode) as one:
        for task in one.sweep({"lr": [0.1], "seed": [0, 1, 2]}):
            with task:
                task.report({"loss": NAN if task.params["seed"] == 2 else 1.0}, 1)
    for results in views(one, mode):
        assert [record.get("loss.diverged") for record in results.to_records()] == [None, None, True]
        (mean,) = results.aggregate("seed").to_records()
        assert (mean["n"], mean["loss.n"], mean["loss.diverged"]) == (3, 2, 1)
        assert results[2].history("loss").values == ()
        with pytest.raises(NoSuchResultError, match="all of its values were NaN, infinite or too large"):
            results[2].value("loss")


def test_an_earlier_attempt_has_its_duration_and_is_not_warned_of_again(mode: str) -> None:
    with group(mode) as one:
        for task in one.sweep({"n": [1]}):
            with task:
                for step in range(3):
                    task.report({"loss": NAN}, step)
                task._state.opened -= 100.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with group(mode, resume=True) as again:
            assert [task.params for task in again.sweep({"n": [1]})] == []
    if mode == "offline":  # a server has times of its own
        assert again.results()[0].duration == pytest.approx(one.results()[0].duration, abs=2.0)


def test_the_parents_summary_leaves_it_out() -> None:
    with recording() as backend, group("disabled", metrics=[Metric("loss", mode="min")]) as one:
        for task in one.tasks({"lr": [0.1, 10.0]}):
            for step in range(4):
                task.report(
                    {"loss": NAN if task.params["lr"] > 1 and step else 0.1 / task.params["lr"]}, step
                )
    parent = next(task for task in backend.tasks.values() if task.spec.kind == "parent")
    assert parent.single_values["loss, best"] == 1.0
    assert "without 1 task that diverged (lr=10)" in parent.console


# --- names -----------------------------------------------------------------------------------------


AMBIGUOUS: list[tuple[str, str, dict[str, Any]]] = [
    ("{metric}-{split}/all", "val-loss", {"split": "train"}),
    ("{metric}/{split=value}", "loss", {"split": "1"}),
    ("{metric}/{split=value}", "loss", {"split": "None"}),
    ("{metric}/{split}{fold}", "loss", {"split": "a1", "fold": 2}),
    ("{split}{metric}", "loss", {"split": "val"}),
    ("{metric}/{task}{split}", "loss", {"split": "x"}),
]


@pytest.mark.quick(6)
@pytest.mark.parametrize(("template", "metric", "context"), AMBIGUOUS)
@pytest.mark.parametrize("single", [False, True])
def test_names_are_read_back_as_they_were_given(
    mode: str, template: str, metric: str, context: dict[str, Any], single: bool
) -> None:
    with group(mode, template=template) as one, one.task({"C": 1}) as task:
        task.report({metric: 0.5}, None if single else 1, **context)
        task.report({"other/1": 0.5}, None if single else 1, **context)
    listed = [set(results.metric_keys) for results in views(one, mode)]
    assert all(keys == listed[0] for keys in listed)
    assert {key.metric for key in listed[0]} == {metric, "other/1"}


def _report_ambiguous(task: GroupTask) -> None:
    task.report({"loss": 0.5}, 1, split="1")
    task.report({"loss": 0.5}, split="None")
    if task.params["n"] == 1:
        task.flush()
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("ends", ["map", "pool"])
def test_names_of_worker_processes_are_read_back_as_they_were_given(mode: str, ends: str) -> None:
    with group(mode) as one:
        if ends == "map":
            one.map(_report_ambiguous, {"n": [0, 1]}, workers=1)
        else:
            task = one.task({"n": 0})
            with ProcessPoolExecutor(1, FORK) as pool:
                pool.submit(_report_ambiguous, task).result()
    for results in views(one, mode):
        for row in results:
            assert {key.context for key in row.stats} == {(("split", "1"),), (("split", "None"),)}


# --- forked children -------------------------------------------------------------------------------


def _report(task: GroupTask, value: float) -> None:
    task.report({"child": value}, int(value))
    task.report({"bad": NAN}, 9)


def _pooled(task: GroupTask, value: float) -> None:
    task.report({"pooled": value}, 1)


def _current(value: float) -> None:
    task = GroupTask.current()
    assert task is not None
    task.report({"child": value}, int(value))


def _fail(task: GroupTask) -> None:
    with task:
        task.report({"child": 1.0}, 1)
        raise ValueError("bad luck")


def _run(function: Callable[..., None], *args: Any) -> None:
    child = FORK.Process(target=function, args=args)
    child.start()
    child.join()


def test_what_forked_children_report_is_in_the_results(mode: str) -> None:
    with group(mode) as one:
        for task in one.sweep({"n": [1, 2]}):
            with task:
                task.report({"parent": 1.0, "bad": 1.0}, 1)
                _run(_report, task, 5.0)
                with FORK.Pool(2) as pool:
                    pool.map(_current, [2.0, 3.0])
                assert one.results()[-1].value("child") == 5.0
    for results in views(one, mode):
        for row in results.with_means():
            assert [row.value("child", of=of) for of in STATISTICS] == [
                2.0,
                5.0,
                2.0,
                5.0,
                pytest.approx(10 / 3),
            ]
            assert row.value("parent") == 1.0
            assert row.diverged == {("bad", ())}


def test_each_value_that_a_child_skipped_counts(mode: str) -> None:
    with group(mode) as one, one.task({"n": 1}) as task:
        _run(_report_all, task, [(1, NAN), (3, NAN)])
        task.report({"loss": 1.0}, 2)
    for results in views(one, mode):
        assert results[0].diverged == {("loss", ())}


def test_parameters_that_a_forked_child_adds_are_in_the_results(mode: str) -> None:
    with group(mode) as one:
        task = one.task({"n": 1})
        _run(task.set_parameters, {"late": [1]})
        assert one.results()[0].params == {"n": 1, "late": [1]}
        assert task.params == {"n": 1, "late": [1]}
    for results in views(one, mode):
        assert results[0].params == {"n": 1, "late": [1]}


@pytest.mark.quick(4)
@pytest.mark.parametrize("values", [*itertools.permutations([2.0, 3.0, 5.0])])
def test_children_may_report_in_any_order(mode: str, values: Sequence[float]) -> None:
    with group(mode) as one:
        for task in one.sweep({"n": [1]}):
            with task:
                for value in values:
                    _run(_report, task, value)
    *_, results = views(one, mode)
    (row,) = results.with_means()
    assert [row.value("child", of=of) for of in STATISTICS] == [2.0, 5.0, 2.0, 5.0, pytest.approx(10 / 3)]


def test_a_child_reports_later_than_its_parent_before_the_fork(mode: str) -> None:
    with group(mode) as one, one.task({"n": 1}) as task:
        for value in (1.0, 2.0):
            task.report({"child": value + 0.5}, int(value))
            _run(_report, task, value)
            with ProcessPoolExecutor(1, FORK) as pool:
                task.report({"pooled": 0.0}, 1)
                pool.submit(_pooled, task, value).result()
    for results in views(one, mode):
        (row,) = results.with_means()
        assert row.history("child").values == (1.0, 2.0)
        assert [row.value("pooled", of=of) for of in STATISTICS] == [2.0] * 5


def _report_all(task: GroupTask, points: Sequence[tuple[int | None, float]]) -> None:
    for iteration, value in points:
        task.report({"loss": value}, iteration)


REPLACED: list[tuple[Any, Any, list[float]]] = [
    ([(None, 1.0)], [(None, 2.0)], [2.0] * 5),
    ([(1, 9.0), (2, 2.0)], [(1, 4.0)], [4.0, 2.0, 2.0, 4.0, 3.0]),
    ([(1, 4.0), (2, 2.0)], [(None, 7.0)], [4.0, 7.0, 2.0, 4.0, 3.0]),
    ([(None, 7.0)], [(1, 4.0)], [4.0, 7.0, 4.0, 4.0, 4.0]),
]


@pytest.mark.quick(4)
@pytest.mark.parametrize(("before", "in_child", "expected"), REPLACED)
def test_a_child_may_report_again_what_its_parent_has(
    mode: str, before: Any, in_child: Any, expected: list[float]
) -> None:
    with group(mode) as one, one.task({"n": 1}) as task:
        _report_all(task, before)
        _run(_report_all, task, in_child)
        (row,) = one.results()
        assert [row.value("loss", of=of) for of in STATISTICS] == expected
    for results in views(one, mode):
        (row,) = results.with_means()
        assert [row.value("loss", of=of) for of in STATISTICS] == expected


def test_a_child_that_raises_in_its_block_fails_the_task(
    mode: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with group(mode) as one:
        tasks = one.tasks({"n": [1, 2]})
        _run(_fail, tasks[0])
    assert [failure.task.name for failure in one.failures] == ["n=1"]
    for results in views(one, mode):
        assert [row.status for row in results] == ["failed", "completed"]
        assert "bad luck" in results[0].status_reason


def _exit(task: GroupTask, error: BaseException) -> None:
    with task:
        task.report({"child": 1.0}, 1)
        raise error


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_child_that_is_ended_in_its_block_stops_the_task(mode: str, error: BaseException) -> None:
    with group(mode) as one:
        tasks = one.tasks({"n": [1, 2]})
        _run(_exit, tasks[0], error)
    assert not one.failures
    for results in views(one, mode):
        assert [row.status for row in results] == ["stopped", "completed"]
        assert type(error).__name__ in results[0].status_reason


def test_a_child_that_leaves_its_parents_block_ends_nothing(mode: str) -> None:
    def leave() -> None:
        raise SystemExit(0)

    with group(mode) as one, one.task({"n": 1}) as task:
        _run(leave)
        task.report({"loss": 1.0}, 1)
    assert [task.status for task in one] == ["completed"]


# --- ClearML's own logger --------------------------------------------------------------------------


LOGGER = """
from clearml_taskgroup import TaskGroup
with TaskGroup("the project", "the group", mode=MODE, provenance=False) as group:
    task = group.task({"n": 1})
    task.report({"loss": 1.0}, 1, split="val")
    for step, value in ((2, 0.7), (1, 0.5)):
        task.logger.report_scalar("accuracy", "val", value=value, iteration=step)
        task.logger.report_scalar("my plot", "odd/series 3", value=value, iteration=step)
    task.logger.report_single_value("final/val", 3)
    task.logger.report_single_value("a name that the template cannot give", 4)
    task.report({"loss": 0.25}, 2, split="val")
    live = group.results()
for results in (live, group.results(), TaskGroup.load("the project", "the group", mode=MODE)):
    row = results[0]
    found = [row.value(metric, split="val") for metric in ("accuracy", "loss", "final")]
    found += [row.value("my plot", split="odd/series 3", of=of) for of in ("last", "first", "min", "mean")]
    print("FOUND", found, len(results.metric_keys), row.history("accuracy").values)
"""


@pytest.mark.quick(1)
def test_values_of_clearmls_logger_are_in_the_results(mode: str, tmp_path: Path) -> None:
    """While the task is open, after its end, and loaded; names of another form are left out of all."""
    done = run_script(LOGGER.replace("MODE", repr(mode)), tmp_path, env=dict(os.environ))
    found = "FOUND [0.7, 0.25, 3.0, 0.7, 0.5, 0.5, 0.6] 4 "
    assert done.out.count(found) == 3, done.out + done.err


# --- which run is the latest one ---------------------------------------------------------------------


def test_a_run_that_died_before_its_first_task_hides_none(
    mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    with group(mode) as first, first.task({"n": 1}) as task:
        task.report({"loss": 1.0}, 1)
    for _ in range(2):
        with pytest.raises(SpaceError), group(mode) as empty:
            empty.sweep({"lr": 0.1})
    for results in views(first, mode):
        assert [row.value("loss") for row in results] == [1.0]
    assert "each of the runs 2, 3 of the project/the group has no tasks; the latest" in caplog.text
    with group(mode, resume=True) as again:
        assert again.task({"n": 1}).done


def test_a_group_without_any_tasks_is_loaded(mode: str) -> None:
    with group(mode):
        pass
    assert len(TaskGroup.load("the project", "the group", mode=mode)) == 0  # type: ignore[arg-type]


def test_a_misspelt_project_is_told_from_a_group_without_runs(mode: str) -> None:
    with group(mode) as one:
        one.task({"n": 1})
    with pytest.raises(NoSuchRunError, match=r"no groups; there is: .*did you mean 'the project/the group'"):
        TaskGroup.load("the projct", "the group", mode=mode)  # type: ignore[arg-type]
    with pytest.raises(NoSuchRunError, match=r"has the groups the group.*did you mean 'the group'"):
        TaskGroup.load("the project", "the grop", mode=mode)  # type: ignore[arg-type]


def test_archived_tasks_are_left_out_like_copies(server: View) -> None:
    with group("online") as one:
        for task in one.tasks({"n": [1, 2]}):
            task.report({"loss": float(task.params["n"])}, 1)
    archived = one.get(n=1).id
    server.call("tasks.archive", tasks=[archived])
    loaded = TaskGroup.load("the project", "the group", mode="online")
    assert [row.name for row in loaded] == ["n=2"]
    assert len(TaskGroup.load("the project", "the group", mode="online", copies=True)) == 2


# --- the directory changes ---------------------------------------------------------------------------


CHDIR = """
import os
from clearml_taskgroup import TaskGroup
home = os.getcwd()
with TaskGroup("the project", "the group", mode="offline", provenance=False) as group:
    for task in group.sweep({"n": range(2)}):
        with task:
            os.makedirs(f"{home}/out{task.index}")
            os.chdir(f"{home}/out{task.index}")
            task.report({"x": 1.0}, 1)
            task.logger.report_scalar("own", "value", value=1.0, iteration=1)
            task.clearml_task.upload_artifact("a", {"k": 1})
print("FOUND", [row.value("own") for row in TaskGroup.load("the project", "the group", mode="offline")])
"""


@pytest.mark.slow
@pytest.mark.quick(1)
@pytest.mark.parametrize("cache", ["relative", "./also", "~/home"])
def test_a_relative_cache_folder_stays_where_it_is(tmp_path: Path, cache: str) -> None:
    done = run_script(CHDIR, tmp_path, env={"CLEARML_CACHE_DIR": cache, "CLEARML_OFFLINE_MODE": "1"})
    assert "FOUND [1.0, 1.0]" in done.out, done.err
    assert not [path for path in tmp_path.glob("out*/**/*") if path.is_file()]
