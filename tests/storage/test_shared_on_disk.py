"""The agreement of processes on a shared disk; here between threads, each a process of another machine."""

from __future__ import annotations

import errno
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup._model.status import ABANDONED
from clearml_taskgroup._storage import shared_on_disk
from clearml_taskgroup._storage.processes import is_alive, living
from clearml_taskgroup._storage.shared_on_disk import SharedOnDisk, open_shared_log
from clearml_taskgroup._storage.shared_run import DEAD_AFTER_S, PARENT
from clearml_taskgroup.errors import StoreError

RUN = "0123456789abcdef" * 2
KEYS = [f"key {number}" for number in range(20)]


def joined(folder: Path, number: int) -> SharedOnDisk:
    shared = SharedOnDisk(open_shared_log(folder, RUN), f"{number:08x}-1-1-1")
    shared.join()
    return shared


def claim_all(folder: Path) -> list[str]:
    """Has eight processes claim the same keys at the same moment; gives the keys that they won."""
    processes = [joined(folder, number) for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        won = threads.map(lambda one: [key for key in KEYS if one.claim(key, 1)], processes)
        return [key for keys in won for key in keys]


def fall_silent(folder: Path, shared: SharedOnDisk) -> None:
    """Lets the last sign of life of a process be too old."""
    moment = time.time() - DEAD_AFTER_S - 1
    os.utime(shared.folder / f"{shared.process}.alive", (moment, moment))
    assert not is_alive(shared.folder, shared.process)


def test_one_process_wins_each_claim(tmp_path: Path) -> None:
    assert sorted(claim_all(tmp_path)) == sorted(KEYS)


def test_also_where_files_have_one_name_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    assert sorted(claim_all(tmp_path)) == sorted(KEYS)


def test_the_atomic_link_is_what_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a look and a later creation in its place, several processes win the same claim."""

    def look_then_create(path: Path, text: str) -> bool:
        if path.exists():
            return False
        time.sleep(0.002)  # the moment that an operation of two steps has
        path.write_text(text)
        return True

    monkeypatch.setattr(shared_on_disk, "_link", look_then_create)
    assert len(claim_all(tmp_path)) > len(KEYS)


def test_an_answer_of_a_file_server_that_was_lost_is_no_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def link_twice(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError(target)  # as the repeated request is answered

    one, two = joined(tmp_path, 1), joined(tmp_path, 2)
    monkeypatch.setattr(os, "link", link_twice)
    assert one.claim("a", 1)
    monkeypatch.undo()
    assert not two.claim("a", 1)


def test_all_processes_find_one_run_log(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        paths = set(threads.map(lambda _: open_shared_log(tmp_path, RUN), range(8)))
    assert len(paths) == 1
    assert [path.name for path in tmp_path.glob("run-*.jsonl")] == [path.name for path in paths]


def test_one_process_is_the_last_one(tmp_path: Path) -> None:
    for _ in range(5):
        processes = [joined(tmp_path, number) for number in range(8)]
        with ThreadPoolExecutor(8) as threads:
            last = [
                one
                for one, won in zip(processes, threads.map(SharedOnDisk.leave, processes), strict=True)
                if won
            ]
        assert len(last) == 1
        session = last[0].session
        last[0].ended()
        late = joined(tmp_path, 9)
        assert late.session == session + 1
        assert late.leave()
        late.ended()


def test_who_joins_while_the_run_ends_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = joined(tmp_path, 1)
    assert one.leave()
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            one.ended()

    monkeypatch.setattr(shared_on_disk, "sleep", wait)
    two = joined(tmp_path, 2)
    assert (len(waits), two.session) == (3, 1)


def test_a_process_that_dies_while_it_ends_the_run_holds_nobody_up(tmp_path: Path) -> None:
    one = joined(tmp_path, 1)
    assert one.leave()
    moment = time.time() - DEAD_AFTER_S - 1
    os.utime(one.folder / "end.0.1", (moment, moment))
    two = joined(tmp_path, 2)
    assert two.session == 0
    assert two.leave()


def test_one_process_inherits_from_a_dead_one(tmp_path: Path) -> None:
    dead, *others = (joined(tmp_path, number) for number in range(9))
    fall_silent(tmp_path, dead)
    with ThreadPoolExecutor(8) as threads:
        inherited = [process for found in threads.map(SharedOnDisk.claim_dead, others) for process in found]
    assert inherited == [dead.process]
    others[0].remove_dead(dead.process)
    assert all(list(one.claim_dead()) == [] for one in others)


def test_an_heir_that_dies_is_inherited_from_as_well(tmp_path: Path) -> None:
    dead, heir, other = (joined(tmp_path, number) for number in range(3))
    fall_silent(tmp_path, dead)
    assert list(heir.claim_dead()) == [dead.process]
    fall_silent(tmp_path, heir)
    assert sorted(other.claim_dead()) == sorted([dead.process, heir.process])


def test_what_was_taken_for_dead_stays_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = joined(tmp_path, 1), joined(tmp_path, 2)
    told: list[str] = []
    one.on_withdrawn = lambda: told.append("withdrawn")
    monkeypatch.setattr(shared_on_disk, "monotonic", lambda: time.monotonic() + 31)
    one.beat()
    assert living(one.path) == {one.process, two.process}
    fall_silent(tmp_path, one)
    assert list(two.claim_dead()) == [one.process]
    monkeypatch.setattr(shared_on_disk, "monotonic", lambda: time.monotonic() + 62)
    one.beat()
    one.beat()
    assert (one.withdrawn, told) == (True, ["withdrawn"])
    assert living(one.path) == {two.process}
    assert not one.leave()


def test_the_claim_of_a_dead_process_is_free_unless_its_task_exists(tmp_path: Path) -> None:
    one, two = joined(tmp_path, 1), joined(tmp_path, 2)
    assert one.claim("a", 1)
    assert two.is_being_created("a", 1)
    assert not two.claim("a", 1)
    fall_silent(tmp_path, one)
    assert not two.is_being_created("a", 1)
    assert two.claim("a", 1)
    assert not one.claim("a", 1)


def test_a_claim_that_is_given_back_is_free(tmp_path: Path) -> None:
    one, two = joined(tmp_path, 1), joined(tmp_path, 2)
    assert one.claim(PARENT, 1)
    assert one.release(PARENT, 1, None)
    assert two.claim(PARENT, 1)
    assert two.release(PARENT, 1, "the parent")
    assert one.parent() == two.parent() == "the parent"
    assert not one.claim(PARENT, 1)


def test_a_run_that_all_processes_died_in_was_empty(tmp_path: Path) -> None:
    one = joined(tmp_path, 1)
    fall_silent(tmp_path, one)
    two, three = joined(tmp_path, 2), joined(tmp_path, 3)
    assert (two.session, three.session) == (1, 1)
    fall_silent(tmp_path, two)
    assert joined(tmp_path, 4).session == 1  # one of that session is alive


@pytest.mark.parametrize(
    "name", ["session.", "session.1 (copy)", "session.x", "end.1.bak", "end.1.x", "a.alive"]
)
def test_files_that_something_else_has_put_there_are_passed_over(tmp_path: Path, name: str) -> None:
    one = joined(tmp_path, 1)
    assert one.leave()
    one.ended()
    (tmp_path / "run-0001.shared" / name).write_bytes(b"\xff")
    two = joined(tmp_path, 2)
    assert two.session == 1
    assert two.claim("a", 1)


# --- what each file says ---------------------------------------------------------------------------


def log_of(shared: SharedOnDisk, *lines: dict[str, Any], key: str = "a", attempt: int = 1) -> None:
    """Writes the run log of one process, in which it opens a task."""
    run = {"event": "run", "group": "g", "project": "p", "name": "n", "run": RUN, "number": 1}
    run |= {"template": "{metric}", "mode": "offline", "parent": None, "owns_parent": False}
    task = {"event": "task", "id": f"{shared.process}-{key}", "key": key, "name": key, "index": 0}
    task |= {"attempt": attempt, "params": {}}
    text = "".join(json.dumps({**line, "time": at}) + "\n" for at, line in enumerate((run, task, *lines)))
    shared.path.with_suffix(f".{shared.process}.jsonl").write_text(text)


def end_of(shared: SharedOnDisk) -> dict[str, Any]:
    """The line of its task's end."""
    return {"event": "end", "id": f"{shared.process}-a", "status": "completed", "reason": ""}


def test_how_many_others_were_in_the_run(tmp_path: Path) -> None:
    """Living ones, that have left nothing but their file."""
    one, two, three = (joined(tmp_path, number) for number in range(3))
    assert [shared.others_at_join for shared in (one, two, three)] == [0, 1, 2]
    fall_silent(tmp_path, one)
    assert two.leave() is False
    assert joined(tmp_path, 4).others_at_join == 1


def test_a_task_that_exists_is_not_claimed_when_its_process_has_died(tmp_path: Path) -> None:
    """Its next attempt, and another key, are free."""
    one, two = joined(tmp_path, 1), joined(tmp_path, 2)
    assert one.claim("a", 1)
    assert one.claim("b", 1)
    log_of(one)
    assert not two.is_being_created("a", 1)
    fall_silent(tmp_path, one)
    assert [two.claim(key, attempt) for key, attempt in (("a", 1), ("a", 2), ("b", 1))] == [False, True, True]


def test_the_claims_of_others_stay(tmp_path: Path) -> None:
    one, two, three = (joined(tmp_path, number) for number in range(3))
    assert one.claim("a", 1)
    assert two.release("a", 1, None)
    assert not three.claim("a", 1)
    assert one.release("a", 1, "its id")
    assert not three.claim("a", 1)
    assert one.parent() is None  # that was no parent
    assert one.release("a", 1, None)
    assert three.claim("a", 1)


def test_tasks_of_dead_processes_are_stopped_and_open_ones_have_no_status(tmp_path: Path) -> None:
    one, two = joined(tmp_path, 1), joined(tmp_path, 2)
    assert list(one.members()) == []
    log_of(one)
    log_of(two, key="b")
    assert [(task.key, task.status) for task in two.members()] == [("a", None), ("b", None)]
    fall_silent(tmp_path, one)
    first, second = two.members()
    assert (first.status, first.reason, second.status) == ("stopped", ABANDONED, None)
    log_of(one, end_of(one))
    assert [task.status for task in two.members()] == ["completed", None]


def test_a_sign_of_life_is_given_every_30_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by a child, and not by a process that was taken for dead; a broken disk is no error."""
    shared = joined(tmp_path, 1)
    alive = shared.folder / f"{shared.process}.alive"
    now = [shared._last_beat]
    monkeypatch.setattr(shared_on_disk, "monotonic", lambda: now[0])

    def beats_at(seconds: float) -> bool:
        os.utime(alive, (1.0, 1.0))
        now[0] += seconds
        shared.beat()
        return alive.stat().st_mtime > 1.0

    assert [beats_at(seconds) for seconds in (29.9, 0.1, 29.9, 0.1)] == [False, True, False, True]
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 0)
        assert not beats_at(31.0)
    alive.unlink()
    now[0] += 31.0
    shared.beat()
    assert not shared.withdrawn
    (shared.folder / f"dead.{shared.process}.1").touch()
    now[0] += 29.9
    shared.beat()
    assert not shared.withdrawn  # it looks as often as it gives a sign
    now[0] += 0.1
    shared.beat()
    assert shared.withdrawn


def test_who_ends_the_run_touches_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = joined(tmp_path, 1)
    assert shared.leave()
    end = shared.folder / "end.0.1"
    os.utime(end, (1.0, 1.0))
    monkeypatch.setattr(shared_on_disk, "monotonic", lambda: time.monotonic() + 31)
    shared.beat()
    assert end.stat().st_mtime > 1.0
    assert end.read_text() == shared.process
    assert not (shared.folder / f"{shared.process}.alive").exists()


def test_the_next_process_ends_a_run_whose_ender_has_died(tmp_path: Path) -> None:
    """With the next number; a file without a name is of one that is just writing it."""
    one = joined(tmp_path, 1)
    end = one.folder / "end.0.1"
    end.write_text(this := "0123abcd-1-1-1")
    moment = time.time() - DEAD_AFTER_S - 1
    os.utime(end, (moment, moment))
    assert one.leave()
    assert (one.folder / "end.0.2").read_text() == one.process != this
    (one.folder / "end.0.2").write_text("")
    assert not one._is_ending(end)
    assert one._is_ending(one.folder / "end.0.2")


def test_who_leaves_while_the_run_ends_is_not_the_last(tmp_path: Path) -> None:
    """Another process ends it, or has: then a later session has begun."""
    one, two = joined(tmp_path, 1), joined(tmp_path, 2)
    fall_silent(tmp_path, two)
    assert one.leave()
    assert not two.leave()
    three = joined(tmp_path / "later", 3)
    (three.folder / "session.1").touch()
    assert not three.leave()


def test_who_joins_just_before_the_end_keeps_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that wanted to end it looks again, and leaves it to that one."""
    one = joined(tmp_path, 1)
    win = SharedOnDisk._win

    def then_another_joins(self: SharedOnDisk, name: str, is_taken: Any) -> Path | None:
        won = win(self, name, is_taken)
        (self.folder / "00000002-1-1-1.alive").write_text("0")
        return won

    monkeypatch.setattr(SharedOnDisk, "_win", then_another_joins)
    assert not one.leave()
    assert not list(one.folder.glob("end.*"))
    assert [path.name for path in one.folder.glob("*.alive")] == ["00000002-1-1-1.alive"]


def test_the_parent_of_a_dead_process_is_not_created_again(tmp_path: Path) -> None:
    one, two = joined(tmp_path, 1), joined(tmp_path, 2)
    assert one.claim(PARENT, 1)
    assert two.is_being_created(PARENT, 1)
    assert one.release(PARENT, 1, "the parent")
    assert not two.is_being_created(PARENT, 1)
    fall_silent(tmp_path, one)
    assert not two.claim(PARENT, 1)


def test_a_run_that_was_discarded_begins_anew(tmp_path: Path) -> None:
    """Its name may still lead to a log that is gone; another run has a log of its own."""
    path = open_shared_log(tmp_path, RUN)
    assert open_shared_log(tmp_path, RUN) == path
    assert open_shared_log(tmp_path, "f" * 32) != path
    path.unlink()
    assert open_shared_log(tmp_path, RUN).exists()


def test_an_error_of_the_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    shared = joined(tmp_path, 1)
    monkeypatch.setattr(os, "link", broken)
    with pytest.raises(StoreError, match="Input/output error"):
        shared.claim("a", 1)
    assert not list(shared.folder.glob(".*"))  # its draft
