"""ClearML's objects in forked children of a process that has used them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loopback import LoopbackServer
from tests.loopback.harness import run_script

SCRIPT = """
import os
from clearml_taskgroup import TaskGroup

def use(task):
    task.logger.report_text("hello")
    task.logger.report_media("media", "text", 1, local_path="sample.txt")
    task.clearml_task.upload_artifact("answer", {"x": task.params["n"]})
    return os.getpid()

open("sample.txt", "w").write("a sample")
with TaskGroup("the project", "the group", mode=os.environ["MODE"], provenance=False) as group:
    use(group.task({"n": -1}))
    children = group.map(use, {"n": range(6)}, workers=2)
    assert [child.error for child in children] == [None] * 6
    assert os.getpid() not in [child.value for child in children]
"""


@pytest.mark.parametrize("mode", ["offline", "online"])
@pytest.mark.quick(1)
def test_workers_upload_after_their_parent_has(loopback: LoopbackServer, tmp_path: Path, mode: str) -> None:
    """They neither wait for threads of their parent's nor send on its connections."""
    run_script(SCRIPT, loopback, tmp_path, extra={"MODE": mode})
    if mode == "online":
        members = [doc for doc in loopback.tasks.values() if doc["name"].startswith("the group n=")]
        assert [len(doc["execution"]["artifacts"]) for doc in members] == [1] * 7
        assert [len(loopback.images(doc["id"])) for doc in members] == [1] * 7
        assert ["".join(loopback.logs(doc["id"])) for doc in members] == ["hello"] * 7
