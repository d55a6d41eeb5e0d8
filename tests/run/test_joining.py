"""Joining a shared run: the text that names it, the spec of its parent, templates that differ."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup._model.specs import RunInfo
from clearml_taskgroup._run.joining import (
    VARIABLE,
    check_template,
    leave,
    parent_spec,
    shared_info,
    shared_text,
)
from clearml_taskgroup.errors import ArgumentError, NameWarning

INFO = RunInfo("the group's id", "the project", "the group", "{metric}/{split}", shared="job 7")


@pytest.mark.parametrize(
    ("run", "variable", "text"),
    [
        (None, None, ""),
        (None, " ", ""),
        (None, " job 7 ", "job 7"),
        (" job 8 ", "job 7", "job 8"),  # the argument comes first
    ],
)
def test_the_argument_or_the_environment_names_the_run(
    monkeypatch: pytest.MonkeyPatch, run: str | None, variable: str | None, text: str
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if variable is not None:
        monkeypatch.setenv(VARIABLE, variable)
    assert shared_text(run, "new", False) == text


@pytest.mark.parametrize("run", ["", " ", 3, "a\ud800"])
def test_the_argument_is_a_text(run: Any) -> None:
    with pytest.raises(ArgumentError, match="run="):
        shared_text(run, "new", False)


@pytest.mark.parametrize(("retry", "takeover"), [("continue", False), ("new", True)])
def test_a_run_of_one_process_has_more_arguments(retry: str, takeover: bool) -> None:
    argument = "takeover" if takeover else "retry"
    with pytest.raises(ArgumentError, match=rf"{argument}=.*several processes share \('job 7'\)"):
        shared_text("job 7", retry, takeover)
    assert shared_text(None, retry, takeover) == ""


def test_a_shared_run_has_the_same_id_in_every_process() -> None:
    one, two = (shared_info(INFO, "job 7") for _ in range(2))
    assert one.run == two.run != shared_info(INFO, "job 8").run
    assert (one.shared, one.group_id) == ("job 7", INFO.group_id)
    assert str(os.getpid()) in one.process
    assert one.process != two.process


@pytest.mark.parametrize(
    ("number", "name"), [(0, "the group"), (1, "the group"), (2, "the group #2"), (13, "the group #13")]
)
def test_the_name_of_a_parent_tells_the_runs_of_a_group_apart(number: int, name: str) -> None:
    spec = parent_spec(RunInfo("id", "the project", "the group", "", number=number))
    assert (spec.task_name, spec.name, spec.kind) == (name, "the group", "parent")
    assert (spec.key, spec.index, spec.attempt, spec.params) == ("", -1, 1, {})


@pytest.mark.parametrize("stored", [None, INFO.template])
def test_the_same_template_is_no_reason_to_warn(stored: str | None) -> None:
    check_template(INFO, stored)


def test_another_template_is_warned_of() -> None:
    with pytest.warns(NameWarning, match=r"the run 'job 7' began with the template '\{metric\}'"):
        check_template(INFO, "{metric}")


@pytest.mark.parametrize("last", [True, False])
def test_only_the_last_process_to_leave_ends_the_run(last: bool) -> None:
    calls: list[str] = []
    shared: Any = SimpleNamespace(leave=lambda: last, ended=lambda: calls.append("ended"))
    leave(shared)
    assert calls == ["ended"] * last
