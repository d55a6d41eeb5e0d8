"""ClearML's bindings: their private parts, and what happens without them."""

from __future__ import annotations

import logging
import math
import threading
import types
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from clearml_taskgroup._clearml import bindings, thread_figures
from clearml_taskgroup._clearml.bindings import BINDINGS, Binding
from clearml_taskgroup._model.frameworks import ROUTED
from tests.support.clearml_process import run


@pytest.fixture(autouse=True)
def uninstalled() -> Iterator[None]:
    yield
    bindings.uninstall()


def test_each_private_part_is_listed() -> None:
    """The list at the top of `bindings` names what its table needs; each has a framework that can be on."""
    listed = bindings.__doc__ or ""
    for binding in BINDINGS:
        assert binding.framework in ROUTED
        for name in (*binding.per_task, *binding.needs):
            plain = name.removeprefix(f"_{binding.name}")
            assert plain in listed or name in (*bindings._MEDIA, "_add_lock", "_fix_step_counter"), name


PARTS = """
from clearml_taskgroup._clearml import bindings, thread_figures

missing = []
bindings._log.logger.warning = lambda *args: missing.append(args)
bindings.install(lambda framework: None)
installed = {b.name: type(getattr(sys.modules[b.module], b.name)).__name__ for b in bindings.BINDINGS}
bindings.uninstall()
restored = {b.name: type(getattr(sys.modules[b.module], b.name)).__name__ for b in bindings.BINDINGS}
tasks = [b.name for b in bindings.BINDINGS if vars(getattr(sys.modules[b.module], b.name))["_current_task"]]
give({"missing": str(missing), "installed": installed, "restored": restored, "tasks": tasks})
"""


def test_every_binding_of_the_installed_clearml_has_its_parts(tmp_path: Any) -> None:
    """The class's place is taken, and given back; ClearML's own task is never touched."""
    found = run(PARTS, tmp_path).result
    assert found["missing"] == "[]"
    assert set(found["installed"].values()) == {"StandIn"}
    assert "StandIn" not in found["restored"].values()
    assert found["tasks"] == []


def test_a_binding_without_a_part_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """A later ClearML may have changed it: one log line, and the others work."""
    from clearml.binding import matplotlib_bind

    before, binding = matplotlib_bind.PatchedMatplotlib, BINDINGS[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            bindings, "BINDINGS", [attrs.evolve(binding, needs=("_of_a_later_clearml",)), *BINDINGS[1:]]
        )
        with caplog.at_level(logging.WARNING):
            bindings.install(lambda framework: None)
    assert matplotlib_bind.PatchedMatplotlib is before
    (line,) = caplog.messages
    assert "auto-logging of matplotlib stays as ClearML does it" in line
    assert "_of_a_later_clearml" in line
    assert "EventTrainsWriter" in bindings._installed.stand_ins


class Counting:
    """Like one of ClearML's binding classes."""

    _current_task: Any = None
    counter = 0

    @staticmethod
    def update_current_task(task: Any) -> None:
        Counting._current_task = task


def test_outside_of_a_block_a_stand_in_is_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is read, set and called; counters are those of the task in a block alone."""
    target: Any = None
    monkeypatch.setattr(bindings._installed, "find", lambda framework: target)
    binding = Binding("matplotlib", __name__, "Counting", per_task={"counter": lambda target: 10})
    stand_in: Any = bindings.StandIn(binding, Counting)
    monkeypatch.setattr(Counting, "counter", 0)
    monkeypatch.setattr(Counting, "_current_task", "main")
    assert (stand_in._current_task, stand_in.counter) == ("main", 0)
    stand_in.counter += 1
    target = types.SimpleNamespace(state={})
    stand_in.counter += 5
    assert (stand_in.counter, Counting.counter) == (15, 1)
    assert stand_in._current_task is stand_in._current_task
    stand_in._current_task = "the next main task"
    assert stand_in._current_task != Counting._current_task == "the next main task"
    assert isinstance(stand_in(), Counting)
    assert isinstance(Counting(), stand_in)


# --- what bindings take for a task -------------------------------------------------------------


class Target:
    """A task of a group, as bindings see it; notes what it is given."""

    def __init__(self) -> None:
        self.state: dict[Any, Any] = {}
        self.put: list[tuple[Any, ...]] = []
        self.frameworks = types.SimpleNamespace(report_hparams=False)
        self.created = 0

    def clearml_task(self) -> Any:
        self.created += 1
        logger = types.SimpleNamespace(report_image="own image")
        return types.SimpleNamespace(get_logger=lambda: logger, upload_artifact="own artifact")

    def last_iteration(self) -> int:
        return 7

    def put_scalar(self, *args: Any) -> None:
        self.put.append(("scalar", *args))

    def put_named(self, *args: Any) -> None:
        self.put.append(("named", *args))

    def put_evaluation(self, *args: Any) -> None:
        self.put.append(("evaluation", *args))

    def put_parameters(self, params: Any) -> None:
        self.put.append(("parameters", params))


@pytest.fixture
def target() -> Any:
    return Target()


def test_a_lazy_task_creates_clearml_s_object_when_something_needs_it(target: Any) -> None:
    """Numbers and parameters do not; the rest is asked of the object."""
    task = bindings.lazy_task(target)
    assert bindings.lazy_task(target) is task
    assert (task.get_last_iteration(), task.get_initial_iteration()) == (7, 0)
    task.update_parameters({"a": 1}, "more")
    params = {"b": 2}
    assert task.connect(params, name="library") is params
    assert task.connect(5) == 5
    assert target.put == [("parameters", {"a": 1}), ("parameters", {"b": 2})]
    logger = task.get_logger()
    logger.report_scalar("loss", "val", 0.5, 3)
    assert logger.flush(wait=True) is True
    assert target.put[2:] == [("named", "loss", "val", 3, 0.5)]
    assert target.created == 0
    assert (task.upload_artifact, logger.report_image) == ("own artifact", "own image")
    assert target.created == 2


@pytest.mark.parametrize("name", ["__wrapped__", "__deepcopy__"])
def test_a_lazy_task_has_no_special_methods_of_clearml_s(target: Any, name: str) -> None:
    """What copies or inspects it must not create the object."""
    task = bindings.lazy_task(target)
    for one in (task, task.get_logger()):
        with pytest.raises(AttributeError, match=name):
            getattr(one, name)
    assert target.created == 0


def test_boosting_frameworks_report_evaluations(target: Any) -> None:
    """A title is an evaluation set; their logger is not that of others."""
    task = bindings.lazy_task(target, bindings.EvaluationLogger)
    assert task is not bindings.lazy_task(target)
    task.get_logger().report_scalar("val", "auc", "0.5", 3)  # type: ignore[arg-type]
    assert target.put == [("evaluation", "val", "auc", 3, 0.5)]


def test_a_stand_in_gives_each_task_its_own_form(monkeypatch: pytest.MonkeyPatch, target: Any) -> None:
    """Of class attributes that are derived; and makes instances as the binding says."""
    active = [target]
    monkeypatch.setattr(bindings._installed, "find", lambda framework: active[0])
    binding = Binding(
        "matplotlib",
        __name__,
        "Counting",
        derived={"counter": lambda target, value: (target, value)},
        new=lambda cls, *args, **kwargs: (cls, args, kwargs),
    )
    stand_in: Any = bindings.StandIn(binding, Counting)
    assert stand_in.counter == (target, Counting.counter)
    active[0] = None
    assert stand_in.counter == Counting.counter
    assert stand_in(1, a=2) == (Counting, (1,), {"a": 2})


def test_while_a_library_is_patched_the_current_task_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the thread that patches; another one may call `Task.init` at this moment."""
    monkeypatch.setattr(Counting, "_current_task", None)
    stand_in: Any = bindings.StandIn(Binding("matplotlib", __name__, "Counting"), Counting)
    vars(stand_in)["_patching"] = threading.get_ident()
    stand_in._current_task = True
    assert Counting._current_task is None
    vars(stand_in)["_patching"] = -1
    stand_in._current_task = "main"
    assert Counting._current_task == "main"


def test_what_writers_keep_of_a_task_is_freed(target: Any) -> None:
    """And nothing else."""
    key = ("PatchTensorFlowEager", "_PatchTensorFlowEager__trains_event_writer")
    target.state = {bindings._TaskWriter: 1, thread_figures.FIGURES: 2, key: 3, "other": 4}
    bindings.forget_writers(target)
    assert target.state == {"other": 4}
    bindings.forget_writers(target)


# --- installing --------------------------------------------------------------------------------


class Patched:
    """Like a binding class whose library is patched."""

    _current_task: Any = None
    patched = 0

    @classmethod
    def update_current_task(cls, task: Any) -> None:
        Patched.patched += 1
        stand_in: Any = globals()["Patched"]
        stand_in._current_task = task


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs nothing but bindings of this module."""
    original = Patched
    monkeypatch.setattr(Patched, "patched", 0)
    monkeypatch.setattr(Patched, "_current_task", None)

    def install(**options: Any) -> Binding:
        binding = Binding("tensorboard", __name__, "Patched", **options)
        monkeypatch.setattr(bindings, "BINDINGS", [binding])
        bindings.install(lambda framework: None)
        return binding

    yield install
    bindings.uninstall()
    assert globals()["Patched"] is original


def test_a_library_is_patched_as_its_binding_is_installed(only: Any) -> None:
    """With no task; again, a library that was imported meanwhile, but not while there is a main task."""
    original = Patched
    only()
    assert isinstance(globals()["Patched"], bindings.StandIn)
    assert (original.patched, original._current_task) == (1, None)
    stand_in = bindings._installed.stand_ins["Patched"]
    assert vars(stand_in)["_patching"] is None
    bindings.install(lambda framework: None)
    assert (original.patched, globals()["Patched"]) == (2, stand_in)
    original._current_task = "main"
    bindings.install(lambda framework: None)
    assert original.patched == 2
    original._current_task = None
    bindings.uninstall()
    assert globals()["Patched"] is original
    assert bindings._installed.stand_ins == {}
    assert bindings._installed.find("tensorboard") is None


def test_a_class_that_is_patched_itself_is_put_back(only: Any) -> None:
    """Once, with the rest; its library is not patched."""
    done: list[str] = []

    def patch(cls: Any) -> Any:
        done.append(f"patched {cls.__name__}")
        return lambda: done.append("undone")

    only(patch=patch)
    bindings.install(lambda framework: None)
    assert (done, bindings._installed.stand_ins["Patched"]._cls.patched) == (["patched Patched"], 0)
    bindings.uninstall()
    assert done == ["patched Patched", "undone"]


def test_a_failure_to_patch_leaves_no_thread_as_patching(
    only: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(cls: Any, task: Any) -> None:
        raise ValueError("a later library")

    monkeypatch.setattr(Patched, "update_current_task", classmethod(broken))
    only()
    assert "its Patched cannot be used (ValueError: a later library)" in caplog.text
    assert vars(bindings._installed.stand_ins["Patched"])["_patching"] is None


def test_the_counters_that_a_task_begins_with(target: Any) -> None:
    """As those of a process that has logged nothing."""
    first = {
        f"{binding.name}.{name}": make(target)
        for binding in BINDINGS
        for name, make in binding.per_task.items()
    }
    assert first == {
        "PatchedMatplotlib._last_iteration_plot_titles": {},
        "PatchedMatplotlib._global_plot_counter": -1,
        "PatchedMatplotlib._global_image_counter": -1,
        "PatchedMatplotlib._matplotlib_reported_titles": set(),
        "PatchedMatplotlib._logger_started_reporting": True,
        "EventTrainsWriter._title_series_wraparound_counter": {},
        "EventTrainsWriter._EventTrainsWriter__report_hparams": False,
        "PatchTensorFlowEager._PatchTensorFlowEager__trains_event_writer": {},
    }


def test_each_task_counts_its_own_trainings(target: Any) -> None:
    """Beginning with 0; the process's own count stays, and without a callback there is none."""

    class Callback:
        _scalar_index_counter = 5

        def __init__(self, task: Any) -> None:
            self.task = task
            Callback._scalar_index_counter += 1
            self._scalar_index = Callback._scalar_index_counter

    made = [bindings._counted(target, Callback)("task") for _ in range(2)]
    other = bindings._counted(Target(), Callback)("task")  # type: ignore[arg-type]
    assert [callback._scalar_index for callback in (*made, other)] == [0, 1, 0]
    assert (Callback._scalar_index_counter, made[0].task) == (5, "task")
    assert bindings._counted(target, None) is None


def test_models_are_those_of_the_task_that_a_binding_has(
    monkeypatch: pytest.MonkeyPatch, target: Any
) -> None:
    """Of ClearML's own task they are ClearML's; joblib's are seen while a task that logs joblib is active."""
    hooked: list[Any] = []
    monkeypatch.setattr(bindings.saved_models, "hook", lambda clearml, target_of: hooked.append(target_of))  # type: ignore[attr-defined]
    monkeypatch.setattr(bindings.joblib_dump, "hook", lambda clearml, is_active: hooked.append(is_active))  # type: ignore[attr-defined]
    monkeypatch.setattr(bindings._installed, "find", {"joblib": target}.get)
    bindings._hook_models.__wrapped__()
    target_of, is_active = hooked
    assert target_of(bindings.lazy_task(target)) is target
    assert target_of("the main task") is None
    assert is_active() is True
    monkeypatch.setattr(bindings._installed, "find", {"pytorch": target}.get)
    assert is_active() is False


# --- TensorBoard's writers ---------------------------------------------------------------------


class Writer:
    """Takes the place of ClearML's `EventTrainsWriter`."""

    _current_task: Any = None
    _add_lock = threading.RLock()
    written: list[tuple[Any, ...]]

    def __init__(self, logger: Any, logdir: str = "", report_freq: int = 100, **settings: Any) -> None:
        self._logger, self._logdir, self.report_freq = logger, logdir, report_freq
        vars(self).update(settings)

    @staticmethod
    def _fix_step_counter(title: str, series: str, step: int) -> int:
        return step + 1000

    def _add_scalar(self, tag: str, step: int, value: Any) -> None:
        self.written.append(("scalar", self, tag, step, value))
        if self.report_freq == 1:
            self._logger.report_scalar(f"title of {tag}", "series", value, step)


for _name in bindings._MEDIA:
    setattr(
        Writer,
        _name,
        lambda self, *args, _name=_name, **kwargs: self.written.append((_name, self, args)) or 5,
    )


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Routes writers; `active` says which task is active."""
    found = types.SimpleNamespace(active=None)
    monkeypatch.setattr(Writer, "written", [], raising=False)
    monkeypatch.setattr(Writer, "_current_task", None)
    monkeypatch.setattr(bindings._installed, "find", lambda framework: found.active)
    undo = bindings._route_writers(Writer)
    settings = dict.fromkeys(bindings._WRITER_SETTINGS, 50)
    found.writer = Writer("own logger", logdir="runs/a", **settings)
    found.new = lambda logger: bindings._new_writer(Writer, logger, logdir="runs/b", **settings)
    yield found
    undo()
    assert Writer._add_scalar.__name__ == "_add_scalar"


def test_a_scalar_goes_to_the_active_task_under_clearml_s_name(writers: Any, target: Any) -> None:
    """The name of a tag is asked for once; ClearML's own step counter is asked each time."""
    writers.active = target
    for step in (1, 2):
        writers.writer._add_scalar("loss", step, 0.5)
    name = ("title of loss", "series")
    assert target.put == [("scalar", "runs/a", "loss", name, step + 1000, 0.5) for step in (1, 2)]
    assert len(Writer.written) == 1
    writers.writer._add_scalar("acc", 3, "not a number")
    assert math.isnan(target.put[-1][-1])
    writers.writer._add_scalar("acc", 4, None)
    assert math.isnan(target.put[-1][-1])


def test_media_go_to_a_writer_of_the_task(writers: Any, target: Any) -> None:
    """One for each folder, with the settings of the given one and the task's own data."""
    writers.active = target
    for name in bindings._MEDIA:
        assert getattr(writers.writer, name)("tag", more=1) == 5
    used = {written[1] for written in Writer.written}
    (copy,) = used
    assert copy is not writers.writer
    assert (copy._logdir, copy.report_freq) == ("runs/a", 50)
    assert copy._logger is bindings.lazy_task(target).get_logger()
    for register in bindings._REGISTERS:
        assert getattr(copy, register) is target.state[register]
    other: Any = Writer("own logger", **{**vars(writers.writer), "logdir": "runs/b"})
    other._logdir = "runs/b"
    other._add_image("tag")
    assert Writer.written[-1][1] not in (copy, other)


def test_outside_of_a_block_a_writer_is_clearml_s(writers: Any) -> None:
    writers.writer._add_scalar("loss", 1, 0.5)
    assert writers.writer._add_image("tag", 1) == 5
    assert [written[1] for written in Writer.written] == [writers.writer] * 2


def test_a_writer_that_was_made_in_a_block_belongs_to_whichever_task_is_active(
    writers: Any, target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside it is that of the main task; without one it writes nothing."""
    writer = writers.new(bindings.lazy_task(target).get_logger())
    writer._add_scalar("loss", 1, 0.5)
    assert writer._add_image("tag") is None
    assert Writer.written == []
    assert writer._logger.flush(5) is True
    flushed: list[Any] = []
    logger = types.SimpleNamespace(flush=lambda *args: flushed.append(args), level=3)
    monkeypatch.setattr(Writer, "_current_task", types.SimpleNamespace(get_logger=lambda: logger))
    writer._add_scalar("loss", 1, 0.5)
    assert writer._add_image("tag") == 5
    assert len(Writer.written) == 2
    assert (writer._logger.flush(5), writer._logger.level, flushed) == (False, 3, [(5,)])
    assert writers.new("own logger")._logger == "own logger"


def test_the_names_of_a_logger_s_scalars_are_read_without_a_prefix() -> None:
    """As ClearML's own logger is asked for the rest."""
    from clearml import Logger

    recorder: Any = bindings._NameRecorder()
    assert (recorder.name, recorder._get_tensorboard_series_prefix()) == (("", ""), None)
    assert recorder.tensorboard_single_series_per_graph == Logger.tensorboard_single_series_per_graph
