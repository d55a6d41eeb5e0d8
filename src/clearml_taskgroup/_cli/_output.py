"""What commands print: tables, JSON, one line for an error; the options that they share."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .._tabular import jsonable, text_table
from ..errors import TaskGroupError

GAP = 2
NARROWEST = (12, 10, 8)
"""How far columns may be folded before the table is taken apart instead; the first one to 12."""


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
        except (TaskGroupError, OSError) as error:
            raise self.failure(str(error)) from None


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


def print_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    """Prints a table; on a terminal folded to its width, elsewhere as it is, a line for each row.

    A table with too many columns for a terminal is taken apart, each part with the first column.
    """
    console = Console()
    if not console.is_terminal:
        click.echo(text_table(head, body, most=None))
        return
    widths = [max(len(line[column]) for line in [head, *body]) for column in range(len(head))]
    narrowest, parts = _parts(widths, console.width)
    for columns in parts:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, GAP, 0, 0), show_edge=False)
        for column in columns:
            least = min(widths[column], NARROWEST[0] if column == 0 else narrowest)
            table.add_column(Text(head[column]), overflow="fold", min_width=least)
        for line in body:
            table.add_row(*(Text(line[column]) for column in columns))
        console.print(table)


def _parts(widths: Sequence[int], room: int) -> tuple[int, list[list[int]]]:
    """Finds how narrow columns have to be to stand side by side, and which do, as far as they can."""
    for narrowest in NARROWEST:
        needed = [min(width, narrowest) + GAP for width in widths]
        if min(widths[0], NARROWEST[0]) + GAP + sum(needed[1:]) <= room:
            return narrowest, [list(range(len(widths)))]
    first = min(widths[0], NARROWEST[0]) + GAP
    parts, used = [[0]], first
    for column, width in enumerate(widths[1:], 1):
        needed_here = min(width, NARROWEST[0]) + GAP
        if used + needed_here > room and len(parts[-1]) > 1:
            parts.append([0])
            used = first
        parts[-1].append(column)
        used += needed_here
    return NARROWEST[0], parts


def when(seconds: float | None) -> str:
    """Writes a moment for people, in local time."""
    return "–" if seconds is None else datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def iso(seconds: float | None) -> str | None:
    """Writes a moment for programs, in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
