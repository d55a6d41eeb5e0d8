"""Ctrl-C and SIGTERM: in the body, in the middle of closing, and who handles them afterwards."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._run import reporter
from clearml_taskgroup._run.signals import SignalExit, hold_signals
from clearml_taskgroup.errors import DeliveryError
from clearml_taskgroup.testing import recording
from tests.support.scripts import (
    HookedStore,
    finished,
    kept_in,
    leaves,
    line_of,
    notes_of,
    run_script,
    start_script,
    statuses,
)

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
KINDS: dict[int, type[BaseException]] = {
    signal.SIGINT: KeyboardInterrupt,
    signal.SIGTERM: SystemExit,
    signal.SIGHUP: SystemExit,
}
REASONS: dict[int, str] = {
    signal.SIGINT: "KeyboardInterrupt",
    signal.SIGTERM: "SIGTERM",
    signal.SIGHUP: "SIGHUP",
}


@pytest.fixture(autouse=True)
def handlers_put_back() -> Iterator[None]:
    """Starts each test with Python's own handlers, which it must leave as it found them."""
    defaults: list[Any] = [signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL]
    outside = [signal.signal(number, handler) for number, handler in zip(SIGNALS, defaults, strict=True)]
    yield
    after = [signal.getsignal(number) for number in SIGNALS]
    for number, handler in zip(SIGNALS, outside, strict=True):
        signal.signal(number, handler)
    assert after == defaults


def a_group(name: str = "the group") -> TaskGroup:
    """Makes a group for the store of the test."""
    return TaskGroup("the project", name, metrics=["loss"], close_timeout=30.0)


# --- in the body -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("own_block", [True, False])
def test_a_signal_in_the_body_stops_what_is_open(number: signal.Signals, own_block: bool) -> None:
    """Ctrl-C and SIGTERM reach the body as exceptions, in a task's own block or out of it."""
    with recording() as backend:
        with pytest.raises(KINDS[number]) as caught, a_group() as group:
            done, task = group.tasks({"seed": [0, 1]})
            done.close()
            if own_block:
                with task:
                    signal.raise_signal(number)
            signal.raise_signal(number)
    assert notes_of(caught.value) == []
    if number == signal.SIGTERM:
        assert caught.value.args == (143,)
    assert statuses(backend) == {"the group": "stopped", "seed=0": "completed", "seed=1": "stopped"}
    assert task.status_reason == REASONS[number]


@pytest.mark.quick(1)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_a_script_ends_it_with_its_code_and_stopped_tasks(tmp_path: Any, number: int) -> None:
    """A real signal from outside stops tasks and run in the run log, and the exit code tells of it."""
    process = start_script(
        """
        with offline() as group:
            with group.task({"seed": 0}) as task:
                task.report({"loss": 0.5}, 1)
            with group.task({"seed": 1}) as task:
                task.report({"loss": 1.5}, 1)
                print("ready", flush=True)
                sys.stdin.read()
        """,
        tmp_path,
    )
    assert line_of(process) == "ready"
    process.send_signal(number)
    outcome = finished(process, tmp_path)
    assert outcome.code == 128 + number
    (line,) = outcome.err.splitlines()
    again = "; to run again what has not completed, start the script again with resume=True"
    assert line.endswith(f"{signal.Signals(number).name} stopped 1 task of 'the group'{again}")
    assert {name: status for name, (status, _) in outcome.ends().items()} == {
        "seed=0": "completed",
        "seed=1": "stopped",
        "run": "stopped",
    }
    assert outcome.sessions["the group seed=1"].scalars == [("loss", "value", 1, 1.5)]


def test_ctrl_c_in_a_script_ends_it_with_stopped_tasks(tmp_path: Any) -> None:
    """A real Ctrl-C from outside leaves the script as KeyboardInterrupt, the data on disk."""
    process = start_script(
        """
        with offline() as group:
            for task in group.sweep({"seed": range(3)}):
                task.report({"loss": 1.5}, 1)
                print("ready", flush=True)
                sys.stdin.read()
        """,
        tmp_path,
    )
    assert line_of(process) == "ready"
    process.send_signal(signal.SIGINT)
    outcome = finished(process, tmp_path)
    assert outcome.code == -signal.SIGINT
    assert outcome.err.rstrip().endswith("KeyboardInterrupt")
    assert outcome.ends() == {
        "seed=0": ("stopped", "KeyboardInterrupt"),
        "run": ("stopped", "KeyboardInterrupt"),
    }
    assert outcome.sessions["the group seed=0"].scalars == [("loss", "value", 1, 1.5)]


def test_sigterm_after_task_init_is_not_swallowed(tmp_path: Any) -> None:
    """Over ClearML's own handler, which swallows it, SIGTERM ends a script with code 143."""
    outcome = run_script(
        """
        from clearml import Task
        Task.set_offline(True)
        main = Task.init("the project", "the script", auto_connect_frameworks=False)
        clearmls = signal.getsignal(signal.SIGTERM)
        assert clearmls is not signal.SIG_DFL
        with offline() as group:
            assert group.parent_id == main.id
            group.task({"seed": 0})
        assert signal.getsignal(signal.SIGTERM) == clearmls
        with offline() as group, group.task({"seed": 1}) as task:
            task.report({"loss": 1.5}, 1)
            os.kill(os.getpid(), signal.SIGTERM)
            print("survived")
        """,
        tmp_path,
        options=["-W", "ignore"],
    )
    assert outcome.code == 143, outcome.err
    assert "survived" not in outcome.out
    first, second = outcome.records
    assert [line["status"] for line in first if line["event"] in ("end", "close")] == ["completed"] * 2
    assert [line["status"] for line in second if line["event"] in ("end", "close")] == ["stopped"] * 2
    assert outcome.sessions["the group seed=1"].scalars == [("loss", "value", 1, 1.5)]


def test_sys_exit_in_a_script_keeps_its_code(tmp_path: Any) -> None:
    """`sys.exit(3)` in the block stops the tasks and ends the script with 3."""
    outcome = run_script(
        """
        with offline() as group:
            group.task({"seed": 0})
            sys.exit(3)
        """,
        tmp_path,
    )
    assert (outcome.code, outcome.err) == (3, "")
    assert outcome.ends() == {"seed=0": ("stopped", "SystemExit: 3"), "run": ("stopped", "SystemExit: 3")}


# --- in the middle of closing ------------------------------------------------------------------


def signalling(*numbers: signal.Signals, at: str = "finish") -> HookedStore:
    """Gives a store that gets signals while the group closes: as its first task is finished."""
    left = list(numbers)

    def raise_signals(given: Any) -> None:
        if at == "all" and left:
            signal.raise_signal(left.pop(0))
        while at == "finish" and left:
            signal.raise_signal(left.pop(0))

    return HookedStore(on_finish=raise_signals)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_waits_until_the_group_has_closed(number: signal.Signals) -> None:
    """In the middle of closing a signal breaks nothing off; afterwards it is raised."""
    backend = signalling(number)
    with kept_in(backend):
        group = a_group().open()
        group.tasks({"seed": range(3)})[2].report({"loss": 1.0}, 1)
        with pytest.raises(KINDS[number]) as caught:
            group.close()
    assert notes_of(caught.value) == []
    assert set(statuses(backend).values()) == {"completed"}
    assert backend.members[2].scalars == {("loss", "value"): [(1, 1.0)]}


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_at_the_end_of_a_block_loses_nothing(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the task has reported is written before the signal's exception leaves the block."""
    monkeypatch.setattr(reporter, "QUEUE_INTERVAL_S", 600.0)
    left: list[signal.Signals] = []
    backend = HookedStore(on_write=lambda batch: signal.raise_signal(left.pop()) if left else None)
    with kept_in(backend):
        group = a_group().open()
        with pytest.raises(KINDS[number]), group.task(name="the task") as task:
            task.report({"loss": 1.0}, 1)
            task.flush()  # then the other thread waits
            task.report({"loss": 2.0}, 2)
            left.append(number)
        assert backend.members[0].scalars == {("loss", "value"): [(1, 1.0), (2, 2.0)]}
        group.close()
    assert set(statuses(backend).values()) == {"completed"}


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_closing_does_not_replace_the_bodys_exception(number: signal.Signals) -> None:
    """The body's exception stays, with a note about the signal."""
    error = ValueError("bad")
    backend = signalling(number)
    with kept_in(backend), leaves(error, notes=[f"there came {REASONS[number]}"]), a_group() as group:
        group.task(name="the task")
        raise error
    assert set(statuses(backend).values()) == {"failed"}


def test_a_second_ctrl_c_gives_delivery_up_and_names_what_is_missing() -> None:
    """While the store hangs, the second Ctrl-C ends the waiting; the rest of the end is gone through."""
    main = threading.main_thread().ident
    assert main is not None
    release, stuck = threading.Event(), threading.Event()

    def hang(batch: Any) -> None:
        stuck.set()
        release.wait()

    backend = HookedStore(on_write=hang)
    with kept_in(backend):
        group = TaskGroup("the project", "the group", metrics=["loss"], close_timeout=600.0).open()
        task = group.task(name="the task")
        task.report({"loss": 1.0}, 1)
        assert stuck.wait(60)
        assert group._run is not None
        reporter = group._run.reporter
        reporter._progress = Interrupting(lambda: signal.pthread_kill(main, signal.SIGINT))
        try:
            with pytest.raises(KeyboardInterrupt) as caught:
                group.close()
        finally:
            release.set()
    assert task.status == "completed"
    (note,) = notes_of(caught.value)
    assert "DeliveryError: 1 point" in note
    assert "(the task)" in note


class Interrupting(threading.Condition):
    """A condition that sends a signal each time that somebody starts to wait for it."""

    def __init__(self, interrupt: Callable[[], None]) -> None:
        super().__init__()
        self.interrupt = interrupt

    def wait(self, timeout: float | None = None) -> bool:
        """Sends the signal twice, then waits."""
        self.interrupt()
        self.interrupt()
        return super().wait(timeout)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_however_often_ctrl_c_comes_the_group_ends(count: int) -> None:
    """Many signals, one at each step, still end all that can be ended and put the handlers back."""
    backend = signalling(*[signal.SIGINT] * count, at="all")
    with kept_in(backend):
        group = a_group().open()
        tasks = group.tasks({"seed": range(3)})
        with pytest.raises(KeyboardInterrupt):
            group.close()
    assert [task.status for task in tasks] == ["completed"] * 3
    group.close()


def test_a_second_signal_between_two_steps_breaks_nothing_off() -> None:
    """Where nothing is waited for, a second signal only ends further waiting."""
    with hold_signals() as interrupts:
        signal.raise_signal(signal.SIGINT)
        assert (type(interrupts.first), interrupts.given_up) == (KeyboardInterrupt, False)
        signal.raise_signal(signal.SIGINT)
        assert (type(interrupts.first), interrupts.given_up) == (KeyboardInterrupt, True)
        interrupts.waiting = True
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_held_signals_leave_foreign_handlers_alone() -> None:
    """Only Python's own Ctrl-C handler and ours are held back while a group closes."""
    seen: list[int] = []
    old = [signal.signal(number, lambda number, _: seen.append(number)) for number in SIGNALS]
    try:
        with hold_signals() as interrupts:
            for number in SIGNALS:
                signal.raise_signal(number)
    finally:
        for number, handler in zip(SIGNALS, old, strict=True):
            signal.signal(number, handler)
    assert seen == SIGNALS
    assert (interrupts.first, interrupts.given_up) == (None, False)


# --- handlers ----------------------------------------------------------------------------------


def test_a_foreign_sigterm_handler_is_left_alone() -> None:
    """A handler of the script's own gets the signal, in the block as before."""
    seen: list[int] = []

    def foreign(number: int, frame: Any) -> None:
        seen.append(number)

    old = signal.signal(signal.SIGTERM, foreign)
    try:
        with recording() as backend, a_group() as group:
            assert signal.getsignal(signal.SIGTERM) is foreign
            group.task(name="the task")
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is foreign
    finally:
        signal.signal(signal.SIGTERM, old)
    assert seen == [signal.SIGTERM]
    assert set(statuses(backend).values()) == {"completed"}


def test_an_ignored_sigterm_stays_ignored() -> None:
    """A script that ignores SIGTERM goes on doing so."""
    old = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with recording(), a_group():
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, old)


def test_a_handler_that_the_body_installs_stays() -> None:
    """What the body puts over our handler is not taken away at the end."""

    def foreign(number: int, frame: Any) -> None:
        raise AssertionError

    try:
        with recording(), a_group():
            signal.signal(signal.SIGTERM, foreign)
        assert signal.getsignal(signal.SIGTERM) is foreign
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.mark.parametrize("first", [0, 1])
def test_the_old_handler_comes_back_with_the_last_group(first: int) -> None:
    """Of two open groups, either may close first: SIGTERM is caught until both have."""
    with recording() as backend:
        groups = [a_group("the one").open(), a_group("the other").open()]
        groups.pop(first).close()
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        with pytest.raises(SystemExit):
            signal.raise_signal(signal.SIGTERM)
        groups.pop().close()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert set(statuses(backend).values()) == {"completed"}


def test_an_inner_group_leaves_the_outer_ones_handler() -> None:
    """SIGTERM is still caught in the outer block once an inner group has ended."""
    with recording() as backend, pytest.raises(SystemExit), a_group("the outer"):
        with a_group("the inner"):
            pass
        signal.raise_signal(signal.SIGTERM)
    assert statuses(backend) == {"the outer": "stopped"}


def test_a_group_in_another_thread_touches_no_handler() -> None:
    """Handlers can be set in the main thread only; a group elsewhere opens and closes without."""
    seen: list[Any] = []

    def train() -> None:
        with recording() as backend, a_group() as group:
            seen.append(signal.getsignal(signal.SIGTERM))
            group.task(name="the task")
        seen.append(statuses(backend))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL, {"the group": "completed", "the task": "completed"}]


def test_a_group_that_another_thread_closes_gives_the_handler_back_later() -> None:
    with recording():
        group = a_group().open()
        thread = threading.Thread(target=group.close)
        thread.start()
        thread.join()
        with a_group("the next"):
            pass
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_error_names_data_that_a_hanging_store_did_not_take_at_sigterm() -> None:
    """SIGTERM in the body of a group whose store refuses: the exit stays 143, with a note."""

    def refuse(batch: Any) -> None:
        raise OSError("dead disk")

    with kept_in(HookedStore(on_write=refuse)), pytest.raises(SystemExit) as caught:
        with a_group() as group, group.task(name="the task") as task:
            task.report({"loss": 1.0}, 1)
            signal.raise_signal(signal.SIGTERM)
    assert caught.value.code == SignalExit.of(signal.SIGTERM).code
    (note,) = notes_of(caught.value)
    assert DeliveryError.__name__ in note
    assert "dead disk" in note
