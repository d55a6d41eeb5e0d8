"""The package's log lines: on stderr by default, in the user's own logging otherwise."""

from __future__ import annotations

import subprocess
import sys

import pytest

LINE = "import logging, sys\n{setup}\nfrom clearml_taskgroup._log import logger\nlogger.info('a line')\n"


@pytest.mark.parametrize(
    ("setup", "stderr"),
    [
        ("", "ClearML TaskGroup: a line\n"),
        ("logging.basicConfig(level='INFO', format='%(name)s %(message)s')", "clearml_taskgroup a line\n"),
        ("logging.basicConfig(level='INFO', handlers=[logging.NullHandler()])", ""),
        ("logging.getLogger('clearml_taskgroup').addHandler(logging.NullHandler())", ""),
        ("logging.getLogger('clearml_taskgroup').setLevel('WARNING')", ""),
        ("sys.stderr = None", ""),
    ],
)
def test_who_writes_a_line(setup: str, stderr: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LINE.format(setup=setup)], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", stderr)
