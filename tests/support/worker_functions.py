"""Functions that tests hand to worker processes, which import them by name."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import signal
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

from clearml_taskgroup import GroupTask, TaskGroup

STEPS = 4
DEVICE_AT_IMPORT = os.environ.get("CUDA_VISIBLE_DEVICES", "")


class Odd(Exception):
    """An exception that pickles, and cannot be unpickled."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


class Locked(Exception):
    """An exception that cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


def report(task: GroupTask) -> int:
    """Reports a few points; gives the seed's square."""
    seed = task.params["seed"]
    for step in range(STEPS):
        task.report({"loss": seed + step / 8}, step, split="val")
    return int(seed) ** 2


def report_to_deleted_session(task: GroupTask) -> None:
    """Reports after somebody has deleted the task's session."""
    session = Path(task.group._run.backend.url(task.id).removeprefix("file://"))  # type: ignore[union-attr]
    shutil.rmtree(session)
    report(task)


def with_pid(task: GroupTask) -> int:
    """Reports a few points; gives the process that did."""
    report(task)
    return os.getpid()


def meet(task: GroupTask) -> int:
    """Waits until as many processes as asked for are at work; gives this one."""
    folder = Path(task.params["folder"])
    (folder / f"{os.getpid()}").touch()
    deadline = time.monotonic() + 20
    while len(list(folder.iterdir())) < task.params["count"] and time.monotonic() < deadline:
        time.sleep(0.01)
    return os.getpid()


def nothing(task: GroupTask) -> None:
    """Does nothing."""


def some_raise(task: GroupTask) -> int:
    """Reports, then raises where the seed is odd."""
    value = report(task)
    if task.params["seed"] % 2:
        raise ValueError(f"odd seed {task.params['seed']}")
    return value


def raise_odd_kinds(task: GroupTask) -> Any:
    """Raises, or gives back, what cannot travel."""
    seed = task.params["seed"]
    if seed == 0:
        raise Odd(1, 2)
    if seed == 1:
        raise Locked("locked up")
    if seed == 2:
        return threading.Lock()
    if seed == 3:
        sys.exit(3)
    return seed


def say(task: GroupTask) -> bool:
    """Prints; gives whether the current task is this one."""
    print("printed by", task.params["seed"])
    group = TaskGroup.current()
    return GroupTask.current() is task and group is not None and group.name == task.group.name


def end_by_itself(task: GroupTask) -> str:
    """Ends its task in each of the ways that there are."""
    seed = task.params["seed"]
    if seed == 0:
        with task:
            task.report({"loss": 1.0}, 1)
    elif seed == 1:
        task.mark_failed("out of memory")
    elif seed == 2:
        task.mark_stopped("pruned")
    elif seed == 3:
        with task:
            raise MemoryError("no room")
    return "gave"


def log_more(task: GroupTask) -> None:
    """Sets a parameter, binds a context, counts what cannot be stored, uses ClearML's own logger."""
    task.set_parameters({"found": 7})
    task.bind(split="val").report({"loss": 0.5}, 1)
    task.report({"loss": float("nan")}, 2, split="val")
    task.logger.report_text("by the logger", print_console=False)
    task.clearml_task.upload_artifact("answer", {"answer": 42})


def die(task: GroupTask) -> int:
    """Is killed where the seed is 3, a second after it reported."""
    value = report(task)
    if task.params["seed"] == 3:
        time.sleep(1.2)
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def fall(task: GroupTask) -> int:
    """Is killed where the seed is 1, once all that it reported has left the process."""
    value = report(task)
    if task.params["seed"] == 1:
        task.report({"loss": 0.5}, split="test")
        assert task._run.flush(20)
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def interrupt(task: GroupTask) -> None:
    """Notes that it has begun, and meets a Ctrl-C."""
    Path(os.environ["BEGUN"], str(task)).touch()
    raise KeyboardInterrupt


def leave(task: GroupTask) -> int:
    """Ends its process where the seed is 1."""
    if task.params["seed"] == 1:
        os._exit(7)
    return report(task)


def wait_for(task: GroupTask) -> str:
    """Tells that it runs, and waits to be stopped."""
    report(task)
    folder = Path(task.params["folder"])
    (folder / f"begun-{task.params['seed']}").touch()
    for _ in range(600):
        time.sleep(0.1)
    return "not stopped"


def trouble(task: GroupTask) -> tuple[int, str | None]:
    """Fails in one of many ways in its first attempts; gives the attempt's number and the device."""
    how = task.params["how"]
    _hold_device()
    report(task)
    if task.attempt <= task.params.get("times", 1):
        assert how == "raise" or task._run.flush(20)
        if how == "raise":
            raise ValueError("no luck")
        if how == "exit":
            os._exit(7)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how in ("hang", "late", "stubborn"):
            _advance_clock(task, "begun")
            _wait(how)
        if how == "stubborn":
            _advance_clock(task, "asked to end")
            threading.Event().wait()
    return task.attempt, task.device


class Model:
    """Something large."""


models: list[weakref.ref[Model]] = []


def run_out_of_memory(task: GroupTask) -> bool:
    """Raises at first; then gives whether what it held is gone, without help of the garbage collector."""
    gc.disable()
    model = Model()
    models.append(weakref.ref(model))
    if len(models) == 1:
        raise MemoryError
    return models[0]() is None


def _wait(how: str) -> None:
    """Waits to be ended; what is not a plain hang goes on then."""
    try:
        threading.Event().wait()
    except SystemExit:
        if how == "hang":
            raise


def take_time(task: GroupTask) -> None:
    """Lets the test's clock go on."""
    _advance_clock(task, "done")


def _advance_clock(task: GroupTask, why: str) -> None:
    """Lets the clock of the test go on, once it is known there that the call has begun."""
    if "TEST_CLOCK" in os.environ:
        clock = Path(os.environ["TEST_CLOCK"])
        while not (clock / f"{task.id} known").exists():
            time.sleep(0.002)
        (clock / f"{task.id} {why}.tick").touch()


def _hold_device() -> None:
    """Locks the device until this process ends; notes that another process uses it."""
    if "TEST_DEVICES" not in os.environ:
        return
    folder = Path(os.environ["TEST_DEVICES"])
    file = os.open(folder / os.environ["CUDA_VISIBLE_DEVICES"], os.O_RDWR | os.O_CREAT)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        (folder / "used twice").touch()
        raise


def tell_device(task: GroupTask) -> tuple[str | None, str | None, str]:
    """Gives the device as the task has it, as CUDA sees it, and as it was when this module was imported."""
    if "folder" in task.params:
        meet(task)
    return task.device, os.environ.get("CUDA_VISIBLE_DEVICES"), DEVICE_AT_IMPORT


def log_run(task: GroupTask) -> None:
    """Notes that it ran, and fails the first time where the seed is odd."""
    file = os.open(task.params["file"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{task.params['seed']}\n".encode())
    os.close(file)
    again = Path(f"{task.params['file']}.{task.params['seed']}")
    if task.params["seed"] % 2 and not again.exists():
        again.touch()
        raise ValueError("once")


def open_another(task: GroupTask) -> str:
    """Tries to open a task of the group in a worker."""
    try:
        task.group.task({"seed": 99})
    except RuntimeError as error:
        return str(error)
    return "opened"


def by_hand(task: GroupTask) -> int:
    """As a user would write it for joblib."""
    with task:
        report(task)
    return int(task.params["seed"]) ** 2


def by_hand_raises(task: GroupTask) -> str:
    """A block in a worker that catches, or does not."""
    with task:
        report(task)
        if task.params:
            raise MemoryError("no room")
    return "went on"


def terminate(task: GroupTask) -> int:
    """Asks its own process to end where the seed is 1, as a scheduler would."""
    if task.params["seed"] == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    return report(task)


def report_until_aborted(task: GroupTask) -> int:
    """Reports; where the seed is 1, until the task is aborted, which begins with the file `running`."""
    deadline = time.monotonic() + 20
    task.report({"loss": 1.0}, 0)
    while task.params["seed"] == 1 and time.monotonic() < deadline:
        Path(os.environ["CLEARML_CACHE_DIR"], "running").touch()
        task.report({"loss": 1.0}, 1)
        time.sleep(0.01)
    return int(task.params["seed"])


def report_until_aborted_in_a_block(task: GroupTask) -> str:
    """The same with a block of its own, as a user would write it for joblib."""
    with task:
        report_until_aborted(task)
    return "went on"
