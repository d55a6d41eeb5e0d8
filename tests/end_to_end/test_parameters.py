"""Parameters are the same live, from the disk and from a server, and nobody changes another task's."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import enum
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup.errors import ArgumentError, ParameterError
from clearml_taskgroup.testing import recording
from tests.loopback import LoopbackServer
from tests.support.runs import NAME, PROJECT, Place, kill
from tests.support.server_view import View


class Colour(enum.Enum):
    """An enum."""

    RED = 1


@dataclasses.dataclass
class Adam:
    """A dataclass."""

    lr: float


GIVEN: dict[str, Any] = {
    "none": None,
    "flag": True,
    "whole": 1.0,
    "small": 1e-3,
    "infinite": float("inf"),
    "text": "größe",
    "layers": [{"units": 8, "act": None}, {}],
    "net": {"width": 64, "weights": {0: 0.5, 1: 2.0}},
    "members": {"a", ("b", 1)},
    "raw": b"\x00\xff",
    "pair": (1, (2,)),
    "scale": np.float32(0.1),
    "grid": np.array([[1, 2]]),
    "path": Path("data/train"),
    "colour": Colour.RED,
    "optimizer": Adam(0.5),
    "day": datetime.date(2026, 1, 2),
    "function": json.dumps,
}
SHOWN: dict[str, Any] = {
    "none": None,
    "flag": True,
    "whole": 1.0,
    "small": 1e-3,
    "infinite": float("inf"),
    "text": "größe",
    "layers": [{"units": 8, "act": None}, {}],
    "net/width": 64,
    "net/weights": {0: 0.5, 1: 2.0},
    "members": {"a", ("b", 1)},
    "raw": b"\x00\xff",
    "pair": [1, [2]],
    "scale": 0.1,
    "grid": [[1, 2]],
    "path": "data/train",
    "colour": "Colour.RED",
    "optimizer": "Adam(lr=0.5)",
    "day": "2026-01-02",
    "function": "json.dumps",
}


def same(found: Any, expected: dict[str, Any]) -> None:
    """Both have the same values of the same types."""
    assert dict(found) == expected
    assert {name: type(value) for name, value in found.items()} == {n: type(v) for n, v in expected.items()}


@pytest.mark.parametrize("mode", ["memory", "offline", "online"])
def test_parameters_are_the_same_everywhere(mode: str, request: pytest.FixtureRequest) -> None:
    """Those of the identity, those that were added, and those of a task that was given key=."""
    if mode == "online":
        request.getfixturevalue("loopback")
    added = {f"added {name}": value for name, value in GIVEN.items()}
    shown = {f"added {name}": value for name, value in SHOWN.items()}
    chosen: Any = None if mode == "memory" else mode
    with recording() if mode == "memory" else contextlib.nullcontext():
        with TaskGroup("digits", "params", mode=chosen, provenance=False) as group:
            with group.task(GIVEN) as task:
                assert "{'map'" not in str(task.name)
                assert task.params["pair"] == (1, (2,))
                assert task.params["optimizer"] == Adam(0.5)
            with group.task({**GIVEN, "nan": float("nan")}, key="given") as other:
                other.set_parameters(added)
            live = group.results()
        before = set(sys.modules)
        kept = [live, group.results()] + ([] if mode == "memory" else [TaskGroup.load("digits", "params")])
        if mode == "online":
            kept.append(TaskGroup.load("digits", "params", mode="offline"))
        for results in kept:
            same(results[0].params, SHOWN)
            assert results[0].key == task.key
            rest = results[1].params
            assert str(rest.pop("nan")) == "nan"
            same(rest, {**SHOWN, **shown})
            found = results.where(layers=GIVEN["layers"], optimizer=Adam(0.5), members=GIVEN["members"])
            assert len(found) == 2
            assert "\"{'a', ('b', 1)}\"" in results.to_csv()
            record = json.loads(results.to_json())[0]
            assert (record["params.members"], record["params.layers"]) == (["a", ["b", 1]], GIVEN["layers"])
        assert set(sys.modules) <= before | {"clearml"} | {m for m in sys.modules if "clearml" in m}


def test_no_parameters_are_none(server: View) -> None:
    """A server refuses to add nothing."""
    with TaskGroup(server.project, "params", mode="online", provenance=False) as group:
        task = group.task({"C": 1})
        task.set_parameters({})
    assert server.parameters(task.id) == {"C": "1"}


def test_nobody_changes_the_parameters_of_a_task() -> None:
    """Neither the given lists nor those that are handed out are those of the task."""
    layers, late = [[64]], [1]
    with recording() as recorded, TaskGroup("digits", "alias") as group:
        for task in group.sweep({"layers": layers, "seed": range(3)}):
            with task:
                assert task.params["layers"] == [64]
                task.params["layers"].append(10)
                group.get(seed=task.params["seed"]).params["layers"].append(11)
                task.set_parameters({"late": late})
                task.params["late"].append(2)
                late.append(3)
                task.report({"loss": 1.0})
        layers[0].append(12)
        results = group.results()
        results[0].params["layers"].append(13)
        results.best("loss", mode="min").params["layers"].append(14)
        means = results.aggregate(over="seed")
        means.best("loss", mode="min").params["layers"].append(15)
        assert {tuple(row.params["layers"]) for row in results} == {(64,)}
        assert [row.params["late"] for row in group.results()] == [[1], [1, 3], [1, 3, 3]]
        assert group.get(seed=0, layers=[64]).params["layers"] == [64]
        recorded.members[0].params["layers"].append(16)
        assert {tuple(row.params["layers"]) for row in group.results()} == {(64,)}
        assert means[0].params["layers"] == [64]


def test_parameters_of_another_form_are_refused() -> None:
    with recording(), TaskGroup("digits", "sweep") as group:
        task = group.task({"a": 1})
        for wrong in (None, 3, [("a", 1)], "a"):
            with pytest.raises(ArgumentError, match="params="):
                task.set_parameters(wrong)  # type: ignore[arg-type]
        with pytest.raises(ParameterError, match="more than 4,000 digits"):
            task.set_parameters({"big": 10**5000})
        with pytest.raises(ParameterError, match="'huge' is a number of more than"):
            group.task({"huge": 10**5000}, key="k")
        assert task.params == {"a": 1}


def test_added_parameters_survive_a_resume() -> None:
    """Also those of a task that is completed, and of one that is continued."""
    for retry in (False, True):
        with TaskGroup("digits", "again", mode="offline", resume=retry, retry="continue") as group:
            for task in group.sweep({"a": [1, 2]}):
                if not task.done and not retry:
                    task.set_parameters({"late": [{"units": 8}]})
                if task.params["a"] == 2 and not retry:
                    task.mark_failed("out of memory")
            assert [row.params["late"] for row in group.results()] == [[{"units": 8}]] * 2
    assert [row.params["late"] for row in TaskGroup.load("digits", "again")] == [[{"units": 8}]] * 2


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_added_parameters_survive_a_kill(mode: str, request: pytest.FixtureRequest) -> None:
    """In the results, from the disk too, and in the resumed run."""
    server = request.getfixturevalue("loopback") if mode == "online" else None
    place = Place(server)
    group = place.open()
    group.task({"a": 1}).set_parameters({"late": [{"units": 8}]})
    kill(group)
    modes: list[Any] = [mode, "offline"]
    for one in modes:
        assert TaskGroup.load(PROJECT, NAME, mode=one)[0].params == {"a": 1, "late": [{"units": 8}]}
    with place.resume(retry="continue") as resumed:
        assert resumed.task({"a": 1}).params["late"] == [{"units": 8}]


def test_edited_parameters_of_a_server(loopback: LoopbackServer) -> None:
    """Whatever somebody has made of the stored text, the results are read."""
    with TaskGroup("digits", "edited", provenance=False) as group:
        task = group.task({"a": [1]})
        task.set_parameters({"late": [1]})
    sections = loopback.state.tasks[task.id]["hyperparams"]
    own = loopback.state.tasks[task.id]["configuration"]["TaskGroup"]
    for text in ("", "[", "null", "[]", '{"a": {"bytes": 3}}', "[" * 100_000):
        own["value"] = text
        sections["TaskGroup"]["params/late"]["value"] = text
        (row,) = TaskGroup.load("digits", "edited", mode="online")
        assert row.params.keys() == {"a", "late"}
        if text in ("", "null"):
            own["value"] = f'{{"key": "k", "params": {text or 3}}}'
            assert TaskGroup.load("digits", "edited", mode="online")[0].key == "k"
