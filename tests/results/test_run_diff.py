"""What changed between two runs: configurations, values, statuses, code."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from clearml_taskgroup import CodeVersion, Results, TaskGroup
from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._model.status import ABANDONED
from clearml_taskgroup._results.history import Reader
from clearml_taskgroup._storage import script_detection
from clearml_taskgroup._storage.memory import MemoryBackend
from clearml_taskgroup._storage.script_detection import Detected
from clearml_taskgroup.errors import ArgumentError, NoSuchRunError
from tests.loopback import LoopbackServer
from tests.support.rows import ABOUT, made_results, made_row, metric_key

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SCRIPT: dict[str, Any] = {
    "repository": "git@host:me/repo.git",
    "branch": "main",
    "version_num": COMMIT,
    "entry_point": "train.py",
    "working_dir": ".",
    "diff": "+lr = 1\n",
    "requirements": {"pip": "# Python 3.11\nnumpy == 1.26\ntorch==2.2\nmine @ git+https://host/mine\n"},
}


def run(cs: list[int], script: dict[str, Any], monkeypatch: pytest.MonkeyPatch, **options: Any) -> TaskGroup:
    """Makes a run whose accuracy grows with the run's number; from the second on C=2 fails."""
    monkeypatch.setattr(sdk, "detect_script", lambda: (script, []))
    monkeypatch.setattr(script_detection, "start", lambda log: Detected(script))
    with TaskGroup("digits", "sweep", catch=MemoryError, **options) as group:
        for task in group.sweep({"C": cs}):
            with task:
                task.report({"accuracy": task.params["C"] / 8 + group.results().about.run_number / 16}, 1)
                if task.params["C"] == 2 and group.results().about.run_number > 1:
                    raise MemoryError("too large")
    return group


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_a_diff_has_all_that_changed(mode: Any, monkeypatch: Any, loopback: LoopbackServer) -> None:
    """Added, removed and common configurations, with values, statuses and code; from a disk and a server."""
    run([1, 2, 3], SCRIPT, monkeypatch, mode=mode)
    changed = SCRIPT | {"version_num": "f" * 40, "diff": "+lr = 2\n+x\n"}
    changed |= {"requirements": {"pip": "numpy == 2\nx"}}
    group = run([1, 2, 4], changed, monkeypatch, mode=mode)
    found = TaskGroup.load("digits", "sweep", run=2, mode=mode).diff(run=1)
    assert [(row.name, row.change) for row in found] == [
        *(("C=1", "in both"), ("C=2", "in both"), ("C=4", "added"), ("C=3", "removed"))
    ]
    assert ([row.name for row in found.added], [row.name for row in found.removed]) == (["C=4"], ["C=3"])
    records = found.to_records()
    values = [[one[f"accuracy.{what}"] for what in ("before", "after", "difference")] for one in records]
    assert values == [
        [3 / 16, 4 / 16, 1 / 16],
        [5 / 16, None, None],
        [None, 10 / 16, None],
        [7 / 16, None, None],
    ]
    assert (records[1]["status.before"], records[1]["status.after"]) == ("completed", "failed")
    assert found.code_changes() == [
        "commit: 0123456789ab → ffffffffffff",
        "uncommitted changes: they differ (3 lines of their diffs)",
        "package mine: git+https://host/mine → none",
        "package numpy: 1.26 → 2",
        "package torch: 2.2 → none",
        "package x: none → ?",
    ]
    assert "+x" in found.code_diff().splitlines()[-1]
    assert group.results().diff(run=1).to_records() == records
    assert group.results().diff(run=1).code_changes() == found.code_changes()
    text = repr(found)
    for part in ("0.1875 → 0.25 (+0.0625)", "completed → failed", "run 1 → run 2: 2 configurations in both"):
        assert part in text
    assert "accuracy: 1 better, 0 worse, 0 equal; mean difference +0.0625" in text


def test_the_run_before_is_the_default(monkeypatch: Any) -> None:
    """A run is compared with the one before, by number or with given results; the first one has none."""
    groups = [run([1], SCRIPT, monkeypatch, mode="offline") for _ in range(2)]
    first, second = (group.results() for group in groups)
    found = second.diff()
    assert (found.before.run, found.after.run) == (first.about.run, second.about.run)
    assert second.diff(first).to_records() == found.to_records()
    assert found.code_changes() == ["code: the same commit, uncommitted changes and packages"]
    assert second.diff(second)[0].change == "in both"
    assert "0.25 (=)" in repr(second.diff(second))
    with pytest.raises(ArgumentError, match="first one"):
        first.diff()
    with pytest.raises(NoSuchRunError, match="7"):
        second.diff(run=7)


def values_of(space: Any) -> Results:
    """The results of a run whose accuracy is C / 8."""
    with TaskGroup("digits", "models", mode="offline", provenance=False) as group:
        for task in group.tasks(space):
            task.report({"accuracy": task.params.get("C", 8) / 8}, 1)
    return group.results()


SVC, FOREST = {"model": "svc", "C": 1}, {"model": "forest", "trees": 100}


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"C": [1]}, {"C": [5]}, ["C 1 → 5"]),
        ({"C": [1], "m": ["a", "b"]}, {"C": [5], "m": ["b", "a"]}, ["C 1 → 5"] * 2),
        ([SVC, FOREST], [SVC | {"C": 5}, FOREST], ["C 1 → 5", ""]),
        ([SVC, FOREST], [SVC | {"C": 5}, FOREST | {"trees": 9}], ["C 1 → 5", "trees 100 → 9"]),
        ({"C": [1], "g": [1], "m": ["a"]}, {"C": [2], "g": [2.5], "m": ["a"]}, ["C 1 → 2, g 1 → 2.5"]),
        ({"C": [1], "m": [1]}, {"C": [1], "m": ["1"]}, ['m 1 → "1"']),
    ],
)
def test_a_changed_parameter_is_no_new_configuration(before: Any, after: Any, changes: list[str]) -> None:
    """Configurations that agree in all other parameters are one, with both values and the difference."""
    values_of(before)
    found = values_of(after).diff()
    assert [row.changes for row in found] == changes
    assert (found.added, found.removed) == ([], [])
    first, record = found[0], found.to_records()[0]
    assert (first.change, first.changed) == ("changed", tuple(re.findall(r"(\w+) \S+ →", changes[0])))
    assert (record["change"], record["changes"]) == ("changed", changes[0])
    assert record["accuracy.before"] == 1 / 8
    assert f"{first.name}: {changes[0]}" in repr(found)
    told = list(filter(None, changes))
    assert f"{len(told)} changed ({', '.join(dict.fromkeys(told))})" in repr(found)


def test_a_task_is_a_change_of_one_other() -> None:
    values_of([{"C": 1, "g": 1}, {"C": 9, "g": 9}])
    found = values_of([{"C": 5, "g": 1}, {"C": 1, "g": 7}]).diff()
    assert [re.split("  +", line) for line in repr(found).splitlines()[2:5]] == [
        ["C=5,g=1: C 1 → 5", "completed", "0.125 → 0.625 (+0.5)"],
        ["C=1,g=7", "added (completed)", "0.125"],
        ["C=9,g=9", "removed (completed)", "1.125"],
    ]
    assert [row.change for row in found] == ["changed", "added", "removed"]


def test_points_of_a_grid_are_no_changes() -> None:
    """What has neighbours with the same other parameters was added or removed, not changed."""
    values_of({"C": [1, 2, 3], "m": ["a", "b"]})
    found = values_of({"C": [1, 2, 4], "m": ["a", "b"]}).diff()
    assert [row.change for row in found] == [*["in both"] * 4, *["added"] * 2, *["removed"] * 2]


def test_names_tell_what_differs() -> None:
    """A name leaves out what is constant in its run; the table adds it where names would be equal."""
    values_of({"C": [1, 2], "d": [0]})
    text = repr(values_of({"C": [1, 2], "e": [3]}).diff())
    names = [line.split("  ")[0] for line in text.splitlines()[2:6]]
    assert names == ["C=1 (e=3, no d)", "C=2 (e=3, no d)", "C=1 (no e, d=0)", "C=2 (no e, d=0)"]


def test_new_parameters_are_named(monkeypatch: Any) -> None:
    """If a parameter was added, no configuration is in both; the text says why."""
    run([1], SCRIPT, monkeypatch, mode="offline")
    with TaskGroup("digits", "sweep", mode="offline", provenance=False) as group:
        group.task({"C": 1, "dropout": 0.5})
    found = group.results().diff()
    assert [row.change for row in found] == ["added", "removed"]
    assert "parameters added: dropout" in repr(found)
    assert found.code_changes() == ["code: not known for the later run"]


def test_cells_and_notes_of_a_difference() -> None:
    """Of values that only one run has, the other's is a dash; means are counted over those that both have."""
    both = {
        "higher": ([0.5], [0.75]),
        "lower": ([0.5], [0.25]),
        "same": ([0.5], [0.5]),
        "new": ([math.nan], [0.5]),
        "lost": ([0.5], [math.nan]),
        "neither": ([math.nan], [math.nan]),
        "far": ([1.0], [3.0]),
    }
    keys = {name: metric_key("x" if name == "far" else "loss") for name in both}
    before, after = (
        made_results(*(made_row(name, {"m": name}, {keys[name]: one[at]}) for name, one in both.items()))
        for at in (0, 1)
    )
    before = attrs.evolve(before, rows=(*before.rows, made_row("gone", {"m": "gone"}, {metric_key("x"): 1})))
    after = attrs.evolve(after, rows=(made_row("added", {"m": "added"}, {metric_key("x"): 2}), *after.rows))
    found = after.diff(before)
    head, body = found._table()
    assert head == ["task", "status", "x", "loss"]
    assert [line[0] for line in body] == ["added", *both, "gone"]
    assert [line[1] for line in body] == ["added (completed)", *["completed"] * 7, "removed (completed)"]
    assert [line[2] for line in body] == ["2", *["–"] * 6, "1 → 3 (+2)", "1"]
    losses = ["0.5 → 0.75 (+0.25)", "0.5 → 0.25 (-0.25)", "0.5 (=)", "– → 0.5", "0.5 → –"]
    assert [line[3] for line in body] == ["–", *losses, "–", "–", "–"]
    notes = found._notes()
    assert notes[0] == "run 1 → run 1: 7 configurations in both, 1 added, 1 removed"
    assert notes[1:] == [
        "x: 1 higher, 0 lower, 0 equal; mean difference +2",
        "loss: 1 better, 1 worse, 1 equal; mean difference +0",
        "code: not known for both runs",
    ]
    assert ([row.name for row in found.added], [row.name for row in found.removed]) == (["added"], ["gone"])
    records = found.to_records()
    assert [records[1][f"loss.{what}"] for what in ("before", "after", "difference")] == [0.5, 0.75, 0.25]
    assert [records[4][f"loss.{what}"] for what in ("before", "after", "difference")] == [None, 0.5, None]
    assert (records[0]["status.before"], records[0]["status.after"]) == (None, "completed")
    assert list(records[0])[:6] == ["name", "change", "changes", "status.before", "status.after", "params.m"]
    assert after.diff(before, of="max")._table()[0][2:] == ["max of x", "max of loss"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"accuracy": (1, 2)}, "accuracy: 1 better, 0 worse, 0 equal; mean difference +1"),
        ({"accuracy": (2, 1)}, "accuracy: 0 better, 1 worse, 0 equal; mean difference -1"),
        ({"loss": (2, 1)}, "loss: 1 better, 0 worse, 0 equal; mean difference -1"),
        ({"loss": (1, 2)}, "loss: 0 better, 1 worse, 0 equal; mean difference +1"),
        ({"x": (1, 1)}, "x: 0 higher, 0 lower, 1 equal; mean difference +0"),
    ],
)
def test_which_values_became_better(values: dict[str, tuple[float, float]], text: str) -> None:
    """As the metric's name tells; an unknown one has become higher or lower."""
    runs = [
        made_results(made_row("a", {}, {metric_key(metric): pair[at] for metric, pair in values.items()}))
        for at in (0, 1)
    ]
    assert runs[1].diff(runs[0])._notes()[1] == text


def test_statuses_that_changed() -> None:
    """Both where they differ; those of abandoned tasks as lists show them."""
    before, after = made_row("a"), made_row("a", status="stopped", status_reason=ABANDONED)
    cells = [
        made_results(*second).diff(made_results(*first))._table()[1][0][1]
        for first, second in (([before], [after]), ([after], [after]), ([], [after]), ([after], []))
    ]
    assert cells == ["completed → abandoned", "abandoned", "added (abandoned)", "removed (abandoned)"]


def test_runs_and_parameters_are_named() -> None:
    """Of two groups by their names; a parameter that only one of the runs has is new or gone."""
    other = attrs.evolve(ABOUT, name="other", group_id="2" * 12, run_number=3)
    before = attrs.evolve(made_results(made_row("a", {"C": 1}), made_row("b", {"C": 1, "b": 2})), about=other)
    after = made_results(made_row("c", {"C": 1, "d": 1, "e": 1}), made_row("b", {"C": 1, "b": 2}))
    notes = after.diff(before)._notes()
    assert notes[:2] == [
        "digits/other, run 3 → digits/sweep, run 1: 1 configuration in both, 1 added, 1 removed",
        "parameters added: d, e",
    ]
    assert before.diff(after)._notes()[1] == "parameters removed: d, e"
    nothing = made_results(made_row("x"))
    assert not any("parameters" in note for note in after.diff(nothing)._notes())


def test_the_code_is_that_of_the_latest_attempts() -> None:
    """What is not known has no lines."""
    scripts = {"id of a": {"branch": "old"}, "id of b": {"branch": "new", "diff": "+x"}}

    class Scripts(MemoryBackend):
        def read_script(self, task_id: str) -> Mapping[str, Any]:
            return scripts[task_id]

    reader = Reader(Scripts(mode="memory", where="memory", keep=False))
    results = attrs.evolve(made_results(made_row("a"), made_row("b", attempt=2)), reader=reader)
    found = results.diff(attrs.evolve(results, rows=results.rows[:1]))
    assert (found.code_before, found.code_after) == (
        CodeVersion(branch="old"),
        CodeVersion(branch="new", diff="+x"),
    )
    assert found.code_changes()[0] == "branch: old → new"
    assert found.code_diff().splitlines()[-1] == "++x"
    unknown = results.diff(made_results())
    assert (unknown.code_before, unknown.code_diff()) == (None, "")
    assert made_results().diff(results).code_diff() == ""


def test_numbers_are_whole_in_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells are broken between their numbers."""
    before, after = (
        made_results(made_row("C=1", {}, {metric_key("loss"): value})) for value in (0.1875, 0.25)
    )
    monkeypatch.setenv("COLUMNS", "29")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    lines = repr(after.diff(before)).splitlines()
    assert [line.split("  ")[-1].strip() for line in lines[2:5]] == ["0.1875 →", "0.25", "(+0.0625)"]
