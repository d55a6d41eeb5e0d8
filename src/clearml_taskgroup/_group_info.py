"""GroupInfo: what TaskGroup tells of its tasks, its run and where its data is; earlier runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from ._clearml import sdk
from ._current import current_group
from ._model.clearml_names import Advising, group_advice
from ._model.identity import canonical_project, canonical_task_name, flatten, group_id
from ._model.parameter_json import typed_json
from ._text import shown
from .errors import ArgumentError, GroupStateError, NoCurrentTaskError, UnknownTaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from ._failure import Failure
    from ._group import TaskGroup
    from ._model.metrics import Metric
    from ._results.results import Results
    from ._run.run import Run
    from ._storage.upload import OnProgress, Uploaded
    from ._task import GroupTask


class GroupInfo(Advising):
    """What a group holds and where its data is; the base class of `TaskGroup`."""

    project: str
    name: str
    _run: Run | None
    _tasks: dict[str, GroupTask]

    def _repr_html_(self) -> str:
        from ._results.notebook import group_html

        return group_html(f"{self.project}/{self.name}", self._run)

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[GroupTask]:
        return iter(list(self._tasks.values()))

    def __bool__(self) -> bool:
        return True  # a group without tasks is still a group

    def get(
        self,
        params: Mapping[str, Any] | None = None,
        /,
        *,
        key: str | None = None,
        name: str | None = None,
        **parameters: Any,
    ) -> GroupTask:
        """Finds one task: `group.get(C=1, seed=0)`.

        With `resume`, a task of the run that was not opened again is found as well, as it ended; in a run
        that several processes share, those of the others.

        Args:
            params: Parameters as a dict, for names that are not Python identifiers.
            key: The task's key.
            name: The task's readable name.
            **parameters: Parameters, as many as are needed to identify the task.

        Raises:
            UnknownTaskError: No task matches, or more than one does.
            ArgumentError, ParameterError: An argument is of another kind.
        """
        if params is not None and not isinstance(params, Mapping):
            expected = "a dict of parameter to value; for a task by its name write get(name='baseline')"
            raise ArgumentError("params", params, expected)
        for argument, value in (("key", key), ("name", name)):
            if value is not None and not isinstance(value, str):
                raise ArgumentError(argument, value, "text")
        wanted = {**(params or {}), **parameters}
        group = cast("TaskGroup", self)
        try:
            return _find_task(list(self), wanted, key, name)
        except UnknownTaskError:
            others = group._other_tasks()
            if not others:
                raise
        task = _find_task([*self, *others], wanted, key, name)
        return task if task.key in self._tasks else group._recall(task)

    @property
    def at_agent(self) -> bool:
        """Whether an agent runs this script for one configuration only."""
        return self._opened_once().agent_task is not None

    @property
    def mode(self) -> str:
        """`"online"`, `"offline"` or `"disabled"`, as decided when the group was opened."""
        return self._opened_once().backend.mode

    @property
    def run(self) -> str:
        """The run's id, 32 hexadecimal digits."""
        return self._opened_once().info.run

    @property
    def run_number(self) -> int:
        """The run's number for people, from 1."""
        return self._opened_once().info.number

    @property
    def parent_id(self) -> str | None:
        """The id of the ClearML task that represents the run."""
        return self._opened_once().parent

    @property
    def url(self) -> str | None:
        """The parent's page; offline, its session folder; None without a parent."""
        run = self._opened_once()
        return run.backend.url(run.parent) if run.parent else None

    @property
    def compare_urls(self) -> list[str]:
        """The pages that compare the tasks, one for each 100 tasks; none offline."""
        return self._opened_once().backend.compare_urls([task.id for task in self])

    @property
    def table_url(self) -> str | None:
        """The web page's table of the run's tasks, with the parameters that vary and the metrics so far.

        It is sorted by the vocabulary's first metric whose best value is known, else by the first such
        metric that was reported, of validation data if it has several splits; best first. None offline.
        """
        from ._results.task_table import run_table_url

        return run_table_url(self._opened_once())

    @property
    def where(self) -> str:
        """The server's address; offline, the folder of ClearML's sessions."""
        return self._opened_once().backend.where

    @property
    def record_path(self) -> Path | None:
        """The path of the run log: what was opened and how it ended, one JSON object per line; else None."""
        run_log = self._opened_once().run_log
        return run_log.run_path if run_log else None

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The failed tasks with the reasons, in the order in which they ended.

        These are all failed tasks: those whose exception `catch` includes, those of `map` and of worker
        processes, those whose exception left the group's block, and those with `mark_failed`. Of several
        attempts at a task only the latest counts: what a retry of `map` has completed has not failed.
        """
        from ._failure import failure_of

        run = self._run
        if run is not None and not run.closed:
            run.worker_log.merge(run, 0.0)
        failed = [task for task in self if task.status == "failed" or task._caught is not None]
        failed.sort(key=lambda task: task._state.ended or math.inf)
        return tuple(map(failure_of, failed))

    @overload
    @staticmethod
    def current(*, required: Literal[True]) -> TaskGroup: ...
    @overload
    @staticmethod
    def current(*, required: bool = False) -> TaskGroup | None: ...
    @staticmethod
    def current(*, required: bool = False) -> TaskGroup | None:
        """Returns the group whose block this is, or None.

        Args:
            required: Whether to raise in place of None.

        Raises:
            NoCurrentTaskError: There is none, and `required` is true.
        """
        group = current_group()
        if group is None and required:
            raise NoCurrentTaskError("group")
        return group

    @staticmethod
    def load(
        project: str,
        name: str | None = None,
        run: int | str | None = None,
        *,
        mode: Literal["online", "offline"] | None = None,
        metrics: Iterable[str | Metric] | None = None,
        copies: bool = False,
    ) -> Results:
        """Loads the results of an earlier run.

        A server is asked once for each 500 tasks; curves are read when they are first used.

        Args:
            project: The group's project.
            name: The group's name.
            run: The run's number; or its text (`run=` of the group), its id, or the first digits of its id.
                None for the latest run.
            mode: `"online"` searches only the server, `"offline"` only this disk. None follows ClearML's own
                setting, and searches this disk if the server has no such run.
            metrics: A vocabulary, for modes, units, and aliases by which to ask; None for the group's own.
                What was logged keeps its names: `clearml-taskgroup drift` copies curves to the correct ones.
            copies: Whether to include copies of tasks that were made in the web page.

        Raises:
            NoSuchRunError: There is no such group or run.
            ArgumentError: The name is missing, or another argument is of the wrong kind.
            LoginError: The server refuses the credentials.
            ServerError: The server cannot be reached, or refuses a request.
        """
        if name is None:
            before, slash, last = shown(project).strip("'\"").rpartition("/")
            example = (
                f"TaskGroup.load({before!r}, {last!r})" if slash else f"TaskGroup.load({shown(project)}, …)"
            )
            raise ArgumentError("name", None, f"the group's name beside its project: {example}")
        project, name = canonical_project(project), canonical_task_name(name, "group name")
        from ._results.loading import Wanted, load_results

        wanted = Wanted(project, name, group_id(project, name), run)
        return load_results(wanted, mode=mode, metrics=metrics, copies=copies)

    @staticmethod
    def upload(run: str | Path, progress: OnProgress | None = None) -> Uploaded:
        """Uploads an offline run to the configured server, or undelivered data of an online run.

        Each task gets its final status and the link to the parent, which ClearML's own import does not
        set. It can be interrupted at any moment and run again; no task is created twice and no data is lost.

        Args:
            run: The run's text, its id or the first digits of that, the group's id for its latest run, or
                the path of the run log (`group.record_path`).
            progress: Called with a task's name, the number of tasks that are done, and of all tasks.

        Returns:
            The ids of the tasks on the server, by their offline ids.

        Raises:
            ArgumentError: There is no such run on this disk.
            RunInUseError: A living process has it open.
            ModeError: ClearML is set offline.
            LoginError: The server refuses the credentials.
            ServerError: The server cannot be reached, or refuses a request; run it again later.
        """
        from ._storage.past_runs import find_run
        from ._storage.upload import upload

        return upload(find_run(sdk.cache_folder() / "taskgroup", run).path, progress)

    def _advice(self, name: str) -> str:
        from ._results.results import Results
        from ._task import GroupTask

        return group_advice(name, GroupTask, Results)

    def _opened(self) -> Run:
        if self._run is None:
            raise GroupStateError(
                self.name, "is not open yet", "use it as `with TaskGroup(…) as group:`, or call group.open()"
            )
        if self._run.closed:
            raise GroupStateError(self.name, "has been closed", "open its tasks before its block ends")
        return self._run

    def _opened_once(self) -> Run:
        return self._run if self._run is not None else self._opened()


def log_pages(run: Run, moment: Literal["start", "end"]) -> None:
    """Logs, of a run on a server, the web pages and at the end the counts."""
    if run.backend.transport is None or run.in_child:
        return
    from ._results import task_table  # opening and reporting do without it

    (task_table.log_start if moment == "start" else task_table.log_end)(run)


def parent_summary(run: Run) -> Callable[[Run], Iterable[str]]:
    """Returns what makes the events of the parent's page at the end, on a server also while it is open."""
    if run.backend.transport is not None:
        from ._reports import live_parent

        return live_parent.watch(run)

    def summarize(run: Run) -> Iterable[str]:
        from ._reports.summary import summary_events  # imported late: it needs the figures

        return summary_events(run)

    return summarize


def _find_task(
    tasks: Sequence[GroupTask], params: Mapping[str, Any], key: str | None, name: str | None
) -> GroupTask:
    from ._results.filtering import has_parameters  # opening and reporting do without it

    wanted = {parameter: typed_json(value, parameter) for parameter, value in flatten(params).items()}
    found = [
        task
        for task in tasks
        if (key is None or task.key == key)
        and (name is None or str(task) == name)
        and has_parameters(task._state.params, wanted)
    ]
    if len(found) != 1:
        asked = {**wanted, **({"key": key} if key else {}), **({"name": name} if name else {})}
        text = ", ".join(f"{field}={shown(value)}" for field, value in asked.items()) or "no parameters"
        raise UnknownTaskError(text, [str(task) for task in found], [str(task) for task in tasks])
    return found[0]
