"""`auto_connect_frameworks=True`: a training script logs to its task what `Task.init` alone logs for it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.loopback import LoopbackServer
from tests.support.clearml_process import run

Doc = dict[str, Any]
Curves = Mapping[Any, list[tuple[int, float]]]
TRAINING = """
import matplotlib
matplotlib.use("agg")
import joblib
import numpy as np
from matplotlib import pyplot as plt
from tensorboardX import SummaryWriter

def train(seed, folder):
    writer = SummaryWriter(f"{folder}/logs")
    for step in range(7):
        writer.add_scalar("loss/train", seed + 1 / (1 + step), step)
        writer.add_scalar("rate", 0.1 * seed, step)
        writer.add_scalars("accuracy", {"train": seed + step / 10, "val": seed - step / 10}, step)
        writer.add_histogram("weights", np.arange(20.0) * seed, step)
    for step in (0, 50, 0):  # a counter that starts again
        writer.add_scalar("epoch/batches", seed, step)
    writer.add_image("sample", np.full((3, 8, 8), seed / 10), 3)
    writer.add_text("note", f"seed {seed}", 3)
    figure = plt.figure()
    plt.plot([seed, 1])
    writer.add_figure("figure", figure, 3)
    plt.figure()
    plt.plot([0, seed])
    plt.title("shown")
    plt.show()
    plt.close("all")
    for _ in range(2):
        figure = plt.figure()
        figure.gca().plot([seed, 0])
        figure.suptitle("saved")
        figure.savefig(f"{folder}/saved.png")
        plt.close(figure)
    figure = plt.figure()
    plt.plot([2, seed])
    plt.title("saved and shown")  # ClearML stores it twice
    figure.savefig(f"{folder}/saved.png")
    plt.show()
    plt.close("all")
    plt.figure()
    plt.imshow(np.full((4, 4), seed))
    plt.show()
    plt.close("all")
    writer.close()
    joblib.dump({"seed": seed}, f"{folder}/model.pkl")
"""
ALONE = """
from clearml import Task

main = Task.init("project", "alone", auto_resource_monitoring=False, auto_connect_streams=False)
Path("alone").mkdir()
train(1, "alone")
main.flush(wait_for_uploads=True)
give([main.id])
main.close()
"""
GROUPS = """
from clearml_taskgroup import TaskGroup

def run(task):
    with task:
        Path(task.id).mkdir()
        train(task.params["seed"], task.id)

space = {"seed": [1, 2, 3]}
with TaskGroup("project", "one after another", auto_connect_frameworks=True, provenance=False) as sweep:
    for task in sweep.sweep(space):
        run(task)
with TaskGroup("project", "at once", auto_connect_frameworks=True, provenance=False) as at_once:
    threads = [threading.Thread(target=run, args=(task,)) for task in at_once.tasks(space)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
for group in (sweep, at_once):
    best = group.results().best("loss", split="train", mode="min")
    assert best.params == {"seed": 1}, best
give([group.get(seed=seed).id for group in (sweep, at_once) for seed in space["seed"]])
"""


@attrs.frozen
class Logged:
    """What one task has, without the names."""

    curves: list[list[tuple[int, float]]]
    plots: list[tuple[int, str]]
    samples: Counter[int]
    models: int

    @classmethod
    def of(
        cls, curves: Mapping[Any, list[tuple[int, float]]], events: list[Doc], models: list[Doc]
    ) -> Logged:
        """From API events; of plots the data is kept, of other files the iteration."""
        plots = [event for event in events if event["type"] == "plot"]
        samples = [event["iter"] for event in events if event["type"] == "training_debug_image"]
        return cls(
            sorted(map(sorted, curves.values())),
            sorted((event["iter"], _data(event["plot_str"])) for event in plots),
            Counter(samples),
            len(models),
        )


def _data(plot: str) -> str:
    traces = json.loads(plot).get("data", [])
    return json.dumps([{key: trace[key] for key in trace if key in ("x", "y", "z")} for trace in traces])


def offline(home: Path, task_id: str) -> Logged:
    folder = home / "cache" / "offline" / task_id
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    events = [event for line in lines for event in json.loads(line)]
    curves: dict[Any, list[tuple[int, float]]] = {}
    for event in events:
        if event["type"] == "training_stats_scalar":
            curves.setdefault((event["metric"], event["variant"]), []).append((event["iter"], event["value"]))
    return Logged.of(curves, events, json.loads((folder / "task.json").read_text())["offline_output_models"])


def online(server: LoopbackServer, task_id: str) -> Logged:
    events = [*server.plots(task_id), *server.images(task_id)]
    models = [model for model in server.models.values() if model.get("task") == task_id]
    return Logged.of(server.scalars(task_id), events, models)


@pytest.fixture(scope="module")
def serving() -> Iterator[LoopbackServer]:
    with LoopbackServer() as started:
        yield started


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["offline", "online"])
def test_each_task_has_what_task_init_logs(mode: str, serving: LoopbackServer, tmp_path: Path) -> None:
    """Every scalar, plot and file of a run is in its own task, at the same iteration, and nothing else."""
    env = serving.environment() if mode == "online" else {"CLEARML_OFFLINE_MODE": "1"}

    def logged(script: str) -> list[Logged]:
        ids = run(TRAINING + script, tmp_path, env=env).result
        return [online(serving, one) if mode == "online" else offline(tmp_path, one) for one in ids]

    (alone,) = logged(ALONE)
    tasks = logged(GROUPS)
    assert sorted(map(len, alone.curves)) == [3, 7, 7, 7, 7]
    assert len(alone.plots) >= 6
    assert alone.samples.total() == 4
    for start in (0, 3):
        of_group = tasks[start : start + 3]
        assert of_group[0].curves == alone.curves
        assert of_group[0].plots == alone.plots
        for task in of_group:
            assert sorted(map(len, task.curves)) == sorted(map(len, alone.curves))
            assert [at for at, _ in task.plots] == [at for at, _ in alone.plots]
            assert task.samples == alone.samples
            assert task.models == 1  # ClearML itself does not see what joblib >= 1.5 saves
            assert [other.curves == task.curves for other in of_group].count(True) == 1
            assert [other.plots == task.plots for other in of_group].count(True) == 1


PLOT = """
import matplotlib
matplotlib.use("agg")
from matplotlib import pyplot as plt
from tensorboardX import SummaryWriter

def plot(title):
    plt.figure()
    plt.plot([0, 1])
    plt.title(title)
    plt.show()
    plt.close("all")

def titles(folder):
    events = told(folder / "metrics.jsonl") if (folder / "metrics.jsonl").exists() else []
    return sorted(event["metric"] for event in events if not event["metric"].startswith(":monitor"))
"""


@pytest.mark.slow
def test_beside_task_init_each_block_has_its_own(tmp_path: Path) -> None:
    """Before, between and after the blocks: the main task. `Task.init` and `close` may be called inside."""
    script = """
from clearml import Task
from clearml_taskgroup import TaskGroup

def init(name):
    return Task.init("project", name, auto_resource_monitoring=False, auto_connect_streams=False)

def log(what):
    plot(what)
    for writer in writers:
        writer.add_scalar(f"{what} {writers.index(writer)}", 1, 1)

def folder(main):
    main.flush(wait_for_uploads=True)
    return Path(main.get_offline_mode_folder())

writers = []
first = init("first main task")
writers.append(SummaryWriter("old"))
log("before")
found = {}
with TaskGroup("project", "group", auto_connect_frameworks=True, provenance=False) as group:
    one, two = group.tasks({"C": [1, 2]})
    with one:
        writers.append(SummaryWriter("of one"))
        log("one")
    log("between")
    with two:
        log("two")
        found["first"] = titles(folder(first))
        first.close()
        log("no main task")
        second = init("second main task")
        log("beside the second")
    writers = [SummaryWriter("new")]
    log("after")
log("at the end")
found |= {"second": titles(folder(second)), "one": titles(session(one)), "two": titles(session(two))}
give(found)
second.close()
"""
    found = run(PLOT + script, tmp_path, env={"CLEARML_OFFLINE_MODE": "1"}).result
    assert found == {
        "first": ["before", "before_0", "between", "between_0", "between_1"],
        "one": ["one", "one_0", "one_1"],
        "two": sorted(
            title
            for what in ("two", "no main task", "beside the second")
            for title in (what, *(f"{what} {writer}".replace(" ", "_") for writer in (0, 1)))
        ),
        "second": ["after", "after_0", "at the end", "at_the_end_0"],
    }


@pytest.mark.slow
def test_in_workers_and_children(tmp_path: Path) -> None:
    """`map`, a pickled task in a pool, and a forked child log to the task, which counts what they report."""
    script = """
import multiprocessing
from clearml_taskgroup import TaskGroup

def log(where):
    SummaryWriter(where).add_scalar(where, 1, 1)
    plot(f"plot of {where}")

def mapped(task):
    log("map")

def pickled(task):
    with task:
        log("pool")

def active(task):
    with task.activate():
        plot(f"plot of {task.params['in']}")

if __name__ == "__main__":
    with TaskGroup("project", "group", auto_connect_frameworks=True, provenance=False) as group:
        assert [one.error for one in group.map(mapped, {"in": ["map"]}, workers=1)] == [None]
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.map(pickled, [group.task({"in": "pool"})])
        for start in ("spawn", "fork"):
            with multiprocessing.get_context(start).Pool(1) as pool:  # which kills its workers at the end
                pool.map(active, [group.task({"in": start})])
        with group.task({"in": "child"}) as task:
            log("parent")
            child = multiprocessing.get_context("fork").Process(target=active, args=(task,))
            child.start()
            child.join()
    results = group.results()
    give({
        "titles": {task.params["in"]: titles(session(task)) for task in group},
        "counted": [results.best(metric, mode="max").value for metric in ("map", "pool", "parent")],
    })
"""
    found = run(PLOT + script, tmp_path, env={"CLEARML_OFFLINE_MODE": "1"}).result
    assert found["titles"] == {
        "map": ["map", "plot of map"],
        "pool": ["plot of pool", "pool"],
        "spawn": ["plot of spawn"],
        "fork": ["plot of fork"],
        "child": ["parent", "plot of child", "plot of parent"],
    }
    assert found["counted"] == [1, 1, 1]


def test_off_by_default_nothing_of_it_is_imported(tmp_path: Path) -> None:
    """A group opens, reports and closes without the bindings and what belongs to them."""
    script = """
from clearml_taskgroup import TaskGroup

with TaskGroup("project", "group", provenance=False) as group, group.task({"C": 1}) as task:
    task.report({"loss": 1.0}, 1)
parts = ("_auto_logging", "_clearml.bindings", "_clearml.saved_models", "_model.frameworks")
give([name for name in sys.modules if name.removeprefix("clearml_taskgroup.").startswith(parts)])
"""
    assert run(script, tmp_path, env={"CLEARML_OFFLINE_MODE": "1"}).result == []
