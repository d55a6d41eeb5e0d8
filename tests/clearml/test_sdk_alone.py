"""What `sdk` makes of ClearML's answers, with objects in place of ClearML's."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup._clearml import failed_uploads, sdk, settings
from clearml_taskgroup._clearml.failed_uploads import FileNotUploaded
from clearml_taskgroup._clearml.hyperparameters import SECTION
from clearml_taskgroup._clearml.offline_models import REPORTING_MODELS


@pytest.fixture
def clearml(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Takes the place of the package, which counts as imported."""
    module: Any = SimpleNamespace(Task=SimpleNamespace(is_offline=lambda: False))
    config = SimpleNamespace(config={}, config_obj={}, get_cache_dir=lambda: "clearml's own")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "clearml", module)
        patch.setitem(sys.modules, "clearml.config", config)
        module.config = config
        yield module


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "task_id"), [("t1", "t1"), ("", None), (None, None)])
def test_an_agent_names_its_task(
    monkeypatch: pytest.MonkeyPatch, text: str | None, task_id: str | None
) -> None:
    monkeypatch.delenv("CLEARML_TASK_ID", raising=False)
    if text is not None:
        monkeypatch.setenv("CLEARML_TASK_ID", text)
    assert sdk.agent_task_id() == task_id


@pytest.mark.parametrize(("offline", "mode"), [(True, "offline"), (False, "online")])
def test_clearml_tells_its_mode_if_the_settings_do_not(
    clearml: Any, monkeypatch: pytest.MonkeyPatch, offline: bool, mode: str
) -> None:
    clearml.Task.is_offline = lambda: offline
    assert sdk.task_mode() == mode
    monkeypatch.setattr(settings, "task_mode", lambda: "online")
    assert sdk.task_mode() == "online"


def test_credentials_are_those_of_the_environment_or_of_a_file(
    clearml: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the settings tell that there are none."""
    for name in ("CLEARML_API_ACCESS_KEY", "CLEARML_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert sdk.is_configured() is False
    clearml.config.config_obj["api.credentials.access_key"] = "key"
    assert sdk.is_configured() is True
    clearml.config.config_obj.clear()
    for name in ("CLEARML_API_ACCESS_KEY", "CLEARML_AUTH_TOKEN"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "key")
            assert sdk.is_configured() is True
            patch.setattr(settings, "is_configured", lambda: False)
            assert sdk.is_configured() is False


def test_the_cache_folder_is_found_by_clearml_s_objects_too(
    clearml: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A relative one is made absolute, for after the script has changed its directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLEARML_CACHE_DIR", "before")
    assert sdk.cache_folder() == tmp_path / "clearml's own"
    assert os.environ["CLEARML_CACHE_DIR"] == str(tmp_path / "clearml's own")
    monkeypatch.setattr(settings, "cache_folder", lambda: tmp_path / "absolute")
    assert sdk.cache_folder() == tmp_path / "absolute"
    assert os.environ["CLEARML_CACHE_DIR"] == str(tmp_path / "clearml's own")


@pytest.mark.parametrize("default", [True, False])
def test_settings_of_detection_are_read_if_there_may_be_some(
    clearml: Any, monkeypatch: pytest.MonkeyPatch, default: bool
) -> None:
    clearml.config.config["development.a"] = not default
    monkeypatch.setattr(settings, "may_be_configured", lambda: False)
    assert sdk._development("a", default) is default
    monkeypatch.setattr(settings, "may_be_configured", lambda: True)
    assert sdk._development("a", default) is not default
    assert sdk._development("b", default) is default


def test_the_main_task_and_its_signal_handler(clearml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method of ClearML's hook; without a hook, or without ClearML, no handler is."""

    class Hook:
        def handle(self) -> None:
            pass

    hook = Hook()
    clearml.Task._Task__main_task = "main"
    assert sdk.main_task() == "main"
    assert not sdk.is_signal_handler(hook.handle)
    clearml.Task._Task__exit_hook = None
    assert not sdk.is_signal_handler(print)
    clearml.Task._Task__exit_hook = hook
    assert sdk.is_signal_handler(hook.handle)
    assert not sdk.is_signal_handler(Hook().handle)
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "clearml")
        assert sdk.main_task() is None
        assert not sdk.is_signal_handler(hook.handle)
        assert sdk.detection_options() == {}


# --- an attached task --------------------------------------------------------------------------


def test_clearml_s_edits_keep_the_identity() -> None:
    """All sections are replaced at once, but not that one; a field that is not edited stays away."""
    edits: list[dict[str, Any]] = []

    def edit(**fields: Any) -> str:
        edits.append(fields)
        return "done"

    task = SimpleNamespace(
        _edit=edit,
        data=SimpleNamespace(hyperparams={SECTION: "identity", "General": "old"}, configuration=None),
    )
    sdk._keep_identity(task)
    assert task._edit(hyperparams={"General": "new"}, comment="c") == "done"
    task._edit(configuration={"design": "d"}, hyperparams=None)
    task._edit(hyperparams={SECTION: "edited"})
    assert edits == [
        {"hyperparams": {"General": "new", SECTION: "identity"}, "comment": "c"},
        {"configuration": {"design": "d"}, "hyperparams": None},
        {"hyperparams": {SECTION: "edited"}},
    ]


@pytest.mark.parametrize(
    ("objects", "design"),
    [
        (None, ""),
        ({}, ""),
        ({SECTION: "identity"}, ""),
        ({SECTION: "identity", "b": "second", "a": "first"}, "first"),
        ({"a": None}, ""),
    ],
)
def test_the_identity_is_no_design_of_a_model(objects: dict[str, str | None] | None, design: str) -> None:
    """The first of the other objects is."""
    stored: Any = None
    if objects is not None:
        stored = {name: SimpleNamespace(value=value) for name, value in objects.items()}
    task: Any = SimpleNamespace(data=SimpleNamespace(configuration=stored))
    sdk._keep_identity_from_models(task)
    assert task._get_model_config_text() == design


def test_parameters_are_set_as_text_with_their_type() -> None:
    given: list[Any] = []
    task = SimpleNamespace(set_parameter=lambda *args, **named: given.append((*args, named)))
    sdk.set_parameters(task, [{"section": "General", "name": "a", "value": "1", "type": "int"}])
    assert given == [("General/a", "1", {"value_type": "int"})]


class Task:
    """Takes the place of an attached task; notes what it, or a reporter, is asked to do."""

    id = "t1"

    def __init__(self, *, offline: bool, reporter: bool = True) -> None:
        self.done: list[str] = []
        self.offline = offline
        vars(self)[REPORTING_MODELS] = [SimpleNamespace(_reporter=self.reporter("model"))]
        if reporter:
            self._Task__reporter = self.reporter("own")

    def reporter(self, name: str) -> Any:
        steps = ("flush", "wait_for_events", "stop")
        return SimpleNamespace(
            **{step: lambda step=step: self.done.append(f"{name} {step}") for step in steps}
        )

    def _summary_artifacts(self) -> None:
        self.done.append("artifacts")

    def flush(self, wait_for_uploads: bool) -> None:
        self.done.append(f"flush {wait_for_uploads}")

    def is_offline(self) -> bool:
        return self.offline

    def _edit(self) -> None:
        self.done.append("edit")


@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.parametrize("reporter", [True, False])
def test_all_that_a_task_has_reported_is_waited_for(offline: bool, reporter: bool) -> None:
    """Artifacts first, then its own thread and those of its models, which end; offline the list of models."""
    task = Task(offline=offline, reporter=reporter)
    own = ["own flush", "own wait_for_events", "own stop"] if reporter else []
    expected = ["artifacts", "flush True", *own, "model flush", "model wait_for_events", "model stop"]
    sdk.wait_for_uploads(task, 60.0)
    assert task.done == [*expected, *(["edit"] if offline else [])]
    task.done.clear()
    sdk.wait_for_uploads(task, 60.0)
    assert not any("model" in step for step in task.done)
    task.done.clear()
    sdk.flush(task, 60.0)
    assert task.done == ["flush True"]


# --- uploads -----------------------------------------------------------------------------------


def test_a_file_is_uploaded_to_a_storage_that_answers(clearml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address is that of a link; whatever goes wrong is one kind of error."""
    uploaded: list[dict[str, Any]] = []
    link = "https://files/a%20b"

    def upload_file(**given: Any) -> str:
        uploaded.append(given)
        return link

    clearml.StorageManager = SimpleNamespace(upload_file=upload_file)
    monkeypatch.setattr(failed_uploads, "connection_problem", lambda url: None)
    assert sdk.upload_file(Path("/tmp/a b"), "https://files/a b") == link
    assert uploaded == [{"local_file": "/tmp/a b", "remote_url": "https://files/a b"}]
    clearml.StorageManager.upload_file = lambda **given: 1 / 0
    with pytest.raises(FileNotUploaded, match="cannot upload a b to https://files/a b: division by zero"):
        sdk.upload_file(Path("/tmp/a b"), "https://files/a b")
    monkeypatch.setattr(failed_uploads, "connection_problem", lambda url: OSError("connection refused"))
    with pytest.raises(FileNotUploaded, match="nothing listens there"):
        sdk.upload_file(Path("/tmp/a b"), "https://files/a b")
