"""Lines of the run log about what a task has beside its events.

Values that were skipped, what an ambiguous name stands for, and parameters that were added: every process
logs them at once, so that they are known whoever is killed.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from .._clearml.hyperparameters import stored_parameters
from .._clearml.notes import NAMES_ENTRY, names_from_json, names_to_json, skipped_to_json
from .._storage.append_file import append_to, disk_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._model.metric_data import MetricData
    from .._model.metrics import MetricKey
    from .._model.name_template import Name
    from .run import Run
    from .state import TaskState


def log_skipped(run: Run, state: TaskState, key: MetricKey, data: MetricData) -> None:
    """Logs that the curve of a task ends, for now, with values that were skipped.

    With empty data: that its single value, whose latest report was skipped, has been reported again.
    """
    write_line(run, state, "skipped", series=skipped_to_json(key, data))


def log_names(run: Run, state: TaskState, names: Mapping[Name, MetricKey]) -> None:
    """Logs what names stand for that would be read back as another metric."""
    write_line(run, state, "names", names=names_to_json(names))


def log_parameters(run: Run, state: TaskState, params: Mapping[str, Any]) -> None:
    """Logs parameters that were added to a task."""
    write_line(run, state, "params", params=stored_parameters(params))


def write_line(run: Run, state: TaskState, event: str, **fields: Any) -> None:
    """Writes a line about a task; a run without a log has none."""
    if run.run_log is None:
        return
    line: dict[str, Any] = {"event": event, "id": state.id, "key": state.spec.key, **fields}
    if not run.in_child:
        run.run_log.keep([(line, f"what is known of {state.spec.name!r} ({event})")])
        return
    # By these fields the process that opened the group knows that it has to read the line.
    line |= {"forked": os.getpid(), "time": round(time.time(), 3)}
    with disk_errors(run.run_log.path):
        append_to(run.run_log.path, (json.dumps(line) + "\n").encode())


def take_names(run: Run, state: TaskState, line: Mapping[str, Any]) -> None:
    """Takes over what another process has logged of a task's names, and stores it with the task."""
    state.names.ambiguous |= names_from_json(line["names"])
    text = json.dumps(names_to_json(state.names.ambiguous))
    run.backend.annotate(state.id, {NAMES_ENTRY: text}, {})
