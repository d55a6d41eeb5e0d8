"""The real SDK when things go wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .faults import FaultKind
from .harness import run_script
from .server import LoopbackServer

pytestmark = pytest.mark.slow

PATIENT = """
from clearml.backend_api import Session

session = Session()
for _ in range({calls}):
    answer = session.send_request("projects", "get_all", json={{}}{method})
    assert answer.status_code == 200, answer.status_code
print("ok")
"""


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429},
        {"status": 502},
        {"status": 509},
        {"kind": FaultKind.EXPIRED},
        {"kind": FaultKind.TRUNCATE},
        {"kind": FaultKind.DELAY, "delay": 0.01},
    ],
    ids=lambda fault: str(fault.get("status") or fault["kind"].value),
)
def test_the_sdk_survives_what_it_survives_really(
    server: LoopbackServer, tmp_path: Path, fault: dict[str, Any]
) -> None:
    """Busy proxies, cut answers and expired tokens are tried again by the SDK itself."""
    server.faults.fail_next("projects.get_all", **fault)
    run_script(PATIENT.format(calls=2, method=""), server, tmp_path)
    assert server.violations == []
    assert server.count("projects.get_all") == (2 if fault.get("delay") else 3)
    assert server.count("auth.login") == (2 if fault.get("kind") is FaultKind.EXPIRED else 1)


def test_a_post_is_not_tried_again_by_the_sdk(server: LoopbackServer, tmp_path: Path) -> None:
    """What the SDK does for its own GET requests, it does not do for a POST."""
    server.faults.fail_next("projects.get_all", status=502)
    script = PATIENT.format(calls=1, method=', method="post"')
    done = run_script(script, server, tmp_path, check=False)
    assert "AssertionError: 502" in done.stderr
    assert server.count("projects.get_all") == 1


def test_expired_tokens_are_renewed_by_the_sdk(server: LoopbackServer, tmp_path: Path) -> None:
    """With tokens that live for a moment only, the SDK logs in again and again."""
    # Less than what the SDK wants to be left of a token when it uses it.
    server.credentials.lifetime = 30.0
    run_script(PATIENT.format(calls=3, method=""), server, tmp_path)
    assert server.count("projects.get_all", status=200) == 3
    assert server.count("auth.login") >= 3


def test_a_failed_batch_is_dropped_by_the_sdk(server: LoopbackServer, tmp_path: Path) -> None:
    """Events that met a 500 are lost, and the task completes all the same."""
    server.faults.fail_next("events.add_batch", status=500, times=100)
    script = """
    from clearml import Task
    task = Task.create("Group", "unlucky")
    task.mark_started()
    task.get_logger().report_scalar("loss", "train", 1.0, 0)
    task.flush(wait_for_uploads=True)
    task.mark_completed()
    """
    run_script(script, server, tmp_path)
    (task,) = server.tasks_named("unlucky")
    assert task["status"] == "completed"
    assert server.scalars(task["id"]) == {}


def test_wrong_credentials_end_the_script(server: LoopbackServer, tmp_path: Path) -> None:
    """The SDK says what the server said."""
    extra = {"CLEARML_API_SECRET_KEY": "wrong"}
    script = "from clearml.backend_api import Session\nSession()"
    done = run_script(script, server, tmp_path, extra=extra, check=False)
    assert done.returncode == 1
    assert "invalid credentials" in done.stderr
    assert server.calls[0].subcode == 22


def test_a_status_call_too_many_is_swallowed_by_the_sdk(server: LoopbackServer, tmp_path: Path) -> None:
    """Completing a task that was never started is a 400 that the script never sees."""
    script = """
    from clearml import Task
    Task.create("Group", "never started").mark_completed()
    """
    run_script(script, server, tmp_path)
    (task,) = server.tasks_named("never started")
    assert task["status"] == "created"
    assert server.count("tasks.completed", status=400) == 1
