"""Selects rows: by parameters, by fields of the row, by a function; and those whose values count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from .._drift.compare import look_alike
from .._model.arguments import iterator_of
from .._model.identity import flatten
from .._model.parameter_json import is_same_json, plain, stored_json, typed_json
from .._model.status import Status, shown_status
from .._text import did_you_mean, shown
from ..errors import ArgumentError, NoSuchParameterError, ParameterError

if TYPE_CHECKING:
    from .._model.metrics import MetricKey
    from .._model.stats import Stats
    from .rows import Of, Row


ROW_FIELDS = ("status", "key", "name", "index", "id", "attempt")
"""The fields of a row that `Results.where` accepts besides parameters."""
SHOWN_STATUSES = (*get_args(Status), "abandoned")
ONE_VALUE_EXPECTED = "one value to compare with; for other conditions write where(lambda row: {})"


COMPARABLE = frozenset(("completed", "in_progress"))
"""The statuses of tasks whose values count."""


def is_comparable(row: Row) -> bool:
    """Whether a task's values count: those of failed and stopped tasks do not."""
    return row.status in COMPARABLE


def has_value(row: Row, metric_key: MetricKey, of: Of = "last") -> bool:
    """Whether a statistic of a task counts: it does not if the task ended badly, or if the metric diverged.

    A metric has diverged if its latest value was NaN, infinite or too large. It has no last value; its
    other statistics are those of the values before.
    """
    return (
        is_comparable(row) and metric_key in row.stats and not (of == "last" and metric_key in row.diverged)
    )


def diverged_rows(rows: Iterable[Row], metric_key: MetricKey, of: Of = "last") -> list[Row]:
    """Returns the tasks that do not count in a statistic because the metric diverged."""
    if of != "last":
        return []
    return [row for row in rows if row.diverged and metric_key in row.diverged and is_comparable(row)]


def in_other_contexts(
    rows: Iterable[Row], metric_key: MetricKey, known: Iterable[MetricKey]
) -> dict[str, list[MetricKey]]:
    """Returns the completed tasks that have a metric in other contexts only, by name, with what they have.

    Or under a name that looks like the metric's, misspelt for example.

    Args:
        rows: The tasks.
        metric_key: The metric and the context that they lack.
        known: The metrics of these tasks.
    """
    others = [other for other in known if other != metric_key and is_related(other.metric, metric_key.metric)]
    if not others:
        return {}
    found = {
        row.name: [other for other in others if other in row.stats]
        for row in rows
        if row.status == "completed" and metric_key not in row.stats and metric_key not in row.diverged
    }
    return {name: have for name, have in found.items() if have}


def is_related(metric: str, other: str) -> bool:
    """Whether two metrics are one, or look like one: `acc` and `accuracy`."""
    return metric == other or look_alike(metric, other)


def counting_stats(rows: Iterable[Row], metric_key: MetricKey, of: Of) -> tuple[list[Row], list[Stats]]:
    """Returns the tasks whose statistic counts (see `has_value`), and the statistics."""
    counting, found = [], []
    for row in rows:
        stats = row.stats.get(metric_key) if row.status in COMPARABLE else None
        if stats is not None and (not row.diverged or has_value(row, metric_key, of)):
            counting.append(row)
            found.append(stats)
    return counting, found


def filter_rows(
    rows: Sequence[Row], given: Mapping[str, Any] | Callable[[Row], Any] | None, more: Mapping[str, Any]
) -> list[Row]:
    """Selects rows; see `Results.where`.

    Raises:
        ArgumentError: No task has such a parameter, or the value differs in type from those of the tasks.
    """
    predicate = None
    if given is not None and not isinstance(given, Mapping):
        if not callable(given):
            raise ArgumentError("where", given, "a dict of parameters, or a function that is given a row")
        predicate, given = given, None
    known = {name for row in rows for name in row.parameter_names}
    params = {name: typed_value(name, value) for name, value in flatten({**(given or {}), **more}).items()}
    fields = {name: params.pop(name) for name in ROW_FIELDS if name in params and name not in known}
    for name, value in fields.items():
        if name == "status" and value not in SHOWN_STATUSES:
            expected = f"one of {', '.join(SHOWN_STATUSES)}{did_you_mean(value, SHOWN_STATUSES)}"
            raise ArgumentError("status", value, expected)
    for name, value in params.items():
        require_parameter(rows, "where", name)
        _require_type(rows, name, value)
    return [
        row
        for row in rows
        if has_parameters(row._params, params)
        and all(_has_field(row, name, value) for name, value in fields.items())
        and (predicate is None or predicate(row))
    ]


def _has_field(row: Row, name: str, value: Any) -> bool:
    if (name, value) == ("status", "abandoned"):  # in ClearML's words they were stopped
        return shown_status(row.status, row.status_reason) == "abandoned"
    return str(getattr(row, name)) == str(value)


def has_parameters(params: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether parameters have these values, which are given in typed form."""
    return all(
        name in params and is_same_json(stored_json(params[name], name, lenient=True), value)
        for name, value in wanted.items()
    )


def require_parameter(rows: Sequence[Row], argument: str, name: str) -> None:
    """Checks that some task has a parameter.

    Args:
        rows: The tasks.
        argument: The argument that named the parameter.
        name: The parameter.

    Raises:
        NoSuchParameterError: No task has it.
    """
    known = list(dict.fromkeys(name for row in rows for name in row.parameter_names))
    if not isinstance(name, str) or (name not in known and rows):
        raise no_such_parameter(rows, argument, name, [name])


def no_such_parameter(
    rows: Sequence[Row], argument: str, given: Any, fields: Sequence[Any], looked_for: Sequence[str] = ()
) -> NoSuchParameterError:
    """Builds the error, which says if one of the fields is context of a metric."""
    known = list(dict.fromkeys(name for row in rows for name in row.parameter_names))
    expected = f"one of the parameters {', '.join(known) or '(none)'}"
    metric_keys = dict.fromkeys(metric_key for row in rows for metric_key in row.stats)
    found = [(field, key.metric) for key in metric_keys for field, _ in key.context if field in fields]
    return NoSuchParameterError(argument, given, expected, known, looked_for, *(found or [("", "")])[0])


def parameter_names(over: str | Sequence[str]) -> tuple[str, ...]:
    """Converts one name or several to a tuple.

    Raises:
        ArgumentError: The argument is neither.
    """
    given = None if isinstance(over, str) else iterator_of(over)
    names = (over,) if given is None else tuple(given)
    if not all(isinstance(name, str) for name in names):
        raise ArgumentError("over", over, "the name of a parameter, or a list of names")
    return names


def typed_value(name: str, value: Any) -> Any:
    try:
        return typed_json(plain(stored_json(value, name)), name)  # rows have the plain form
    except ParameterError:
        raise ArgumentError(name, value, ONE_VALUE_EXPECTED.format(f"row.params[{name!r}] …")) from None


def _require_type(rows: Sequence[Row], name: str, value: Any) -> None:
    """Refuses a value that no task has if a task has one that looks equal, as 1 and "1" do."""
    have = [row._params[name] for row in rows if name in row._params]
    if any(has_parameters({name: one}, {name: value}) for one in have):
        return
    for one in have:
        if isinstance(value, list) and any(has_parameters({name: one}, {name: item}) for item in value):
            raise ArgumentError(
                name, value, ONE_VALUE_EXPECTED.format(f"row.params[{name!r}] in {shown(value)}")
            )
        if _looks_equal(one, value):
            raise ArgumentError(name, value, f"{shown(one)} ({type(one).__name__}), as the tasks have it")


def _looks_equal(one: Any, other: Any) -> bool:
    if str(one) == str(other):
        return True
    try:
        return float(one) == float(other)
    except (TypeError, ValueError, OverflowError):
        return False
