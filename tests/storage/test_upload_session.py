"""One offline session: what of it a server gets, and what is there already."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._clearml.hyperparameters import ADDED
from clearml_taskgroup._model.past import PastTask
from clearml_taskgroup._model.specs import ForeignStatus
from clearml_taskgroup._storage import upload_session as module
from clearml_taskgroup._storage.upload_session import Journal, Session

ID = "offline-0123"
THERE = "0123456789abcdef"
FILES = "http://files:8081"


def item(section: str, name: str, value: str) -> dict[str, str]:
    return {"section": section, "name": name, "value": value}


def identity(**entries: str) -> dict[str, dict[str, str]]:
    return {name: item("TaskGroup", name, value) for name, value in entries.items()}


class Server:
    """Takes the place of a backend, and notes what it is given."""

    def __init__(self) -> None:
        self.transport = None
        self.connection = SimpleNamespace(files=FILES)
        self.batch_sender = SimpleNamespace(send_all=lambda batch: self.batches.append(batch))
        self.batches: list[dict[str, list[str]]] = []
        self.created: list[tuple[dict[str, Any], str, dict[str, str]]] = []
        self.files: dict[str, str] = {}
        self.parameters: list[Any] = []
        self.artifacts: list[Any] = []

    def create_task(self, body: dict[str, Any], project: str, identity: dict[str, str]) -> str:
        self.created.append((body, project, identity))
        return THERE

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for batch in self.batches for lines in batch.values() for line in lines]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()

    def upload_file(path: Path, url: str) -> str:
        found.files[url] = path.read_text()
        return url

    monkeypatch.setattr(sdk, "upload_file", upload_file)
    monkeypatch.setattr(module, "restart_task", lambda *_: None)
    monkeypatch.setattr(module, "edit_parameters", lambda _, __, items: found.parameters.append(items))
    monkeypatch.setattr(module, "add_artifacts", lambda _, __, items: found.artifacts.append(items))
    return found


def session(folder: Path, *lines: str, **fields: Any) -> Session:
    """A session with lines of events, whose task is on the server."""
    data = {
        "id": ID,
        "name": "a task",
        "project_name": "project",
        "hyperparams": {"TaskGroup": identity(run="r", kind="task", key="k", attempt="1", process="p1")},
    }
    folder.mkdir(exist_ok=True)
    (folder / "task.json").write_text(json.dumps(data | fields))
    if lines:
        (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    found = Session.read(folder)
    assert found is not None
    found.id = THERE
    return found


def as_backend(server: Server) -> Any:
    return server


def upload(found: Session, server: Server, journal: Journal) -> None:
    found.upload(as_backend(server), journal)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.read(tmp_path / "run-0001.upload")


def scalar(number: int, **fields: Any) -> dict[str, Any]:
    event = {"type": "training_stats_scalar", "task": ID, "metric": "m", "variant": "v", "iter": number}
    return {**event, "value": 1.0, **fields}


# --- the journal ---------------------------------------------------------------------------------


def test_the_journal_keeps_the_latest_length_of_each_task(journal: Journal) -> None:
    assert journal.sent == {}
    journal.add("a", 100)
    journal.add("b", 5)
    journal.add("a", 2000)
    assert journal.sent == Journal.read(journal.path).sent == {"a": 2000, "b": 5}


def test_junk_in_the_journal_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "run-0001.upload"
    text = f"a 12\nb x\nc -1\nd\n\xb2 \xb2\ne {'9' * 19}\nf {'9' * 20}\na 1".encode() + b"\ng \xff\n"
    path.write_bytes(text)
    assert Journal.read(path).sent == {"a": 1, "e": int("9" * 19)}


# --- what is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"id": "a", "name": "b"}', "[" * 100_000])
def test_what_is_no_session_is_none(tmp_path: Path, text: str) -> None:
    assert Session.read(tmp_path) is None
    (tmp_path / "task.json").write_text(text)
    assert Session.read(tmp_path) is None


@pytest.mark.parametrize("edited", [[], {"TaskGroup": []}, {"TaskGroup": {"run": "r"}}])
def test_an_edited_session_has_no_identity(tmp_path: Path, edited: Any) -> None:
    assert session(tmp_path).identity["run"] == "r"
    assert session(tmp_path, hyperparams=edited).identity == {}


def test_events_are_those_of_the_task(tmp_path: Path) -> None:
    assert [*session(tmp_path).events()] == []
    found = session(tmp_path, json.dumps([scalar(1), scalar(2, task="a model")]), json.dumps([scalar(3)]))
    assert [event["iter"] for event in found.events()] == [1, 3]


def test_a_script_is_added_where_there_is_none(tmp_path: Path) -> None:
    found = session(tmp_path)
    found.add_script(None)
    assert "script" not in found.data
    found.add_script({"entry_point": "one.py"})
    found.add_script({"entry_point": "two.py"})
    assert found.data["script"] == {"entry_point": "one.py"}


# --- what is on the server -----------------------------------------------------------------------


def test_a_task_that_is_there_is_not_created_again(tmp_path: Path, server: Server) -> None:
    found = session(tmp_path)
    document = {"id": "abc", "status": "stopped"}
    assert found.create(as_backend(server), {("task", "k", "1"): document}, "the parent") == "abc"
    assert (found.id, found.status, found.known, server.created) == ("abc", "stopped", document, [])


def test_a_task_is_created_with_what_the_session_has(tmp_path: Path, server: Server) -> None:
    execution = {"model_labels": {"cat": 1}, "docker_cmd": "image:1 -v /a:/b --rm", "parameters": {}}
    fields = {"type": "training", "tags": ["one"], "comment": "", "status": "in_progress"}
    found = session(tmp_path, execution=execution, output={"destination": "s3://bucket"}, **fields)
    found.run_started = 0.5
    other = {("task", "k", "2"): {"id": "abc", "status": "stopped"}}
    assert found.create(as_backend(server), other, "the parent") == found.id == THERE
    assert (found.status, found.known) == ("created", None)
    ((body, project, sent),) = server.created
    assert (project, sent) == ("project", found.identity)
    started = body["hyperparams"]["TaskGroup"].pop("run_started")
    assert (started["section"], started["value"]) == ("TaskGroup", "1970-01-01T00:00:00.500+00:00")
    assert body == {
        "name": "a task",
        "type": "training",
        "tags": ["one"],
        "hyperparams": {"TaskGroup": found.data["hyperparams"]["TaskGroup"]},
        "execution": {"model_labels": {"cat": 1}},
        "container": {"image": "image:1", "arguments": "-v /a:/b --rm"},
        "output_dest": "s3://bucket",
        "parent": "the parent",
    }


@pytest.mark.parametrize("empty", [{}, {"execution": None, "output": None}, {"execution": {}, "output": {}}])
def test_a_task_without_more_has_no_more(tmp_path: Path, server: Server, empty: dict[str, Any]) -> None:
    """As that of a parent, which has no key."""
    found = session(tmp_path, **empty, hyperparams={"TaskGroup": identity(kind="parent", run="r")})
    found.create(as_backend(server), {}, None)
    ((body, *_),) = server.created
    assert body == {"name": "a task", "hyperparams": found.data["hyperparams"]}
    assert (
        found.create(as_backend(server), {("parent", "", ""): {"id": "p", "status": "created"}}, None) == "p"
    )


@pytest.mark.parametrize(
    ("process", "is_journalled", "is_other"),
    [("p2", False, True), ("p2", True, False), ("p1", False, False), ("", False, False)],
)
def test_a_task_of_another_process(
    tmp_path: Path, journal: Journal, process: str, is_journalled: bool, is_other: bool
) -> None:
    """One that this disk has begun to upload is its own all the same; nobody else's is none."""
    found = session(tmp_path)
    assert not found.is_of_another_process(journal)
    found.known = {"id": THERE, "hyperparams": {"TaskGroup": identity(process=process)}}
    if is_journalled:
        journal.add(THERE, 0)
    assert found.is_of_another_process(journal) is is_other


@pytest.mark.parametrize(
    ("status", "uploaded", "is_done"),
    [
        ("published", "", True),
        ("completed", THERE, True),
        ("closed", THERE, True),
        ("completed", "", False),
        ("completed", "another", False),
        ("in_progress", THERE, False),
    ],
)
def test_what_is_done(tmp_path: Path, status: str, uploaded: str, is_done: bool) -> None:
    found = session(tmp_path)
    found.status = status
    assert found.is_done(uploaded) is is_done


def test_the_status_that_somebody_else_has_set(tmp_path: Path) -> None:
    """Not that of an earlier upload, and none of a task that this upload has created."""
    found = session(tmp_path)
    task = PastTask(ID, "k", "name", 0, 1, {}, status="completed")
    assert found.foreign_status(task) is None
    found.status, found.known = "failed", {"id": THERE, "status": "failed", "status_reason": "by hand"}
    assert found.foreign_status(task) == ForeignStatus("failed", "by hand", "failed")
    task.status_there = "failed"
    assert found.foreign_status(task) is None


# --- events --------------------------------------------------------------------------------------


def test_what_was_not_sent_is_sent_once(
    tmp_path: Path, server: Server, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In requests of limited size; a line that a crash cut short is left for later."""
    found = session(tmp_path / ID)
    assert not found.has_unsent(journal)
    upload(found, server, journal)
    assert (server.batches, journal.sent) == ([], {})
    lines = [json.dumps([scalar(number)]) for number in range(5)]
    found = session(tmp_path / ID, *lines, '[{"torn')
    path = tmp_path / ID / "metrics.jsonl"
    path.write_text(path.read_text().rstrip("\n"))
    monkeypatch.setattr(module, "REQUEST_BYTES", 2 * len(lines[0]) + 2)
    assert found.has_unsent(journal)
    upload(found, server, journal)
    assert [len(batch[THERE]) for batch in server.batches] == [2, 2, 1]
    assert [event["iter"] for event in server.events()] == [0, 1, 2, 3, 4]
    assert {event["task"] for event in server.events()} == {THERE}
    assert journal.sent == {THERE: 5 * (len(lines[0]) + 1)}
    assert not found.has_unsent(journal)
    upload(found, server, journal)
    assert len(server.batches) == 3
    path.write_text("".join(f"{line}\n" for line in (*lines, json.dumps([scalar(5)]))))
    assert found.has_unsent(journal)
    upload(found, server, journal)
    assert [event["iter"] for event in server.events()] == [0, 1, 2, 3, 4, 5]


def test_events_of_others_are_not_sent(tmp_path: Path, server: Server, journal: Journal) -> None:
    found = session(tmp_path / ID, json.dumps([scalar(0, task="another"), {"no": "task"}]), "[]")
    upload(found, server, journal)
    assert server.batches == []
    assert not found.has_unsent(journal)


def test_events_are_written_for_the_task_on_the_server(
    tmp_path: Path, server: Server, journal: Journal
) -> None:
    """Names may have its id; lines of the console keep their order where the page would turn it."""
    log = {"type": "log", "task": ID, "msg": "a"}
    events = [
        scalar(0, metric=f"a {ID}", variant=f"{ID} b", method="events.add"),
        *[{**log, "timestamp": at} for at in (5, 5, 4, 9)],
        {**log, "timestamp": "odd"},
        {"type": "plot", "task": ID, "variant": "v", "plot_str": f"no JSON {ID}"},
        {"type": "plot", "task": ID, "variant": "a title", "plot_str": '{"data": [], "layout": {}}'},
    ]
    found = session(tmp_path / ID, json.dumps(events))
    upload(found, server, journal)
    first, *lines, odd, text, plot = server.events()
    assert (first["metric"], first["variant"], "method" in first) == (f"a {THERE}", f"{THERE} b", False)
    assert [line["timestamp"] for line in lines] == [5, 6, 7, 9]
    assert (odd["timestamp"], text["plot_str"]) == ("odd", f"no JSON {THERE}")
    assert json.loads(plot["plot_str"])["layout"]["title"] == "a title"


def test_files_of_events_and_artifacts_are_uploaded(tmp_path: Path, server: Server, journal: Journal) -> None:
    """Those in the session; addresses of other places stay, and what is not there is named."""
    data = tmp_path / ID / "data"
    inside = f"project/{ID}/a.txt"
    (data / inside).parent.mkdir(parents=True)
    (data / inside).write_text("words")
    (tmp_path / ID / "secret").write_text("secret")

    def image(key: str, url: str) -> dict[str, Any]:
        return {"type": "training_debug_image", "task": ID, "metric": "m", "key": key, "url": url}

    here = f"file://{data}/{inside}"
    plot = {"layout": {"images": [{"source": here}, {"source": "data:image/png"}, {}]}}
    events = [
        image(inside, here),
        image(inside, "https://elsewhere/a.txt"),
        image(inside, ""),
        image("", here),
        image("gone.txt", "gone.txt"),
        image("../secret", "../secret"),
        {"type": "plot", "task": ID, "variant": "v", "plot_str": json.dumps(plot)},
    ]
    artifacts = [
        {"key": "a", "uri": here},
        {"key": "b", "uri": "s3://b"},
        {"key": "c", "uri": f"{data}/c"},
        {},
    ]
    found = session(tmp_path / ID, json.dumps(events), execution={"artifacts": artifacts})
    upload(found, server, journal)
    there = f"{FILES}/project/{THERE}/a.txt"
    assert server.files == {there: "words"}
    urls = [(event["key"], event["url"]) for event in server.events()[:-1]]
    assert urls == [
        (f"project/{THERE}/a.txt", there),
        (inside, "https://elsewhere/a.txt"),
        (inside, ""),
        ("", here),
        ("gone.txt", "gone.txt"),
        ("../secret", "../secret"),
    ]
    images = json.loads(server.events()[-1]["plot_str"])["layout"]["images"]
    assert images == [{"source": there}, {"source": "data:image/png"}, {}]
    ((first, second, third, _),) = server.artifacts
    assert (first["uri"], second["uri"], third["uri"]) == (there, "s3://b", f"{data}/c")
    assert found.missing == ["data/c", "data/gone.txt", "data/../secret"]


def test_without_artifacts_nothing_is_said_of_them(tmp_path: Path, server: Server, journal: Journal) -> None:
    executions: list[Any] = [None, {}, {"artifacts": None}, {"artifacts": []}]
    for execution in executions:
        upload(session(tmp_path / ID, execution=execution), server, journal)
    assert (server.artifacts, server.parameters) == ([], [])


def test_parameters_that_were_set_later_are_added(tmp_path: Path, server: Server, journal: Journal) -> None:
    """What identifies the task never changes; of its section, only what is added to it is compared."""
    general = {name: item("General", name, "1") for name in ("same", "changed", "new")}
    section = identity(run="r", kind="task", key="k", attempt="1", **{f"{ADDED}late": "int"})
    found = session(tmp_path / ID, hyperparams={"General": general, "TaskGroup": section})
    there = {"General": {"same": item("General", "same", "1"), "changed": item("General", "changed", "0")}}
    there["TaskGroup"] = identity(run="another")
    found.known = {"id": THERE, "status": "stopped", "hyperparams": there}
    upload(found, server, journal)
    (changed,) = server.parameters
    assert [entry["name"] for entry in changed] == ["changed", "new", f"{ADDED}late"]
    found.known = {"id": THERE, "status": "stopped", "hyperparams": found.data["hyperparams"]}
    upload(found, server, journal)
    found.known = {"id": THERE, "status": "stopped", "hyperparams": None}
    upload(found, server, journal)
    assert len(server.parameters) == 2
