"""pyplot in several threads, each in the block of a task."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml.thread_figures import FIGURES, ThreadFigures, hook
from clearml_taskgroup.testing import recording


@pytest.fixture
def plt() -> Iterator[Any]:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    with recording():
        yield pyplot
    pyplot.close("all")


def in_threads(*targets: Any) -> None:
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.slow  # the import of matplotlib
def test_each_thread_in_a_block_has_its_own_figures(plt: Any) -> None:
    """What one thread opens, draws, shows and closes is not seen by another, nor by the main thread."""
    both, found = threading.Barrier(2), {}

    def work(task: Any) -> None:
        with task:
            figure = plt.figure()
            both.wait(60.0)
            plt.plot([task.index])
            both.wait(60.0)
            found[task.index] = plt.gcf() is figure, plt.get_fignums(), figure.gca().lines[0].get_ydata()[0]
            both.wait(60.0)
            plt.close("all")

    outer = plt.figure()
    with TaskGroup("digits", "sweep", auto_connect_frameworks=True) as group:
        one, two = group.tasks({"C": [1, 2]})
        in_threads(lambda: work(one), lambda: work(two))
        assert plt.gcf() is outer
    assert found == {index: (True, [1], index) for index in (one.index, two.index)}


@pytest.mark.slow
def test_without_a_block_and_in_the_main_thread_they_are_pyplots(plt: Any) -> None:
    """Threads outside of blocks share them, and so does a group that does not log matplotlib."""
    first = plt.figure()
    numbers = []
    with TaskGroup("digits", "sweep", auto_connect_frameworks=True) as group:
        with group.task({"C": 1}):
            assert plt.gcf() is first
        in_threads(lambda: numbers.append(plt.get_fignums()))
    with TaskGroup("digits", "off", auto_connect_frameworks={"matplotlib": False}) as group:

        def work() -> None:
            with group.task({"C": 1}):
                numbers.append(plt.get_fignums())

        in_threads(work)
    assert numbers == [[first.number], [first.number]]


def test_it_has_what_pyplot_uses_of_the_list() -> None:
    own: OrderedDict[Any, Any] = OrderedDict({1: "one", 2: "two"})
    figures = ThreadFigures(own, lambda: None)
    figures[3] = "three"
    figures.move_to_end(1)
    del figures[2]
    assert (list(figures), list(reversed(figures)), len(figures)) == ([3, 1], [1, 3], 2)
    assert figures[1] == "one"
    assert 2 not in figures
    assert next(reversed(figures.values())) == "one"
    assert own == {3: "three", 1: "one"}


def test_a_thread_in_a_block_has_a_list_of_its_own() -> None:
    """The main thread, and a thread outside of blocks, have pyplot's."""
    own: OrderedDict[Any, Any] = OrderedDict({1: "pyplot's"})
    target: Any = SimpleNamespace(state={})
    active = [target]
    figures, seen = ThreadFigures(own, lambda: active[0]), list[Any]()

    def work() -> None:
        figures[2] = "the thread's"
        seen.append((list(figures), threading.get_ident()))
        active[0] = None
        seen.append(list(figures))

    in_threads(work)
    (in_block, thread), outside = seen
    assert (in_block, outside) == ([2], [1])
    assert target.state == {FIGURES: {thread: {2: "the thread's"}}}
    active[0] = target
    assert list(figures) == [1]


def test_the_list_is_replaced_once_matplotlib_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """And once only; what is no list of pyplot's stays."""
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    own: OrderedDict[Any, Any] = OrderedDict({1: "one"})
    module: Any = ModuleType("matplotlib")
    managers = SimpleNamespace(figs=own)
    module._pylab_helpers = SimpleNamespace(Gcf=managers)
    imports: list[Any] = []
    replace = hook(SimpleNamespace(add_on_import=lambda *args: imports.append(args)), lambda: None)
    replace()
    assert (imports, managers.figs) == ([("matplotlib", replace)], own)
    monkeypatch.setitem(sys.modules, "matplotlib", module)
    for _ in range(2):
        replace()
        assert isinstance(managers.figs, ThreadFigures)
        assert managers.figs._own is own
    managers.figs = "of a later version"
    replace()
    assert managers.figs == "of a later version"
