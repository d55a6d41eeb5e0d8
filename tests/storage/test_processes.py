"""Names of processes, and whether they are alive."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clearml_taskgroup._storage import processes as module
from clearml_taskgroup._storage.processes import (
    is_alive,
    is_fresh,
    is_here,
    is_known_dead,
    living,
    pid_and_machine,
    present,
    readable,
    this_process,
)
from clearml_taskgroup._storage.shared_run import DEAD_AFTER_S

HERE = module._machine()
PID, STARTED = os.getpid(), module._started(os.getpid()) or 0
ELSEWHERE = "0123abcd-12-345-1"


@pytest.fixture(scope="module")
def another() -> int:
    """The pid of a living process."""
    return os.getppid()


@pytest.fixture(scope="module")
def dead() -> int:
    """The pid of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    child.wait()
    return child.pid


def beside(folder: Path, process: str, age: float = 0.0) -> Path:
    """The file that a process touches, the last time some seconds ago."""
    path = folder / f"{process}.alive"
    path.touch()
    moment = time.time() - age
    os.utime(path, (moment, moment))
    return path


def test_each_group_of_a_process_has_a_name() -> None:
    """With the machine, the pid and the start of the process, and a number."""
    first, second = this_process(), this_process()
    assert first.split("-")[:3] == second.split("-")[:3] == [HERE, str(PID), str(STARTED)]
    assert int(second.split("-")[3]) == int(first.split("-")[3]) + 1
    assert len(HERE) == 8
    assert all(map(is_here, (first, second)))
    assert not is_here(ELSEWHERE)


@pytest.mark.parametrize(
    ("process", "pid", "machine"),
    [
        (f"{HERE}-12-345-1", "12", "this machine"),
        (ELSEWHERE, "12", "another machine (0123abcd)"),
        (f"{HERE}-", "?", "this machine"),
        ("odd", "?", "another machine (odd)"),
    ],
)
def test_a_process_is_named_for_people(process: str, pid: str, machine: str) -> None:
    assert pid_and_machine(process) == (pid, machine)
    assert readable(process) == f"pid {pid} on {machine}"


def test_which_processes_are_known_to_be_dead(another: int, dead: int) -> None:
    assert not is_known_dead(f"{HERE}-{PID}-{STARTED}-1")
    assert not is_known_dead(f"{HERE}-{PID}-{STARTED + 1}-1")  # it knows itself
    assert not is_known_dead(f"{HERE}-{another}-{module._started(another)}-1")
    assert not is_known_dead(f"{HERE}-{another}-0-1")  # where the system does not tell the start
    assert is_known_dead(f"{HERE}-{dead}-{STARTED}-1")
    assert not is_known_dead(f"0123abcd-{dead}-{STARTED}-1")


@pytest.mark.skipif(not STARTED, reason="the system does not tell when a process started")
def test_a_pid_that_is_used_again_is_that_of_another_process(another: int) -> None:
    started = module._started(another)
    assert started is not None
    assert is_known_dead(f"{HERE}-{another}-{started + 1}-1")


@pytest.mark.parametrize("rest", ["", "1", "1-2", "x-2-3", "1-2-3-4", f"{10**30}-1-1"])
def test_of_a_name_that_no_process_has_nothing_is_known(rest: str) -> None:
    assert not is_known_dead(f"{HERE}-{rest}")


def test_a_process_that_may_not_be_asked_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, signal: int) -> None:
        assert signal == 0
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert not is_known_dead(f"{HERE}-1-1-1")


def test_a_process_of_another_machine_lives_by_its_file(tmp_path: Path) -> None:
    path = beside(tmp_path, ELSEWHERE, DEAD_AFTER_S - 5.0)
    assert is_fresh(path)
    assert is_alive(tmp_path, ELSEWHERE)
    beside(tmp_path, ELSEWHERE, DEAD_AFTER_S + 5.0)
    assert not is_alive(tmp_path, ELSEWHERE)
    assert not is_fresh(tmp_path / "missing")
    assert not is_alive(tmp_path, "0123abcd-13-345-1")


@pytest.mark.parametrize(("age", "fresh"), [(DEAD_AFTER_S - 1.0, True), (DEAD_AFTER_S, False)])
def test_a_file_is_fresh_for_five_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: float, fresh: bool
) -> None:
    os.utime(path := beside(tmp_path, ELSEWHERE), (1000.0, 1000.0))
    monkeypatch.setattr(module, "_now", lambda folder: 1000.0 + age)
    assert is_fresh(path) is fresh


def test_a_process_of_this_machine_lives_as_the_system_says(tmp_path: Path, dead: int) -> None:
    own, gone = f"{HERE}-{PID}-{STARTED}-1", f"{HERE}-{dead}-{STARTED}-1"
    beside(tmp_path, own, 2 * DEAD_AFTER_S)
    beside(tmp_path, gone)
    assert is_alive(tmp_path, own)
    assert not is_alive(tmp_path, gone)


def test_what_was_taken_for_dead_is_dead(tmp_path: Path) -> None:
    own = this_process()
    beside(tmp_path, own)
    (tmp_path / f"dead.{own}.1").touch()
    assert not is_alive(tmp_path, own)


def test_the_processes_of_a_run(tmp_path: Path) -> None:
    path, folder = tmp_path / "run-0001.jsonl", tmp_path / "run-0001.shared"
    assert living(path) == frozenset()
    folder.mkdir()
    own = this_process()
    beside(folder, own)
    beside(folder, ELSEWHERE, 2 * DEAD_AFTER_S)
    (folder / "parent.id").touch()
    assert present(folder) == sorted([own, ELSEWHERE])
    assert living(path) == {own}


def test_the_age_of_a_file_is_taken_by_the_clock_of_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves no file there; where none can be written, this machine's clock has to do."""
    monkeypatch.setattr(time, "time", lambda: 1e10)
    before = list(tmp_path.iterdir())
    assert module._now(tmp_path) < 1e10
    assert list(tmp_path.iterdir()) == before
    assert module._now(tmp_path / "missing") == 1e10


@pytest.mark.parametrize(
    ("text", "started"),
    [
        ("7 (python) S " + " ".join(map(str, range(4, 53))), 22),
        ("7 (a b) c) R " + " ".join(map(str, range(4, 53))), 22),
        ("7 (python) Z " + " ".join(map(str, range(4, 53))), None),
        ("7 (python) X " + " ".join(map(str, range(4, 53))), None),
    ],
)
def test_the_start_is_read_whatever_the_program_is_called(
    monkeypatch: pytest.MonkeyPatch, text: str, started: int | None
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: text)
    assert module._started(7) == started


def test_a_process_that_is_not_there_has_no_start(dead: int) -> None:
    assert module._started(dead) is None
