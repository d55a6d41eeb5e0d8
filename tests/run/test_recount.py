"""The values of what has died: counted where they lie, as if their tasks had told them."""

from __future__ import annotations

import itertools
import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_taskgroup import NameTemplate, Results, TaskGroup
from clearml_taskgroup._model.metric_data import MetricData
from clearml_taskgroup._model.metrics import metric_key_of
from clearml_taskgroup._model.name_template import Name
from clearml_taskgroup._model.stats import Stats
from clearml_taskgroup._run.naming import Names
from clearml_taskgroup._run.recount import TaskCounts, complete
from clearml_taskgroup.errors import DeliveryError, NameCollisionError
from tests.loopback import LoopbackServer
from tests.support import worker_functions
from tests.support.runs import NAME, PROJECT, Place, kill

OWN = {"group": "g", "task": "C=1", "key": "0a1b2c", "index": "3", "task_id": "f" * 32}
SPACE = {"seed": range(3)}
CONTEXTS: list[dict[str, Any]] = [{}, {"split": "value"}, {"split": "val"}, {"split": True}, {"split": 1}]


@pytest.fixture(params=["offline", "online"])
def place(request: pytest.FixtureRequest) -> Place:
    """A place for groups, offline or on a loopback server."""
    return Place(request.getfixturevalue("loopback") if request.param == "online" else None)


def counts(results: Results, *, exact: bool = True) -> list[dict[Any, Any]]:
    """The counts of each row; without what a server alone does not know."""
    unknown = () if exact else ("total", "count", "last_iteration")
    return [
        {
            metric_key: {part: value for part, value in attrs.asdict(stats).items() if part not in unknown}
            for metric_key, stats in row.stats.items()
        }
        for row in results
    ]


@attrs.frozen
class Server:
    """A server whose statistics follow the order of arrival, and whose curves the iterations."""

    arrived: list[tuple[int, float]]
    transport: object = "an open connection"

    def read_scalars(self, ids: list[str], timeout: float) -> Any:
        values = [value for _, value in self.arrived]
        stats = Stats(
            first=values[0],
            first_iteration=self.arrived[0][0],
            last=values[-1],
            min=min(values),
            max=max(values),
            count=len(values),
            total=math.nan,
            exact=False,
            ordered=False,
            end=max(iteration for iteration, _ in self.arrived),
        )
        return {task_id: [(Name("loss", "loss"), stats)] for task_id in ids}

    def read_curves(self, wanted: Any) -> Any:
        return {task_id: {name: sorted(self.arrived) for name in names} for task_id, names in wanted.items()}


@attrs.frozen
class Kept:
    """Where other processes may have stored values, too: a disk, or a server with a transport."""

    stored: Stats
    transport: object

    def read_scalars(self, ids: list[str], timeout: float) -> Any:
        return {task_id: [(Name("loss", "loss"), self.stored)] for task_id in ids}


@pytest.mark.parametrize(
    ("own", "stored", "transport", "counts"),
    [
        ([0, 1, 2], [0, 1], None, "own"),  # not all was written yet
        ([0, 1, 2], [0, 1], "a server", "own"),
        ([0, 1], [0, 1, 2], None, "stored"),
        ([0, 1], [0, 1, 2], "a server", "stored"),
        ([0, 1], [0, 1], None, "stored"),  # another process may have replaced points
        ([0, 1], [0, 1], "a server", "own"),  # which counts those twice
        ([None], [None], "a server", "stored"),
        ([0, 1], [None], "a server", "stored"),
        ([None, 0, 1], [0, 1], "a server", "own"),
        ([None], [0], None, "stored"),
    ],
)
def test_what_a_process_has_counted_is_kept_if_it_is_all(
    own: list[int | None], stored: list[int | None], transport: object, counts: str
) -> None:
    mine, theirs = (
        Stats.of([(step, value) for step in steps]) for steps, value in ((own, 1.0), (stored, 2.0))
    )
    template = NameTemplate("{metric}")
    key = metric_key_of(template, Name("loss", "loss"), False, {})
    assert key is not None
    task = TaskCounts("a", {key: MetricData(mine)}, True, {}, {Name("loss", "loss"): key})
    backend: Any = Kept(theirs, transport)
    complete(backend, template, [task], 0.0)
    assert task.metrics[key].stats is (mine if counts == "own" else theirs)


@pytest.mark.parametrize(("timeout", "reads"), [(0.0, False), (1.0, True)])
def test_without_time_no_curve_is_read(timeout: float, reads: bool) -> None:
    template = NameTemplate("{metric}")
    key = metric_key_of(template, Name("loss", "loss"), False, {})
    assert key is not None
    data = MetricData(Stats.of([(0, 1.0)]), (Name("loss", "loss"),))
    data.stats.exact = False
    server: Any = Server([(0, 0.5)])
    complete(server, template, [TaskCounts("id", {key: data}, False, {}, {})], timeout)
    assert data.stats.exact is reads


@pytest.mark.parametrize("steps", [*itertools.permutations([1, 2, 3]), (1, 2), (2, 1), (4,)])
def test_a_server_whose_statistics_differ_from_the_curve_is_noted(steps: tuple[int, ...]) -> None:
    counted = TaskCounts("id", {}, True, {}, {})
    server: Any = Server([(step, step + 0.5) for step in steps])
    complete(server, NameTemplate("{metric}/{metric}"), [counted], 1.0)
    (data,) = counted.metrics.values()
    assert data.stats.exact
    assert (data.stats.first, data.stats.last) == (min(steps) + 0.5, max(steps) + 0.5)
    assert data.stats.ordered == (steps == tuple(sorted(steps)))


@pytest.mark.parametrize(
    ("template", "fields"),
    [
        ("{metric}/{split=value}", ("split",)),
        ("{split=value}/{metric}", ("split",)),
        ("{metric}/{split=1}", ("split",)),
        ("{metric}/{split=True}", ("split",)),
        ("{metric} of {key}/{split=value} {fold=0}", ("split", "fold")),
        ("{metric} {fold=0}/{split=value}", ("split", "fold")),
        ("{metric}/{split=value}-{split}", ("split",)),
        ("{metric} {task}", ()),
    ],
)
@given(
    metric=st.sampled_from(["acc", "top-1", "größe", "a.b", "train/loss"]),
    split=st.sampled_from([None, "value", "val", 1, 2.5, True, False]),
    fold=st.sampled_from([None, 0, 0.0, "0", 3]),
)
def test_a_name_is_read_back_as_what_was_reported(
    template: str, fields: tuple[str, ...], metric: str, split: Any, fold: Any
) -> None:
    """A value that is read back is of the measure that its report had, also where it named a default."""
    made = NameTemplate(template)
    given = {"split": split, "fold": fold}
    context = {field: given[field] for field in fields if given[field] is not None}
    names = Names(made, None, OWN["task_id"], OWN, set())
    metric_key, name = names.key_and_name(metric, context)
    found = metric_key_of(made, name, False, OWN)
    assert found == metric_key
    assert [type(value) for _, value in found[1]] == [type(value) for _, value in metric_key[1]]
    if not metric_key[1]:
        single = made.single_value_name(name)
        assert metric_key_of(made, Name("Summary", single), True, OWN) == metric_key


def test_a_default_that_is_named_is_the_same_measure() -> None:
    """Both have the same title and series, and so one channel; another text is another measure."""
    names = Names(NameTemplate("{metric}/{split=value}"), None, OWN["task_id"], OWN, set())
    assert names.channel("acc", {}, False) == names.channel("acc", {"split": "value"}, False)
    names.channel("acc", {"split": 1}, False)
    with pytest.raises(NameCollisionError):
        names.channel("acc", {"split": "1"}, False)


def report_all(group: TaskGroup) -> list[Any]:
    """Three tasks that report the same; the first has ended."""
    tasks = group.tasks(SPACE)
    for task in tasks:
        seed = task.params["seed"]
        for step in range(3):
            task.report({"acc": seed + step / 8}, step)
            task.report({"acc": seed + step / 4}, step, split="7")
        task.report({"acc": 5.0}, 9, split="value")
        task.report({"train/best": seed})
    tasks[0].mark_completed()
    return tasks


def test_what_ended_and_what_died_share_their_columns(place: Place) -> None:
    """While a run lives, after its death, and resumed, a metric is one, whoever looks at it."""
    group = place.open()
    report_all(group)
    live = group.results()
    expected = counts(live, exact=place.server is None)
    assert [list(row.stats) for row in live] == [
        [("acc", ()), ("acc", (("split", "7"),)), ("train/best", ())]
    ] * 3
    if place.server is None:
        assert counts(TaskGroup.load(PROJECT, NAME, mode="offline")) == expected
    kill(group)
    loaded = TaskGroup.load(PROJECT, NAME, mode=place.mode)
    assert loaded[0].status == "completed"
    assert counts(loaded, exact=place.server is None) == expected
    assert loaded.best("acc", split="value", mode="max").value == 5.0
    assert len(loaded.sort("acc[split=value]", mode="max")) == 3
    assert [len(curve) for curve in loaded.history("acc", split="value")] == [4] * 3
    assert {row.value("train/best") for row in loaded} == {0.0, 1.0, 2.0}


def test_a_resumed_run_goes_on_with_the_counts_of_what_died(place: Place) -> None:
    """What a task had reported before its process was killed counts with what it reports now."""
    group = place.open()
    report_all(group)
    kill(group)
    with place.resume(retry="continue") as group:
        for task in group.sweep(SPACE):
            task.report({"acc": 100.0}, 10)
    for results in (group.results(), TaskGroup.load(PROJECT, NAME, mode=place.mode)):
        stats = [row.stats["acc", ()] for row in results]
        assert [(one.first, one.min, one.last) for one in stats] == [(0, 0, 5), (1, 1, 100), (2, 2, 100)]
        if place.server is None:
            assert [one.count for one in stats] == [4, 5, 5]


def test_values_are_counted_that_the_outbox_held(loopback: LoopbackServer) -> None:
    """A resume first delivers what a killed process has left on disk, and knows its values then."""
    place = Place(loopback)
    group = place.open()
    *_, last = report_all(group)
    assert group.record_path is not None
    outbox = group.record_path.with_suffix(".outbox")
    names = last._state.names
    head = names.channels.by_number[names.channel("acc", {"split": "late"}, False)].head
    kill(group)
    outbox.write_text(f'{head}3.5,"iter":1,"timestamp":1}}\n')
    outbox.with_suffix(".sent").write_text("0")
    with place.resume(retry="continue") as group:
        assert len(group.tasks(SPACE)) == 3
        assert group.results()[2].value("acc", split="late") == 3.5


@pytest.mark.parametrize("kind", ["workers", "pool"])
def test_a_worker_that_is_killed_leaves_its_values(kind: str, place: Place) -> None:
    """What it had delivered is in the results and curves of the run, at once and loaded again."""
    with place.group() as group:
        if kind == "workers":
            group.map(worker_functions.fall, SPACE, workers=2)
        else:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
                group.map(worker_functions.fall, {"seed": [1]}, executor=pool)
        early = group.results()
    for results in (early, group.results(), TaskGroup.load(PROJECT, NAME, mode=place.mode)):
        (row,) = results.where(seed=1)
        assert row.status == "failed"
        assert {m: (s.first, s.last, s.min, s.max) for m, s in row.stats.items()} == {
            ("loss", (("split", "val"),)): (1.0, 1.375, 1.0, 1.375),
            ("loss", (("split", "test"),)): (0.5, 0.5, 0.5, 0.5),
        }
        assert row.value("loss", split="val", of="mean") == 1.1875
        assert row.stats["loss", (("split", "val"),)].count == worker_functions.STEPS
        assert row.history("loss", split="val").values == (1.0, 1.125, 1.25, 1.375)
        assert row.value("loss", split="test") == 0.5


def test_a_worker_by_hand_that_is_killed_leaves_its_values(place: Place) -> None:
    """So it is for tasks that were passed by hand, with what others have told of the same task."""
    context = multiprocessing.get_context("forkserver")
    with place.group() as group:
        first, second, _ = group.tasks(SPACE)
        for task, at in itertools.product((first, second), range(2)):
            task.report({"loss": 100.0 + at}, -1 - at, split="val")
        group.flush()  # what two processes write has the order in which they write
        process = context.Process(target=worker_functions.fall, args=(second,))
        process.start()
        process.join(60)
        assert process.exitcode == -9
        for _ in range(2):
            results = group.results()
            assert results[1].value("loss", split="val", of="max") == 101.0
            assert results[1].value("loss", split="val", of="last") == 1.375
            assert results[1].value("loss", split="test") == 0.5
    (row,) = TaskGroup.load(PROJECT, NAME, mode=place.mode).where(seed=1)
    assert row.value("loss", split="val", of="last") == 1.375
    if place.server is None:
        assert row.stats["loss", (("split", "val"),)].count == 2 + worker_functions.STEPS


def test_values_that_wait_for_a_server_are_counted(loopback: LoopbackServer) -> None:
    """Where a server is away, what a killed worker has left in the outbox is in the results all the same."""
    loopback.faults.fail_next("events.add_batch", status=503, times=10_000)
    group = Place(loopback).group(close_timeout=1)
    with pytest.raises(ExceptionGroup) as failure, group:
        group.map(worker_functions.fall, SPACE, workers=2)
    assert isinstance(failure.value.exceptions[0], DeliveryError)
    rows = group.results()
    assert [row.status for row in rows] == ["completed", "failed", "completed"]
    assert [row.value("loss", split="val") for row in rows] == [0.375, 1.375, 2.375]
    assert rows[1].value("loss", split="val", of="mean") == 1.1875
