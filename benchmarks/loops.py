"""Long loops, offline: sweeps, results in each iteration, the cost of one report, and 10,000 tasks.

Run by hand: `make benchmark`. Each measurement is a process of its own with a fresh cache folder; the kinds
run in turns, and the median of the turns counts.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

from core import fresh_folder, in_turns, line, output_of, take_turns
from workloads import METRICS

TURNS = 5
MANY = 10_000
ROUND = 500
"""Iterations after which the queue is emptied."""
STEP_S = 66e-6
"""How long a step of the pure-Python training takes."""


def results_in_loop(tasks: int, asks: bool) -> dict[str, float]:
    """A sweep that asks for the best task so far in each iteration, or does not."""
    from clearml_taskgroup import TaskGroup

    began = time.perf_counter()
    with TaskGroup("benchmark", "results", mode="offline", provenance=False) as group:
        for task in group.sweep({"index": range(tasks)}):
            with task:
                task.report({"loss": 1 / (1 + task.params["index"])}, 0, split="val")
            if asks:
                group.results().best("loss", mode="min")
    return {"wall": time.perf_counter() - began}


def one_report(kind: str, count: int) -> dict[str, float]:
    """What ten numbers in each iteration cost their caller: two flat calls, a nested dict, numpy's scalars.

    Beside ClearML's own calls, and the same events as JSON by orjson (the limit). CPU time of the caller's
    thread alone, the queue emptied between the rounds: the wall time of a loop that does nothing else is that
    of the reporter's thread, which waits for no number.
    """
    import numpy as np

    from clearml_taskgroup import TaskGroup

    floats = [index / 7 for index in range(len(METRICS))]
    numbers: list[Any] = [np.float64(number) for number in floats] if kind == "numpy" else list(floats)
    values = dict(zip(METRICS, numbers, strict=True))
    nested = {"train": values, "val": values}
    if kind in ("limit", "raw"):
        report = _limit_of_one if kind == "limit" else raw_loggers(1)[0].report_scalar
        began = time.thread_time()
        for iteration in range(count // 10):
            for split in nested:
                for metric, value in values.items():
                    report(metric, split, value, iteration)
        return {"number": (time.thread_time() - began) / count}
    with TaskGroup("benchmark", "report", mode="offline", provenance=False) as group:
        task = group.task({"C": 1})
        took = []
        for first in range(0, count, ROUND):
            began = time.thread_time()
            for iteration in range(first, first + ROUND):
                if kind == "nested":
                    task.report(nested, iteration, levels=("split", "metric"))
                else:
                    task.report(values, iteration, split="train")
                    task.report(values, iteration, split="val")
            took.append(time.thread_time() - began)
            group.flush()
    return {"number": statistics.median(took) / ROUND / 10}


def raw_loggers(count: int) -> list[Any]:
    """Opens raw tasks as fast as it goes; gives their loggers."""
    from clearml import Task

    setattr(Task, "_report_subprocess_enabled", False)  # noqa: B010
    create: Any = Task._create
    return [create("benchmark", f"task {index}", "training").get_logger() for index in range(count)]


def _limit_of_one(metric: str, split: str, value: float, iteration: int) -> None:
    import orjson

    event = {"type": "training_stats_scalar", "task": "C=1", "metric": metric, "variant": split}
    orjson.dumps({**event, "value": value, "iter": iteration, "timestamp": time.time_ns() // 1_000_000})


def _report_each(report_scalar: Callable[..., object], values: dict[str, float], step: int) -> None:
    for metric, value in values.items():
        report_scalar(metric, "val", value, step)


def training(kind: str, tasks: int, rounds: int) -> dict[str, float]:
    """Steps in pure Python, each for another task, all open; with or without a report after each."""
    from clearml_taskgroup import TaskGroup

    loops = _loops_of_a_step()
    values = dict.fromkeys(METRICS, 0.123456789)
    is_ours = kind == "ours"
    opened = TaskGroup("benchmark", "steps", mode="offline", provenance=False) if is_ours else nullcontext()
    longest = 0.0
    with opened as group:
        reports: list[Callable[[int], object]] = [lambda step: None] * tasks
        if group is not None:
            members = group.tasks({"index": range(tasks)})
            reports = [partial(task.report, values, split="val") for task in members]
        elif kind == "limit":
            reports = [partial(_report_each, _limit_of_one, values)] * tasks
        elif kind == "raw":
            loggers = raw_loggers(tasks)
            reports = [partial(_report_each, logger.report_scalar, values) for logger in loggers]
        began = before = time.perf_counter()
        for step in range(rounds):
            for report in reports:
                _work(loops)
                report(step)
                now = time.perf_counter()
                longest, before = max(longest, now - before), now
        took = time.perf_counter() - began
    return {"step": took / tasks / rounds, "longest": longest}


def _work(loops: int) -> float:
    total = 0.0
    for number in range(loops):
        total += number * 0.5
    return total


def _loops_of_a_step() -> int:
    times = []
    for _ in range(200):
        began = time.perf_counter()
        _work(1000)
        times.append(time.perf_counter() - began)
    return max(1, round(1000 * STEP_S / min(times)))


def many_end(tasks: int) -> dict[str, float]:
    """The end of a group of very many tasks."""
    from clearml_taskgroup import TaskGroup

    group = TaskGroup("benchmark", "many", mode="offline", provenance=False).open()
    for task in group.tasks({"index": range(tasks)}):
        task.report(dict.fromkeys(METRICS, 0.5), 0, split="val")
    group.flush()
    began = time.process_time()
    group.close()
    return {"cpu": time.process_time() - began}


def many_load(tasks: int) -> dict[str, float]:
    """Its results, loaded from disk."""
    from clearml_taskgroup import TaskGroup

    began = time.process_time()
    results = TaskGroup.load("benchmark", "many", mode="offline")
    measured = {"cpu": time.process_time() - began}
    assert len(results) == tasks
    return measured


def many_resume(tasks: int) -> dict[str, float]:
    """A resume that finds that all of it is done."""
    from clearml_taskgroup import TaskGroup

    began = time.process_time()
    with TaskGroup("benchmark", "many", mode="offline", provenance=False, resume=True) as group:
        left = sum(not task.done for task in group.sweep({"index": range(tasks)}))
    assert left == 0, left
    return {"cpu": time.process_time() - began}


# --- measuring -----------------------------------------------------------------------------------


def measure(folder: str, *arguments: str) -> dict[str, float]:
    """Runs one measurement in a fresh process."""
    environment = {**os.environ, "CLEARML_CACHE_DIR": folder, "CLEARML_OFFLINE_MODE": "1"}
    return output_of([__file__, *arguments], environment)


def medians(commands: dict[str, list[str]], turns: int = TURNS) -> dict[str, dict[str, float]]:
    """Runs several commands in turns; gives the median of each figure."""

    def run(command: list[str]) -> dict[str, float]:
        return measure(fresh_folder(), *command)

    return take_turns({kind: partial(run, command) for kind, command in commands.items()}, turns)


def sweep(what: str, *kinds: str) -> None:
    """Measures a sweep of 1,000 tasks beside the limit, and other kinds of it."""
    print(what)
    swept = in_turns(["limit", "blocks", *kinds], 1000, 20, turns=3)
    for kind, one in swept.items():
        print(f"    {kind:<10} wall {one['wall']:.2f} s   CPU {one['cpu']:.2f} s")
    line("sweep: wall, ours / limit", swept["blocks"]["wall"] / swept["limit"]["wall"], 1.5)


def main() -> None:
    """Measures the bars."""
    sweep("a sweep of 1,000 tasks, one after another, × 20 steps × 5 metrics (median of 3)", "raw-blocks")
    os.environ["BENCHMARK_FSYNC_MS"] = "1"
    sweep("the same on a disk that takes a millisecond longer for each file")
    del os.environ["BENCHMARK_FSYNC_MS"]

    print("a sweep of 1,000 tasks with results().best(…) in each iteration (median of 3)")
    asked = medians(
        {f"{kind} {tasks}": [kind, str(tasks)] for kind in ("plain", "asking") for tasks in (250, 1000)}, 3
    )
    wall = {kind: one["wall"] for kind, one in asked.items()}
    more = {tasks: wall[f"asking {tasks}"] - wall[f"plain {tasks}"] for tasks in (250, 1000)}
    print(f"    without {wall['plain 1000']:.2f} s, with {wall['asking 1000']:.2f} s")
    line("results().best(…) in an iteration, at 1,000 / at 250", more[1000] / more[250] / 4, 1.5)

    print("one of the numbers of a report, two times five for each iteration, in the caller (median of 5)")
    kinds = {kind: ["report", kind, "20000"] for kind in ("flat", "nested", "numpy", "limit", "raw")}
    number = {kind: one["number"] for kind, one in medians(kinds).items()}
    print("    " + ", ".join(f"{kind} {seconds * 1e6:.2f} µs" for kind, seconds in number.items()))
    line("nested dict with levels= / two flat calls", number["nested"] / number["flat"], 1.5)
    line("a scalar of numpy's in a report of five", number["numpy"] * 1e6, 0.9, "µs")

    print("pure-Python steps of 66 µs, 5 metrics each, 1,000 tasks open (median of 3)")
    kinds = {kind: ["training", kind, "1000", "60"] for kind in ("nothing", "limit", "ours", "raw")}
    steps = medians(kinds, 3)
    for kind, one in steps.items():
        print(f"    {kind:<7} step {one['step'] * 1e6:.0f} µs, the longest {one['longest'] * 1000:.1f} ms")
    line("slower by", (steps["ours"]["step"] / steps["nothing"]["step"] - 1) * 100, 20, "%")
    line("longest step", steps["ours"]["longest"] * 1000, 20, "ms")

    print(f"{MANY:,} tasks × 5 metrics, CPU time (median of 3)")
    many: dict[str, list[float]] = {"load": [], "end": [], "resume": []}
    for _ in range(3):
        folder = fresh_folder()
        for kind in ("end", "load", "resume"):
            many[kind].append(measure(folder, kind, str(MANY))["cpu"])
    for kind, bar in {"load": 0.75, "end": 2.3, "resume": 3.25}.items():
        line(f"{MANY:,} tasks: {kind}", statistics.median(many[kind]), bar, "s")


KINDS: dict[str, Callable[..., dict[str, float]]] = {
    "plain": lambda tasks: results_in_loop(int(tasks), asks=False),
    "asking": lambda tasks: results_in_loop(int(tasks), asks=True),
    "report": lambda kind, count: one_report(kind, int(count)),
    "training": lambda kind, tasks, rounds: training(kind, int(tasks), int(rounds)),
    "end": lambda tasks: many_end(int(tasks)),
    "load": lambda tasks: many_load(int(tasks)),
    "resume": lambda tasks: many_resume(int(tasks)),
}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(KINDS[sys.argv[1]](*sys.argv[2:])), flush=True)
        os._exit(0)  # raw tasks that are open would be waited for
    else:
        main()
