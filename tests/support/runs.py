"""Help for tests of resume and upload: groups whose process dies, and what is left of them."""

from __future__ import annotations

import os
from typing import Any

import attrs

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._clearml.queries import identity_of, is_original
from clearml_taskgroup._clearml.sdk import cache_folder
from clearml_taskgroup._model.specs import ForeignStatus
from clearml_taskgroup._run import abort
from clearml_taskgroup._run.run import Run
from clearml_taskgroup._storage.online import OnlineBackend
from clearml_taskgroup._storage.past_runs import all_runs
from clearml_taskgroup._storage.run_log import iterate
from tests.loopback import LoopbackServer
from tests.loopback.state import Doc

PROJECT, NAME = "the project", "the group"
Attempt = tuple[str, int, str]
"""A task's name, which attempt it is, and its status, `abandoned` where nothing tells of its end."""


def kill(group: TaskGroup) -> None:
    """Has a group's process die: what it had handed over stays, its end is told to nobody.

    As after a SIGKILL, files stay as they are and the operating system lets go of the locks.
    """
    run = group._run
    assert run is not None
    group._finalizer.detach()
    for hook in run.after_close:
        hook()
    run.reporter.stop(10)
    run.closed = True
    if isinstance(run.backend, OnlineBackend):
        run.backend.transport.close()
        sender = run.backend.sender
        if sender is not None:
            sender.stop(10)
            for file in (sender.outbox._file, sender.outbox._sent_file):
                os.close(file)
            sender.outbox._file = sender.outbox._sent_file = -1
    if run.run_log is not None:
        run.run_log.after_fork()


@attrs.frozen
class Place:
    """A mode of the same group, and what is where in it.

    Attributes:
        server: The loopback server; None offline.
    """

    server: LoopbackServer | None = None

    @property
    def mode(self) -> Any:
        """The group's mode."""
        return "offline" if self.server is None else "online"

    def group(self, **options: Any) -> TaskGroup:
        """Makes the group."""
        name = options.pop("name", NAME)
        return TaskGroup(PROJECT, name, mode=self.mode, provenance=False, **options)

    def open(self, **options: Any) -> TaskGroup:
        """Opens a run of the group."""
        return self.group(**options).open()

    def resume(self, **options: Any) -> TaskGroup:
        """Makes the group that goes on with the latest run."""
        return self.group(resume=True, **options)

    def attempts(self) -> list[Attempt]:
        """All attempts at all tasks, sorted."""
        if self.server is not None:
            docs = originals(self.server)
            told = [(identity_of(doc), doc["status"]) for doc in docs]
            return sorted((one["name"], int(one["attempt"]), status) for one, status in told)
        tasks = [task for past in all_runs(cache_folder() / "taskgroup") for task in past.tasks.values()]
        return sorted((task.name, task.attempt, task.status or "abandoned") for task in tasks)


def originals(server: LoopbackServer, kind: str = "task") -> list[Doc]:
    """The tasks (or parents) that groups have made on a server, oldest first."""
    return [doc for doc in server.tasks.values() if is_original(doc) and identity_of(doc)["kind"] == kind]


def stop(*tasks: GroupTask, reason: str = "by hand") -> None:
    """Somebody stops tasks on the server, and the heartbeat finds it."""
    for task in tasks:
        abort.take(task._run, {task.id: ForeignStatus("stopped", reason, "stopped")})


def be_a_child(run: Run) -> None:
    """Makes a run take this process for a forked child."""
    run.pid = os.getpid() + 1


def lines_after(run: Run, first: int = 2) -> list[dict[str, Any]]:
    """The lines of the run log after those of the run and the task."""
    assert run.run_log is not None
    return list(iterate(run.run_log.path))[first:]


def only(docs: list[Doc]) -> Doc:
    """The only one."""
    (doc,) = docs
    return doc


def curve(*values: float) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """The points of `loss`, from iteration 0."""
    return {("loss", "value"): list(enumerate(values))}
