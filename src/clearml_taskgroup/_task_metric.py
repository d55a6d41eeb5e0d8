"""TaskMetric: one metric of one task, with ClearML's calls that log to it."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, SupportsFloat, SupportsIndex

from ._clearml.line_plot import line_plot
from ._model.clearml_names import Advising, metric_advice
from ._model.metric_arguments import check_arguments, twice_error
from ._model.report_values import to_iteration
from ._text import printable

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np

    from ._task import GroupTask

P = ParamSpec("P")


def _of_logger(call: Callable[P, None]) -> Callable[P, None]:
    """Makes a method that calls ClearML's of the same name, with title and series and what it is given.

    What is not given is not passed on: the defaults are ClearML's own.
    """
    name = call.__name__

    @functools.wraps(call)
    def log(*args: P.args, **kwargs: P.kwargs) -> None:
        signature = _signature(call)
        names = list(signature.parameters)[1:]
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            place = 1 + names.index("iteration")
            if len(args) > place and "iteration" in kwargs:
                raise twice_error(name, names, args[place]) from None
            raise TypeError(f"{name}() {error}") from None
        metric = given.pop("self")
        check_arguments(name, names, given)
        metric._log(name, given)

    return log


@functools.cache
def _signature(call: Callable[..., None]) -> inspect.Signature:
    return inspect.signature(call)


class TaskMetric(Advising):
    """One metric of one task, named by the group's template; made by `task.metric`.

    Its calls are those of ClearML's `Logger` with the same names and parameters, without title and series,
    which are filled in. `title, series = task.metric("roc", split="val")` gives the two, for other calls.
    Two are equal if they are the same metric of the same task.

    Except for `report`, whose metric has to be in the group's vocabulary, a plot or an image may be called
    anything.
    """

    __slots__ = ("_context", "_metric", "series", "task", "title")
    task: GroupTask
    """The task."""
    title: str
    """ClearML's title: the plot."""
    series: str
    """ClearML's series: the curve."""

    def __init__(self, task: GroupTask, metric: str, context: Mapping[str, Any]) -> None:
        self.task = task
        self._metric, self._context = metric, dict(context)
        self.title, self.series = task._state.names.name(metric, self._context)

    def __iter__(self) -> Iterator[str]:
        return iter((self.title, self.series))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskMetric) and (*self, self.task.id) == (*other, other.task.id)

    def __hash__(self) -> int:
        return hash((*self, self.task.id))

    def __repr__(self) -> str:
        return printable(f"<TaskMetric title={self.title!r} series={self.series!r} task={self.task.name!r}>")

    def __reduce__(self) -> tuple[Any, ...]:
        return TaskMetric, (self.task, self._metric, self._context)

    def _advice(self, name: str) -> str:
        return metric_advice(name)

    def report(self, value: SupportsFloat | SupportsIndex, iteration: SupportsIndex | None = None) -> None:
        """Reports a number, as `task.report` does; ClearML's own call is `report_scalar`.

        Args:
            value: The number: Python's, numpy's, or a tensor of one element.
            iteration: The x value, an integer. Without one it is a single value.

        Raises:
            TaskClosedError, TaskAbortedError, MetricValueError, UnknownMetricError, NonFiniteError,
                NameCollisionError: As for `task.report`.
        """
        self.task._report({self._metric: value}, iteration, None, self._context)

    @_of_logger
    def report_vector(
        self,
        values: Sequence[float] | np.ndarray[Any, Any],
        iteration: SupportsIndex | None = None,
        labels: list[str] | None = None,
        xlabels: list[str] | None = None,
        xaxis: str | None = None,
        yaxis: str | None = None,
        mode: str | None = None,
        extra_layout: dict[str, Any] | None = None,
    ) -> None:
        """Logs numbers as bars; see `clearml.Logger.report_vector`.

        Args:
            values: The numbers.
            iteration: The iteration, an integer; 0 without one.
            labels: A label for each series.
            xlabels: A label for each bar on the x axis.
            xaxis: The title of the x axis.
            yaxis: The title of the y axis.
            mode: How series of one title are shown: `"group"`, `"stack"` or `"relative"`.
            extra_layout: More of plotly's layout.
        """

    @_of_logger
    def report_histogram(
        self,
        values: Sequence[float] | np.ndarray[Any, Any],
        iteration: SupportsIndex | None = None,
        labels: list[str] | None = None,
        xlabels: list[str] | None = None,
        xaxis: str | None = None,
        yaxis: str | None = None,
        mode: str | None = None,
        data_args: dict[str, Any] | None = None,
        extra_layout: dict[str, Any] | None = None,
    ) -> None:
        """Logs the heights of a histogram's bars; see `clearml.Logger.report_histogram`.

        Args:
            values: The height of each bar.
            iteration: The iteration, an integer; 0 without one.
            labels: A label for each series.
            xlabels: A label for each bar on the x axis.
            xaxis: The title of the x axis.
            yaxis: The title of the y axis.
            mode: How series of one title are shown: `"group"`, `"stack"` or `"relative"`.
            data_args: More of plotly's bar trace.
            extra_layout: More of plotly's layout.
        """

    @_of_logger
    def report_table(
        self,
        iteration: SupportsIndex | None = None,
        table_plot: Any = None,
        csv: str | None = None,
        url: str | None = None,
        extra_layout: dict[str, Any] | None = None,
        extra_data: dict[str, Any] | None = None,
    ) -> None:
        """Logs a table: a data frame, rows, or a CSV file; see `clearml.Logger.report_table`.

        Args:
            iteration: The iteration, an integer; 0 without one.
            table_plot: A data frame, or rows of cells, of which the first is the header.
            csv: The path of a CSV file.
            url: Where the CSV file is already; nothing is uploaded then.
            extra_layout: More of plotly's layout.
            extra_data: More of plotly's table trace.
        """

    def report_line_plot(
        self,
        series: Sequence[Any],
        xaxis: str,
        yaxis: str,
        mode: str = "lines",
        iteration: SupportsIndex | None = None,
        reverse_xaxis: bool = False,
        comment: str | None = None,
        extra_layout: dict[str, Any] | None = None,
    ) -> None:
        """Logs several lines in one plot; see `clearml.Logger.report_line_plot`.

        There, `series` is the lines, and two plots of one title replace each other. Here the plot has
        the metric's series as well.

        Args:
            series: The lines: ClearML's `SeriesInfo`, or dicts of `name`, `data` (rows of x and y) and
                `labels`.
            xaxis: The title of the x axis.
            yaxis: The title of the y axis.
            mode: `"lines"`, `"markers"` or `"lines+markers"`.
            iteration: The iteration, an integer.
            reverse_xaxis: Whether x goes from high to low.
            comment: A line above the plot.
            extra_layout: More of plotly's layout.
        """
        check_arguments("report_line_plot", ["series"], {"iteration": iteration})
        figure = line_plot(series, xaxis, yaxis, mode, reverse_xaxis, comment, extra_layout)
        self.report_plotly(figure, iteration)

    @_of_logger
    def report_scatter2d(
        self,
        scatter: Any,
        iteration: SupportsIndex | None = None,
        xaxis: str | None = None,
        yaxis: str | None = None,
        labels: list[str] | None = None,
        mode: str = "lines",
        comment: str | None = None,
        extra_layout: dict[str, Any] | None = None,
    ) -> None:
        """Logs points or a line, as rows of x and y; see `clearml.Logger.report_scatter2d`.

        Args:
            scatter: Rows of x and y.
            iteration: The iteration, an integer; 0 without one.
            xaxis: The title of the x axis.
            yaxis: The title of the y axis.
            labels: A label for each point.
            mode: `"lines"`, `"markers"` or `"lines+markers"`.
            comment: A line below the title.
            extra_layout: More of plotly's layout.
        """

    @_of_logger
    def report_scatter3d(
        self,
        scatter: Any,
        iteration: SupportsIndex | None = None,
        xaxis: str | None = None,
        yaxis: str | None = None,
        zaxis: str | None = None,
        labels: list[str] | None = None,
        mode: str = "markers",
        fill: bool = False,
        comment: str | None = None,
        extra_layout: dict[str, Any] | None = None,
    ) -> None:
        """Logs points in space, as rows of x, y and z; see `clearml.Logger.report_scatter3d`.

        Args:
            scatter: Rows of x, y and z.
            iteration: The iteration, an integer; 0 without one.
            xaxis: The title of the x axis.
            yaxis: The title of the y axis.
            zaxis: The title of the z axis.
            labels: A label for each point.
            mode: `"lines"`, `"markers"` or `"lines+markers"`.
            fill: Whether the area under the points is filled.
            comment: A line below the title.
            extra_layout: More of plotly's layout.
        """

    @_of_logger
    def report_confusion_matrix(
        self,
        matrix: Any,
        iteration: SupportsIndex | None = None,
        xaxis: str | None = None,
        yaxis: str | None = None,
        xlabels: list[str] | None = None,
        ylabels: list[str] | None = None,
        yaxis_reversed: bool = False,
        comment: str | None = None,
        extra_layout: dict[str, Any] | None = None,
    ) -> None:
        """Logs a matrix as a heat map; see `clearml.Logger.report_confusion_matrix`.

        Args:
            matrix: Rows of numbers, a 2D array.
            iteration: The iteration, an integer; 0 without one.
            xaxis: The title of the x axis.
            yaxis: The title of the y axis.
            xlabels: A label for each column on the x axis.
            ylabels: A label for each row on the y axis.
            yaxis_reversed: Whether the first row is at the bottom.
            comment: A line below the title.
            extra_layout: More of plotly's layout.
        """

    @_of_logger
    def report_surface(
        self,
        matrix: Any,
        iteration: SupportsIndex | None = None,
        xaxis: str | None = None,
        yaxis: str | None = None,
        zaxis: str | None = None,
        xlabels: list[str] | None = None,
        ylabels: list[str] | None = None,
        camera: Sequence[float] | None = None,
        comment: str | None = None,
        extra_layout: dict[str, Any] | None = None,
    ) -> None:
        """Logs a matrix as a surface; see `clearml.Logger.report_surface`.

        Args:
            matrix: Rows of heights, a 2D array.
            iteration: The iteration, an integer; 0 without one.
            xaxis: The title of the x axis.
            yaxis: The title of the y axis.
            zaxis: The title of the z axis.
            xlabels: A label for each column on the x axis.
            ylabels: A label for each row on the y axis.
            camera: Where it is seen from: x, y and z.
            comment: A line below the title.
            extra_layout: More of plotly's layout.
        """

    @_of_logger
    def report_image(
        self,
        iteration: SupportsIndex | None = None,
        local_path: str | None = None,
        image: Any = None,
        matrix: Any = None,
        max_image_history: int | None = None,
        delete_after_upload: bool = False,
        url: str | None = None,
    ) -> None:
        """Logs an image as a debug sample; see `clearml.Logger.report_image`.

        Args:
            iteration: The iteration, an integer; 0 without one.
            local_path: The path of the file.
            image: A numpy array of rows × columns × colours from 0 to 255, or an image of Pillow's.
            matrix: The same under ClearML's older name; `image` is what to use.
            max_image_history: How many iterations keep their image; -1 for all.
            delete_after_upload: Whether the local file is deleted once it is uploaded.
            url: Where the image is already; nothing is uploaded then.
        """

    @_of_logger
    def report_media(
        self,
        iteration: SupportsIndex | None = None,
        local_path: str | None = None,
        stream: io.BytesIO | io.StringIO | None = None,
        file_extension: str | None = None,
        max_history: int | None = None,
        delete_after_upload: bool = False,
        url: str | None = None,
    ) -> None:
        """Logs sound, video or HTML as a debug sample; see `clearml.Logger.report_media`.

        Args:
            iteration: The iteration, an integer; 0 without one.
            local_path: The path of the file.
            stream: The contents, in place of a file.
            file_extension: The contents' type, such as `".wav"`; needed for a stream.
            max_history: How many iterations keep their file; -1 for all.
            delete_after_upload: Whether the local file is deleted once it is uploaded.
            url: Where the file is already; nothing is uploaded then.
        """

    @_of_logger
    def report_plotly(self, figure: Any, iteration: SupportsIndex | None = None) -> None:
        """Logs a figure of plotly's, or its JSON as a dict; see `clearml.Logger.report_plotly`.

        Args:
            figure: The figure, or the dict of its JSON.
            iteration: The iteration, an integer; 0 without one.
        """

    @_of_logger
    def report_matplotlib_figure(
        self,
        figure: Any,
        iteration: SupportsIndex | None = None,
        report_image: bool = False,
        report_interactive: bool = True,
    ) -> None:
        """Logs a figure of matplotlib's; see `clearml.Logger.report_matplotlib_figure`.

        Args:
            figure: The figure, or `matplotlib.pyplot` for the current one.
            iteration: The iteration, an integer; 0 without one.
            report_image: Whether it is logged as an image, a debug sample.
            report_interactive: Whether it is converted to an interactive plot where that can be done.
        """

    def _log(self, call: str, given: dict[str, Any]) -> None:
        if given.get("iteration") is not None:
            given["iteration"] = to_iteration(given["iteration"])
        getattr(self.task.logger, call)(title=self.title, series=self.series, **given)
