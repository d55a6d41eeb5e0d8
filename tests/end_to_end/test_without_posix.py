"""Offline and online runs, resume, upload and workers, without anything that only POSIX systems have."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.loopback import LoopbackServer
from tests.loopback.harness import run_script
from tests.support.runs import originals

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="takes away what Linux has")

ROOT = Path(__file__).parents[2]
PRELUDE = f"""\
import multiprocessing, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.support.windows import take_away
take_away()
import os
assert not hasattr(os, "fork")
from clearml_taskgroup import TaskGroup

def work(task):
    task.report({{"loss": 1.0}}, 0)
    task.report({{"loss": float(task.params["seed"])}}, 1)

def group(**options):
    return TaskGroup("the project", "the group", provenance=False, **options)

def sweep(seeds, **options):
    with group(**options) as opened:
        for task in opened.sweep({{"seed": range(seeds)}}):
            with task:
                work(task)
    return opened

"""
PARALLEL = """
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    with group(mode={mode!r}) as opened:
        opened.map(work, {{"seed": range(3)}}, workers=2)
    print([(row.status, row.value("loss")) for row in opened.results()])
"""


def printed(script: str, loopback: LoopbackServer | None, home: Path) -> list[str]:
    """The lines that a script prints in such a process."""
    return run_script(PRELUDE + script, loopback, home).stdout.splitlines()


@pytest.mark.slow
def test_an_offline_run(loopback: LoopbackServer, tmp_path: Path) -> None:
    """A run, its resume beside one that is in use, results, and the upload."""
    script = """
from clearml_taskgroup.errors import RunInUseError
sweep(2, mode="offline")
resumed = sweep(3, mode="offline", resume=True)
print([row.value("loss") for row in TaskGroup.load("the project", "the group", mode="offline")])
with group(mode="offline") as opened, opened.task({"seed": 7}):
    try:
        group(mode="offline", resume=True).open()
    except RunInUseError:
        print("in use")
"""
    assert printed(script, None, tmp_path) == ["[0.0, 1.0, 2.0]", "in use"]
    (path,) = tmp_path.glob("cache/taskgroup/*/run-0001.jsonl")
    script = f"uploaded = TaskGroup.upload({str(path)!r})\nprint(len(uploaded.ids), uploaded.problems)\n"
    assert printed(script, loopback, tmp_path) == ["3 ()"]
    assert [doc["status"] for doc in originals(loopback)] == ["completed"] * 3


@pytest.mark.slow
def test_an_online_run(loopback: LoopbackServer, tmp_path: Path) -> None:
    """A run and its resume; all is delivered, and no outbox is left."""
    script = """
sweep(2)
resumed = sweep(3, resume=True)
print([row.value("loss") for row in resumed.results()])
"""
    assert printed(script, loopback, tmp_path) == ["[0.0, 1.0, 2.0]"]
    docs = originals(loopback)
    assert [doc["status"] for doc in docs] == ["completed"] * 3
    assert all(len(loopback.scalars(doc["id"])["loss", "value"]) == 2 for doc in docs)
    assert not list(tmp_path.glob("cache/taskgroup/*/*.outbox"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["offline", "online"])
def test_workers(loopback: LoopbackServer, tmp_path: Path, mode: str) -> None:
    """Worker processes, which Windows always starts by 'spawn'."""
    found = printed(PARALLEL.format(mode=mode), loopback if mode == "online" else None, tmp_path)
    assert found == ["[('completed', 0.0), ('completed', 1.0), ('completed', 2.0)]"]
