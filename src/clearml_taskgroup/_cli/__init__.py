"""The command `clearml-taskgroup`; see its `--help`."""

from __future__ import annotations

import sys

try:
    import click
    import rich  # noqa: F401 - told here, before any command is made
except ImportError:
    sys.exit("clearml-taskgroup: the command needs the extra 'cli': pip install 'clearml-taskgroup[cli]'")

from .drift import drift_command
from .output import Commands
from .results import best, list_command, report, show
from .upload import discard, pending, upload_command


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: clearml-taskgroup best digits/svm-sweep accuracy split=val",
)
@click.version_option(package_name="clearml-taskgroup")
def main() -> None:
    """Look at the groups of ClearML tasks that a TaskGroup made, and at the metrics of any project.

    Exit codes: 0, all is well; 1, what was asked for is not there, or failed; 2, the command was not
    understood. `drift` has 1 for drift that it found, and 2 for everything that kept it from looking.
    """


for command in (list_command, show, best, report, drift_command, pending, upload_command, discard):
    main.add_command(command)
