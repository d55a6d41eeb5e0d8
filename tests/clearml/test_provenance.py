"""Provenance: repository, commit, diff, entry point and requirements on every task of a group."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.clearml_process import PRELUDE, run, start

pytestmark = pytest.mark.skipif(
    subprocess.run(["git", "--version"], capture_output=True, check=False).returncode != 0, reason="needs git"
)

SCRIPT = """
from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import sdk

calls = []
detect = sdk.detect_script
sdk.detect_script = lambda: calls.append(1) or detect()

with TaskGroup("project", "group", mode="offline", **json.loads(os.environ.get("OPTIONS", "{}"))) as group:
    in_time = len(calls)
    first = group.task({"C": 1})
    others = group.tasks({"C": [2, 3]})
    [turn.report({"loss": 1}, 1) for turn in group.sweep({"C": [4]})]
parent = Path(group.url.removeprefix("file://"))
folders = [session(task) for task in group] + [parent]
scripts = [json.loads((folder / "task.json").read_text()).get("script") for folder in folders]
texts = "".join(p.read_text() for p in parent.parent.parent.rglob("*") if p.suffix in (".json", ".jsonl"))
give([in_time, len(calls), scripts, os.environ.get("SECRET", "-") in texts])
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
    """Checks that one detection, before the first task, went to four tasks and the parent; gives it."""
    in_time, calls, scripts, _ = result
    assert (in_time, calls) == (1, 1)
    assert len(scripts) == 5
    assert all(script == scripts[0] for script in scripts)
    found: dict[str, Any] = scripts[0]
    return found


def test_a_repository_is_on_every_task(repository: Path, tmp_path: Path) -> None:
    """Commit, branch, uncommitted changes, entry point, folder and packages are detected once, for all."""
    (repository / "notes.txt").write_text("two\n")
    done = start([str(repository / "experiments" / "train.py")], tmp_path, cwd=repository)
    script = same_on_all(done.result)
    assert script["repository"] == "https://example.com/team/repository.git"
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


@pytest.mark.parametrize(
    "url",
    [
        "https://user:secret@example.com/team/repository.git",
        pytest.param("https://secret@example.com/team/repository.git", marks=pytest.mark.slow),
        pytest.param("http://oauth2:secret@example.com:8080/team/repository", marks=pytest.mark.slow),
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
    in_time, calls, scripts, _ = done.result
    assert (in_time, calls) == (0, 0)
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
