"""What commands print: JSON, one line for an error; the options that they share."""

from __future__ import annotations

import codecs
import io
import json
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click

from .._results.export import jsonable
from ..errors import TaskGroupError
from .error_text import plainly

INTERRUPTED = 130
"""The exit code after Ctrl-C, as of shells."""
ASCII = "clearml-taskgroup-ascii"
"""How characters are written that a terminal does not have."""


class Failure(click.ClickException):
    """One line on stderr, and exit code 1."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class Command(click.Command):
    """A command whose errors are one line each."""

    failure = Failure

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # as in `… | head`; click knows how to end then
            raise
        except KeyboardInterrupt:
            click.echo("\ninterrupted", err=True)
            ctx.exit(INTERRUPTED)
        except Failure as failure:
            raise self.failure(failure.message) from None
        except (TaskGroupError, OSError) as error:
            raise self.failure(plainly(error, offline="mode" in ctx.params)) from None


class Commands(click.Group):
    """The commands; with `--json` an error is on stdout as well, as JSON."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Runs what the command line says."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=ASCII)
        return super().main(*args, **options)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads which command is meant."""
        ctx.meta[ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command that is meant."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            if "--json" in ctx.meta[ARGUMENTS]:
                print_json({"error": error.format_message()})
            raise


ARGUMENTS = f"{__name__}.arguments"
"""Where a context keeps what was typed behind the command's name."""
_PLAIN = {"±": "+-", "–": "-", "…": "...", "·": "|", "“": '"', "”": '"', "’": "'"}


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Writes what a terminal's encoding does not have in another way."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter, "?") for letter in text), error.end


codecs.register_error(ASCII, _in_ascii)


def pair(text: str) -> tuple[str, str]:
    """Reads `field=value`, as the type of a click parameter."""
    field, equals, value = text.partition("=")
    if not field or not equals:
        raise click.BadParameter(f"{text!r} is not of the form field=value, as split=val")
    return field, value


Function = Callable[..., Any]


def json_option(function: Function) -> Function:
    """Adds `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")(function)


def since(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """Reads a date, a moment or `7d`, days before now; gives seconds since 1970. A callback of click."""
    if text is None:
        return None
    if re.fullmatch(r"\d{1,5}d", text):
        return time.time() - 86_400 * int(text[:-1])
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no date (2026-11-23), no moment (2026-11-23T09:00) and no number of days (7d)"
        ) from None


def run_option(function: Function) -> Function:
    """Adds `--run`."""
    return click.option("--run", metavar="N", help="The run's number, or its id; by default the latest.")(
        function
    )


def mode_options(function: Function) -> Function:
    """Adds `--online` and `--offline`."""
    online = click.option("--online", "mode", flag_value="online", help="Look on the server alone.")
    offline = click.option(
        "--offline",
        "mode",
        flag_value="offline",
        help="Look at the records on this disk alone. Without either, where ClearML is set to, then on "
        "this disk.",
    )
    return online(offline(function))


def print_json(value: Any) -> None:
    """Prints JSON."""
    click.echo(json.dumps(jsonable(value), indent=2))


def when(seconds: float | None) -> str:
    """Writes a moment for people, in local time."""
    return "–" if seconds is None else datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def iso(seconds: float | None) -> str | None:
    """Writes a moment for programs, in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
