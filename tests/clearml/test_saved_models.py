"""Models that frameworks save in a task's block: online and offline, one task after another and at once."""

from __future__ import annotations

import io
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy
import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._clearml import failed_uploads, saved_models
from clearml_taskgroup.errors import DeliveryError, LeftOutWarning
from tests.loopback import LoopbackServer
from tests.loopback.harness import CLOSED_PORT

Doc = dict[str, Any]


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts save to relative paths."""
    (tmp_path / "script").mkdir()
    monkeypatch.chdir(tmp_path / "script")


@pytest.fixture
def uploading(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> LoopbackServer:
    """A server whose files server takes all models."""
    monkeypatch.setenv("CLEARML_DEFAULT_OUTPUT_URI", loopback.files_url)
    return loopback


def group(mode: str, **options: Any) -> TaskGroup:
    """A group that logs automatically."""
    options = {"auto_connect_frameworks": True, **options}
    return TaskGroup("the project", "group", mode=mode, provenance=False, **options)  # type: ignore[arg-type]


def sweep(mode: str, work: Callable[[int], object], **options: Any) -> TaskGroup:
    """Runs two tasks one after another."""
    with group(mode, **options) as opened:
        for task in opened.sweep({"seed": [1, 2]}):
            with task:
                work(task.params["seed"])
    return opened


def stored(task: GroupTask) -> dict[str, Any]:
    """What a session has of models: name -> what the file of weights holds."""
    assert task.url is not None
    folder = Path(task.url.removeprefix("file://"))
    entries = json.loads((folder / "task.json").read_text())["offline_output_models"]
    return {entry["init"]["name"]: joblib.load(entry["weights"]["weights_filename"]) for entry in entries}


def listed(server: LoopbackServer, kind: str = "output") -> dict[str, dict[str, Doc]]:
    """The models of each task on a server, by the names that it lists them with."""
    return {
        task["name"].removeprefix("group "): {
            item["name"]: server.models[item["model"]] for item in task["models"][kind]
        }
        for task in server.tasks.values()
        if task["type"] == "training"
    }


def contents(server: LoopbackServer) -> dict[str, Any]:
    """What the uploaded files hold, by the names of the task and the file."""
    found: dict[str, Any] = {}
    for path, file in server.stored_files.items():
        _, task, *_, name = path.split("/")
        task = task.partition(".")[0].removeprefix("group ")
        found[f"{task}/{name}"] = joblib.load(io.BytesIO(file.content))
    return found


def test_offline_each_task_has_its_own() -> None:
    """Tasks that write one file have a model each, and what is written again is the same model."""

    def work(seed: int) -> None:
        for epoch in range(3):
            joblib.dump((seed, epoch), "best.joblib")
        joblib.dump(seed, "compressed.z", compress=3)

    first, second = sweep("offline", work)
    assert stored(first) == {"group seed=1 - best": (1, 2), "group seed=1 - compressed": 1}
    assert stored(second) == {"group seed=2 - best": (2, 2), "group seed=2 - compressed": 2}


def test_an_offline_run_is_uploaded_with_them(loopback: LoopbackServer) -> None:
    """The uploaded models have name, framework, task and weights."""
    closed = sweep("offline", lambda seed: joblib.dump(seed, "m.joblib"))
    assert closed.record_path is not None
    assert TaskGroup.upload(closed.record_path).problems == ()
    assert contents(loopback) == {"seed=1/m.joblib": 1, "seed=2/m.joblib": 2}
    for task, models in listed(loopback).items():
        (name,) = models
        assert (name, models[name]["name"]) == ("m", f"group {task} - m")
        assert models[name]["framework"] == "ScikitLearn"
        assert loopback.tasks[models[name]["task"]]["name"] == f"group {task}"


@pytest.mark.slow
def test_without_a_destination_paths_are_registered(loopback: LoopbackServer, tmp_path: Path) -> None:
    """As with `Task.init`; but a later task never takes the model of an earlier one."""

    def work(seed: int) -> None:
        joblib.dump(seed, "m.joblib")
        joblib.dump(seed, "m.joblib")

    sweep("online", work)
    assert {task: [*models] for task, models in listed(loopback).items()} == {
        "seed=1": ["m"],
        "seed=2": ["m"],
    }
    assert len(loopback.models) == 2
    assert {model["uri"] for model in loopback.models.values()} == {
        (tmp_path / "script" / "m.joblib").as_uri()
    }
    assert loopback.stored_files == {}


def test_online_models_are_uploaded(uploading: LoopbackServer) -> None:
    """The last weights of each task are on the server when the group has ended."""

    def work(seed: int) -> None:
        for epoch in range(4):
            joblib.dump((seed, epoch), "best.joblib")

    sweep("online", work)
    assert contents(uploading) == {"seed=1/best.joblib": (1, 3), "seed=2/best.joblib": (2, 3)}
    assert [[*models] for models in listed(uploading).values()] == [["best"], ["best"]]
    for model in uploading.models.values():
        assert model["uri"].endswith("/models/best.joblib")


def test_files_of_one_name_in_several_folders(uploading: LoopbackServer) -> None:
    """One does not take the place of another on the server."""
    folders = ["fold0", "fold1", "other/fold0"]
    for folder in folders:
        Path(folder).mkdir(parents=True)

    def work(seed: int) -> None:
        for last in (False, True):
            for folder in folders:
                joblib.dump((seed, folder, last), f"{folder}/m.joblib")

    sweep("online", work)
    assert len(uploading.models) == 6
    files = {path: joblib.load(io.BytesIO(file.content)) for path, file in uploading.stored_files.items()}
    assert sorted(files.values()) == [(seed, folder, True) for seed in (1, 2) for folder in folders]
    ends = {path.split("/models/")[1] for path in files}
    assert ends == {"m.joblib", "fold1/m.joblib", "fold0/m.joblib"}


@pytest.mark.quick(1)
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_two_tasks_at_once(mode: str, uploading: LoopbackServer) -> None:
    """Threads that write files of one name, each in its own folder, do not mix."""
    both = threading.Barrier(2)

    def work(task: GroupTask) -> None:
        with task:
            Path(task.name).mkdir()
            both.wait(60.0)
            for epoch in range(5):
                joblib.dump((task.params["seed"], epoch), f"{task.name}/m.joblib")

    with group(mode) as opened:
        threads = [threading.Thread(target=work, args=(task,)) for task in opened.tasks({"seed": [1, 2]})]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if mode == "offline":
        assert [stored(task) for task in opened] == [{f"group seed={n} - m": (n, 4)} for n in (1, 2)]
    else:
        assert contents(uploading) == {"seed=1/m.joblib": (1, 4), "seed=2/m.joblib": (2, 4)}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["offline", "online"])
def test_a_task_that_is_opened_again(mode: str, uploading: LoopbackServer) -> None:
    """It goes on with its models; a file of that name in another folder is another one."""
    Path("folder").mkdir()
    with group(mode) as opened:
        with opened.task({"seed": 1}) as task:
            joblib.dump("first", "m.joblib")
        with task.reopen():
            joblib.dump("second", "m.joblib")
            if mode == "offline":
                joblib.dump("other", "folder/m.joblib")
    if mode == "offline":
        assert task.url is not None
        folder = Path(task.url.removeprefix("file://"))
        assert sorted(joblib.load(path) for path in folder.glob("models/*/*")) == ["other", "second"]
    else:
        assert contents(uploading) == {"seed=1/m.joblib": "second"}
        assert [model["name"] for model in uploading.models.values()] == ["group seed=1 - m"]


@pytest.mark.slow
def test_a_server_that_is_away(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The training does not wait for it: the file is named, at once and as the group ends."""
    with pytest.raises(ExceptionGroup) as raised, group("online") as opened, opened.task({"seed": 1}):
        joblib.dump(1, "m.joblib")
        with monkeypatch.context() as patch:
            refused = ConnectionRefusedError("connection refused")
            patch.setattr(saved_models, "server_problem", lambda: refused)
            for name in ("m.joblib", "other.joblib", "other.joblib"):
                joblib.dump(2, name)
        joblib.dump(3, "m.joblib")
    assert caplog.text.count("other.joblib is not stored with its task: nothing listens there") == 1
    (error,) = raised.value.exceptions
    assert "other.joblib" in str(error)
    assert [[*models] for models in listed(loopback).values()] == [["m"]]


@pytest.mark.parametrize("fault", [{"kind": "drop_before"}, {"status": 502}])
def test_a_server_that_accepts_connections_and_does_not_work(
    loopback: LoopbackServer, fault: dict[str, Any]
) -> None:
    """As one behind a proxy, or that is being started: ClearML would try until it does."""
    with pytest.raises(ExceptionGroup) as raised, group("online") as opened, opened.task({"seed": 1}):
        joblib.dump(1, "first.joblib")
        loopback.faults.fail_next("debug.ping", **fault)
        joblib.dump(2, "m.joblib")
        joblib.dump(3, "other.joblib")
    (error,) = raised.value.exceptions
    assert "m.joblib" in str(error)
    assert [[*models] for models in listed(loopback).values()] == [["first", "other"]]


def test_a_server_that_is_away_at_the_first_file_of_a_task(loopback: LoopbackServer) -> None:
    """What needs ClearML's own object is left out, with a warning; the next one asks again."""
    with group("online") as opened, opened.task({"seed": 1}):
        loopback.faults.fail_next("debug.ping", kind="drop_before")
        with pytest.warns(LeftOutWarning, match="logs no plots and no files"):
            joblib.dump(1, "m.joblib")
        joblib.dump(2, "m.joblib")
    assert [[*models] for models in listed(loopback).values()] == [["m"]]


def test_a_loaded_model_is_an_input(loopback: LoopbackServer) -> None:
    """A file that another task of the group has saved is that task's model."""
    handler = _handler()

    def work(seed: int) -> None:
        if seed == 1:
            joblib.dump(seed, "m.joblib")
            Path("other.pt").write_text("from elsewhere")
        # As a binding does it, which joblib 1.5 has none for.
        for path in ("m.joblib", "other.pt"):
            assert handler.restore_weights_file(None, path, "PyTorch", _current()) == path

    sweep("online", work)
    output = listed(loopback)["seed=1"]["m"]["id"]
    inputs = listed(loopback, "input")
    assert [*inputs["seed=1"]] == [*inputs["seed=2"]] == ["m", "other"]
    assert {models["m"]["id"] for models in inputs.values()} == {output}
    assert len({models["other"]["id"] for models in inputs.values()}) == 1


def test_what_is_no_model(tmp_path: Path) -> None:
    """Streams, what `joblib.Memory` stores, other files than the wildcards, and frameworks that are off."""
    cached = joblib.Memory(tmp_path / "cache", verbose=0).cache(numpy.zeros)

    def work(seed: int) -> None:
        joblib.dump(seed, io.BytesIO())
        cached(seed)
        joblib.dump(seed, "x.other")
        joblib.dump(seed, "x.joblib")
        with open("stream.joblib", "wb") as file:
            joblib.dump(seed, file)

    first, _ = sweep("offline", work, auto_connect_frameworks={"joblib": ["*.joblib"]})
    assert stored(first) == {"group seed=1 - x": 1, "group seed=1 - stream": 1}
    for off in ("joblib", "scikit"):
        first, _ = sweep("offline", work, auto_connect_frameworks={off: False})
        assert stored(first) == {}
    sweep("disabled", work)


def test_nothing_raises_into_the_training(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that cannot be copied is logged at once, and reported as the group ends."""

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("clearml_taskgroup._clearml.offline_models.shutil.copyfile", full)
    with caplog.at_level(logging.WARNING, "clearml_taskgroup"), pytest.raises(ExceptionGroup) as raised:
        sweep("offline", lambda seed: joblib.dump(seed, "m.joblib"))
    assert "m.joblib is not stored with its task: [Errno 28] No space left" in caplog.text
    errors = raised.value.exceptions
    assert len(errors) == 2
    assert all(isinstance(error, DeliveryError) for error in errors)
    assert "No space left" in str(errors[0])
    assert Path("m.joblib").exists()


@pytest.mark.slow
def test_a_storage_that_is_away(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is known to be away, nothing waits for it: copies are kept, and the group's end says so."""
    monkeypatch.setenv("CLEARML_DEFAULT_OUTPUT_URI", CLOSED_PORT)
    monkeypatch.setitem(failed_uploads._away, CLOSED_PORT.removeprefix("http://"), time.monotonic())
    with pytest.raises(ExceptionGroup) as raised:
        sweep("online", lambda seed: [joblib.dump((seed, epoch), "m.joblib") for epoch in range(3)])
    (error,) = raised.value.exceptions
    assert isinstance(error, DeliveryError)
    assert "2 files of 2 tasks" in str(error)
    assert "the model 'm.joblib': nothing listens there" in str(error)
    kept = sorted(Path(os.environ["CLEARML_CACHE_DIR"]).glob("taskgroup/*/run-0001.files/*.data"))
    assert sorted(joblib.load(path) for path in kept) == [(1, 2), (2, 2)]
    assert len(loopback.models) == 2


def test_a_task_that_has_ended_takes_none(caplog: pytest.LogCaptureFixture) -> None:
    """Saving goes on after `mark_completed` in the block."""
    with group("offline") as opened:
        with opened.task({"seed": 1}) as task:
            task.mark_completed()
            with pytest.warns(match="is completed already"):
                joblib.dump(1, "m.joblib")
    assert stored(task) == {}


def test_callbacks_of_the_users(tmp_path: Path) -> None:
    """Those of `WeightsFileHandler` are called: they name the file, refuse it, or see the model."""
    handler, seen = _handler(), list[tuple[str, str]]()

    def before(kind: Any, info: Any) -> Any:
        if "skipped" in info.local_model_path:
            return None
        info.upload_filename = f"of epoch 3 {info.upload_filename}"
        seen.append((str(kind), str(info.weights_object is not None)))
        return info

    def after(kind: Any, info: Any) -> Any:
        seen.append((str(kind), info.model.name))
        raise ValueError("ClearML ignores it")

    handles = handler.add_pre_callback(before), handler.add_post_callback(after)
    try:
        first, _ = sweep("offline", lambda seed: [joblib.dump(seed, name) for name in ("m", "skipped")])
    finally:
        handler.remove_pre_callback(handles[0])
        handler.remove_post_callback(handles[1])
    assert [*stored(first)] == ["group seed=1 - m"]
    assert first.url is not None
    (file,) = Path(first.url.removeprefix("file://")).glob("models/*/*")
    assert file.name == "of epoch 3 m"
    assert seen[:2] == [("save", "True"), ("save", "group seed=1 - m")]


@pytest.mark.slow
def test_a_folder_is_one_model(tmp_path: Path) -> None:
    """A model of several files is packed; one of a single file is not."""
    for name, files in (("several", "ab"), ("single", "a")):
        Path(name).mkdir()
        for file in files:
            (Path(name) / file).write_text(file)
    handler = _handler()
    with group("offline") as opened:
        with opened.task({"seed": 1}) as task:
            for name in ("several", "single"):
                handler.create_output_model(None, name, "TensorFlow", _current())
            handler.create_output_model(None, "not there", "TensorFlow", _current(), singlefile=True)
    assert task.url is not None
    folder = Path(task.url.removeprefix("file://"))
    assert {path.name for path in folder.glob("models/*/*")} == {"several.zip", "a"}


def test_what_is_hooked_is_there() -> None:
    """The functions that are replaced, and what is used of the rest, exist in this version of ClearML."""
    import clearml

    handler = _handler()
    assert handler.create_output_model.__wrapped__
    assert handler.restore_weights_file.__wrapped__
    assert isinstance(handler._model_pre_callbacks, dict)
    assert isinstance(handler._model_post_callbacks, dict)
    assert isinstance(clearml.backend_interface.model.Model._local_model_to_id_uri, dict)
    assert clearml.model.Framework.get_framework_parents("Keras") == ["tensorflow"]


def _handler() -> Any:
    from clearml.binding.frameworks import WeightsFileHandler

    return WeightsFileHandler


def _current() -> Any:
    """What a binding of joblib has as its task now."""
    from clearml.binding import joblib_bind

    return joblib_bind.PatchedJoblib._current_task
