"""Plans in sessions on this disk, interrupted at each write: what was there stays, nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml.sdk import cache_folder
from clearml_taskgroup._drift import apply_offline
from clearml_taskgroup._drift import plan as _plan
from clearml_taskgroup._drift.copying import Outcome
from clearml_taskgroup._drift.plan import Copy, Plan, TaskPlan
from clearml_taskgroup._model.name_template import Name
from clearml_taskgroup._storage import append_file
from clearml_taskgroup._storage.past_runs import all_runs
from tests.support.runs import NAME, PROJECT

COPIES = (
    Copy(Name("acc", "val"), Name("accuracy", "val")),
    Copy(Name("Summary", "acc/test"), Name("Summary", "accuracy/test")),
)
WRITES = ("write_session", "append_to", "append_to", "append", "write_session") * 2


class Killed(BaseException):
    """The process dies."""


def make_run() -> tuple[Plan, dict[Path, bytes]]:
    """Makes a run on this disk with two tasks and a plan for them; gives it with the content of all files."""
    with TaskGroup(PROJECT, NAME, mode="offline", provenance=False) as group:
        for task in group.tasks({"C": [1, 2]}):
            for step, value in enumerate((0.25, 0.5, 0.125)):
                task.report({"acc": value}, step, split="val")
            task.report({"acc": 1.5}, split="test")
    tasks = tuple(TaskPlan(task.id, task.name, COPIES) for task in group)
    return Plan(str(cache_folder() / "offline"), False, "vocabulary.py", tasks), files()


def files() -> dict[Path, bytes]:
    """The content of all files in the cache folder."""
    return {path: path.read_bytes() for path in cache_folder().rglob("*") if path.is_file()}


def apply(plan: Plan) -> list[Outcome]:
    """Carries a plan out."""
    outcomes: list[Outcome] = []
    runs = all_runs(cache_folder() / "taskgroup")
    apply_offline.apply_offline(plan, runs, Path(plan.place), outcomes.append)
    return outcomes


def torn(name: str, path: Path, content: Any) -> None:
    """Half of a line, or half of a new file beside the old one, is written."""
    if name == "append_to":
        append_file.append_to(path, content[: len(content) // 2])
    elif name == "write_session":
        Path(f"{path}.new").write_text(content[: len(content) // 2])
    else:
        append_file.append_to(path, json.dumps(content)[1:-20].encode())


@pytest.mark.quick(6)
@pytest.mark.parametrize("kind", ["before", "after", "torn"])
@pytest.mark.parametrize("step", range(len(WRITES)))
def test_killed_at_each_write(step: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However far the first run came, the second one completes it, and a third one changes nothing."""
    plan, before = make_run()
    writes: list[str] = []

    def interrupted(name: str) -> Callable[..., Any]:
        function = getattr(apply_offline, name)

        def write(*arguments: Any) -> Any:
            writes.append(name)
            if len(writes) != step + 1:
                return function(*arguments)
            if kind == "after":
                function(*arguments)
            elif kind == "torn":
                torn(name, *arguments)
            raise Killed

        return write

    with monkeypatch.context() as patch:
        for name in set(WRITES):
            patch.setattr(apply_offline, name, interrupted(name))
        with pytest.raises(Killed):
            apply(plan)
    assert tuple(writes) == WRITES[: step + 1]
    outcomes = apply(plan)
    assert [outcome.problems for outcome in outcomes] == [[], []]
    after = files()
    for path, content in before.items():
        if path.name != "task.json":
            assert after[path].startswith(content)
            continue
        data = json.loads(after[path])
        if data["id"] in {task.id for task in plan.tasks}:
            assert data.pop("tags") == [plan.tag]
            assert data.pop("comment").splitlines()[1:] == list(map(str, COPIES))
            data["tags"] = []
        assert data == json.loads(content)
    results = TaskGroup.load(PROJECT, NAME, mode="offline")
    for row in results:
        curves = [row.history(metric, split="val").values for metric in ("acc", "accuracy")]
        assert curves == [(0.25, 0.5, 0.125)] * 2
        for split in ("val", "test"):
            stats = [row.stats[key] for key in row.stats if dict(key.context) == {"split": split}]
            assert len(stats) == 2
            assert stats[0].to_json() == stats[1].to_json()
    apply(plan)
    assert files() == after


def test_a_task_that_has_changed_since_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that may not be changed any more, or would have too many names, is left as it is."""
    plan, before = make_run()
    first = Path(plan.place, plan.tasks[0].id)
    (first / "task.json").rename(first / "moved")
    monkeypatch.setattr(_plan, "MAX_NAMES_PER_TASK", 3)
    assert [outcome.problems for outcome in apply(plan)] == [
        ["its session was deleted"],
        ["it would have 4 names, and a server keeps 3"],
    ]
    (first / "moved").rename(first / "task.json")
    assert files() == before
