"""`task.metric(…)`: one metric of one task, with ClearML's calls that take title and series."""

from __future__ import annotations

import copy
import inspect
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from clearml_taskgroup import GroupTask, Metric, TaskGroup, TaskMetric
from clearml_taskgroup.errors import (
    ArgumentError,
    MetricValueError,
    MissingFieldError,
    ReportError,
    TaskClosedError,
    UnknownFieldError,
    UnknownMetricError,
)
from clearml_taskgroup.testing import MemoryStore

CALLS = (
    *("report_vector", "report_histogram", "report_table", "report_line_plot", "report_scatter2d"),
    *("report_scatter3d", "report_confusion_matrix", "report_surface", "report_image", "report_media"),
    *("report_plotly", "report_matplotlib_figure"),
)


@pytest.fixture
def group(backend: MemoryStore) -> Iterator[TaskGroup]:
    """A group with a vocabulary."""
    metrics: list[str | Metric] = [Metric("roc", aliases={"val_roc": {"split": "val"}}), "loss"]
    with TaskGroup("digits", "sweep", template="{metric}/{split}", metrics=metrics) as opened:
        yield opened


@pytest.fixture
def task(group: TaskGroup) -> GroupTask:
    return group.task({"C": 1})


class Logger:
    """Notes the calls of ClearML's logger."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda **given: self.calls.append((name, given))


@pytest.fixture
def logger(monkeypatch: pytest.MonkeyPatch) -> Logger:
    """Stands in for ClearML's logger of every task."""
    logger = Logger()
    monkeypatch.setattr(GroupTask, "logger", logger)
    return logger


def test_it_has_the_name_that_a_report_would_have(task: GroupTask, backend: MemoryStore) -> None:
    """Title and series come from the template, aliases are resolved, bound context is filled in."""
    val = task.bind(split="val")
    for one in (task.metric("roc", split="val"), task.metric("val_roc"), val.metric("roc")):
        title, series = one
        assert (one.title, one.series) == (title, series) == ("roc", "val")
    assert tuple(val.metric("loss", split="test")) == ("loss", "test")
    assert (val.metric("loss").task, val.bind(split="train").metric("loss").series) == (task, "train")
    assert repr(val.metric("loss")) == "<TaskMetric title='loss' series='val' task='C=1'>"
    assert backend.tasks[task.id].events == [], "asking for a name logs nothing"


def test_context_and_template_must_match(task: GroupTask) -> None:
    with pytest.raises(MissingFieldError, match="'split'"):
        task.metric("loss")
    with pytest.raises(UnknownFieldError, match="'fold'"):
        task.metric("loss", split="val", fold=1)
    with pytest.raises(UnknownFieldError, match="'fold'"):
        task.bind(split="val").metric("loss", fold=1)


def test_report(task: GroupTask, backend: MemoryStore) -> None:
    """Reports as `task.report` does, with an iteration a curve and without one a single value."""
    roc = task.metric("val_roc")
    for step in range(3):
        roc.report(np.float32(step / 2), step)
    roc.report(0.75)
    task.report({"roc": 2.0}, 3, split="val")
    task.flush()
    held = backend.tasks[task.id]
    assert held.scalars == {("roc", "val"): [(0, 0.0), (1, 0.5), (2, 1.0), (3, 2.0)]}
    assert held.single_values == {"roc/val": 0.75}
    with pytest.raises(MetricValueError, match="'val_roc' is 'high'"):
        roc.report("high", 4)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="iteration"):
        roc.report(1.0, 0.5)  # type: ignore[arg-type]


def test_a_vocabulary_is_for_numbers(task: GroupTask, logger: Logger) -> None:
    """A plot may be called anything; a number has to be one of the group's metrics."""
    confusion = task.metric("confusion", split="val")
    confusion.report_confusion_matrix(np.eye(2), 1)
    assert [name for name, _ in logger.calls] == ["report_confusion_matrix"]
    with pytest.raises(UnknownMetricError, match="'confusion' is not in the group's vocabulary"):
        confusion.report(1.0, 1)


@pytest.mark.parametrize("call", CALLS)
def test_its_calls_are_clearmls(call: str) -> None:
    """Each has ClearML's parameters with their defaults, in ClearML's order, but for title and series."""
    clearml = pytest.importorskip("clearml")
    theirs = dict(inspect.signature(getattr(clearml.Logger, call)).parameters)
    ours = inspect.signature(getattr(TaskMetric, call)).parameters
    del theirs["title"]
    if call != "report_line_plot":  # whose series are the lines
        del theirs["series"]
    assert [(name, one.default, one.kind) for name, one in ours.items()] == [
        (name, one.default, one.kind) for name, one in theirs.items()
    ]


def test_clearmls_other_calls_with_title_and_series_are_known() -> None:
    """A new one of a later ClearML is missing here."""
    clearml = pytest.importorskip("clearml")
    old = {"report_scalar", "report_matrix", "report_image_and_upload"}
    found = {
        name
        for name, call in vars(clearml.Logger).items()
        if name.startswith("report_") and {"title", "series"} <= {*inspect.signature(call).parameters}
    }
    assert found - old == set(CALLS)


@pytest.mark.parametrize("call", [call for call in CALLS if call != "report_line_plot"])
def test_every_argument_arrives(task: GroupTask, logger: Logger, call: str) -> None:
    """By keyword and by position; what is not given is left to ClearML's own default."""
    report = getattr(task.metric("roc", split="val"), call)
    names = list(inspect.signature(report).parameters)
    given = {name: {"iteration": 7, "local_path": "x.png"}.get(name, object()) for name in names}
    report(**given)
    report(*given.values())
    required = {
        name: one
        for name, one in given.items()
        if inspect.signature(report).parameters[name].default is inspect.Parameter.empty
    }
    report(**required)
    name = {"title": "roc", "series": "val"}
    assert logger.calls == [(call, name | given), (call, name | given), (call, name | required)]
    with pytest.raises(TypeError, match=rf"{call}\(\) got an unexpected keyword argument 'title'"):
        report(**required, title="loss")


def test_iterations_of_other_kinds(task: GroupTask, logger: Logger) -> None:
    """Numpy's integers become Python's, which ClearML can send; what is no integer is refused."""
    media = task.metric("sound", split="val")
    media.report_media(np.int64(3), stream=io.BytesIO(b"x"), file_extension=".wav")
    media.report_image(np.array([3]), "x.png")
    assert [(type(given["iteration"]), given["iteration"]) for _, given in logger.calls] == [(int, 3)] * 2
    with pytest.raises(ArgumentError, match=r"iteration=1\.5 was given"):
        media.report_plotly({}, 1.5)  # type: ignore[arg-type]


def test_a_line_plot_has_the_metrics_series(task: GroupTask, logger: Logger) -> None:
    """ClearML's own logs a line plot without series, so that those of two splits replace each other."""
    clearml = pytest.importorskip("clearml")
    lines = [
        clearml.Logger.SeriesInfo(name="a", data=[[0, 1], [1, 3]], labels=["x", "y"]),
        {"name": "b", "data": np.zeros((1, 2))},
    ]
    extra = {"xaxis": {"type": "log"}, "width": 500}
    task.metric("curve", split="val").report_line_plot(
        lines, "recall", "precision", "markers", 3, True, "of fold 2", extra
    )
    ((call, given),) = logger.calls
    figure = given.pop("figure")
    assert (call, given) == ("report_plotly", {"title": "curve", "series": "val", "iteration": 3})
    first, second = figure["data"]
    assert first | {"type": "scatter"} == {
        "type": "scatter",
        "mode": "markers",
        "name": "a",
        "x": [0, 1],
        "y": [1, 3],
        "text": ["x", "y"],
    }
    assert (second["name"], second["x"], second["y"], second["text"]) == ("b", [0.0], [0.0], None)
    layout = figure["layout"]
    assert layout["xaxis"] == {"title": "recall", "autorange": "reversed", "type": "log"}
    assert (layout["yaxis"], layout["width"]) == ({"title": "precision"}, 500)
    assert [one["text"] for one in layout["annotations"]] == ["of fold 2"]
    with pytest.raises(ValueError, match=r"rows of x and y; the shape \(3,\)"):
        task.metric("curve", split="val").report_line_plot([{"name": "c", "data": [1, 2, 3]}], "x", "y")


def test_clearmls_other_names(task: GroupTask) -> None:
    """The error of an attribute that does not exist says what to write."""
    roc = task.metric("roc", split="val")
    for name, advice in (
        ("report_scalar", r"write report\(value, iteration\)"),
        ("report_single_value", r"write report\(value\)"),
        ("report_matrix", r"write report_confusion_matrix\(…\)"),
        ("report_text", r"write task\.logger\.report_text\(…\)"),
        ("log", r"write report\(value, iteration\)"),
        ("report_figure", r"write report_matplotlib_figure\(figure, iteration\)"),
        ("report_video", r"write report_media\(local_path=…"),
    ):
        with pytest.raises(AttributeError, match=f"'TaskMetric' object has no attribute '{name}'; {advice}"):
            getattr(roc, name)
    with pytest.raises(AttributeError, match=r"no attribute 'plot'$"):
        roc.plot  # type: ignore[attr-defined]  # noqa: B018


def test_after_the_tasks_end(task: GroupTask) -> None:
    """It still has its name; every call says that the task has ended."""
    roc = task.metric("roc", split="val")
    task.close()
    assert tuple(roc) == tuple(task.metric("val_roc")) == ("roc", "val")
    with pytest.raises(TaskClosedError):
        roc.report(1.0, 1)
    with pytest.raises(TaskClosedError):
        roc.report_plotly({})


def test_equality_copies_and_pickles(group: TaskGroup, backend: MemoryStore) -> None:
    """Two are equal if they are the same metric of the same task, however they were made."""
    first, second = group.tasks({"C": [2, 3]})
    roc = first.metric("roc", split="val")
    kind, arguments = roc.__reduce__()  # for pickle; a task in memory cannot leave this process
    same = [first.metric("val_roc"), copy.copy(roc), copy.deepcopy(roc), kind(*arguments)]
    assert {roc, *same} == {roc}
    assert len({roc, second.metric("val_roc"), first.metric("loss", split="val")}) == 3
    assert roc != ("roc", "val")
    same[-1].report(1.0, 1)
    first.flush()
    assert backend.tasks[first.id].scalars == {("roc", "val"): [(1, 1.0)]}


def test_what_a_property_raises_is_not_hidden(task: GroupTask, monkeypatch: pytest.MonkeyPatch) -> None:
    """An AttributeError from inside of a property is not taken for a missing attribute."""

    def broken(self: GroupTask) -> Any:
        return None.get_logger()  # type: ignore[attr-defined]

    monkeypatch.setattr(GroupTask, "logger", property(broken))
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'get_logger'"):
        task.metric("roc", split="val").report_plotly({})


class Table:
    """Stands in for a data frame."""

    shape = (2, 2)


class Drawn:
    """Stands in for a figure of matplotlib's."""

    def savefig(self) -> None: ...


class Plotly:
    """Stands in for a figure of plotly's."""

    def to_plotly_json(self) -> None: ...


@pytest.mark.parametrize(
    ("call", "args", "kwargs", "given", "advice"),
    [
        ("report_table", (Table(),), {}, "iteration=<Table>", "report_table(table_plot=…, iteration=…)"),
        ("report_table", ([["a"], [1]],), {"iteration": 2}, "<list>", "report_table(table_plot=…, iteration"),
        ("report_table", ("t.csv",), {}, "iteration='t.csv'", "report_table(csv=…, iteration=…)"),
        ("report_image", (np.eye(9),), {}, "iteration=<ndarray>", "report_image(image=…, iteration=…)"),
        ("report_image", (5, np.eye(9)), {}, "local_path=<ndarray>", "report_image(image=…, iteration=…)"),
        ("report_image", ("x.png",), {"iteration": 3}, "'x.png'", "report_image(local_path=…, iteration=…)"),
        ("report_media", ("x.wav",), {"iteration": 1}, "'x.wav'", "report_media(local_path=…, iteration=…)"),
        ("report_media", (1, io.BytesIO()), {}, "=<BytesIO>", "report_media(stream=…, iteration=…)"),
        ("report_plotly", (Drawn(), 1), {}, "figure=<Drawn>", "report_matplotlib_figure(figure, iteration)"),
        ("report_plotly", (1, Plotly()), {}, "iteration=<Plotly>", "report_plotly(figure, iteration)"),
        ("report_matplotlib_figure", (Plotly(),), {}, "figure=<Plotly>", "report_plotly(figure, iteration)"),
        ("report_image", (Drawn(),), {}, "=<Drawn>", "report_matplotlib_figure(figure, iteration)"),
        (
            "report_line_plot",
            ([], "x", "y"),
            {"iteration": []},
            "iteration=<list>",
            "report_line_plot(series=",
        ),
        ("report_vector", ([1], "y"), {}, "iteration='y'", "report_vector(values=…, iteration=…)"),
    ],
)
def test_arguments_in_each_others_place(
    task: GroupTask, logger: Logger, call: str, args: Any, kwargs: Any, given: str, advice: str
) -> None:
    """The error names what was given in a few words, and the parameter that it belongs to."""
    with pytest.raises(ReportError) as caught:
        getattr(task.metric("roc", split="val"), call)(*args, **kwargs)
    text = str(caught.value)
    assert text.startswith(f"{call}() was given ")
    assert given in text
    assert f"write {advice}" in text
    assert len(text) < 200
    assert not logger.calls


def test_context_by_position(task: GroupTask) -> None:
    for one in (task, task.bind(split="train")):
        with pytest.raises(ReportError, match=r"given 'val' .*keyword, as metric\('roc', split='val'\)"):
            one.metric("roc", "val")  # type: ignore[arg-type]


def test_what_is_no_number_has_calls_of_its_own(task: GroupTask) -> None:
    with pytest.raises(MetricValueError, match=r"task\.metric\(…\)\.report_table\(…\)"):
        task.report({"loss": [[1, 2]]}, 1, split="val")  # type: ignore[dict-item]


def test_a_report_without_a_dict(task: GroupTask) -> None:
    with pytest.raises(ReportError, match=r"no dict of numbers; write report\(\{'loss': 0\.3\}, iteration"):
        task.report(loss=1)  # type: ignore[call-overload]
