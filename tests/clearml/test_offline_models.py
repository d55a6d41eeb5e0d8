"""ClearML's `OutputModel` of an offline task: what of it ends up in the session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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
