"""Lightning: a `Logger` that logs to a task of a group. Tried with lightning 2.2 and 2.6.

`pytorch_lightning`, the same under its former name, is supported, too.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
import sys
import weakref
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ArgumentError
from . import _media, needs
from ._metric_names import SPLITS, Relay, by_prefix, current_task
from .tensorboard import SummaryWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .._reporting import BoundTask
    from .._task import GroupTask

    Logger = object
    Call = TypeVar("Call", bound=Callable[..., Any])

    def rank_zero_only(call: Call) -> Call:  # noqa: D103
        return call

    rank_zero_experiment = rank_zero_only
else:

    def _package() -> str:
        """Finds which of the two packages the script uses; to import both would take seconds."""
        names = ("lightning", "pytorch_lightning")
        used = [name for name in names if name in sys.modules] or [
            name for name in names if importlib.util.find_spec(name)
        ]
        return "pytorch_lightning" if used[:1] == ["pytorch_lightning"] else "lightning.pytorch"

    with needs("lightning", __name__):
        _loggers = importlib.import_module(f"{_package()}.loggers.logger")
        Logger, rank_zero_experiment = _loggers.Logger, _loggers.rank_zero_experiment
        rank_zero_only = importlib.import_module(f"{_package()}.utilities").rank_zero_only

_SUFFIXES = re.compile(r"(.+?)(_step|_epoch)?(/dataloader_idx_\d+)?", re.DOTALL)
"""What Lightning adds to a name that is logged per step and per epoch, and with several data loaders."""


class Experiment(SummaryWriter):
    """What `logger.experiment` is: the calls of TensorBoard's `SummaryWriter`, and all of the task's.

    Where both have a call (`flush`, `close`, `with`), it is the writer's. A tag is read as the name that
    a module logs: `add_scalar("train_loss", …)` and `self.log("train_loss", …)` are one curve.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    @property
    def task(self) -> GroupTask:
        """The task."""
        return self._relay.owner

    def __getattr__(self, name: str) -> Any:
        if name.startswith("add_"):
            return super().__getattr__(name)
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        bound = self._relay.task
        return getattr(bound if hasattr(type(bound), name) else self.task, name)


class TaskLogger(Logger):
    """Logs to a task of a group: `Trainer(logger=TaskLogger(task))`.

    What a module logs as `train_loss`, `val/loss` or `loss/test` is the metric `loss` in the split
    of its name. If the vocabulary has an alias of the whole name, that is used. If it is logged both per
    step and per epoch, `train_loss_epoch` is the metric `loss`, and `train_loss_step` is `loss_step`. The
    task does not end with the training.

    Args:
        task: The task, or `task.bind(…)`; None for the task whose block this is.
        context: The template's field for the split; None for `split`, if the template has it.
        splits: The names of splits.
        save_dir: The folder that checkpoints are stored in, below the group's name and the task's key; None
            for the trainer's `default_root_dir`.

    Raises:
        ArgumentError: No task was given, and no task's block is active.
        UnknownFieldError: The template does not have the field.
    """

    def __init__(
        self,
        task: GroupTask | BoundTask | None = None,
        *,
        context: str | None = None,
        splits: Iterable[str] = SPLITS,
        save_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        self._read = by_prefix(splits)
        self._relay = Relay(current_task(task), self._read, context, spellings=self._spellings)
        self._save_dir = None if save_dir is None else os.fspath(save_dir)
        self._logged: set[str] = set()
        self._model: weakref.ref[Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None}  # weak references cannot be pickled; a training sets it

    @property
    def task(self) -> GroupTask:
        """The task."""
        return self._relay.owner

    @property
    @rank_zero_experiment
    def experiment(self) -> Experiment:
        """The calls of TensorBoard's `SummaryWriter`, and of the task; nothing on ranks other than 0."""
        return Experiment(self._relay)

    @property
    def name(self) -> str:
        """The group's name; checkpoints lie below it."""
        return self.task.group.name

    @property
    def version(self) -> str:
        """The task's key, the same in every run."""
        return self.task.key

    @property
    def save_dir(self) -> str | None:
        """The folder that was given for checkpoints."""
        return self._save_dir

    # --- numbers -------------------------------------------------------------------------------

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Reports metrics; those that the group's vocabulary does not have are skipped, with one warning.

        Args:
            metrics: Name → number.
            step: The iteration; None for the value of `step` in the metrics, else they are single values.
        """
        if isinstance(metrics, Mapping):
            metrics = dict(metrics)
            vocabulary = self.task.group.vocabulary
            if vocabulary is not None and "epoch" not in vocabulary:
                metrics.pop("epoch", None)  # Lightning adds it, not the user
            if step is None and "step" in metrics:
                step = int(metrics.pop("step"))
            self._logged.update(metrics)
        self._relay.put(metrics, step)

    def _spellings(self, key: str) -> tuple[str, ...]:
        """Gives what a name is read as: without what Lightning has added to it, and as it is."""
        found = _SUFFIXES.fullmatch(key)
        if found is None:  # empty
            return (key,)
        name, suffix, loader = found.groups(default="")
        split = self._read(name) if self._relay.context is not None else None
        if suffix and not self._is_added(name, suffix, split is not None):
            return (key,)
        added = suffix.removesuffix("_epoch") + loader
        plain = f"{split[1]}/{split[0]}{added}" if split is not None and added else name + added
        if self.task.group.vocabulary is not None:
            return key, plain  # what the vocabulary has as it is, is meant
        return plain, key

    def _is_added(self, name: str, suffix: str, has_split: bool) -> bool:
        """Whether Lightning has added a suffix to a name; else it is part of the user's name.

        Without a trainer that says so, a suffix of a name with a split is taken for Lightning's.
        """
        results = getattr(self._trainer(), "_results", None) or {}
        metas = [result.meta for result in results.values()]
        if any(meta.name == name and meta.forked for meta in metas):
            return True
        logged = self._logged.union(meta.name for meta in metas)
        if name in logged:
            return False
        if {f"{name}_step", f"{name}_epoch"} <= logged:  # somebody does by hand what Lightning does
            return True
        return has_split and all(meta.name != name + suffix for meta in metas)

    def _trainer(self) -> Any:
        """Returns the trainer of the current or latest training; None before the first."""
        model = self._model() if self._model is not None else None
        with contextlib.suppress(RuntimeError):  # the model is attached to none
            return getattr(model, "trainer", None)
        return None

    # --- parameters ------------------------------------------------------------------------------

    @rank_zero_only
    def log_hyperparams(
        self,
        params: Mapping[str, Any] | Namespace | None = None,
        metrics: Mapping[str, Any] | None = None,
        step: int | None = None,
    ) -> None:
        """Adds parameters to the task, and reports their results.

        Args:
            params: The parameters; modules are stored as text.
            metrics: Name → number, as for `log_metrics`.
            step: The iteration of the metrics.

        Raises:
            ParameterError: One is part of the task's identity already, with another value.
        """
        given = vars(params) if isinstance(params, Namespace) else params or {}
        if isinstance(given, Mapping):
            given = {name: repr(value) if _is_module(value) else value for name, value in given.items()}
        if given:
            self.task.set_parameters(given)
        if metrics:
            self.log_metrics(metrics, step)

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Logs nothing, for want of a place in ClearML; the model is kept, for its trainer knows the step."""
        self._model = weakref.ref(model)

    # --- images and tables ---------------------------------------------------------------------------

    @rank_zero_only
    def log_image(self, key: str, images: Sequence[Any], step: int | None = None, **kwargs: Any) -> None:
        """Logs images as debug samples; of several, the name of each ends in its number.

        Args:
            key: The name, read as a metric's.
            images: Tensors (channels × rows × columns), numpy arrays (rows × columns × channels), images of
                Pillow, figures of matplotlib, or paths of files.
            step: The iteration; None for the trainer's.
            **kwargs: `caption=`, a list of texts, which go to the task's console. The others that Lightning's
                `WandbLogger` takes are skipped, with one warning.

        Raises:
            ArgumentError: An argument has another form.
        """
        if not isinstance(images, (list, tuple)):
            raise ArgumentError(
                "images", images, "a list of tensors, arrays, Pillow images, figures or paths"
            )
        for name, values in kwargs.items():
            if not isinstance(values, (list, tuple)) or len(values) != len(images):
                raise ArgumentError(name, values, f"a list of {len(images)}, one for each image")
        experiment, step, captions = Experiment(self._relay), self._step(step), kwargs.pop("caption", None)
        for place, (behind, image) in enumerate(_media.numbered(images)):
            self._relay.log("report_image", key, step, behind, **_media.image_arguments(image))
            if captions is not None and captions[place]:
                experiment.add_text(f"{key}{behind}", str(captions[place]), step)
        if kwargs:
            reason = "ClearML has no place for it"
            self._relay.warn_of_skipped({f"log_image({name}=…)": reason for name in kwargs})

    @rank_zero_only
    def log_table(
        self,
        key: str,
        columns: Sequence[str] | None = None,
        data: Sequence[Sequence[Any]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Logs a table as a plot.

        Args:
            key: The name, read as a metric's.
            columns: The names of the columns; None for their numbers.
            data: The rows. What is neither a number nor text is stored as its `repr`.
            dataframe: A `pandas.DataFrame`, in place of columns and data.
            step: The iteration; None for the trainer's.

        Raises:
            ArgumentError: Both or neither of data and dataframe were given, or a row has another length.
        """
        table = _media.table(columns, data, dataframe)
        self._relay.log("report_table", key, self._step(step), table_plot=table)

    @rank_zero_only
    def log_text(
        self,
        key: str,
        columns: Sequence[str] | None = None,
        data: Sequence[Sequence[str]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Logs text as a table; see `log_table`."""
        self.log_table(key, columns, data, dataframe, step)

    def _step(self, step: int | None) -> int | None:
        return getattr(self._trainer(), "global_step", None) if step is None else step

    def finalize(self, status: str) -> None:
        """Ends nothing: the task ends with its own block, or its group."""


def _is_module(value: Any) -> bool:
    """Whether a value is a `torch.nn.Module`, whose weights must not be copied as a parameter."""
    return callable(getattr(value, "state_dict", None))
