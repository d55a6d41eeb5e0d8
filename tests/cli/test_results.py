"""`list`, `show`, `best`, `report`: runs are found by whatever names them, for people and scripts."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup import Metric, TaskGroup
from clearml_taskgroup._cli.results import _reference
from clearml_taskgroup.errors import NoSuchRunError
from tests.loopback import LoopbackServer
from tests.support.cli import as_json, as_json_error, command, told
from tests.support.runs import NAME, PROJECT, Place, kill

GROUP = f"{PROJECT}/{NAME}"


def make(place: Place | None = None, **options: Any) -> TaskGroup:
    """Makes a run of 2 x 3 tasks, of which one fails."""
    with (place or Place()).group(catch=MemoryError, **options) as group:
        for task in group.sweep({"C": [0.5, 10], "seed": range(3)}):
            with task:
                value = task.params["C"] + task.params["seed"] / 10
                task.report({"accuracy": value, "loss": -value}, 1, split="val")
                task.report({"accuracy": value + 1}, 1, split="train")
                if task.params == {"C": 10, "seed": 2}:
                    raise MemoryError("too large")
    return group


def words(text: str) -> list[list[str]]:
    """Splits a printed table into its lines and cells."""
    return [re.split(r"  +", line.strip()) for line in text.splitlines()]


# --- list --------------------------------------------------------------------------------------


def test_list_shows_the_latest_first() -> None:
    """`list` has a line for each run: which, how its tasks are, when and where."""
    first, other = make(), make(name="the other group")
    again = make()
    lines = words(command("list").stdout)
    assert lines[0] == ["run", "group", "number", "tasks", "started", "mode"]
    assert [(line[0], line[1], line[2]) for line in lines[2:]] == [
        (again.run[:12], f"{PROJECT}/{NAME}", "2"),
        (other.run[:12], f"{PROJECT}/the other group", "1"),
        (first.run[:12], f"{PROJECT}/{NAME}", "1"),
    ]
    assert lines[2][3] == "5 completed, 1 failed"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", lines[2][4])
    assert [run["run"] for run in as_json("list", "-n", 2)] == [again.run, other.run]


def test_list_as_json() -> None:
    """`list --json` has the facts of each run."""
    group = make()
    (facts,) = as_json("list")
    assert facts.pop("started").endswith("+00:00")
    assert facts == {
        "project": PROJECT,
        "group": NAME,
        "group_id": group.id,
        "run": group.run,
        "number": 1,
        "mode": "offline",
        "statuses": {"completed": 5, "failed": 1},
        "tasks": 6,
        "shared": "",
        "record": str(group.record_path),
    }


def test_list_of_a_project() -> None:
    """--project leaves runs of it and of the projects below it, not of those that begin alike."""
    for project in ("one", "one/below", "one more"):
        with TaskGroup(project, NAME, mode="offline", provenance=False) as group:
            group.task({"C": 1})
    assert {run["project"] for run in as_json("list", "--project", "one")} == {"one", "one/below"}
    for arguments, printed in (((), ""), (("--json",), "[]\n")):
        result = command("list", "--project", "none", *arguments)
        assert (result.exit_code, result.stdout) == (1, printed)
        assert result.stderr == "no runs in the project 'none'; did you mean one?\n"
    far = command("list", "--project", "quite different").stderr
    assert far == "no runs in the project 'quite different'; there is: one, one more, one/below\n"


def test_list_of_nothing() -> None:
    """Where there is nothing and nothing was asked for, that is no error."""
    assert (command("list").exit_code, command("list").stdout) == (0, "no runs\n")
    assert as_json("list") == []


def test_list_joins_server_and_disk(loopback: LoopbackServer) -> None:
    """A run that is on both is listed once; --online and --offline look at one of them alone."""
    online, offline = make(Place(loopback)), make()
    assert {run["run"] for run in as_json("list")} == {online.run, offline.run}
    assert {run["run"] for run in as_json("list", "--online")} == {online.run}
    assert command("upload", offline.run).exit_code == 0
    assert {run["run"] for run in as_json("list", "--online")} == {online.run, offline.run}
    assert len(as_json("list")) == len(as_json("list", "--offline")) == 2
    assert all(run["statuses"] == {"completed": 5, "failed": 1} for run in as_json("list"))


# --- which run ---------------------------------------------------------------------------------

FORMS: list[Callable[[TaskGroup], object]] = [
    lambda group: GROUP,
    lambda group: group.id,
    lambda group: group.run,
    lambda group: group.run[:6],
    lambda group: group.record_path,
]


@pytest.mark.quick(4)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("where", ["disk", "server"])
def test_a_run_is_found_by_each_form(where: str, form: Any, request: pytest.FixtureRequest) -> None:
    """Project and name, the ids of group and run, first digits and a record's path mean the same run."""
    place = Place(request.getfixturevalue("loopback")) if where == "server" else Place()
    make(place)
    group = make(place)
    shown = as_json("show", form(group))
    assert (shown["run"]["run"], shown["run"]["run_number"]) == (group.run, 2)
    assert len(shown["tasks"]) == 6


def test_an_earlier_run() -> None:
    """--run takes a run's number, or the first digits of its id; without it the latest is meant."""
    first, second = make(), make()
    for run in (1, first.run[:8], first.run):
        assert as_json("show", GROUP, "--run", run)["run"]["run"] == first.run
        assert as_json("show", first.id, "--run", run)["run"]["run"] == first.run
    assert as_json("show", GROUP)["run"]["run"] == second.run
    assert "leave --run out" in told("show", first.run, "--run", 2, code=2)


def test_a_later_run_on_disk_is_told(loopback: LoopbackServer) -> None:
    """The latest run is the server's; that a later one is on this disk alone is told, until it is there."""
    online, offline = make(Place(loopback)), make()
    result = command("show", GROUP)
    assert online.run[:12] in result.stdout
    assert result.stderr == (
        f"a later run, 2 ({offline.run[:12]}), is on this disk only; --offline shows it\n"
    )
    assert command("show", GROUP, "--run", 1).stderr == command("show", GROUP, "--online").stderr == ""
    assert command("upload", GROUP).exit_code == 0
    assert command("show", GROUP).stderr == ""


def test_the_disk_is_looked_at_last(loopback: LoopbackServer) -> None:
    """A run that is on this disk alone is found, but not with --online."""
    group = make()
    assert as_json("best", GROUP, "loss", "--mode", "min")["run"] == group.run
    told("best", GROUP, "loss", "--mode", "min", "--online", code=1)
    assert as_json("best", group.run, "loss", "--mode", "min", "--offline")["run"] == group.run


@pytest.mark.parametrize("what", ["none/of these", "0123456789ab", "abcdef"])
@pytest.mark.parametrize("verb", [("show",), ("best",), ("report",)])
def test_a_run_that_is_not_there(verb: tuple[str, ...], what: str) -> None:
    """What is not there is one line with what was looked at, and exit code 1."""
    metric = ["loss"] if verb == ("best",) else []
    assert "was not found; looked at" in told(*verb, what, *metric, code=1)


def test_what_is_no_group(tmp_path: Path) -> None:
    """Text of no known form is a usage error; a file that is no record is told."""
    assert "the path of a run log" in told("show", "svm", code=2)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert str(empty) in told("show", empty, code=1)


def test_a_group_that_is_not_there_has_neighbours() -> None:
    """Of a name that is not there the closest groups are told, of all projects."""
    make()
    with TaskGroup("another project", "svm-sweep", mode="offline", provenance=False) as group:
        group.task({"C": 1})
    for text in (f"{PROJECT}/svm-sweep", "other project/svm-sweep", "Another Project/SVM-sweep"):
        for verb in (("show",), ("report",), ("best",), ("drift", "--group")):
            metric = ["loss"] if verb == ("best",) else []
            line = told(*verb, text, *metric, code=2 if verb[0] == "drift" else 1)
            assert "; did you mean 'another project/svm-sweep'" in line
    assert "did you mean 'another project/svm-sweep'?" in told("show", "svm-sweep", code=2)
    assert f"there is: another project/svm-sweep, {GROUP}" in told("show", "quite/different", code=1)
    assert "was not found" in told("show", "a/b", code=1)


@pytest.mark.parametrize("where", ["disk", "server"])
def test_a_project_is_no_group(where: str, request: pytest.FixtureRequest) -> None:
    mode: Any = "offline" if where == "disk" else "online"
    if where == "server":
        request.getfixturevalue("loopback")
    for project, name in (("wine", "svm"), ("wine", "forest"), ("other/wine", "tree")):
        with TaskGroup(project, name, mode=mode, provenance=False) as group:
            group.task({"C": 1})
    for verb in (("show",), ("drift", "--group")):
        line = told(*verb, "wine", code=2)
        assert "'wine' is a project, with the groups: wine/forest, wine/svm" in line
        line = told(*verb, "other/wine", code=1 if verb == ("show",) else 2)
        assert "'other/wine' is a project, with the groups: other/wine/tree" in line


def test_what_is_misspelt_has_neighbours() -> None:
    """Parameters and metrics that are nearly right are suggested, in words to type."""
    make(metrics=["accuracy", "loss"])
    assert (
        "--over 'sed' was given, but no task has such a parameter (did you mean 'seed'?); expected one"
        in told("show", GROUP, "--over", "sed", code=1)
    )
    assert "--where 'c' was given, but no task has such a parameter (did you mean 'C'?)" in told(
        "show", GROUP, "--where", "c=1", code=1
    )
    line = told("best", GROUP, "acuracy", code=1)
    assert "no task has a value for acuracy (did you mean 'accuracy'?); there is: accuracy[" in line
    assert "Metric(" not in line


# --- show --------------------------------------------------------------------------------------


def test_show_has_a_line_for_each_task() -> None:
    """`show` prints the run, a table with each metric, how many tasks are how far, and the page."""
    group = make()
    lines = command("show", GROUP).stdout.splitlines()
    assert lines[0].startswith(f"{GROUP}, run 1 ({group.run[:12]}), 20")
    assert words(lines[1])[0] == [
        "task",
        "status",
        "accuracy[split=val]",
        "loss[split=val]",
        "accuracy[split=train]",
    ]
    assert [words(line)[0][:3] for line in lines[3:9]] == [
        ["C=0.5,seed=0", "completed", "0.5"],
        ["C=0.5,seed=1", "completed", "0.6"],
        ["C=0.5,seed=2", "completed", "0.7"],
        ["C=10,seed=0", "completed", "10"],
        ["C=10,seed=1", "completed", "10.1"],
        ["C=10,seed=2", "failed", "10.2"],
    ]
    assert lines[9] == "6 tasks: 5 completed, 1 failed"


def test_show_sorts_and_chooses() -> None:
    """--sort puts the best first, by the context that is given; --where leaves the tasks that are meant."""
    make()

    def names(*arguments: object) -> list[str]:
        return [task["name"] for task in as_json("show", GROUP, *arguments)["tasks"]]

    by_accuracy = names("--sort", "accuracy", "split=val", "--mode", "max")
    assert by_accuracy == [
        f"C={C},seed={seed}" for C, seed in ((10, 1), (10, 0), (0.5, 2), (0.5, 1), (0.5, 0), (10, 2))
    ]
    assert names("--where", "C=0.5") == ["C=0.5,seed=0", "C=0.5,seed=1", "C=0.5,seed=2"]
    assert names("--where", "C=10.0", "--where", "seed=1") == ["C=10,seed=1"]
    either = names("--where", "C=10", "--where", "seed=1", "--where", "C=0.5", "--where", "seed=0")
    assert either == ["C=0.5,seed=0", "C=0.5,seed=1", "C=10,seed=0", "C=10,seed=1"]
    assert names("--where", "C=3") == names("--where", "C=3", "--where", "seed=1") == []
    assert names("--where", "C=3", "--where", "C=10", "--where", "status=failed") == ["C=10,seed=2"]
    assert "'nothing'" in told("show", GROUP, "--where", "nothing=1", code=1)
    assert "may mean" in told("show", GROUP, "--sort", "accuracy", "--mode", "max", code=1)
    assert "belongs to --sort" in told("show", GROUP, "split=val", code=2)
    assert "field=value" in told("show", GROUP, "val", code=2)


def test_show_of_one_task_ends_with_its_address() -> None:
    """If --where leaves a single task, the last line is its folder, not the run's."""
    group = make()
    where = {(row.params["C"], row.params["seed"]): row.url for row in group.results()}
    of_run = command("show", GROUP).stdout.splitlines()[-1]
    last = [
        command("show", GROUP, *arguments).stdout.splitlines()[-1]
        for arguments in (["--where", "C=10", "--where", "seed=1"], ["--where", "C=10"], ["--where", "C=3"])
    ]
    assert last == [where[10, 1], of_run, of_run]


def test_show_tells_why_tasks_failed() -> None:
    """Below the table stand the reasons of the first tasks that failed, a line for each."""
    with Place().group() as group:
        for task in group.tasks({"n": range(7)}):
            if task.params["n"] == 0:
                continue
            task.mark_failed("no\nreason " + "x" * 300 if task.params["n"] == 1 else "too large")
    lines = command("show", GROUP).stdout.splitlines()
    at = lines.index("why tasks failed:")
    assert (lines[at + 1][:23], lines[at + 1][-2:], len(lines[at + 1])) == (
        "  n=1: no reason xxxxxx",
        "x…",
        200,
    )
    assert lines[at + 2 : at + 7] == [
        *(f"  n={n}: too large" for n in range(2, 6)),
        "  … and 1 more: --json has the status_reason of each task",
    ]
    assert "why tasks" in command("show", GROUP, "--where", "status=failed").stdout
    assert "why tasks" not in command("show", GROUP, "--where", "n=0").stdout


def test_show_tells_why_tasks_were_stopped() -> None:
    """Also with a reason of the user's own; one without a reason is only counted."""
    with Place().group() as group:
        pruned, stopped, failed = group.tasks({"n": range(3)})
        pruned.mark_stopped("pruned at step 7")
        stopped.mark_stopped()
        failed.mark_failed("too large")
    lines = command("show", GROUP).stdout.splitlines()
    at = lines.index("why tasks failed:")
    reasons = ["why tasks failed:", "  n=2: too large", "why tasks were stopped:", "  n=0: pruned at step 7"]
    assert lines[at : at + 4] == reasons
    assert "n=1:" not in "".join(lines[at:])


def test_parameters_that_are_no_numbers() -> None:
    """Truth values and None are meant in any spelling."""
    with Place().group() as group:
        for task in group.tasks({"flag": [True, False], "optimizer": [None, "adam"]}):
            task.report({"loss": 1.0}, 1)
    for chosen in (["flag=true", "optimizer=none"], ["flag=True", "optimizer=None"]):
        where = [word for pair in chosen for word in ("--where", pair)]
        assert [task["name"] for task in as_json("show", GROUP, *where)["tasks"]] == [
            "flag=True,optimizer=None"
        ]


def test_show_over_seeds() -> None:
    """--over has a line for each configuration, with mean and spread, and says what is left out."""
    make()
    shown = as_json("show", GROUP, "--over", "seed", "--sort", "loss", "--mode", "min")["configurations"]
    assert [(row["name"], row["n"], row["left_out"]) for row in shown] == [("C=10", 2, 1), ("C=0.5", 3, 0)]
    assert shown[1]["accuracy[split=val].mean"] == pytest.approx(0.6)
    assert (
        "not counted in, failed or stopped: 1 (C=10,seed=2)"
        in command("show", GROUP, "--over", "seed").stdout
    )
    assert "'depth'" in told("show", GROUP, "--over", "depth", code=1)


def test_a_vocabulary_says_which_is_better() -> None:
    """--mode is not needed where the run's vocabulary or a well-known word has it; else it is asked for."""
    metrics: list[str | Metric] = [Metric("accuracy", mode="min"), "loss"]
    make(metrics=metrics, name="with words")
    make()
    shown = as_json("show", f"{PROJECT}/with words", "--sort", "loss")["tasks"]
    assert shown[0]["name"] == "C=10,seed=1"
    assert as_json("best", f"{PROJECT}/with words", "accuracy", "split=val")["mode"] == "min"
    assert as_json("best", GROUP, "accuracy", "split=val")["mode"] == "max"
    with Place().group(name="with strange words") as group:
        group.task({"C": 1}).report({"foo": 1.0}, 1)
    assert "add --mode max or --mode min" in told("best", group.id, "foo", code=2)
    assert "add --mode max or --mode min" in told("show", group.id, "--sort", "foo", code=2)
    assert "no task has a value for nothing" in told("best", GROUP, "nothing", code=1)


def test_the_metric_that_sorts_comes_first() -> None:
    """The column that --sort goes by is the first metric: a narrow terminal has room for it."""
    make()
    for over, first in ([], ["task", "status"]), (["--over", "seed"], ["configuration", "n"]):
        for metric, others in {
            "accuracy[split=train]": ["accuracy[split=val]", "loss[split=val]"],
            "accuracy[split=val]": ["loss[split=val]", "accuracy[split=train]"],
        }.items():
            shown = words(command("show", GROUP, "--sort", metric, *over).stdout)
            assert shown[1] == [*first, metric, *others]
            assert shown[3][2] == ("10.1" if metric.endswith("val]") else "11.1") or over


def test_show_of_other_values_than_the_last() -> None:
    """--of shows the values that it sorts by, and says so in headings and JSON."""
    with Place().group() as group:
        for task in group.tasks({"C": [1, 2], "seed": range(2)}):
            for step, value in enumerate((task.params["C"], 5, 4)):
                task.report({"loss": value}, step)
    sorts = ["show", GROUP, "--sort", "loss", "--of"]
    lines = words(command(*sorts, "min").stdout)
    assert (lines[1][2], [line[2] for line in lines[3:7]]) == ("min of loss", ["1", "1", "2", "2"])
    assert words(command(*sorts, "mean").stdout)[1][2] == "mean of loss"
    assert words(command(*sorts, "last").stdout)[1][2] == "loss"
    lines = words(command(*sorts, "min", "--over", "seed").stdout)
    assert (lines[1][2], lines[3][2]) == ("min of loss", "1 ± 0")
    facts = as_json(*sorts, "min", "--over", "seed")
    assert (facts["sort"], facts["of"]) == ("loss", "min")
    assert as_json("show", GROUP)["of"] == "last"
    line = command("best", GROUP, "loss", "--of", "max", "--mode", "min", "--where", "C=1").stdout
    assert line.startswith("C=1,seed=0: max of loss = 5, the least; 1 other task has the same value")
    assert "see the means: --over seed\n" in line


@pytest.mark.parametrize("where", ["disk", "server"])
def test_the_text_of_a_shared_run_is_shown(where: str, request: pytest.FixtureRequest) -> None:
    """Beside number and id; a path that was made absolute is also found by the relative one."""
    place = Place(request.getfixturevalue("loopback") if where == "server" else None)
    path = os.path.abspath("multirun/fixed")
    for run in ("slurm-8812", path):
        with place.group(run=run) as group:
            group.task({"seed": 0})
    assert [run["shared"] for run in as_json("list")] == [path, "slurm-8812"]
    assert "1 (slurm-8812)" in command("list").stdout
    shown = command("show", GROUP, "--run", "slurm-8812").stdout
    assert "run 1 (" in shown
    assert ", run='slurm-8812')" in shown.splitlines()[0]
    assert as_json("show", GROUP, "--run", "1")["run"]["shared"] == "slurm-8812"
    assert as_json("show", GROUP, "--run", "multirun/fixed")["run"]["run"] == group.run
    assert TaskGroup.load(PROJECT, NAME, "multirun/fixed").about.shared == path
    assert group.results().about.shared == path
    with pytest.raises(NoSuchRunError, match=r"run 1 \([0-9a-f]{12}, run='slurm-8812'\)"):
        TaskGroup.load(PROJECT, NAME, "multirun/other")
    if where == "disk":
        command("discard", GROUP, "--run", "multirun/fixed", "--yes")
        assert [run["shared"] for run in as_json("list")] == ["slurm-8812"]


@pytest.mark.parametrize("where", ["disk", "server"])
def test_tasks_of_a_dead_process_are_abandoned(where: str, request: pytest.FixtureRequest) -> None:
    """`list` and `show` say so of them and what to do, until somebody has done it; of a living one's not."""
    place = Place(request.getfixturevalue("loopback") if where == "server" else None)
    group = place.open()
    done, dead, failed = group.tasks({"seed": range(3)})
    dead.report({"loss": 0.5}, 1)
    done.mark_completed()
    failed.mark_failed("bad")
    group.flush()
    assert group._run is not None
    group._run.backend.keep_alive()
    for shown in (command("list").stdout, command("show", GROUP).stdout):
        assert "abandoned" not in shown
        assert "1 in progress" in shown
    kill(group)
    upload = f"; to end them as stopped: clearml-taskgroup upload {group.run[:12]}"
    remedy = f"run the script with resume=True{upload if where == 'server' else ''}\n"
    for shown in (command("list").stdout, command("show", GROUP).stdout):
        assert "1 completed, 1 failed, 1 abandoned" in shown
        assert "abandoned: the process ended before its group was closed" in shown
        assert remedy in shown
    assert as_json("list")[0]["statuses"] == {"completed": 1, "failed": 1, "abandoned": 1}
    assert ["seed=1", "abandoned", "0.5"] in words(command("show", GROUP).stdout)
    for status in ("abandoned", "stopped"):
        (row,) = as_json("show", GROUP, "--where", f"status={status}")["tasks"]
        assert row["name"] == "seed=1"
    rows = {row["name"]: row for row in as_json("show", GROUP)["tasks"]}
    assert (rows["seed=1"]["status"], rows["seed=1"]["status_reason"].partition(":")[0]) == (
        "stopped",
        "abandoned",
    )
    with place.resume() as again:
        for task in again.sweep({"seed": range(3)}):
            task.report({"loss": 0.25}, 1)
    for shown in (command("list").stdout, command("show", GROUP).stdout):
        assert "3 completed" in shown
        assert "abandoned" not in shown


def test_an_upload_ends_what_was_abandoned(loopback: LoopbackServer) -> None:
    """The command that `list` names works: nothing is left to be done."""
    group = Place(loopback).open()
    group.task({"seed": 0})
    kill(group)
    assert command("upload", group.run[:12]).exit_code == 0
    assert "abandoned" not in command("list").stdout
    assert Place(loopback).attempts() == [("seed=0", 1, "stopped")]
    shown = command("show", GROUP).stdout
    assert "1 abandoned" in shown
    assert "clearml-taskgroup upload" not in shown


# --- best --------------------------------------------------------------------------------------


def test_a_metric_as_tables_head_it() -> None:
    """METRIC may be written as a table's heading; what may be meant is told as words to type."""
    make(metrics=[Metric("accuracy", unit="%"), "loss"])
    split = as_json("best", GROUP, "accuracy", "split=train")
    for text in ("accuracy[split=train]", "accuracy[split=train] (%)"):
        assert as_json("best", GROUP, text) == split
    line = told("best", GROUP, "accuracy", code=1)
    assert line.endswith("accuracy[split=train]; choose one, as in: accuracy split=val")
    assert as_json("best", GROUP, *line.rpartition("as in: ")[2].split())["metric"] == "accuracy[split=val]"
    assert "did you mean split='val'?" in told("best", GROUP, "accuracy[split=va]", code=1)


def test_a_metric_whose_name_has_brackets() -> None:
    """A metric that is really called so is meant first."""
    with Place().group() as group:
        group.task({"C": 1}).report({"loss[a=b]": 2.0}, 1)
    assert as_json("best", GROUP, "loss[a=b]", "--mode", "min")["value"] == 2.0


def test_best_names_a_task() -> None:
    """`best` prints the task, its value and parameters, and where it is; a failed task is never the best."""
    make()
    lines = command("best", GROUP, "accuracy", "split=val", "--mode", "max").stdout.splitlines()
    assert lines[0] == "C=10,seed=1: accuracy[split=val] = 10.1, the greatest"
    assert lines[1:3] == ["  C = 10", "  seed = 1"]
    assert lines[3].startswith("file://")
    found = as_json("best", GROUP, "accuracy", "split=val", "--mode", "max", "--where", "C=0.5")
    assert (found["name"], found["params"], found["value"]) == ("C=0.5,seed=2", {"C": 0.5, "seed": 2}, 0.7)


def test_best_over_seeds() -> None:
    make()
    found = as_json("best", GROUP, "loss", "--mode", "max", "--over", "seed")
    assert (found["name"], found["n"], found["params"]) == ("C=0.5", 3, {"C": 0.5})
    line = command("best", GROUP, "loss", "--mode", "max", "--over", "seed").stdout.splitlines()[0]
    assert line == "C=0.5: loss[split=val] = -0.6 ± 0.1 (mean ± std, n=3), the greatest"


def test_the_best_few() -> None:
    """-n limits `show`, with --sort to the best, and lists the best of `best`: tasks or means."""
    make()
    best = ("best", GROUP, "accuracy", "split=val", "--mode", "max")
    found = as_json(*best, "-n", 3)
    assert [one["name"] for one in found] == ["C=10,seed=1", "C=10,seed=0", "C=0.5,seed=2"]
    assert found[0] == as_json(*best)
    assert all(one["url"].startswith("file://") for one in found)
    assert len(as_json(*best, "--limit", 100)) == 5  # one has failed
    lines = words(command(*best, "-n", 2).stdout)
    assert [lines[0], *lines[2:]] == [
        ["task", "accuracy[split=val]"],
        ["C=10,seed=1", "10.1"],
        ["C=10,seed=0", "10"],
    ]
    means = words(command(*best, "-n", 5, "--over", "seed").stdout)[2:]
    assert means == [
        ["C=10", "10.05 ± 0.07071 (mean ± std, n=2)"],
        ["C=0.5", "0.6 ± 0.1 (mean ± std, n=3)"],
        ["not in the mean of C=10: 1 failed or stopped task (C=10,seed=2)"],
    ]
    show = ("show", GROUP, "--sort", "accuracy", "split=val", "--mode", "max", "-n", 1)
    assert [task["name"] for task in as_json(*show)["tasks"]] == ["C=10,seed=1"]
    shown = command(*show).stdout
    assert "C=10,seed=0" not in shown
    assert "… and 5 more: -n 6\n6 tasks: 5 completed, 1 failed\n" in shown
    assert [one["name"] for one in as_json(*show, "--over", "seed")["configurations"]] == ["C=10"]
    assert "more: -n" not in command("show", GROUP, "-n", 6).stdout
    assert len(as_json("list", "--limit", 1)) == 1
    results = TaskGroup.load(PROJECT, NAME)
    assert len(results[:5]) == 5
    assert results.aggregate("seed").sort("accuracy", mode="max", split="val")[:1].rows[0].name == "C=10"


def test_json_has_no_private_names(tmp_path: Path) -> None:
    """`as_json` refuses keys that begin with an underscore, here of each command that has results."""
    group, _ = make(), make()
    metric = ("loss", "split=val", "--mode", "min")
    assert as_json("show", GROUP)["run"]["table_url"] is None
    as_json("show", GROUP, "--over", "seed")
    as_json("best", GROUP, *metric)
    as_json("compare", GROUP, *metric)
    as_json("diff", GROUP)
    as_json("report", GROUP, "-o", tmp_path / "report.html")
    as_json("pending")
    as_json("discard", group.run, "--yes")
    as_json("discard", "--all", "--yes=0")


def test_compare() -> None:
    """`compare` prints each configuration's difference to a reference, which --to names; as JSON, too."""
    make()
    lines = words(command("compare", GROUP, "accuracy", "split=val", "--to", "C=0.5").stdout)
    assert lines[0] == [
        *("configuration", "accuracy[split=val]", "n", "difference", "95 % interval", "p", "p (Holm)"),
        "verdict",
    ]
    assert lines[2] == ["C=0.5", "0.6 ± 0.1", "3", "reference"]
    assert lines[3][:4] == ["C=10", "10.05 ± 0.071", "2", "+9.5"]
    found = as_json("compare", GROUP, "loss", "split=val", "--test", "permutation")
    assert (found["reference"]["name"], found["mode"], found["test"]) == ("C=10", "min", "permutation")
    assert [(one["name"], one["p"], one["verdict"]) for one in found["configurations"]] == [
        ("C=0.5", 0.5, "unclear")
    ]
    assert "look at the values" in command("compare", GROUP, "loss", "split=val").stdout
    assert "did you mean" in told("compare", GROUP, "loss", "split=val", "--to", "C0.5", code=1)
    assert "C=0.5, C=10" in told("compare", GROUP, "loss", "split=val", "--to", "C=7", code=1)
    assert "'fold'" in told("compare", GROUP, "loss", "split=val", "--over", "fold", code=1)


def test_the_direction_of_a_comparison() -> None:
    """It must be known only if the best is the reference."""
    with Place().group() as group:
        for task in group.tasks({"C": [1, 2], "seed": range(2)}):
            task.report({"foo": task.params["C"] + task.params["seed"]})
    assert "add --mode max or --mode min" in told("compare", GROUP, "foo", code=2)
    for arguments, mode, reference in (
        (["--to", "C=1"], None, "C=1"),
        (["--to", "C=1", "--mode", "min"], "min", "C=1"),
        (["--mode", "min"], "min", "C=1"),
        (["--mode", "max"], "max", "C=2"),
    ):
        found = as_json("compare", GROUP, "foo", *arguments)
        assert (found["mode"], found["reference"]["name"]) == (mode, reference)


def test_the_reference_of_a_comparison() -> None:
    """A name goes before parameters; parameters may be one text or several."""

    class Found(list[Any]):
        def aggregate(self, over: Any) -> list[Any]:
            return [SimpleNamespace(name="C=1")]

    results: Any = Found([SimpleNamespace(params={"C": 1, "k": "a"})])
    assert _reference([], results, ()) is None
    assert _reference(["C=1"], results, ()) == "C=1"
    assert _reference(["k=a"], results, ()) == {"k": "a"}
    assert (
        _reference(["C=1", "k=a"], results, ()) == _reference(["C=1,k=a"], results, ()) == {"C": 1, "k": "a"}
    )
    assert _reference(["svm", "k=a"], results, ()) == "svm,k=a"


def test_compare_without_over() -> None:
    """Folds are found without --over; if there are none, the message names what was looked for."""
    with Place().group(name="folds") as group:
        for task in group.tasks({"C": [1, 2], "fold": range(3)}):
            task.report({"loss": task.params["C"] * task.params["fold"]}, 1, split="val")
    arguments = ("compare", f"{PROJECT}/folds", "loss", "split=val", "--to", "C=1")
    assert "paired over fold" in command(*arguments).stdout
    assert as_json(*arguments)["test"] == "corrected"
    assert "use --test corrected" in command(*arguments, "--test", "t").stdout
    with Place().group(name="single", template="{metric}/{fold}") as group:
        group.task({"C": 1, "fold_index": 0, "repeat": 0}).report({"loss": 1.0}, 1, fold=0)
        group.task({"C": 2, "fold_index": 1, "repeat": 1}).report({"loss": 1.0}, 1, fold=0)
    several = told("compare", f"{PROJECT}/single", "loss", "fold=0", code=1)
    assert "--over was not given; expected one or several of the parameters fold_index, repeat" in several
    context = told("compare", f"{PROJECT}/single", "loss", "fold=0", "--over", "fold", code=1)
    assert "--over 'fold' was given" in context
    assert "; fold is context of loss here" in context
    with Place().group(name="none") as group:
        group.task({"C": 1}).report({"loss": 1.0}, 1, split="val")
    nothing = told("compare", f"{PROJECT}/none", "loss", code=1)
    assert "--over was not given, and no task has a parameter seed or random_state" in nothing


def test_contexts_are_read_as_they_were_reported() -> None:
    """`fold=1` is the number where numbers were reported, and the text where texts were."""
    for name, value in (("with numbers", 1), ("with texts", "1")):
        with Place().group(name=name, template="{metric}/{fold}") as group:
            group.task({"C": 1}).report({"loss": 1.0}, 1, fold=value)
            group.task({"C": 2}).report({"loss": 2.0}, 1, fold=2)
        found = as_json("best", f"{PROJECT}/{name}", "loss", "fold=1", "--mode", "max")
        assert found["name"] == "C=1"


def test_best_of_a_curve() -> None:
    """--of takes another than the last value."""
    with Place().group() as group:
        task = group.task({"C": 1})
        for step, value in enumerate((1.0, 5.0, 2.0)):
            task.report({"loss": value}, step)
    values = {
        of: as_json("best", GROUP, "loss", "--mode", "max", "--of", of)["value"]
        for of in ("last", "max", "min")
    }
    assert values == {"last": 2.0, "max": 5.0, "min": 1.0}
    assert "median" in told("best", GROUP, "loss", "--of", "median", code=2)


# --- report ------------------------------------------------------------------------------------


def test_report_writes_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`report` writes a page, by default into this folder, and tells where it is."""
    monkeypatch.chdir(tmp_path)
    make()
    assert command("report", GROUP).stdout == f"{GROUP}, run 1: the-group-run-1.html\n"
    assert f"{GROUP}, run 1" in (tmp_path / "the-group-run-1.html").read_text()
    facts = as_json("report", GROUP, "-o", tmp_path / "page.html")
    assert facts["path"] == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").exists()
    assert "nowhere" in told("report", GROUP, "-o", tmp_path / "nowhere" / "page.html", code=1)
    assert "'depth'" in told("report", GROUP, "--over", "depth", code=1)
    assert "ends in .html, not .pdf" in told("report", GROUP, "-o", tmp_path / "page.pdf", code=2)
    assert not (tmp_path / "page.pdf").exists()
    assert command("report", GROUP, "-o", "page.HTM").exit_code == 0
    files = set(tmp_path.iterdir())
    page = command("report", GROUP, "-o", "-").stdout
    assert (page[:15].lower(), page.rstrip()[-7:]) == ("<!doctype html>", "</html>")
    assert set(tmp_path.iterdir()) == files
    assert "give one of them" in as_json_error("report", GROUP, "-o", "-", code=2)


def test_report_without_plotly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where plotly is missing, one line says what to install."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "plotly", None)
    make()
    assert "pip install 'clearml-taskgroup[" in told("report", GROUP, code=1)


# --- how it is told ----------------------------------------------------------------------------


def test_on_a_pipe_nothing_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on a terminal each row is one line without colours, however long."""
    monkeypatch.setenv("COLUMNS", "40")
    with Place().group() as group:
        for task in group.tasks({"C": range(30), "kernel": ["a very long name of a kernel", "another"]}):
            task.report({"the first metric": 1.0, "the second metric": 2.0}, 1)
    text = command("show", group.run).stdout
    assert "\x1b" not in text
    assert (
        sum("a very long name of a kernel" in line and line.endswith("2") for line in text.splitlines()) == 30
    )


@pytest.mark.parametrize("verb", ["list", "show", "best", "report", "drift", "pending", "upload", "discard"])
def test_each_help_has_an_example(verb: str) -> None:
    """Each --help ends with an example of that command, in one line; the list of commands is not cut."""
    text = command(verb, "--help").stdout
    assert text.splitlines()[-1].strip().startswith(f"Example: clearml-taskgroup {verb}")
    assert "--json" in text
    assert "..." not in command("--help").stdout.partition("Commands:")[2]
