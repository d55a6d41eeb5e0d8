"""The package's log lines: on stderr by default, in the user's own logging otherwise."""

from __future__ import annotations

import subprocess
import sys

import pytest

from clearml_taskgroup._log import logger

LINE = "import sys\n{setup}\nfrom clearml_taskgroup._log import logger\nlogger.info('a line')\n"


def test_a_line_stays_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Names and reasons come from records and servers, too: nothing in them reaches the terminal."""
    logger.warning("%s failed: %s", "C=\x1b[31m", ValueError("a\nClearML TaskGroup: \u202eforged"))
    logger.info("100%")
    assert caplog.messages == ["C=\\x1b[31m failed: a\\nClearML TaskGroup: \\u202eforged", "100%"]


@pytest.mark.parametrize(
    ("setup", "stderr"),
    [
        ("assert 'logging' not in sys.modules", "ClearML TaskGroup: a line\n"),
        ("import logging", "ClearML TaskGroup: a line\n"),
        (
            "import logging; logging.basicConfig(level='INFO', format='%(name)s %(message)s')",
            "clearml_taskgroup a line\n",
        ),
        ("import logging; logging.basicConfig(level='INFO', handlers=[logging.NullHandler()])", ""),
        ("import logging; logging.getLogger('clearml_taskgroup').addHandler(logging.NullHandler())", ""),
        ("import logging; logging.getLogger('clearml_taskgroup').setLevel('WARNING')", ""),
        ("sys.stderr = None", ""),
    ],
)
def test_who_writes_a_line(setup: str, stderr: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LINE.format(setup=setup)], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", stderr)
