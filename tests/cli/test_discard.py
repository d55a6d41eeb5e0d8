"""`discard`: a run that nobody wants leaves this disk, with all that is of it and nothing else."""

from __future__ import annotations

import os
import time
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
    lines = command("discard", kept.run, "--yes").stdout.splitlines(keepends=True)
    assert any(str(kept.record_path) in line for line in lines)
    assert lines[-1] == (
        f"deleted run 1 of {PROJECT}/{NAME} ({kept.run[:12]}; 2 tasks; not all of it is on a server)\n"
    )
    assert files() == set()


@pytest.mark.parametrize("online", [False, True])
def test_a_run_without_a_task_has_no_data_to_lose(online: bool, loopback: LoopbackServer) -> None:
    """It goes without `--undelivered`; what is said of a server is true of its parent."""
    with Place(loopback if online else None).group() as group:
        pass
    where = "all of it is on a server" if online else "nothing of it is on a server"
    lines = command("discard", "--all", answer="y\n").stdout.splitlines()
    assert [f"; {where}; last write" in line for line in lines if group.run[:12] in line] == [True]
    assert "deleted 1 run" in lines[-1]
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
    assert f"of {PROJECT}/{NAME} is still in use: this process has it open;" in told_of
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


# --- many runs -----------------------------------------------------------------------------------


def aged(group: TaskGroup, days: float) -> TaskGroup:
    """Makes a run look as if nothing was written to it for some days."""
    then = time.time() - 86_400 * days
    record = Path(str(group.record_path))
    for path in (record, *(sdk.cache_folder() / "offline" / task.id for task in group)):
        for file in (path, *(path.iterdir() if path.is_dir() else ())):
            os.utime(file, (then, then))
    parent = sdk.cache_folder() / "offline" / str(group.parent_id)
    for file in (parent, *parent.iterdir()):
        os.utime(file, (then, then))
    return group


def test_many_runs_are_listed_first() -> None:
    """Runs in use are left out; without a number, `--all` does not delete without a question."""
    groups = [make() for _ in range(3)]
    used = Place().open()
    used.task({"seed": 0})
    before = files()
    refused = command("discard", "--all", "--undelivered", answer="n\n")
    assert (refused.exit_code, files()) == (1, before)
    assert "left out, in use: 1 run" in refused.stdout
    assert "delete 3 runs (6 tasks)?" in refused.stdout
    assert all(f"run {number} ({group.run[:12]})" in refused.stdout for number, group in enumerate(groups, 1))
    assert "without a question with --yes=3" in command("discard", "--all", "--undelivered", answer="").stderr
    assert "needs the number of runs, as --yes=37" in told("discard", "--all", "--yes", code=2)
    wrong = command("discard", "--all", "--undelivered", "--yes=4")
    assert (wrong.exit_code, files()) == (1, before)
    assert "3 runs would be deleted, not 4; nothing was deleted" in wrong.stderr
    done = command("discard", "--all", "--undelivered", "--yes=3")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "deleted 3 runs")
    assert [run["run"] for run in as_json("list")] == [used.run]
    used.close()


def test_what_is_on_no_server_is_kept() -> None:
    group = make()
    before = files()
    done = command("discard", "--all", "--yes=0")
    assert (done.exit_code, files()) == (0, before)
    assert "with data that is on no server, which --undelivered deletes as well: 1 run\n" in done.stdout
    assert f"\n  {PROJECT}/{NAME}, run 1 ({group.run[:12]}): 2 completed\n" in done.stdout
    facts = as_json("discard", "--project", PROJECT, "--yes")
    assert (facts["deleted"], [run["why"] for run in facts["left_out"]]) == ([], ["undelivered"])
    facts = as_json("discard", "--project", PROJECT, "--yes", "--undelivered")
    assert [run["run"] for run in facts["deleted"]] == [group.run]
    assert files() == set()


def test_the_list_says_what_is_on_no_server_and_how_old_it_is(loopback: LoopbackServer) -> None:
    on_server, here = make(Place(loopback)), aged(make(), 40)
    then = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() - 40 * 86_400))
    lines = command("discard", "--all", "--undelivered", answer="n\n").stdout.splitlines()
    (first,) = [line for line in lines if on_server.run[:12] in line]
    (second,) = [line for line in lines if here.run[:12] in line]
    assert "; all of it is on a server; last write 20" in first
    assert f"; not all of it is on a server; last write {then[:-1]}" in second


def test_all_runs_of_a_group() -> None:
    """GROUP, a name or an id, limits --all and --older-than; one run is no group."""
    first, second, third = aged(make(), 40), aged(make(), 2), make()
    with Place().group(name="another") as other:
        other.task({"seed": 0})
    for given in (first.run, first.run[:6], first.record_path):
        assert f"is run 1 of {PROJECT}/{NAME}; give the group" in told(
            "discard", given, "--all", "--yes", code=2
        )
    assert "did you mean" in told("discard", f"{PROJECT}/another1", "--all", "--yes", code=1)
    arguments = ("--undelivered", "--yes")
    assert command("discard", f"{PROJECT}/{NAME}", "--all", "--yes").stdout.endswith("nothing was deleted\n")
    assert as_json("discard", f"{PROJECT}/{NAME}", "--all", "--yes")["deleted"] == []
    wrong = command("discard", f"{PROJECT}/{NAME}", "--all", "--undelivered", "--yes=4")
    assert "3 runs would be deleted, not 4" in wrong.stderr
    for hours, expected in (("49h", first), ("12h", second), ("0d", third)):
        (deleted,) = as_json("discard", first.id, "--older-than", hours, *arguments)["deleted"]
        assert deleted["run"] == expected.run
    assert [run["run"] for run in as_json("list")] == [other.run]
    as_json("discard", f"{PROJECT}/another", "--all", *arguments)
    assert files() == set()


def test_runs_by_project_and_age() -> None:
    """The last write counts, also that of a session; sub-projects belong to a project."""
    old, recent = aged(make(), 40), aged(make(), 20)
    with TaskGroup(f"{PROJECT}/below", NAME, mode="offline", provenance=False) as below:
        below.task({"seed": 0})
    aged(below, 40)
    live = aged(make(), 40)
    os.utime(sdk.cache_folder() / "offline" / next(iter(live)).id / "metrics.jsonl")
    arguments = ("discard", "--undelivered", "--yes", "--older-than", "30d")
    (deleted,) = as_json(*arguments, "--project", f"{PROJECT}/below")["deleted"]
    assert deleted["run"] == below.run
    assert [run["run"] for run in as_json(*arguments)["deleted"]] == [old.run]
    assert {run["run"] for run in as_json("list")} == {recent.run, live.run}


def test_a_project_without_runs() -> None:
    """A misspelt project is an error, not a success that deleted nothing; a project is no group."""
    make()
    before = files()
    expected = f"no runs in the project 'typo'; there is: {PROJECT}"
    assert expected in told("discard", "--project", "typo", "--yes", code=1)
    assert expected in as_json_error("discard", "--project", "typo", "--older-than", "0d", "--yes", code=1)
    assert "is a project; for all of its runs: --project" in told("discard", PROJECT, "--yes", code=2)
    with TaskGroup("facade/below", NAME, mode="offline", provenance=False) as group:
        group.task({"seed": 0})
    for given in ("facade", "facade/below"):  # `facade` may be the digits of an id, too
        assert f"--project {given}" in told("discard", given, "--yes", code=2)
    assert files() > before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "give one GROUP"),
        (("a/b", "--project", "a"), "give one GROUP"),
        (("a/b", "--all", "--run", "1"), "give one GROUP"),
        (("--all", "--run", "1"), "give one GROUP"),
        (("a/b", "--undelivered"), "belong to --project"),
        (("a/b", "--yes=3"), "belong to --project"),
        (("a/b", "--yes=many"), "--yes=many: give the number"),
        (("--older-than", "soon"), "is not a date"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], expected: str) -> None:
    assert expected in told("discard", *arguments, code=2)


def test_yes_before_the_group() -> None:
    group = make()
    assert command("discard", "--yes", group.run).exit_code == 0
    assert files() == set()
