"""The protocol of a storage backend: what a run needs of the place that keeps tasks and events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ..errors import GroupStateError, NoHistoryError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from .._clearml.api import Transport
    from .._clearml.documents import Scalars
    from .._clearml.events import Batch, Curves
    from .._model.name_template import Name
    from .._model.specs import Ending, ForeignStatus, RunInfo, TaskSpec
    from .._model.status import Status
    from .open_tasks import OnForeignStatus
    from .shared_run import SharedRun


class Backend(Protocol):
    """Creates and ends tasks, stores their events and reads them back.

    `write` is called by one thread at a time, which holds the reporter's lock; online also by ClearML's own
    objects, for files that could not be uploaded. `heartbeat` is called by the reporter thread, all else by
    any thread.
    """

    shared: SharedRun | None = None
    """What the processes agree on that share the run; None if no other process can join it."""

    @property
    def mode(self) -> str:
        """`"online"`, `"offline"`, `"disabled"` or `"memory"`."""
        ...

    @property
    def where(self) -> str:
        """The place of the data, for messages: a server's address, a folder."""
        ...

    def create(self, run: RunInfo, specs: Sequence[TaskSpec], parent: str | None) -> list[str]:
        """Creates the tasks, started; returns their ClearML ids."""
        ...

    def check_parent(self, parent: str) -> None:
        """Checks, before tasks are created, that what the disk has of their parent is still there."""
        return

    def write(self, batch: Batch) -> None:
        """Stores events; removes from `batch` what was stored, even if it raises."""
        ...

    def set_parameters(self, task_id: str, params: Mapping[str, Any]) -> None:
        """Adds parameters, not nested, to the section `General` of a task."""
        ...

    def finish(self, endings: Sequence[Ending], timeout: float) -> dict[str, Exception]:
        """Ends all of the tasks; returns the errors of those that failed, by their ids.

        A final status that somebody else has set is left as it is, and in `adopted` from then on.
        """
        ...

    def look_up(self, endings: Sequence[Ending], timeout: float) -> None:
        """Looks for final statuses that somebody else has set, for `adopted` and `archived`."""
        return

    @property
    def adopted(self) -> Mapping[str, ForeignStatus]:
        """The final statuses that a person or another client has set, by ClearML task id."""
        return {}

    @property
    def archived(self) -> Collection[str]:
        """The ClearML ids of tasks that a person has archived."""
        return ()

    def adopt(self, found: Mapping[str, ForeignStatus], consequence: str = "") -> None:
        """Keeps final statuses that somebody else has set, and logs them with what follows from them."""
        return

    def watch(self, ids: Collection[str], on_foreign_status: OnForeignStatus) -> None:
        """Looks regularly for final statuses that somebody else gives open tasks, where a server has them.

        Args:
            ids: Further tasks to look at beside those that this process has open; may be changed later.
            on_foreign_status: Called with what is found, from another thread; again and again while it is so.
        """
        return

    def flush(self, timeout: float) -> bool:
        """Waits until everything that was written has been delivered; returns whether it has."""
        return True

    def wait_for_disk(self, timeout: float) -> bool:
        """Waits until what ended tasks have written is on the disk itself; returns whether it is."""
        return True

    def read_curves(self, wanted: Mapping[str, Sequence[Name]]) -> dict[str, Curves]:
        """Reads data points back, in the order of their arrival.

        Args:
            wanted: For each ClearML task id, titles and series, including those of single values.

        Returns:
            For each ClearML task id, the data points of each title and series.
        """
        raise NoHistoryError(f"in the mode {self.mode!r}", "report them in another mode")

    def read_script(self, task_id: str) -> Mapping[str, Any]:
        """Reads a task's section `script`: commit, uncommitted changes, packages; empty if unknown."""
        if self.transport is None:
            return {}
        from .._clearml.queries import script_of

        return script_of(self.transport, task_id)

    def annotate(self, task_id: str, section: Mapping[str, str], runtime: Mapping[str, str]) -> None:
        """Stores with a task what its events do not say; at the latest when the task ends.

        Args:
            task_id: The ClearML task's id.
            section: Entries of the section `TaskGroup`.
            runtime: Entries of `runtime`, where a server keeps one.
        """
        return

    def add_script(self, script: Mapping[str, Any]) -> None:
        """Adds the script to the tasks that were created before it was known."""
        return

    def flush_clearml_task(self, task_id: str, timeout: float) -> None:
        """Waits until what ClearML's own object of a task has logged is stored, if it was opened."""
        return

    def undelivered(self) -> dict[str, int]:
        """Counts the events that were written but not delivered, per ClearML task."""
        return {}

    def delivery_remedy(self) -> tuple[str, str]:
        """Where undelivered events wait, and the command that delivers them; empty if they do not wait."""
        return "", ""

    def delivery_problem(self) -> Exception | None:
        """Why events are not being delivered at the moment, if that is known."""
        return None

    def delivery_errors(self) -> list[Exception]:
        """One error for each task of which events were refused for good; asked when the run ends."""
        return []

    def reopen(self, ids: Sequence[str]) -> None:
        """Starts tasks of an earlier attempt again."""
        return

    def reopen_completed(self, task_id: str) -> str:
        """Starts a completed task again; returns why it cannot be started, empty if it was."""
        self.reopen([task_id])
        return ""

    def wait_for_uploads(self, task_id: str, timeout: float) -> None:
        """Waits for the uploads of ClearML's own object of a task, and forgets the object."""
        return

    def share_outbox(self) -> str | None:
        """Lets worker processes write to the outbox, too; returns its path, None without an outbox."""
        return None

    def heartbeat(self) -> None:
        """Called regularly by the reporter thread while the run is open."""
        self.keep_alive()

    def keep_alive(self) -> None:
        """Starts tasks that still have to be started; shows that silent ones, and this process, are alive."""
        if self.shared is not None:
            self.shared.beat()

    def after_fork(self) -> None:
        """Called in a forked child, which must not use the parent's locks and threads."""
        return

    def clearml_task(self, task_id: str) -> Any:
        """Opens ClearML's own object of a task."""
        ...

    def url(self, task_id: str) -> str | None:
        """The address at which a person can look at a task."""
        return None

    def compare_urls(self, ids: Sequence[str]) -> list[str]:
        """The addresses of the pages that compare tasks."""
        return []

    def table_url(self, run: str, parent: str | None, is_own: bool) -> str | None:
        """The address of the table of a run's tasks, without columns; see `pages.run_table_url`."""
        return None

    def close(self) -> None:
        """Closes files and connections; the run has ended."""
        return

    @property
    def transport(self) -> Transport | None:
        """The calls to the API server that holds the tasks; None where no server does."""
        return None

    def remember_name(self, task_id: str, name: str) -> None:
        """Notes a task's name, for error messages."""
        return

    def read_scalars(self, ids: Sequence[str], timeout: float) -> dict[str, Scalars]:
        """Reads what tasks logged, for metrics that no living process has counted.

        Args:
            ids: ClearML task ids.
            timeout: Seconds that a server may take; with 0 it is not asked.

        Returns:
            Names and statistics by task id; tasks that are not kept are missing. If a server cannot be
            asked, only what is undelivered.
        """
        return {}

    # --- queues --------------------------------------------------------------------------------

    def draft(
        self, run: RunInfo, specs: Sequence[TaskSpec], parent: str | None, like: Mapping[str, Any]
    ) -> list[str]:
        """Creates tasks for a queue, not started, and gives their ClearML ids.

        Args:
            run: The run.
            specs: The tasks.
            parent: The id of the run's parent.
            like: Sections of the script's own task that the tasks get too.
        """
        raise GroupStateError(
            run.name, f"is in the mode {self.mode!r}, which has no queues", "leave queue= out, or work online"
        )

    def set_status(self, task_id: str, status: Status) -> None:
        """Sets the status that a queue gives a task, where no server does."""
        return
