"""Whatever is passed: each outcome is that of a small model, or one error of the package."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from random import Random
from typing import Any, TypeVar

import attrs
import numpy as np
import pytest

from clearml_taskgroup import GroupTask, Metric, NameTemplate, TaskGroup, figures
from clearml_taskgroup.errors import TaskGroupError, TaskGroupWarning
from clearml_taskgroup.testing import MemoryStore, recording
from tests.conftest import Seeds
from tests.support import name_model
from tests.support.generated import (
    ANY,
    TEXTS,
    Broken,
    Colour,
    Level,
    Made,
    Permission,
    Shade,
    Spoken,
    Word,
    cyclic,
    inner_parameters,
    nested,
    parameters,
    value,
    values_of,
)
from tests.support.name_model import Refused, TaskModel, Template
from tests.support.runs import kill

T = TypeVar("T")
EXAMPLES = {"memory": 150, "disabled": 50, "offline": 50}
"""How many groups of each kind `make test` makes; `.ci/run` makes fifteen times as many."""

NOISE: list[Callable[[], Any]] = [
    *(lambda: None, lambda: 0, lambda: -1, lambda: 1.5, lambda: math.nan, lambda: math.inf, lambda: True),
    *(lambda: "", lambda: " ", lambda: "x", lambda: "\ud800", lambda: b"x", lambda: 10**5000, lambda: 1j),
    *(list, dict, tuple, set, object, Broken, cyclic, lambda: nested(1000), lambda: int, lambda: Exception),
    *(lambda: BaseException, lambda: [None], lambda: [Broken()], lambda: {"a": Broken()}, lambda: ["\ud800"]),
    *(lambda: lambda: 0, lambda: iter(()), lambda: range(3), lambda: np.array([1, 2]), lambda: np.array(1)),
    *(lambda: [1, 2], lambda: ["a", 1], lambda: {1: 2}, lambda: {"a": 1}, lambda: Decimal("sNaN")),
    *(lambda: "x" * 10_000, lambda: ["x" * 10_000], lambda: Spoken(), lambda: Colour.RED, lambda: Word.RED),
    *(lambda: [[1]], lambda: [{}], lambda: ["a"], lambda: (_ for _ in "ab"), lambda: [10**5000]),
]
NAME_TEXTS = [text for text in TEXTS if text.strip()] + [
    "loss",
    "accuracy",
    "val",
    "train",
    "value",
    "a-b",
    "a_b",
]
PIECES = [
    *("{metric}", "{metric}", "{split}", "{split=value}", "{split=val}", "{fold=1}", "{flag=True}", "{task}"),
    *("{group}", "{key}", "{index}", "{task_id}", "{metric=x}", "{task=x}", "{split=}", "{a b}", "{}", "{"),
    *("}", "{{", "}}", "/", "/", "-", "_", " ", "a", "loss", "é", "{iteration}", "{split:>3}", "{split=a/b}"),
]
TEMPLATES = [
    *(
        "{metric}/{split=value}",
        "{metric}/{split}",
        "{metric}/{split=value}-{fold=1}",
        "{metric}_{split=val}",
    ),
    *(
        "{split=val}/{metric}",
        "{metric}",
        "{task}/{metric}",
        "{metric}/{task_id} {split=value}",
        "a/{metric}",
    ),
    *("{metric}/{flag=True}{fold=1}", "{metric}-{split}/{fold=None}", "{{{metric}}}/{group}{split=value}"),
]
CONTEXT_VALUES: list[Any] = [
    *("val", "train", "value", "1", 1, 1.0, True, False, None, "None", "True", 2, 0.1, "0.1", 10**20, 1e20),
    *(
        Colour.RED,
        Shade.RED,
        Word.RED,
        "red",
        "RED",
        Level.ONE,
        Permission.READ,
        Permission(8),
        Permission(0),
    ),
    *(1e16, -0.0, np.str_("val"), np.array(3), np.int64(1), np.float32(0.1), np.bool_(True), Decimal("0.5")),
    *(Fraction(1, 2), Fraction(1, 3), "a/b", "a-b", "", " ", "\x1b[31m", "x" * 300, b"x", math.nan, math.inf),
    *(
        ["val"],
        {"a": 1},
        PurePosixPath("a"),
        np.array([1]),
        np.datetime64("2026"),
        10**400,
        10**5000,
        "\ud800",
    ),
    *(Broken(), object(), 1j),
]
REPORTED: list[Any] = [
    *(0.0, 1.0, -1.5, 0.1, 3, 2, 1e-300, 3.4e38, True, np.float32(0.5), np.int64(3), np.array([0.5])),
    *(math.nan, math.inf, -math.inf, 1e39, 10**400, -(10**400), Decimal("0.5"), Decimal("1E+1000000")),
    *(Fraction(1, 3), np.bool_(True), np.float64("nan"), np.longdouble("1e4000")),
]
NOT_REPORTED: list[Any] = [
    *("1", None, b"1", [1], {"a": 1}, 1j, np.array([1, 2]), np.array([]), Broken(), object(), np.str_("1")),
    *(np.timedelta64(3, "ns"), np.timedelta64(3, "D"), np.datetime64("2026-01-01", "ns"), Decimal("sNaN")),
    10**5000,
]
ITERATIONS: list[Any] = [
    *(None, None, 0, 1, 2, 3, 5, 10, -1, 1.0, np.int64(4), np.array(6), Decimal(7), Fraction(8), 2**63 - 1),
    *(-(2**31) + 1, True, np.bool_(True), "3", b"3", 0.5, math.nan, math.inf, 2**63, -(2**31), 10**400, [1]),
    *(np.array([1, 2]), Broken(), object(), 1j, np.datetime64("2026", "ns"), Decimal("sNaN")),
    Decimal("1E+1000000"),
]


def attempt(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Calls a function; an error of the package, with a message that can be read, is a refusal."""
    try:
        return call(*args, **kwargs)
    except TaskGroupError as error:
        message = str(error)
        assert 0 < len(message) <= 500
        message.encode()
        raise Refused from error


def outcome(call: Callable[..., T], *args: Any, **kwargs: Any) -> T | type[Refused]:
    """Returns what a call returns, or `Refused`."""
    try:
        return call(*args, **kwargs)
    except Refused:
        return Refused


@attrs.define
class Story:
    """One group, what is done with it, and the model of what must come of it.

    Attributes:
        mode: The mode, or `"memory"`.
        store: The tasks in memory.
    """

    dice: Random
    mode: str
    store: MemoryStore | None
    group: TaskGroup = attrs.field(init=False)
    tasks: dict[Any, GroupTask] = attrs.field(factory=dict)
    models: dict[str, TaskModel] = attrs.field(factory=dict)
    template: Template = attrs.field(init=False)
    vocabulary: dict[str, tuple[str, dict[str, Any]]] | None = None
    task_name: name_model.Parts = attrs.field(init=False)
    is_strict: bool = False
    next_index: int = 0

    def rarely(self, chance: float = 0.06) -> bool:
        return self.dice.random() < chance

    def noise(self) -> Any:
        return self.dice.choice(NOISE)()

    # --- the constructor ---------------------------------------------------------------------------

    def texts(self) -> str:
        """A text of three or more characters, mostly."""
        if self.rarely(0.02):
            return self.dice.choice(TEXTS)
        return self.dice.choice([" {} ", "the {}", "{} of it", "{{{}}}"]).format(self.dice.choice(NAME_TEXTS))

    def a_template(self) -> Any:
        if self.rarely(0.15):
            return "".join(self.dice.choice(PIECES) for _ in range(self.dice.randrange(1, 6)))
        return self.dice.choice(TEMPLATES)

    def metrics(self) -> Any:
        """A vocabulary; sets what it means."""
        if not self.rarely(0.3):
            return None
        names = self.dice.sample(["loss", "accuracy", "é", "a/b", "x[y=1]"], 3)
        aliases = [
            (),
            ["L"],
            {"val_loss": {"split": "val"}},
            {"L": {"split": self.dice.choice(CONTEXT_VALUES)}},
        ]
        given = self.dice.choice(aliases)
        self.vocabulary = {name: (name, {}) for name in names}
        self.vocabulary |= {
            alias: (names[0], dict(given[alias]) if isinstance(given, dict) else {}) for alias in given
        }
        mode: Any = self.dice.choice(["max", "min", None])
        return [Metric(names[0], aliases=given, mode=mode, unit=self.dice.choice([None, "s"])), *names[1:]]

    def open(self) -> bool:
        """Opens the group; returns whether it is open, else its arguments were refused, as the model says."""
        arguments: dict[str, Any] = {
            "project": "/".join(self.texts() for _ in range(self.dice.choice([1, 1, 2]))),
            "name": self.texts(),
            "template": self.a_template(),
            "metrics": self.metrics(),
            "task_name": self.dice.choice(
                ["{group} {task}", "the {key}", "{task}{index}", "{index}", "x/{task}"]
            ),
            "tags": self.dice.choice([(), ["a"], ("a", "é"), iter(["a"])]),
            "mode": None if self.mode == "memory" else self.mode,
            "catch": self.dice.choice([(), ValueError, [ValueError, KeyError]]),
            "nonfinite": self.dice.choice(["skip", "skip", "raise"]),
            "capture": self.dice.choice([None, None, "console"]),
            "provenance": False,
            "resume": self.rarely(0.1),
            "retry": self.dice.choice(["new", "continue"]),
            "takeover": self.rarely(0.1),
            "close_timeout": self.dice.choice([60, 300.0, math.inf]),
        }
        free = [name for name in arguments if name not in ("mode", "provenance")]
        odd = self.dice.choice(free) if self.rarely(0.1) else None
        if odd is not None:
            arguments[odd] = self.noise()
            if odd == "metrics":
                self.vocabulary = None
        self.is_strict = odd != "nonfinite" and arguments["nonfinite"] == "raise"

        def expected() -> None:
            name_model.project(arguments["project"])
            name_model.server_name(arguments["name"])
            self.template = Template.of(arguments["template"])
            self.task_name = name_model.task_name(arguments["task_name"])
            for _, context in (self.vocabulary or {}).values():
                name_model.require(context.keys() <= self.template.fields)
                for one in context.values():
                    name_model.context_meaning(one)

        is_expected = outcome(expected) is None
        made = outcome(attempt, lambda: TaskGroup(**arguments))
        assert isinstance(made, TaskGroup) <= is_expected, arguments
        assert isinstance(made, TaskGroup) or not is_expected or odd is not None, arguments
        if not isinstance(made, TaskGroup) or made.close_timeout < 60:  # which may be too little to deliver
            return False
        if odd == "metrics" and made.vocabulary is not None:
            self.vocabulary = {name: (name, {}) for name in made.vocabulary.metrics}
        self.group = made.open()
        return True

    # --- what is done ------------------------------------------------------------------------------

    def params(self) -> dict[Any, Made]:
        found: dict[Any, Made] = dict(parameters(self.dice).items())
        if self.rarely(0.05):
            name = self.dice.choice(["", " ", 3, None, "\ud800", ("a",)])
            found[name] = value(self.dice)
        if self.rarely(0.03):
            found["x"], found["x/y"] = inner_parameters({"y": value(self.dice)}), value(self.dice)
        return found

    def add(self, params: Mapping[Any, Made], name: Any, key: Any) -> tuple[Any, TaskModel]:
        """What the model expects of a new task: its identity and all else."""
        flat = name_model.flat(params)
        identity = name_model.identity(flat, name, key)
        own = {"group": self.group.name, "index": str(self.next_index)}
        model = TaskModel(
            self.template, self.vocabulary, own, flat, self.next_index, self.is_strict, frozenset(flat)
        )
        return identity, model

    def task(self) -> None:
        """A task is opened by `group.task`."""
        params = None if self.rarely(0.1) else self.params()
        name = self.dice.choice(NAME_TEXTS) if self.rarely(0.15) else None
        key = self.dice.choice(NAME_TEXTS) if self.rarely(0.15) else None
        if_exists = self.dice.choice(["error", "return"])
        arguments: dict[str, Any] = {"params": None if params is None else values_of(params)}
        arguments |= {"name": name, "key": key, "if_exists": if_exists, "tags": ()}
        is_odd = self.rarely()
        if is_odd:
            arguments[self.dice.choice(list(arguments))] = self.noise()
        found = outcome(attempt, lambda: self.group.task(**arguments))
        if is_odd:
            if isinstance(found, GroupTask) and found.key not in self.models:  # known no further
                self.next_index += 1
            return
        expected = outcome(self.add, params or {}, name, key)
        if not isinstance(expected, tuple):
            assert found is Refused, arguments
            return
        identity, model = expected
        if identity in self.tasks:
            assert found is (self.tasks[identity] if if_exists == "return" else Refused)
            return
        self.check_new(found, identity, model, name)

    def check_new(self, found: Any, identity: Any, model: TaskModel, name: str | None = None) -> None:
        """Checks a new task, and its name; it is refused only if its ClearML name is too short."""
        if found is Refused:
            texts = {"group": self.group.name, "task": "", "key": "", "index": str(model.index)}
            known = {"".join(part if isinstance(part, str) else texts[part.name] for part in self.task_name)}
            assert any(len(text.strip()) < 3 for text in known), (
                "refused, although it has parameters and a name"
            )
            return
        assert isinstance(found, GroupTask)
        assert found.key not in self.models
        assert len({str(one) for one in self.group}) == len(self.group), "two tasks of one name"
        assert identity[0] != "key" or found.key == identity[1]
        assert name is None or str(found) in (name, f"{name}~{found.key}")
        assert found.index == model.index
        texts = {**model.own, "task": str(found), "key": found.key}
        filled = "".join(part if isinstance(part, str) else texts[part.name] for part in self.task_name)
        assert found._state.spec.task_name == name_model.server_name(filled)
        texts["task_id"] = found.id
        model.own = {field: text for field, text in texts.items() if field in self.template.fields}
        self.tasks[identity], self.models[found.key] = found, model
        self.next_index = model.index + 1

    def space(self) -> None:
        """Several tasks are opened by `group.tasks` or `group.sweep`."""
        names = self.dice.sample(["x", "C", "seed", "net/width"], self.dice.randrange(1, 3))
        if self.rarely(0.5):
            axes = {name: [value(self.dice) for _ in range(self.dice.randrange(1, 3))] for name in names}
            given: Any = {name: [made.value for made in listed] for name, listed in axes.items()}
            made: list[dict[Any, Made]] = [{}]
            for name, listed in axes.items():
                made = [{**before, name: one} for before in made for one in listed]
        else:
            made = [self.params() for _ in range(self.dice.randrange(4))]
            given = list(map(values_of, made))
        open_all = self.group.tasks if self.rarely(0.5) else lambda space: self.swept(self.group.sweep(space))
        if self.rarely():
            found = outcome(attempt, open_all, self.noise())
            assert found is Refused
            return
        found = outcome(attempt, open_all, given)
        first, seen = self.next_index, set[Any]()

        def expected() -> list[tuple[Any, TaskModel]]:
            name_model.require(made)
            listed = []
            for place, params in enumerate(made):
                self.next_index = first + place
                identity, model = self.add(params, None, None)
                name_model.require(identity not in seen | self.tasks.keys())
                seen.add(identity)
                listed.append((identity, model))
            return listed

        listed_models = outcome(expected)
        self.next_index = first
        if not isinstance(listed_models, list):
            assert found is Refused, given
            return
        if found is Refused:
            self.check_new(found, *listed_models[0])
            return
        assert isinstance(found, list)
        for task, (identity, model) in zip(found, listed_models, strict=True):
            self.check_new(task, identity, model)

    def swept(self, sweep: Any) -> list[GroupTask]:
        """Goes through a sweep; its tasks end at the next iteration."""
        return list(sweep)

    def some_task(self) -> tuple[GroupTask, TaskModel] | None:
        if not self.tasks:
            return None
        task = self.dice.choice(list(self.tasks.values()))
        return task, self.models[task.key]

    def context(self) -> dict[str, Any]:
        fields = [field for field in sorted(self.template.fields) if field not in name_model.OWN_FIELDS]
        fields = [field for field in fields if field != "metric"]
        if self.rarely(0.05):
            fields.append(self.dice.choice(["split", "epoch", "a b", "task", "metric", ""]))
        likely = self.dice.choice([CONTEXT_VALUES[:12], CONTEXT_VALUES[:12], CONTEXT_VALUES])
        return {
            field: self.dice.choice(likely)
            for field in fields
            if field not in self.template.defaults or self.rarely(0.6)
        }

    def report(self) -> None:
        """Values are reported to a task."""
        chosen = self.some_task()
        if chosen is None:
            return
        task, model = chosen
        model.status = task.status
        names = ["loss", "accuracy", "a/b", "a-b", *self.dice.sample(NAME_TEXTS, 2)]
        metrics: list[Any] = list(self.vocabulary or names)
        if self.rarely():
            metrics = ["", " ", "\ud800", 3, None, Word.RED, "x[y=1]", *metrics]
        pool = [*REPORTED, *NOT_REPORTED] if self.rarely(0.1) else REPORTED[:7]
        if self.rarely(0.15):
            pool = REPORTED
        iteration = self.dice.choice(ITERATIONS if self.rarely(0.15) else ITERATIONS[:8])
        for _ in range(self.dice.randrange(1, 4)):
            values = {
                metric: self.dice.choice(pool)
                for metric in self.dice.sample(metrics, self.dice.randrange(1, min(3, len(metrics)) + 1))
            }
            context = self.context()
            if self.rarely(0.03):
                self.refused_report(task, iteration)
                continue
            if self.rarely(0.15) and not {"split", "metric"} & context.keys():
                levels = self.dice.choice([("split", "metric"), ("metric", "split"), ["metric"]])
                self.nested_report(task, model, values, iteration, levels, context)
            else:
                parts = [(metric, context, one) for metric, one in values.items()]
                self.check_report(task, model, parts, iteration, values, context)
            if type(iteration) is int:
                iteration += self.dice.choice([1, 1, 1, 0, -2])

    def nested_report(
        self,
        task: GroupTask,
        model: TaskModel,
        values: dict[Any, Any],
        iteration: Any,
        levels: Any,
        context: Any,
    ) -> None:
        splits = self.dice.sample([one for one in CONTEXT_VALUES[:9] if one != 1.0], 2)
        parts, given = [], dict[Any, Any]()
        for metric, one in values.items():
            if list(levels) == ["metric"]:
                given[metric] = one
                parts.append((metric, context, one))
        if len(levels) == 2:
            outer, inner = (splits, values) if levels[0] == "split" else (values, splits)
            for first in outer:
                for second in inner:
                    metric, split = (second, first) if levels[0] == "split" else (first, second)
                    given.setdefault(first, {})[second] = values[metric]
                    parts.append((metric, {**context, "split": split}, values[metric]))
        self.check_report(task, model, parts, iteration, given, {**context, "levels": levels})

    def check_report(
        self, task: GroupTask, model: TaskModel, parts: Any, iteration: Any, values: Any, context: Any
    ) -> None:
        bound = {field: context[field] for field in context if field != "levels" and self.rarely(0.1)}
        given = {field: one for field, one in context.items() if field not in bound}
        target = outcome(attempt, lambda: task.bind(**bound)) if bound else task
        found: Any = Refused
        if not isinstance(target, type):
            found = outcome(attempt, lambda: target.report(values, iteration, **given))
        expected = outcome(model.report, parts, iteration)
        assert found == expected, (values, iteration, context, "expected", expected)

    def refused_report(self, task: GroupTask, iteration: Any) -> None:
        levels: Any = self.dice.choice([None, ["split"], ["x"], 3, "metric", (1, "metric"), [[]]])
        values: Any = self.dice.choice(
            ["loss", 3, [("loss", 1.0)], None, Broken(), cyclic(), {"loss": cyclic()}]
        )
        assert outcome(attempt, lambda: task.report(values, iteration, levels=levels)) is Refused

    def name(self) -> None:
        """The name of a metric is asked for."""
        chosen = self.some_task()
        if chosen is None:
            return
        task, model = chosen
        metric = self.dice.choice([*(self.vocabulary or ()), *self.dice.sample(TEXTS, 2), "\ud800", 3])
        context = {field: one for field, one in self.context().items() if field != "metric"}
        found = outcome(attempt, lambda: tuple(task.metric(metric, **context)))
        assert found == outcome(model.name, metric, context)

    def set_parameters(self) -> None:
        """Parameters are added to a task."""
        chosen = self.some_task()
        if chosen is None:
            return
        task, model = chosen
        params = self.params()
        if self.rarely():
            outcome(attempt, lambda: task.set_parameters(Broken()))  # type: ignore[arg-type]
            return
        found = outcome(attempt, lambda: task.set_parameters(values_of(params)))

        def expected() -> None:
            name_model.require(task.status == "in_progress")
            flat = name_model.flat(params)
            name_model.require(all(made.stored for made in flat.values()))
            for name in flat.keys() & model.identity:
                name_model.require(flat[name].meaning == model.params[name].meaning)
            model.params |= {name: made for name, made in flat.items() if name not in model.identity}

        assert found == outcome(expected), params

    def end(self) -> None:
        """A task ends."""
        chosen = self.some_task()
        if chosen is not None and self.rarely(0.5):
            task = chosen[0]
            status = self.dice.choice(["completed", "failed", "stopped"])
            reason = () if status == "completed" else (self.dice.choice(TEXTS),)
            before = task.status
            found = outcome(attempt, getattr(task, f"mark_{status}"), *reason)
            assert found is (None if before == "in_progress" else Refused)
            assert task.status == (status if before == "in_progress" else before)

    def get(self) -> None:
        """A task is looked for by its parameters."""
        chosen = self.some_task()
        if chosen is None:
            return
        task, model = chosen
        assert self.group.get(key=task.key) is task
        assert self.group.get(name=str(task)) is task
        if all(made.identified for made in model.params.values()):
            found = outcome(attempt, lambda: self.group.get(task.params))
            assert found in (task, Refused)
        wanted: dict[Any, Any] = {self.dice.choice(["x", 3, ""]): self.noise()}
        assert outcome(attempt, self.group.get, wanted) in (
            *self.group,
            Refused,
        )

    def look(self) -> None:
        """Results are asked for whatever comes to mind."""
        results = self.group.results()
        metric = self.dice.choice(["loss", "accuracy", "loss[split=val]", self.noise()])
        arguments: dict[str, Any] = {
            "mode": self.dice.choice(["max", "min"]),
            "of": self.dice.choice(["last", "mean"]),
        }
        if self.rarely(0.3):
            arguments[self.dice.choice(list(arguments))] = self.noise()
        if self.rarely(0.3):
            arguments[self.dice.choice(["split", "fold", "a b"])] = self.dice.choice(CONTEXT_VALUES)
        context = {field: one for field, one in arguments.items() if field not in ("mode", "of")}
        over = self.dice.choice(["x", "seed", ["x", "C"], self.noise()])
        calls: list[Callable[[], Any]] = [
            lambda: results.best(metric, **arguments),
            lambda: results.sort(metric, **arguments),
            lambda: results.find(metric, **context),
            lambda: results.history(metric, **context).to_records(),
            lambda: results.mode_of(metric),
            lambda: results.aggregate(over, of=arguments["of"]).to_records(),
            lambda: results.where({self.dice.choice(["x", "C", "status", "name"]): self.noise()}),
            lambda: results.where(x=self.dice.choice(TEXTS)),
            lambda: results.with_means(),
        ]
        outcome(attempt, self.dice.choice(calls))

    def check_best(self, results: Any) -> None:
        """The best task is that with the best last value, of those that count."""
        counts = {row.key for row in results if row.status in ("completed", "in_progress")}
        values: dict[name_model.Key, list[tuple[float, int]]] = {}
        contexts: dict[name_model.Key, Mapping[str, Any]] = {}
        for task in self.tasks.values():
            model = self.models[task.key]
            contexts |= model.contexts
            for key, curve in model.curves.items():
                last = curve.stats()["last"]
                if curve.has_values and task.key in counts and not math.isnan(last):
                    values.setdefault(key, []).append((last, -model.index))
        for key in list(contexts)[:3]:
            best: Any = outcome(attempt, results.best, key[0], mode="max", **contexts[key])
            if key not in values:
                assert best is Refused
            else:
                value, index = max(values[key])
                assert best.value == value, (key, values, best)
                assert best.key == next(row.key for row in results if row.index == -index)

    # --- what comes of it --------------------------------------------------------------------------

    def check_results(self, results: Any, is_exact: bool = True) -> None:
        """Rows have the tasks' parameters, names and statistics."""
        rows = {row.key: row for row in results}
        assert len(rows) == len(results)
        for task in self.tasks.values():
            model, row = self.models[task.key], rows[task.key]
            assert (row.name, row.index, row.id) == (str(task), model.index, task.id)
            assert row.params.keys() == model.params.keys()
            for name, made in model.params.items():
                shown = row.params[name]
                assert matches(shown, made.shown), (name, shown, made)
            self.check_values(row, model, is_exact)
        self.check_best(results)

    def check_values(self, row: Any, model: TaskModel, is_exact: bool) -> None:
        found = {key_meaning(key): key for key in row.stats}
        assert found.keys() == {key for key, curve in model.curves.items() if curve.has_values}
        diverged = {key_meaning(key) for key in row.diverged}
        expected_diverged = {key for key, curve in model.curves.items() if curve.has_diverged}
        assert diverged == expected_diverged, (diverged ^ expected_diverged, model.curves)
        for meaning, key in found.items():
            curve, stats = model.curves[meaning], row.stats[key]
            if not is_exact and not curve.is_increasing:
                continue  # the mode `disabled` has no curve to read
            if is_exact and curve.points and self.rarely(0.3):
                history = row.history(key.metric, **model.contexts[meaning])
                assert dict(zip(history.iterations, history.values, strict=True)) == curve.points
            expected = curve.stats()
            for field, expectation in expected.items():
                assert getattr(stats, field) == pytest.approx(expectation, rel=1e-12, nan_ok=True), field

    def check_store(self, members: Mapping[str, Any]) -> None:
        """What is stored of each task is what was reported, in order."""
        for task in self.tasks.values():
            model, stored = self.models[task.key], members[task.id]
            assert stored.scalars == model.scalars
            assert stored.single_values == model.singles


def key_meaning(key: Any) -> name_model.Key:
    """What a metric key of the results means, as the model has it."""
    meanings = []
    for field, given in key.context:
        one = given[0] if isinstance(given, tuple) else given
        enums = {
            f"{type(e).__module__}.{type(e).__qualname__}.{e.name}": e for e in (*Colour, *Shade, *Level)
        }
        enums |= {f"{type(e).__module__}.{type(e).__qualname__}.{e.name}": e for e in (Permission.READ,)}
        enums |= {f"{Permission.__module__}.Permission({n})": Permission(n) for n in (0, 8)}
        one = enums.get(one, one) if isinstance(one, str) else one
        meanings.append((field, name_model.context_meaning(one)))
    return key.metric, frozenset(meanings)


def matches(found: Any, expected: Any) -> bool:
    """Whether results show a value as predicted."""
    if expected is ANY:
        return True
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(matches, found, expected))
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(matches(found[key], expected[key]) for key in expected)
        )
    is_bool = isinstance(expected, bool)
    return isinstance(found, bool) is is_bool and bool(found == expected)


@contextlib.contextmanager
def opened(mode: str) -> Iterator[MemoryStore | None]:
    """Where the group's tasks go."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TaskGroupWarning)
        if mode == "memory":
            with recording() as store:
                yield store
        else:
            yield None


@attrs.frozen
class Stored:
    """What a session folder holds."""

    scalars: Mapping[tuple[str, str], list[tuple[int, float]]]
    single_values: Mapping[str, float]


def stored_offline(cache: Path) -> dict[str, Stored]:
    found = {}
    for folder in cache.glob("offline/*/"):
        lines = (
            (folder / "metrics.jsonl").read_text().splitlines()
            if folder.joinpath("metrics.jsonl").exists()
            else []
        )
        scalars: dict[tuple[str, str], list[tuple[int, float]]] = {}
        singles: dict[str, float] = {}
        for event in itertools.chain.from_iterable(map(json.loads, lines)):
            if event["type"] != "training_stats_scalar":
                continue
            if event["iter"] == -(2**31):
                singles[event["variant"]] = event["value"]
            else:
                name = event["metric"], event["variant"]
                scalars.setdefault(name, []).append((event["iter"], event["value"]))
        found[folder.name] = Stored(scalars, singles)
    return found


def tell(dice: Random, mode: str, cache: Path) -> None:
    """Makes one group, and compares all that comes of it with the model."""
    with opened(mode) as store:
        story = Story(dice, mode, store)
        if not story.open():
            return
        killed = False
        try:
            acts = [story.task, story.task, story.space, *[story.report] * 4]
            acts += [story.look, story.name, story.set_parameters, story.end, story.get]
            story.task()
            for _ in range(dice.randrange(1, 9)):
                dice.choice(acts)()
            is_exact = mode != "disabled"
            live = story.group.results()
            story.check_results(live, is_exact)
            for text in (str(live), repr(live), live.to_csv(), live.to_json()):
                text.encode()
            if dice.random() < 0.05:
                cache.mkdir(exist_ok=True)
                live.save_html(cache / "report.html").read_text("utf-8")
                live.to_pandas()
            if mode == "offline" and dice.random() < 0.3:
                killed = True
                kill(story.group)
        finally:
            if not killed:
                story.group.close()
        if not killed:
            story.check_results(story.group.results(), is_exact)
        if store is not None:
            story.check_store({member.id: member for member in store.members})
        if mode == "offline" and len(story.group):
            story.check_store(stored_offline(cache))
            loaded = TaskGroup.load(story.group.project, story.group.name, mode="offline")
            story.check_results(loaded)
            assert [row.status for row in loaded] == [
                "stopped" if task.status == "in_progress" else task.status
                for task in sorted(story.group, key=lambda task: task.index)
            ]


@pytest.mark.parametrize("times", [1, pytest.param(15, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", EXAMPLES)
def test_each_outcome_is_that_of_the_model(mode: str, times: int, tmp_path: Path, seeds: Seeds) -> None:
    """Templates, names, contexts, values, iterations, parameters, spaces and arguments of the constructor."""
    share = EXAMPLES[mode] / sum(EXAMPLES.values())
    for seed in seeds(EXAMPLES[mode] * times, share):
        try:
            tell(Random(seed), mode, tmp_path / "cache")
        except BaseException as error:
            error.add_note(f"again: pytest -k {mode} --examples 1 --seed {seed} {__file__}")
            raise
        finally:
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)


# --- calls ---------------------------------------------------------------------------------------------


def calls(group: TaskGroup, folder: Path) -> dict[str, Callable[[Any], Any]]:
    """Public calls with one argument that may be anything."""
    task, number = group.task({"C": 1, "seed": 1}), itertools.count()
    task.report({"loss": 1.0}, 1)
    results = group.results()
    means = results.aggregate()
    report = folder / "report.html"
    load, name, project = TaskGroup.load, group.name, group.project

    def space() -> dict[str, list[int]]:
        return {"odd": [next(number)]}

    return {
        "sweep queue": lambda odd: group.sweep(space(), queue=odd),
        "sweep limit": lambda odd: group.sweep(space(), limit=odd),
        "sweep progress": lambda odd: group.sweep(space(), progress=odd),
        "map fn": lambda odd: group.map(odd, space()),
        "map executor": lambda odd: group.map(str, space(), executor=odd),
        "map progress": lambda odd: group.map(str, space(), progress=odd),
        "flush": lambda odd: group.flush(odd),
        "load project": lambda odd: load(odd),
        "load project beside a name": lambda odd: load(odd, name),
        "load name": lambda odd: load(project, odd),
        "load run": lambda odd: load(project, name, odd),
        "load mode": lambda odd: load(project, name, mode=odd),
        "load metrics": lambda odd: load(project, name, metrics=odd),
        "objective fn": lambda odd: group.objective(odd),
        "objective metric": lambda odd: group.objective(len, metric=odd),
        "summary_writer": lambda odd: task.summary_writer(odd),
        "get": lambda odd: group.get(odd),
        "get key": lambda odd: group.get(key=odd),
        "get name": lambda odd: group.get(name=odd),
        "get value": lambda odd: group.get(C=odd),
        "upload": lambda odd: TaskGroup.upload(odd),
        "NameTemplate": lambda odd: NameTemplate(odd),
        "render metric": lambda odd: NameTemplate("{metric}/{a}").render(odd, a=1),
        "render context": lambda odd: NameTemplate("{metric}/{a}").render("m", a=odd),
        "Metric name": lambda odd: Metric(odd),
        "Metric aliases": lambda odd: Metric("a", aliases=odd),
        "Metric mode": lambda odd: Metric("a", mode=odd),
        "Metric unit": lambda odd: Metric("a", unit=odd),
        "bind": lambda odd: task.bind(split=odd).report({"loss": 1.0}, 1),
        "metric": lambda odd: task.metric(odd),
        "metric context": lambda odd: task.metric("m", split=odd),
        "metric value": lambda odd: task.metric("m").report(odd, 1),
        "metric iteration": lambda odd: task.metric("m").report_plotly({}, odd),
        "report values": lambda odd: task.report(odd),
        "report value": lambda odd: task.report({"v": odd}, 1),
        "report iteration": lambda odd: task.report({"v": 1.0}, odd),
        "report levels": lambda odd: task.report({"v": 1.0}, 1, levels=odd),
        "report more": lambda odd: task.report({"v": 1.0}, 1, odd),
        "set_parameters": lambda odd: task.set_parameters(odd),
        "set_parameters value": lambda odd: task.set_parameters({"p": odd}),
        "task params": lambda odd: group.task(odd),
        "task value": lambda odd: group.task({"value": odd, "n": next(number)}),
        "task tags": lambda odd: group.task({"n": next(number)}, tags=odd),
        "tasks space": lambda odd: group.tasks(odd),
        "tasks values": lambda odd: group.tasks({"q": odd}),
        "tasks item": lambda odd: group.tasks([odd]),
        "best metric": lambda odd: results.best(odd),
        "best mode": lambda odd: results.best("loss", mode=odd),
        "best of": lambda odd: results.best("loss", mode="max", of=odd),
        "best context": lambda odd: results.best("loss", mode="max", split=odd),
        "where value": lambda odd: results.where(C=odd),
        "where status": lambda odd: results.where(status=odd),
        "history": lambda odd: results.history(odd),
        "mode_of": lambda odd: results.mode_of("loss", odd),
        "aggregate over": lambda odd: results.aggregate(odd),
        "aggregate of": lambda odd: results.aggregate(of=odd),
        "aggregate best": lambda odd: means.best(odd, mode="max"),
        "row value": lambda odd: results[0].value(odd),
        "row of": lambda odd: results[0].value("loss", of=odd),
        "save_html metrics": lambda odd: results.save_html(report, metrics=odd),
        "save_html over": lambda odd: results.save_html(report, over=odd),
        "curves": lambda odd: figures.curves(results, odd),
        "curves over": lambda odd: figures.curves(results, "loss", over=odd),
        "box by": lambda odd: figures.box(results, "loss", by=odd),
        "scatter x": lambda odd: figures.scatter(results, "loss", x=odd),
        "heat_map mode": lambda odd: figures.heat_map(results, "loss", mode=odd),
        "mark_failed": lambda odd: task.mark_failed(odd) if not isinstance(odd, str) else None,
    }


def test_any_argument_of_a_call_is_taken_or_refused(tmp_path: Path) -> None:
    """By an error of the package, whatever the argument's own class does."""
    with opened("memory"), TaskGroup("the project", "odd calls") as group:
        for name, call in calls(group, tmp_path).items():
            for make in NOISE:
                odd = make()
                try:
                    outcome(attempt, call, odd)
                except Exception as error:
                    error.add_note(f"{name}: {type(odd).__name__}, number {NOISE.index(make)} of NOISE")
                    raise
