"""The web page's own table of a run's tasks: its columns, and by what it is sorted."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from .._clearml.pages import with_columns
from .._log import logger
from .._model.search_space import varying_names
from .._model.status import shown_status, tally, tally_text
from .find_metric import MetricLookup

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .._model.metrics import MetricKey
    from .._model.name_template import Name
    from .._run.run import Run
    from .rows import Row

MAX_METRIC_COLUMNS = 30

Names = dict["MetricKey", "tuple[Name, ...]"]
"""The titles and series of each metric key."""


def rows_table_url(address: str | None, rows: Sequence[Row], lookup: MetricLookup) -> str | None:
    """Returns the URL of the table of a run's tasks.

    Args:
        address: The URL without columns, `Backend.table_url`; None if there is no web page.
        rows: The rows of the tasks.
        lookup: The group's template and vocabulary.
    """
    if address is None:
        return None
    parameters = varying_names([row._params for row in rows])
    return _table_url(address, parameters, _names(row._names for row in rows), lookup)


def run_table_url(run: Run) -> str | None:
    """Returns the URL of the table of an open or closed run's tasks, with what is known so far."""
    address = run.backend.table_url(run.info.run, run.parent, run.owns_parent)
    if address is None:
        return None
    states = run.all_states()
    varying = varying_names([state.params for state in states])
    reported = ({key: data.names for key, data in list(state.metrics.items())} for state in states)
    # A sweep opens its tasks one after another, but its space is known from the start.
    parameters = list(dict.fromkeys((*run.specs.varying, *varying)))
    return _table_url(address, parameters, _names(reported), MetricLookup(run.template, run.vocabulary))


def log_start(run: Run) -> None:
    """Logs the web pages of a run of which the first task was opened."""
    if (url := _own_table_url(run)) is not None:
        logger.info("%s: %s", _title(run), run.backend.url(run.parent) if run.parent else run.backend.where)
        logger.info("its tasks as a table: %s", url)


def log_end(run: Run) -> None:
    """Logs how the tasks of a run that has ended stand, with their table."""
    states = run.all_states()
    if states and (url := _own_table_url(run)) is not None:
        counts = tally_text(tally(shown_status(state.status, state.reason) for state in states))
        logger.info("%s: %s: %s", _title(run), counts, url)


def _own_table_url(run: Run) -> str | None:
    """Returns the table of a run that is not part of another one; None on an agent."""
    is_part = run.in_child or run.agent_task is not None or run.foreign_agent_task is not None
    is_whole = run.owns_parent or run.main_task is not None
    return run_table_url(run) if is_whole and not is_part else None


def _title(run: Run) -> str:
    return f"{run.info.project}/{run.info.name}, run {run.info.number}"


def _table_url(address: str, parameters: Iterable[str], names: Names, lookup: MetricLookup) -> str:
    listed = dict.fromkeys(itertools.chain.from_iterable(names.values()))
    main = lookup.main_metric(names)
    best_first = None if main is None else (names[main][0], lookup.likely_mode(main.metric) == "max")
    return with_columns(address, parameters, listed, best_first)


def _names(tasks: Iterable[Mapping[MetricKey, Sequence[Name]]]) -> Names:
    """Collects the names under which tasks have reported each metric."""
    found: Names = {}
    count = 0
    for names in tasks:
        for key, own in names.items():
            new = [name for name in own if name not in found.get(key, ())]
            if new and count < MAX_METRIC_COLUMNS:  # a template with {task} gives each task names of its own
                found[key] = (*found.get(key, ()), *new)
                count += len(new)
    return found
