"""TensorBoard: a `SummaryWriter` that logs to a task of a group. TensorBoard itself is not needed."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex

from .._text import did_you_mean, shown
from ..errors import ArgumentError
from . import _media
from ._media import MAX_TEXT_CHARS
from ._metric_names import SPLITS, Relay, by_last_part, by_prefix

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .._reporting import BoundTask
    from .._task import GroupTask

BINS = 64
"""How many bins a histogram has if the caller leaves them to TensorBoard."""
_GRAPH = "ClearML has no page for graphs of models; a picture of one can be logged with add_image"
_LAYOUT = "ClearML lays its page out by the titles that the group's template gives"
_NO_PLACE = {
    "add_graph": _GRAPH,
    "add_onnx_graph": _GRAPH,
    "add_openvino_graph": _GRAPH,
    "add_embedding": "ClearML has no projector; add_tensor uploads the vectors as an artifact",
    "add_custom_scalars": _LAYOUT,
    "add_custom_scalars_marginchart": _LAYOUT,
    "add_custom_scalars_multilinechart": _LAYOUT,
    "export_scalars_to_json": "group.results() has the values, and its to_json writes them to a file",
}
"""Why calls of TensorBoard's and tensorboardX's are left out."""
_OF_FILES = ("all_writers", "event_writer", "file_writer", "_get_file_writer", "use_metadata")


class SummaryWriter:
    """Takes the calls of TensorBoard's `SummaryWriter`; made by `task.summary_writer()`.

    Numbers are reported as by `task.report`. Images, figures, histograms, precision-recall curves and meshes
    become ClearML's plots and debug samples, sound a WAV file, video a GIF, tensors artifacts; text goes to
    the task's console. Calls that ClearML has no place for (graphs, embeddings, layouts of TensorBoard's
    page) do nothing and warn once. `walltime` is ignored.

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
        display_name: str = "",
        summary_description: str = "",
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
        name: str | None = None,
    ) -> None:
        """Adds parameters to the task and reports their results.

        Raises:
            ParameterError: A parameter is part of the task's identity already, with another value.
        """
        self._relay.owner.set_parameters(hparam_dict)
        self._relay.put(metric_dict, global_step)

    # --- plots and media -----------------------------------------------------------------------

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

        flat = np.asarray(_media.as_array(values), dtype=float).ravel()
        at = (max_bins or BINS) if isinstance(bins, str) and bins == "tensorflow" else bins
        counts, edges = np.histogram(flat[np.isfinite(flat)], bins=at)
        self._relay.log("report_histogram", tag, global_step, values=counts, xlabels=_middles(edges))

    def add_histogram_raw(
        self,
        tag: str,
        min: float,  # noqa: A002 - TensorBoard's names
        max: float,  # noqa: A002
        num: int,
        sum: float,  # noqa: A002
        sum_squares: float,
        bucket_limits: Any,
        bucket_counts: Any,
        global_step: SupportsIndex | None = None,
        walltime: float | None = None,
    ) -> None:
        """Logs a histogram that has been counted already: the upper limit of each bar, and its count."""
        limits = _media.as_array(bucket_limits).ravel().tolist()
        edges = [float(min), *limits[:-1], *[float(max) if math.isinf(one) else one for one in limits[-1:]]]
        counts = _media.as_array(bucket_counts).ravel()
        self._relay.log("report_histogram", tag, global_step, values=counts, xlabels=_middles(edges))

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: SupportsIndex | None = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """Logs an image as a debug sample."""
        image = _media.to_pixels(_media.as_array(img_tensor), dataformats)
        self._relay.log("report_image", tag, global_step, image=image)

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

        images = np.moveaxis(_media.as_array(img_tensor), dataformats.upper().index("N"), 0)
        for place, image in enumerate(images):
            image = _media.to_pixels(image, dataformats.upper().replace("N", ""))
            self._relay.log("report_image", tag, global_step, f" {place}", image=image)

    def add_image_with_boxes(
        self,
        tag: str,
        img_tensor: Any,
        box_tensor: Any,
        global_step: SupportsIndex | None = None,
        walltime: float | None = None,
        rescale: float = 1,
        dataformats: str = "CHW",
        labels: Sequence[str] | None = None,
    ) -> None:
        """Logs an image with boxes, rows of left, top, right and bottom in pixels."""
        pixels = _media.to_pixels(_media.as_array(img_tensor), dataformats)
        image = _media.with_boxes(pixels, _media.as_array(box_tensor), labels, rescale)
        self._relay.log("report_image", tag, global_step, image=image)

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
        for behind, one in _media.numbered(figures):
            self._relay.log("report_matplotlib_figure", tag, global_step, behind, figure=one)
            pyplot = sys.modules.get("matplotlib.pyplot")
            if close and pyplot is not None:
                pyplot.close(one)

    def add_audio(
        self,
        tag: str,
        snd_tensor: Any,
        global_step: SupportsIndex | None = None,
        sample_rate: int = 44100,
        walltime: float | None = None,
    ) -> None:
        """Logs a sound, samples from -1 to 1, as a debug sample: a WAV file of 16 bits."""
        sound = _media.to_wav(_media.as_array(snd_tensor), sample_rate)
        self._relay.log("report_media", tag, global_step, stream=sound, file_extension=".wav")

    def add_video(
        self,
        tag: str,
        vid_tensor: Any,
        global_step: SupportsIndex | None = None,
        fps: float = 4,
        walltime: float | None = None,
        dataformats: str = "NTCHW",
    ) -> None:
        """Logs videos, side by side, as a debug sample: a GIF, as TensorBoard's does."""
        video = _media.to_gif(_media.as_array(vid_tensor), fps, dataformats)
        self._relay.log("report_media", tag, global_step, stream=video, file_extension=".gif")

    def add_pr_curve(
        self,
        tag: str,
        labels: Any,
        predictions: Any,
        global_step: SupportsIndex | None = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Logs the precision over the recall as a plot, a point for each threshold of the predictions."""
        arrays = _media.as_array(labels).ravel(), _media.as_array(predictions).ravel()
        weights = None if weights is None else _media.as_array(weights).ravel()
        self._log_pr_curve(tag, global_step, *_media.pr_curve(*arrays, num_thresholds, weights))

    def add_pr_curve_raw(
        self,
        tag: str,
        true_positive_counts: Any,
        false_positive_counts: Any,
        true_negative_counts: Any,
        false_negative_counts: Any,
        precision: Any,
        recall: Any,
        global_step: SupportsIndex | None = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Logs a curve that has been computed already, a value for each threshold from 0 to 1."""
        given = (true_positive_counts, false_positive_counts, precision, recall)
        self._log_pr_curve(tag, global_step, *(_media.as_array(one).ravel() for one in given))

    def _log_pr_curve(
        self, tag: str, step: SupportsIndex | None, found: Any, wrong: Any, precision: Any, recall: Any
    ) -> None:
        import numpy as np

        # Without a prediction above a threshold, precision has no value; TensorBoard's page leaves these out.
        defined = np.flatnonzero(found + wrong)
        end = int(defined[-1]) + 1 if defined.size else 1
        points = np.stack((recall, precision), axis=1)[:end]
        labels = [f"threshold {value:.3g}" for value in np.linspace(0, 1, len(recall))[:end]]
        axes = {"xaxis": "recall", "yaxis": "precision"}
        self._relay.log(
            "report_scatter2d", tag, step, scatter=points, labels=labels, mode="lines+markers", **axes
        )

    def add_mesh(
        self,
        tag: str,
        vertices: Any,
        colors: Any = None,
        faces: Any = None,
        config_dict: Mapping[str, Any] | None = None,
        global_step: SupportsIndex | None = None,
        walltime: float | None = None,
    ) -> None:
        """Logs meshes, or points without faces, as 3D plots; `config_dict` is for TensorBoard's page only."""
        points = _media.as_array(vertices)
        shades, corners = (None if one is None else _media.as_array(one) for one in (colors, faces))
        for place, (behind, one) in enumerate(_media.numbered(points)):
            more = (None if array is None else array[place] for array in (shades, corners))
            self._relay.log("report_plotly", tag, global_step, behind, figure=_media.mesh(one, *more))

    # --- text and files ------------------------------------------------------------------------

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

    def add_tensor(
        self, tag: str, tensor: Any, global_step: SupportsIndex | None = None, walltime: float | None = None
    ) -> None:
        """Uploads an array as an artifact, named by tag and step."""
        name = tag if global_step is None else f"{tag} {int(global_step)}"
        self._relay.owner.clearml_task.upload_artifact(name, _media.as_array(tensor))

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name not in _NO_PLACE:
            advice = "" if name not in _OF_FILES else "; this writer has no event files, only the calls add_…"
            if name.startswith("add_"):
                advice = did_you_mean(name, [one for one in dir(type(self)) if one.startswith("add_")])
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{advice}")

        def skip(*args: Any, **kwargs: Any) -> None:
            self._relay.warn_of_skipped({f"{name}()": _NO_PLACE[name]})

        return skip

    # --- the writer itself ------------------------------------------------------------------------------

    @property
    def log_dir(self) -> str:
        """The task's page, or offline its session folder."""
        return self.get_logdir()

    logdir = log_dir  # tensorboardX's name

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


def _middles(edges: Any) -> list[str]:
    """Labels for a histogram's bars."""
    return [f"{(low + high) / 2:.4g}" for low, high in itertools.pairwise(edges)]
