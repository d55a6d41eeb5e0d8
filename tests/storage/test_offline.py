"""The offline store: ClearML's session folders, written without a ClearML object."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._clearml.failed_uploads import FailedUpload
from clearml_taskgroup._model.name_template import Name
from clearml_taskgroup._model.specs import Ending, RunInfo, TaskSpec
from clearml_taskgroup._storage import offline
from clearml_taskgroup._storage.append_file import append_to
from clearml_taskgroup._storage.kept_files import KeptFiles
from clearml_taskgroup._storage.offline import OfflineBackend
from clearml_taskgroup.errors import StoreError
from tests.support.clearml_process import run

INFO = RunInfo("0123456789ab", "a/project", "group", "{metric}/{split=value}", ("all",))


def spec(key: str, **params: Any) -> TaskSpec:
    """Describes a task."""
    return TaskSpec(key, f"name {key}", f"group {key}", 0, 1, params, ("own",))


@pytest.fixture
def backend(tmp_path: Path) -> OfflineBackend:
    """A store in a folder that does not exist yet."""
    return OfflineBackend(tmp_path / "cache" / "offline")


def opened(backend: OfflineBackend, *keys: str) -> list[str]:
    """Creates tasks of these keys."""
    return backend.create(INFO, [spec(key, C=1) for key in keys], None)


def contents(backend: OfflineBackend, task_id: str) -> dict[str, Any]:
    """Reads a session's properties."""
    data: dict[str, Any] = json.loads((backend.folder(task_id) / "task.json").read_text())
    return data


def test_a_session_holds_what_clearml_reads_and_nothing_else(backend: OfflineBackend) -> None:
    """`task.json` has exactly the properties that ClearML's importer and its edits can take."""
    parent, task = backend.create(
        INFO, [TaskSpec("", "group", "group", -1, 1, {}, kind="parent"), spec("k", C=1)], "x"
    )
    data = contents(backend, task)
    # Neither a date, which later edits by ClearML choke on, nor a parent, which the importer refuses.
    assert set(data) == {
        "id",
        "type",
        "name",
        "project_name",
        "hyperparams",
        "configuration",
        "tags",
        "system_tags",
        "script",
        "execution",
        "output",
        "offline_folder",
        "offline_output_models",
    }
    assert contents(backend, parent)["comment"].startswith("Run 1 of the group ")
    assert (data["id"], data["type"], data["name"]) == (task, "training", "group k")
    assert (data["project_name"], data["tags"]) == ("a/project", ["all", "own"])
    assert data["execution"].keys() == {
        "parameters",
        "artifacts",
        "model",
        "model_desc",
        "model_labels",
        "docker_cmd",
    }
    assert data["offline_folder"] == backend.folder(task).as_posix()
    assert data["hyperparams"]["General"]["C"] == {
        "section": "General",
        "name": "C",
        "value": "1",
        "type": "int",
    }
    assert contents(backend, parent)["type"] == "controller"
    assert "General" not in contents(backend, parent)["hyperparams"]
    assert sorted(path.name for path in backend.folder(task).iterdir()) == ["task.json"]


def test_events_are_appended_a_list_for_each_write(backend: OfflineBackend) -> None:
    """Each write is one line, a JSON list, in its task's file alone, and is taken out of the batch."""
    first, second = opened(backend, "a", "b")
    batch = {first: ['{"value":1}', '{"value":2}'], second: ['{"value":3}']}
    backend.write(batch)
    backend.write({first: ['{"value":4}']})
    assert batch == {}
    lines = (backend.folder(first) / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [[{"value": 1}, {"value": 2}], [{"value": 4}]]
    assert json.loads((backend.folder(second) / "metrics.jsonl").read_text()) == [{"value": 3}]


def test_writing_to_many_files_pauses_for_other_threads(
    backend: OfflineBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """System calls that are short let no other thread in: a loop would stand still until the last file."""
    pauses: list[float] = []
    ticks = itertools.count(step=sys.getswitchinterval() * 0.4)
    clock = SimpleNamespace(monotonic=lambda: next(ticks), sleep=pauses.append)
    monkeypatch.setattr(offline, "time", clock)
    ids = opened(backend, *map(str, range(10)))
    backend.write({ids[0]: ["{}"]})
    assert not pauses
    backend.write({task_id: ["{}"] for task_id in ids})
    assert pauses == [offline.PAUSE_S] * 3


def test_a_line_written_in_part_is_cut_back(backend: OfflineBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a short write the file is as it was, the error names it, and the events stay in the batch."""
    (task,) = opened(backend, "a")
    backend.write({task: ['{"value":1}']})
    path = backend.folder(task) / "metrics.jsonl"
    before, write = path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2]))
    batch = {task: ['{"value":2}']}
    with pytest.raises(StoreError) as told:
        backend.write(batch)
    assert told.value.where == str(path)
    assert path.read_bytes() == before
    assert batch == {task: ['{"value":2}']}
    monkeypatch.undo()
    backend.write(batch)
    assert path.read_bytes() == before + b'[{"value":2}]\n'


ODD_LINES = [
    b"\xff\xfe\x80",
    b"\0" * 100,
    b"null",
    b"5",
    b'"text"',
    b'{"type": "training_stats_scalar"}',
    b'["text", 5, null, [1]]',
    b'[{"type": "training_stats_scalar", "metric": 1, "variant": "b", "iter": 1, "value": 1}]',
    b'[{"type": "training_stats_scalar", "metric": "a", "variant": "b", "iter": null, "value": 1}]',
    b'[{"type": "training_stats_scalar", "metric": "a", "variant": "b", "iter": 1, "value": "x"}]',
    b"[" * 100_000,
]


@pytest.mark.parametrize("line", ODD_LINES, ids=range(len(ODD_LINES)))
def test_a_line_that_is_no_event_is_skipped(backend: OfflineBackend, line: bytes) -> None:
    """What a disk or an editor left in a session hides no data point before or after it."""
    (task,) = opened(backend, "a")
    point = '{"type":"training_stats_scalar","metric":"a","variant":"b","iter":%d,"value":1.5}'
    backend.write({task: [point % 1]})
    append_to(backend.folder(task) / "metrics.jsonl", line + b"\n")
    backend.write({task: [point % 2]})
    name = Name("a", "b")
    assert backend.read_curves({task: [name]}) == {task: {name: [(1, 1.5), (2, 1.5)]}}
    ((found, stats),) = backend.read_scalars([task], 1.0)[task]
    assert (found, stats.count) == (name, 2)


def test_a_line_that_another_writer_left_without_its_end_spoils_no_point(backend: OfflineBackend) -> None:
    (task,) = opened(backend, "a")
    point = '{"type":"training_stats_scalar","metric":"a","variant":"b","iter":%d,"value":1.5}'
    backend.write({task: [point % 1]})
    with (backend.folder(task) / "metrics.jsonl").open("a") as events:
        events.write('[{"type":')
    backend.write({task: [point % 2]})
    backend.write({task: [point % 3]})
    name = Name("a", "b")
    assert backend.read_curves({task: [name]}) == {task: {name: [(1, 1.5), (2, 1.5), (3, 1.5)]}}


def test_a_session_that_cannot_be_synced_is_a_named_error(backend: OfflineBackend) -> None:
    """Whatever the system says as the file is opened, too."""
    (task,) = opened(backend, "a")
    path = backend.folder(task) / "metrics.jsonl"
    path.mkdir()
    assert backend.finish([Ending(task, "completed")], 1.0) == {}
    (error,) = backend.delivery_errors()
    assert isinstance(error, StoreError)
    assert error.where == str(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_holds_up_no_other_task(backend: OfflineBackend) -> None:
    """What one task's file refuses stays in the batch; the others' events are written."""
    ids = opened(backend, "a", "b", "c")
    full = backend.folder(ids[1]) / "metrics.jsonl"
    full.symlink_to("/dev/full")
    batch = {task: ['{"value":1}'] for task in ids}
    with pytest.raises(StoreError, match="No space left") as told:
        backend.write(batch)
    assert told.value.where == str(full)
    assert list(batch) == [ids[1]]
    assert (backend.folder(ids[2]) / "metrics.jsonl").read_text() == '[{"value":1}]\n'


def test_a_deleted_session_is_a_named_error(backend: OfflineBackend) -> None:
    """Events, parameters and ClearML's object of a session that was deleted: `StoreError` names it."""
    (task,) = opened(backend, "a")
    folder = backend.folder(task)
    (folder / "task.json").unlink()
    folder.rmdir()
    with pytest.raises(StoreError, match=task):
        backend.write({task: ['{"value":1}']})
    with pytest.raises(StoreError, match=task):
        backend.set_parameters(task, {"lr": 1})
    with pytest.raises(StoreError, match=task):
        backend.clearml_task(task)
    assert not folder.exists()


def test_a_place_that_is_no_folder_is_a_named_error(tmp_path: Path) -> None:
    """Where no folder can be made, opening a task is a `StoreError` that names the place."""
    (tmp_path / "cache").write_text("")
    backend = OfflineBackend(tmp_path / "cache" / "offline")
    with pytest.raises(StoreError, match=str(tmp_path / "cache" / "offline")):
        opened(backend, "a")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_sessions_are_made_all_or_none(backend: OfflineBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """If one of several sessions cannot be written, none is left behind for an importer to find."""
    opened(backend, "a")
    before = sorted(backend.root.iterdir())
    mkdir, made = os.mkdir, []

    def third_is_full(path: str, *arguments: Any, **options: Any) -> None:
        mkdir(path, *arguments, **options)
        made.append(path)
        if len(made) == 3:
            Path(path, "task.json").symlink_to("/dev/full")

    monkeypatch.setattr(os, "mkdir", third_is_full)
    with pytest.raises(StoreError, match="No space left"):
        opened(backend, "b", "c", "d", "e")
    assert len(made) == 3
    assert sorted(backend.root.iterdir()) == before


def test_parameters_are_added_to_those_there(backend: OfflineBackend) -> None:
    """Parameters that are set later join the section `General`, as text with their type."""
    (task,) = opened(backend, "a")
    backend.set_parameters(task, {"lr": 0.1, "opt/name": "adam", "none": None})
    general = contents(backend, task)["hyperparams"]["General"]
    assert {name: (entry["value"], entry["type"]) for name, entry in general.items()} == {
        "C": ("1", "int"),
        "lr": ("0.1", "float"),
        "opt/name": ("adam", "str"),
        "none": ("", "NoneType"),
    }
    assert [path.name for path in backend.folder(task).iterdir()] == ["task.json"]
    (parent,) = backend.create(INFO, [TaskSpec("", "group", "group", -1, 1, {}, kind="parent")], None)
    backend.set_parameters(parent, {"lr": 1})  # it had no section General
    assert contents(backend, parent)["hyperparams"]["General"]["lr"]["value"] == "1"


def test_processes_set_parameters_of_one_task(backend: OfflineBackend) -> None:
    """As those of the parent of a run that they share: nothing is lost. Here each is a backend of its own."""
    (task,) = opened(backend, "a")

    def set_all(process: int) -> None:
        own = OfflineBackend(backend.root)
        for number in range(30):
            own.set_parameters(task, {f"{process}/{number}": number})

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(set_all, range(3)))
    general = contents(backend, task)["hyperparams"]["General"]
    assert {f"{process}/{number}" for process in range(3) for number in range(30)} <= set(general)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_leaves_the_parameters_as_they_were(backend: OfflineBackend) -> None:
    """A `task.json` that cannot be written again stays whole, with what it had."""
    (task,) = opened(backend, "a")
    before = contents(backend, task)
    (backend.folder(task) / "task.json.new").symlink_to("/dev/full")
    with pytest.raises(StoreError, match="No space left"):
        backend.set_parameters(task, {"lr": 0.1})
    assert contents(backend, task) == before


def test_ending_goes_through_all_tasks_under_one_deadline(
    backend: OfflineBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One task's trouble is given back and tried again later; the rest share what is left of the time."""
    ids = opened(backend, "a", "b", "c")
    given: list[tuple[str, float]] = []
    clock = iter(range(0, 1000, 10))

    def wait_for_uploads(task: str, timeout: float) -> None:
        given.append((task, timeout))
        if task == f"attached {ids[0]}" and len(given) == 1:
            raise TimeoutError("took too long")

    monkeypatch.setattr(sdk, "wait_for_uploads", wait_for_uploads)
    monkeypatch.setattr(offline, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    backend._attached = {task: f"attached {task}" for task in ids}
    errors = backend.finish([Ending(task, "completed") for task in ids], 25.0)
    assert {task: str(error) for task, error in errors.items()} == {ids[0]: "took too long"}
    assert [timeout for _, timeout in given] == [15.0, 5.0, 0.0]
    assert list(backend._attached) == [ids[0]]
    assert backend.finish([Ending(ids[0], "completed")], 1.0) == {}
    assert len(given) == 4


def test_a_script_that_is_found_late_is_added_to_the_sessions_without_one(backend: OfflineBackend) -> None:
    """To those that were created before; a deleted session is left out, and a known script stays."""
    first, deleted = opened(backend, "a", "b")
    shutil.rmtree(backend.folder(deleted))
    backend.add_script({"entry_point": "one.py"})
    (later,) = opened(backend, "c")
    backend.add_script({"entry_point": "two.py"})
    assert contents(backend, first)["script"] == backend.read_script(first) == {"entry_point": "one.py"}
    assert contents(backend, later)["script"] == {"entry_point": "two.py"}
    assert not backend.folder(deleted).exists()
    assert backend.read_script(deleted) == {}
    backend.set_script(first, {"entry_point": "three.py"})
    assert backend.read_script(first) == {"entry_point": "one.py"}


def test_the_address_is_that_of_the_folder(backend: OfflineBackend) -> None:
    """A task's address leads to its session folder."""
    assert backend.url("offline-1") == (backend.root / "offline-1").as_uri()
    assert backend.where == str(backend.root)


def test_the_object_of_a_task_is_opened_once_and_gets_what_is_set(
    backend: OfflineBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ClearML is offline until it has sent all; then it is what it was."""
    calls: list[Any] = []

    def open_task(task_id: str) -> Any:
        calls.append("open")
        return SimpleNamespace(name="a task")

    def go_offline() -> bool:
        calls.append("offline")
        return True

    monkeypatch.setattr(sdk, "go_offline", go_offline)
    monkeypatch.setattr(sdk, "go_back_online", lambda: calls.append("online"))
    monkeypatch.setattr(sdk, "open_task", open_task)
    monkeypatch.setattr(sdk, "watch_uploads", lambda task_id, *_: calls.append(task_id))
    monkeypatch.setattr(
        sdk, "set_parameters", lambda task, entries: calls.append([one["name"] for one in entries])
    )
    monkeypatch.setattr(sdk, "wait_for_uploads", lambda task, timeout: None)
    first, second = opened(backend, "a", "b")
    task = backend.clearml_task(first)
    assert backend.clearml_task(first) is task
    assert backend.clearml_task(second) is not task
    assert calls == ["offline", "open", first, "open", second]
    assert (backend.folder(first) / "data").is_dir()
    assert (backend.folder(first) / "metrics.jsonl").stat().st_mode & 0o777 == 0o600
    calls.clear()
    backend.set_parameters(first, {"lr": 1})
    backend.annotate(first, {"names": "[]"}, {"not": "kept"})
    assert calls[0][0] == "lr"
    assert calls[1] == ["names"]
    assert "lr" not in contents(backend, first)["hyperparams"]["General"]
    backend.wait_for_uploads(first, 1.0)
    backend.close()
    assert "online" not in calls  # the other one's uploads are under way
    backend.wait_for_uploads(second, 1.0)
    backend.close()
    backend.close()
    assert calls.count("online") == 1


def test_clearml_that_was_offline_before_stays_so(
    backend: OfflineBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk, "go_offline", lambda: False)
    monkeypatch.setattr(sdk, "go_back_online", lambda: pytest.fail("it was offline before"))
    monkeypatch.setattr(sdk, "open_task", lambda task_id: SimpleNamespace(name="a task"))
    monkeypatch.setattr(sdk, "watch_uploads", lambda *_: None)
    backend.clearml_task(opened(backend, "a")[0])
    backend.after_fork()
    assert backend._attached == {}
    backend.close()


def test_files_that_clearml_could_not_store_are_errors_of_the_end(backend: OfflineBackend) -> None:
    """Once each; as are sessions that could not be synced."""
    (task,) = opened(backend, "a")
    backend._kept_files = kept = KeptFiles(None)
    kept.keep(FailedUpload(task, "the artifact 'x'", "", "no space", content=b""), "C=1")
    backend._sync.errors = [StoreError("/x", "broken", None)]
    assert ["the artifact" in str(error) for error in backend.delivery_errors()] == [False, True]
    assert len(backend.delivery_errors()) == 1


def test_notes_are_entries_of_the_session(backend: OfflineBackend) -> None:
    """It has no `runtime`; without an entry, the session is not written again."""
    (task,) = opened(backend, "a")
    backend.annotate(task, {"names": "[]"}, {"series": "x"})
    data = contents(backend, task)
    assert data["hyperparams"]["TaskGroup"]["names"]["value"] == "[]"
    assert "runtime" not in data
    (backend.folder(task) / "task.json").unlink()
    backend.annotate(task, {}, {"series": "x"})


def test_a_task_is_opened_again_if_its_session_is_there(backend: OfflineBackend) -> None:
    (task,) = opened(backend, "a")
    (backend.folder(task) / "metrics.jsonl").write_text('[{"torn": ')
    assert backend.reopen_completed(task) == ""
    assert (backend.folder(task) / "metrics.jsonl").read_text() == '[{"torn": \n'
    backend.check_parent(task)
    shutil.rmtree(backend.folder(task))
    assert backend.reopen_completed(task) == f"its session {backend.folder(task)} was deleted"
    with pytest.raises(StoreError, match="No such file"):
        backend.check_parent(task)


def test_a_script_that_was_known_is_in_each_session(backend: OfflineBackend) -> None:
    info = attrs.evolve(INFO, script={"entry_point": "train.py"})
    (first,) = backend.create(info, [spec("a")], None)
    assert backend.read_script(first) == {"entry_point": "train.py"}
    backend.add_script({"entry_point": "other.py"})
    assert backend.read_script(first) == {"entry_point": "train.py"}


# --- a group on top of it, in a process of its own -------------------------------------------------

GROUP = """
import shutil
from clearml_taskgroup import TaskGroup
from clearml_taskgroup.errors import DeliveryError, StoreError

def points(task):
    path = session(task) / "metrics.jsonl"
    return [[e["iter"], e["value"]] for e in told(path)] if path.exists() else None

def open_group(**options):
    return TaskGroup("project", "group", mode="offline", provenance=False, close_timeout=5.0, **options)

group = open_group()
errors = []
"""
DELETED = """
try:
    with group:
        tasks = group.tasks({"C": [1, 2, 3]})
        shutil.rmtree(session(tasks[1]))
        for task in (tasks[0], tasks[2], tasks[1]):
            task.report({"loss": 0.5}, 1)
        LATER
except* DeliveryError as raised:
    errors = [[str(error), list(error.tasks)] for error in raised.exceptions]
give([errors, [points(task) for task in tasks], tasks[0].status, tasks[2].status, str(session(tasks[1]))])
"""


def test_a_session_deleted_under_way_is_named_at_the_end(tmp_path: Path) -> None:
    """At the block's end one error names the task and its folder; the others' data is complete."""
    done = run(GROUP + DELETED.replace("LATER", ""), tmp_path)
    errors, points, first, last, folder = done.result
    assert points == [[[1, 0.5]], None, [[1, 0.5]]]
    assert (first, last) == ("completed", "completed")
    ((text, names),) = errors
    assert names == ["C=2"]
    assert folder in text


def test_a_deleted_session_holds_up_no_later_points(tmp_path: Path) -> None:
    """After one task's data was refused, the other tasks' later points are still delivered."""
    later = """
        try:
            group.flush()
        except DeliveryError:
            tasks[2].report({"loss": 0.25}, 2)
            tasks[2].close()
    """
    done = run(GROUP + DELETED.replace("LATER", later.strip()), tmp_path)
    errors, points, _, last, _ = done.result
    assert (points[2], last) == ([[1, 0.5], [2, 0.25]], "completed")
    assert [names for _, names in errors] == [["C=2"]]


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    """While the disk takes only part of a line the files stay whole; with room again all is delivered."""
    pytest.importorskip("resource")
    script = """
        import resource
        def room(size):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        with group:
            small, large = group.tasks({"C": [1, 2]})
            room(4000)
            small.report({"loss": 0.5}, 1)
            for i in range(100):
                large.report({"loss": i}, i)
            try:
                group.flush()
            except DeliveryError as error:
                errors.append([str(error), list(error.tasks), error.points])
            inside = [points(small), points(large)]
            try:
                group.task({"C": 3, "long": "x" * 5000})
            except StoreError as error:
                errors.append([error.where])
            room(resource.RLIM_INFINITY)
        give([errors, inside, [points(small), points(large)], str(session(large)), len(group),
              sorted(path.parent.name for path in session(large).parent.glob("*/task.json"))
              == sorted([small.id, large.id, group.parent_id])])
    """
    done = run(GROUP + textwrap.dedent(script), tmp_path)
    (flushed, opening), inside, after, folder, count, clean = done.result
    assert inside == [[[1, 0.5]], []]
    assert after == [[[1, 0.5]], [[i, i] for i in range(100)]]
    assert flushed[1:] == [["C=2"], 100]
    assert folder in flushed[0]
    assert opening[0].startswith(str(tmp_path / "cache" / "offline"))
    assert (count, clean) == (2, True)


def test_an_unusable_cache_folder_is_told_as_the_group_opens(tmp_path: Path) -> None:
    """Where ClearML's cache folder cannot be made, opening the group is a `StoreError` that names it."""
    (tmp_path / "taken").write_text("")
    script = """
        try:
            group.open()
        except StoreError as error:
            give(str(error))
    """
    done = run(GROUP + textwrap.dedent(script), tmp_path, env={"CLEARML_CACHE_DIR": str(tmp_path / "taken")})
    assert str(tmp_path / "taken") in done.result
    assert "CLEARML_CACHE_DIR" in done.result


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
def test_open_tasks_cost_no_files_and_no_threads(tmp_path: Path) -> None:
    """With 300 tasks open and reporting there are as many open files and threads as with one."""
    script = """
        def cost():
            group.flush()
            return [len(os.listdir("/proc/self/fd")), threading.active_count()]
        with group:
            first = group.task({"C": -1})
            first.report({"loss": 0}, 0)
            costs = [cost()]
            tasks = group.tasks({"C": range(300)})
            for step in range(3):
                for i, task in enumerate(tasks):
                    task.report({"loss": i}, step)
                costs.append(cost())
        give([costs, all(points(t) == [[s, i] for s in range(3)] for i, t in enumerate(tasks))])
    """
    costs, complete = run(GROUP + textwrap.dedent(script), tmp_path).result
    assert costs == [costs[0]] * 4
    assert complete is True


def test_a_torn_line_takes_no_later_one_with_it(tmp_path: Path) -> None:
    """A session that is gone on with after a crash starts on a line of its own."""
    backend = OfflineBackend(tmp_path)
    session = tmp_path / "offline-1"
    session.mkdir()
    events = session / "metrics.jsonl"
    events.write_text('[{"whole": 1}]\n[{"torn": ')
    backend.reopen(["offline-1", "offline-without-events"])
    backend.reopen(["offline-1"])
    backend.write({"offline-1": ['{"next": 2}']})
    assert events.read_text().splitlines() == ['[{"whole": 1}]', '[{"torn": ', '[{"next": 2}]']
