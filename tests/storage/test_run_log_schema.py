"""Which lines a run log may have; with generated faults, each is read, or named and skipped."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._cli import main
from clearml_taskgroup._storage.run_log_schema import are_listed_stats, is_measure, problem_of
from clearml_taskgroup.errors import TaskGroupError

TASK = {"id": "a1", "key": "a=1", "name": "a=1", "index": 0, "attempt": 1, "params": {"a": 1}}
RUN = {"group": "g", "project": "p", "name": "n", "run": "r", "number": 1, "template": "{metric}"}
RUN |= {"mode": "offline", "parent": None, "owns_parent": True}
SKIPPED = [2, 7, False]
LINES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("run", RUN, {"shared": "job 7", "time": 1.7e9}),
    ("script", {"pid": 1, "script": {"diff": ""}}, {"warnings": ["one"]}),
    ("opening", {"key": "a=1", "attempt": 2}, {}),
    ("task", TASK, {"session": 3, "time": 0}),
    ("end", {"id": "a1", "status": "failed", "reason": "why"}, {"settled": True, "params": {}}),
    ("end", {"id": "a1", "status": "completed", "reason": ""}, {"duration": 0.5, "measures": []}),
    ("told", {"id": "a1"}, {"status": "stopped", "reason": "why", "measures": []}),
    ("params", {"id": "a1", "params": {"b": [1]}}, {}),
    ("names", {"id": "a1", "names": [["title", "series", "loss", {"fold": [0, 1]}]]}, {}),
    ("skipped", {"id": "a1", "series": ["loss", {"split": "val"}, *SKIPPED]}, {}),
    ("settled", {"id": "a1"}, {"status": "stopped", "reason": "why"}),
    ("uploaded", {}, {"id": "a1", "to": "b2"}),
    ("close", {"status": "completed", "reason": ""}, {"settled": True}),
    ("of a later version", {}, {"id": []}),
]
"""Events with the fields that they must have, and those that they may have."""
BAD: list[tuple[str, list[Any]]] = [
    ("id", ["", "../x", "a" * 129, 1]),
    ("group", ["a/b"]),
    ("parent", ["/"]),
    ("project", [None, "\ud800"]),
    ("owns_parent", [0, None]),
    ("mode", ["memory", ["offline"]]),
    ("shared", [1]),
    ("number", [True, 1.0, 2**63, -(2**63), "1"]),
    ("time", [-1, 2.5e11, float("nan"), "1", True]),
    ("duration", [float("inf"), 2**1023, None]),
    ("status", ["in_progress", ["failed"]]),
    ("settled", [1]),
    ("params", [[], {1: 2}]),
    ("script", ["x.py"]),
    ("warnings", ["one"]),
    ("measures", [{}]),
    (
        "names",
        [
            {},
            [1],
            [["t", "s", "m"]],
            [["t", "s", 1, {}]],
            [["t", "s", "m", {"a": []}]],
            [["t", "s", "m", []]],
        ],
    ),
    ("series", [["m", {}, 1, 2], ["m", {}, 1, 2.5, True], ["m", {}, None, 2, True], ["m", {}, 1, 2, 1]]),
    ("series", [["m", {"a": {}}, *SKIPPED], ["m", {"a": [[]]}, *SKIPPED], [1, {}, *SKIPPED], {}]),
]
STATS = [0.5, 1, 2, None, 0.5, 1, 2.0, 3, 7.5, 3, False]
"""How a list of statistics may begin; the rest has defaults."""


@pytest.mark.parametrize(("event", "must", "may"), LINES)
def test_what_a_line_must_and_may_have(event: str, must: dict[str, Any], may: dict[str, Any]) -> None:
    assert problem_of({"event": event, **must}) == ""
    assert problem_of({"event": event, **must, **may}) == ""
    for name in must:
        line = {"event": event, **{field: value for field, value in must.items() if field != name}}
        assert problem_of(line) == f"has a line {event!r} without {name!r}"


@pytest.mark.parametrize(("field", "values"), BAD)
def test_a_value_that_no_group_writes_is_named(field: str, values: list[Any]) -> None:
    events = [(event, fields) for event, must, may in LINES[:-1] if field in (fields := {**must, **may})]
    assert events
    for event, fields in events:
        for value in values:
            problem = problem_of({"event": event, **fields, field: value})
            assert problem.startswith(f"has a line {event!r} in which {field!r} is "), (event, value)


def test_a_line_whose_event_is_no_text_is_none_of_ours() -> None:
    assert problem_of({"event": ["run"]}) == problem_of({}) == ""


@pytest.mark.parametrize(
    ("stats", "is_valid"),
    [
        ([], True),
        ([2**1023 - 1], True),  # a value may be larger than an iteration
        ([2**1023], False),
        ([0.5, 2**63 - 1], True),
        ([0.5, 2**63], False),
        ([0.5, -(2**63)], False),
        ([0.5, 1.0], False),
        ([None], False),
        ([True], False),
        ([*STATS[:10], 0], False),  # a flag
        ([*STATS, 3, True, True], True),
        ([*STATS, 3, True, True, 1], False),
    ],
)
def test_statistics_are_checked_by_their_places(stats: list[Any], is_valid: bool) -> None:
    assert are_listed_stats(stats) == is_valid


def test_measures_of_all_versions() -> None:
    """Three to five parts: metric, context, statistics as a list or by name, names, skipped values."""
    names = [["loss", "val"]]
    entries: list[Any] = [
        ["loss", {}, STATS],
        ["loss", {"fold": 0}, {"count": 3, "last": 0.5}, names],
        ["loss", {"fold": [0]}, STATS, names, SKIPPED],
        ["loss", {"fold": None}, STATS, names, [2, None, True]],
    ]
    assert [entry for entry in entries if not is_measure(entry)] == []
    others: list[Any] = [
        [],
        {},
        ["loss", {}],
        ["loss", {}, STATS, names, SKIPPED, 1],
        [1, {}, STATS],
        ["loss", {"fold": {}}, STATS],
        ["loss", {}, STATS, [["loss"]]],
        ["loss", {}, STATS, [["loss", 1]]],
        ["loss", {}, STATS, names, [2, 7]],
        ["loss", {}, "stats"],
        ["loss", {}, {"count": True}],
        ["loss", {}, {"count": 2**63}],
        ["loss", {}, {"mood": 1}],
    ]
    assert [entry for entry in others if is_measure(entry)] == []


LOGS = 60
VALUES: list[Any] = [
    None,
    0,
    -1,
    1.5,
    True,
    "",
    "x",
    [],
    {},
    "..",
    "../../etc/passwd",
    "\0",
    "\x1b[31m",
    10**30,
]
VALUES += [10**400, 1e308, float("nan"), float("inf"), [1], {"a": 1}, [[]], "a" * 1000, "\ud800"]
VALUES += ["in_progress", "completed", "offline", "online", "agent"]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run log of a group with all kinds of lines, beside one of another group."""
    monkeypatch.setenv("COLUMNS", "120")
    with TaskGroup("fuzz", "neighbour", mode="offline", provenance=False) as group:
        group.task({"a": 1})
    with TaskGroup("fuzz", "records", mode="offline", provenance=False, catch=RuntimeError) as group:
        for task in group.sweep({"a": range(3), "s": ["x"]}):
            with task:
                for step in range(3):
                    task.report({"loss": float(step), "accuracy": 1.0}, step, split="val")
                task.report({"final": 1.0})
                if task.params["a"] == 2:
                    raise RuntimeError("bad")
    assert group.record_path is not None
    return group.record_path


def mutated(value: Any, dice: random.Random) -> Any:
    """The value with one part of it removed, replaced, or mutated itself."""
    if isinstance(value, (dict, list)) and value and dice.random() < 0.75:
        at: Any = dice.choice(list(value)) if isinstance(value, dict) else dice.randrange(len(value))
        value, chance = value.copy(), dice.random()
        if chance < 0.25:
            del value[at]
        elif chance < 0.6:
            value[at] = dice.choice(VALUES)
        else:
            value[at] = mutated(value[at], dice)
        return value
    return dice.choice(VALUES)


def with_fault(lines: list[str], dice: random.Random) -> list[str]:
    """The lines with a mutated one, a torn one, one missing, or in another order."""
    lines, at, chance = list(lines), dice.randrange(len(lines)), dice.random()
    if chance < 0.8:
        lines[at] = json.dumps(mutated(json.loads(lines[at]), dice))
    elif chance < 0.9:
        lines[at] = lines[at][: dice.randrange(len(lines[at]))]
    elif chance < 0.95:
        del lines[at]
    else:
        dice.shuffle(lines)
    return lines


def output_of(*command: str) -> str:
    """The output of a command that must not fail."""
    done = CliRunner().invoke(main, list(command))
    assert done.exit_code == 0, (command, done.output, done.exception)
    return done.output


@pytest.mark.parametrize("seed", range(3))
def test_a_fault_in_one_run_log_is_its_own(log: Path, seed: int) -> None:
    """Loading gives results or an error of this package; the lists show every other run."""
    dice, lines = random.Random(seed), log.read_text().splitlines()
    for number in range(LOGS):
        log.write_text("\n".join(with_fault(lines, dice)) + "\n", errors="surrogatepass")
        with contextlib.suppress(TaskGroupError):
            str(TaskGroup.load("fuzz", "records"))
        if number % 6 == 0:
            assert "neighbour" in output_of("list")
            assert "neighbour" in output_of("pending")
            runs = json.loads(output_of("pending", "--json").partition("[")[2].join(["[", ""]))
            assert "neighbour" in {run["group"] for run in runs}
