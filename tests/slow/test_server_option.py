"""`pytest --server`: the online tests against a server in another process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loopback import LoopbackServer

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def test_the_online_tests_need_only_the_servers_api() -> None:
    """They look at the server through its API, as at a real one."""
    with LoopbackServer() as server:
        files = ["storage/test_online.py", "clearml/test_curves.py", "reports/test_summary.py"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--server", "-p", "no:cacheprovider"]
            + [str(ROOT / "tests" / file) for file in files],
            cwd=ROOT,
            env={**os.environ, **server.environment()},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert server.violations == []
        assert server.crashes == []
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
