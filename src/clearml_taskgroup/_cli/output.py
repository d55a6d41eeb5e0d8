"""What all commands share: JSON output, one-line errors, common options, times as text."""

from __future__ import annotations

import io
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from .._results.export import jsonable
from .._text import printable
from ..errors import TaskGroupError
from .error_text import command_message

MAX_LINES = 10
"""The most lines of a list, such as the files that are to be deleted."""
EXIT_INTERRUPTED = 130
"""The exit code after Ctrl-C, as in shells."""


class Failure(click.ClickException):
    """An error that prints one line on stderr and exits with 1."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class Command(click.Command):
    """A command that prints each error as one line."""

    failure = Failure

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # as in `… | head`; click handles it
            raise
        except KeyboardInterrupt:
            click.echo("\ninterrupted", err=True)
            ctx.exit(EXIT_INTERRUPTED)
        except Failure as failure:
            raise self.failure(failure.message) from None
        except (TaskGroupError, OSError) as error:
            raise self.failure(command_message(error, offline="mode" in ctx.params)) from None


class Commands(click.Group):
    """The group of commands; with `--json` an error is also printed to stdout, as JSON."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Runs the command line."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # a terminal may lack some characters
        return super().main(*args, **options)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses the name of the command."""
        ctx.meta[ARGUMENTS_KEY] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the chosen command."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            error.message = printable(error.message)  # type: ignore[misc]
            if "--json" in ctx.meta[ARGUMENTS_KEY]:
                print_json({"error": error.format_message()})
            raise


ARGUMENTS_KEY = f"{__name__}.arguments"
"""The key of the command line's arguments in `click.Context.meta`."""


def parse_pair(text: str) -> tuple[str, str]:
    """The click type of `field=value` arguments."""
    field, equals, value = text.partition("=")
    if not field or not equals:
        raise click.BadParameter(f"{text!r} is not of the form field=value, as split=val")
    return field, value


Function = Callable[..., Any]


def json_option(function: Function) -> Function:
    """Adds `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print only JSON.")(function)


def parse_since(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """The click callback of a date, a time, `7d` or `12h` ago; returns seconds since 1970."""
    if text is None:
        return None
    if re.fullmatch(r"\d{1,5}[dh]", text):
        return time.time() - {"d": 86_400, "h": 3_600}[text[-1]] * int(text[:-1])
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is not a date (2026-11-23), a time (2026-11-23T09:00), or a number of days (7d) or "
            "hours (12h)"
        ) from None


def run_option(function: Function) -> Function:
    """Adds `--run`."""
    text = "The run's number, its id, or the text of run=; by default the latest."
    return click.option("--run", metavar="RUN", help=text)(function)


def mode_options(function: Function) -> Function:
    """Adds `--online` and `--offline`."""
    online = click.option("--online", "mode", flag_value="online", help="Use the server only.")
    offline = click.option(
        "--offline",
        "mode",
        flag_value="offline",
        help="Use the run logs on this disk only. Without either: ClearML's setting, then this disk.",
    )
    return online(offline(function))


def echo(*lines: str, err: bool = False) -> None:
    """Prints lines; what names in them would do to a terminal is shown as text."""
    click.echo("\n".join(map(printable, lines)), err=err)


def echo_first(lines: Sequence[str], rest: str = "", *, most: int = MAX_LINES) -> None:
    """Prints the first lines, indented, and how many more there are; `rest` says where."""
    for line in lines[:most]:
        echo(f"  {line}")
    if len(lines) > most:
        echo(f"  … and {len(lines) - most:,} more{rest}")


def confirm(question: str, without: str) -> None:
    """Asks, and aborts unless the answer is yes.

    Args:
        question: The question.
        without: The option that answers it.

    Raises:
        Failure: Standard input is closed.
    """
    try:
        click.confirm(question, abort=True)
    except click.Abort as abort:
        if isinstance(abort.__context__, EOFError):
            raise Failure(f"no answer on stdin; go on without a question with {without}") from None
        raise


def print_json(value: Any) -> None:
    click.echo(json.dumps(jsonable(value), indent=2))


def local_time(seconds: float | None) -> str:
    """Returns a time as text, in local time."""
    return "–" if seconds is None else datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def utc_time(seconds: float | None) -> str | None:
    """Returns a time in ISO format, in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
