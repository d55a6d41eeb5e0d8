"""Writes these samples anew: what version 0.1 leaves of three runs that were killed.

Run it with the code of version 0.1 (commit 8c33bc3), never with a later one:

    git worktree add /tmp/old 8c33bc3
    PYTHONPATH=/tmp/old/src:/tmp/old python tests/data/version_0_1/make_samples.py tests/data/version_0_1
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.loopback import LoopbackServer
from tests.loopback.harness import sdk_environment

SWEEP = """
import os, signal, sys, time
from clearml_taskgroup import Metric, TaskGroup

mode = sys.argv[1]
metrics = [Metric("loss", mode="min", unit="nats"), Metric("accuracy", mode="max", aliases=["acc"])]
group = TaskGroup("old/digits", "a sweep", mode=mode, metrics=metrics, provenance=False, tags=["old"]).open()
space = [
    {"seed": 0, "net": {"width": 64, "dropout": 0.5}, "layers": [64, 32]},
    {"seed": 1, "net": {"width": 64, "dropout": None}, "layers": []},
    {"seed": 2, "net": {"width": 64, "dropout": 0.0}, "note": "größer", "flag": True},
    {"seed": 3, "net": {"width": 128, "dropout": 1e-3}},
]
done, bad, pruned, open_one = group.tasks(space)
for task in (done, bad, pruned, open_one):
    seed = task.params["seed"]
    for step in range(3):
        task.report({"loss": 1 / (1 + seed + step), "accuracy": seed + step / 8}, step, split="val")
    task.report({"accuracy": seed / 4}, split="test")
    task.report({"loss": float("nan")}, 3, split="val")
done.set_parameters({"late": 0.25})
done.logger.report_text("hello from version 0.1")
done.mark_completed()
bad.mark_failed("out of memory")
pruned.mark_stopped("pruned")
group.flush()
if mode == "online":
    print("flushed", flush=True)
    input()
    for step in range(4, 6):
        open_one.report({"loss": 0.0}, step, split="val")
    time.sleep(2)
os.kill(os.getpid(), signal.SIGKILL)
"""

WORKERS = """
import multiprocessing, os, signal
from concurrent.futures import ProcessPoolExecutor
from clearml_taskgroup import TaskGroup

def work(task):
    with task:
        for step in range(3):
            task.report({"loss": task.params["seed"] + step / 8}, step, split="val")

group = TaskGroup("old/digits", "by workers", mode="offline", provenance=False).open()
tasks = group.tasks({"seed": range(3)})
with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
    for task in tasks[:2]:
        pool.submit(work, task).result()
group.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def run(script: str, home: Path, server: LoopbackServer | None, *arguments: str) -> None:
    """Runs a script until it kills itself."""
    command = [sys.executable, "-c", script, *arguments]
    env = sdk_environment(server, home)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, cwd=home, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if server is not None:
            assert any(line == "flushed\n" for line in iter(process.stdout.readline, ""))
            server.faults.fail_next("events.*", status=503, times=1_000_000)
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.wait(60) == -9


def keep(cache: Path, folder: Path, home: Path) -> None:
    """Copies the files of a cache folder, without what names this machine."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("taskgroup", "offline"):
        for path in sorted((cache / part).rglob("*")):
            if path.is_file() and path.stat().st_size:
                text = path.read_text().replace(str(home), "/home/someone").replace(platform.node(), "host")
                goal = folder / path.relative_to(cache)
                goal.parent.mkdir(parents=True, exist_ok=True)
                goal.write_text(text)


def main(goal: Path) -> None:
    """Writes all samples below a folder."""
    with tempfile.TemporaryDirectory() as name:
        homes = {kind: Path(name) / kind for kind in ("offline", "online", "workers")}
        run(SWEEP, homes["offline"], None, "offline")
        run(WORKERS, homes["workers"], None)
        with LoopbackServer() as server:
            run(SWEEP, homes["online"], server, "online")
            held: dict[str, Any] = {"projects": server.projects, "tasks": server.tasks, "scalars": {}}
            for task_id, events in server.state.events.items():
                held["scalars"][task_id] = events.scalars
        for kind, home in homes.items():
            keep(home / "cache", goal / kind, home)
    text = json.dumps(held, indent=1, ensure_ascii=False)
    for here, there in ((platform.node(), "host"), (os.environ.get("USER", "root"), "someone")):
        text = text.replace(f'"{here}"', f'"{there}"')
    (goal / "server.json").write_text(text + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
