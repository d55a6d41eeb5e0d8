"""Run logs with generated faults: each is read, or named and skipped; no other run suffers."""

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
from clearml_taskgroup.errors import TaskGroupError

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
