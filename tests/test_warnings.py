"""Every warning names the line of the user's that caused it, however deep in the package it comes up."""

from __future__ import annotations

import contextlib
import functools
import threading
import warnings
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._log import warn
from clearml_taskgroup.errors import LeftOutWarning, NameWarning, NonFiniteWarning, TaskGroupWarning
from clearml_taskgroup.testing import recording

NAN = float("nan")


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    """Keeps in memory what the test's groups log."""
    with recording():
        yield


def lines_of(caught: list[warnings.WarningMessage]) -> list[str]:
    """The lines of this file that the warnings name."""
    with open(__file__) as file:
        text = file.read().splitlines()
    assert {one.filename for one in caught} == {__file__}
    return [text[one.lineno - 1].strip() for one in caught]


@pytest.mark.parametrize(
    ("call", "category"),
    [
        (lambda task: task.report({"loss": NAN}, 1), NonFiniteWarning),
        (lambda task: task.report({"val": {"loss": NAN}}, 1, levels=("split", "metric")), NonFiniteWarning),
        (lambda task: task.bind(split="val").report({"loss": NAN}, 1), NonFiniteWarning),
        (lambda task: task.metric("loss").report(NAN, 1), NonFiniteWarning),
        (lambda task: task.summary_writer().add_scalar("loss", NAN, 1), NonFiniteWarning),
        (lambda task: task.summary_writer().add_scalars("loss", {"a": NAN}, 1), NonFiniteWarning),
        (lambda task: task.summary_writer().add_graph(None), LeftOutWarning),
        (lambda task: task.report({f"m{i}": 1.0 for i in range(1001)}), NameWarning),
    ],
)
def test_a_call(call: Callable[[GroupTask], None], category: type[TaskGroupWarning]) -> None:
    with TaskGroup("digits", "sweep") as group, group.task({"C": 1}) as task:
        with pytest.warns(category) as caught:
            call(task)
    assert [one.lineno for one in caught] == [call.__code__.co_firstlineno]
    assert {one.filename for one in caught} == {__file__}


def test_a_function_that_map_calls() -> None:
    def train(task: GroupTask) -> None:
        task.report({"loss": NAN}, 1)  # here

    with TaskGroup("digits", "sweep") as group:
        with pytest.warns(NonFiniteWarning) as caught:
            group.map(train, {"C": [1]})
    assert lines_of(list(caught)) == ['task.report({"loss": NAN}, 1)  # here']


def test_opening_and_closing_a_group() -> None:
    """With and without a block, and where contextlib stands in between."""
    with pytest.warns(NameWarning, match="in its title") as caught:
        with TaskGroup("digits", "a block", template="{task} {metric}/{split=value}"):  # opened
            pass
    assert [line[-8:] for line in lines_of(list(caught))] == ["# opened"]

    def drifting(group: TaskGroup) -> TaskGroup:
        for place, task in enumerate(group.tasks({"C": [1, 2, 3]})):
            task.report({"acc" if place else "accuracy": 1.0}, 1)
        return group

    with pytest.warns(TaskGroupWarning) as caught:  # noqa: PT031
        drifting(TaskGroup("digits", "by call").open()).close()
        with contextlib.ExitStack() as stack:  # by contextlib
            drifting(stack.enter_context(TaskGroup("digits", "by a stack")))
    assert lines_of(list(caught)) == [
        'drifting(TaskGroup("digits", "by call").open()).close()',
        "with contextlib.ExitStack() as stack:  # by contextlib",
    ]


def module(package: str, folder: str, source: str) -> CodeType:
    return compile(source, f"{folder}/{package}.py", "exec")


def run_as(package: str, folder: str, source: str, **names: Any) -> None:
    """Runs source as a module of a package."""
    exec(module(package, folder, source), {"__name__": package, **names})


def test_a_framework_that_calls_back() -> None:
    """The line of the script that called it counts, not the framework's own."""
    with pytest.warns(UserWarning, match="left out") as caught:
        run_as("framework", "/python/site-packages", "warn('left out', UserWarning)", warn=warn)  # fit
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="left out") as caught:
        run_as("script", "/home/me", "warn('left out', UserWarning)", warn=warn)
    assert [(one.filename, one.lineno) for one in caught] == [("/home/me/script.py", 1)]


def test_without_a_line_of_the_users() -> None:
    """In a thread of a framework's, its own line is named."""
    code = module("framework", "/python/site-packages", "warn('left out', UserWarning)")
    names = {"__name__": "framework", "warn": warn}
    thread = threading.Thread(target=functools.partial(exec, code, names))
    with pytest.warns(UserWarning, match="left out") as caught:  # noqa: PT031
        thread.start()
        thread.join()
    assert [(one.filename, one.lineno) for one in caught] == [("/python/site-packages/framework.py", 1)]
