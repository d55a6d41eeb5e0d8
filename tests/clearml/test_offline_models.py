"""ClearML's `OutputModel` of an offline task: what of it ends up in the session."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup._clearml import offline_models
from tests.support.clearml_process import run

SCRIPT = """
import glob, tempfile
from clearml_taskgroup import TaskGroup
from clearml import OutputModel, Task

def weights(name, content):
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return str(path)

tempfile.tempdir = str(Path("temporary").absolute())
Path("temporary").mkdir()
with TaskGroup("project", "group", mode="offline", provenance=False) as group:
    with group.task({"C": 1}) as task:
        first, second, package = (OutputModel(task=task.clearml_task, name=name) for name in "abc")
        first.update_weights(weights("one/best.pt", "1"))
        second.update_weights(weights("two/best.pt", "2"))
        first.update_weights(weights("one/best.pt", "3"), iteration=5)
        folder = session(task)
        at_once = json.loads((folder / "task.json").read_text())["offline_output_models"]
        package.update_weights_package([weights("one/a", "4"), weights("one/b", "5")], target_filename="both")
        try:
            first.update_weights("nowhere.pt")
        except FileNotFoundError:
            pass
    entries = json.loads((folder / "task.json").read_text())["offline_output_models"]
content = {path.relative_to(folder / "models").as_posix(): path.read_bytes().hex()
           for path in (folder / "models").rglob("*") if path.is_file()}
give({"at once": len(at_once), "entries": entries, "content": content, "left": os.listdir("temporary")})
"""


@pytest.mark.slow
def test_a_session_has_the_last_weights_of_each_model(tmp_path: Path) -> None:
    """Two models may have one file name, an update replaces the weights, and nothing is left behind."""
    found: dict[str, Any] = run(SCRIPT, tmp_path).result
    places = {
        Path(entry["weights"]["weights_filename"]).relative_to(
            Path(entry["weights"]["weights_filename"]).parents[1]
        ): entry
        for entry in found["entries"]
    }
    assert found["at once"] == 2
    assert [(place.name, entry["init"]["name"]) for place, entry in places.items()] == [
        ("best.pt", "b"),
        ("best.pt", "a"),
        ("both.zip", "c"),
    ]
    assert [entry["weights"]["iteration"] for entry in places.values()] == [None, 5, None]
    assert [entry["weights"]["is_package"] for entry in places.values()] == [False, False, True]
    assert found["content"].keys() == {place.as_posix() for place in places}
    contents = {found["content"][place.as_posix()] for place in places if place.name == "best.pt"}
    assert contents == {b"3".hex(), b"2".hex()}
    assert found["left"] == []


@pytest.mark.slow
def test_models_of_the_main_task_stay_as_clearml_has_them(tmp_path: Path) -> None:
    """Offline, ClearML itself raises an error for each, also after a group has stored models."""
    script = """
    from clearml import OutputModel, Task
    from clearml_taskgroup import TaskGroup
    Task.set_offline(True)
    main = Task.init("project", "main", auto_connect_frameworks=False, auto_resource_monitoring=False)
    Path("best.pt").write_text("weights")

    def outcome():
        try:
            OutputModel(task=main, name="best").update_weights("best.pt")
        except AttributeError as error:
            return str(error)

    before = outcome()
    with TaskGroup("project", "group", provenance=False) as group:
        with group.task({"C": 1}) as task:
            OutputModel(task=task.clearml_task, name="best").update_weights("best.pt")
        entries = json.loads((session(task) / "task.json").read_text())["offline_output_models"]
    give([before, outcome(), len(entries)])
    """
    before, after, stored = run(script, tmp_path).result
    assert before == after
    assert stored == 1


# --- with classes in place of ClearML's ----------------------------------------------------------


class Task:
    """Takes the place of an offline task; `is_attached` as if `sdk.open_task` had opened it."""

    def __init__(self, folder: Path, *, is_attached: bool = True, offline: bool = True) -> None:
        self.folder, self.offline = folder, offline
        self._offline_output_models: list[dict[str, Any]] = []
        self.saved: list[list[str]] = []
        if is_attached:
            self._save_data_to_offline_dir = lambda: self.saved.append(self.models())

    def models(self) -> list[str]:
        return [entry["id"] for entry in self._offline_output_models]

    def is_offline(self) -> bool:
        return self.offline

    def get_offline_mode_folder(self) -> Path:
        return self.folder


class ClearML:
    """Takes the place of the package, with an `OutputModel` of its own."""

    def __init__(self) -> None:
        self.offline, self.current = True, None
        own = self

        class OutputModel:
            def __init__(self, task: Any, model_id: str = "m", *, locked: bool | None = None) -> None:
                self._task, self.id, self.calls = task, model_id, list[Any]()
                self.base = None if locked is None else SimpleNamespace(locked=locked)

            @property
            def published(self) -> str:
                return "as ClearML has it"

            def _get_base_model(self) -> Any:
                return self.base

            def _set_package_tag(self) -> None:
                self.calls.append("tag")

            def _update_weights_offline(self, weights: Any = None, **fields: Any) -> str:
                self.calls.append((weights, fields))
                weights = {"weights_filename": None, "is_package": False, **fields}
                self._task._offline_output_models.append({"id": self.id, "weights": weights})
                return "stored by ClearML"

        class AnyTask:
            @staticmethod
            def is_offline() -> bool:
                return own.offline

            @staticmethod
            def current_task() -> Any:
                return own.current

        self.OutputModel, self.Task = OutputModel, AnyTask
        offline_models.allow.__wrapped__(self)


@pytest.fixture
def clearml() -> Any:
    return ClearML()


@pytest.mark.parametrize(
    ("locked", "model_id", "published"),
    [(True, "m", True), (False, "m", False), (None, "m", False), (True, "", False)],
)
def test_whether_a_model_is_published(
    clearml: Any, tmp_path: Path, locked: bool | None, model_id: str, published: bool
) -> None:
    """As its base says; of the script's own offline task ClearML says it."""
    for task in (Task(tmp_path), Task(tmp_path, is_attached=False, offline=False), None):
        assert clearml.OutputModel(task, model_id, locked=locked).published is published
    main = Task(tmp_path, is_attached=False)
    assert clearml.OutputModel(main, model_id, locked=locked).published is True
    clearml.current = main
    assert clearml.OutputModel(None, model_id, locked=locked).published is True


def test_a_model_with_a_reporter_is_noted_with_its_task(clearml: Any, tmp_path: Path) -> None:
    """Which has to be flushed, at the end."""
    task = Task(tmp_path)
    models = [clearml.OutputModel(task) for _ in range(2)]
    for model in models:
        assert model.get_offline_mode_folder() == tmp_path
    assert vars(task)[offline_models.REPORTING_MODELS] == models


def test_a_package_is_marked_in_the_session(clearml: Any, tmp_path: Path) -> None:
    """That of this model; online ClearML does it."""
    task = Task(tmp_path)
    task._offline_output_models = [{"id": name, "weights": {"is_package": False}} for name in "ab"]
    model = clearml.OutputModel(task, "b")
    model._set_package_tag()
    assert [entry["weights"]["is_package"] for entry in task._offline_output_models] == [False, True]
    assert (task.saved, model.calls) == ([["a", "b"]], [])
    clearml.offline = False
    model._set_package_tag()
    assert (model.calls, len(task.saved)) == (["tag"], 1)


def test_weights_are_copied_into_the_session(clearml: Any, tmp_path: Path) -> None:
    """Under their own name or another; a file that ClearML has packed is moved there."""
    task = Task(tmp_path / "session")
    model = clearml.OutputModel(task, "m")
    file, packed = tmp_path / "net.pt", tmp_path / "model_package.x.zip"
    for each in (file, packed):
        each.write_text(each.name)
    places = [
        model._update_weights_offline(str(file), iteration=5),
        model._update_weights_offline(str(packed), target_filename="both.zip"),
    ]
    folder = tmp_path / "session" / "models" / "m"
    assert places == [(folder / name).as_posix() for name in ("net.pt", "both.zip")]
    assert [Path(place).read_text() for place in places] == ["net.pt", "model_package.x.zip"]
    assert (file.exists(), packed.exists(), len([*folder.iterdir()])) == (True, False, 2)
    first = task._offline_output_models[0]["weights"]
    assert (first["weights_filename"], first["register_uri"], first["iteration"]) == (places[0], None, 5)
    assert task.saved == [["m"], ["m", "m"]]


def test_a_file_that_is_stored_again_is_listed_once(clearml: Any, tmp_path: Path) -> None:
    """Another model may have a file of that name, and this model another file."""
    task, file = Task(tmp_path / "session"), tmp_path / "net.pt"
    file.write_text("weights")
    one, two = clearml.OutputModel(task, "one"), clearml.OutputModel(task, "two")
    one._update_weights_offline(str(file))
    two._update_weights_offline(str(file))
    one._update_weights_offline(str(file), target_filename="other.pt")
    one._update_weights_offline(str(file))
    listed = [
        (entry["id"], Path(entry["weights"]["weights_filename"]).name)
        for entry in task._offline_output_models
    ]
    assert listed == [("two", "net.pt"), ("one", "other.pt"), ("one", "net.pt")]


@pytest.mark.parametrize("weights", [None, ""])
def test_weights_of_no_file_are_clearml_s(clearml: Any, tmp_path: Path, weights: str | None) -> None:
    """As an address that is registered, and anything of the script's own task."""
    model = clearml.OutputModel(Task(tmp_path))
    assert model._update_weights_offline(weights, register_uri="s3://a") == "stored by ClearML"
    main = clearml.OutputModel(Task(tmp_path, is_attached=False))
    assert main._update_weights_offline("net.pt") == "stored by ClearML"
    assert main.calls == [("net.pt", {})]


def test_no_half_of_a_file_is_left(clearml: Any, tmp_path: Path) -> None:
    model = clearml.OutputModel(Task(tmp_path), "m")
    with pytest.raises(FileNotFoundError):
        model._update_weights_offline("nowhere.pt")
    assert [*(tmp_path / "models" / "m").iterdir()] == []


def test_models_that_another_object_has_stored_stay(tmp_path: Path) -> None:
    """Before one's own; one that both have is one's own."""
    task = Task(tmp_path)
    task._offline_output_models = [{"id": "own"}, {"id": "both", "of": "us"}]
    stored = {"offline_output_models": [{"id": "both"}, {"id": "other"}]}
    assert offline_models.merged(stored, task) == [{"id": "other"}, {"id": "own"}, {"id": "both", "of": "us"}]
    for nothing in ({}, {"offline_output_models": None}):
        assert offline_models.merged(nothing, task) == task._offline_output_models
