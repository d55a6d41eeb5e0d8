"""Where tasks and events live: the protocol that a group needs of a store, and its vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ..errors import NoHistoryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._clearml.documents import Scalars
    from .._clearml.events import Batch, Point
    from .._model.name_template import Name
    from .._model.specs import Ending, RunInfo, TaskSpec


class Backend(Protocol):
    """What a group needs of the place where its tasks and events live.

    `write` is called by the group's reporter thread alone (after a fork, by the child's own
    reports); everything else by the threads of the user.
    """

    @property
    def mode(self) -> str:
        """`"online"`, `"offline"`, `"disabled"` or `"memory"`."""
        ...

    @property
    def where(self) -> str:
        """Where the data goes, for people."""
        ...

    def create(self, run: RunInfo, specs: Sequence[TaskSpec], parent: str | None) -> list[str]:
        """Creates the tasks, started, and gives their ClearML ids."""
        ...

    def write(self, batch: Batch) -> None:
        """Delivers events, taking out of `batch` what was delivered, also when it raises."""
        ...

    def set_parameters(self, task_id: str, params: Mapping[str, Any]) -> None:
        """Adds parameters, on one level, to the section `General` of a task."""
        ...

    def finish(self, endings: Sequence[Ending], timeout: float) -> list[Exception]:
        """Ends tasks; goes through all of them and gives what went wrong."""
        ...

    def flush(self, timeout: float) -> bool:
        """Waits until all that was written is where it belongs; tells whether it is."""
        return True

    def history(self, wanted: Mapping[str, Sequence[Name]]) -> dict[str, list[Point]]:
        """Reads points back, in the order of their arrival.

        Args:
            wanted: For each ClearML task id, titles and series; those of single values, too.
        """
        raise NoHistoryError(f"in the mode {self.mode!r}", "report them in another mode")

    def undelivered(self) -> dict[str, int]:
        """Counts the events that were written and wait, for each ClearML task."""
        return {}

    def remedy(self) -> str:
        """What a person can do about data that was not delivered."""
        return ""

    def reopen(self, ids: Sequence[str]) -> None:
        """Starts tasks of an earlier attempt again."""
        return

    def wait_for_uploads(self, task_id: str, timeout: float) -> None:
        """Waits for what ClearML's own object of a task uploads, and lets go of it."""
        return

    def share(self) -> str | None:
        """Has other processes write to the store as well; gives where, if that is one file."""
        return None

    def refusals(self) -> list[Exception]:
        """Tells at the end which data was not taken for good, and why."""
        return []

    def trouble(self) -> Exception | None:
        """What keeps the events that wait from being delivered, as far as it is known."""
        return None

    def heartbeat(self) -> None:
        """Called by the reporter thread every now and then, while the group is open."""
        self.keep_alive()

    def keep_alive(self) -> None:
        """Starts tasks that wait for it, and shows that silent ones live."""
        return

    def after_fork(self) -> None:
        """Called in a forked child, where other threads' locks stay locked for ever."""
        return

    def clearml_task(self, task_id: str) -> Any:
        """Opens ClearML's own object for a task."""
        ...

    def url(self, task_id: str) -> str | None:
        """Where a person can look at a task."""
        return None

    def compare_urls(self, ids: Sequence[str]) -> list[str]:
        """Where a person can compare tasks."""
        return []

    def close(self) -> None:
        """Lets go of everything; the group has ended."""
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
