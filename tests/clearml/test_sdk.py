"""Each private use of ClearML that `_clearml` lists: there, and behaving as we need it."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup._clearml import sdk
from tests.support.clearml_process import Finished, run


def test_each_private_part_is_listed() -> None:
    """The list at the top of `sdk` names each private attribute and each submodule that is used."""
    listed, code = sdk.__doc__ or "", Path(sdk.__file__).read_text().partition('"""\n\nfrom')[2]
    private = set(re.findall(r"\b(?:Task|Session|session|ScriptInfo)\.(_[A-Za-z]\w*)", code))
    private |= set(re.findall(r'"(_Task__\w+)"', code))
    private |= set(re.findall(r"\b(?:Session|session|kind|ScriptInfo)\.([a-z]\w*)", code))
    for names in re.findall(r"from clearml\.[\w.]+ import ([\w, ]+)", code):
        private |= set(names.split(", "))
    assert len(private) > 10
    assert {name for name in private if name not in listed} == set()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What one process found out about ClearML's parts, without and with a main task."""
    done: Finished = run(PARTS, tmp_path_factory.mktemp("parts"))
    assert done.trouble == []
    return done.result


PARTS = """
import signal
from clearml_taskgroup._clearml import sdk

found = {"main before import": sdk.main_task(), "imported": "clearml" in sys.modules}
found["handler before import"] = sdk.is_signal_handler(signal.getsignal(signal.SIGTERM))
found["imported by a look at handlers"] = "clearml" in sys.modules
found["cache"] = str(sdk.cache_folder())
found["configured"] = [sdk.is_configured()]
os.environ["CLEARML_API_ACCESS_KEY"] = "key"
found["configured"].append(sdk.is_configured())
del os.environ["CLEARML_API_ACCESS_KEY"]

from clearml import Task
from clearml.backend_api import Session
from clearml.backend_interface.base import InterfaceBase
from clearml.config import config_obj, get_cache_dir

found["mangled names"] = [
    hasattr(Task, name) for name in ("_Task__main_task", "_Task__exit_hook", "_default_session")
]
found["no hook yet"] = sdk.is_signal_handler(signal.getsignal(signal.SIGTERM))
found["mode"] = [sdk.task_mode()]
found["sessions"] = [isinstance(Session._sessions_weakrefs, list)]

# The switch, held twice: nothing connects as it goes back, and the default session is the old one.
found["held"] = [sdk.go_offline(), sdk.go_offline()]
found["mode"].append(sdk.task_mode())
folder = Path(sdk.cache_folder()) / "offline" / "offline-1"
(folder / "data").mkdir(parents=True)
(folder / "task.json").write_text(json.dumps({
    "id": "offline-1", "type": "training", "name": "attached", "project_name": "project", "tags": ["t"],
    "hyperparams": {}, "execution": {"artifacts": []}, "offline_folder": folder.as_posix(),
    "offline_output_models": [],
}))
task = sdk.open_task("offline-1")
found["attached"] = [task.id, task.name, list(task.get_tags()), str(task.get_offline_mode_folder())]
found["attached"][-1] = found["attached"][-1] == str(folder)
found["sessions"].append(len(Session._sessions_weakrefs) > 0 and Task._default_session is not None)
sdk.set_parameters(task, [{"section": "General", "name": "a/b", "value": "x", "type": "Path"}])
entry = json.loads((folder / "task.json").read_text())["hyperparams"]["General"]["a/b"]
found["entry"] = {name: entry[name] for name in ("section", "name", "value", "type")}
task.get_logger().report_scalar("title", "series", value=0.5, iteration=1)
reporter = task._Task__reporter
found["reporting"] = [reporter is not None, reporter.is_alive()]
sdk.wait_for_uploads(task, 30.0)
found["settled"] = [bool(reporter.is_alive()), [e["value"] for e in told(folder / "metrics.jsonl")]]
sdk.go_back_online()
found["mode"].append(sdk.task_mode())
sdk.go_back_online()
found["mode"].append(sdk.task_mode())
found["sessions"].append(Task._default_session is None and InterfaceBase._default_session is None)

# A main task that is offline by itself.
Task.set_offline(True)
found["held over another's"] = sdk.go_offline()
main = Task.init("project", "main task", auto_connect_frameworks=False, auto_resource_monitoring=False)
found["main"] = sdk.main_task() is main
handler = signal.getsignal(signal.SIGTERM)
found["handlers"] = [sdk.is_signal_handler(handler), sdk.is_signal_handler(signal.SIG_DFL)]
found["others"] = [sdk.is_signal_handler(print), sdk.is_signal_handler([].append)]
sdk.flush(main, 30.0)
main.close()
found["main after close"] = sdk.main_task()
give(found)
"""


def test_looking_for_a_main_task_imports_nothing(parts: Any) -> None:
    """A script without ClearML has no main task and no ClearML handler, and imports nothing to tell."""
    assert parts["main before import"] is None
    assert parts["handler before import"] is False
    assert parts["imported"] is False
    assert parts["imported by a look at handlers"] is False


def test_the_main_task_is_found_while_it_lives(parts: Any) -> None:
    """`Task._Task__main_task` is the task of `Task.init` until that is closed."""
    assert parts["mangled names"] == [True, True, True]
    assert parts["main"] is True
    assert parts["main after close"] is None


def test_clearmls_signal_handler_is_recognised(parts: Any) -> None:
    """`Task._Task__exit_hook` owns the handler of `Task.init`; no other handler is taken for it."""
    assert parts["no hook yet"] is False
    assert parts["handlers"] == [True, False]
    assert parts["others"] == [False, False]


def test_the_cache_folder_is_absolute_and_clearmls_own(parts: Any, tmp_path: Path) -> None:
    """`get_cache_dir` follows CLEARML_CACHE_DIR, and a relative one is made absolute at once."""
    assert parts["cache"].endswith("/cache")
    script = """
        from clearml_taskgroup._clearml import sdk
        give(str(sdk.cache_folder()))
    """
    done = run(script, tmp_path, env={"CLEARML_CACHE_DIR": "here"})
    assert done.result == str(tmp_path / "here")


def test_a_server_is_configured_by_file_or_environment(parts: Any, tmp_path: Path) -> None:
    """`config_obj` tells of credentials in clearml.conf; the environment's count as well."""
    assert parts["configured"] == [False, True]
    (tmp_path / "clearml.conf").write_text('api { credentials { access_key: "k", secret_key: "s" } }\n')
    script = """
        from clearml_taskgroup._clearml import sdk
        give(sdk.is_configured())
    """
    assert run(script, tmp_path).result is True


def test_the_offline_switch_is_held_until_the_last_lets_go(parts: Any) -> None:
    """The switch goes back with its last holder; nothing connects, the default session is the old one."""
    assert parts["held"] == [True, True]
    assert parts["mode"] == ["online", "offline", "offline", "online"]
    assert parts["sessions"] == [True, True, True]
    assert parts["held over another's"] is False


def test_an_existing_session_is_opened_and_edited(parts: Any) -> None:
    """`Task.get_task` opens a session that no ClearML object wrote, and a parameter keeps its type."""
    assert parts["attached"] == ["offline-1", "attached", ["t"], True]
    assert parts["entry"] == {"section": "General", "name": "a/b", "value": "x", "type": "Path"}


def test_settling_writes_everything_and_ends_the_thread(parts: Any) -> None:
    """`Task._Task__reporter` lives after a report, and is through and ended by its `stop`."""
    assert parts["reporting"] == [True, True]
    assert parts["settled"] == [False, [0.5]]


TWO_OBJECTS = """
from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._clearml.session_file import write_session
from clearml import OutputModel, Task

Task.set_offline(True)
own = Task._create("project", "the task")
folder = Path(own.get_offline_mode_folder())
stored = json.loads((folder / "task.json").read_text())
identity = {"kind": {"section": "TaskGroup", "name": "kind", "value": "task"}}
kept = {"TaskGroup": {"name": "TaskGroup", "value": "own"}}
stored |= {"hyperparams": {"TaskGroup": identity}, "configuration": kept, "beside": 1}
write_session(folder / "task.json", json.dumps(stored))

first, second = sdk.open_task(own.id), sdk.open_task(own.id)
first.set_comment("of the first")
second.add_tags(["of the second"])
(folder / "w.bin").write_text("weights")
first.set_configuration_object("configuration", config_text="of the first")
OutputModel(task=second, name="model").update_weights(str(folder / "w.bin"))
OutputModel(task=first, name="of the first").update_weights(str(folder / "w.bin"))
second.set_parameters({"General/only": 1})
first.set_user_properties(note="of the first")
sdk.wait_for_uploads(first, 30.0)
sdk.wait_for_uploads(second, 30.0)
third = sdk.open_task(own.id)
OutputModel(task=third, name="another").update_weights(register_uri="https://x.example/w.bin")
third.set_comment("")
sdk.wait_for_uploads(third, 30.0)
found = json.loads((folder / "task.json").read_text())
files = sorted(path.name for path in folder.iterdir())
give([found, files])
"""


def test_an_offline_task_keeps_what_others_stored(tmp_path: Path) -> None:
    """Several objects of one session, one after another or at once, lose nothing of each other's."""
    found, files = run(TWO_OBJECTS, tmp_path).result
    assert found["tags"] == ["of the second"]
    assert found["configuration"]["configuration"]["value"] == "of the first"
    assert found["configuration"]["TaskGroup"]["value"] == "own"
    assert found["beside"] == 1
    assert found["hyperparams"]["TaskGroup"]["kind"]["value"] == "task"
    assert found["hyperparams"]["properties"]["note"]["value"] == "of the first"
    models = [entry["init"]["name"] for entry in found["offline_output_models"]]
    assert sorted(models) == ["another", "model", "of the first"]
    assert found["comment"] == ""
    assert "task.json" in files
    assert "task.json.new" not in files


def test_a_model_is_usable_offline(tmp_path: Path) -> None:
    """What is replaced of `OutputModel` is still there, and its own raises what the replacement cures."""
    script = """
        from clearml_taskgroup._clearml import sdk
        from clearml import OutputModel, Task
        from clearml.model import Framework

        Task.set_offline(True)
        task = Task._create("project", "the task")

        def outcomes(task):
            found = []
            for call in ("published", "get_offline_mode_folder", "_set_package_tag"):
                model = OutputModel(task=task, name="model")
                try:
                    value = getattr(model, call)
                    found.append(str(value() if callable(value) else value))
                except Exception as error:
                    found.append(type(error).__name__)
            return found

        before = outcomes(task)
        attached = sdk.open_task(task.id)
        frameworks = [sdk.model_framework(*one) for one in ((None, "m.xgb"), ("PyTorch", "m"), (None, "m"))]
        give([before, outcomes(attached), str(task.get_offline_mode_folder()), frameworks, Framework.pytorch])
    """
    before, after, folder, frameworks, pytorch = run(script, tmp_path).result
    assert before == ["AttributeError", "AttributeError", "TypeError"]
    assert after == ["False", folder, "None"]
    assert frameworks[1:] == [pytorch, None]


def test_a_wait_that_takes_too_long_is_told() -> None:
    """`flush` gives up on ClearML's call, which knows no limit, after the time it was given."""

    class Stuck:
        id = "offline-2"
        through = threading.Event()

        def flush(self, wait_for_uploads: bool) -> None:
            self.through.wait(30.0)

        def _summary_artifacts(self) -> None:
            return None

    try:
        with pytest.raises(TimeoutError, match="offline-2"):
            sdk.flush(Stuck(), 0.0)
        with pytest.raises(TimeoutError, match="offline-2"):
            sdk.wait_for_uploads(Stuck(), 0.0)  # and does not go on to wait without a limit
    finally:
        Stuck.through.set()


def test_the_agents_task_is_found(tmp_path: Path) -> None:
    """The task in CLEARML_TASK_ID is what ClearML takes for its own, too; without an agent there is none."""
    script = """
        from clearml_taskgroup._clearml import sdk
        from clearml.config import get_remote_task_id
        assert (sdk.agent_task_id() or None) == (get_remote_task_id() or None)
        give(sdk.agent_task_id())
    """
    assert run(script, tmp_path).result is None
    assert run(script, tmp_path, env={"CLEARML_TASK_ID": "a" * 32}).result == "a" * 32


def test_script_detection_gives_what_task_init_detects(tmp_path: Path) -> None:
    """`ScriptInfo.get` gives the fields that `Task.init` puts on its own task."""
    script = """
        from clearml_taskgroup._clearml import sdk
        detected, _ = sdk.detect_script()
        from clearml import Task
        Task.set_offline(True)
        main = Task.init("project", "main task", auto_resource_monitoring=False)
        main._wait_for_repo_detection()
        script = json.loads((Path(main.get_offline_mode_folder()) / "task.json").read_text())["script"]
        give([detected, {field: script.get(field) for field in detected}])
    """
    detected, of_init = run(script, tmp_path).result
    assert detected == of_init
    assert {"entry_point", "working_dir", "diff", "requirements", "binary"} <= detected.keys()
