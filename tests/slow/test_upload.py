"""Uploads that are interrupted at every step: ten tasks with artifacts and images, and SIGKILL."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from clearml_taskgroup import TaskGroup
from tests.loopback import LoopbackServer
from tests.loopback.harness import run_script
from tests.support.offline_run import Killed, OfflineRun, Steps
from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.slow

KILLED = """
import os, signal, sys
sys.path.insert(0, {repository!r})
from clearml_taskgroup import TaskGroup
from tests.support.offline_run import Steps

steps = Steps({at}, lambda: os.kill(os.getpid(), signal.SIGKILL))
with steps.counted():
    TaskGroup.upload({record!r})
print("steps", steps.taken)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> OfflineRun:
    """An offline run of ten tasks, made once."""
    return OfflineRun.make(tmp_path_factory.mktemp("made"), 10)


def empty(server: LoopbackServer) -> None:
    """Forgets all tasks, their events and files."""
    with server.state.lock:
        server.state.tasks.clear()
        server.state.events.clear()
        server.state.models.clear()
    server.files.stored.clear()


def test_ten_tasks_interrupted_at_every_kind_of_step(
    made: OfflineRun, loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Interrupted once and repeated, all is there: tasks, points, files, statuses.

    A session has 15 steps, so every fourth step of ten sessions is each of them at least twice;
    tests/storage has a run of three tasks that is interrupted before every step.
    """
    at, interrupted = -3, True
    while interrupted:
        at += 4
        run = made.copy(tmp_path / "copy")
        monkeypatch.setenv("CLEARML_CACHE_DIR", str(run.cache))
        empty(loopback)
        try:
            with Steps(at).counted():
                TaskGroup.upload(run.record)
        except Killed:
            TaskGroup.upload(run.record)
        else:
            interrupted = False
        run.check(loopback)
        shutil.rmtree(run.cache)
    assert at > 10 * 10


def test_an_upload_interrupted_over_and_over_arrives(
    made: OfflineRun, loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An upload that never gets further than one session, 15 steps, at once arrives all the same."""
    run = made.copy(tmp_path / "copy")
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(run.cache))
    rounds = 0
    while True:
        rounds += 1
        assert rounds < 60
        try:
            with Steps(16).counted():
                TaskGroup.upload(run.record)
            break
        except Killed:
            continue
    assert rounds > 5
    run.check(loopback)


@pytest.mark.parametrize("at", [1, 3, 6, 8, 11, 12, 13, 14, 15, 60])
def test_a_sigkill_in_an_upload(made: OfflineRun, loopback: LoopbackServer, tmp_path: Path, at: int) -> None:
    """Killed in the middle and repeated by another process, an upload brings everything once."""
    run = made.copy(tmp_path / "home" / "cache")
    script = KILLED.format(repository=str(REPOSITORY), at=at, record=str(run.record))
    done = run_script(script, loopback, tmp_path / "home", check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    again = KILLED.format(repository=str(REPOSITORY), at=0, record=str(run.record))
    assert "steps" in run_script(again, loopback, tmp_path / "home").stdout
    run.check(loopback)
