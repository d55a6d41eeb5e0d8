"""`drift`: any project, group or tasks, whoever made them; what is spelt in different ways, and the cure."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clearml_taskgroup import Metric, NameTemplate, TaskGroup
from clearml_taskgroup._cli import find_run
from clearml_taskgroup._model.vocabulary import Vocabulary
from clearml_taskgroup._results.run_list import Listed
from clearml_taskgroup.errors import DriftWarning
from tests.loopback import LoopbackServer
from tests.support.cli import as_json, command, told
from tests.support.runs import NAME, PROJECT, Place
from tests.support.server_view import View

ACCURACIES, LOSSES = ["acc", "accuracy", "Accuracy", "train_acc"], ["loss", "Loss"]


def foreign(server: View, project: str, name: str, names: list[tuple[str, str]], **more: Any) -> str:
    """Makes a task as any script does, with a point under each name; gives its id."""
    found = server.call("projects.get_all", name=f"^{project}$", only_fields=["id"])["projects"]
    project_id = found[0]["id"] if found else server.call("projects.create", name=project)["id"]
    task = server.call("tasks.create", name=name, type="training", project=project_id, **more)["id"]
    events = [
        {
            "type": "training_stats_scalar",
            "task": task,
            "metric": title,
            "variant": series,
            "value": 0.5,
            "iter": -(2**31) if title == "Summary" else 1,
            "timestamp": 1_700_000_000_000,
        }
        for title, series in names
    ]
    server.transport.call("events.add_batch", lines=[json.dumps(event) for event in events], timeout=20)
    return str(task)


def found_in(facts: Any) -> dict[str, set[str]]:
    """The sets of names, by what the metric is to be called."""
    return {metric["metric"]: {s["name"] for s in metric["spellings"]} for metric in facts["drift"]}


def test_a_project_of_fifty_foreign_tasks(server: View) -> None:
    """Fifty tasks that no group made: the two metrics are named, and none that only looks like it."""
    others = [["precision", "top1", "loss_a"], ["recall", "top5", "loss_b"]]
    for number in range(50):
        names = [ACCURACIES[number % 4], LOSSES[number % 2], *others[number % 2]]
        monitor = (":monitor:machine", "cpu_usage")
        foreign(server, server.project, f"task {number:02}", [(n, n) for n in names] + [monitor])
    facts = as_json("drift", "--project", server.project, code=1)
    assert facts["tasks"] == 50
    assert found_in(facts) == {"accuracy": set(ACCURACIES), "loss": set(LOSSES)}
    (train,) = [s for s in facts["drift"][0]["spellings"] if s["name"] == "train_acc"]
    assert (train["context"], len(train["tasks"])) == ({"split": "train"}, 12)
    seen: dict[str, Any] = {}

    def group(project: str, name: str, *, template: str, metrics: Any) -> None:
        seen["vocabulary"] = Vocabulary.of(metrics, NameTemplate(template))

    exec(facts["vocabulary"].partition("\n")[2], {"Metric": Metric, "TaskGroup": group})
    assert seen["vocabulary"].resolve("train_acc", {}) == ("accuracy", {"split": "train"})
    text = command("drift", "--project", server.project)
    assert text.exit_code == 1
    assert text.stdout.startswith("50 tasks, 8 metrics: 2 spelt in different ways\n")
    assert "  train_acc  12 tasks: task 03, task 07 and 10 more · split=train\n" in text.stdout
    assert (
        "\nonly some tasks report loss_a (25), loss_b (25), precision (25), recall (25), top1 (25)"
        in text.stdout
    )
    assert facts["vocabulary"] in text.stdout


def test_more_tasks_than_a_page(server: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks come in pages, and all of them are looked at."""
    from clearml_taskgroup._clearml import queries
    from clearml_taskgroup._cli import logged_names

    monkeypatch.setattr(queries, "MAX_PAGE_TASKS", 3)
    monkeypatch.setattr(logged_names, "MAX_PAGE_TASKS", 3)
    ids = [
        foreign(server, f"{server.project}/part {n}", f"task {n}", [("acc" if n else "ACC", "val")])
        for n in range(7)
    ]
    assert as_json("drift", "--project", server.project, code=1)["tasks"] == 7
    assert as_json("drift", *ids, code=1)["tasks"] == 7


def test_projects_below_and_archived_tasks(server: View) -> None:
    """The projects below count unless it is said otherwise; archived tasks and likely names do not."""
    foreign(server, server.project, "task", [("loss", "loss")])
    foreign(server, f"{server.project}/below", "task", [("Loss", "Loss")])
    foreign(server, f"{server.project} more", "task", [("LOSS", "LOSS")])
    old = foreign(server, server.project, "task", [("losss", "losss")])
    server.call("tasks.archive", tasks=[old])
    assert found_in(as_json("drift", "--project", server.project, code=1)) == {"loss": {"loss", "Loss"}}
    assert as_json("drift", "--project", server.project, "--no-sub-projects")["tasks"] == 1
    found = as_json("drift", "--project", server.project, "--no-sub-projects", old, code=1)
    assert found_in(found) == {"loss": {"loss", "losss"}}
    server.call("projects.delete", project=_project(server, f"{server.project} more"), force=True)


def _project(server: View, name: str) -> str:
    return str(server.call("projects.get_all", name=f"^{name}$", only_fields=["id"])["projects"][0]["id"])


def test_single_values_and_tasks_without_any(server: View) -> None:
    """Single values count by their names; a task that logged nothing does no harm."""
    ids = [
        foreign(server, server.project, "one", [("Summary", "acc")]),
        foreign(server, server.project, "two", [("Summary", "accuracy")]),
    ]
    ids.append(
        str(server.call("tasks.create", name="three", type="testing", project=server.project_id())["id"])
    )
    assert found_in(as_json("drift", *ids, code=1)) == {"accuracy": {"acc", "accuracy"}}


def test_no_drift(server: View) -> None:
    """Where nothing drifts, one line says so and the exit code is 0."""
    task = foreign(server, server.project, "one", [("loss", "train"), ("loss", "val")])
    assert command("drift", task).stdout == "1 task, 1 metric: no drift\n"
    facts = as_json("drift", task)
    assert (facts["drift"], [metric["metric"] for metric in facts["others"]]) == ([], ["loss"])


@pytest.mark.parametrize("where", ["disk", "server"])
def test_a_group_drifts(where: str, request: pytest.FixtureRequest) -> None:
    """A group is looked at by its metrics, whatever its template makes of them."""
    place = Place(request.getfixturevalue("loopback")) if where == "server" else Place()
    with place.group(template="task_{task}_{metric}", metrics=[*ACCURACIES, "loss"]) as group:
        for number, name in enumerate(ACCURACIES):
            group.task({"C": number}).report({name: 1.0, "loss": 1.0}, 1)
    for form in (f"{PROJECT}/{NAME}", group.id, group.run[:8]):
        facts = as_json("drift", "--group", form, code=1)
        assert found_in(facts) == {"accuracy": set(ACCURACIES)}


def test_a_cured_group_is_at_peace() -> None:
    """A group with the vocabulary that was printed does not drift, with a split or without."""
    template = "{metric}/{split=value} fold={fold=no}"
    metrics = ["loss", "Loss", "val_loss"]
    more: dict[str, Any] = {"mode": "offline", "provenance": False}
    with TaskGroup(PROJECT, NAME, template=template, metrics=metrics, **more) as group:
        one, other = group.tasks({"C": [1, 2]})
        one.report({"val_loss": 1.0}, 1)
        other.report({"Loss": 1.0}, 1, fold=2)
    code = as_json("drift", "--group", f"{PROJECT}/{NAME}", code=1)["vocabulary"]
    ran: dict[str, Any] = {}
    exec(code.replace("metrics=metrics)", 'metrics=metrics, mode="offline", provenance=False)'), ran)
    assert (ran["group"].project, ran["group"].name) == (PROJECT, NAME)
    with ran["group"] as group:
        one, other = group.tasks({"C": [1, 2]})
        one.report({"val_loss": 1.0}, 1)
        other.report({"Loss": 1.0}, 1)
        other.report({"Loss": 1.0}, 1, fold=2, split="holdout")
    found = command("drift", "--group", f"{PROJECT}/{NAME}")
    assert (found.exit_code, found.stdout.splitlines()[0]) == (
        0,
        "2 tasks, 1 metric: no drift, but 1 metric in different contexts",
    )
    assert found.stdout.endswith("\n  loss: loss (1 task: C=2), loss/val (1 task: C=1)\n")


def test_contexts_that_other_tasks_lack_are_a_hint(server: View) -> None:
    """Curves only as `value` in some tasks and only as `val` in others: told, and not a mistake."""
    for number, series in enumerate([["value"], ["value"], ["val"], ["val", "train"], ["train", "val"]]):
        names = [("accuracy", name) for name in series] + [("loss", "val"), ("loss", "train")]
        foreign(server, server.project, f"task {number}", names)
    found = command("drift", "--project", server.project)
    assert found.exit_code == 0
    assert found.stdout.startswith("5 tasks, 2 metrics: no drift, but 1 metric in different contexts\n")
    hint = "accuracy/value (2 tasks: task 0, task 1)", "accuracy/val (1 task: task 2)"
    assert all(part in found.stdout.splitlines()[-1] for part in hint)
    (contexts,) = as_json("drift", "--project", server.project)["in_different_contexts"].values()
    told_of = sorted(spelling["name"] for same in contexts for spelling in same)
    assert told_of == ["accuracy/val", "accuracy/value"]


def test_a_default_split_is_that_of_a_template() -> None:
    """A bare name that means `val` by its group's template is in the context of those that say so."""
    for name, template in [("bare", "{metric}/{split=val}"), ("split", "{metric}/{split=value}")]:
        with TaskGroup(PROJECT, name, template=template, mode="offline", provenance=False) as group:
            context = {"split": "val"} if name == "split" else {}
            group.task({"C": 1}).report({"loss": 1.0}, 1, **context)
    assert command("drift", "--project", PROJECT).stdout == "2 tasks, 1 metric: no drift\n"


def test_a_name_with_a_split_keeps_it_whatever_the_templates_default() -> None:
    """The command says what the warning at the group's end says, with code for this group."""
    names = ["acc", "accuracy", "training_accuracy"]
    group = TaskGroup(PROJECT, NAME, template="{metric}/{split=val}", mode="offline", provenance=False)
    group.open()
    for number, name in enumerate(names):
        group.task({"C": number}).report({name: 1.0}, 1)
    with pytest.warns(DriftWarning, match=f"{', '.join(map(repr, names))} look like one metric"):
        group.close()
    facts = as_json("drift", "--group", f"{PROJECT}/{NAME}", code=1)
    assert [{each["alias"] for each in metric["spellings"]} for metric in facts["drift"]] == [set(names)]
    assert '"training_accuracy": {"split": "train"}' in facts["vocabulary"]
    assert 'template="{metric}/{split=val}", metrics' in facts["vocabulary"]
    assert facts == as_json("drift", "--project", PROJECT, code=1)


REPORTED = st.tuples(
    st.sampled_from(["acc", "accuracy", "train_acc", "val_acc", "train", "loss/val", "eval_acc", "a b", "1"]),
    st.sampled_from([None, "train", "val"]),
)


@settings(max_examples=10)
@given(
    reported=st.lists(REPORTED, min_size=1, max_size=6),
    template=st.sampled_from(
        ["{metric}/{split=val}", "{metric}/{split=value}", "{split=train}/{metric}", "{metric}_{split=none}"]
    ),
)
@example(reported=[("train_acc", None), ("train_acc", "val"), ("acc", None)], template="{metric}/{split=val}")
def test_pasted_code_takes_what_the_group_reported(
    reported: list[tuple[str, str | None]], template: str
) -> None:
    """Each metric with each context is accepted, with the vocabulary and the template that are printed."""
    more: dict[str, Any] = {"mode": "offline", "provenance": False}
    default = NameTemplate(template).defaults.get("split")  # given or not is the same name
    calls = [
        ({metric: 1.0}, {"split": split} if split not in (None, default) else {})
        for metric, split in reported
    ]
    with warnings.catch_warnings(action="ignore", category=DriftWarning):
        with TaskGroup(PROJECT, NAME, template=template, **more) as group:
            for number, (values, context) in enumerate(calls):
                group.task({"C": number}).report(values, 1, **context)
    code = json.loads(command("drift", "--group", group.run[:8], "--json").stdout)["vocabulary"]
    ran: dict[str, Any] = {}
    exec(code.replace("metrics=metrics)", 'metrics=metrics, mode="offline", provenance=False)'), ran)
    with ran["group"] as group:
        for number, (values, context) in enumerate(calls):
            group.task({"C": number}).report(values, 1, **context)


def test_what_tasks_report_both_of_is_not_merged() -> None:
    """The cure runs with what the tasks report, also with two names of one metric at once."""
    reported: list[dict[str, float]] = [
        {"lr": 1.0, "learning_rate": 1.0},
        {"lr": 1.0},
        {"learning_rate": 1.0},
    ]
    with TaskGroup(PROJECT, NAME, metrics=["lr", "learning_rate"], mode="offline", provenance=False) as group:
        for task, values in zip(group.tasks({"C": [1, 2, 3]}), reported, strict=True):
            task.report(values, 1)
    text = command("drift", "--group", f"{PROJECT}/{NAME}")
    assert text.exit_code == 1
    assert text.stdout.startswith(
        "3 tasks, 1 metric: 1 spelt in different ways, 1 of them with names that some tasks report both of\n"
    )
    assert "  1 task reports both learning_rate and lr: they are not merged\n" in text.stdout
    facts = as_json("drift", "--group", f"{PROJECT}/{NAME}", code=1)
    assert [metric["merged"] for metric in facts["drift"]] == [False]
    ran: dict[str, Any] = {}
    code = facts["vocabulary"]
    exec(code.replace("metrics=metrics)", 'metrics=metrics, mode="offline", provenance=False)'), ran)
    with ran["group"] as group:
        for task, values in zip(group.tasks({"C": [1, 2, 3]}), reported, strict=True):
            task.report(values, 1)
    assert group.results()[0].value("lr") == 1.0


def test_tasks_that_failed_are_no_measure() -> None:
    """What failed and stopped tasks lack is not told; that completed tasks lack something is."""
    with TaskGroup(PROJECT, NAME, metrics=["loss", "lr"], mode="offline", provenance=False) as group:
        for task in group.tasks({"C": [1, 2, 3, 4]}):
            task.report({"loss": 1.0}, 1)
            if task.params["C"] == 1:
                task.report({"lr": 1.0}, 1)
            elif task.params["C"] == 2:
                task.mark_failed("no memory")
            elif task.params["C"] == 3:
                task.mark_stopped("pruned")
    assert "only some tasks report lr (1)\n" in command("drift", "--group", f"{PROJECT}/{NAME}").stdout
    with TaskGroup(PROJECT, NAME, metrics=["loss", "lr"], mode="offline", provenance=False) as group:
        whole, broken, _ = group.tasks({"C": [1, 2, 3]})
        whole.report({"loss": 1.0, "lr": 1.0}, 1)
        broken.report({"loss": 1.0}, 1)
        broken.mark_failed("no memory")
    assert command("drift", "--group", f"{PROJECT}/{NAME}").stdout == "3 tasks, 2 metrics: no drift\n"


def test_splits_that_scripts_must_spell_alike(server: View) -> None:
    """No alias cures `val` beside `valid` as series: a comment says so."""
    ids = [foreign(server, server.project, "task", [("loss", split)]) for split in ("val", "valid")]
    code = as_json("drift", "--project", server.project, code=1)["vocabulary"]
    assert '# "loss" has the splits "val", "valid": write split="val"' in code
    assert f'TaskGroup("{server.project}", "my group", ' in code
    assert 'TaskGroup("my project", "my group", ' in as_json("drift", *ids, code=1)["vocabulary"]


def test_parents_of_groups_are_left_out(loopback: LoopbackServer) -> None:
    """A project with groups in it is told of by their tasks, not by what the parents sum up."""
    for metric in ("acc", "accuracy"):
        with Place(loopback).group() as group:
            group.task({"C": 1}).report({metric: 1.0}, 1, split="val")
    facts = as_json("drift", "--project", PROJECT, code=1)
    assert (facts["tasks"], facts["others"]) == (2, [])
    assert found_in(facts) == {"accuracy": {"acc/val", "accuracy/val"}}


def test_a_project_on_disk() -> None:
    """Offline a project is all runs of it on this disk; single tasks go by their ids."""
    groups = []
    for project, metric in ((PROJECT, "loss"), (f"{PROJECT}/below", "Loss")):
        with TaskGroup(project, NAME, mode="offline", provenance=False) as group:
            group.task({"C": 1}).report({metric: 1.0}, 1, split="val")
        groups.append(group)
    expected = {"loss": {"loss/val", "Loss/val"}}
    assert found_in(as_json("drift", "--project", PROJECT, code=1)) == expected
    assert as_json("drift", "--project", PROJECT, "--no-sub-projects")["tasks"] == 1
    ids = [task.id for group in groups for task in group]
    assert found_in(as_json("drift", *ids, code=1)) == expected
    assert "'none'" in told("drift", "--project", "none", code=2)
    line = told("drift", "no body", code=2)
    assert line.endswith("the task 'no body' could not be found; did you mean --project 'no body'?")
    assert "--project" not in told("drift", "0123456789abcdef", code=2)


def test_only_tasks_since_a_date(server: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """--since leaves older tasks out; of those no more than a page is asked for."""
    from clearml_taskgroup._clearml import queries

    monkeypatch.setattr(queries, "MAX_PAGE_TASKS", 2)
    for name in ("loss", "Loss", "LOSS", "losss"):
        foreign(server, server.project, name, [(name, name)])
    project = ("drift", "--project", server.project)
    assert as_json(*project, "--since", "2020-01-01", code=1)["tasks"] == 4
    assert as_json(*project, "--since", "1d", code=1)["tasks"] == 4
    tasks = server.call(
        "tasks.get_all", project=[server.project_id()], only_fields=["created"], order_by=["-created"]
    )["tasks"]
    assert as_json(*project, "--since", tasks[0]["created"])["tasks"] == 1
    assert found_in(as_json(*project, "--since", tasks[1]["created"], code=1)) == {"loss": {"LOSS", "losss"}}
    assert command(*project, "--since", "2199-01-01").stdout == "0 tasks, 0 metrics: no drift\n"
    for wrong in ("yesterday", "2026-13-01", "7w"):
        assert f"'{wrong}' is not a date" in told(*project, "--since", wrong, code=2)


@pytest.mark.parametrize("where", ["disk", "server", "server alone"])
def test_only_tasks_of_a_group_since_a_date(where: str, request: pytest.FixtureRequest) -> None:
    """--since holds for groups as well, whether or not this disk has the run's record."""
    place = Place(request.getfixturevalue("loopback")) if where != "disk" else Place()
    with place.group(metrics=["loss", "Loss"]) as group:
        for number, name in enumerate(["loss", "Loss"]):
            group.task({"C": number}).report({name: 1.0}, 1)
    assert group.record_path is not None
    if where == "server alone":
        group.record_path.unlink()
    whole = ("drift", "--group", f"{PROJECT}/{NAME}")
    assert as_json(*whole, "--since", "1d", code=1)["tasks"] == 2
    assert as_json(*whole, "--since", "2199-01-01")["tasks"] == 0
    if where == "disk":
        lines = group.record_path.read_text().splitlines()
        moved = [
            json.dumps(
                {**json.loads(line), "time": 1.0e9} if '"params": {"C": 0}' in line else json.loads(line)
            )
            for line in lines
        ]
        group.record_path.write_text("\n".join(moved) + "\n")
        assert as_json(*whole, "--since", "2020-01-01")["tasks"] == 1
        assert as_json("drift", "--project", PROJECT, "--since", "2020-01-01")["tasks"] == 1


def test_a_run_log_needs_no_server(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an online run the file with its run log is enough."""
    with Place(loopback).group(metrics=["loss", "Loss"]) as group:
        for number, name in enumerate(["loss", "Loss"]):
            group.task({"C": number}).report({name: 1.0}, 1)
    monkeypatch.setenv("CLEARML_API_HOST", "http://127.0.0.1:9")
    facts = as_json("drift", "--group", group.record_path, code=1)
    assert found_in(facts) == {"loss": {"loss", "Loss"}}


def test_what_cannot_be_looked_at(server: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not there, a server that is away and nothing to look at have exit code 2, apart from drift."""
    assert "the project 'none of these' could not be found" in told(
        "drift", "--project", "none of these", code=2
    )
    assert "'0123'" in told("drift", "0123", code=2)
    assert "was not found" in told("drift", "--group", "none/of these", code=2)
    assert "give --project, --group or the ids of tasks" in told("drift", code=2)
    assert "project/name" in told("drift", "--group", "none", code=2)
    assert "--project or --group" in told("drift", "--project", "none", "--group", "none/such", code=2)
    assert "write --group none/such" in told("drift", "none/such", code=2)
    monkeypatch.setenv("CLEARML_API_HOST", "http://127.0.0.1:9")
    for what in (["0123"], ["--group", "none/such"], ["--project", "none"]):
        assert "127.0.0.1:9 does not answer" in told("drift", *what, code=2)


def test_a_project_that_is_not_there_has_neighbours(server: View) -> None:
    """Of a project that is not there the closest ones are told, on the server and on this disk."""
    foreign(server, f"{server.project}/vision", "one", [("loss", "train")])
    line = told("drift", "--project", f"{server.project}/vison", code=2)
    assert f"; did you mean '{server.project}/vision'" in line
    with TaskGroup("a project on disk", NAME, mode="offline", provenance=False) as group:
        group.task({"C": 1})
    line = told("drift", "--project", "project on disk", "--offline", code=2)
    assert line.endswith("; did you mean 'a project on disk'?")


def test_a_group_that_several_digits_mean_is_not_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever keeps it from looking has exit code 2, digits of two runs as well."""
    runs = [Listed("p", "g", "0" * 12, f"abcdef{n}", n, "offline", None) for n in range(2)]
    monkeypatch.setattr(find_run, "runs_on_disk", lambda root: runs)
    assert "give more digits" in told("drift", "--group", "abcdef", code=2)


def test_the_vocabulary_is_written_to_a_file(tmp_path: Path) -> None:
    """The code alone, which can be run; a file that exists, or that cannot be written, is an error."""
    names = ["acc", "accuracy"]
    with TaskGroup(PROJECT, NAME, metrics=names, mode="offline", provenance=False) as group:
        for number, name in enumerate(names):
            group.task({"C": number}).report({name: 1.0}, 1)
    asked, path = ["drift", "--group", f"{PROJECT}/{NAME}"], tmp_path / "vocabulary.py"
    code = as_json(*asked, code=1)["vocabulary"]
    written = command(*asked, "--write", str(path))
    assert (written.exit_code, path.read_text("utf-8")) == (1, code + "\n")
    assert "metrics = [" not in written.stdout
    assert str(path) in written.stdout
    path.write_text("mine", "utf-8")
    assert "exists and is not replaced" in told(*asked, "--write", str(path), code=2)
    assert path.read_text("utf-8") == "mine"
    assert "No such file" in told(*asked, "--write", str(tmp_path / "nowhere" / "a.py"), code=2)
    assert "two steps" in told(
        *asked, "--write", "a.py", "--vocabulary", str(path), "--plan", "plan.json", code=2
    )


# --- plans ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        *(
            (["--apply", "FILE", *more], "--apply takes --yes and --json only")
            for more in (
                *(["0123"], ["--project", "a"], ["--group", "a/b"], ["--since", "1d"], ["--online"]),
                *(["--vocabulary", "FILE"], ["--plan", "p"], ["--write", "w"]),
            )
        ),
        (["--apply", "FILE", "--json"], "--json does not ask"),
        (["--project", "a", "--plan", "p"], "--vocabulary and --plan belong together"),
        (["--project", "a", "--vocabulary", "FILE"], "--vocabulary and --plan belong together"),
        (["--project", "a", "--yes"], "--yes belongs to --apply"),
        (["--vocabulary", "FILE", "--plan", "p"], "give --project, --group or the ids of tasks"),
    ],
)
def test_arguments_that_do_not_belong_together(arguments: list[str], line: str, tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.write_text("{}")
    result = command("drift", *(file if one == "FILE" else one for one in arguments))
    assert (result.exit_code, line in result.stderr) == (2, True)


@pytest.mark.parametrize("where", ["disk", "server"])
def test_which_tasks_are_planned(where: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Those of groups, of projects and by their ids, where ClearML is configured to look."""
    place = Place(request.getfixturevalue("loopback") if where == "server" else None)
    vocabulary = tmp_path / "vocabulary.py"
    vocabulary.write_text(
        "from clearml_taskgroup import Metric\nmetrics = [Metric('accuracy', aliases=['acc'])]\n"
        "template = '{metric}/{split=value}'\n"
    )
    with place.group(metrics=["acc", "accuracy"]) as group:
        old, good = group.tasks({"C": [1, 2]})
        old.report({"acc": 1.0}, 1, split="val")
        good.report({"accuracy": 1.0}, 1, split="val")
    for arguments, expected in (
        (["--group", f"{PROJECT}/{NAME}"], [old.id]),
        (["--project", PROJECT], [old.id]),
        ([old.id, good.id], [old.id]),
        (["--project", PROJECT, "--since", "2199-01-01"], []),
    ):
        path = tmp_path / "plan.json"
        as_json("drift", *arguments, "--vocabulary", vocabulary, "--plan", path)
        plan = json.loads(path.read_text())
        assert [task["id"] for task in plan["tasks"]] == expected
        assert (plan["left_alone"], plan["conflicts"], "server" in plan) == ([], [], where == "server")
        path.unlink()
