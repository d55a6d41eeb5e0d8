"""Taking events in: the path that benchmarks lean on."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

import attrs

from . import errors, metrics
from .registry import Request, endpoint
from .schemas import Schema, Violation, find, first_violation
from .state import Doc, State, TaskEvents

SCALAR = "training_stats_scalar"
VECTOR = "training_stats_vector"
IMAGE = "training_debug_image"
PLOT = "plot"
LOG = "log"
TYPES = frozenset({SCALAR, VECTOR, IMAGE, PLOT, LOG})

LARGEST = 3.4028234663852886e38
"""The largest number that the event store's ``float`` can hold."""

CHUNK = 500
"""The server hands events to its store in chunks; a bad one stops it after its own."""

LOCKED = ("publishing", "published")
MAX_LONG = 2**63 - 1
ITERATION_TOO_LARGE = f"Iteration number should not exceed {MAX_LONG}"


_TEXTS = {
    SCALAR: ("metric", "variant"),
    PLOT: ("metric", "variant", "plot_str"),
    IMAGE: ("metric", "variant", "url", "key"),
    LOG: ("metric", "variant", "msg", "worker"),
}
_FLAGS = (None, False, True)


def _plain(event: Doc) -> bool:
    """Whether an event surely has a form that the schema allows: the fast path."""
    kind = event.get("type")
    texts = _TEXTS.get(kind) if type(kind) is str else None
    if texts is None or type(event.get("task")) is not str:
        return False
    for name in texts:
        if name in event and type(event[name]) is not str:
            return False
    if kind == SCALAR and type(event.get("value")) not in (float, int):
        return False
    return (
        type(event.get("iter", 0)) is int
        and type(event.get("timestamp", 0)) in (int, float)
        and event.get("model_event") in _FLAGS
        and event.get("allow_locked") in _FLAGS
        and "skip_validation" not in event
        and "level" not in event
    )


def _tolerated(event: Doc) -> Doc:
    # The shipped schema wants levels in lower case, and the SDK itself sends "INFO".
    if event.get("type") == LOG and isinstance(event.get("level"), str):
        return {key: value for key, value in event.items() if key != "level"}
    return event


def _lenient(event: Doc) -> bool:
    # Of these the server counts one error each, and takes the rest of the batch.
    kind = event.get("type")
    known = isinstance(kind, str) and kind.replace(" ", "_") in TYPES
    return not known or event.get("task") is None


def page_fault(event: Doc) -> str:
    """What ClearML's web page cannot draw of a plot; empty if it can.

    Since 2.3 the page calls ``layout.title.endsWith`` on each plot that is not a scatter plot; one plot
    without a title as text leaves the PLOTS tab of its task blank.
    """
    try:
        plot = json.loads(event.get("plot_str") or "null")
        kinds = {trace.get("type", "scatter") for trace in plot["data"]}
        title = (plot.get("layout") or {}).get("title")
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"not a figure of plotly: {event.get('plot_str')!r:.200}"
    if isinstance(title, str) or (kinds and kinds <= {"scatter", "scattergl"}):
        return ""
    return f"the web page cannot draw a plot whose layout.title is {title!r}"


def check_batch(name: str, version: str, items: list[Doc]) -> tuple[list[Violation], bool]:
    """What the shipped schema says against the lines of a batch of events.

    Args:
        name: The call.
        version: The API version that the request names.
        items: The lines.

    Returns:
        The violations, and whether they make the server refuse the request.
    """
    violations: list[Violation] = []
    fatal = False
    schema: Schema | None = find(name, version)
    if schema is None:
        return violations, fatal
    for index, event in enumerate(items):
        if event.get("type") == PLOT and (fault := page_fault(event)):
            violations.append(Violation(name, version, fault, ("plot_str",), index))
        if _plain(event):
            continue
        violation = first_violation(name, schema, _tolerated(event), index)
        if violation is None:
            continue
        violations.append(violation)
        fatal = fatal or not _lenient(event)
    return violations, fatal


@attrs.define
class _Intake:
    """What is being gathered from one request."""

    now: str
    millis: int
    worker: str
    problems: Counter[str] = attrs.field(factory=Counter)
    folds: dict[str, metrics.Folds] = attrs.field(factory=lambda: defaultdict(dict))
    last: dict[str, int] = attrs.field(factory=dict)
    added: int = 0


@endpoint("events.add")
def add(state: State, request: Request) -> Doc:
    """Take one event."""
    return _add_events(state, request, [request.body])


@endpoint("events.add_batch")
def add_batch(state: State, request: Request) -> Doc:
    """Take the events of a batch; bad ones are counted, unless all of them are."""
    if not request.items:
        raise errors.batch_is_empty()
    return _add_events(state, request, request.items)


def _writable(state: State, event: Doc) -> bool:
    owner = event["task"]
    if event.get("model_event"):
        return owner in state.models
    task = state.tasks.get(owner)
    return task is not None and (bool(event.get("allow_locked")) or task["status"] not in LOCKED)


def _problem(state: State, event: Doc, known: dict[tuple[str, Any], bool]) -> str:
    kind = event.get("type")
    if kind is None:
        return "Event must have a 'type' field"
    kind = event["type"] = kind.replace(" ", "_")
    if kind not in TYPES:
        return f"Invalid event type {kind}"
    if event.get("model_event"):
        event["task"] = event.pop("model", None) or event.get("task")
    owner = event.get("task")
    if owner is None:
        return "Event must have a 'task' field"
    key = (owner, event.get("allow_locked"))
    fine = known.get(key)
    if fine is None:
        fine = known[key] = _writable(state, event)
    if not fine:
        model = "model" if event.get("model_event") else "task"
        return f"Invalid {model} id {owner}"
    iteration = event.get("iter")
    if iteration is None:
        return ""
    if type(iteration) is not int:
        iteration = event["iter"] = int(iteration)
    if abs(iteration) > MAX_LONG:
        return ITERATION_TOO_LARGE
    return ""


def _number_fits(event: Doc) -> bool:
    value = event.get("value")
    if value is not None:
        return bool(-LARGEST <= value <= LARGEST)
    values = event.get("values")
    return values is None or all(-LARGEST <= item <= LARGEST for item in values)


def _add_events(state: State, request: Request, items: list[Doc]) -> Doc:
    moment = state.now()
    intake = _Intake(
        now=state.stamp(),
        millis=int(moment.timestamp() * 1000),
        worker=request.worker,
    )
    known: dict[tuple[str, Any], bool] = {}
    accepted: list[Doc] = []
    unfit = 0
    stop = len(items)
    for event in items:
        if problem := _problem(state, event, known):
            intake.problems[problem] += 1
            continue
        if not _number_fits(event):
            if not unfit:
                stop = (len(accepted) // CHUNK + 1) * CHUNK
            unfit += 1
            event["unfit"] = True
        accepted.append(event)
    for event in accepted[:stop]:
        if not event.pop("unfit", False):
            _store(state, event, intake)
    if unfit:
        # The store has refused: what went in stays in, and no task is told of it.
        raise errors.data_error("while indexing events", err=f"{unfit} document(s) failed to index.")
    _update_tasks(state, intake)
    if too_large := intake.problems[ITERATION_TOO_LARGE]:
        raise errors.data_error("while indexing events", err=f"{too_large} document(s) failed to index.")
    if not intake.added:
        raise errors.events_not_added(**intake.problems)
    return {
        "added": intake.added,
        "errors": sum(intake.problems.values()),
        "errors_info": dict(intake.problems),
    }


def event_id(event: Doc) -> str:
    """The id under which an event is kept.

    Joined by plain dashes, as the server does it: title ``a``, series ``b-c`` and
    title ``a-b``, series ``c`` are one and the same.
    """
    if "key" in event:
        fields = ("iter", "metric", "variant", "key")
        return "-".join(str(event[name]) for name in fields if name in event)
    if "iter" in event:
        return f"{event['iter']}-{event['metric']}-{event['variant']}"
    return f"{event['metric']}-{event['variant']}"


def _store(state: State, event: Doc, intake: _Intake) -> None:
    owner = event["task"]
    kind = event["type"]
    event.pop("allow_locked", None)
    label = event.pop("x_axis_label", None)
    if event.get("timestamp") is None:
        event["timestamp"] = event.pop("ts", intake.millis)
    event.setdefault("worker", intake.worker)
    event["metric"] = event.get("metric") or ""
    event["variant"] = event.get("variant") or ""
    kept = state.task_events(owner)
    if kind == SCALAR:
        _store_scalar(event, kept, intake, label)
    elif kind == LOG:
        kept.logs.append(event)
    elif kind == PLOT:
        event["plot_len"] = len(event.get("plot_str") or "")
        kept.plots[event_id(event)] = event
    elif kind == IMAGE:
        kept.images[event_id(event)] = event
    else:
        kept.vectors[event_id(event)] = event
    intake.added += 1
    iteration = event.get("iter")
    highest = intake.last.setdefault(owner, 0)
    if iteration is not None and iteration > highest and event["metric"] not in metrics.UNCOUNTED:
        intake.last[owner] = iteration


def _store_scalar(event: Doc, kept: TaskEvents, intake: _Intake, label: str | None) -> None:
    kept.scalars[event_id(event)] = event
    value = event.get("value")
    if value is None:
        return
    folds = intake.folds[event["task"]]
    pair = (event["metric"], event["variant"])
    fold = folds.get(pair)
    iteration = event.get("iter", 0)
    if fold is None:
        fold = folds[pair] = metrics.Fold(value, iteration, event["timestamp"])
    else:
        fold.add(value, iteration, event["timestamp"])
    if label is not None:
        fold.label = label


def _update_tasks(state: State, intake: _Intake) -> None:
    for owner, iteration in intake.last.items():
        document = state.tasks.get(owner) or state.models.get(owner)
        if document is None:
            continue
        if iteration > document.get("last_iteration", 0):
            document["last_iteration"] = iteration
        if folds := intake.folds.get(owner):
            document.setdefault("last_metrics", {})
            metrics.apply(document, state.task_events(owner), folds)
        if owner in state.tasks:
            state.touch(document)
