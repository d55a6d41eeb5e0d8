"""Events: what is kept, what overwrites, what is counted, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from . import events, schemas
from .client import Client, Refused, log, scalar
from .metrics import name_hash
from .server import LoopbackServer

NUMBERS = {"inf": float("inf"), "-inf": -float("inf"), "nan": float("nan"), "3.5e38": 3.5e38, "1e39": -1e39}


def test_a_batch_may_mix_tasks(api: Client, server: LoopbackServer) -> None:
    """Events of 500 tasks go in one request."""
    tasks = [api.task(f"task {i}") for i in range(500)]
    answer = api.batch("events.add_batch", [scalar(task, 1.5, 2) for task in tasks])
    assert answer == {"added": 500, "errors": 0, "errors_info": {}}
    assert all(server.scalars(task) == {("loss", "train"): [(2, 1.5)]} for task in tasks)


def test_thousands_of_events_go_in_one_request(api: Client, server: LoopbackServer) -> None:
    """A long batch is taken as a whole."""
    tasks = [api.task(f"task {i}") for i in range(10)]
    items = [scalar(tasks[i % 10], i * 0.5, i // 10) for i in range(20_000)]
    assert api.batch("events.add_batch", items)["added"] == 20_000
    assert len(server.scalars(tasks[7])["loss", "train"]) == 2_000
    assert server.calls[-1].items == 20_000
    assert server.calls[-1].raw == b""


def test_a_resend_overwrites_points_and_plots(api: Client, server: LoopbackServer) -> None:
    """Points and plots are kept under an id of task, title, series and iteration."""
    task = api.task()
    plot = {"type": "plot", "task": task, "metric": "roc", "variant": "val", "iter": 1, "plot_str": "{}"}
    for value in (1.0, 2.0):
        api.batch("events.add_batch", [scalar(task, value, 3), {**plot, "plot_str": json.dumps(value)}])
    assert server.scalars(task) == {("loss", "train"): [(3, 2.0)]}
    assert [item["plot_str"] for item in server.plots(task)] == ["2.0"]


def test_a_resend_duplicates_log_lines(api: Client, server: LoopbackServer) -> None:
    task = api.task()
    for _ in range(2):
        api.batch("events.add_batch", [log(task, "line")])
    assert server.logs(task) == ["line", "line"]


def test_a_resend_counts_twice(api: Client, server: LoopbackServer) -> None:
    """Count and mean of last_metrics take a point in each time that it is sent."""
    task = api.task()
    api.batch("events.add_batch", [scalar(task, 1.0, 0), scalar(task, 4.0, 1)])
    api.batch("events.add_batch", [scalar(task, 4.0, 1)])
    entry = server.last_metrics(task)["loss", "train"]
    assert (entry["count"], entry["mean_value"]) == (3, 3.0)
    assert len(server.scalars(task)["loss", "train"]) == 2


def test_names_that_join_alike_are_one(api: Client, server: LoopbackServer) -> None:
    """The id joins title and series by a dash, so that some pairs overwrite each other."""
    task = api.task()
    pairs = (("a", "b-c"), ("a-b", "c"))
    api.batch("events.add_batch", [scalar(task, 1.0, 0, *pair) for pair in pairs])
    assert list(server.scalars(task)) == [("a-b", "c")]
    assert set(server.last_metrics(task)) == set(pairs)


def test_last_metrics_are_keyed_by_hashes(api: Client, server: LoopbackServer) -> None:
    """Titles and series are kept under their MD5, with their names inside."""
    task = api.task()
    api.batch("events.add_batch", [scalar(task, 1.0)])
    entry = server.task(task)["last_metrics"][name_hash("loss")][name_hash("train")]
    assert name_hash("loss") == "81513effdf5790b79549208838404407"
    assert (entry["metric"], entry["variant"], entry["value"]) == ("loss", "train", 1.0)


def test_last_metrics_know_first_min_max_and_mean(api: Client, server: LoopbackServer) -> None:
    """Each curve is summed up, with the iterations of its extremes."""
    task = api.task()
    for iteration, value in enumerate([2.0, 5.0, 1.0, 3.333]):
        api.batch("events.add_batch", [scalar(task, value, iteration)])
    assert server.last_metrics(task)["loss", "train"] == {
        "metric": "loss",
        "variant": "train",
        "value": 3.333,
        "first_value": 2.0,
        "first_value_iteration": 0,
        "min_value": 1.0,
        "min_value_iteration": 2,
        "max_value": 5.0,
        "max_value_iteration": 1,
        "count": 4,
        # Worked out from means of two decimals each: exactly it would be 2.83.
        "mean_value": 2.84,
    }
    assert server.task(task)["last_iteration"] == 3


def test_the_last_value_is_the_last_to_arrive(api: Client, server: LoopbackServer) -> None:
    """From request to request, iteration 3 after iteration 5 is the last."""
    task = api.task()
    for iteration in (5, 3):
        api.batch("events.add_batch", [scalar(task, float(iteration), iteration)])
    assert server.last_metrics(task)["loss", "train"]["value"] == 3.0
    assert server.task(task)["last_iteration"] == 5


def test_within_a_request_the_highest_iteration_is_last(api: Client, server: LoopbackServer) -> None:
    """Inside one request the server does look at iterations."""
    task = api.task()
    api.batch("events.add_batch", [scalar(task, float(i), i) for i in (5, 3)])
    entry = server.last_metrics(task)["loss", "train"]
    assert (entry["value"], entry["first_value"], entry["first_value_iteration"]) == (5.0, 3.0, 3)


def test_two_thousand_pairs_and_no_more(api: Client, server: LoopbackServer) -> None:
    """Pairs past the 2,000th are not in last_metrics, though their points are kept."""
    task = api.task()
    items = [scalar(task, 1.0, 0, f"title {i // 10}", f"series {i}") for i in range(2_001)]
    assert api.batch("events.add_batch", items)["added"] == 2_001
    assert len(server.last_metrics(task)) == 2_000
    assert len(server.scalars(task)) == 2_001
    api.batch("events.add_batch", [scalar(task, 9.0, 1, "title 0", "series 0")])
    assert server.last_metrics(task)["title 0", "series 0"]["value"] == 9.0


@pytest.mark.parametrize("bad", list(NUMBERS))
def test_a_number_that_does_not_fit_fails_the_batch(api: Client, server: LoopbackServer, bad: str) -> None:
    """One such number makes it a 500 for all, part of it is stored, and no task is told."""
    first, second = api.task("first"), api.task("second")
    items = [scalar(first, 1.0, i) for i in range(600)]
    items += [scalar(second, 1.0, 0), scalar(second, NUMBERS[bad], 1)]
    items += [scalar(first, 1.0, 600 + i) for i in range(600)]
    reply = api.batch_reply("events.add_batch", items)
    assert reply.code == (500, 100)
    assert len(server.scalars(first)["loss", "train"]) == 998
    assert server.scalars(second)["loss", "train"] == [(0, 1.0)]
    assert server.last_metrics(first) == server.last_metrics(second) == {}


def test_the_largest_float_fits(api: Client, server: LoopbackServer) -> None:
    """Numbers up to 3.4e38 are taken."""
    task = api.task()
    assert api.batch("events.add_batch", [scalar(task, 3.4e38), scalar(task, -3.4e38, 1)])["added"] == 2


def test_a_vector_is_checked_number_by_number(api: Client) -> None:
    """A bad number in a vector fails the batch as well."""
    event = {"type": "training_stats_vector", "task": api.task(), "metric": "v", "variant": "v", "iter": 0}
    assert api.batch("events.add_batch", [{**event, "values": [1.0, 2.0]}])["added"] == 1
    assert api.batch_reply("events.add_batch", [{**event, "values": [1.0, 1e39]}]).code == (500, 100)


@pytest.mark.parametrize("kind", ["unknown", "deleted", "published"])
def test_bad_tasks_are_counted_and_skipped(api: Client, server: LoopbackServer, kind: str) -> None:
    """In a mixed batch the good tasks' events are stored, and the answer names the bad."""
    good, bad = api.task("good"), api.task("bad")
    if kind == "deleted":
        api.call("tasks.delete", task=bad)
    elif kind == "published":
        api.move(bad, "started", "completed", "publish")
    else:
        bad = "f" * 32
    answer = api.batch("events.add_batch", [scalar(good, 1.0), scalar(bad, 1.0), scalar(bad, 2.0, 1)])
    assert answer == {"added": 1, "errors": 2, "errors_info": {f"Invalid task id {bad}": 2}}
    assert server.violations == []


def test_where_all_tasks_are_bad_the_request_fails(api: Client) -> None:
    """With nothing to add it is 400/131, and the ids are in the message."""
    with pytest.raises(Refused) as refused:
        api.batch("events.add_batch", [scalar("a" * 32, 1.0), scalar("b" * 32, 1.0)])
    assert refused.value.code == (400, 131)
    assert f"Invalid task id {'a' * 32}=1" in refused.value.message
    assert f"Invalid task id {'b' * 32}=1" in refused.value.message


def test_published_tasks_can_be_unlocked_for_an_event(api: Client) -> None:
    """An event may say that a lock does not matter."""
    task = api.task()
    api.move(task, "started", "completed", "publish")
    assert api.batch("events.add_batch", [{**scalar(task, 1.0), "allow_locked": True}])["added"] == 1


def test_events_of_a_completed_task_are_taken(api: Client) -> None:
    task = api.task()
    api.move(task, "started", "completed")
    assert api.batch("events.add_batch", [scalar(task, 1.0)])["added"] == 1


def test_lines_without_type_or_task_are_counted(api: Client, server: LoopbackServer) -> None:
    """Such lines do not fail the batch, but they are violations all the same."""
    task = api.task()
    nameless = {"type": "training_stats_scalar", "metric": "m", "variant": "v", "value": 1.0}
    items = [scalar(task, 1.0), {"task": task}, nameless, {"type": "tale", "task": task}]
    answer = api.batch("events.add_batch", items)
    assert answer["added"] == 1
    assert answer["errors_info"] == {
        "Event must have a 'type' field": 1,
        "Event must have a 'task' field": 1,
        "Invalid event type tale": 1,
    }
    assert [violation.line for violation in server.violations] == [2, 3]


@pytest.mark.parametrize(
    "wrong", [{"value": "1.0"}, {"iter": 1.5}, {"metric": 7}, {"variant": None}, {"timestamp": "now"}]
)
def test_a_wrong_type_fails_the_batch(api: Client, server: LoopbackServer, wrong: dict[str, Any]) -> None:
    """A line that the schema forbids gets 400/12 and is recorded."""
    task = api.task()
    reply = api.batch_reply("events.add_batch", [scalar(task, 1.0), {**scalar(task, 1.0, 1), **wrong}])
    assert reply.code == (400, 12)
    assert [violation.line for violation in server.violations] == [1]
    assert server.scalars(task) == {}


def test_levels_may_be_written_as_the_sdk_writes_them(api: Client, server: LoopbackServer) -> None:
    """The schema wants lower case, the SDK sends upper case, and the server takes it."""
    task = api.task()
    api.batch("events.add_batch", [{**log(task, "line"), "level": "INFO"}])
    assert server.violations == []


def test_an_iteration_past_64_bits_fails_the_request(api: Client) -> None:
    """Such an iteration is a 500, after the rest was stored."""
    task = api.task()
    items = [scalar(task, 1.0), scalar(task, 1.0, 2**63)]
    assert api.batch_reply("events.add_batch", items).code == (500, 100)


def test_one_event_can_be_added_alone(api: Client, server: LoopbackServer) -> None:
    """The call for single events does the same."""
    task = api.task()
    assert api.call("events.add", scalar(task, 1.0))["added"] == 1
    assert server.scalars(task) == {("loss", "train"): [(0, 1.0)]}


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False), st.text(max_size=3)
)
FIELDS = (
    "task",
    "metric",
    "variant",
    "value",
    "iter",
    "timestamp",
    "msg",
    "worker",
    "plot_str",
    "url",
    "key",
    "model_event",
    "allow_locked",
    "skip_validation",
)


@settings(suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])
@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from([*sorted(events.TYPES), "tale"])},
        optional=dict.fromkeys(FIELDS, ANYTHING),
    )
)
def test_the_fast_check_lets_nothing_past_the_schema(event: dict[str, Any]) -> None:
    """Whatever the hand-written check lets pass, the shipped schema allows as well."""
    schema = schemas.find("events.add_batch", "2.23")
    assert schema is not None
    if events._plain(event):
        assert schema.validator.is_valid(event)
