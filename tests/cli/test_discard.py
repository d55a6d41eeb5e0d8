"""`discard`: a run that nobody wants leaves this disk, with all that is of it and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import sdk
from tests.loopback import LoopbackServer
from tests.support.cli import as_json, as_json_error, command, told
from tests.support.runs import NAME, PROJECT, Place, kill


def make(place: Place | None = None) -> TaskGroup:
    """Makes a run of two tasks."""
    with (place or Place()).group() as group:
        for task in group.tasks({"seed": range(2)}):
            task.report({"loss": 1.0}, 0)
    return group


def files() -> set[Path]:
    """All that runs have on this disk: files below the records, folders of sessions."""
    cache = sdk.cache_folder()
    return {path for path in (cache / "taskgroup").rglob("*") if path.is_file()} | set(
        (cache / "offline").glob("*")
    )


@pytest.mark.parametrize("form", ["digits", "run", "path"])
def test_a_run_is_deleted(form: str) -> None:
    """Record and sessions go, those of other runs stay."""
    kept = make()
    before = files()
    group = make()
    named = {"digits": group.run[:6], "run": group.run, "path": group.record_path}[form]
    facts = as_json("discard", named, "--yes")
    assert files() == before
    assert (facts["run"], len(facts["deleted"])) == (group.run, 4)  # two tasks, the parent, the record
    assert [run["run"] for run in as_json("list")] == [kept.run]
    assert "was not found" in told("discard", group.run, "--yes", code=1)
    assert command("discard", kept.run, "--yes").stdout == (
        f"deleted run 1 of {PROJECT}/{NAME} ({kept.run[:12]}; 2 tasks; not all of it is on a server)\n"
    )
    assert files() == set()


def test_it_asks_and_says_what(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --yes it names what it would delete, and leaves it unless the answer is yes."""
    group = make()
    before = files()
    for answer in ("n\n", ""):
        refused = command("discard", group.run, answer=answer)
        assert (refused.exit_code, files()) == (1, before)
        assert "not all of it is on a server" in refused.stdout
        assert all(str(path) in refused.stdout for path in before)
    assert "without a question with --yes" in command("discard", group.run, answer="").stderr
    assert "--yes" not in command("discard", group.run, answer="n\n").stderr
    assert "add --yes" in as_json_error("discard", group.run, code=2)
    assert command("discard", group.run, answer="y\n").exit_code == 0
    assert files() == set()


def test_a_run_in_use_is_refused() -> None:
    """A run that a living process works on stays; once that is dead, it can go."""
    group = Place().open()
    group.task({"seed": 0})
    before = files()
    told_of = told("discard", group.run, "--yes", code=1)
    assert f"of {PROJECT}/{NAME} is still in use" in told_of
    assert f", pid {os.getpid()};" in told_of
    assert files() == before
    kill(group)
    assert command("discard", group.run, "--yes").exit_code == 0
    assert files() == set()


def test_an_online_run_loses_what_waits(loopback: LoopbackServer) -> None:
    """Of an online run the record and its outbox go; what the server has stays."""
    group = Place(loopback).open()
    group.task({"seed": 0}).report({"loss": 1.0}, 0)
    group.flush()
    kill(group)
    assert any(path.suffix == ".outbox" for path in files())
    assert command("discard", group.run, "--yes").exit_code == 0
    assert files() == set()
    assert len(loopback.tasks) == 2


def test_an_id_is_never_a_path(tmp_path: Path) -> None:
    """A record that was tampered with deletes nothing outside the sessions."""
    group = make()
    outside = sdk.cache_folder() / "precious"
    outside.mkdir()
    record = Path(str(group.record_path))
    first = next(iter(group)).id
    text = record.read_text()
    for task_id in ("..", "../precious", "../../cache/precious", str(outside), "", ".", "a/b"):
        record.write_text(text.replace(first, task_id))
        before = files()
        for named in (group.run, record):
            assert command("discard", named, "--yes").exit_code == 1
        assert files() == before
        assert outside.exists()


def test_a_session_of_another_run_stays() -> None:
    """A run log that names it deletes its own data only, and says what it leaves."""
    precious, group = make(), make()
    kept = next(iter(precious)).id
    record = Path(str(group.record_path))
    record.write_text(record.read_text().replace(next(iter(group)).id, kept))
    result = command("discard", group.run, "--yes")
    assert result.exit_code == 0
    assert (
        f"not deleted, as it belongs to another run: {sdk.cache_folder() / 'offline' / kept}" in result.stderr
    )
    assert (sdk.cache_folder() / "offline" / kept / "metrics.jsonl").exists()


@pytest.mark.parametrize("name", ["run-*.jsonl", "run-[0-9]*.jsonl", "notes.jsonl", "run-0001.jsonl.bak"])
def test_a_file_of_another_name_is_no_run_to_delete(name: str) -> None:
    """A pattern in a name matches nothing; a copy of a run log stays, as nobody knows what is beside it."""
    group = make()
    copy = Path(str(group.record_path)).with_name(name)
    copy.write_text(Path(str(group.record_path)).read_text())
    before = files()
    assert "is not in its place" in told("discard", copy, "--yes", code=1)
    assert files() == before
    assert command("discard", group.run, "--yes").exit_code == 0
    assert files() == {copy}


def test_a_run_log_elsewhere_is_no_run_to_delete(tmp_path: Path) -> None:
    """A run log in a folder of another group, or in none, does not tell where its sessions are."""
    group = make()
    for folder in (tmp_path / "a" / "b" / "c", sdk.cache_folder() / "taskgroup" / "0123456789ab"):
        folder.mkdir(parents=True)
        copy = folder / "run-0001.jsonl"
        copy.write_text(Path(str(group.record_path)).read_text())
        before = files()
        assert "is not in its place" in told("discard", copy, "--yes", code=1)
        assert files() == before


def test_a_link_is_deleted_and_not_what_it_leads_to(tmp_path: Path) -> None:
    group = make()
    session = sdk.cache_folder() / "offline" / next(iter(group)).id
    session.rename(tmp_path / "moved")
    session.symlink_to(tmp_path / "moved")
    assert command("discard", group.run, "--yes").exit_code == 0
    assert files() == set()
    assert (tmp_path / "moved" / "task.json").exists()


def test_too_few_digits() -> None:
    """Fewer than six digits mean no run, and another group's name says which there are."""
    make()
    assert "first six digits" in told("discard", "abc", "--yes", code=2)
    assert f"did you mean '{PROJECT}/{NAME}'?" in told("discard", f"{PROJECT}/{NAME}s", "--yes", code=1)


def test_a_group_means_its_latest_run() -> None:
    first, second, third = make(), make(), make()
    assert "run 7" in told("discard", f"{PROJECT}/{NAME}", "--run", 7, "--yes", code=1)
    assert as_json("discard", f"{PROJECT}/{NAME}", "--run", 2, "--yes")["run"] == second.run
    assert as_json("discard", f"{PROJECT}/{NAME}", "--yes")["run"] == third.run
    assert as_json("discard", first.id, "--run", first.run[:8], "--yes")["run"] == first.run
    assert files() == set()


def test_a_large_run_is_not_listed_in_full() -> None:
    """Of many files the first ten are named, and the others counted."""
    with Place().group() as group:
        for task in group.tasks({"seed": range(30)}):
            task.report({"loss": 1.0}, 0)
    lines = command("discard", group.run, answer="n\n").stdout.splitlines()
    assert sum(line.startswith("  /") for line in lines) == 10
    assert "  … and 22 more" in lines  # 30 tasks, the parent and the record
