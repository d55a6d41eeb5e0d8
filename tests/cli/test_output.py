"""What all commands print: names of users, records and servers do nothing to a terminal."""

from __future__ import annotations

import io
import sys
import time
import unicodedata
from datetime import datetime

import click
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._cli.output import (
    Command,
    Failure,
    confirm,
    echo,
    echo_first,
    local_time,
    parse_pair,
    parse_since,
    utc_time,
)
from clearml_taskgroup.errors import StoreError
from tests.support.cli import command

ODD = "\x1b[31m\x9b2J\u202e\r\n"
"""An escape sequence, a control character of the second kind, an override of the direction, a line break."""


@pytest.fixture
def group() -> TaskGroup:
    """A run with odd names everywhere, of which a task failed with an odd reason."""
    with TaskGroup(
        f"odd{ODD}project", f"odd{ODD}group", mode="offline", provenance=False, catch=ValueError
    ) as group:
        for task in group.sweep({f"p{ODD}q": [f"v{ODD}w", 1]}):
            with task:
                task.report({f"Loss{ODD}": 1.0, f"m{ODD}": 2.0}, 1, split=f"val{ODD}")
                task.report({f"loss{ODD}" if task.index else f"Loss{ODD}": 1.0}, 1, split="val")
                if task.index:
                    raise ValueError(f"bad{ODD}value")
    return group


@pytest.mark.quick(17)
@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("list", "--project", f"odd{ODD}projec"),
        ("show", "RUN"),
        ("show", "RUN", "--over", f"p{ODD}q"),
        ("show", "RUN", "--sort", "lass", "--mode", "min"),
        ("show", "odd"),
        ("show", f"odd{ODD}project/other"),
        ("best", "RUN", f"m{ODD}", f"split=val{ODD}", "--mode", "min"),
        ("best", "RUN", f"m{ODD}", "--where", "p=1"),
        ("drift", "--group", "RUN"),
        ("drift", "--project", f"odd{ODD}projec"),
        ("pending",),
        ("report", "RUN", "-o", "report.html"),
        ("upload", "RUN"),
        ("discard", "odd"),
        ("discard", "RUN"),
        ("discard", "RUN", "--yes"),
    ],
    ids=lambda arguments: " ".join(arguments).encode("ascii", "ignore").decode().replace("\x1b", ""),
)
@pytest.mark.parametrize("is_terminal", [False, True])
def test_names_do_nothing_to_a_terminal(
    group: TaskGroup,
    arguments: tuple[str, ...],
    is_terminal: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """No command prints a control character but the end of a line, nor one that turns text."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "300")
    result = command(*(group.run if argument == "RUN" else argument for argument in arguments), answer="n\n")
    printed = result.stdout + result.stderr
    own = ("\x1b[1m", "\x1b[0m", "\x1b[3m", "\x1b[2m") if is_terminal else ()  # rich's bold headings
    for sequence in own:
        printed = printed.replace(sequence, "")
    assert {char for char in printed if unicodedata.category(char) in ("Cc", "Cf")} <= {"\n"}
    assert r"\x1b" in printed or arguments[0] == "upload"


# --- arguments and lines -------------------------------------------------------------------------


def since(text: str | None) -> float | None:
    return parse_since(click.Context(click.Command("drift")), click.Option(["--since"]), text)


def test_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some time ago, a date, or a time that is local unless it has a time zone."""
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    assert (since("2d"), since("3h"), since("0d"), since("99999h")) == (
        1_000_000.0 - 2 * 86_400,
        1_000_000.0 - 3 * 3_600,
        1_000_000.0,
        1_000_000.0 - 99_999 * 3_600,
    )
    assert since("2026-01-02T00:00:00+00:00") == 1_767_312_000.0
    assert since("2026-01-02") == datetime(2026, 1, 2).timestamp()
    assert since(None) is None


@pytest.mark.parametrize("text", ["", "d", "2w", "123456d", "2d ", "yesterday"])
def test_texts_that_are_no_times(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"is not a date \(2026-11-23\)"):
        since(text)


def test_pairs() -> None:
    assert [parse_pair(text) for text in ("a=b", "a=", "a=b=c")] == [("a", "b"), ("a", ""), ("a", "b=c")]
    for text in ("=b", "=", "ab", ""):
        with pytest.raises(click.BadParameter, match="not of the form field=value"):
            parse_pair(text)


@pytest.mark.parametrize(
    ("count", "lines"),
    [(0, []), (1, ["  0"]), (2, ["  0", "  1"]), (3, ["  0", "  1", "  … and 1 more: there"])],
)
def test_the_first_lines(count: int, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    echo_first([str(number) for number in range(count)], ": there", most=2)
    assert capsys.readouterr().out.splitlines() == lines


def test_lines_go_to_stdout_unless_they_are_errors(capsys: pytest.CaptureFixture[str]) -> None:
    echo("one", "two\n")
    echo("three", err=True)
    assert capsys.readouterr() == ("one\ntwo\\n\n", "three\n")


def test_times_as_text() -> None:
    assert (local_time(None), utc_time(None)) == ("–", None)
    assert utc_time(1_767_312_000.9) == "2026-01-02T00:00:00+00:00"
    assert local_time(datetime(2026, 1, 2, 3, 4, 59).timestamp()) == "2026-01-02 03:04"


def test_a_failure_is_one_line() -> None:
    assert (Failure("one\n  two").message, Failure("one").exit_code) == ("one two", 1)


def test_a_question_that_is_not_answered_with_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No is an abort; without an answer the message says which option answers."""
    for answer, error in (("n\n", click.Abort), ("", Failure)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        with pytest.raises(error) as caught:
            confirm("delete?", "--yes=3")
    assert str(caught.value) == "no answer on stdin; go on without a question with --yes=3"
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    confirm("delete?", "--yes=3")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError("a\nb"), "a b"),
        (StoreError("/full", "no space"), str(StoreError("/full", "no space"))),
        (Failure("c"), "c"),
    ],
)
def test_errors_are_failures(error: Exception, expected: str) -> None:
    """With the exit code of the command's own class of failures."""

    class Other(Failure):
        exit_code = 7

    class Linter(Command):
        failure = Other

    def fail() -> None:
        raise error

    for kind, code in ((Command, 1), (Linter, 7)):
        with (
            pytest.raises(Failure) as caught,
            click.Context(command_ := kind("fail", callback=fail)) as context,
        ):
            command_.invoke(context)
        assert (caught.value.message, caught.value.exit_code) == (expected, code)
