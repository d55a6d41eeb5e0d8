"""Sweeps whose figures are looked at, and parts of a figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from clearml_taskgroup import Metric, Results, TaskGroup
from clearml_taskgroup._model.display_name import display_name
from clearml_taskgroup._model.metrics import ByMetric
from clearml_taskgroup._results.rows import Row, RowValue

METRICS: list[str | Metric] = [
    Metric("loss", mode="min", unit="nats"),
    Metric("accuracy", mode="max"),
    "f1",
    "time",
]


def row_of(params: Mapping[str, Any], index: int = 0, name: str = "", **options: Any) -> Row:
    """A task without values, as no group has logged it."""
    nothing: Any = None
    known: dict[str, Any] = {"status": "completed", "status_reason": "", "stats": ByMetric({})}
    return Row(
        key=f"{index:012x}",
        name=name or display_name(params),
        index=index,
        id=str(index),
        attempt=1,
        params=params,
        duration=1.0,
        url=None,
        diverged=frozenset(),
        names={},
        lookup=nothing,
        reader=nothing,
        **known | options,
    )


def row_values(
    space: Iterable[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], float]
) -> list[RowValue]:
    """A task for each configuration, with its value."""
    return [(row_of(params, index), value(params)) for index, params in enumerate(space)]


def swept(space: Any, value: Any, steps: int = 3, **ends: str) -> Results:
    """A sweep that reports `loss` at each step; `ends` says how the tasks of some places end."""
    with TaskGroup("digits", "sweep", metrics=METRICS) as group:
        for at, task in enumerate(group.tasks(space)):
            for step in range(steps):
                task.report({"loss": value(task.params, step)}, step, split="val")
            if f"at_{at}" in ends:
                getattr(task, f"mark_{ends[f'at_{at}']}")("no memory")
    return group.results()


def lines_of(figure: Any) -> list[Any]:
    """The traces that are lines, without bands and colour bars."""
    return [trace for trace in figure.data if trace.line.width and trace.hovertemplate]


def words_of(figure: Any) -> str:
    """All of the figure as text."""
    return str(figure.to_json())


def axes_of(figure: Any) -> list[str]:
    """What is below the axes of parallel coordinates."""
    return list(figure.layout.xaxis.ticktext)


def grid(params: dict[str, Any], step: int) -> float:
    """A loss that falls with the step."""
    return float(params["C"] + 0.1 * params["seed"] - 0.1 * step)


def random_search(count: int = 60) -> Results:
    """Tasks with parameters of all kinds."""
    space = [
        {
            "lr": 10 ** -(1 + at % 37 / 10),
            "optimizer": ["adam", "sgd"][at % 2],
            "depth": [2, None, 5][at % 3],
            "augment": at % 4 == 0,
            "layers": [[64], [64, 32]][at % 2],
            "dataset": "digits",
            **({"momentum": 0.9 + at / 1000} if at % 2 else {}),
        }
        for at in range(count)
    ]
    return swept(space, lambda params, _: abs(math.log10(params["lr"]) + 3) + params["augment"], steps=1)


def study(values: list[float | str]) -> Results:
    """Trials as Optuna's; a text is the reason of a task that was stopped after two data points."""
    with TaskGroup("digits", "study", metrics=METRICS) as group:
        for at, value in enumerate(values):
            task = group.task({"x": at}, name=f"trial-{at:04}", key=f"{at:012x}")
            for step in range(2):
                task.report({"loss": 9.0 if isinstance(value, str) else value}, step)
            if isinstance(value, str):
                task.mark_stopped(value)
    return group.results()
