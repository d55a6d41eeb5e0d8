"""Several processes share one run, offline and on a slow server: who runs what, and how it ends."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.conftest import Seeds
from tests.loopback import LoopbackServer
from tests.loopback.harness import run_script

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("shared runs")]

PROCESSES, CONFIGURATIONS = 16, 100
ROUNDS, KILLS = 2, 3
"""For each mode; more of them with `--examples`, and the same again with `--seed`."""

SCRIPT = """
import json, os, random, signal, sys, time
import clearml, requests
import clearml_taskgroup._group  # what the first use of a name would import
from clearml_taskgroup import TaskGroup

mode, doing = sys.argv[1], sys.argv[5]
count, size, seed = map(int, sys.argv[2:5])
log = os.open("ran", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(**facts):
    os.write(log, (json.dumps({"pid": os.getpid(), **facts}) + "\\n").encode())

def train(task):
    rate, seed = task.params["rate"], task.params["seed"]
    for step in range(4):
        task.report({"loss": (rate + seed) / (step + 2)}, step, split="val")
    task.report({"score": rate * seed / 7})

def work(number):
    dice = random.Random(seed * 1000 + number)
    resume = doing == "resume"
    options = {"mode": mode, "run": "the job", "resume": resume, "provenance": False}
    with TaskGroup("several", f"processes {seed}", **options) as group:
        space = {"rate": [0.5 ** power for power in range(size // 5)], "seed": range(5)}
        for task in group.sweep(space):
            with task:
                note(key=task.key, attempt=task.attempt)
                train(task)
                time.sleep(dice.random() * (0.1 if doing == "killed" else 0.01))
        note(rows=len(group.results()))
    note(left=True)

def start(numbers):
    pids = []
    for number in numbers:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work(number)
                code = 0
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        pids.append(pid)
    return pids

def wait(pids):
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]

codes = []
if doing == "array":  # two at a time: the run is empty in between
    for first in range(0, count, 2):
        codes += wait(start(range(first, first + 2)))
else:
    pids = start(range(count))
    if doing == "killed":
        dice = random.Random(seed)
        time.sleep(dice.uniform(0.0, 1.5))
        os.kill(dice.choice(pids), signal.SIGKILL)
    codes += wait(pids)
print(json.dumps(codes))
"""

LOAD = """
import json, sys
import attrs
from clearml_taskgroup import TaskGroup

results = TaskGroup.load("several", f"processes {SEED}", run="the job")
values = {row.name: [row.status, row.status_reason, row.attempt] for row in results}
stats = {
    row.name: {str(key): [one.first, one.last, one.min, one.max] for key, one in row.stats.items()}
    for row in results
}
print(json.dumps([values, stats]))
"""


@attrs.define
class Runs:
    """The runs of one test in a folder, on a server or offline."""

    mode: str
    home: Path
    server: LoopbackServer
    seed: int = 0

    def start(self, count: int, size: int, doing: str) -> list[int]:
        """Starts so many processes over a space of a size; gives their exit codes."""
        arguments = [self.mode, str(count), str(size), str(self.seed), doing]
        done = run_script(
            f"import sys; sys.argv[1:] = {arguments}\n{SCRIPT}", self._server, self.home, extra=self._offline
        )
        codes: list[int] = json.loads(done.stdout.splitlines()[-1])
        expected = {0, -signal.SIGKILL} if doing == "killed" else {0}
        assert set(codes) <= expected, done.stderr
        return codes

    def load(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Statuses and values of all tasks, as another process loads them."""
        done = run_script(f"SEED = {self.seed}\n{LOAD}", self._server, self.home, extra=self._offline)
        statuses, stats = json.loads(done.stdout.splitlines()[-1])
        return statuses, stats

    @property
    def _server(self) -> LoopbackServer | None:
        return self.server if self.mode == "online" else None

    @property
    def _offline(self) -> dict[str, str]:
        return {} if self.mode == "online" else {"CLEARML_OFFLINE_MODE": "1"}

    def noted(self) -> list[dict[str, Any]]:
        """What the processes noted."""
        return [json.loads(line) for line in (self.home / "ran").read_text().splitlines()]

    def attempts(self) -> Counter[tuple[str, int]]:
        """How often each attempt of each configuration began."""
        return Counter((one["key"], one["attempt"]) for one in self.noted() if "key" in one)

    def parents(self) -> list[dict[str, Any]]:
        """The run's parents."""
        if self.mode == "online":
            tasks = list(self.server.tasks.values())
        else:
            tasks = [json.loads(path.read_text()) for path in self.home.glob("cache/offline/*/task.json")]
        # A process that is killed as it opens the run may have taken the number 1, and "#2" is in the name.
        named = [task for task in tasks if task["name"].partition(" #")[0] == f"processes {self.seed}"]
        return [task for task in named if task["hyperparams"]["TaskGroup"]["kind"]["value"] == "parent"]

    def check_end(self) -> None:
        """The run has one parent, which is completed, and nothing of the agreement is left."""
        (parent,) = self.parents()
        if self.mode == "online":
            assert parent["status"] == "completed"
            assert [queue["name"] for queue in self.server.state.queues.values()] == ["default"]
        assert list(self.home.glob("cache/taskgroup/*/*.shared/*.alive")) == []


@pytest.fixture(params=["offline", "online"])
def runs(request: pytest.FixtureRequest, tmp_path: Path) -> Runs:
    """Runs offline, and on a loopback server that delays every call by chance."""
    server: LoopbackServer = request.getfixturevalue("loopback")
    server.faults.jitter = 0.02
    return Runs(request.param, tmp_path / "home", server)


def test_no_configuration_is_run_twice_or_left_out(runs: Runs, seeds: Seeds) -> None:
    for seed in seeds(ROUNDS):
        one = attrs.evolve(runs, home=runs.home / str(seed), seed=seed)
        one.start(PROCESSES, CONFIGURATIONS, "all at once")
        assert len(one.attempts()) == CONFIGURATIONS, seed
        assert set(one.attempts().values()) == {1}, seed
        statuses, _ = one.load()
        assert {tuple(status) for status in statuses.values()} == {("completed", "", 1)}, seed
        one.check_end()


@pytest.mark.parametrize("doing", ["all at once", "array"])
def test_results_are_those_of_one_process(runs: Runs, doing: str, tmp_path: Path) -> None:
    alone = attrs.evolve(runs, home=tmp_path / "alone", mode="offline")
    alone.start(1, 20, "all at once")
    runs.start(4, 20, doing)
    assert runs.load() == alone.load()
    assert max(one.get("rows", 0) for one in runs.noted()) == 20
    runs.check_end()


def test_a_killed_process_leaves_abandoned_tasks_that_a_resume_completes(runs: Runs, seeds: Seeds) -> None:
    for seed in seeds(KILLS):
        one = attrs.evolve(runs, home=runs.home / str(seed), seed=seed)
        one.start(4, 20, "killed")
        statuses, _ = one.load()
        ends = {(status, reason.partition(":")[0]) for status, reason, _ in statuses.values()}
        assert ends <= {("completed", ""), ("stopped", "abandoned")}, seed
        one.start(1, 20, "resume")
        statuses, _ = one.load()
        assert len(statuses) == 20, seed
        assert {status for status, _, _ in statuses.values()} == {"completed"}, seed
        assert set(one.attempts().values()) == {1}, seed
        one.check_end()
