"""Runs a script in a fresh Python process, for ClearML's switches are one-way and process-wide."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from tests.loopback import warm_python

MARK = "RESULT "
PRELUDE = f"""
import json, os, sys, threading, warnings
from pathlib import Path

def give(result):
    print("\\n{MARK}" + json.dumps(result), flush=True)

def session(task):
    return Path(task.url.removeprefix("file://"))

def told(path):
    return [event for line in path.read_text().splitlines() for event in json.loads(line)]
"""
"""What every script may use: `give(result)` hands a result back to the test."""
TROUBLE = re.compile(r"^.* - (?:WARNING|ERROR|CRITICAL) - .*$|^Traceback.*$", re.MULTILINE)
HARMLESS = ("GPU stats",)
"""What ClearML warns of on a machine like a test runner, whatever is tested."""


@attrs.frozen
class Finished:
    """How a script ended.

    Attributes:
        code: The exit code.
        out: What it wrote to standard output.
        err: What it wrote to standard error.
    """

    code: int
    out: str
    err: str

    @property
    def result(self) -> Any:
        """What the script gave last.

        Raises:
            AssertionError: It failed, or gave nothing.
        """
        found = [line for line in self.out.splitlines() if line.startswith(MARK)]
        assert self.code == 0, f"exit code {self.code}\n{self.out}\n{self.err}"
        assert found, f"the script gave no result\n{self.out}\n{self.err}"
        return json.loads(found[-1].removeprefix(MARK))

    @property
    def trouble(self) -> list[str]:
        """The warnings and errors that ClearML logged, and tracebacks."""
        lines = TROUBLE.findall(self.out + "\n" + self.err)
        return [line for line in lines if not any(known in line for known in HARMLESS)]


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Makes the variables of a process whose ClearML knows no server and keeps all below `home`."""
    config = home / "clearml.conf"
    if not config.exists():
        config.write_text("sdk.development.report_use_subprocess: false\n")
    # Without PYTHONPATH a script may import another copy of the library than the one under test.
    names = ("PATH", "PYTHONPATH", "LANG", "SYSTEMROOT")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {
        **kept,
        "HOME": str(home),
        "CLEARML_CACHE_DIR": str(home / "cache"),
        "CLEARML_CONFIG_FILE": str(config),
        "CLEARML_SUPPRESS_UPDATE_MESSAGE": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
        "PYTHONIOENCODING": "utf-8",
        **(more or {}),
    }


def run(
    script: str,
    home: Path,
    *,
    env: Mapping[str, str] | None = None,
    file: Path | None = None,
    cwd: Path | None = None,
    prelude: bool = True,
    timeout: float = 120.0,
) -> Finished:
    """Runs a script from a file of its own.

    Args:
        script: Its source, indented as the test likes it.
        home: A folder for `HOME`, the cache and `clearml.conf`.
        env: More variables.
        file: Where the script is to lie; else below `home`.
        cwd: The working directory; else the script's folder.
        prelude: Whether the script begins with `PRELUDE`.
        timeout: Seconds after which the test fails.
    """
    file = file or home / "script.py"
    file.write_text((PRELUDE if prelude else "") + textwrap.dedent(script))
    done = warm_python.run(file, env=environment(home, env), cwd=cwd or file.parent, timeout=timeout)
    return Finished(done.returncode, done.stdout, done.stderr)


def start(
    arguments: Sequence[str],
    home: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
    timeout: float = 120.0,
    new_session: bool = False,
) -> Finished:
    """Runs Python with arguments, text for its standard input, and waits for its end."""
    done = subprocess.run(
        [sys.executable, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=environment(home, env),
        cwd=cwd or home,
        timeout=timeout,
        check=False,
        start_new_session=new_session,
    )
    return Finished(done.returncode, done.stdout, done.stderr)
