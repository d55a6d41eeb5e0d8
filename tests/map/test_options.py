"""The arguments of `map`: what is refused, with the reason, before a task is opened."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._map.options import MapOptions, checked_options
from clearml_taskgroup.errors import ArgumentError
from tests.support import worker_functions


def check(**given: Any) -> MapOptions:
    """Checks some of the arguments."""
    defaults = {"workers": None, "executor": None, "retries": 0, "timeout": None, "devices": None}
    return checked_options(worker_functions.nothing, **{**defaults, **given})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"retries": -1}, "retries=-1"),
        ({"retries": True}, "how often"),
        ({"retries": 1.0}, "how often"),
        ({"retries": None}, "how often"),
        ({"timeout": 0, "workers": 1}, "above 0"),
        ({"timeout": -1, "workers": 1}, "seconds"),
        ({"timeout": float("nan"), "workers": 1}, "seconds"),
        ({"timeout": "5", "workers": 1}, "seconds"),
        ({"timeout": True, "workers": 1}, "seconds"),
        ({"timeout": 5.0}, "workers=1 or more"),
        ({"devices": ["0", "1"], "workers": 3}, "at most one for each of the 2 devices; list a device twice"),
        ({"devices": "0"}, "a list"),
        ({"executor": 3, "retries": 1}, "concurrent.futures.Executor"),
    ],
)
def test_what_is_refused(given: dict[str, Any], said: str) -> None:
    """The error says what is expected."""
    with pytest.raises(ArgumentError) as raised:
        check(**given)
    assert said in str(raised.value)


@pytest.mark.parametrize("given", [{"retries": 1}, {"timeout": 5}, {"devices": ["0"]}])
def test_an_executor_has_ways_of_its_own(given: dict[str, Any]) -> None:
    """None of the three goes with `executor=`; the error names `workers=`."""
    with ThreadPoolExecutor(1) as threads, pytest.raises(ArgumentError, match="write workers=N instead"):
        check(executor=threads, **given)


def test_workers_are_as_many_as_devices() -> None:
    """Unless fewer are asked for; a device may be listed twice."""
    assert check(devices=["0", "1", "1"]).workers == 3
    assert check(devices=["0", "1", "1"], workers=2).workers == 2
    assert check(devices=[0], timeout=5).timeout == 5.0
    assert check().workers is None


def test_nothing_is_opened_if_the_devices_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    with TaskGroup("the project", "the group", mode="disabled") as group:
        with pytest.raises(ArgumentError, match="it sees 1 device"):
            group.map(worker_functions.nothing, {"seed": [1]}, devices=["1"])
        assert len(group) == 0
