"""Real ClearML processes against a loopback server."""

from __future__ import annotations

import os
import subprocess
import textwrap
from collections.abc import Mapping
from pathlib import Path

from . import warm_python
from .server import LoopbackServer

CONFIGURATION = """\
sdk.development.report_use_subprocess: false
sdk.development.default_output_uri: ""
api.http.retries.backoff_factor: 0.01
"""
"""Without the reporting process a close is fast; without the long pauses a retry is."""

CLOSED_PORT = "http://127.0.0.1:9"


def sdk_environment(server: LoopbackServer | None, home: Path) -> dict[str, str]:
    """The environment of a ClearML process that sees nothing but a server and a folder.

    Args:
        server: The server, or None for an offline process.
        home: A folder for the configuration, caches and offline sessions.
    """
    home.mkdir(parents=True, exist_ok=True)
    configuration = home / "clearml.conf"
    configuration.write_text(CONFIGURATION, encoding="utf-8")
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("CLEARML_", "TRAINS_", "PYTEST_"))
    }
    return {
        **kept,
        "HOME": str(home),
        "CLEARML_CONFIG_FILE": str(configuration),
        "CLEARML_CACHE_DIR": str(home / "cache"),
        # The SDK asks its makers' server for news: that ends at a closed port.
        "HTTPS_PROXY": CLOSED_PORT,
        "https_proxy": CLOSED_PORT,
        **(server.environment() if server else {}),
    }


def run_script(
    script: str,
    server: LoopbackServer | None,
    home: Path,
    *,
    extra: Mapping[str, str] | None = None,
    timeout: float = 120.0,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh Python process with ClearML set up for a server.

    Args:
        script: The source text; it is dedented.
        server: The server, or None for an offline process.
        home: A folder of the script's own.
        extra: More environment variables.
        timeout: Seconds after which the process is killed.
        check: Fail with the script's output unless it exits with 0.
    """
    environment = {**sdk_environment(server, home), **(extra or {})}
    path = home / "script.py"
    path.write_text(textwrap.dedent(script), encoding="utf-8")
    done = warm_python.run(path, env=environment, cwd=home, timeout=timeout)
    if check and done.returncode:
        raise AssertionError(f"the script exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done
