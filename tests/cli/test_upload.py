"""The command `clearml-taskgroup`: what waits, and bringing it to a server."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._cli import drift as _drift
from clearml_taskgroup._cli import find_run, main
from clearml_taskgroup._cli import upload as upload_commands
from clearml_taskgroup._model import limits
from clearml_taskgroup._storage import upload as _upload
from tests.loopback import LoopbackServer
from tests.support.cli import as_json_error
from tests.support.cli import command as answering
from tests.support.runs import NAME, PROJECT, Place, curve, kill


def command(*arguments: object) -> Result:
    """Runs the command in this process."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def make(name: str = NAME) -> TaskGroup:
    """Makes an offline run of two tasks."""
    with Place().group(name=name) as group:
        for task in group.tasks({"seed": range(2)}):
            task.report({"loss": 1.0}, 0)
    return group


def test_pending_lists_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pending` shows each run with its group and mode, and the command that brings it."""
    monkeypatch.setenv("COLUMNS", "160")
    group, dead = make(), Place().group(name="the dead group").open()
    dead.task({"seed": 0})
    kill(dead)
    result = command("pending")
    assert result.exit_code == 0
    lines = {
        run: line for line in result.output.splitlines() for run in (group.run, dead.run) if run[:12] in line
    }
    for text in (PROJECT, NAME, "offline", "2 completed", "closed"):
        assert text in lines[group.run]
    for text in ("the dead group", "not closed", "1 abandoned"):
        assert text in lines[dead.run]
    living = Place().group(name="the living group").open()
    living.task({"seed": 0})
    assert json.loads(command("pending", "--json").output)[0]["status"] == "in use"
    living.close()
    assert "clearml-taskgroup upload RUN\n" in result.output


def test_pending_counts_as_list_does() -> None:
    """A run with a task that failed is not shown as completed."""
    with Place().group() as group:
        one, _ = group.tasks({"seed": range(2)})
        one.mark_failed("too large")
    counts = [re.findall("1 completed, 1 failed", command(verb).output) for verb in ("pending", "list")]
    assert counts == [["1 completed, 1 failed"]] * 2
    assert " closed " in command("pending").output


def test_pending_shows_the_text_of_run_and_advises_to_upload_first() -> None:
    with Place().group(run="july") as group:
        group.task({"seed": 0})
    lines = command("pending").stdout.splitlines()
    assert "  1 (july)  " in lines[2]
    assert [line.split()[0] for line in lines[-2:]] == ["upload", "delete"]


def test_what_pending_shows_can_be_uploaded(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However narrow the terminal, the run's digits stand in one piece, and `upload` takes them."""
    monkeypatch.setenv("COLUMNS", "60")
    group = make("a group with a name that is far too long for such a terminal")
    (shown,) = re.findall(r"\b[0-9a-f]{12}\b", command("pending").output)
    assert group.run.startswith(shown)
    assert command("upload", shown).exit_code == 0
    assert len(loopback.tasks) == 3


def test_pending_as_json() -> None:
    """`pending --json` gives the facts of each run for scripts."""
    group = make()
    (facts,) = json.loads(command("pending", "--json").output)
    started = datetime.fromisoformat(facts.pop("started")).timestamp()
    assert time.time() - 60 < started < time.time() + 1
    assert facts == {
        "run": group.run,
        "project": PROJECT,
        "group": NAME,
        "number": 1,
        "mode": "offline",
        "tasks": 2,
        "statuses": {"completed": 2},
        "status": "completed",
        "record": str(group.record_path),
    }


def test_nothing_waits() -> None:
    """Where nothing waits, `pending` says so and where it looked; as JSON it is an empty list."""
    result = command("pending")
    assert (result.exit_code, result.output) == (
        0,
        f"no pending runs below {sdk.cache_folder() / 'taskgroup'}\n",
    )
    assert json.loads(command("pending", "--json").output) == []


@pytest.mark.parametrize("how", ["run", "path"])
def test_upload_brings_a_run(loopback: LoopbackServer, how: str) -> None:
    """`upload` brings the run that is named, tells of it, and nothing waits any more."""
    group, other = make(), make("another group")
    result = command("upload", group.run[:8] if how == "run" else group.record_path)
    assert result.exit_code == 0
    title = f"{PROJECT}/{NAME}, run 1 ({group.run[:12]})"
    assert result.output.startswith(f"{title}: 2 tasks on the server, http://")
    assert len(loopback.tasks) == 3
    (left,) = json.loads(command("pending", "--json").output)
    assert left["run"] == other.run


def test_upload_all_as_json(loopback: LoopbackServer) -> None:
    """`upload --all --json` brings everything and gives ids and addresses for scripts."""
    groups = [make(), make("another group")]
    result = command("upload", "--all", "--json")
    assert result.exit_code == 0
    brought = json.loads(result.stdout)
    assert {facts["run"] for facts in brought} == {group.run for group in groups}
    for facts in brought:
        assert facts["problems"] == []
        assert "/tasks/" in facts["url"]
        for task_id in facts["ids"].values():
            assert loopback.scalars(task_id) == curve(1.0)
    assert command("upload", "--all").exit_code == 0
    assert len(loopback.tasks) == 6


def test_the_command_of_an_error_works(loopback: LoopbackServer) -> None:
    """The command that an undelivered block names delivers what it left."""
    group = Place(loopback).open(close_timeout=0.3)
    task = group.task({"seed": 0})
    task.report({"loss": 1.0}, 0)
    group.flush()
    loopback.faults.outage = True
    task.report({"loss": 2.0}, 1)
    with pytest.raises(ExceptionGroup) as raised:
        group.close()
    loopback.faults.clear()
    told = next(text for text in map(str, raised.value.exceptions) if "clearml-taskgroup upload" in text)
    words = told.partition("clearml-taskgroup ")[2].split()
    assert command(*words).exit_code == 0
    assert loopback.scalars(task.id) == curve(1.0, 2.0)
    assert loopback.task(task.id)["status"] == "completed"


@pytest.mark.parametrize("arguments", [(), ("abc", "--all")])
def test_upload_takes_runs_or_all(arguments: tuple[str, ...]) -> None:
    """Neither runs nor --all, or both, is a usage error."""
    result = command("upload", *arguments)
    assert result.exit_code == 2
    assert "give the runs to upload, or --all" in result.output


def test_an_unknown_run_is_told() -> None:
    """A run that is not there is one line and exit code 1."""
    result = command("upload", "0123456789")
    assert result.exit_code == 1
    assert result.output.startswith("Error: a run or group '0123456789' was not found")
    assert "Traceback" not in result.output


def test_a_run_that_fails_does_not_keep_the_others(loopback: LoopbackServer) -> None:
    """A run in use is told, the others are uploaded, and the exit code is 1."""
    living = Place().group(name="the living group").open()
    living.task({"seed": 0})
    group = make()
    result = command("upload", "--all", "--json")
    assert result.exit_code == 1
    assert [facts["run"] for facts in json.loads(result.stdout)] == [group.run]
    assert f"{PROJECT}/the living group, run 1 ({living.run[:12]}): " in result.stderr
    assert "still in use" in result.stderr
    living.close()


def test_a_server_that_is_away_is_told(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server the exit code is 1 and the line has the command for later; nothing is lost."""
    monkeypatch.setattr(limits, "LOGIN_TIMEOUT_S", 0.0)
    make()
    loopback.faults.outage = True
    result = command("upload", f"{PROJECT}/{NAME}")
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1
    assert loopback.environment()["CLEARML_API_HOST"] in result.output
    again = result.output.strip().partition("run again: clearml-taskgroup ")[2]
    loopback.faults.clear()
    assert command(*shlex.split(again)).exit_code == 0
    assert len(loopback.tasks) == 3
    assert json.loads(command("pending", "--json").output) == []


def test_a_problem_is_told(loopback: LoopbackServer) -> None:
    """What a server does not take is told in a line of its own, and the exit code is 1."""
    import shutil

    group = make()
    task = next(iter(group))
    shutil.rmtree(sdk.cache_folder() / "offline" / task.id)
    result = command("upload", group.run)
    assert result.exit_code == 1
    assert "names the task" in result.stderr
    assert ": 1 task on the server, " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "example"),
    [
        (("--help",), "upload"),
        (("pending", "--help"), "Example: clearml-taskgroup pending --json"),
        (("upload", "-h"), "Example: clearml-taskgroup upload digits/svm-sweep"),
    ],
)
def test_help_has_an_example(arguments: tuple[str, ...], example: str) -> None:
    """--help, or -h, says in a few lines what there is, with an example."""
    result = command(*arguments)
    assert result.exit_code == 0
    assert example in result.output
    assert isinstance(main, click.Group)


def test_the_version() -> None:
    from clearml_taskgroup import __version__

    assert __version__ in command("--version").output


def run_module(prelude: str, *arguments: str, **environment: Any) -> subprocess.CompletedProcess[str]:
    """Runs the command in a fresh process, after some lines of Python."""
    source = f"import sys\n{prelude}\nsys.argv[1:] = {list(arguments)!r}\n"
    source += "from clearml_taskgroup._cli import main\nmain()\n"
    return subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_extra_the_command_says_so(missing: str) -> None:
    """Where click or rich is missing, one line says what to install."""
    blocker = f"""
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {missing!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
"""
    done = run_module(blocker, "pending")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "clearml-taskgroup: the command needs the extra 'cli': pip install 'clearml-taskgroup[cli]'\n"
    )


def test_the_installed_command_works(tmp_path: Path) -> None:
    """The script that is installed beside Python runs."""
    script = Path(sys.executable).with_name("clearml-taskgroup")
    done = subprocess.run(
        [script, "pending", "--json"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, json.loads(done.stdout)) == (0, [])


def test_the_module_is_the_command() -> None:
    """`python -m clearml_taskgroup` is the command, and says so in its usage."""
    arguments = [sys.executable, "-m", "clearml_taskgroup", "--version"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()[0]) == (0, "python")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.slow
def test_terminals_that_lack_letters(encoding: str) -> None:
    """Where a terminal's encoding lacks ±, – or 项, the command still prints, on stderr as well."""
    with TaskGroup("the project – 项目", NAME, mode="offline", provenance=False) as group:
        for task in group.sweep({"C": [1, 2], "seed": range(2)}):
            with task:
                task.report({"loss": 1.0}, 1)
    module = [sys.executable, "-X", "utf8=0", "-m", "clearml_taskgroup"]
    for arguments, code, stream in (
        (["show", group.run, "--over", "seed"], 0, "stdout"),
        (["show", "project – 项目…/the group"], 1, "stderr"),
    ):
        done = subprocess.run(
            [*module, *arguments],
            capture_output=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )
        assert b"Traceback" not in done.stderr
        assert done.returncode == code
        assert b"the group" in getattr(done, stream)


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    """What reads the output may stop: `clearml-taskgroup show … | head -1` says nothing of it."""
    with Place().group() as group:
        for task in group.tasks({"C": range(100)}):
            task.report({f"metric {number}": 1.0 for number in range(5)}, 1)
    script = Path(sys.executable).with_name("clearml-taskgroup")
    with subprocess.Popen(  # the output does not fit into a pipe of the smallest size
        [script, "show", group.run], stdout=subprocess.PIPE, stderr=subprocess.PIPE, pipesize=4096
    ) as shown:
        assert shown.stdout is not None
        assert shown.stderr is not None
        assert shown.stdout.readline()
        shown.stdout.close()
        assert shown.stderr.read() == b""


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends a command in a line, with the exit code that shells give it, `drift` as well."""

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(find_run, "runs_on_disk", interrupted)
    monkeypatch.setattr(_drift, "all_runs", interrupted)
    for arguments in (("list",), ("drift", "--project", "digits")):
        result = command(*arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (130, "", "\ninterrupted\n")


def test_errors_as_json() -> None:
    """With --json an error is JSON on stdout and a line on stderr, however early it is found."""
    assert as_json_error("show", "none/of these", code=1).startswith("the group none/of these was not found")
    assert as_json_error("best", code=2) == "Missing argument 'GROUP'."
    assert as_json_error("drift", "--project", "none", code=2).startswith("the project 'none'")
    for verb in ("list", "show", "best", "report", "drift", "pending", "upload", "discard"):
        assert "--bogus" in as_json_error(verb, "--bogus", code=2)


def test_nothing_to_upload() -> None:
    """Where nothing waits, `upload --all` says so."""
    assert command("upload", "--all").stdout.startswith("no pending runs below ")
    assert json.loads(command("upload", "--all", "--json").stdout) == []


def test_upload_of_a_group(loopback: LoopbackServer) -> None:
    """A group's name means its latest run, --run an earlier one; a wrong name has neighbours."""
    first, second = make(), make()
    for arguments, run in (((), second), (("--run", "1"), first)):
        (brought,) = json.loads(command("upload", f"{PROJECT}/{NAME}", *arguments, "--json").stdout)
        assert brought["run"] == run.run
    assert f"did you mean '{PROJECT}/{NAME}'?" in command("upload", f"{PROJECT}/{NAME}s").stderr
    assert command("upload", first.id, second.id, "--run", "1").exit_code == 2


def test_a_server_that_goes_away_in_the_middle(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run that a server is away for ends the upload of all, with the command for later."""
    monkeypatch.setattr(_upload, "STATUS_TIMEOUT_S", 0.0)
    make("one group")
    make("two groups")
    loopback.faults.fail_next("tasks.completed", kind="drop_before", times=50)
    monkeypatch.setattr(limits, "API_TIMEOUT_S", 0.0)
    result = command("upload", "--all")
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.endswith("run again: clearml-taskgroup upload --all")
    loopback.faults.clear()
    assert command("upload", "--all").exit_code == 0
    assert len(loopback.tasks) == 6


def test_all_asks_in_a_terminal(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the numbers of runs and tasks; a script is not asked, nor is `--yes`."""
    run = make()
    monkeypatch.setattr(upload_commands, "is_terminal", lambda: True)
    refused = answering("upload", "--all", answer="n\n")
    assert (refused.exit_code, len(loopback.tasks)) == (1, 0)
    assert run.run[:12] in refused.stdout
    assert re.search(r"upload 1 run \(2 tasks\) to .*\?", refused.stdout)
    assert answering("upload", "--all", answer="y\n").exit_code == 0
    assert len(loopback.tasks) == 3
    make()
    assert answering("upload", "--all", "--yes", answer="").exit_code == 0
    assert len(loopback.tasks) == 6
