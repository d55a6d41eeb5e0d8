"""TensorBoard: a `SummaryWriter` that logs to a task of a group. TensorBoard itself is not needed."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, SupportsIndex

from .._text import shown
from ..errors import ArgumentError
from ._metric_names import SPLITS, Relay, by_last_part, by_prefix

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .._reporting import BoundTask
    from .._task import GroupTask

BINS = 64
"""How many bins a histogram has if the caller leaves them to TensorBoard."""
MAX_TEXT_CHARS = 10_000
"""The most characters of what is no text in `add_text`."""


class SummaryWriter:
    """Takes the calls of TensorBoard's `SummaryWriter`; made by `task.summary_writer()`.

    Numbers are reported as by `task.report`; images, figures and histograms go to `task.logger`, text
    to the task's console. Calls that ClearML has no place for (graphs, embeddings, sound, …) do
    nothing and warn once. `walltime` is ignored.

    Args:
        task: The task, or `task.bind(…)`.
        context: The template's field that a tag's last part goes to, `loss/train`. None for the field
            `split`, if there is one, where that part or the first one is `train`, `val`, `test` or
            the like; all other tags are metrics as they are.

    Raises:
        UnknownFieldError: The template does not have the field.
    """

    def __init__(self, task: GroupTask | BoundTask, context: str | None = None) -> None:
        read = by_last_part if context is not None else by_prefix(SPLITS, "/")
        self._relay = Relay(task, read, context, strict=True)

    # --- numbers -------------------------------------------------------------------------------

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: SupportsIndex | None = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """Reports a number; without a step it is a single value.

        Raises:
            MetricValueError, UnknownMetricError, TaskClosedError: As for `task.report`.
            NameCollisionError: Two tags would get the same name.
        """
        if not isinstance(tag, str):
            raise ArgumentError("tag", tag, "text")
        self._relay.put({tag: scalar_value}, global_step)

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: Mapping[str, Any],
        global_step: SupportsIndex | None = None,
        walltime: float | None = None,
    ) -> None:
        """Reports numbers that belong into one plot; the dict's keys are what they differ in."""
        if not isinstance(tag_scalar_dict, Mapping):
            raise ArgumentError("tag_scalar_dict", tag_scalar_dict, "a dict of name to number")
        for key, value in tag_scalar_dict.items():
            tag = f"{main_tag}/{key}"
            self._relay.place(tag, (main_tag, key))
            self._relay.put({tag: value}, global_step)

    def add_hparams(
        self,
        hparam_dict: Mapping[str, Any],
        metric_dict: Mapping[str, Any],
        hparam_domain_discrete: Any = None,
        run_name: str | None = None,
        global_step: SupportsIndex | None = None,
    ) -> None:
        """Adds parameters to the task and reports their results.

        Raises:
            ParameterError: A parameter is part of the task's identity already, with another value.
        """
        self._relay.owner.set_parameters(hparam_dict)
        self._relay.put(metric_dict, global_step)

    # --- everything else -----------------------------------------------------------------------

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: SupportsIndex | None = None,
        bins: Any = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """Logs a histogram of values, without those that are not finite."""
        import numpy as np

        flat = np.asarray(_array(values), dtype=float).ravel()
        at = (max_bins or BINS) if isinstance(bins, str) and bins == "tensorflow" else bins
        counts, edges = np.histogram(flat[np.isfinite(flat)], bins=at)
        middles = [f"{(low + high) / 2:.4g}" for low, high in itertools.pairwise(edges)]
        self._log("report_histogram", tag, global_step, values=counts, xlabels=middles)

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: SupportsIndex | None = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """Logs an image as a debug sample."""
        image = _image(_array(img_tensor), dataformats)
        self._log("report_image", tag, global_step, image=image)

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: SupportsIndex | None = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """Logs several images, each as a debug sample whose name ends in its number."""
        import numpy as np

        images = np.moveaxis(_array(img_tensor), dataformats.upper().index("N"), 0)
        for place, image in enumerate(images):
            image = _image(image, dataformats.upper().replace("N", ""))
            self._log("report_image", tag, global_step, f" {place}", image=image)

    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: SupportsIndex | None = None,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        """Logs a matplotlib figure, or several; they are closed afterwards, as TensorBoard's does."""
        figures = list(figure) if isinstance(figure, (list, tuple)) else [figure]
        for place, one in enumerate(figures):
            behind = "" if len(figures) == 1 else f" {place}"
            self._log("report_matplotlib_figure", tag, global_step, behind, figure=one)
            pyplot = sys.modules.get("matplotlib.pyplot")
            if close and pyplot is not None:
                pyplot.close(one)

    def add_text(
        self,
        tag: str,
        text_string: str,
        global_step: SupportsIndex | None = None,
        walltime: float | None = None,
    ) -> None:
        """Writes text to the task's console, behind its tag and step."""
        step = "" if global_step is None else f" [{global_step}]"
        task = self._relay.owner
        task._require_open()
        text = text_string if isinstance(text_string, str) else shown(text_string, MAX_TEXT_CHARS)
        task._put_text(f"{tag}{step}: {text}")

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not name.startswith("add_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

        def skip(*args: Any, **kwargs: Any) -> None:
            self._relay.warn_of_skipped({f"{name}()": "ClearML has no place for it, but see task.logger"})

        return skip

    def _log(self, call: str, tag: str, step: SupportsIndex | None, behind: str = "", **what: Any) -> None:
        metric, context = self._relay.place(tag, scalar=False)
        title, series = self._relay.task.name(metric, **context)
        report = getattr(self._relay.owner.logger, call)
        report(title=title, series=series + behind, iteration=0 if step is None else int(step), **what)

    # --- the writer itself ------------------------------------------------------------------------------

    @property
    def log_dir(self) -> str:
        """The task's page, or offline its session folder."""
        return self.get_logdir()

    def get_logdir(self) -> str:
        """Returns the task's page, or offline its session folder."""
        return self._relay.owner.url or ""

    def flush(self) -> None:
        """Waits until everything reported so far is delivered; see `task.flush`."""
        self._relay.owner.flush()

    def close(self) -> None:
        """Does nothing: the task stays open until its own end or its group's."""

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _array(values: Any) -> Any:
    """Converts numpy's arrays, lists, and tensors on any device."""
    import numpy as np

    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.asarray(values)


def _image(array: Any, formats: str) -> Any:
    """Converts an image to rows × columns × colours from 0 to 255; floats are taken to be from 0 to 1."""
    import numpy as np

    formats = formats.upper()
    if len(formats) != array.ndim or sorted(formats) not in (["C", "H", "W"], ["H", "W"]):
        raise ArgumentError("dataformats", formats, f"'HW', 'CHW' or the like, for {array.ndim} dimensions")
    array = array.transpose([formats.index(letter) for letter in "HWC" if letter in formats])
    if array.dtype.kind == "f":
        array = np.nan_to_num(array) * 255
    array = np.clip(array, 0, 255).astype(np.uint8)
    return array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
