"""Progress: what is counted, and where it is shown."""

from __future__ import annotations

import time

import attrs
import pytest

from clearml_taskgroup import Metric, TaskGroup
from clearml_taskgroup._progress import displays
from clearml_taskgroup._progress.tracker import Progress, Tracker
from clearml_taskgroup.testing import recording


@attrs.define
class Shown:
    """A display that remembers what it was to show."""

    standings: list[str] = attrs.field(factory=list)
    stops: int = 0

    def show(self, progress: Progress) -> None:
        """Remembers."""
        if not self.standings or self.standings[-1] != str(progress):
            self.standings.append(str(progress))

    def stop(self) -> None:
        """Remembers."""
        self.stops += 1


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What a sweep shows."""
    display = Shown()
    monkeypatch.setattr(displays, "choose_display", lambda: display)
    return display


def test_each_turn_is_counted(shown: Shown) -> None:
    """Done, failed and left add up, the task under way is named, the best value is kept."""
    metrics = [Metric("loss", mode="min"), Metric("accuracy", mode="max")]
    with recording(), TaskGroup("digits", "sweep", catch=ValueError, metrics=metrics) as group:
        for task in group.sweep({"C": [1, 2, 3]}, progress=True):
            with task:
                task.report({"accuracy": 0.5, "loss": abs(2 - task.params["C"])}, 1, split="val")
                if task.params["C"] == 2:
                    raise ValueError("bad")
    assert shown.standings == [
        "0 done, 0 failed, 3 left",
        "0 done, 0 failed, 3 left · now C=1",
        "1 done, 0 failed, 2 left · best loss[split=val] 1 (C=1)",
        "1 done, 0 failed, 2 left · best loss[split=val] 1 (C=1) · now C=2",
        "1 done, 1 failed, 1 left · best loss[split=val] 1 (C=1)",
        "1 done, 1 failed, 1 left · best loss[split=val] 1 (C=1) · now C=3",
        "2 done, 1 failed, 0 left · best loss[split=val] 1 (C=1)",
    ]
    assert shown.stops == 1


def test_a_loop_that_is_left(shown: Shown) -> None:
    """However a loop is left, the display stops with the group."""
    with recording(), pytest.raises(ValueError, match="bad"), TaskGroup("digits", "sweep") as group:
        for task in group.sweep({"C": [1, 2, 3]}, progress=True):
            if task.params["C"] == 2:
                raise ValueError("bad")
    assert shown.standings[-1] == "1 done, 1 failed, 1 left"
    assert shown.stops == 1


def test_what_was_done_before_counts(shown: Shown) -> None:
    """Under `resume`, tasks that were completed earlier count as done."""
    for _ in range(2):
        with TaskGroup("digits", "sweep", mode="offline", provenance=False, resume=True) as group:
            for task in group.sweep({"C": [1, 2]}, progress=True):
                if task.params["C"] == 2 and len(shown.standings) < 6:
                    task.mark_failed()
    assert shown.standings[-1] == "2 done, 0 failed, 0 left"
    assert "1 done, 0 failed, 1 left" in shown.standings[-3:]


def test_names_do_nothing_to_a_terminal(shown: Shown) -> None:
    """Names of tasks and metrics are text."""
    with recording(), TaskGroup("digits", "sweep", metrics=[Metric("loss\x1b[31m", mode="min")]) as group:
        for task in group.sweep({"C": ["\x1b[2J"]}, progress=True):
            with task:
                task.report({"loss\x1b[31m": 1.0}, 1)
    assert shown.standings[-1].endswith(r"best loss\x1b[31m 1 (C=" + '"' + r"\u001b[2J" + '")')


def test_the_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left is expected to take as long as what has ended in this run, not in an earlier one."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress = Progress(total=10, done=4)
    assert progress.clocks == "elapsed 0:00:00"
    now[0] += 3661
    progress.done, progress.failed = 5, 1
    assert progress.clocks == "elapsed 1:01:01, remaining 2:02:02"
    progress.done = 9
    assert progress.clocks == "elapsed 1:01:01"


@pytest.mark.parametrize(
    ("current", "best", "text"),
    [
        ([], "", "1 done, 0 failed, 2 left"),
        (["a"], "", "1 done, 0 failed, 2 left · now a"),
        (["a", "b", "c"], "best 1", "1 done, 0 failed, 2 left · best 1 · now a and 2 more"),
    ],
)
def test_the_state_as_text(current: list[str], best: str, text: str) -> None:
    assert str(Progress(3, done=1, current=current, best=best)) == text


def test_a_task_that_is_tried_again_has_not_ended(shown: Shown) -> None:
    """What diverged, or is not known to be better, is not the best."""
    with recording(), TaskGroup("digits", "sweep") as group:
        tasks = group.tasks({"C": [1, 2, 3]})
        tracker = Tracker(3, 0, group.results()._lookup, shown)
        states = [task._state for task in tasks]
        for state in states:
            tracker.begun(state)
        tasks[0].mark_failed()
        tracker.update(retried=states[0].spec.key)
        assert shown.standings[-1] == "0 done, 0 failed, 3 left · now C=2 and 1 more"
        tasks[1].report({"speed": 1.0}, 1)
        tasks[1].mark_completed()
        tracker.update()
        assert shown.standings[-1] == "1 done, 0 failed, 2 left · now C=3"
        tracker.stop()
        tracker.stop()
        assert shown.stops == 1
