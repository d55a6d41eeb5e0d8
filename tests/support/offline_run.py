"""Help for tests of upload: an offline run with all that a session can hold, and what must arrive."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import attrs
import pytest

from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._storage import run_log
from clearml_taskgroup._storage import upload as _upload
from clearml_taskgroup._storage.upload_session import Journal
from tests.loopback import LoopbackServer
from tests.loopback.harness import run_script
from tests.support.runs import originals

SCRIPT = """
import os, sys
import numpy as np
from clearml import OutputModel
from clearml_taskgroup import TaskGroup

group = TaskGroup(
    "the project/below", "the group", mode="offline", provenance=False, tags=["all"],
    template="{{metric}}/{{task_id}} {{split=value}}",
).open()
pixels = np.zeros((4, 4, 3), dtype=np.uint8)
for seed in range({tasks}):
    task = group.task({{"seed": seed, "net": {{"depth": 2}}}}, tags=["one"])
    for step in range(3):
        task.report({{"loss": float(seed + step)}}, step)
    task.report({{"final": 7.0}}, split="test")
    task.logger.report_text(f"hello from {{seed}}")
    task.metric("sample").report_image(iteration=1, image=pixels)
    task.metric("confusion").report_confusion_matrix(iteration=0, matrix=np.eye(2))
    storage = task.clearml_task._get_default_report_storage_uri()
    task.clearml_task._reporter.report_image_plot_and_upload(  # as for figures of matplotlib's
        "figure", "embedded", iter=2, matrix=pixels, upload_uri=storage
    )
    task.clearml_task.upload_artifact("a dict", {{"seed": seed}})
    with open("notes.txt", "w") as file:
        file.write(f"notes of {{seed}}")
    task.clearml_task.upload_artifact("file", "notes.txt", wait_on_upload=True)
    task.logger.report_media("media", "words", 1, local_path="notes.txt")
    model = OutputModel(task=task.clearml_task, name=f"model {{seed}}", label_enumeration={{"a": seed}})
    model.report_scalar("own", "curve", value=seed, iteration=1)
    model.update_weights("notes.txt", auto_delete_file=False)
    task.set_parameters({{"late": seed}})
    if seed == 1:
        task.mark_failed("out of memory")
    elif seed == 2:
        task.mark_stopped("pruned")
    else:
        task.mark_completed()
group.close()
"""
STATUSES = {1: ("failed", "out of memory"), 2: ("stopped", "pruned")}


@attrs.frozen
class OfflineRun:
    """An offline run below a cache folder.

    Attributes:
        tasks: How many tasks it has, with the seeds from 0 on.
    """

    cache: Path
    tasks: int

    @classmethod
    def make(cls, home: Path, tasks: int) -> OfflineRun:
        """Makes it in a process of its own."""
        run_script(SCRIPT.format(tasks=tasks), None, home)
        return cls(home / "cache", tasks)

    def copy(self, cache: Path) -> OfflineRun:
        """Copies it, as to another disk."""
        shutil.copytree(self.cache, cache)
        return OfflineRun(cache, self.tasks)

    @property
    def record(self) -> Path:
        """The run's record."""
        (path,) = self.cache.glob("taskgroup/*/run-*.jsonl")
        return path

    def check(self, server: LoopbackServer) -> None:
        """Checks that all of it is on a server, once."""
        (parent,) = originals(server, "parent")
        assert (parent["status"], parent["type"], parent["name"]) == ("completed", "controller", "the group")
        docs = originals(server)
        assert len(docs) == self.tasks
        assert len(server.tasks) == self.tasks + 1
        files = server.stored_files
        for doc in docs:
            seed, task_id = int(doc["hyperparams"]["General"]["seed"]["value"]), doc["id"]
            parameters = {name: item["value"] for name, item in doc["hyperparams"]["General"].items()}
            assert parameters == {"seed": str(seed), "net/depth": "2", "late": str(seed)}
            assert (doc["parent"], sorted(doc["tags"])) == (parent["id"], ["all", "one"])
            assert server.projects[doc["project"]]["name"] == "the project/below"
            assert doc["name"] == f"the group net/depth=2,seed={seed}"
            assert (doc["status"], doc["status_reason"]) == STATUSES.get(seed, ("completed", ""))
            assert server.scalars(task_id) == {
                ("loss", f"{task_id} value"): [(step, float(seed + step)) for step in range(3)],
                ("Summary", f"final/{task_id} test"): [(-(2**31), 7.0)],
            }
            # A server has no way to take a console line only once: a repetition may show it again.
            assert set(server.logs(task_id)) == {f"hello from {seed}"}
            artifacts = {artifact["key"]: artifact["uri"] for artifact in doc["execution"]["artifacts"]}
            assert sorted(artifacts) == ["a dict", "file"]
            assert json.loads(files[_path(artifacts["a dict"], server)].content) == {"seed": seed}
            assert files[_path(artifacts["file"], server)].content == f"notes of {seed}".encode()
            (listed,) = doc["models"]["output"]
            model = server.models[listed["model"]]
            assert (listed["name"], model["name"], model["task"]) == ("notes", f"model {seed}", task_id)
            assert (model["labels"], model["comment"]) == ({"a": seed}, f"Created by task id: {task_id}")
            assert files[_path(model["uri"], server)].content == f"notes of {seed}".encode()
            assert server.scalars(model["id"]) == {("own", "curve"): [(1, float(seed))]}
            (media,) = [image for image in server.images(task_id) if image["metric"] == "media"]
            assert files[_path(media["url"], server)].content == f"notes of {seed}".encode()
            (sample,) = [image for image in server.images(task_id) if image["metric"] == "sample"]
            assert (sample["variant"], sample["iter"]) == (f"{task_id} value", 1)
            assert files[_path(sample["url"], server)].content[:2] == b"\xff\xd8"
            plots = {plot["metric"]: plot for plot in server.plots(task_id)}
            assert sorted(plots) == ["confusion", "figure"]
            assert plots["confusion"]["variant"] == f"{task_id} value"
            (image,) = json.loads(plots["figure"]["plot_str"])["layout"]["images"]
            assert _path(image["source"], server) in files
            stored = [doc, model, server.images(task_id), server.plots(task_id)]
            assert "offline-" not in json.dumps(stored)
        assert len(server.models) == self.tasks


def _path(url: str, server: LoopbackServer) -> str:
    assert url.startswith(server.files_url)
    return unquote(urlparse(url).path).strip("/")


class Killed(BaseException):
    """Ends an upload at once, as nothing catches it."""


@attrs.define
class Steps:
    """Counts the steps of an upload that change something, here or there, and ends it before one.

    Attributes:
        at: The step, from 1, before which the upload ends; 0 for none.
        end: What ends it.
    """

    at: int = 0
    end: Callable[[], None] | None = None
    taken: int = 0

    def _before(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            self.taken += 1
            if self.taken == self.at:
                if self.end is not None:
                    self.end()
                raise Killed
            return real(*args, **kwargs)

        return step

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Counts all requests, file uploads and notes on disk inside."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Transport, "_post", self._before(Transport._post))
            patch.setattr(sdk, "upload_file", self._before(sdk.upload_file))
            patch.setattr(_upload, "append", self._before(run_log.append))
            patch.setattr(Journal, "add", self._before(Journal.add))
            yield
