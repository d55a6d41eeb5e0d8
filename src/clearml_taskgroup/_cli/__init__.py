"""The command `clearml-taskgroup`; see its `--help`."""

from __future__ import annotations

import sys

try:
    import click
    import rich  # noqa: F401 - a missing rich is reported here, before the commands are defined
except ImportError:
    sys.exit("clearml-taskgroup: the command needs the extra 'cli': pip install 'clearml-taskgroup[cli]'")

from .diff import diff_command
from .discard import discard
from .drift import drift_command
from .output import Commands
from .results import best, compare_command, list_command, report, show
from .upload import pending, upload_command


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: clearml-taskgroup best digits/svm-sweep accuracy split=val",
)
@click.version_option(package_name="clearml-taskgroup")
def main() -> None:
    """Show the groups of ClearML tasks that a TaskGroup created, and the metrics of any project.

    Exit codes: 0, success; 1, something was not found, or failed; 2, wrong usage. `drift` exits with 1 if it
    found drift, and with 2 for every error.
    """


for command in (
    list_command,
    show,
    best,
    compare_command,
    diff_command,
    report,
    drift_command,
    pending,
    upload_command,
    discard,
):
    main.add_command(command)
