"""Help for tests: scripts in fresh processes, what they left on disk, stores that misbehave.

ClearML has switches that hold for a whole process and cannot be taken back, so whatever calls
`Task.init` or `Task.set_offline`, dies of a signal or ends an interpreter runs by `run_script`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml.events import Batch
from clearml_taskgroup._model.specs import Ending
from clearml_taskgroup._run.opening import backend_for_tests
from clearml_taskgroup._storage.run_log import iterate
from clearml_taskgroup.testing import MemoryStore
from tests.loopback import warm_python

CONFIGURATION = "sdk.development.report_use_subprocess: false\n"
PRELUDE = """\
import os, signal, sys, threading
from clearml_taskgroup import GroupTask, TaskGroup

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it

def offline(**options):
    return TaskGroup("the project", "the group", mode="offline", provenance=False, **options)

"""
"""What every script starts with."""


@attrs.frozen
class Session:
    """One ClearML offline session folder, parsed."""

    task: dict[str, Any]
    events: list[dict[str, Any]]

    @property
    def scalars(self) -> list[tuple[str, str, int, float]]:
        """Title, series, iteration and value of each scalar, in the order of the file."""
        return [
            (event["metric"], event["variant"], event["iter"], event["value"])
            for event in self.events
            if event["type"] == "training_stats_scalar"
        ]

    @property
    def console(self) -> str:
        """The text in the task's console."""
        return "\n".join(event["msg"] for event in self.events if event["type"] == "log")


@attrs.frozen
class Disk:
    """What groups left below a ClearML cache folder."""

    cache: Path

    @property
    def sessions(self) -> dict[str, Session]:
        """The sessions by the name of their ClearML task."""
        found = {}
        for folder in sorted(self.cache.glob("offline/offline-*/")):
            if not folder.is_dir():  # ClearML zips the session of a main task
                continue
            task = json.loads((folder / "task.json").read_text())
            lines = folder / "metrics.jsonl"
            batches = lines.read_text().splitlines() if lines.exists() else []
            found[task["name"]] = Session(task, [event for batch in batches for event in json.loads(batch)])
        return found

    @property
    def records(self) -> list[list[dict[str, Any]]]:
        """The run records, each as its lines, in the order of their numbers."""
        return [[*iterate(path)] for path in sorted(self.cache.glob("taskgroup/*/run-*.jsonl"))]

    def record(self) -> list[dict[str, Any]]:
        """The lines of the only run record."""
        (lines,) = self.records
        return lines

    def ends(self) -> dict[str, tuple[str, str]]:
        """Status and reason of each task of the only run, by name; of the run itself as `run`."""
        return ends_of(self.record())


def ends_of(lines: Sequence[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Reads a run record: how each task, by name, and the run itself ended; each once."""
    names = {line["id"]: line["name"] for line in lines if line["event"] == "task"}
    found = {}
    for line in lines:
        if line["event"] in ("end", "close"):
            name = names[line["id"]] if line["event"] == "end" else "run"
            assert name not in found, f"{name} ended twice"
            found[name] = (line["status"], line["reason"])
    return found


@attrs.frozen
class Outcome(Disk):
    """How a script ended and what it left."""

    code: int
    out: str
    err: str


def environment(tmp_path: Path, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a script: a home, a cache and a configuration of its own, no network."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    configuration = tmp_path / "clearml.conf"
    configuration.write_text(CONFIGURATION)
    # Without PYTHONPATH a script may import another copy of the library than the one under test.
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {
        **kept,
        "HOME": str(home),
        "CLEARML_CACHE_DIR": str(tmp_path / "cache"),
        "CLEARML_CONFIG_FILE": str(configuration),
        "CLEARML_NO_DEFAULT_SERVER": "1",
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
        **(env or {}),
    }


def written(source: str, tmp_path: Path) -> Path:
    """Writes a script into a folder, beneath the prelude."""
    script = tmp_path / "script.py"
    script.write_text(PRELUDE + textwrap.dedent(source))
    return script


def start_script(
    source: str, tmp_path: Path, *, env: Mapping[str, str] | None = None, options: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Starts a script in a fresh process, with pipes for all three of its streams."""
    return subprocess.Popen(
        [sys.executable, *options, str(written(source, tmp_path))],
        cwd=tmp_path,
        env=environment(tmp_path, env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def line_of(process: subprocess.Popen[str], timeout: float = 60.0) -> str:
    """Waits for the next line that a script prints; the script is killed if none comes."""
    assert process.stdout is not None
    watchdog = threading.Timer(timeout, process.kill)
    watchdog.start()
    try:
        return process.stdout.readline().strip()
    finally:
        watchdog.cancel()
        watchdog.join()


def finished(process: subprocess.Popen[str], tmp_path: Path, timeout: float = 60.0) -> Outcome:
    """Waits for a script's end and reads what it left."""
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return Outcome(tmp_path / "cache", process.returncode, out, err)


def run_script(
    source: str,
    tmp_path: Path,
    *,
    env: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    timeout: float = 120.0,
) -> Outcome:
    """Runs a script in a fresh process to its end."""
    if options:
        return finished(start_script(source, tmp_path, env=env, options=options), tmp_path, timeout)
    script = written(source, tmp_path)
    done = warm_python.run(script, env=environment(tmp_path, env), cwd=tmp_path, timeout=timeout)
    return Outcome(tmp_path / "cache", done.returncode, done.stdout, done.stderr)


def _quiet(given: Any) -> None:
    return None


@attrs.define(slots=False)
class HookedStore(MemoryStore):
    """A store in memory that first calls a function of the test's, which may raise or wait."""

    on_write: Callable[[Batch], None] = _quiet
    on_finish: Callable[[Sequence[Ending]], None] = _quiet
    finished: list[str] = attrs.field(factory=list)

    def write(self, batch: Batch) -> None:
        """Keeps the events, unless the test's function objects."""
        self.on_write(batch)
        super().write(batch)

    def finish(self, endings: Sequence[Ending], timeout: float = 60.0) -> dict[str, Exception]:
        """Sets each status, unless the test's function objects."""
        errors: dict[str, Exception] = {}
        for ending in endings:
            try:
                self.on_finish([ending])
            except Exception as error:
                errors[ending.task_id] = error
                continue
            self.finished.append(ending.task_id)
            errors |= super().finish([ending], timeout)
        return errors


@contextmanager
def kept_in(backend: MemoryStore) -> Iterator[MemoryStore]:
    """Has the groups opened inside use this store, as `testing.recording` does with its own."""
    token = backend_for_tests.set(backend)
    try:
        yield backend
    finally:
        backend_for_tests.reset(token)


def statuses(backend: MemoryStore) -> dict[str, str]:
    """The status of each ClearML task in a store, the parents' too, by name."""
    return {task.name: task.status for task in backend.tasks.values()}


@attrs.frozen
class Place:
    """Where a test's groups keep their tasks, and how to read there how they ended."""

    cache: Path
    backend: MemoryStore | None

    def group(self, name: str = "the group", **options: Any) -> TaskGroup:
        """Makes a group that keeps its tasks here."""
        mode: Any = None if self.backend is not None else "offline"
        return TaskGroup("the project", name, mode=mode, provenance=False, **options)

    def ends(self) -> dict[str, tuple[str, str]]:
        """Status and reason of each task, by name; those of the run's parent as `run`."""
        if self.backend is None:
            return Disk(self.cache).ends()
        return {
            "run" if task.spec.kind == "parent" else task.name: (task.status, task.reason)
            for task in self.backend.tasks.values()
        }

    def statuses(self) -> dict[str, str]:
        """The statuses alone."""
        return {name: status for name, (status, _) in self.ends().items()}

    def console(self, task: str) -> str:
        """The text in a task's console."""
        if self.backend is None:
            return Disk(self.cache).sessions[f"the group {task}"].console
        (found,) = [member for member in self.backend.members if member.name == task]
        return found.console


@contextmanager
def place_of(kind: str, tmp_path: Path) -> Iterator[Place]:
    """Gives a place in memory (`"memory"`) or below a cache folder of the test's (`"offline"`)."""
    if kind == "memory":
        backend = MemoryStore()
        with kept_in(backend):
            yield Place(tmp_path, backend)
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CLEARML_CACHE_DIR", str(tmp_path))
            yield Place(tmp_path, None)


def notes_of(exc: BaseException) -> list[str]:
    """The notes of an exception."""
    return list(getattr(exc, "__notes__", []))


@contextmanager
def leaves(error: BaseException, notes: Sequence[str] = ()) -> Iterator[None]:
    """Checks that the very same exception leaves the block, with a note for each of `notes`."""
    try:
        yield
    except BaseException as caught:
        if caught is not error:
            raise
        found = notes_of(error)
        assert len(found) == len(notes), found
        assert (error.__cause__, error.__suppress_context__) == (None, False)
        for note, part in zip(found, notes, strict=True):
            assert part in note
    else:
        pytest.fail(f"{error!r} did not leave the block")


@contextmanager
def fails_to_close() -> Iterator[list[Exception]]:
    """Checks that an exception group leaves the block, and gives what it holds."""
    errors: list[Exception] = []
    with pytest.raises(ExceptionGroup, match="could not be closed cleanly") as caught:
        yield errors
    errors += caught.value.exceptions
