"""Files that ClearML's own objects could not upload: reported, kept, and delivered by an upload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest

from tests.loopback import LoopbackServer
from tests.support.clearml_process import run

WORK = """
import io, logging, numpy
from clearml import OutputModel
from clearml_taskgroup import TaskGroup

logged = []
class Handler(logging.Handler):
    def emit(self, record):
        logged.append(record.getMessage())
logging.getLogger("clearml_taskgroup").addHandler(Handler(logging.WARNING))

def file(name):
    Path(name).write_text(f"content of {name}")
    return name

pixels, errors = numpy.zeros((4, 4, 3), numpy.uint8), []
group = TaskGroup("project", "group", mode="online", provenance=False)
try:
    with group:
        with group.task({"C": 1}) as task:
            task.report({"loss": 0.5}, 1)
            own, logger = task.clearml_task, task.logger
            for one in WANTED:
                if one == "artifact":
                    own.upload_artifact("numbers", {"a": 1})
                elif one == "file":
                    own.upload_artifact("notes", file("notes.txt"))
                elif one == "deleted":
                    own.upload_artifact("notes", file("notes.txt"), delete_after_upload=True)
                elif one == "image":
                    logger.report_image("image", "first", iteration=3, image=pixels)
                elif one == "stream":
                    logger.report_media("media", "words", 2, stream=io.BytesIO(b"words"), file_extension="a")
                elif one == "model":
                    model = OutputModel(task=own, name="the model")
                    model.update_weights(file("weights.bin"), upload_uri=FILES)
                elif one == "gone":
                    own.upload_artifact("notes", file("notes.txt"))
                    os.unlink("notes.txt")
            after(task) if "after" in globals() else None
        logged_at_its_end = list(logged)
except* Exception as raised:
    errors = [f"{type(error).__name__}: {error}" for error in raised.exceptions]
kept = group.record_path.with_suffix(".files")
give({
    "errors": errors, "logged": logged_at_its_end, "record": str(group.record_path), "id": task.id,
    "kept": {json.loads(path.read_text())["what"]: path.with_suffix(".data").read_bytes().hex()
             for path in kept.glob("*.json")},
    "files": sorted(str(path) for path in Path(".").iterdir() if path.suffix in (".txt", ".bin")),
})
"""
UPLOAD = """
from clearml_taskgroup import TaskGroup
give([str(problem) for problem in TaskGroup.upload(RECORD).problems])
"""


def work(server: LoopbackServer, home: Path, *wanted: str, more: str = "") -> dict[str, Any]:
    """Runs a group whose task stores some files."""
    script = f"WANTED, FILES = {list(wanted)!r}, {server.files_url!r}\n{more}\n{WORK}"
    found: dict[str, Any] = run(script, home, env=server.environment()).result
    return found


def upload(server: LoopbackServer, home: Path, record: str) -> list[str]:
    """Uploads a run in another process; returns the problems."""
    done = run(f"RECORD = {record!r}\n{UPLOAD}", home, env=server.environment(), file=home / "upload.py")
    problems: list[str] = done.result
    return problems


def content(server: LoopbackServer, url: str) -> bytes:
    """What the files server has at an address."""
    return server.stored_files[unquote(urlparse(url).path).strip("/")].content


def refuse(server: LoopbackServer, times: int = 1000) -> None:
    """Has the files server refuse files, in the way of which ClearML does not wait for a minute."""
    server.faults.fail_next("files.upload", status=403, times=times)


@pytest.mark.slow
def test_failed_uploads_are_reported_kept_and_delivered(loopback: LoopbackServer, tmp_path: Path) -> None:
    """Artifacts, debug samples and models: one log line each at the task's end, an error at the group's."""
    refuse(loopback)
    found = work(loopback, tmp_path, "artifact", "deleted", "image", "stream", "model")
    task = loopback.task(found["id"])
    assert task["status"] == "completed"
    assert loopback.scalars(task["id"]) == {("loss", "value"): [(1, 0.5)]}
    named = ["'numbers'", "'notes'", "'image/first'", "'media/words'", "'weights.bin'"]
    for name in named:
        assert any(name in line and "'C=1'" in line and "a copy is in" in line for line in found["logged"])
    (error,) = found["errors"]
    assert error.startswith("DeliveryError: 5 files of 1 task (C=1) could not be delivered: ")
    assert f"upload them with: clearml-taskgroup upload {found['record']}" in error
    assert len(error.removeprefix("DeliveryError: ")) <= 500
    kept = {what: bytes.fromhex(data) for what, data in found["kept"].items()}
    assert json.loads(kept["the artifact 'numbers'"]) == {"a": 1}
    assert kept["the artifact 'notes'"] == b"content of notes.txt"
    assert kept["the debug sample 'media/words' of iteration 2"] == b"words"
    assert kept["the debug sample 'image/first' of iteration 3"][:2] == b"\xff\xd8"
    assert kept["the model 'weights.bin'"] == b"content of weights.bin"

    (problem,) = upload(loopback, tmp_path, found["record"])  # still away: nothing is deleted
    assert problem.startswith("5 files of 1 task (C=1) could not be delivered: the ")
    assert "the server answered 403" in problem
    assert problem.endswith("Copies are kept; upload again")
    assert loopback.images(task["id"]) == []

    loopback.faults.clear()
    assert upload(loopback, tmp_path, found["record"]) == []
    task = loopback.task(found["id"])
    artifacts = {artifact["key"]: artifact["uri"] for artifact in task["execution"]["artifacts"]}
    assert json.loads(content(loopback, artifacts["numbers"])) == {"a": 1}
    assert content(loopback, artifacts["notes"]) == b"content of notes.txt"
    samples = {image["metric"]: image for image in loopback.images(task["id"])}
    assert (samples["image"]["iter"], samples["image"]["variant"]) == (3, "first")
    assert content(loopback, samples["image"]["url"])[:2] == b"\xff\xd8"
    assert content(loopback, samples["media"]["url"]) == b"words"
    (model,) = loopback.models.values()
    assert content(loopback, model["uri"]) == b"content of weights.bin"
    assert not Path(found["record"]).with_suffix(".files").exists()


@pytest.mark.slow
def test_uploads_that_succeed_leave_nothing(loopback: LoopbackServer, tmp_path: Path) -> None:
    """No error, no copies; a file that ClearML shall delete is deleted, others are not."""
    found = work(loopback, tmp_path, "file", "artifact", "image", "stream", "model")
    assert (found["errors"], found["kept"], found["logged"]) == ([], {}, [])
    assert "notes.txt" in found["files"]
    found = work(loopback, tmp_path, "deleted")
    assert (found["errors"], found["kept"]) == ([], {})
    assert "notes.txt" not in found["files"]


@pytest.mark.slow
def test_a_later_upload_to_the_same_address_counts(loopback: LoopbackServer, tmp_path: Path) -> None:
    """An artifact that was stored again, when the server was back, is not overwritten by the old one."""
    refuse(loopback, times=3)  # ClearML's attempts at one file
    more = """
def after(task):
    task.clearml_task.flush(wait_for_uploads=True)
    Path("notes.txt").write_text("newer")
    task.clearml_task.upload_artifact("notes", "notes.txt")
"""
    found = work(loopback, tmp_path, "file", more=more)
    assert (found["errors"], found["kept"]) == ([], {})
    (artifact,) = loopback.task(found["id"])["execution"]["artifacts"]
    assert content(loopback, artifact["uri"]) == b"newer"


@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.quick(1)
def test_a_file_that_is_gone_is_reported(loopback: LoopbackServer, tmp_path: Path, mode: str) -> None:
    """ClearML uploads in the background: a file that the script has deleted meanwhile cannot be stored."""
    script = f"WANTED, FILES = ['gone'], ''\n{WORK}".replace('"online"', repr(mode))
    script = script.replace('os.unlink("notes.txt")', 'os.unlink("notes.txt"); release.set()')
    script = script.replace(
        "pixels, errors = ",
        "release = threading.Event()\n"
        "from clearml.backend_interface.metrics import Metrics\n"
        "real = Metrics.write_events\n"
        "Metrics.write_events = lambda *a, **k: release.wait(60) and real(*a, **k)\n"
        "pixels, errors = ",
    )
    found = run(script, tmp_path, env=loopback.environment()).result
    (error,) = found["errors"]
    assert error.startswith("DeliveryError: 1 file of 1 task (")
    assert "the artifact 'notes'" in error
    assert "is not there any more" in error


@pytest.mark.slow
def test_an_upload_under_way_is_kept_when_the_time_is_over(loopback: LoopbackServer, tmp_path: Path) -> None:
    """A server that takes its time: closing keeps its limit, and the file is there for an upload."""
    loopback.faults.fail_next("files.upload", kind="delay", delay=10.0)
    script = f"WANTED, FILES = ['deleted'], ''\nimport time\n{WORK}"
    script = script.replace("pixels, errors =", "began = time.monotonic()\npixels, errors =")
    script = script.replace("provenance=False)", "provenance=False, close_timeout=1.0)")
    script = script.replace("give({", 'give({"seconds": time.monotonic() - began,')
    found = run(script, tmp_path, env=loopback.environment()).result
    assert found["seconds"] < 10.0
    assert found["kept"] == {"the artifact 'notes'": b"content of notes.txt".hex()}
    assert any("the time for closing ran out" in error for error in found["errors"])
    assert loopback.task(found["id"])["status"] == "completed"


LOGGER = """
from clearml_taskgroup import TaskGroup
errors = []
try:
    with TaskGroup("project", "group", mode="online", provenance=False, close_timeout=LIMIT) as group:
        task = group.task({"C": 1})
        task.report({"loss": 0.5}, 1)
        task.logger.report_scalar("own", "curve", value=0.25, iteration=1)
        task.logger.report_text("by the logger", print_console=False)
        task.logger.report_histogram("plot", "series", values=[1, 2], iteration=1)
except* Exception as raised:
    errors = [str(error) for error in raised.exceptions]
give([task.id, errors, str(group.record_path)])
"""
OWN = {("loss", "value"): [(1, 0.5)], ("own", "curve"): [(1, 0.25)]}


@pytest.mark.parametrize("status", [400, 413, 500])
@pytest.mark.quick(1)
def test_what_clearmls_logger_could_not_send_is_sent(
    loopback: LoopbackServer, tmp_path: Path, status: int
) -> None:
    """ClearML drops all events of a request that is refused, by a proxy as well."""
    loopback.faults.fail_next("events.add_batch", status=status, containing=b"by the logger")
    done = run(f"LIMIT = 60.0\n{LOGGER}", tmp_path, env=loopback.environment())
    task_id, errors, _ = done.result
    assert errors == []
    assert loopback.scalars(task_id) == OWN
    assert loopback.logs(task_id) == ["by the logger"]
    assert [plot["metric"] for plot in loopback.plots(task_id)] == ["plot"]
    assert loopback.task(task_id)["status"] == "completed"


@pytest.mark.slow
def test_what_clearmls_logger_could_not_send_in_time_waits(loopback: LoopbackServer, tmp_path: Path) -> None:
    """ClearML would wait for the server without end as the interpreter ends; the outbox has its events."""
    loopback.faults.fail_next("events.add_batch", status=503, times=1_000_000)
    done = run(f"LIMIT = 1.0\n{LOGGER}", tmp_path, env=loopback.environment(), timeout=60.0)
    task_id, errors, record = done.result
    assert any("clearml-taskgroup upload" in error for error in errors)
    loopback.faults.clear()
    assert upload(loopback, tmp_path, record) == []
    assert loopback.scalars(task_id) == OWN
    assert set(loopback.logs(task_id)) == {"by the logger"}
    assert [plot["metric"] for plot in loopback.plots(task_id)] == ["plot"]
    assert loopback.task(task_id)["status"] == "completed"
