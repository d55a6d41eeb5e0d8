"""Reading curves, plots, images and the console back."""

from __future__ import annotations

from typing import Any

from .client import Client, log, scalar


def test_models_have_events_too(api: Client) -> None:
    model = api.call("models.create", name="net", uri="http://x")["id"]
    event = {**scalar("", 1.0), "model_event": True, "model": model}
    assert api.batch("events.add_batch", [event])["added"] == 1
    assert api.batch_reply("events.add_batch", [{**event, "model": "nope"}]).code == (400, 131)
    curves = api.call("events.scalar_metrics_iter_histogram", task=model, model_events=True)
    assert curves["loss"]["train"]["y"] == [1.0]


def test_curves_are_read_back(api: Client) -> None:
    """The histogram call gives x and y by title and series, without single values."""
    task = api.task()
    items = [scalar(task, i * 2.0, i) for i in (2, 0, 1)]
    single = scalar(task, 7.0, -(2**31), "Summary", "best")
    api.batch("events.add_batch", [*items, single])
    curves = api.call("events.scalar_metrics_iter_histogram", task=task)
    assert curves == {"loss": {"train": {"name": "train", "x": [0, 1, 2], "y": [0.0, 2.0, 4.0]}}}
    (found,) = api.call("events.get_task_single_value_metrics", tasks=[task])["tasks"]
    assert found["values"][0]["variant"] == "best"
    assert found["values"][0]["value"] == 7.0


def test_long_curves_are_thinned_out(api: Client) -> None:
    """A curve with more points than samples comes as averages."""
    task = api.task()
    api.batch("events.add_batch", [scalar(task, float(i), i) for i in range(100)])
    curve = api.call("events.scalar_metrics_iter_histogram", task=task, samples=10)["loss"]["train"]
    assert curve["x"] == list(range(0, 100, 10))
    assert curve["y"][0] == 4.5


def test_the_console_is_read_in_both_directions(api: Client) -> None:
    """Log lines come newest first, or in the order that is asked for."""
    task = api.task()
    api.batch("events.add_batch", [log(task, f"line {i}", 1_000 + i) for i in range(5)])

    def read(**fields: Any) -> list[str]:
        found = api.call("events.get_task_log", task=task, **fields)["events"]
        return [event["msg"][-1] for event in found]

    assert read(batch_size=2) == ["4", "3"]
    assert read(batch_size=2, order="asc") == ["3", "4"]
    assert read(navigate_earlier=False, from_timestamp=1_002) == ["3", "4"]


def test_raw_events_come_in_pages(api: Client) -> None:
    """A scroll id leads from page to page until there is none left."""
    task = api.task()
    api.batch("events.add_batch", [scalar(task, float(i), i) for i in range(25)])
    seen: list[int] = []
    scroll: dict[str, Any] = {}
    while True:
        fields = {"event_type": "training_stats_scalar", "batch_size": 10, **scroll}
        answer = api.call("events.get_task_events", fields, task=task)
        if not answer["events"]:
            break
        assert answer["total"] == 25
        seen += [event["iter"] for event in answer["events"]]
        scroll = {"scroll_id": answer["scroll_id"]}
    assert seen == list(range(25))


def test_raw_events_have_the_faults_of_the_real_server(api: Client) -> None:
    """With console lines 500; after iteration 0 the same page again; all of an iteration on one page."""
    task = api.task()
    api.batch("events.add_batch", [scalar(task, 1.0, -1), scalar(task, 2.0, 0), scalar(task, 3.0, 0, "acc")])
    fields = {"event_type": "training_stats_scalar", "batch_size": 2}
    answer = api.call("events.get_task_events", fields, task=task)
    assert [event["value"] for event in answer["events"]] == [1.0, 2.0, 3.0]
    again = api.call("events.get_task_events", fields, task=task, scroll_id=answer["scroll_id"])
    assert again["events"] == answer["events"]
    api.batch("events.add_batch", [log(task, "a line")])
    assert api.call("events.get_task_events", fields, task=task)["returned"] == 3
    assert api.reply("events.get_task_events", task=task).code == (500, 0)


def test_plots_and_images_are_read_back(api: Client) -> None:
    """The latest of each title and series come back."""
    task = api.task()
    base = {"task": task, "metric": "roc", "variant": "val"}
    plots = [{**base, "type": "plot", "iter": i, "plot_str": str(i)} for i in range(3)]
    image = {"type": "training_debug_image", "key": "k", "url": "http://u"}
    images = [{**base, **image, "iter": i} for i in range(3)]
    api.batch("events.add_batch", plots + images)
    found = api.call("events.get_task_plots", task=task, iters=2)["plots"]
    assert [item["plot_str"] for item in found] == ["2", "1"]
    shown: list[int] = []
    scroll: dict[str, Any] = {}
    for _ in range(4):
        answer = api.call("events.debug_images", scroll, metrics=[{"task": task}])
        shown += [found["iter"] for found in answer["metrics"][0]["iterations"]]
        scroll = {"scroll_id": answer["scroll_id"]}
    assert shown == [2, 1, 0]


def test_points_are_read_back_title_by_title(api: Client) -> None:
    """The calls for one title and for names agree."""
    task = api.task()
    api.batch("events.add_batch", [scalar(task, float(i), i) for i in range(3)])
    raw = api.call("events.scalar_metrics_iter_raw", task=task, metric={"metric": "loss"})
    assert raw["variants"]["train"] == {"iter": [0, 1, 2], "y": [0.0, 1.0, 2.0]}
    names = api.call("events.get_scalar_metrics_and_variants", task=task)
    assert names == {"metrics": {"loss": ["train"]}}
