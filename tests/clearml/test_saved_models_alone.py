"""What becomes of a model that a framework saves or loads, with classes in place of ClearML's."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup._clearml import failed_uploads, saved_models, sdk
from clearml_taskgroup._clearml.failed_uploads import FailedUpload
from clearml_taskgroup._clearml.saved_models import SavedModels
from clearml_taskgroup._model import limits
from tests.loopback import LoopbackServer
from tests.support.clock import Clock


class Task:
    """Takes the place of `clearml.Task`."""

    id, name = "t1", "group C=1"

    def __init__(self, *, offline: bool, output_uri: str | None = None) -> None:
        self.offline, self.output_uri, self.storage_uri = offline, output_uri, None
        self.data = SimpleNamespace(models=SimpleNamespace(output=[], input=[]))
        self._offline_output_models: list[dict[str, Any]] = []
        self.connected: list[Any] = []

    def is_offline(self) -> bool:
        return self.offline

    def get_labels_enumeration(self) -> dict[str, int]:
        return {"cat": 1}

    def get_project_name(self) -> str:
        return "the project"

    def connect(self, model: Any) -> None:
        self.connected.append(model)


class OutputModel:
    """Takes the place of `clearml.OutputModel`."""

    made: list[OutputModel]
    upload_storage_uri: str | None = None
    _base_model_id: str | None = None

    def __init__(self, **given: Any) -> None:
        self.given, self.id = given, f"m{len(OutputModel.made)}"
        self.updates: list[tuple[str, dict[str, Any]]] = []
        self._model_local_filename: str | None = "the user's file"
        OutputModel.made.append(self)

    def update_weights(self, **fields: Any) -> None:
        self.updates.append(("file", fields))

    def update_weights_package(self, **fields: Any) -> None:
        self.updates.append(("package", fields))

    waited: list[dict[str, Any]]

    @classmethod
    def wait_for_uploads(cls, **fields: Any) -> None:
        cls.waited.append(fields)


class InputModel:
    """Takes the place of `clearml.InputModel`."""

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id

    @classmethod
    def import_model(cls, **fields: Any) -> dict[str, Any]:
        return fields


class Info:
    """Takes the place of ClearML's `ModelInfo`."""

    def __init__(
        self, model: Any, name: str | None, path: str, saved: Any, framework: str | None, task: Any
    ) -> None:
        self.model, self.upload_filename, self.local_model_path = model, name, path
        self.framework, self.task, self.weights_object = framework, task, None
        self.saved = saved


class ClearML:
    """Takes the place of the package.

    Attributes:
        handler: Its `WeightsFileHandler`.
        names: The names of models on the server, by their ids.
        own: The models of the main task's files.
        pending: How many uploads are under way, each time that it is asked.
    """

    def __init__(self) -> None:
        OutputModel.made, OutputModel.waited = [], []
        self.names: dict[str, str] = {}
        self.own: dict[str, list[str]] = {}
        self.pending: list[int] = []
        self.settings: dict[str, Any] = {}
        self.handler = SimpleNamespace(
            ModelInfo=Info,
            CallbackType=SimpleNamespace(save="save", load="load"),
            _model_pre_callbacks={},
            _model_post_callbacks={},
            create_output_model=lambda *args: ("own create", *args),
            restore_weights_file=lambda *args: ("own restore", *args),
        )
        self.binding = SimpleNamespace(frameworks=SimpleNamespace(WeightsFileHandler=self.handler))
        self.Task, self.OutputModel, self.InputModel = Task, OutputModel, InputModel
        self.Model = lambda model_id: SimpleNamespace(name=self.names[model_id])
        parents = SimpleNamespace(get_framework_parents=lambda framework: [f"parent of {framework}"])
        self.model = SimpleNamespace(Framework=parents)
        model = SimpleNamespace(
            get_num_results=lambda: self.pending.pop(0) if self.pending else 0,
            _local_model_to_id_uri=self.own,
        )
        self.backend_interface = SimpleNamespace(model=SimpleNamespace(Model=model))
        self.config = SimpleNamespace(config_obj=self.settings)
        matching = SimpleNamespace(matches_any_wildcard=lambda path, wanted: fnmatches(path, wanted))
        self.utilities = SimpleNamespace(matching=matching)


def fnmatches(path: str, wanted: list[str]) -> bool:
    """Whether a path fits to one of several wildcards."""
    return any(fnmatch.fnmatch(path, each) for each in wanted)


class Target:
    """A task of a group, as bindings see it."""

    def __init__(self, task: Any, **wildcards: list[str]) -> None:
        self.task = task
        self.frameworks = SimpleNamespace(
            wildcards={f"parent of {name}": each for name, each in wildcards.items()}
        )

    def clearml_task(self) -> Any:
        return self.task

    def last_iteration(self) -> int:
        return 7


@pytest.fixture
def clearml() -> ClearML:
    return ClearML()


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of the script's own; a server that answers; no main task; no destination."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(saved_models, "server_problem", lambda: None)
    monkeypatch.setattr(sdk, "main_task", lambda: None)
    monkeypatch.delenv("CLEARML_DEFAULT_OUTPUT_URI", raising=False)
    yield
    failed_uploads.unwatch("t1")


def save(clearml: Any, task: Any, path: Any = "m.pt", **options: Any) -> OutputModel | None:
    """Has a framework save a model; gives the latest model that was made."""
    hook = options.pop("hook", None) or saved_models._Hook(clearml)
    target: Any = Target(task, **options.pop("wildcards", {}))
    given = {"framework": "PyTorch", "singlefile": True, "model_name": None, "config": None, **options}
    if isinstance(path, str):
        Path(path).touch()
    hook.save(target, "weights", path, **given)
    return OutputModel.made[-1] if OutputModel.made else None


# --- saving ------------------------------------------------------------------------------------


def test_a_saved_file_is_a_model_of_the_task(clearml: ClearML) -> None:
    """With the task's name and labels, and the design that the framework gives; offline it is stored."""
    task = Task(offline=True)
    model = save(clearml, task, config="design")
    assert model is not None
    assert model.given == {
        "task": task,
        "config_dict": None,
        "config_text": "design",
        "name": "group C=1 - m",
        "label_enumeration": {"cat": 1},
        "framework": "PyTorch",
        "base_model_id": None,
    }
    assert model._base_model_id is None
    stored = {"weights_filename": str(Path("m.pt").absolute()), "target_filename": "m.pt"}
    assert model.updates == [("file", {**stored, "iteration": 7, "update_comment": False})]
    other = save(clearml, task, "other.pt", config={"a": 1}, model_name="named")
    assert other is not None
    assert (other.given["config_dict"], other.given["config_text"]) == ({"a": 1}, None)
    assert other.given["name"] == "group C=1 - named"


@pytest.mark.parametrize("offline", [True, False])
def test_a_file_that_is_written_again_is_the_same_model(clearml: ClearML, offline: bool) -> None:
    """Also by another hook; one in another folder is another model."""
    task = Task(offline=offline)
    model = save(clearml, task)
    assert save(clearml, task) is model
    Path("folder").mkdir()
    assert save(clearml, task, "folder/m.pt") is not model
    assert len(OutputModel.made) == 2


def test_online_without_a_destination_the_path_is_registered(clearml: ClearML) -> None:
    """The first time with a comment."""
    task = Task(offline=False)
    model = save(clearml, task)
    save(clearml, task)
    assert model is not None
    where = {"register_uri": str(Path("m.pt").absolute()), "is_package": False}
    assert model.updates == [
        ("file", {**where, "update_comment": True}),
        ("file", {**where, "update_comment": False}),
    ]


@pytest.fixture
def uploading(monkeypatch: pytest.MonkeyPatch) -> None:
    """All models have a destination."""
    monkeypatch.setattr(OutputModel, "upload_storage_uri", "https://files")


@pytest.mark.usefixtures("uploading")
def test_online_a_copy_is_uploaded(clearml: ClearML) -> None:
    """The file may be written again meanwhile; Lightning's part gets its final name."""
    Path("m.pt.part").write_text("weights")
    model = save(clearml, Task(offline=False), "m.pt.part")
    assert model is not None
    ((kind, fields),) = model.updates
    copy = Path(fields.pop("weights_filename"))
    assert (kind, copy.read_text(), copy == Path("m.pt.part").absolute()) == ("file", "weights", False)
    copy.unlink()
    assert fields == {
        "auto_delete_file": True,
        "target_filename": "m.pt",
        "iteration": 7,
        "update_comment": False,
    }
    assert model._model_local_filename is None


@pytest.mark.usefixtures("uploading")
def test_no_copy_is_left_of_a_file_that_cannot_be_read(
    clearml: ClearML, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr("shutil.copyfile", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save(clearml, Task(offline=False))
    assert [*(tmp_path / "tmp").iterdir()] == []


@pytest.mark.parametrize(("offline", "target"), [(True, "m"), (False, "m")])
@pytest.mark.usefixtures("uploading")
def test_several_files_are_one_model(clearml: ClearML, offline: bool, target: str) -> None:
    """Those of a folder, or those that begin with the path; the files stay."""
    for name in ("m.pt.index", "m.pt.data", "other"):
        Path(name).touch()
    task = Task(offline=offline)
    hook = saved_models._Hook(clearml)
    hook.save(Target(task), "weights", "m.pt", "TensorFlow", False, None, None)  # type: ignore[arg-type]
    (model,) = OutputModel.made
    ((kind, fields),) = model.updates
    assert kind == "package"
    assert sorted(Path(file).name for file in fields.pop("weights_filenames")) == ["m.pt.data", "m.pt.index"]
    assert fields == {"auto_delete_file": False, "target_filename": target, "iteration": 7}


def test_a_folder_of_one_file_is_that_file(clearml: ClearML) -> None:
    """Without a destination a folder of several is a package."""
    Path("folder").mkdir()
    Path("folder/a").touch()
    hook = saved_models._Hook(clearml)
    task = Task(offline=True)
    hook.save(Target(task), "weights", "folder", "TensorFlow", False, None, None)  # type: ignore[arg-type]
    assert OutputModel.made[0].updates[0][1]["weights_filename"] == str(Path("folder/a").absolute())
    Path("folder/b").touch()
    online = Task(offline=False)
    hook.save(Target(online), "weights", "folder", "TensorFlow", False, None, None)  # type: ignore[arg-type]
    assert OutputModel.made[1].updates[0][1]["is_package"] is True


@pytest.mark.parametrize("path", [None, "", "s3://bucket/m.pt", "removed.pt", object()])
def test_what_is_not_on_this_disk_is_no_model(clearml: ClearML, path: Any) -> None:
    """A file object without a name, an address, a file that was removed meanwhile."""
    hook = saved_models._Hook(clearml)
    hook.save(Target(Task(offline=True)), "weights", path, None, True, None, None)  # type: ignore[arg-type]
    assert OutputModel.made == []


def test_joblib_s_own_arrays_are_no_models(clearml: ClearML) -> None:
    """Nor is what is saved where there is no task of ClearML's."""
    Path("joblib_memmapping_folder_1").mkdir()
    assert save(clearml, Task(offline=True), "joblib_memmapping_folder_1/array.pkl") is None
    assert save(clearml, object()) is None


@pytest.mark.parametrize(
    ("wildcards", "is_model"),
    [
        ({}, True),
        ({"PyTorch": ["*.pt"]}, True),
        ({"PyTorch": ["*.pkl", "*.p?"]}, True),
        ({"PyTorch": ["*.pkl"]}, False),
        ({"Keras": ["*.pkl"]}, True),
    ],
)
def test_wildcards_say_which_files_are_models(
    clearml: ClearML, wildcards: dict[str, list[str]], is_model: bool
) -> None:
    """Those of the framework."""
    assert (save(clearml, Task(offline=True), wildcards=wildcards) is not None) is is_model


@pytest.mark.parametrize("offline", [True, False])
def test_a_server_that_is_away_is_told_before_clearml_waits_for_it(
    clearml: ClearML, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    """Offline nobody needs it."""
    monkeypatch.setattr(saved_models, "server_problem", lambda: OSError("away"))
    if offline:
        assert save(clearml, Task(offline=True)) is not None
    else:
        with pytest.raises(OSError, match="away"):
            save(clearml, Task(offline=False))


# --- where to --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("main", "variable", "setting", "destination"),
    [
        (None, None, None, None),
        (None, None, "s3://setting", "s3://setting"),
        (None, "s3://variable", "s3://setting", "s3://variable"),
        ("s3://main", "s3://variable", None, "s3://main"),
        ("", "s3://variable", None, None),
    ],
)
def test_the_destination_is_that_of_the_main_task(
    clearml: ClearML,
    monkeypatch: pytest.MonkeyPatch,
    main: str | None,
    variable: str | None,
    setting: str | None,
    destination: str | None,
) -> None:
    """Else the variable's, else the setting's; one of the task's own stays, and offline there is none."""
    if main is not None:
        monkeypatch.setattr(sdk, "main_task", lambda: SimpleNamespace(output_uri=main))
    if variable is not None:
        monkeypatch.setenv("CLEARML_DEFAULT_OUTPUT_URI", variable)
    clearml.settings["sdk.development.default_output_uri"] = setting
    task = Task(offline=False)
    save(clearml, task)
    assert task.storage_uri == destination
    for other in (Task(offline=False, output_uri="s3://own"), Task(offline=True)):
        save(clearml, other)
        assert other.storage_uri is None


@pytest.mark.usefixtures("uploading")
def test_files_of_one_name_are_uploaded_under_several(clearml: ClearML) -> None:
    """Offline each has a folder of its own."""
    Path("fold").mkdir()
    for offline, names in ((False, ["m.pt", "fold/m.pt"]), (True, ["m.pt", "m.pt"])):
        task = Task(offline=offline)
        models = [save(clearml, task, "m.pt"), save(clearml, task, "fold/m.pt")]
        assert [model.updates[0][1]["target_filename"] for model in models if model] == names
        for model in models:
            assert model is not None
            if not offline:
                os.unlink(model.updates[0][1]["weights_filename"])


def test_the_name_of_an_upload_tells_as_many_folders_as_needed() -> None:
    saved = SavedModels()
    names = {
        "/a/x/m.pt": "m.pt",
        "/b/x/m.pt": "x/m.pt",
        "/c/x/m.pt": "c/x/m.pt",
        "/m.pt": "m.pt",
    }
    for _ in range(2):
        for path, name in names.items():
            assert saved.upload_name(path, "m.pt") == name


@pytest.mark.usefixtures("uploading")
def test_earlier_uploads_are_waited_for(clearml: ClearML, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until fewer than two are under way; if they do not end, the file is not uploaded."""
    clock = Clock()
    monkeypatch.setattr(saved_models, "time", clock)
    monkeypatch.setattr(limits, "MODEL_UPLOAD_TIMEOUT_S", 100.0)
    hook = saved_models._Hook(clearml)
    clearml.pending = [1]
    hook._wait_for_earlier_uploads()
    assert OutputModel.waited == []
    clearml.pending = [3, 2, 1]
    hook._wait_for_earlier_uploads()
    assert OutputModel.waited == [{"timeout": 100.0, "max_num_uploads": 1}] * 2
    clearml.pending = [2] * 9
    monkeypatch.setattr(OutputModel, "wait_for_uploads", lambda **_: clock.sleep(50.0))
    with pytest.raises(TimeoutError, match="the upload of earlier models does not end"):
        hook._wait_for_earlier_uploads()
    assert clock.now == 100.0


# --- a task that is opened again ---------------------------------------------------------------


def entry(model_id: str, name: str, file: str | None) -> dict[str, Any]:
    """A model of a session."""
    return {"id": model_id, "init": {"name": name}, "weights": {"weights_filename": file}}


def test_offline_a_model_is_found_by_its_name_and_its_file(clearml: ClearML) -> None:
    """That of an earlier object of the task; one that this object has made is another file's."""
    task = Task(offline=True)
    task._offline_output_models = [
        entry("none", "group C=1 - m", None),
        entry("other", "group C=1 - m", "/session/models/m.pkl"),
        entry("another", "group C=1 - n", "/session/models/m.pt"),
        entry("that", "group C=1 - m", "/session/models/m.pt"),
    ]
    model = save(clearml, task)
    assert model is not None
    assert (model._base_model_id, model.given["base_model_id"]) == ("that", None)
    Path("folder").mkdir()
    task._offline_output_models = [entry(model.id, "group C=1 - m", "/session/models/m.pt")]
    other = save(clearml, task, "folder/m.pt")
    assert other is not None
    assert other._base_model_id is None


def test_online_a_model_is_found_by_its_name(clearml: ClearML) -> None:
    """Of those that the task lists under the file's name."""
    task = Task(offline=False)
    task.data.models.output = [
        SimpleNamespace(name="other", model="unlisted"),
        SimpleNamespace(name="m", model="foreign"),
        SimpleNamespace(name="m", model="that"),
    ]
    clearml.names = {"foreign": "another task's - m", "that": "group C=1 - m"}
    model = save(clearml, task)
    assert model is not None
    assert model.given["base_model_id"] == "that"
    task.data.models.output = [SimpleNamespace(name="m", model=model.id)]
    Path("folder").mkdir()
    other = save(clearml, task, "folder/m.pt")
    assert other is not None
    assert other.given["base_model_id"] is None
    for nothing in (SimpleNamespace(output=None), object()):
        task = Task(offline=False)
        task.data.models = nothing
        found = save(clearml, task)
        assert found is not None
        assert found.given["base_model_id"] is None


# --- callbacks ---------------------------------------------------------------------------------


def test_callbacks_see_the_weights_and_may_change_the_model(clearml: ClearML) -> None:
    """In the order in which they were added; one that fails is ignored, and ClearML's own is not called."""
    seen: list[Any] = []

    def before(kind: str, info: Info) -> Info:
        seen.append((kind, info.weights_object, info.model))
        info.upload_filename = "renamed.pt"
        return info

    def after(kind: str, info: Info) -> Info:
        seen.append((kind, info.weights_object, info.model.id))
        return info

    def own(kind: str, info: Info) -> Info:
        raise AssertionError("the main task's wildcards")

    own.__module__ = "clearml.task"
    clearml.handler._model_pre_callbacks.update({1: lambda *_: 1 / 0, 2: before, 3: own})
    clearml.handler._model_post_callbacks[1] = after
    model = save(clearml, Task(offline=True))
    assert model is not None
    assert seen == [("save", "weights", None), ("save", "weights", model.id)]
    assert model.updates[0][1]["target_filename"] == "renamed.pt"
    clearml.handler._model_pre_callbacks[4] = lambda *_: None
    save(clearml, Task(offline=True))
    assert len(OutputModel.made) == 1


def test_a_model_that_a_callback_gives_is_taken(clearml: ClearML) -> None:
    given = OutputModel()

    def before(kind: str, info: Info) -> Info:
        info.model = given
        return info

    clearml.handler._model_pre_callbacks[1] = before
    save(clearml, Task(offline=True))
    assert OutputModel.made == [given]
    assert len(given.updates) == 1


# --- loading -----------------------------------------------------------------------------------


def test_a_loaded_file_is_imported(clearml: ClearML) -> None:
    """With the task that has done so."""
    task = Task(offline=False)
    saved_models._Hook(clearml).load(Target(task), "m.pt", "PyTorch")  # type: ignore[arg-type]
    (model,) = task.connected
    assert model == {
        "weights_url": str(Path("m.pt").absolute()),
        "name": "Imported by group C=1",
        "comment": "Imported by task id: t1",
        "project": "the project",
        "label_enumeration": {"cat": 1},
        "framework": "PyTorch",
    }


def test_a_file_that_a_task_has_saved_is_that_model(clearml: ClearML) -> None:
    """The latest at that path; else what ClearML knows of it, by the path as given or as it is."""
    hook, task, target = saved_models._Hook(clearml), Task(offline=False), None
    clearml.own |= {"m.pt": ["of the main task"], str(Path("n.pt").absolute()): ["by its full path"]}
    target = Target(task)
    for path in ("m.pt", "n.pt"):
        hook.load(target, path, None)  # type: ignore[arg-type]
    model = save(clearml, task, hook=hook)
    assert model is not None
    hook.load(target, "m.pt", None)  # type: ignore[arg-type]
    assert [model.model_id for model in task.connected] == ["of the main task", "by its full path", model.id]


def test_what_is_loaded_and_no_input(clearml: ClearML) -> None:
    """Offline, without a path, of other files than the wildcards, or what a callback refuses."""
    hook, task = saved_models._Hook(clearml), Task(offline=False)
    given: list[tuple[Any, Any]] = [
        (Target(Task(offline=True)), "m.pt"),
        (Target(object()), "m.pt"),
        (Target(task), None),
        (Target(task, PyTorch=["*.pkl"]), "m.pt"),
    ]
    for target, path in given:
        hook.load(target, path, "PyTorch")
        assert getattr(target.task, "connected", []) == []
    clearml.handler._model_pre_callbacks[1] = lambda *_: None
    hook.load(given[2][0], "m.pt", "PyTorch")
    assert task.connected == []


def test_callbacks_of_a_loaded_model(clearml: ClearML) -> None:
    """They may say which model it is, and see it."""
    given, seen = OutputModel(), list[Any]()

    def before(kind: str, info: Info) -> Info:
        info.model = given
        return info

    def after(kind: str, info: Info) -> Info:
        seen.append((kind, info.model))
        return info

    clearml.handler._model_pre_callbacks[1] = before
    clearml.handler._model_post_callbacks[1] = after
    task = Task(offline=False)
    saved_models._Hook(clearml).load(Target(task), "m.pt", None)  # type: ignore[arg-type]
    assert (task.connected, seen) == ([given], [("load", given)])


def test_a_server_that_is_away_is_not_asked_for_a_loaded_model(
    clearml: ClearML, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_models, "server_problem", lambda: OSError("away"))
    with pytest.raises(OSError, match="away"):
        saved_models._Hook(clearml).load(Target(Task(offline=False)), "m.pt", None)  # type: ignore[arg-type]


# --- in ClearML's place ------------------------------------------------------------------------


def test_what_clearml_s_bindings_call(clearml: ClearML, caplog: pytest.LogCaptureFixture) -> None:
    """For a task of a group it is ours, which raises nothing; for any other ClearML's own."""
    task = Task(offline=True)
    target: Any = None
    saved_models.hook(clearml, lambda given: target)
    create, restore = clearml.handler.create_output_model, clearml.handler.restore_weights_file
    assert create("w", "m.pt", "PyTorch", "main") == (
        *("own create", "w", "m.pt", "PyTorch", "main", False, None, None),
    )
    assert restore("w", "m.pt", "PyTorch", "main") == ("own restore", "w", "m.pt", "PyTorch", "main")
    target = Target(task)
    Path("m.pt").touch()
    assert create("w", "m.pt", "PyTorch", "task", True, "named", "design") == "m.pt"
    (model,) = OutputModel.made
    assert (model.given["name"], model.given["config_text"]) == ("group C=1 - named", "design")
    assert restore("w", "m.pt", "PyTorch", "task") == "m.pt"
    target = Target(Task(offline=False))
    clearml.handler._model_pre_callbacks[1] = lambda *_: 5
    kept: list[FailedUpload] = []

    def keep(failed: FailedUpload) -> bool:
        kept.append(failed)
        return True

    failed_uploads.watch("t1", keep, print, print)
    assert create("w", "m.pt", "PyTorch", "task", True) == "m.pt"
    assert restore("w", "m.pt", "PyTorch", "task") == "m.pt"
    assert "the model m.pt was loaded, but is not listed as an input model" in caplog.text
    failed_uploads.unwatch("t1")
    (failed,) = kept
    assert (failed.task, failed.what, failed.url) == ("t1", "the model 'm.pt'", "")
    assert failed.path == Path("m.pt").absolute()


def test_a_file_that_is_stored_after_a_failure_is_no_failure(clearml: ClearML) -> None:
    kept: list[FailedUpload] = []

    def keep(failed: FailedUpload) -> bool:
        kept.append(failed)
        return True

    failed_uploads.watch("t1", keep, print, print)
    failed_uploads.could_not_begin(FailedUpload("t1", "m", "", "away", Path("m.pt").absolute()))
    save(clearml, Task(offline=True))
    failed_uploads.unwatch("t1")
    assert kept == []


@pytest.mark.parametrize(
    ("status", "problem"), [(200, None), (401, None), (500, "500"), (502, "502 Bad Gateway")]
)
def test_whether_the_server_answers(loopback: LoopbackServer, status: int, problem: str | None) -> None:
    """Any answer of its own will do, and none of what stands before it."""
    loopback.faults.fail_next("debug.ping", status=status, body=b"x")
    found = REAL_SERVER_PROBLEM()
    assert (found is None) == (problem is None)
    if problem is not None:
        assert str(found).startswith(f"{loopback.url} answers {problem}")
    loopback.faults.fail_next("debug.ping", kind="drop_before")
    assert isinstance(REAL_SERVER_PROBLEM(), OSError)


REAL_SERVER_PROBLEM = saved_models.server_problem
