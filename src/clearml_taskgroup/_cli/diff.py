"""The command `diff`, for what changed between two runs of a group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import click

from .._results.loading import load_other_run
from .._results.rows import OF
from .find_run import results_of
from .output import Command, echo, print_json
from .results import group_argument
from .tables import print_table

if TYPE_CHECKING:
    from .find_run import Mode


@click.command(
    "diff",
    cls=Command,
    short_help="Show what changed between two runs of a group.",
    epilog="Example: clearml-taskgroup diff digits/svm-sweep --run 3 --to 2",
)
@group_argument
@click.option("--to", metavar="RUN", help="The run to compare with; by default the one before.")
@click.option("--of", default="last", type=click.Choice(OF), help="Which value of each curve.")
@click.option("--code", is_flag=True, help="Also print how the uncommitted changes differ.")
def diff_command(
    group: str, run: str | None, mode: Mode | None, as_json: bool, to: str | None, of: Any, code: bool
) -> None:
    """Show what changed between two runs: configurations, values, statuses, commit and packages.

    GROUP is project/name, the id of a group, the id of a run or its first six digits, or the path of a
    run log. A cell has the value in the earlier run, the value in the run, and the difference.
    """
    results = results_of(group, run, mode)
    if to is None and results.about.run_number < 2:
        raise click.UsageError(f"{results.about} is the group's first one; --to names the other run")
    other = load_other_run(results.about, to, mode)
    found = results.diff(other, of=of)
    if as_json:
        names = {"before": found.before.run, "after": found.after.run, "of": of}
        codes = {"before": found.code_before, "after": found.code_after}
        versions = {when: one and attrs.asdict(one) for when, one in codes.items()}
        changes = {"code": versions, "code_changes": found.code_changes()}
        print_json({**names, **changes, "configurations": found.to_records()})
        return
    print_table(*found._table())
    for note in found._notes():
        echo(note)
    if code and (text := found.code_diff()):
        echo(*text.splitlines())
