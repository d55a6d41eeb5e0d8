"""Provenance: repository, commit, diff, entry point and requirements on every task of a group."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup._storage.past_runs import load
from tests.support.clearml_process import PRELUDE, Finished, run, start

pytestmark = pytest.mark.skipif(
    subprocess.run(["git", "--version"], capture_output=True, check=False).returncode != 0, reason="needs git"
)

SCRIPT = """
from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import sdk

with TaskGroup("project", "group", mode="offline", **json.loads(os.environ.get("OPTIONS", "{}"))) as group:
    first = group.task({"C": 1})
    others = group.tasks({"C": [2, 3]})
    [turn.report({"loss": 1}, 1) for turn in group.sweep({"C": [4]})]
needs_clearml = "clearml.task" in sys.modules
logged = [line for line in map(json.loads, group.record_path.open()) if line["event"] == "script"]
parent = Path(group.url.removeprefix("file://"))
folders = [session(task) for task in group] + [parent]
scripts = [json.loads((folder / "task.json").read_text()).get("script") for folder in folders]
texts = "".join(p.read_text() for p in parent.parent.parent.rglob("*") if p.suffix in (".json", ".jsonl"))

from clearml import Task  # now it may be imported
Task.set_offline(True)
main = Task.init("project", "main task", auto_resource_monitoring=False)
main._wait_for_repo_detection()
script = json.loads((Path(main.get_offline_mode_folder()) / "task.json").read_text())["script"]
of_init = {name: script[name] for name in sdk.SCRIPT_FIELDS if script.get(name)}
give([len(logged), of_init, scripts, os.environ.get("SECRET", "-") in texts])
"""


def git(folder: Path, *arguments: str) -> str:
    """Runs git as somebody, with nobody's configuration."""
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *who, *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"},
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit, a script in a folder of its own, and a remote with a password."""
    folder = tmp_path / "work" / "repository"
    (folder / "experiments").mkdir(parents=True)
    (folder / "experiments" / "train.py").write_text(PRELUDE + SCRIPT)
    (folder / "notes.txt").write_text("one\n")
    git(folder, "init", "-q", "-b", "trunk")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "remote", "add", "origin", "https://user:secret@example.com/team/repository.git")
    return folder


def same_on_all(result: list[Any]) -> dict[str, Any]:
    """Checks that one detection went to four tasks and the parent, and gives what `Task.init` does."""
    logged, of_init, scripts, _ = result
    assert logged == 1
    assert len(scripts) == 5
    assert all(script == scripts[0] for script in scripts)
    found: dict[str, Any] = scripts[0]
    assert found == of_init
    return found


def test_a_repository_is_on_every_task(repository: Path, tmp_path: Path) -> None:
    """Commit, branch, uncommitted changes, entry point, folder and packages are detected once, for all."""
    (repository / "notes.txt").write_text("two\n")
    train = str(repository / "experiments" / "train.py")
    done = start([train], tmp_path, cwd=repository, env={"SECRET": "secret"})
    script = same_on_all(done.result)
    assert script["repository"] == "https://example.com/team/repository.git"
    assert done.result[3] is False  # the password of the remote is in no file
    assert (script["branch"], script["version_num"]) == ("trunk", git(repository, "rev-parse", "HEAD"))
    assert (script["entry_point"], script["working_dir"]) == ("experiments/train.py", ".")
    assert "-one\n+two\n" in script["diff"]
    assert "clearml ==" in script["requirements"]["pip"]
    assert script["binary"].startswith("python3.")
    assert done.trouble == []


@pytest.mark.slow
def test_the_working_folder_is_told_from_the_repositorys_root(repository: Path, tmp_path: Path) -> None:
    """Started in a folder of the repository, that folder and the script as seen from it are stored."""
    done = start(["train.py"], tmp_path, cwd=repository / "experiments")
    script = same_on_all(done.result)
    assert (script["entry_point"], script["working_dir"]) == ("train.py", "experiments")
    assert "diff" not in script  # nothing is uncommitted


@pytest.mark.slow
def test_a_module_is_an_entry_point(repository: Path, tmp_path: Path) -> None:
    """Started with `python -m`, the entry point is the module, with the script's arguments."""
    (repository / "experiments" / "__init__.py").write_text("")
    done = start(["-m", "experiments.train", "--fast"], tmp_path, cwd=repository)
    script = same_on_all(done.result)
    assert script["entry_point"].split() == ["-m", "experiments.train", "--fast"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "url",
    [
        "https://secret@example.com/team/repository.git",
        "http://oauth2:secret@example.com:8080/team/repository",
    ],
)
def test_credentials_of_a_remote_are_not_stored(repository: Path, tmp_path: Path, url: str) -> None:
    """A password or token in the remote's address is in no file of the group's."""
    git(repository, "remote", "set-url", "origin", url)
    train = str(repository / "experiments" / "train.py")
    done = start([train], tmp_path, cwd=repository, env={"SECRET": "secret"})
    script = same_on_all(done.result)
    scheme, address = url.split("://")
    assert script["repository"] == f"{scheme}://{address.partition('@')[2]}"
    assert done.result[3] is False


@pytest.mark.slow
def test_a_script_outside_of_repositories_is_stored_whole(tmp_path: Path) -> None:
    """Without a repository the whole script is kept as the diff, so that an agent can run it."""
    done = run(SCRIPT, tmp_path, env={"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)})
    script = same_on_all(done.result)
    assert script["diff"].strip() == (tmp_path / "script.py").read_text().strip()
    assert (script["entry_point"], script["working_dir"]) == ("script.py", ".")
    assert not {"repository", "branch", "version_num"} & script.keys()


@pytest.mark.slow
def test_provenance_can_be_left_out(repository: Path, tmp_path: Path) -> None:
    """With `provenance=False` nothing is detected and no task has a script."""
    env = {"OPTIONS": '{"provenance": false}'}
    done = start([str(repository / "experiments" / "train.py")], tmp_path, cwd=repository, env=env)
    logged, _, scripts, _ = done.result
    assert logged == 0
    assert scripts == [{}] * 5


@pytest.mark.slow
def test_a_repository_without_commits_does_no_harm(tmp_path: Path) -> None:
    """In a repository that has no commit yet the script is stored whole."""
    folder = tmp_path / "fresh"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "trunk")
    done = run(SCRIPT, tmp_path, file=folder / "train.py")
    script = same_on_all(done.result)
    assert "version_num" not in script
    assert script["diff"].strip() == (folder / "train.py").read_text().strip()


CONSOLE = """
from clearml_taskgroup import TaskGroup
with TaskGroup("project", "group", mode="offline") as group:
    with group.task({"C": 1}) as task:
        task.report({"loss": 1}, 1)
data = json.loads((session(task) / "task.json").read_text())
give([bool(data["script"]), task.status])
"""


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["-c", PRELUDE + CONSOLE], id="-c"),
        pytest.param(["-"], id="-", marks=pytest.mark.slow),
        pytest.param([], id="stdin", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_a_console_has_no_script_and_works(tmp_path: Path, arguments: list[str]) -> None:
    """`python -c` and code from standard input have no script: the group works, its tasks have none."""
    done = start(arguments, tmp_path, stdin="" if arguments[:1] == ["-c"] else PRELUDE + CONSOLE)
    assert done.result == [False, "completed"]
    assert done.trouble == []
    assert "auto-detecting" not in done.out + done.err


START = """
import signal, subprocess, time
from clearml_taskgroup import TaskGroup
from clearml_taskgroup._run import provenance

def script_of(url):
    return json.loads((Path(url.removeprefix("file://")) / "task.json").read_text())["script"]

group = TaskGroup("project", "group", mode="offline", run=os.environ.get("RUN"))
"""
END = """
group.open()
task = group.task({"where": sys.argv[0]})
task.report({"loss": 1}, 1)
group.close()
give([script_of(task.url), script_of(group.url)])
"""


def hurried(repository: Path, tmp_path: Path, source: str, **options: Any) -> Finished:
    """Runs `START` and a source in the repository."""
    (repository / "experiments" / "hurry.py").write_text(PRELUDE + START + source)
    return start(["experiments/hurry.py"], tmp_path, cwd=repository, **options)


def entry_points(done: Finished) -> list[str]:
    """The entry points of a task and of its parent."""
    assert done.code == 0, done.err
    return [script["entry_point"] for script in done.result]


@pytest.mark.slow
def test_what_the_script_does_right_after_open_changes_nothing(repository: Path, tmp_path: Path) -> None:
    """Another directory, another argv, and a forked child that lives on, in which the group is left."""
    source = """
group.open()
os.chdir("/")
sys.argv[:] = ["/bin/true"]
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
"""
    end = END.replace("group.open()", "")
    done = hurried(repository, tmp_path, source + end + "os.kill(child, signal.SIGKILL)")
    assert entry_points(done) == ["experiments/hurry.py"] * 2
    assert done.trouble == []


@pytest.mark.slow
def test_a_group_without_tasks_waits_for_the_script(repository: Path, tmp_path: Path) -> None:
    """Its parent has it."""
    done = hurried(repository, tmp_path, "group.open().close()\ngive([script_of(group.url)])")
    assert entry_points(done) == ["experiments/hurry.py"]


@pytest.mark.slow
def test_tasks_that_ended_before_get_the_script(repository: Path, tmp_path: Path) -> None:
    """So do those of worker processes, and of a second group of the script, which detects nothing anew."""
    source = """
group.open()
first = group.task({"seed": 1})
with first: pass
from operator import attrgetter
others = [found.task for found in group.map(attrgetter("name"), {"seed": [2, 3]}, workers=2)]
group.close()
with TaskGroup("project", "another", mode="offline") as another:
    last = another.task({"seed": 4})
logs = (group.record_path.read_text() + another.record_path.read_text()).count('"event": "script"')
assert logs == 1, logs
give([script_of(task.url) for task in (first, *others, last)])
"""
    assert entry_points(hurried(repository, tmp_path, source)) == ["experiments/hurry.py"] * 4


@pytest.mark.slow
@pytest.mark.parametrize("when", ["at once", "known"])
def test_a_killed_script_is_known_all_the_same(repository: Path, tmp_path: Path, when: str) -> None:
    """It comes into the run log by itself, though the script is killed before it is known."""
    source = f"""
group.open()
task = group.task({{"seed": 1}})
Path(os.environ["FACTS"]).write_text(json.dumps([str(group.record_path), task.id]))
while {when == "known"} and not group._run.detection.is_done:
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""
    facts = tmp_path / "facts.json"
    done = hurried(repository, tmp_path, source, env={"FACTS": str(facts)})
    assert done.code == -signal.SIGKILL
    path, task_id = json.loads(facts.read_text())
    deadline = time.monotonic() + 60
    while (past := load(Path(path))) is None or not past.scripts:
        assert time.monotonic() < deadline, "the script was not logged"
        time.sleep(0.05)
    script = past.script_of(task_id)
    assert script is not None
    assert script["entry_point"] == "experiments/hurry.py"


@pytest.mark.slow
def test_ctrl_c_does_not_end_the_detection(repository: Path, tmp_path: Path) -> None:
    """A terminal sends it to all processes of the script, and the tasks are stopped with their script."""
    source = """
try:
    with group:
        task = group.task({"seed": 1})
        os.killpg(0, signal.SIGINT)
        time.sleep(60)
except KeyboardInterrupt:
    assert task.status == "stopped"
give([script_of(task.url), script_of(group.url)])
"""
    done = hurried(repository, tmp_path, source, new_session=True)
    assert entry_points(done) == ["experiments/hurry.py"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("interrupt", [False, True])
def test_a_git_that_hangs_is_not_waited_for(repository: Path, tmp_path: Path, interrupt: bool) -> None:
    """After some seconds, or at Ctrl-C, the group ends without a script."""
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.write_text("#!/bin/sh\nexec sleep 300\n")
    git.chmod(0o755)
    source = f"""
provenance.TIMEOUT_S = {60 if interrupt else 0.2}
group.open()
task = group.task({{"seed": 1}})
if {interrupt}:
    threading.Timer(1, signal.raise_signal, [signal.SIGINT]).start()
try:
    group.close()
except KeyboardInterrupt:
    assert {interrupt}
assert task.status == "completed"
os.killpg(group._run.detection.process.pid, signal.SIGKILL)
give(script_of(task.url))
"""
    path = f"{git.parent}:{os.environ['PATH']}"
    done = hurried(repository, tmp_path, source, env={"PATH": path}, timeout=50)
    assert done.code == 0, done.err
    assert done.result == {}


@pytest.mark.slow
def test_processes_that_share_a_run_have_scripts_of_their_own(repository: Path, tmp_path: Path) -> None:
    """Each detects its own; the parent has that of the process that created it."""
    first = hurried(repository, tmp_path, END, env={"RUN": "shared"})
    (repository / "second.py").write_text((repository / "experiments" / "hurry.py").read_text())
    second = start(["second.py"], tmp_path, cwd=repository, env={"RUN": "shared"})
    assert entry_points(first) == ["experiments/hurry.py"] * 2
    assert entry_points(second) == ["second.py", "experiments/hurry.py"]
