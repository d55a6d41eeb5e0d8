"""Tables of the command: no number is ever cut, and what has no room is named."""

from __future__ import annotations

import re

import pytest

from clearml_taskgroup import Metric, TaskGroup
from clearml_taskgroup._cli import results
from tests.support.cli import command


def on_terminal(monkeypatch: pytest.MonkeyPatch, width: int, *arguments: object) -> list[str]:
    """The lines that the command prints on a terminal."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    text = re.sub(r"\x1b\[[0-9;]*m", "", command(*arguments).stdout)
    return [line.rstrip() for line in text.splitlines()]


@pytest.fixture
def group() -> TaskGroup:
    """A run with long names, many metrics, and means with their spread."""
    project = "a project with a long name/and another below it"
    with TaskGroup(project, "a group with a name as long", mode="offline", provenance=False) as group:
        for task in group.sweep({"C": [0.5, 10], "kernel": ["a very long name"], "seed": range(2)}):
            with task:
                value = 123456.789 + task.params["seed"]
                task.report({f"metric{letter}": value for letter in "abcdefgh"}, 1, split="validation")
    return group


@pytest.mark.parametrize("width", [50, 60, 80, 200])
def test_tables_fit_a_terminal(group: TaskGroup, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is wider than the terminal, and no digit of a run's id and no name of a metric is lost."""
    for arguments in (("list",), ("pending",), ("show", group.id), ("show", group.id, "--over", "seed")):
        lines = on_terminal(monkeypatch, width, *arguments)
        rest = [line for line in lines if not line.startswith(("file:", "bring", "throw", "a project"))]
        assert max(map(len, rest)) <= width
        if arguments[0] == "show":
            assert all(f"metric{letter}" in "".join(lines) for letter in "abcdefgh")
            assert "…" not in "".join(lines)
    assert any(re.match(rf"{group.run[:12]}\b", line) for line in on_terminal(monkeypatch, width, "list"))


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_means_are_whole(group: TaskGroup, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mean stands in one line with its spread, in as many columns as there is room for."""
    lines = on_terminal(monkeypatch, width, "show", group.run, "--over", "seed")
    means = [re.findall(r"1.235e\+05(?: ± 0.71)?(?=\s|$)", line) for line in lines]
    shown = {len(found) for found in means if found}
    assert len(shown) == 1
    assert {mean for found in means for mean in found} == {"1.235e+05 ± 0.71"}
    (missing,) = re.findall(r"no room for ([^;]*);", " ".join(lines))
    assert len(missing.split(", ")) == 8 - shown.pop()


@pytest.mark.parametrize("width", [40, 60, 80])
def test_the_verdict_is_omitted_last(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a comparison a narrow terminal has the answer, without p values and the interval."""
    with TaskGroup("wine", "svm", mode="offline", provenance=False) as group:
        for task in group.tasks({"C": [1, 2, 3], "seed": range(3)}):
            params = task.params
            task.report({"loss": params["C"] + params["seed"] * 1.001 ** params["C"]}, 1, split="validation")
    arguments = ("compare", group.run, "loss", "--to", "C=1")
    lines = on_terminal(monkeypatch, width, *arguments)
    assert max(map(len, lines[:5])) <= width
    assert lines[0].split()[-1] == "verdict"
    assert [line.split()[-1] for line in lines if line.startswith(("C=2", "C=3"))] == ["worse", "worse"]
    (missing,) = re.findall(r"no room for ([^;]*);", " ".join(lines))
    assert missing.startswith({40: "loss", 60: "95 % interval, p", 80: "p, p (Holm)"}[width])
    assert missing.endswith("p (Holm)")
    assert "p (Holm)  verdict" in on_terminal(monkeypatch, 120, *arguments)[0]
    assert "intervals are not" in " ".join(lines)


def test_what_fits_is_shown_whole(group: TaskGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that is wide enough shows every column, and says nothing of any."""
    lines = on_terminal(monkeypatch, 400, "show", group.run)
    assert not any("no room" in line for line in lines)
    assert sum("metrich[split=validation]" in line for line in lines) == 1


def test_reasons_fit_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with TaskGroup("the project", "the group", mode="offline", provenance=False) as group:
        group.task({"C": 1}).mark_failed("too large " * 20)
    lines = on_terminal(monkeypatch, 60, "show", group.run)
    (reason,) = [line for line in lines if line.startswith("  C=1: ")]
    assert (len(reason), reason[-1]) == (60, "…")


def test_headings_are_broken_before_context_and_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 80 columns no heading is broken within a word or a context, and names have two lines at most."""
    metrics: list[str | Metric] = [Metric("epoch_time", unit="s"), "accuracy", "precision_at_1"]
    with TaskGroup("the project", "the group", mode="offline", provenance=False, metrics=metrics) as group:
        for task in group.tasks({"optimizer": ["adam", "sgd"], "learning_rate": [0.001], "seed": range(2)}):
            for split in ("train", "validation"):
                task.report({"epoch_time": 1.0, "accuracy": 0.5, "precision_at_1": 0.5}, 1, split=split)
    lines = on_terminal(monkeypatch, 80, "show", group.run)
    rule = next(number for number, line in enumerate(lines) if set(line) == {"-", " "})
    heads = " ".join(lines[1:rule]).split()
    parts = {"task", "status", "epoch_time", "accuracy", "precision_at_1", "(s)", "[split=train]"}
    assert set(heads) <= parts | {"[split=validation]", "accuracy[split=train]"}
    assert {"epoch_time", "[split=train]", "(s)", "accuracy"} <= set(heads)
    until = next(number for number, line in enumerate(lines) if line.startswith("no room"))
    assert until - rule - 1 <= 2 * 4


def test_a_name_cannot_steer_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters that cannot be printed are shown as such, on a pipe as well."""
    with TaskGroup("the project", "the group", mode="offline", provenance=False) as group:
        group.task({"C": 1}, name="red \x1b[31m\nline").report({"loss": 1.0}, 1)
    text = command("show", group.run).stdout
    assert "\x1b" not in text
    assert len(text.splitlines()) == 6


def test_list_has_a_line_for_each_run(group: TaskGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 80 columns nothing is folded: the middle of long names is left out, dates are whole."""
    lines = on_terminal(monkeypatch, 80, "list")
    assert len(lines) == 3
    assert max(map(len, lines)) <= 80
    assert re.match(
        rf"{group.run[:12]}  a proj\S*.*…\S*.*ng  1 +4 completed  \d{{4}}-\d\d-\d\d \d\d:\d\d", lines[2]
    )


def test_list_shows_twenty_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "MAX_RUNS", 2)
    for _ in range(3):
        with TaskGroup("the project", "the group", mode="offline", provenance=False) as group:
            group.task({"C": 1})
    lines = command("list").stdout.splitlines()
    assert (len(lines), lines[-1]) == (5, "… and 1 more: -n 3")
    assert len(command("list", "-n", "3").stdout.splitlines()) == 5
