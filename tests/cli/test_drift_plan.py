"""`drift --plan` and `--apply`: what would be copied to the correct names, and that it is."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml.sdk import cache_folder
from tests.cli.test_drift import foreign
from tests.loopback import LoopbackServer
from tests.support.cli import as_json, command, told
from tests.support.runs import NAME, PROJECT, Place
from tests.support.server_view import View

VOCABULARY = """
from clearml_taskgroup import Metric, TaskGroup

metrics = [
    Metric("accuracy", mode="max", aliases={"acc": {}, "val_acc": {"split": "val"}}),
    Metric("loss", aliases=["Loss"]),
]
group = TaskGroup("any project", "any group", template="{metric}/{split=value}", metrics=metrics)
"""
SINGLE = -(2**31)


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a folder with a vocabulary."""
    monkeypatch.chdir(tmp_path)
    Path("vocabulary.py").write_text(VOCABULARY)


def plan(*arguments: object) -> Any:
    """Plans; gives the plan's file."""
    as_json("drift", *arguments, "--vocabulary", "vocabulary.py", "--plan", "plan.json")
    return json.loads(Path("plan.json").read_text())


def copies(planned: Any) -> dict[str, list[str]]:
    """What is copied, by the names of tasks."""
    return {
        task["name"]: ["/".join(one["from"]) + " -> " + "/".join(one["to"]) for one in task["copies"]]
        for task in planned["tasks"]
    }


def test_a_project_is_mended(server: View) -> None:
    """Curves and single values get their correct names; what is there stays, and nothing is done twice."""
    old = foreign(
        server,
        server.project,
        "old",
        [("val_acc", "val_acc"), ("Loss", "train"), ("Summary", "acc"), ("lr", "lr")],
        comment="by hand",
        tags=["mine"],
    )
    good = foreign(server, server.project, "good", [("accuracy", "val"), ("loss", "train")])
    server.call("tasks.completed", task=old, force=True)
    planned = plan("--project", server.project)
    assert copies(planned).keys() == {"old"}
    assert set(copies(planned)["old"]) == {
        "val_acc/val_acc -> accuracy/val",
        "Loss/train -> loss/train",
        "Summary/acc -> Summary/accuracy/value",
    }
    before, untouched = server.scalars(old, 4), server.task(good)
    assert as_json("drift", "--apply", "plan.json", "--yes") == {
        "plan": planned["id"],
        "tasks": 1,
        "names": 3,
        "points": 3,
        "left_alone": [],
    }
    after = server.scalars(old, 7)
    assert {name: after[name] for name in before} == before
    assert after["accuracy", "val"] == after["loss", "train"] == [(1, 0.5)]
    assert after["Summary", "accuracy/value"] == [(SINGLE, 0.5)]
    task = server.task(old)
    assert (task["status"], sorted(task["tags"])) == ("completed", [f"drift-plan:{planned['id']}", "mine"])
    assert task["comment"].startswith("by hand\n\nclearml-taskgroup drift has copied (plan ")
    assert "\nLoss/train -> loss/train" in task["comment"]
    assert server.task(good) == untouched
    assert as_json("drift", "--apply", "plan.json", "--yes")["points"] == 0
    assert (server.task(old), server.scalars(old, 7)) == (task, after)
    assert "no drift" in command("drift", "--project", server.project).stdout
    again = ("drift", "--project", server.project, "--vocabulary", "vocabulary.py", "--plan", "second.json")
    assert as_json(*again)["curves"] == 0


def test_what_is_left_alone(server: View) -> None:
    """Tasks with both names, running, queued, published and archived ones are told, and not touched."""
    made = {
        "both": foreign(server, server.project, "both", [("acc", "val"), ("accuracy", "val")]),
        "two": foreign(server, server.project, "two", [("acc", "val"), ("val_acc", "val_acc")]),
        "good": foreign(server, server.project, "good", [("acc", "val"), ("lr", "lr")]),
    }
    for name in ("running", "published", "archived", "queued"):
        made[name] = foreign(server, server.project, name, [("acc", "val")])
    server.call("tasks.started", task=made["running"])
    server.call("tasks.completed", task=made["published"], force=True)
    server.call("tasks.publish", task=made["published"])
    server.call("tasks.archive", tasks=[made["archived"]])
    queue = server.call("queues.create", name=f"{server.project} queue".replace("/", " "))["id"]
    server.call("tasks.enqueue", task=made["queued"], queue=queue)
    planned = plan("--project", server.project)
    assert set(copies(planned)) == {"good"}
    why = {left["name"]: left["why"] for left in planned["left_alone"]}
    assert why == {
        "running": "it is running",
        "published": "it is published",
        "archived": "it is archived",
        "queued": "it is queued",
    }
    conflicts = {left["name"]: left["why"] for left in planned["conflicts"]}
    assert conflicts["both"] == "it has data under both names"
    assert "would get the same name" in conflicts["two"]
    text = command("drift", "--apply", "plan.json", answer="n")
    assert text.exit_code == 1
    assert "left alone:\n" in text.stdout
    assert "copy these on the server http" in text.stdout
    server.call("tasks.dequeue", task=made["queued"])
    server.call("queues.delete", queue=queue, force=True)


def test_points_that_share_an_id_are_not_replaced(server: View) -> None:
    """ClearML keeps data points by `title-series`: a copy may not replace those of another name."""
    Path("vocabulary.py").write_text(
        "from clearml_taskgroup import Metric\n"
        'metrics = [Metric("loss", aliases=["Loss"])]\ntemplate = "{metric}/{split=a-b}"\n'
    )
    task = foreign(server, server.project, "task", [("Loss", "Loss"), ("loss-a", "b")])
    planned = plan(task)
    assert planned["tasks"] == []
    assert "under one id, 'loss-a-b'" in planned["conflicts"][0]["why"]


def test_the_task_has_changed_since_the_plan(server: View) -> None:
    """What no longer fits is left alone, with exit code 1; what is new under the old name is copied."""
    names = [("acc", "val")]
    made = {
        name: foreign(server, server.project, name, names)
        for name in ("longer", "both", "deleted", "published", "running", "reset")
    }
    plan("--project", server.project)
    event = {"type": "training_stats_scalar", "variant": "val", "value": 0.7, "timestamp": 1_700_000_000_001}
    more = [
        {**event, "task": made["longer"], "metric": "acc", "iter": 2},
        {**event, "task": made["both"], "metric": "accuracy", "iter": 1},
    ]
    server.transport.call("events.add_batch", lines=[json.dumps(each) for each in more], timeout=20)
    server.call("tasks.delete", task=made["deleted"], force=True)
    server.call("tasks.completed", task=made["published"], force=True)
    server.call("tasks.publish", task=made["published"])
    server.call("tasks.started", task=made["running"])
    server.call("tasks.reset", task=made["reset"], force=True)
    both = server.task(made["both"])
    facts = as_json("drift", "--apply", "plan.json", "--yes", code=1)
    assert {left["name"]: left["why"] for left in facts["left_alone"]} == {
        "both": "acc/val -> accuracy/val: it has data under both names",
        "deleted": "it was deleted",
        "published": "it is published",
        "running": "it is running",
        "reset": "acc/val -> accuracy/val: it has no data under the old name any more",
    }
    assert server.task(made["both"]) == both
    assert server.scalars(made["longer"], 4)["accuracy", "val"] == [(1, 0.5), (2, 0.7)]


def test_a_plan_file_that_does_not_fit(server: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edited plan, one of another version or for another server, and other files are refused."""
    task = foreign(server, server.project, "task", [("acc", "val")])
    planned = plan(task)
    apply = ("drift", "--apply", "plan.json", "--yes")
    file = Path("plan.json")
    text = file.read_text()
    file.write_text(text.replace('"val"', '"test"', 1))
    assert "this one was edited" in told(*apply, code=2)
    file.write_text(json.dumps({**planned, "clearml_taskgroup_drift_plan": 2}))
    assert "a plan of version 1, not 2; install the version" in told(*apply, code=2)
    for other in ("{}", "[]", "no JSON", '"text"'):
        file.write_text(other)
        assert "a file that drift --plan wrote" in told(*apply, code=2)
    file.write_bytes(b"\xff\xfe")
    assert "a file that drift --plan wrote" in told(*apply, code=2).replace("is not ", "")
    file.write_text("{}")
    line = told("drift", task, "--vocabulary", "vocabulary.py", "--plan", "plan.json", code=2)
    assert "plan.json exists and is no plan" in line
    file.write_text(text)
    command("drift", task, "--vocabulary", "vocabulary.py", "--plan", "plan.json")  # the same plan
    assert file.read_text() == text
    other = foreign(server, server.project, "other", [("acc", "val")])
    result = command("drift", other, "--vocabulary", "vocabulary.py", "--plan", "plan.json")
    kept = f"plan.{planned['id']}.json"
    assert result.stdout.endswith(f"\nthe plan that was there is now {kept}\n")
    assert Path(kept).read_text() == text
    with LoopbackServer() as elsewhere:
        for name, value in elsewhere.environment().items():
            monkeypatch.setenv(name, value)
        assert "the plan is for the server http" in told(*apply, code=2)


def test_a_vocabulary_that_cannot_be_used(server: View) -> None:
    """A file that fails, or has no metrics, or a template that only a group fills in."""
    task = foreign(server, server.project, "task", [("acc", "val")])
    for code, line in (
        ("1 / 0", "vocabulary.py fails with ZeroDivisionError"),
        ("raise SystemExit(3)", "vocabulary.py fails with SystemExit"),
        (
            VOCABULARY + "other = TaskGroup('other', 'group', metrics=['c'])",
            "several groups with different metrics=",
        ),
        ("x = 1", "neither a TaskGroup with metrics= nor a list metrics"),
        ('metrics = ["a"]\ntemplate = "{metric}/{task}"', "has {task}, which only a group fills in"),
        ('metrics = "a"', "is a bare string"),
    ):
        Path("vocabulary.py").write_text(code)
        assert line in told("drift", task, "--vocabulary", "vocabulary.py", "--plan", "p.json", code=2)
    assert not Path("p.json").exists()


def test_a_group_on_disk_is_mended() -> None:
    """Sessions are only appended to; results, a resume and the next plan see the correct name."""
    metrics = ["acc", "accuracy"]
    with TaskGroup(PROJECT, NAME, metrics=metrics, mode="offline", provenance=False) as group:
        old, good = group.tasks({"C": [1, 2]})
        for step, value in enumerate((0.25, 0.5)):
            old.report({"acc": value}, step, split="val")
            good.report({"accuracy": value}, step, split="val")
        old.report({"acc": 0.75}, split="val")
    assert group.record_path is not None
    session = cache_folder() / "offline" / old.id
    events, log = (session / "metrics.jsonl").read_bytes(), group.record_path.read_bytes()
    planned = plan("--group", f"{PROJECT}/{NAME}")
    assert set(copies(planned)["C=1"]) == {
        "acc/val -> accuracy/val",
        "Summary/acc/val -> Summary/accuracy/val",
    }
    facts = as_json("drift", "--apply", "plan.json", "--yes")
    assert (facts["names"], facts["points"], facts["left_alone"]) == (2, 3, [])
    assert (session / "metrics.jsonl").read_bytes().startswith(events)
    assert group.record_path.read_bytes().startswith(log)
    results = TaskGroup.load(PROJECT, NAME, mode="offline")
    assert [row.value("accuracy", split="val") for row in results] == [0.75, 0.5]
    assert results[0].status == "completed"
    assert results[0].history("accuracy", split="val").values == (0.25, 0.5)
    stored = json.loads((session / "task.json").read_text())
    assert stored["tags"] == [f"drift-plan:{planned['id']}"]
    assert "acc/val -> accuracy/val" in stored["comment"]
    for what in (["--group", f"{PROJECT}/{NAME}"], ["--project", PROJECT], [old.id, good.id]):
        assert "no drift" in command("drift", *what).stdout
    files = {path: path.read_bytes() for path in cache_folder().rglob("*") if path.is_file()}
    again = command("drift", "--apply", "plan.json", "--yes").stdout
    assert again.endswith("\ncopied 0 names (0 data points) in 0 tasks\nnothing was left to copy in 1 task\n")
    assert as_json("drift", "--apply", "plan.json", "--yes")["points"] == 0
    assert {path: path.read_bytes() for path in files} == files


def test_a_run_on_disk_that_may_not_be_changed() -> None:
    """A run in use is left alone, and so is a task whose process died, and a session that was deleted."""
    with TaskGroup(PROJECT, NAME, mode="offline", provenance=False) as group:
        group.task({"C": 1}).report({"acc": 0.5}, 1, split="val")
    plan("--project", PROJECT)
    with TaskGroup(PROJECT, NAME, mode="offline", provenance=False, resume=True):
        facts = as_json("drift", "--apply", "plan.json", "--yes", code=1)
        assert [left["why"] for left in facts["left_alone"]] == ["a living process has its run open"]
    (task,) = group
    (cache_folder() / "offline" / task.id / "task.json").unlink()
    facts = as_json("drift", "--apply", "plan.json", "--yes", code=1)
    assert [left["why"] for left in facts["left_alone"]] == ["its session was deleted"]
    moved = cache_folder().rename(cache_folder().parent / "elsewhere")
    moved.joinpath("offline").mkdir(exist_ok=True)
    facts = as_json("drift", "--apply", "plan.json", "--yes", code=1)
    assert [left["why"] for left in facts["left_alone"]] == ["it has no run log on this disk any more"]


def test_sessions_of_clearml_itself_are_read_and_not_changed() -> None:
    """Folders and zip files that `Task.init` leaves offline drift, too; a plan leaves them alone."""
    root = cache_folder() / "offline"
    ids = []
    for number, metric in enumerate(("acc", "accuracy")):
        ids.append(f"offline-{number:032x}")
        folder = root / ids[-1]
        folder.mkdir(parents=True)
        data = {"id": ids[-1], "name": f"raw {metric}", "project_name": "raw", "execution": {}}
        event = {"type": "training_stats_scalar", "task": ids[-1], "metric": metric, "variant": "val"}
        (folder / "task.json").write_text(json.dumps(data))
        (folder / "metrics.jsonl").write_text(json.dumps([{**event, "iter": 1, "value": 0.5}]) + "\n")
    folder = root / ids[0]
    with zipfile.ZipFile(f"{folder}.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
            file.unlink()
    folder.rmdir()
    (root / "offline-broken.zip").write_bytes(b"no zip")
    facts = as_json("drift", "--project", "raw", code=1)
    assert facts["tasks"] == 2
    assert [spelling["name"] for spelling in facts["drift"][0]["spellings"]] == ["acc/val", "accuracy/val"]
    assert as_json("drift", *ids, code=1)["tasks"] == 2
    planned = plan("--project", "raw")
    assert planned["tasks"] == []
    assert "Task.import_offline_session" in planned["left_alone"][0]["why"]
    text = command("drift", "--project", "raw", "--vocabulary", "vocabulary.py", "--plan", "plan.json").stdout
    assert text == (
        "2 tasks: nothing to copy\n"
        "\n"
        "1 task left alone:\n"
        "  raw acc: it is a session of ClearML's own, which is read, not changed: "
        "import it to a server, with Task.import_offline_session, and plan there\n"
        "what would be copied in them:\n"
        "  acc/val -> accuracy/val  1 task\n"
        "\n"
        "nothing to apply; plan.json lists what is left alone\n"
    )


def test_the_text_of_a_plan() -> None:
    """Tasks left alone for one reason are in one line; a plan without copies says that it has none."""
    tasks = ("drift", "--group", f"{PROJECT}/{NAME}", "--vocabulary", "vocabulary.py", "--plan", "plan.json")
    with TaskGroup(PROJECT, NAME, mode="offline", provenance=False) as group:
        for number in range(5):
            group.task({"C": number}).report({"accuracy": 0.5}, 1)
    assert command(*tasks).stdout == "5 tasks: nothing to copy\n\nnothing to apply; plan.json has no copies\n"
    with TaskGroup(PROJECT, NAME, mode="offline", provenance=False) as group:
        for number in range(5):
            group.task({"C": number}).report({"acc": 0.5}, 1, split="val" if number else "train")
    for task in list(group)[1:]:
        (cache_folder() / "offline" / task.id / "task.json").unlink()
    text = command(*tasks).stdout
    assert text.startswith("5 tasks: 1 curve of 1 task to copy\n  acc/train -> accuracy/train  1 task\n")
    assert "\n\n4 tasks left alone:\n  C=1, C=2, C=3 and 1 more: " in text
    assert "\nwhat would be copied in them:\n  acc/val -> accuracy/val  4 tasks\n" in text
    assert "\nwritten to plan.json; look at it, then: clearml-taskgroup drift --apply plan.json\n" in text


def test_a_plan_on_disk_leaves_what_is_on_a_server(loopback: LoopbackServer) -> None:
    """The tasks of an online run are changed on the server, by --group too."""
    with Place(loopback).group() as group:
        group.task({"C": 1}).report({"acc": 1.0}, 1, split="val")
    planned = plan("--group", f"{PROJECT}/{NAME}")
    assert "server" in planned
    assert set(copies(planned)) == {"the group C=1"}
    as_json("drift", "--apply", "plan.json", "--yes")
    assert TaskGroup.load(PROJECT, NAME)[0].value("accuracy", split="val") == 1.0
    facts = as_json("drift", "--group", f"{PROJECT}/{NAME}")
    assert [metric["metric"] for metric in facts["others"]] == ["accuracy"]
