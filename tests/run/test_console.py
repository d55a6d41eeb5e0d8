"""capture="console": what a task's block prints and logs goes to that task's console, and only there."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup._run import console as _console
from clearml_taskgroup._run.console import Sink
from tests.loopback import LoopbackServer
from tests.support.scripts import Place, place_of


@pytest.fixture(params=["memory", "offline"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where a group keeps its tasks: in memory, or in ClearML's offline sessions."""
    with place_of(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Place]:
    """A place in memory."""
    with place_of("memory", tmp_path) as found:
        yield found


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    """No test may leave a stream or a handler of ours behind."""
    streams, handlers = (sys.stdout, sys.stderr), list(logging.getLogger().handlers)
    yield
    assert (sys.stdout, sys.stderr) == streams
    assert logging.getLogger().handlers == handlers


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of the test's own, whose handlers go with it."""
    found = logging.getLogger("clearml_taskgroup_tests")
    found.setLevel(logging.DEBUG)
    yield found
    for handler in list(found.handlers):
        found.removeHandler(handler)
    found.propagate = True


def capturing(place: Place, name: str = "the group", **options: Any) -> TaskGroup:
    """A group that captures."""
    return place.group(name, capture="console", **options)


# --- what is printed ---------------------------------------------------------------------------


def test_prints_go_to_the_task_of_the_block(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output and error of a task's block are in its console, and on the screen as before."""
    with capturing(place) as group:
        with group.task(name="one"):
            print("first", "line")
            print("an error", file=sys.stderr)
        with group.task(name="two"):
            sys.stdout.writelines(["second\n", "third\n"])
    assert place.console("one").splitlines() == ["first line", "an error"]
    assert place.console("two").splitlines() == ["second", "third"]
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("first line\nsecond\nthird\n", "an error\n")


def test_text_outside_of_blocks_goes_nowhere(place: Place) -> None:
    """What is printed between, before and after the blocks is in no console."""
    print("before all")
    with capturing(place) as group:
        print("before")
        task, other = group.tasks({"seed": [0, 1]})
        with task:
            print("inside")
        print("between")
        other.report({"loss": 1.0}, 0)
    print("after all")
    assert place.console("seed=0") == "inside"
    assert place.console("seed=1") == ""


def test_a_group_that_does_not_capture(place: Place) -> None:
    """Without capture= nothing goes to a console, and the streams are left alone."""
    before = sys.stdout
    with place.group() as group, group.task(name="one"):
        print("inside")
        assert sys.stdout is before
    assert place.console("one") == ""


def test_a_line_without_an_end_is_sent_as_the_block_ends(place: Place) -> None:
    """Pieces of a line are put together, and the last piece is not lost."""
    with capturing(place) as group, group.task(name="one"):
        print("one, ", end="")
        print("two")
        print("no end", end="")
    assert place.console("one").splitlines() == ["one, two", "no end"]


def test_a_redirected_stream_is_left_alone(memory: Place) -> None:
    """What the user redirects goes where it was redirected to."""
    with capturing(memory) as group, group.task(name="one"):
        with redirect_stdout(io.StringIO()) as elsewhere:
            print("elsewhere")
        print("here")
    assert (elsewhere.getvalue(), memory.console("one")) == ("elsewhere\n", "here")


def test_an_exception_follows_what_was_printed(place: Place) -> None:
    """The traceback of what leaves the block comes after the text before it, unfinished lines too."""
    with capturing(place, catch=ValueError) as group, group.task(name="one"):
        print("step 1")
        print("unfinished", end="")
        raise ValueError("wrong")
    lines = place.console("one").splitlines()
    assert lines[:3] == ["step 1", "unfinished", "Traceback (most recent call last):"]
    assert lines[-1] == "ValueError: wrong"


# --- progress bars -----------------------------------------------------------------------------


def collected(*pieces: str) -> list[str]:
    """The lines that a sink makes of pieces of text."""
    found: list[str] = []
    sink = Sink(lambda text: found.extend(text.split("\n")))
    for piece in pieces:
        sink.write(piece)
    sink.flush()
    return found


@pytest.mark.parametrize(
    "pieces",
    [
        [*(f"\r{percent}%" for percent in range(0, 101, 10)), "\n"],
        [*(f"{percent}%\r" for percent in range(0, 101, 10)), "\n"],
        [*(f"\r{percent}%" for percent in range(0, 101, 10))],
        ["\r50%\r100%\n"],
        ["\r50", "%\r", "100%", "\r\n"],
    ],
)
def test_of_a_progress_bar_the_last_state_counts(pieces: list[str]) -> None:
    """Of a line that is written over with carriage returns, only the last state is sent."""
    assert collected(*pieces) == ["100%"]


@pytest.mark.parametrize("form", ["\r{}", "{}\r"])
def test_a_long_progress_bar_is_one_line(form: str) -> None:
    """However often a bar is written over, it is one line, and no memory of its states is kept."""
    found: list[str] = []
    sink = Sink(found.append)
    for step in range(20_000):
        sink.write(form.format(f"step {step}"))
    assert found == []
    assert len(sink._rest) < 50
    sink.flush()
    assert found == ["step 19999"]


def test_a_progress_bar_in_a_block(place: Place) -> None:
    """A bar between prints is one line between them."""
    with capturing(place) as group, group.task(name="one"):
        print("before")
        for percent in (0, 50, 100):
            print(f"\r{percent}%", end="", file=sys.stderr)
        print(file=sys.stderr)
        print("after")
    assert place.console("one").splitlines() == ["before", "100%", "after"]


def test_a_line_that_never_ends_is_sent_in_parts() -> None:
    """Text without a line end does not pile up."""
    found: list[str] = []
    sink = Sink(found.append)
    for _ in range(10):
        sink.write("x" * 5000)
    assert found
    sink.flush()
    assert "".join(found) == "x" * 50_000


def test_blank_lines_alone_are_not_sent() -> None:
    """Empty text makes no entry, but blank lines between others stay."""
    assert collected("\n", "  \n", "\r") == []
    assert collected("a\n\nb\n") == ["a", "", "b"]


# --- several at once ---------------------------------------------------------------------------


def test_tasks_in_threads_do_not_mix(memory: Place) -> None:
    """Blocks that are open at once in threads each get their own lines, all of them."""
    barrier = threading.Barrier(4)

    def work(task: GroupTask) -> None:
        with task:
            barrier.wait()
            for step in range(200):
                print(f"{task} step {step}")

    with capturing(memory) as group, ThreadPoolExecutor(4) as pool:
        list(pool.map(work, group.tasks({"seed": range(4)})))
    for seed in range(4):
        lines = memory.console(f"seed={seed}").splitlines()
        assert lines == [f"seed={seed} step {step}" for step in range(200)]


def test_tasks_in_asyncio_do_not_mix(memory: Place) -> None:
    """Blocks that are open at once in one asyncio loop each get their own lines."""

    async def work(task: GroupTask) -> None:
        with task:
            for step in range(20):
                print(f"{task} ", end="")
                await asyncio.sleep(0)
                print(f"step {step}")

    async def main(tasks: list[GroupTask]) -> None:
        await asyncio.gather(*map(work, tasks))

    with capturing(memory) as group:
        asyncio.run(main(group.tasks({"seed": range(3)})))
    for seed in range(3):
        lines = memory.console(f"seed={seed}").splitlines()
        assert lines == [f"seed={seed} step {step}" for step in range(20)]


def test_a_thread_takes_part_when_it_says_so(memory: Place) -> None:
    """A new thread prints to no task until it activates one."""

    def work(task: GroupTask) -> None:
        print("nowhere")
        with task.activate():
            print("from the thread")

    with capturing(memory) as group, group.task(name="one") as task:
        thread = threading.Thread(target=work, args=(task,))
        thread.start()
        thread.join()
        print("from the block")
    assert memory.console("one").splitlines() == ["from the thread", "from the block"]


def test_nested_groups(memory: Place) -> None:
    """Of nested blocks the inner one gets the text; the streams go back with the last group."""
    with capturing(memory, "outer group") as outer:
        with outer.task(name="outer") as task:
            print("outer before")
            with capturing(memory, "inner group") as inner, inner.task(name="inner"):
                print("inside")
            print("outer after")
            assert task.status == "in_progress"
    assert memory.console("outer").splitlines() == ["outer before", "outer after"]
    assert memory.console("inner") == "inside"


def test_groups_that_do_not_end_in_order(memory: Place) -> None:
    """A group that ends before one that was opened later does not end the other's capture."""
    first, second = capturing(memory, "first group").open(), capturing(memory, "second group").open()
    first.close()
    with second.task(name="one"):
        print("still here")
    second.close()
    assert memory.console("one") == "still here"


def test_a_stream_over_ours_stays(memory: Place) -> None:
    """Whoever wraps the stream meanwhile keeps it, and a later group captures each line once."""

    class Wrapper(io.StringIO):
        def __init__(self, below: Any) -> None:
            super().__init__()
            self.below = below

        def write(self, text: str) -> int:
            return int(self.below.write(text))

    original = sys.stdout
    try:
        with capturing(memory, "first group"):
            wrapper = sys.stdout = Wrapper(sys.stdout)
        assert sys.stdout is wrapper
        with capturing(memory, "second group") as group, group.task(name="one"):
            print("once")
        assert memory.console("one") == "once"
    finally:
        sys.stdout = original


def test_a_program_without_streams(memory: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no standard output (pythonw), printing does nothing, as without us."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        with capturing(memory) as group, group.task(name="one"):
            print("to nobody")
            print("an error", file=sys.stderr)
        assert sys.stdout is None
    assert memory.console("one") == "an error"


# --- logging -----------------------------------------------------------------------------------


def test_log_records_go_to_the_task(place: Place, logger: logging.Logger) -> None:
    """Log records of a block are in the task's console, with logger and level; others are not."""
    with capturing(place) as group:
        logger.warning("outside")
        with group.task(name="one"):
            logger.info("epoch %d", 3)
    (line,) = place.console("one").splitlines()
    assert line.endswith("clearml_taskgroup_tests INFO epoch 3")


@pytest.mark.parametrize("when", ["before", "inside"])
@pytest.mark.parametrize("on", ["root", "own"])
def test_log_records_are_there_once(memory: Place, logger: logging.Logger, when: str, on: str) -> None:
    """A record that a StreamHandler prints is in the console once, whenever the handler was made."""
    holder = logging.getLogger() if on == "root" else logger
    handler = logging.StreamHandler() if when == "before" else None
    if handler is not None:
        holder.addHandler(handler)
    try:
        with capturing(memory) as group, group.task(name="one"):
            if handler is None:
                handler = logging.StreamHandler()
                holder.addHandler(handler)
            logger.error("only once")
    finally:
        assert handler is not None
        holder.removeHandler(handler)
    assert memory.console("one").count("only once") == 1


def test_a_handler_that_is_too_strict_does_not_count(memory: Place, logger: logging.Logger) -> None:
    """A record below the level of the StreamHandler is in the console all the same."""
    with capturing(memory) as group, group.task(name="one"):
        handler = logging.StreamHandler()
        handler.setLevel(logging.ERROR)
        logger.addHandler(handler)
        logger.info("quiet")
        logger.error("loud")
    assert [memory.console("one").count(word) for word in ("quiet", "loud")] == [1, 1]


def test_a_logger_that_keeps_to_itself(memory: Place, logger: logging.Logger) -> None:
    """A logger that does not propagate is captured through its own stream handler."""
    logger.propagate = False
    with capturing(memory) as group, group.task(name="one"):
        logger.addHandler(logging.StreamHandler())
        logger.error("own")
    assert memory.console("one") == "own"


def test_unconfigured_logging_is_still_shown(
    memory: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without any handler, warnings go to standard error as before, and to the console once."""
    root = logging.getLogger()
    with monkeypatch.context() as patch:
        patch.setattr(root, "handlers", [])
        with capturing(memory) as group:
            logging.getLogger("anybody").warning("outside")
            with group.task(name="one"):
                logging.getLogger("anybody").warning("shown")
                logging.getLogger("anybody").debug("never")
    assert capsys.readouterr().err == "outside\nshown\n"
    assert memory.console("one") == "shown"


# --- online ------------------------------------------------------------------------------------


def test_the_console_on_a_server(loopback: LoopbackServer) -> None:
    """Prints of a block are in the console of its task on the server, in order with the traceback."""
    options: dict[str, Any] = {"mode": "online", "provenance": False, "catch": ValueError}
    with TaskGroup("console", "captured", capture="console", **options) as group:
        for task in group.sweep({"seed": range(2)}):
            with task:
                print(f"training {task}")
                raise ValueError("wrong")
    for task in group:
        text = "\n".join(loopback.logs(task.id))
        assert text.splitlines()[:2] == [f"training {task}", "Traceback (most recent call last):"]
    assert _console._installed.groups == 0
