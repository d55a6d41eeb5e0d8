"""`auto_connect_frameworks=`: a flag, or the dict that `Task.init` accepts."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._model.frameworks import NOT_ROUTED, ROUTED, Frameworks, checked_frameworks
from clearml_taskgroup.errors import ArgumentError


def on(value: Any) -> set[str]:
    """The frameworks that a value turns on."""
    found = checked_frameworks(value)
    return set() if found is None else set(found.on)


def test_a_flag_turns_everything_on_or_off() -> None:
    """As for `Task.init`, an empty dict is off."""
    assert on(True) == set(ROUTED)
    assert on(False) == on({}) == set()
    assert TaskGroup("digits", "sweep")._options.auto_connect_frameworks is None
    group = TaskGroup("digits", "sweep", auto_connect_frameworks={"joblib": False})
    assert group._options.auto_connect_frameworks == checked_frameworks({"joblib": False})


def test_what_a_dict_does_not_name_is_on() -> None:
    """As for `Task.init`; if it turns everything off, nothing is installed."""
    assert on({"matplotlib": False}) == set(ROUTED) - {"matplotlib"}
    assert on({"hydra": False, "tensorboard": {"report_hparams": False}}) == set(ROUTED)
    assert checked_frameworks(dict.fromkeys(ROUTED, False)) is None


def test_options_and_wildcards_are_kept() -> None:
    """TensorBoard's parameters can be off alone; wildcards may be one text or a list."""
    given = {"tensorboard": {"report_hparams": False}, "pytorch": "*.pt", "joblib": ["*.pkl", "m/*"]}
    assert checked_frameworks(given) == Frameworks(
        frozenset(ROUTED), False, {"pytorch": ("*.pt",), "joblib": ("*.pkl", "m/*")}
    )
    assert on({"pytorch": []}) == set(ROUTED) - {"pytorch"}


def test_a_dict_for_task_init_can_be_used_as_it_is() -> None:
    """With all of its keys; those that cannot go to a task are named in the log."""
    documented = dict.fromkeys([*ROUTED, *NOT_ROUTED, "detect_repository"], True)
    found = checked_frameworks(documented)
    assert found is not None
    assert found.on == set(ROUTED)
    assert found.not_routed == tuple(NOT_ROUTED)
    found = checked_frameworks({**documented, "hydra": False})
    assert found is not None
    assert set(found.not_routed) == set(NOT_ROUTED) - {"hydra"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"matplotlb": True}, "did you mean 'matplotlib'"),
        ({"torch": True}, "pytorch"),
        ({3: True}, "keys that are known"),
        ("tensorboard", "True, False, or a dict"),
        (1, "True, False, or a dict"),
        (None, "True, False, or a dict"),
        ({"matplotlib": "*.png"}, "True or False"),
        ({"tensorboard": {"hparams": False}}, "report_hparams"),
        ({"tensorboard": {"report_hparams": "no"}}, "report_hparams"),
        ({"hydra": "no"}, "True or False"),
        ({"pytorch": 3}, "wildcards"),
        ({"joblib": [3]}, "wildcards"),
    ],
)
def test_anything_else_is_an_error_that_says_what_is_known(given: Any, expected: str) -> None:
    """The error is raised as the group is made."""
    with pytest.raises(ArgumentError, match="auto_connect_frameworks") as caught:
        TaskGroup("digits", "sweep", auto_connect_frameworks=given)
    assert expected in str(caught.value)
    assert len(str(caught.value)) <= 500
