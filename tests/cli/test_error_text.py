"""Errors in the command's own words: what a person can type, nothing of Python's."""

from __future__ import annotations

import shlex

import pytest

from clearml_taskgroup._cli.error_text import command_message, metric_arguments, some_distinct
from clearml_taskgroup.errors import (
    AmbiguousResultError,
    AmbiguousRunError,
    ArgumentError,
    LoginError,
    NoHistoryError,
    RunInUseError,
    ServerError,
    StoreError,
)

ERRORS = [
    (
        AmbiguousResultError("top 1", ["top 1[split=val]", "top 1[split=train]"]),
        "top 1 may mean top 1[split=val], top 1[split=train]; choose one, as in: 'top 1' split=val",
    ),
    (
        AmbiguousRunError("3", ["0123456789abcdef", "fedcba9876543210"]),
        "'3' may mean the runs 0123456789abcdef, fedcba9876543210; give the id of one: --run 0123456789ab",
    ),
    (
        RunInUseError("run-0001.jsonl", "it pings"),
        "the run run-0001.jsonl is still in use: it pings; wait until it has ended",
    ),
    (
        NoHistoryError("in the record run-0001.jsonl", "load the run from the server: mode='online'"),
        "the curves that were reported are not kept in the record run-0001.jsonl",
    ),
    (
        ArgumentError("where", "D", "one of the parameters C"),
        "--where 'D' was given; expected one of the parameters C",
    ),
    (FileNotFoundError(2, "No such file or directory", "x.html"), "x.html: No such file or directory"),
    (ServerError("it went away"), "the ClearML server: it went away"),
]


@pytest.mark.parametrize(("error", "told"), ERRORS, ids=lambda value: type(value).__name__)
def test_errors_are_told_in_words_to_type(error: Exception, told: str) -> None:
    """What is to be done is told as words of the command line."""
    assert command_message(error) == told
    assert "mode='" not in told


def test_other_errors_stay_as_they_are() -> None:
    """An error that is about the disk keeps its advice."""
    error = StoreError("/full", "no space left")
    assert command_message(error) == str(error)


def test_a_login_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed login is told by the server's name, without ClearML's whole text."""
    monkeypatch.setenv("CLEARML_API_ACCESS_KEY", "key")
    monkeypatch.setenv("CLEARML_API_HOST", "http://127.0.0.1:9")
    refused = command_message(
        LoginError("cannot log in: Failed getting token (error 401 from x): Unauthorized")
    )
    assert refused.startswith("the ClearML server http://127.0.0.1:9 refuses the credentials; check ")
    long = command_message(LoginError("cannot log in: " + "HTTPConnectionPool " * 100), offline=True)
    assert len(long) < 400
    assert long.endswith("--offline")


def test_measures_as_words() -> None:
    """A heading of a table is split into what a shell is given."""
    assert metric_arguments("accuracy[split=val]") == ["accuracy", "split=val"]
    assert metric_arguments("loss") == ["loss"]
    assert shlex.join(metric_arguments("a b[k=v w]")) == "'a b' 'k=v w'"
    assert some_distinct("abcdefgh") == "a, b, c, d, e, f and 2 more"
