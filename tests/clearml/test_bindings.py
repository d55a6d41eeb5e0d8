"""ClearML's bindings: their private parts, and what happens without them."""

from __future__ import annotations

import logging
import types
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from clearml_taskgroup._clearml import bindings
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
from clearml_taskgroup._clearml import bindings

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
