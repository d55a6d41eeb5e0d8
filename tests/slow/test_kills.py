"""SIGKILL at random moments of a sweep: what was reported a second before is there, once."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_taskgroup._clearml.queries import identity_of
from tests.loopback import LoopbackServer
from tests.loopback.harness import run_script, sdk_environment

pytestmark = pytest.mark.slow

TASKS, CHAINS, KILLS = 20, 3, 5
"""Each sweep is killed five times, so that resumed runs are killed too; four have every kind and retry."""
LONGEST = 1.8
"""Seconds after which a process is killed at the latest; a whole sweep takes longer."""
SETTLED = 1.0
"""Seconds before a SIGKILL from which on nothing may be lost."""

SCRIPT = """
import json, os, sys, time
import clearml  # what takes its time is not where a kill is of interest
from clearml_taskgroup import TaskGroup

mode, kind, retry = sys.argv[1:4]
log = os.open("reports", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
space = {"seed": range(20)}

def report(task, step):
    task.report({"loss": task.params["seed"] + step / 128}, step)
    known = [os.getpid(), task.key, task.attempt, task.params["seed"], step, time.time()]
    os.write(log, (json.dumps(known) + "\\n").encode())

os.write(1, b"ready\\n")
group = TaskGroup("kills", "the sweep", mode=mode, resume=True, retry=retry, provenance=False,
    # Killed between a task's creation and the record's line of it, it looks alive for 5 minutes.
)
with group:
    if kind == "sweep":
        for task in group.sweep(space):
            with task:
                for step in range(12):
                    report(task, step)
                    time.sleep(0.03)
    else:
        tasks = [task for task in group.tasks(space) if not task.done]
        for step in range(90):
            for task in tasks:
                report(task, step)
            time.sleep(0.025)
os.write(1, (json.dumps([str(group.record_path), group.run]) + "\\n").encode())
"""

UPLOAD = """
import sys
from clearml_taskgroup import TaskGroup

uploaded = TaskGroup.upload({run!r})
assert uploaded.problems == (), uploaded.problems
"""


@attrs.define
class Report:
    """One point that a process had handed over at a time."""

    pid: int
    key: str
    attempt: int
    seed: int
    step: int
    at: float


@attrs.define
class Chain:
    """One sweep: killed again and again, gone on with each time, and finished at last."""

    number: int
    mode: str
    home: Path
    server: LoopbackServer
    killed: dict[int, float] = attrs.field(factory=dict)

    @property
    def kind(self) -> str:
        """One task after another, or all open at once."""
        return ("sweep", "at once")[self.number % 2]

    @property
    def retry(self) -> str:
        """With `continue`, abandoned tasks are gone on with in the same ClearML task."""
        return ("new", "continue")[self.number // 2 % 2]

    def run(self) -> None:
        """Kills five times, then runs to the end."""
        dice = random.Random(f"{self.mode} {self.number}")
        self.home.mkdir()
        (self.home / "script.py").write_text(SCRIPT)
        for _ in range(KILLS):
            self.server.faults.latency = dice.choice((0.0, 0.0, 0.03))
            self._start(dice.uniform(0.0, LONGEST), outage=dice.random() < 0.3)
        record, run = self._start(None)
        if self.mode == "offline":
            run_script(UPLOAD.format(run=run), self.server, self.home)
        self._command("upload", "--all", "--json")
        assert self._command("pending", "--json") == []
        left = [path for path in Path(record).parent.iterdir() if path.suffix == ".outbox"]
        # Nothing, but the empty one of a process that was killed as it opened its files.
        assert [path for path in left if path.stat().st_size] == []

    def _command(self, *arguments: str) -> Any:
        script = f"from clearml_taskgroup._cli import main; main({list(arguments)!r})"
        return json.loads(run_script(script, self.server, self.home).stdout)

    def _start(self, life: float | None, outage: bool = False) -> tuple[str, str]:
        """Starts a process; kills it after a while, or waits for its end."""
        errors = self.home / f"stderr-{len(self.killed)}"
        with (
            errors.open("w") as stderr,
            subprocess.Popen(
                [sys.executable, "script.py", self.mode, self.kind, self.retry],
                cwd=self.home,
                env=sdk_environment(self.server, self.home),
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            ) as process,
        ):
            return self._attend(process, errors, life, outage)

    def _attend(
        self, process: subprocess.Popen[str], errors: Path, life: float | None, outage: bool
    ) -> tuple[str, str]:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if life is None:
            out, _ = process.communicate(timeout=120)
            assert process.returncode == 0, errors.read_text()
            record, run = json.loads(out.splitlines()[-1])
            return record, run
        for part in (life * 0.6, life * 0.4):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(part)
                raise AssertionError(f"it ended before it was killed\n{errors.read_text()}")
            self.server.faults.outage = outage  # the last part of its life is spent without a server
        self.killed[process.pid] = time.time()
        process.kill()
        process.communicate()
        self.server.faults.outage = False
        return "", ""

    def reports(self) -> Iterator[Report]:
        """What was reported, by all processes."""
        for line in (self.home / "reports").read_text().splitlines():
            yield Report(*json.loads(line))

    def check(self) -> None:
        """Compares the server with what was reported."""
        members: dict[tuple[str, int], dict[str, Any]] = {}
        parents = []
        for task in self.server.tasks.values():
            identity = identity_of(task)
            if identity["kind"] == "parent":
                parents.append(task)
                continue
            known = (identity["key"], int(identity["attempt"]))
            assert known not in members, f"{known} is doubled"
            members[known] = task
        latest = {key: max(attempt for k, attempt in members if k == key) for key, _ in members}
        assert len(latest) == TASKS
        assert {members[key, attempt]["status"] for key, attempt in latest.items()} == {"completed"}
        earlier = {members[known]["status"] for known in members if latest[known[0]] != known[1]}
        assert earlier <= {"stopped"}
        assert parents[-1]["status"] == "completed"
        assert {parent["status"] for parent in parents} <= {"completed", "stopped", "in_progress", "created"}
        known_points: dict[tuple[str, int], dict[int, float]] = {}
        settled: set[tuple[str, int, int]] = set()
        for report in self.reports():
            points = known_points.setdefault((report.key, report.attempt), {})
            points[report.step] = report.seed + report.step / 128
            if report.at < self.killed.get(report.pid, float("inf")) - SETTLED:
                settled.add((report.key, report.attempt, report.step))
        found = {known: self._points(task) for known, task in members.items()}
        missing = [(key, attempt, step) for key, attempt, step in settled if step not in found[key, attempt]]
        assert not missing, f"{len(missing)} of {len(settled)} points are missing"
        for known, points in found.items():
            assert list(points) == list(range(len(points)))
            reported = known_points.get(known, {})
            newer = points.keys() - reported.keys()
            assert len(newer) <= 1  # handed over, and killed before that was noted
            assert all(points[step] == value for step, value in reported.items() if step in points)
            if points:
                last = self.server.last_metrics(members[known]["id"])["loss", "value"]["value"]
                assert last == points[max(points)]

    def _points(self, task: dict[str, Any]) -> dict[int, float]:
        curve = self.server.scalars(task["id"]).get(("loss", "value"), [])
        assert len(dict(curve)) == len(curve)
        return dict(curve)


def run_chain(number: int, mode: str, home: Path) -> int:
    """Runs one chain against a server of its own; gives how many reports it had."""
    with LoopbackServer() as server:
        chain = Chain(number, mode, home, server)
        chain.run()
        chain.check()
        assert server.violations == []
        assert server.crashes == []
        assert len(chain.killed) == KILLS
        return sum(1 for _ in chain.reports())


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_kills_lose_and_double_nothing(tmp_path: Path, mode: str, request: pytest.FixtureRequest) -> None:
    """What was reported 1 s before any SIGKILL is there once; each key ends completed."""
    chains = request.config.getoption("--examples") or CHAINS
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(run_chain, number, mode, tmp_path / f"{number}") for number in range(chains)]
        reports = [run.result() for run in runs]
    assert min(reports) >= TASKS * 12
