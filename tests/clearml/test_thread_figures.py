"""pyplot in several threads, each in the block of a task."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml.thread_figures import ThreadFigures
from clearml_taskgroup.testing import recording

pytestmark = pytest.mark.slow  # the import of matplotlib


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
