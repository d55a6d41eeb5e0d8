"""Any sequence of open, report, fail, kill, resume and upload ends as a plain model predicts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._clearml.queries import identity_of
from clearml_taskgroup.errors import RunInUseError, TaskClosedError, TaskReopenError
from tests.conftest import SETTINGS
from tests.loopback import LoopbackServer
from tests.support.runs import Place, kill, originals

SEEDS = st.integers(0, 2)
Points = dict[tuple[str, str], list[tuple[int, float]]]


@attrs.define
class Attempt:
    """What the model knows of one attempt at a key."""

    number: int
    index: int
    status: str = "in_progress"
    if_killed: str = "stopped"
    points: list[float] = attrs.field(factory=list)

    def curve(self) -> Points:
        """The points as a server has them."""
        return {("loss", "value"): list(enumerate(self.points))} if self.points else {}


class Groups(RuleBasedStateMachine):
    """A run of one group, and the model of what must be known of it."""

    mode: Literal["offline", "online"]

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.patch = pytest.MonkeyPatch()
        settings_file = Path(self.folder.name) / "clearml.conf"
        settings_file.write_text(SETTINGS)
        self.patch.setenv("CLEARML_CONFIG_FILE", str(settings_file))
        self.patch.setenv("CLEARML_CACHE_DIR", os.path.join(self.folder.name, "cache"))
        self.server = LoopbackServer()
        self.server.start()
        for name, value in self.server.environment().items():
            self.patch.setenv(name, value)
        self.place = Place(self.server if self.mode == "online" else None)
        self.group: TaskGroup | None = None
        self.last: TaskGroup | None = None
        self.tasks: dict[int, GroupTask] = {}
        self.model: dict[int, list[Attempt]] = {}
        self.parent = ""

    # --- what can happen -----------------------------------------------------------------------

    @initialize()
    def open(self) -> None:
        """The first run."""
        self.group = self.last = self.place.group().open()
        self.parent = "in_progress"

    @precondition(lambda self: self.group is not None)
    @rule(seed=SEEDS)
    def task(self, seed: int) -> None:
        """A task is opened, if this group has not done so yet."""
        assert self.group is not None
        if seed in self.tasks:
            return
        task = self.tasks[seed] = self.group.task({"seed": seed})
        attempts = self.model.setdefault(seed, [])
        if attempts and attempts[-1].status == "completed":
            assert task.done
        elif attempts and self.group._resume is not None and self.group._resume.retry == "continue":
            attempts[-1].status, attempts[-1].if_killed = "in_progress", "stopped"
        else:
            index = attempts[0].index if attempts else task.index
            attempts.append(Attempt(len(attempts) + 1, index))
        assert (task.attempt, task.index) == (attempts[-1].number, attempts[-1].index)
        places = [attempts[0].index for attempts in self.model.values()]
        assert len(set(places)) == len(places)

    @precondition(lambda self: self.tasks)
    @rule(seed=SEEDS, value=st.integers(-3, 3), count=st.integers(1, 3))
    def report(self, seed: int, value: int, count: int) -> None:
        """Points are reported to a task, or refused by one that has ended."""
        if seed not in self.tasks:
            return
        attempt = self.model[seed][-1]
        for _ in range(count):
            if attempt.status != "in_progress":
                with pytest.raises(TaskClosedError):
                    self.tasks[seed].report({"loss": value}, 0)
                return
            self.tasks[seed].report({"loss": value}, len(attempt.points))
            attempt.points.append(float(value))

    @precondition(lambda self: self.tasks)
    @rule(seed=SEEDS, status=st.sampled_from(["completed", "failed", "stopped"]))
    def end(self, seed: int, status: str) -> None:
        """A task ends."""
        if seed in self.tasks and self.model[seed][-1].status == "in_progress":
            getattr(self.tasks[seed], f"mark_{status}")()
            self.model[seed][-1].status = status

    @precondition(lambda self: self.tasks)
    @rule(seed=SEEDS)
    def reopen(self, seed: int) -> None:
        """A task that has completed, maybe in an earlier process, takes more; others refuse."""
        if seed not in self.tasks:
            return
        attempt = self.model[seed][-1]
        if attempt.status == "completed":
            self.tasks[seed].reopen()
            attempt.status, attempt.if_killed = "in_progress", "completed"
        else:
            with pytest.raises(TaskReopenError):
                self.tasks[seed].reopen()

    @precondition(lambda self: self.group is not None)
    @rule()
    def close(self) -> None:
        """The group's block ends."""
        assert self.group is not None
        self.group.close()
        self._ended("completed")
        statuses = [attempts[-1].status for attempts in self.model.values()]
        self.parent = "failed" if statuses and "completed" not in statuses else "completed"

    @precondition(lambda self: self.group is not None)
    @rule()
    def kill(self) -> None:
        """The process dies."""
        assert self.group is not None
        kill(self.group)
        self._ended(None)
        self.parent = "stopped"

    def _ended(self, status: str | None) -> None:
        self.group, self.tasks = None, {}
        for attempts in self.model.values():
            if attempts[-1].status == "in_progress":
                attempts[-1].status = status or attempts[-1].if_killed

    @precondition(lambda self: self.group is None and (self.model or self.mode == "offline"))
    @rule(retry=st.sampled_from(["new", "continue"]))
    def resume(self, retry: Any) -> None:
        """Another process goes on with the run."""
        assert self.last is not None
        run, number = self.last.run, self.last.run_number
        self.group = self.last = self.place.resume(retry=retry).open()
        assert (self.group.run, self.group.run_number) == (run, number)
        self.parent = "in_progress"

    @rule()
    def upload(self) -> None:
        """The run is uploaded, or refused while it is open; then all is as the model says."""
        assert self.last is not None
        if self.group is not None:
            with pytest.raises(RunInUseError):
                TaskGroup.upload(self.last.run)
            return
        uploaded = TaskGroup.upload(self.last.record_path)  # type: ignore[arg-type]
        assert uploaded.problems == ()
        found: dict[tuple[int, int], tuple[str, int, Points]] = {}
        for doc in originals(self.server):
            identity = identity_of(doc)
            which = int(doc["hyperparams"]["General"]["seed"]["value"]), int(identity["attempt"])
            assert which not in found
            assert doc["parent"] == uploaded.parent
            found[which] = (doc["status"], int(identity["index"]), self.server.scalars(doc["id"]))
        assert found == {
            (seed, attempt.number): (attempt.status, attempt.index, attempt.curve())
            for seed, attempts in self.model.items()
            for attempt in attempts
        }
        (parent,) = originals(self.server, "parent")
        assert (parent["id"], parent["status"]) == (uploaded.parent, self.parent)

    @precondition(lambda self: self.group is not None)
    @rule()
    def results(self) -> None:
        """Results have the latest attempt's last value of each key that this group has opened."""
        assert self.group is not None
        found = {
            row.params["seed"]: (row.status, [stats.last for stats in row.stats.values()])
            for row in self.group.results()
            if self.model[row.params["seed"]][-1].status != "in_progress" or row.stats
        }
        for seed, (status, values) in found.items():
            attempt = self.model[seed][-1]
            assert status == attempt.status
            assert values == attempt.points[-1:] or not attempt.points

    def teardown(self) -> None:
        """Lets everything end, and looks at it once more."""
        try:
            if self.group is not None:
                self.close()
            if self.last is not None:
                self.upload()
            assert self.server.violations == []
            assert self.server.crashes == []
        finally:
            self.server.stop()
            self.patch.undo()
            self.folder.cleanup()


class Offline(Groups):
    """Offline sessions, uploaded to a loopback server."""

    mode = "offline"


class Online(Groups):
    """Tasks on a loopback server from the start."""

    mode = "online"


@pytest.mark.parametrize("examples", [5, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize("machine", [Offline, Online])
def test_every_story_ends_as_the_model_predicts(machine: type[Groups], examples: int) -> None:
    """Statuses for each key and attempt, points for each task, the parent's end: as in the model."""
    health = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=examples, stateful_step_count=20, suppress_health_check=health),
    )
