"""The parent's summary: tables, figures, best values, counts, reasons and links, when a run ends."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import attrs
import pytest

from clearml_taskgroup import Metric, TaskGroup, TaskGroupWarning
from clearml_taskgroup._clearml import login, sdk
from clearml_taskgroup._model.downsample import CurveSample
from clearml_taskgroup._model.stats import Stats
from clearml_taskgroup._reports import summary as _summary
from clearml_taskgroup._results.rows import Curve
from clearml_taskgroup.errors import DriftWarning
from clearml_taskgroup.testing import recording
from tests.loopback import LoopbackServer
from tests.loopback.events import page_fault
from tests.support.parent_page import METRICS, parent_of, plots, swept
from tests.support.server_view import View


def test_tables_and_figures() -> None:
    """The parent has a table of the tasks, parallel coordinates and curves, by their labels."""
    found = plots(parent_of().events)
    assert set(found) == {
        ("All tasks", "tasks"),
        ("Parameters", "loss / val"),
        ("Parameters", "accuracy / val (%)"),
        ("Curves", "loss / val"),
        ("Curves", "accuracy / val (%)"),
    }
    assert min(title for title, _ in found) == "All tasks"  # the page sorts by title
    lines = [trace for trace in found["Curves", "loss / val"]["data"] if trace["name"] == "C=5"]
    assert (lines[0]["x"][0], lines[0]["x"][-1], lines[0]["y"][-1]) == (0, 39, 0.025)


def test_the_web_page_can_draw_every_plot() -> None:
    for events in (parent_of().events, parent_of(tasks=130).events, parent_of(tasks=1).events):
        assert sum(event["type"] == "plot" for event in events) >= 2
        assert not any(page_fault(event) for event in events if event["type"] == "plot")


@pytest.mark.filterwarnings("ignore::clearml_taskgroup.errors.NonFiniteWarning")
def test_a_figure_has_the_best_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that diverged come last, whichever values are better."""
    monkeypatch.setattr(_summary, "MAX_FIGURE_TASKS", 2)
    with recording() as backend, TaskGroup("digits", "sweep", metrics=METRICS) as group:
        for task, value in zip(group.tasks({"C": range(4)}), (2.0, 5.0, 3.0, 4.0), strict=True):
            for step in range(4):
                task.report({"loss": value, "accuracy": value, "speed": value}, step)
            if task.params["C"] == 0:
                task.report(dict.fromkeys(("loss", "accuracy"), math.nan), 4)
    parent = next(task for task in backend.tasks.values() if task.spec.kind == "parent")
    drawn = plots(parent.events)
    for metric, names in (
        ("loss", {"C=2", "C=3"}),
        ("accuracy (%)", {"C=1", "C=3"}),
        ("speed", {"C=0", "C=1"}),
    ):
        assert {trace["name"] for trace in drawn["Curves", metric]["data"]} == names


def test_a_study_has_its_history() -> None:
    """Trials, by their names, have a figure of their values in their order; those pruned are crosses."""
    with recording() as backend, TaskGroup("digits", "study", metrics=METRICS) as group:
        for at, loss in enumerate([3.0, 1.0, 2.0]):
            task = group.task({"x": at}, name=f"trial-{at:04}")
            task.report({"loss": loss}, 1, split="val")
            if at == 2:
                task.mark_stopped("pruned at step 1")
    parent = next(task for task in backend.tasks.values() if task.spec.kind == "parent")
    points, pruned, best = plots(parent.events)["Optimization history", "loss / val"]["data"]
    assert (points["y"], pruned["y"], best["y"]) == ([3, 1], [2], [3, 1, 1])


def test_best_values_and_counts() -> None:
    """Single values are the best of each metric whose mode is known, and how many tasks ended how."""
    assert parent_of().single_values == {
        "val loss, best": 0.025,
        "val accuracy (%), best": 5.39,
        "tasks completed": 4,
        "tasks failed": 1,
        "tasks stopped": 1,
    }


def test_the_text() -> None:
    """The console tells who is best, who failed and why."""
    lines = parent_of().console.splitlines()
    assert lines[0] == "digits/the sweep, run 1: 4 completed, 1 failed, 1 stopped"
    assert "best accuracy[split=val] (%) (max): C=5 = 5.39" in lines
    assert "failed: C=1: out of <memory>" in lines


def test_the_text_does_nothing_to_a_terminal() -> None:
    """The console is printed by ClearML's tools, too."""
    with (
        recording() as backend,
        TaskGroup("digits", "sw\x1b[31meep", metrics=[Metric("loss", mode="min")]) as group,
    ):
        with group.task(name="one\nfailed: C=1: forged") as task:
            task.report({"loss": 1.0}, 1)
    parent = next(task for task in backend.tasks.values() if task.spec.kind == "parent")
    assert parent.console.splitlines() == [
        r"digits/sw\x1b[31meep, run 1: 1 completed",
        r"best loss (min): one\nfailed: C=1: forged = 1",
    ]


def test_drift_is_told() -> None:
    """What only some tasks report is told in the parent's console, too."""
    with recording() as backend:
        group = TaskGroup("digits", "the sweep").open()
        for number, task in enumerate(group.tasks({"C": range(2)})):
            task.report({"acc" if number else "accuracy": 1.0}, 1)
        with pytest.warns(DriftWarning):
            group.close()
    parent = next(task for task in backend.tasks.values() if task.spec.kind == "parent")
    assert "'accuracy'" in parent.console
    assert "'acc'" in parent.console


def test_many_tasks_stay_readable() -> None:
    """Of more than 100 tasks, the figures show the best 100."""
    parent = parent_of(tasks=130)
    figure = plots(parent.events)["Curves", "accuracy / val (%)"]
    names = {trace["name"] for trace in figure["data"] if "name" in trace}
    assert "C=129" in names
    assert "C=3" not in names
    assert len([name for name in names if name.startswith("C=")]) == 100


def test_on_a_server(server: View) -> None:
    """A server takes the parent's figures, values and text, with links to the tasks and the comparison."""
    group = TaskGroup(server.project, "the sweep", provenance=False, metrics=METRICS)
    with group:
        for task in group.tasks({"C": range(3)}):
            for step in range(5):
                task.report({"accuracy": step * task.params["C"]}, step)
        assert group.parent_id is not None
    events = server.plots(group.parent_id, 3)
    found = plots([{**event, "type": "plot"} for event in events])
    assert set(found) == {
        ("All tasks", "tasks"),
        ("All tasks", "web pages"),
        ("Parameters", "accuracy (%)"),
        ("Curves", "accuracy (%)"),
    }
    link = found["All tasks", "tasks"]["data"][0]["cells"]["values"][0][0]
    assert group.get(C=2).url in link  # the best one
    assert group.compare_urls[0] in server.console(group.parent_id)
    pages = found["All tasks", "web pages"]["data"][0]["cells"]["values"][0]
    assert f'<a href="{group.compare_urls[0]}">compare tasks 1 to 3</a>' in pages
    assert server.task(group.parent_id)["status"] == "completed"


def test_beside_a_task_of_the_users_own(loopback: LoopbackServer, monkeypatch: Any) -> None:
    """The agent's task, as the parent, is given the summary and keeps its status."""
    from clearml_taskgroup._clearml.api import Transport

    transport = Transport(login.connect())
    body = {"name": "the agent's", "type": "training"}
    agents = transport.call("tasks.create", body, timeout=5)["id"]
    monkeypatch.setattr(sdk, "agent_task_id", lambda: agents)
    swept(mode="online")
    events = transport.call("events.get_task_plots", {"task": agents}, timeout=5)["plots"]
    assert "the sweep: All tasks" in {event["metric"] for event in events}


def test_after_a_resume_the_figures_show_all_tasks(loopback: LoopbackServer) -> None:
    """Curves of tasks that an earlier attempt has completed are read back."""
    options: dict[str, Any] = {"provenance": False, "metrics": METRICS, "resume": True}
    for mode in ("online", "offline"):
        space = {"C": [1, 2]}
        for attempt in range(2):
            with TaskGroup("digits", "again", mode=mode, **options) as group:
                for task in group.sweep(space):
                    for step in range(5):
                        task.report({"loss": step + attempt}, step)
                    if task.params["C"] == 2 and not attempt:
                        task.mark_failed("bad node")
        assert group._run is not None
        events = [json.loads(event) for event in _summary.summary_events(group._run)]
        figure = plots(events)["Curves", "loss"]
        assert {trace["name"]: trace["y"] for trace in figure["data"] if "name" in trace} == {
            "C=1": [0, 1, 2, 3, 4],
            "C=2": [1, 2, 3, 4, 5],
        }


def test_no_tasks_no_summary() -> None:
    """A group without tasks says nothing of them."""
    assert parent_of(tasks=0).events == []


def test_a_summary_that_fails_hurts_nothing(monkeypatch: Any) -> None:
    """If the summary cannot be made, that is told, and the run ends as it would have."""

    def refuse(run: Any) -> Any:
        raise RuntimeError("no figures today")

    monkeypatch.setattr(_summary, "summary_events", refuse)
    with recording() as backend, pytest.warns(TaskGroupWarning, match="no figures today"):
        swept()
    assert {task.status for task in backend.members} == {"completed", "failed", "stopped"}


def test_a_single_value_is_no_end_of_a_sketched_curve() -> None:
    """A figure's curve ends with its last point, not with the value without an iteration."""
    stats, sample = Stats(), CurveSample()
    for step in range(2):
        stats.add(float(step), step)
        sample.add(step, float(step))
    stats.add(9.0, None)
    row: Any = None
    assert _summary._sampled_curve(row, sample, stats) == Curve(row, (0, 1), (0.0, 1.0))
    stats = attrs.evolve(stats, single=False, last=2.0, last_iteration=2)
    assert _summary._sampled_curve(row, sample, stats) == Curve(row, (0, 1, 2), (0.0, 1.0, 2.0))


def test_one_plot_for_the_contexts_of_one_task() -> None:
    """The folds of a single task are lines of one plot, named by their context."""
    with recording() as backend, TaskGroup("digits", "folds", template="{metric}/fold {fold}") as group:
        with group.task({"alpha": 1}) as task:
            for fold in range(5):
                for step in range(4):
                    task.report({"accuracy": fold + step, "loss": 1.0}, step, fold=fold)
    parent = next(task for task in backend.tasks.values() if task.spec.kind == "parent")
    drawn = {
        variant: figure for (title, variant), figure in plots(parent.events).items() if title == "Curves"
    }
    assert set(drawn) == {"accuracy", "loss"}
    lines = [trace for trace in drawn["accuracy"]["data"] if trace.get("name")]
    assert [line["name"] for line in lines] == [f"fold {fold}" for fold in range(5)]
    assert [line["y"][-1] for line in lines] == [3, 4, 5, 6, 7]


def test_two_tasks_never_share_a_legend_text() -> None:
    """Names that are too long for a legend are shortened to the parameters that vary."""
    with recording() as backend, TaskGroup("digits", "long") as group:
        for task in group.tasks({"a_first_parameter": ["the same long text"], "b_second": [1e-7, 2e-7]}):
            for step in range(4):
                task.report({"loss": 1.0}, step)
        for name in ("x" * 50 + "1", "x" * 50 + "2"):
            with group.task(name=name) as task:
                for step in range(4):
                    task.report({"loss": 1.0}, step)
    parent = next(task for task in backend.tasks.values() if task.spec.kind == "parent")
    names = [trace["name"] for trace in plots(parent.events)["Curves", "loss"]["data"]]
    assert len(set(names)) == 4
    assert all(len(name) <= 40 for name in names)
    assert sum("b_second=" in name for name in names) == 2


def contrast(one: str, other: str) -> float:
    """The contrast of two colours by WCAG 2."""
    lights = []
    for colour in (one, other):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)
    return max(lights) / min(lights)


def test_figures_take_the_colours_of_the_pages_theme() -> None:
    """Colours can be seen on white and on dark; font, paper and grid are the page's own."""
    for events in (parent_of().events, parent_of(tasks=130).events):
        for figure in plots(events).values():
            layout = figure["layout"]
            assert not re.search("template|font|bgcolor|hoverlabel", " ".join(layout))
            assert "<" not in layout["title"]
            colours = re.findall(r"#[0-9a-f]{6}", json.dumps(figure))
            assert all(contrast(colour, "#ffffff") > 2 for colour in colours)
            assert all(contrast(colour, "#1a1e2c") > 2.5 for colour in colours)
            assert isinstance(layout["title"], str)


def test_notes_are_below_the_title() -> None:
    figure = plots(parent_of(tasks=130).events)["Curves", "loss / val"]
    (note,) = [one["text"] for one in figure["layout"]["annotations"]]
    assert "coloured by the rank" in note
    assert figure["layout"]["title"] == "loss / val"


def drawn_for(values: dict[str, list[float]], tasks: int = 2, failed: int = 0) -> dict[str, list[str]]:
    """The series of each section, of tasks that report these curves; the last ones fail."""
    with recording() as backend, TaskGroup("digits", "sweep") as group:
        for task in group.tasks({"C": range(tasks)}):
            for metric, curve in values.items():
                for step, value in enumerate(curve):
                    task.report({metric: value + task.params["C"]}, step)
            if task.index >= tasks - failed:
                task.mark_failed("bad")
    parent = next(task for task in backend.tasks.values() if task.spec.kind == "parent")
    found: dict[str, list[str]] = {}
    for section, series in plots(parent.events):
        found.setdefault(section, []).append(series)
    return found


def test_which_figures_there_are() -> None:
    """Parameters of two tasks that count, curves of three data points; else the first metric."""
    assert drawn_for({"loss": [1.0, 2.0]}) == {"All tasks": ["tasks"], "Parameters": ["loss"]}
    assert drawn_for({"loss": [1.0] * 3}, tasks=1) == {"All tasks": ["tasks"], "Curves": ["loss"]}
    assert drawn_for({"loss": [1.0]}, failed=1) == {"All tasks": ["tasks"]}
    assert drawn_for({"a": [1.0], "b": [1.0]})["Parameters"] == ["a"]
    assert drawn_for({"a": [1.0], "loss": [1.0]})["Parameters"] == ["loss"]


def test_ten_figures_of_each_kind() -> None:
    found = drawn_for({f"loss {at}": [1.0] * 3 for at in range(11)})
    assert found["Parameters"] == found["Curves"] == [f"loss {at}" for at in range(10)]


@pytest.mark.parametrize(("most", "has_figure"), [(4, True), (3, False)])
def test_large_runs_are_not_compared(most: int, has_figure: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither configurations nor trials."""
    monkeypatch.setattr(_summary, "MAX_TABLE_TASKS", most)
    with recording() as backend, TaskGroup("digits", "study") as group:
        for at, params in enumerate({"C": C, "seed": seed} for C in (1, 2) for seed in (0, 1)):
            group.task(params, name=f"trial-{at:04}").report({"loss": float(at * at)})
    parent = next(task for task in backend.tasks.values() if task.spec.kind == "parent")
    sections = {section for section, _ in plots(parent.events)}
    assert sections & {"Comparison", "Optimization history"} == (
        {"Comparison", "Optimization history"} if has_figure else set()
    )


@pytest.mark.filterwarnings("ignore::clearml_taskgroup.errors.NonFiniteWarning")
@pytest.mark.parametrize(("failed", "more"), [(20, []), (21, ["… and 1 more"])])
def test_twenty_failures_are_listed(failed: int, more: list[str]) -> None:
    with recording() as backend, TaskGroup("digits", "sweep", metrics=METRICS) as group:
        for task in group.tasks({"C": range(failed + 2)}):
            task.report({"loss": 1.0}, 1)
            if task.index == failed + 1:
                task.report({"loss": math.nan}, 2)
            elif task.index:
                task.mark_failed(f"bad {task.index}")
    parent = next(task for task in backend.tasks.values() if task.spec.kind == "parent")
    head, best, *lines = parent.console.splitlines()
    assert head.endswith(f": 2 completed, {failed} failed")
    assert best == f"best loss (min): C=0 = 1; without 1 task that diverged (C={failed + 1})"
    assert lines[: 20 + len(more)] == [*(f"failed: C={at}: bad {at}" for at in range(1, 21)), *more]


def test_links_in_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that compare a hundred tasks each."""
    with recording(), TaskGroup("digits", "sweep") as group:
        for task in group.tasks({"C": range(3)}):
            task.report({"loss": 1.0}, 1)
    results = group.results()
    monkeypatch.setattr(_summary, "MAX_COMPARED_TASKS", 2)
    about = attrs.evolve(
        results.about, table_url=lambda: "https://host/table", compare_urls=("https://1", "https://2")
    )
    run: Any = group._run
    assert list(_summary._console_lines(attrs.evolve(results, about=about), {}, run))[1:] == [
        "all tasks as a table: https://host/table",
        "compare tasks 1 to 2: https://1",
        "compare tasks 3 to 3: https://2",
    ]
