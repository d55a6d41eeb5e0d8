"""accelerate: a tracker that logs to a task of a group. Tried with accelerate 1.1 and 1.15."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _media, needs
from ._metric_names import SPLITS, Relay, by_patterns, by_prefix, current_task, flat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeVar

    from .._reporting import BoundTask
    from .._task import GroupTask

    GeneralTracker = object
    Call = TypeVar("Call", bound=Callable[..., Any])

    def on_main_process(call: Call) -> Call:  # noqa: D103
        return call
else:
    with needs("accelerate", __name__):
        from accelerate.tracking import GeneralTracker, on_main_process


class TaskTracker(GeneralTracker):
    """Logs to a task of a group: `Accelerator(log_with=TaskTracker(task))`.

    What the script logs as `train_loss`, `val/loss` or `loss/test` is the metric `loss` in the split of its
    name. If the vocabulary has an alias of the whole name, that is used. Only the main process logs. The task
    does not end with `accelerator.end_training()`.

    Args:
        task: The task, or `task.bind(…)`; None for the task whose block this is.
        context: The template's field for the split; None for `split`, if the template has it.
        splits: The names of splits.
        only: Patterns of the names that are reported, `"val_*"`; None for all.
        ignore: Patterns of names that are not reported.

    Raises:
        ArgumentError: No task was given, and no task's block is active; or a pattern is not text.
        UnknownFieldError: The template does not have the field.
    """

    name = "clearml_taskgroup"
    requires_logging_directory = False
    main_process_only = True

    def __init__(
        self,
        task: GroupTask | BoundTask | None = None,
        *,
        context: str | None = None,
        splits: Iterable[str] = SPLITS,
        only: str | Iterable[str] | None = None,
        ignore: str | Iterable[str] = (),
    ) -> None:
        super().__init__()
        takes = by_patterns(only, ignore)
        self._relay = Relay(current_task(task), by_prefix(splits), context, takes=takes)

    @property
    def tracker(self) -> GroupTask:
        """The task; `accelerator.get_tracker("clearml_taskgroup", unwrap=True)` returns it."""
        return self._relay.owner

    @on_main_process
    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Adds the config of `init_trackers` to the task's parameters; nested dicts become `a/b`.

        Raises:
            ParameterError: A parameter is part of the task's identity already, with another value.
        """
        self.tracker.set_parameters(values)

    @on_main_process
    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Reports numbers; without a step they are single values. What is no number is left out.

        Args:
            values: Name → number; nested dicts become `a/b`.
            step: The iteration.
            **kwargs: Nothing that is used.
        """
        self._relay.put(flat(values), step)

    @on_main_process
    def log_images(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Logs images as debug samples; of several, the name of each ends in its number.

        Args:
            values: Name → a list of images, or an array of them. They are tensors (channels × rows ×
                columns), numpy arrays (rows × columns × channels), images of Pillow, figures of matplotlib,
                or paths.
            step: The iteration.
            **kwargs: More arguments of `clearml.Logger.report_image`.

        Raises:
            ArgumentError: An image has another form.
        """
        for name, given in values.items():
            images = (
                list(given) if isinstance(given, (list, tuple)) or getattr(given, "ndim", 0) == 4 else [given]
            )
            for behind, image in _media.numbered(images):
                self._relay.log("report_image", name, step, behind, **_media.image_arguments(image), **kwargs)

    @on_main_process
    def log_table(
        self,
        table_name: str,
        columns: Sequence[str] | None = None,
        data: Sequence[Sequence[Any]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Logs a table as a plot.

        Args:
            table_name: The name, read as a metric's.
            columns: The names of the columns; None for their numbers.
            data: The rows. What is neither a number nor text is stored as its `repr`.
            dataframe: A `pandas.DataFrame`, in place of columns and data.
            step: The iteration.
            **kwargs: More arguments of `clearml.Logger.report_table`.

        Raises:
            ArgumentError: Both or neither of data and dataframe were given, or a row has another length.
        """
        table = _media.table(columns, data, dataframe)
        self._relay.log("report_table", table_name, step, table_plot=table, **kwargs)

    def finish(self) -> None:
        """Ends nothing: the task ends with its own block, or its group."""
