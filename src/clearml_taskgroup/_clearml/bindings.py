"""ClearML's bindings for auto-logging, made to log to the active task instead of the main task.

Each binding is a class that keeps one task, and some counters, in class attributes. A stand-in takes the
place of the class as a global of its own module, where the class's functions look it up: for these, its
`_current_task` is the active task, if there is one, and the counters are those of that task. ClearML's own
values are never changed. So `Task.init` and `close` work at any time, and what is logged outside of a
block goes where it went before.

These parts of ClearML are private; `tests/clearml/test_bindings.py` tries each on the lowest and the newest
supported version. A binding that lacks one is left as it is, with a log line.

* `_current_task` of each class in `BINDINGS`, with `update_current_task()`, which patches the library.
* `PatchedMatplotlib._last_iteration_plot_titles`, `_global_plot_counter`, `_global_image_counter`,
  `_matplotlib_reported_titles` and `_logger_started_reporting`: which titles were used, at which iteration.
* `EventTrainsWriter._title_series_wraparound_counter`, `_title_series_writers_lookup`,
  `_event_writers_id_to_logdir` and `_series_name_lookup`: which names the writers of a task use, and how far
  their steps are; `__report_hparams`.
* `EventTrainsWriter._add_scalar()` and the methods in `_MEDIA`: one writer has other data, and another
  logger, for each task. With `_logger`, `_logdir` and the settings in `_WRITER_SETTINGS`.
* `PatchXGBoostModelIO.__callback_cls` and that of `PatchCatBoostModelIO`: it reports what is evaluated in
  training, and counts trainings for the whole process, so that the second task's `val` became `val - 1`.
* `PatchTensorFlowEager.__trains_event_writer`: TensorFlow's writers by their `id`, which is reused.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import threading
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from .. import _log
from .._model.frameworks import MODELS
from . import joblib_dump, saved_models, thread_figures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._model.frameworks import Frameworks


class Target(Protocol):
    """What bindings log to: a task of a group. None of its methods raises an error."""

    frameworks: Frameworks
    state: dict[Any, Any]
    """What bindings keep for the task."""

    def clearml_task(self) -> Any:
        """Gives ClearML's own object, created on first use, or one that does nothing."""

    def last_iteration(self) -> int:
        """The highest iteration that was reported so far."""

    def put_scalar(self, logdir: str, tag: str, name: tuple[str, str], step: int, value: float) -> None:
        """Reports a scalar of TensorBoard; `name` is title and series that ClearML gives it."""

    def put_named(self, title: str, series: str, iteration: int, value: float) -> None:
        """Reports a scalar under ClearML's name."""

    def put_evaluation(self, split: str, metric: str, iteration: int, value: float) -> None:
        """Reports a metric of one evaluation set."""

    def put_parameters(self, params: Mapping[str, Any]) -> None:
        """Adds parameters."""


@attrs.frozen(eq=False)
class Binding:
    """One of ClearML's binding classes.

    Attributes:
        framework: The key of `auto_connect_frameworks` that turns it on.
        module, name: Where the class is.
        per_task: Class attributes that each task has its own values of, and what they are at first.
        needs: Further private parts, without which it is left as it is.
        new: Makes an instance of the class, which is its first argument.
        derived: Class attributes that each task sees another form of, made of the value.
        logger: The class of the active task's logger.
        patch: Called with the class when it is installed; returns what undoes that. By default the library
            is patched, which lasts.
    """

    framework: str
    module: str
    name: str
    per_task: Mapping[str, Callable[[Target], Any]] = attrs.field(factory=dict)
    needs: tuple[str, ...] = ()
    derived: Mapping[str, Callable[[Target, Any], Any]] = attrs.field(factory=dict)
    new: Callable[..., Any] | None = None
    logger: type[LazyLogger] = attrs.field(factory=lambda: LazyLogger)
    patch: Callable[[Any], Callable[[], None]] | None = None


class LazyTask:
    """In place of a ClearML task: its object is created when something needs it."""

    def __init__(self, target: Target, logger: type[LazyLogger]) -> None:
        self._target = target
        self._logger = logger(target)

    def get_logger(self) -> LazyLogger:
        return self._logger

    def get_last_iteration(self) -> int:
        return self._target.last_iteration()

    def get_initial_iteration(self) -> int:
        return 0

    def update_parameters(self, params: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        self._target.put_parameters(params)

    def connect(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, dict):  # ClearML would write a library's parameters over those of the task
            self._target.put_parameters(value)
        return value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._target.clearml_task(), name)


class LazyLogger:
    """In place of that task's logger: scalars do not need ClearML's object."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def report_scalar(self, title: str, series: str, value: float, iteration: int) -> None:
        self._target.put_named(title, series, iteration, value)

    def flush(self, *args: Any, **kwargs: Any) -> bool:
        return True  # the end of the task does it

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._target.clearml_task().get_logger(), name)


class EvaluationLogger(LazyLogger):
    """The same for frameworks that evaluate while they train, for whom a title is an evaluation set."""

    def report_scalar(self, title: str, series: str, value: float, iteration: int) -> None:
        self._target.put_evaluation(title, series, iteration, float(value))


class StandIn:
    """Takes the place of a binding class as a global of its own module."""

    def __init__(self, binding: Binding, cls: Any) -> None:
        vars(self).update(_binding=binding, _cls=cls, _patching=None)

    def __getattr__(self, name: str) -> Any:
        binding = self._binding
        if name == "_current_task" or name in binding.per_task or name in binding.derived:
            target = _installed.find(binding.framework)
            if target is not None:
                if name == "_current_task":
                    return lazy_task(target, binding.logger)
                if name in binding.derived:
                    return binding.derived[name](target, getattr(self._cls, name))
                key = (binding.name, name)
                if key not in target.state:
                    target.state.setdefault(key, binding.per_task[name](target))
                return target.state[key]
        return getattr(self._cls, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_task" and self._patching == threading.get_ident():
            return  # by `update_current_task`, which is called to patch the library only
        if name in self._binding.per_task:
            target = _installed.find(self._binding.framework)
            if target is not None:
                target.state[self._binding.name, name] = value
                return
        setattr(self._cls, name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        new = self._binding.new
        return self._cls(*args, **kwargs) if new is None else new(self._cls, *args, **kwargs)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self._cls)


def lazy_task(target: Target, logger: type[LazyLogger] = LazyLogger) -> LazyTask:
    """Gives the object that bindings take for the task's ClearML task."""
    task: LazyTask = target.state.get(logger) or target.state.setdefault(logger, LazyTask(target, logger))
    return task


def forget_writers(target: Target) -> None:
    """Frees what TensorBoard's writers keep of a task, such as all of its histograms, and its figures."""
    target.state.pop(_TaskWriter, None)
    target.state.pop(thread_figures.FIGURES, None)
    target.state.pop(("PatchTensorFlowEager", "_PatchTensorFlowEager__trains_event_writer"), None)


# --- TensorBoard ---------------------------------------------------------------------------------

_FRAMEWORKS = "clearml.binding.frameworks"
_TENSORFLOW = f"{_FRAMEWORKS}.tensorflow_bind"
_WRAPAROUND = "_title_series_wraparound_counter"
_REGISTERS = ("_title_series_writers_lookup", "_event_writers_id_to_logdir", "_series_name_lookup")
_MEDIA = (
    *("_add_histogram", "_add_image", "_add_image_numpy", "_add_plot", "_add_audio", "_add_text"),
    "_add_hparams",
)
_WRITER_SETTINGS = (
    *("report_freq", "image_report_freq", "histogram_update_freq_multiplier", "histogram_granularity"),
    "max_keep_images",
)


class _MainLogger:
    """The logger of ClearML's own current task, for writers that were made in the block of another one."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls

    @property
    def _main(self) -> Any:
        return vars(self._cls)["_current_task"]

    def flush(self, *args: Any, **kwargs: Any) -> bool:
        return bool(self._main.get_logger().flush(*args, **kwargs)) if self._main is not None else True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._main.get_logger(), name)


class _NameRecorder:
    """A logger that keeps the title and the series of the latest scalar."""

    name = ("", "")

    def report_scalar(self, title: str, series: str, value: float, iteration: int) -> None:
        self.name = (title, series)

    def _get_tensorboard_series_prefix(self) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        from clearml import Logger

        return getattr(Logger, name)


class _TaskWriter:
    """What one of TensorBoard's writers has of one task."""

    def __init__(self, cls: Any, target: Target, writer: Any, add_scalar: Any) -> None:
        self._cls, self._add_scalar = cls, add_scalar
        self._recorder = _NameRecorder()
        self.writer = _copy_of(cls, target, writer, lazy_task(target).get_logger())
        self._namer = _copy_of(cls, target, writer, self._recorder)
        self._namer.report_freq = 1
        self._names: dict[str, tuple[str, str]] = {}

    def name(self, tag: str, step: int) -> tuple[str, str]:
        """Gives the title and the series that ClearML gives to a tag."""
        if tag not in self._names:
            with self._cls._add_lock:
                self._add_scalar(self._namer, tag, step, 0.0)
                self._names[tag] = self._recorder.name
        return self._names[tag]


def _copy_of(cls: Any, target: Target, writer: Any, its_logger: Any) -> Any:
    copy = cls.__new__(cls)
    for register in _REGISTERS:
        setattr(copy, register, target.state.setdefault(register, {}))
    settings = {name: getattr(writer, name) for name in _WRITER_SETTINGS}
    cls.__init__(copy, its_logger, logdir=writer._logdir, **settings)
    return copy


def _new_writer(cls: Any, logger: Any, *args: Any, **kwargs: Any) -> Any:
    """Makes a writer for whichever task is active when something is written to it."""
    return cls(_MainLogger(cls) if isinstance(logger, LazyLogger) else logger, *args, **kwargs)


def _route_writers(cls: Any) -> Callable[[], None]:
    originals = {name: vars(cls)[name] for name in ("_add_scalar", *_MEDIA)}
    add_scalar = originals["_add_scalar"]

    def part_of(target: Target, writer: Any) -> _TaskWriter:
        parts = target.state.setdefault(_TaskWriter, {})
        if writer._logdir not in parts:
            parts.setdefault(writer._logdir, _TaskWriter(cls, target, writer, add_scalar))
        part: _TaskWriter = parts[writer._logdir]
        return part

    def has_no_task(writer: Any) -> bool:
        return isinstance(writer._logger, _MainLogger) and writer._logger._main is None

    def routed_scalar(self: Any, tag: str, step: int, scalar_data: Any) -> None:
        target = _installed.find("tensorboard")
        if target is None:
            if not has_no_task(self):
                add_scalar(self, tag, step, scalar_data)
            return
        name = part_of(target, self).name(tag, step)
        step = cls._fix_step_counter(*name, step)
        target.put_scalar(self._logdir, tag, name, step, _number(scalar_data))

    def routed(original: Any) -> Any:
        @functools.wraps(original)
        def add(self: Any, *args: Any, **kwargs: Any) -> Any:
            target = _installed.find("tensorboard")
            if target is None:
                return None if has_no_task(self) else original(self, *args, **kwargs)
            return original(part_of(target, self).writer, *args, **kwargs)

        return add

    cls._add_scalar = routed_scalar
    for name in _MEDIA:
        setattr(cls, name, routed(originals[name]))

    def undo() -> None:
        for name, original in originals.items():
            setattr(cls, name, original)

    return undo


def _number(value: Any) -> float:
    try:
        return float(value)  # NaN and infinity arrive as text
    except (TypeError, ValueError):
        return float("nan")


# --- saved models ------------------------------------------------------------------------------


def _counted(target: Target, original: Any) -> Any:
    """Makes the callback of a training for one task, which counts the trainings of that task alone."""
    if original is None:
        return None
    trainings = target.state.setdefault(original, itertools.count())

    def new(task: Any) -> Any:
        callback = original(task=task)
        original._scalar_index_counter -= 1
        callback._scalar_index = next(trainings)
        return callback

    return new


@functools.cache
def _hook_models() -> None:
    import clearml

    saved_models.hook(clearml, lambda task: task._target if isinstance(task, LazyTask) else None)
    joblib_dump.hook(clearml, lambda: _installed.find("joblib") is not None)


@functools.cache
def _hook_figures() -> Callable[[], None]:
    imports = importlib.import_module("clearml.binding.import_bind").PostImportHookPatching
    return thread_figures.hook(imports, lambda: _installed.find("matplotlib"))


# --- the bindings --------------------------------------------------------------------------------

BINDINGS = [
    Binding(
        "matplotlib",
        "clearml.binding.matplotlib_bind",
        "PatchedMatplotlib",
        per_task={
            "_last_iteration_plot_titles": lambda target: {},
            "_global_plot_counter": lambda target: -1,
            "_global_image_counter": lambda target: -1,
            "_matplotlib_reported_titles": lambda target: set(),
            "_logger_started_reporting": lambda target: True,  # its iteration is asked for, not guessed
        },
    ),
    Binding(
        "tensorboard",
        _TENSORFLOW,
        "EventTrainsWriter",
        per_task={
            _WRAPAROUND: lambda target: {},
            "_EventTrainsWriter__report_hparams": lambda target: target.frameworks.report_hparams,
        },
        needs=(*_REGISTERS, "_add_lock", "_fix_step_counter", "_add_scalar", *_MEDIA),
        new=_new_writer,
        patch=_route_writers,
    ),
    Binding("tensorboard", _TENSORFLOW, "PatchSummaryToEventTransformer"),
    Binding(
        "tensorboard",
        _TENSORFLOW,
        "PatchTensorFlowEager",
        per_task={"_PatchTensorFlowEager__trains_event_writer": lambda target: {}},
    ),
    Binding("joblib", "clearml.binding.joblib_bind", "PatchedJoblib"),
    Binding("pytorch", f"{_FRAMEWORKS}.pytorch_bind", "PatchPyTorchModelIO"),
    Binding("tensorflow", _TENSORFLOW, "PatchKerasModelIO"),
    Binding("tensorflow", _TENSORFLOW, "PatchTensorflowModelIO"),
    Binding("tensorflow", _TENSORFLOW, "PatchTensorflow2ModelIO"),
    Binding("lightgbm", f"{_FRAMEWORKS}.lightgbm_bind", "PatchLIGHTgbmModelIO", logger=EvaluationLogger),
    Binding(
        "xgboost",
        f"{_FRAMEWORKS}.xgboost_bind",
        "PatchXGBoostModelIO",
        derived={"_PatchXGBoostModelIO__callback_cls": _counted},
        logger=EvaluationLogger,
    ),
    Binding(
        "catboost",
        f"{_FRAMEWORKS}.catboost_bind",
        "PatchCatBoostModelIO",
        derived={"_PatchCatBoostModelIO__callback_cls": _counted},
        logger=EvaluationLogger,
    ),
]
"""The bindings that log to the active task, in the order in which they are installed."""


@attrs.define
class _Installed:
    """The stand-ins in their places; `find` gives the active task for a framework, or None."""

    find: Callable[[str], Target | None] = lambda framework: None
    stand_ins: dict[str, StandIn] = attrs.field(factory=dict)
    undo: list[Callable[[], None]] = attrs.field(factory=list)
    lock: threading.RLock = attrs.field(factory=threading.RLock)


_installed = _Installed()


def install(find: Callable[[str], Target | None]) -> None:
    """Puts the stand-ins into their places; again, it patches libraries that were imported meanwhile.

    Args:
        find: Gives the active task for a framework, a key of `auto_connect_frameworks`; else None.
    """
    with _installed.lock:
        _installed.find = find
        for binding in BINDINGS:
            try:
                _install(binding)
            except Exception as error:  # whatever a future ClearML does there
                _log.logger.warning(
                    "auto-logging of %s stays as ClearML does it: its %s cannot be used (%s: %s)",
                    *(binding.framework, binding.name, type(error).__name__, error),
                )


def _install(binding: Binding) -> None:
    module = importlib.import_module(binding.module)
    if binding.framework in MODELS:
        _hook_models()
    if binding.framework == "matplotlib":
        replace_figures = _hook_figures()
        replace_figures()  # matplotlib may be imported by now
    if binding.name not in _installed.stand_ins:
        cls = getattr(module, binding.name)
        for name in ("_current_task", "update_current_task", *binding.per_task, *binding.needs):
            getattr(cls, name)
        _installed.stand_ins[binding.name] = StandIn(binding, cls)
        setattr(module, binding.name, _installed.stand_ins[binding.name])
        _installed.undo.append(functools.partial(setattr, module, binding.name, cls))
        if binding.patch is not None:
            _installed.undo.append(binding.patch(cls))
    stand_in = _installed.stand_ins[binding.name]
    if binding.patch is None and vars(stand_in._cls)["_current_task"] is None:
        vars(stand_in)["_patching"] = threading.get_ident()
        try:
            stand_in._cls.update_current_task(True)  # patches the library for any task that is not None
        finally:
            vars(stand_in)["_patching"] = None


def uninstall() -> None:
    """Puts ClearML's own classes back."""
    with _installed.lock:
        while _installed.undo:
            _installed.undo.pop()()
        _installed.stand_ins.clear()
        _installed.find = lambda framework: None
