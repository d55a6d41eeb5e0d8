"""TaskTarget: what bindings log, for one task: numbers to `report`, the rest to ClearML's own object."""

from __future__ import annotations

import contextlib
import os
import re
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any

import attrs

from .._clearml import bindings, saved_models
from .._log import logger, warn
from .._model.name_template import Name
from .._model.report_values import MAX_STORED_NUMBER
from .._run.run import TASK_DELIVERY_TIMEOUT_S
from .._storage.memory import Silent
from .._text import printable, shortened
from ..errors import (
    LeftOutWarning,
    MissingFieldError,
    NameWarning,
    NonFiniteError,
    NonFiniteWarning,
    ParameterError,
    TaskAbortedError,
    TaskClosedError,
    TooManyNamesError,
)
from ..integrations._metric_names import SPLITS, Relay, by_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._model.frameworks import Frameworks
    from .._run.state import TaskState
    from .._task import GroupTask

Place = tuple[str, dict[str, Any]]
"""A metric and its context."""
_split_of = by_prefix(SPLITS, "/")
_NOT_IN_TAGS = re.compile(r"[^-/\w.]")
"""Characters that TensorBoard replaces in tags, and not in the folders of writers."""
_FINISH_S = 1.0
"""Seconds for which a plot waits until earlier reports are counted."""


@attrs.define(eq=False)
class TaskTarget:
    """Takes what bindings log in the block of a task; nothing that it is given raises an error.

    Attributes:
        task: The task.
        frameworks: What its group logs automatically.
        state: What the bindings keep for the task.
    """

    task: GroupTask = attrs.field(repr=False)
    frameworks: Frameworks
    state: dict[Any, Any] = attrs.field(factory=dict, repr=False)
    _state: TaskState = attrs.field(init=False, repr=False)
    _relay: Relay = attrs.field(init=False, repr=False)
    _highest: int = 0
    _places: dict[tuple[str, str], Place | None] = attrs.field(factory=dict, repr=False)
    _writers: dict[str, str] = attrs.field(factory=dict, repr=False)

    def __attrs_post_init__(self) -> None:
        self._state = self.task._state
        self._relay = Relay(self.task, _split_of, strict=True, fill=False)

    def clearml_task(self) -> Any:
        """Gives ClearML's own object, created on first use; one that does nothing if the task has ended."""
        if self._is_open():
            try:
                backend = self.task._run.backend
                if self.task._run.in_child:
                    self._flush_at_exit()
                is_first = backend.mode == "online" and "has object" not in self.state
                if is_first and (problem := saved_models.server_problem()):
                    raise problem  # ClearML would try for hours, and the training would wait
                task = backend.clearml_task(self.task.id)
                self.state["has object"] = True
                return task
            except Exception as error:  # the disk, the server, ClearML itself
                self._warn("object", f"logs no plots and no files automatically: {error}", LeftOutWarning)
        return Silent()

    def _flush_at_exit(self) -> None:
        """In a forked child, which does not end the task, waits for what it has logged as it ends itself."""
        if self.state.get("flushed by") != os.getpid():
            self.state["flushed by"] = os.getpid()
            flush = self.task._run.backend.flush_clearml_task
            Finalize(None, flush, (self.task.id, TASK_DELIVERY_TIMEOUT_S), exitpriority=10)

    def flush_in_child(self) -> None:
        """In a forked child that may be killed, as those of a pool are, waits for what it has logged."""
        if self.state.get("flushed by") == os.getpid():
            with contextlib.suppress(TimeoutError):
                self.task._run.backend.flush_clearml_task(self.task.id, TASK_DELIVERY_TIMEOUT_S)

    def free(self) -> None:
        """Frees what is only needed while the task is open; it may be opened again."""
        bindings.forget_writers(self)

    def last_iteration(self) -> int:
        """The highest iteration that was reported to the task."""
        try:
            self.task._run.reporter.flush(_FINISH_S)  # it is the reporter's thread that counts
            metrics = list(self._state.metrics.values())
            ends = [end for data in metrics for end in (data.stats.end, data.skipped_at)]
        except Exception:
            ends = []
        return max((self._highest, *(end for end in ends if end is not None)))

    def put_parameters(self, params: Mapping[str, Any]) -> None:
        """Adds parameters to the task, without the section that ClearML puts them into."""
        if not self._is_open():
            return
        own = self._state.params
        plain = {name.removeprefix("TB_hparams/"): value for name, value in params.items()}
        new = {name: value for name, value in plain.items() if name not in own or own[name] != value}
        try:  # TensorBoard makes True 1.0, which is equal
            if new:
                self.task.set_parameters(new)
        except ParameterError:  # of one of them: the others are taken
            for name, value in new.items():
                self._put_parameter(name, value)
        except (Exception, TaskAbortedError) as error:
            self._warn("parameters", f"did not take parameters: {error}", LeftOutWarning)

    def _put_parameter(self, name: str, value: Any) -> None:
        try:
            self.task.set_parameters({name: value})
        except (Exception, TaskAbortedError) as error:
            self._warn(f"parameter {name}", f"did not take a parameter: {error}", LeftOutWarning)

    def put_scalar(
        self,
        logdir: str,
        tag: str,
        name: tuple[str, str],
        step: int,
        value: float,
        split: str | None = None,
    ) -> None:
        """Reports a scalar, named by the template; if that fails, under ClearML's name.

        Args:
            logdir: The folder of its TensorBoard writer; of two writers with one tag, the second keeps
                ClearML's name.
            tag: The tag.
            name: The title and the series that ClearML gives it.
            step: The iteration.
            value: The number.
            split: Its split; None to read it from folder and tag.
        """
        if not self._is_open():
            return
        self._highest = max(self._highest, step)
        place = self._places.get((logdir, tag))
        if place is None and (logdir, tag) not in self._places:
            place = self._places[logdir, tag] = self._find(logdir, tag, name, split)
        if place is not None:
            try:
                self.task._report({place[0]: value}, step, None, place[1])
                return
            except NonFiniteError as error:
                self._warn(f"value {tag}", f"skips {tag!r}: {error}", NonFiniteWarning)
                return
            except (TaskClosedError, TaskAbortedError):  # by another thread, just now
                self._state.abort_seen = False  # it is the script's own report that raises
                return
            except Exception as error:
                self._keep_name(tag, name, error)
                self._places[logdir, tag] = None
        self.put_named(*name, step, value)

    def put_evaluation(self, split: str, metric: str, iteration: int, value: float) -> None:
        """Reports a metric of one evaluation set, which the template names by its split."""
        self.put_scalar(split, metric, (split, metric), iteration, value, split)

    def put_named(self, title: str, series: str, iteration: int, value: float) -> None:
        """Reports a scalar under a name that ClearML has given it."""
        if not self._is_open():
            return
        if not abs(value) <= MAX_STORED_NUMBER:
            what = f"skips {title!r}, {series!r}, which is {value}"
            self._warn(f"value {title}/{series}", what, NonFiniteWarning)
            return
        try:
            metric, context = self._state.names.named(Name(title, series))
            self.task._report({metric: value}, iteration, None, context)
        except TaskAbortedError:
            self._state.abort_seen = False
        except Exception as error:
            self._warn(f"value {title}/{series}", f"does not take {title!r}: {error}", LeftOutWarning)

    def _find(self, logdir: str, tag: str, name: tuple[str, str], split: str | None) -> Place | None:
        """Finds the metric and the context of a writer's tag; None if it keeps ClearML's name."""
        parts = None
        split = split or _key_of_add_scalars(logdir, tag) or self._split_of_folder(logdir, tag)
        full = tag
        if split is not None:
            full, parts = f"{tag}/{split}", (tag, split)
        try:
            first = self._writers.setdefault(full, logdir)
            if first == logdir:
                return self._relay.place(full, parts)
            self._keep_name(tag, name, f"the writer in {first!r} has that tag, too", "two writers")
        except Exception as error:
            self._keep_name(tag, name, error)
        return None

    def _split_of_folder(self, logdir: str, tag: str) -> str | None:
        """Gives the split that a writer is for, as in `runs/val`, unless the tag has one."""
        folder = logdir.replace("\\", "/").rstrip("/").rpartition("/")[2]
        has_field = "split" in self.task.group.template.context_fields
        return folder if has_field and folder in SPLITS and _split_of(tag) is None else None

    def _is_open(self) -> bool:
        state = self._state
        if not state.is_open and state.aborted is None:  # an abort is what the next report raises
            self._warn("ended", f"is {state.status} already: what is logged is dropped", LeftOutWarning)
        return state.is_open

    def _keep_name(
        self, tag: str, name: tuple[str, str], error: Exception | str, cause: str | None = None
    ) -> None:
        why = shortened(printable(str(error)), 300)
        what = f"logs {tag!r} as ClearML does, as title {name[0]!r} and series {name[1]!r}: {why}"
        if isinstance(error, (MissingFieldError, TooManyNamesError)):  # all further tags have it, too
            cause = type(error).__name__
        self._warn(cause or f"tag {tag}", what, NameWarning)

    def _warn(self, key: str, what: str, kind: type[Warning]) -> None:
        """Warns once per group; as a log line where warnings are errors, since nothing may be raised here."""
        warned = self.task._run.warned
        if f"auto-logging: {key}" in warned:
            return
        warned.add(f"auto-logging: {key}")
        text = f"auto-logging: the task {self._state.spec.name!r} {what}"
        try:
            warn(text, kind)
        except Warning:
            logger.warning("%s", text)


def _key_of_add_scalars(logdir: str, tag: str) -> str | None:
    """Reads from a writer's folder which key of `add_scalars` it is for; None without that call."""
    folder = logdir.replace("\\", "/")
    outer, separator, last = _NOT_IN_TAGS.sub("_", folder).rpartition("/")
    own, main = folder[len(outer) + 1 :], tag.replace("/", "_")
    if separator and last.startswith(f"{main}_") and last != f"{main}_":  # torch
        return own[len(main) + 1 :]
    return own if last and outer.endswith(f"/{tag}") else None  # tensorboardX
