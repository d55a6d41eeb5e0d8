"""`group.map` under kills, signals and all start methods, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup._clearml.queries import identity_of
from tests.loopback import LoopbackServer
from tests.loopback.harness import sdk_environment
from tests.support.scripts import Disk

pytestmark = pytest.mark.slow

POINTS, STEPS = 200, 5
RAISING, KILLED = range(0, POINTS, 10), range(7, POINTS, 50)

HEAD = """
import json, multiprocessing, os, signal, sys, threading, time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from clearml_taskgroup import TaskGroup

def group(**options):
    return TaskGroup("kills", "the map", provenance=False, **options)

def give(**found):
    print("FOUND " + json.dumps(found), flush=True)

"""

KILLS = """
RAISING, KILLED = {raising}, {killed}

def point(task):
    seed = task.params["seed"]
    for step in range({steps}):
        task.report({{"loss": seed + step / 8}}, step)
    if seed in RAISING:
        raise ValueError(f"raised by {{seed}}")
    if seed in KILLED:
        time.sleep(1.1)
        os.kill(os.getpid(), signal.SIGKILL)
    return seed

if __name__ == "__main__":
    multiprocessing.set_start_method("{method}")
    with group() as group:
        mapped = group.map(point, {{"seed": range({points})}}, workers=4)
        values = [row.value("loss", of="mean") for row in group.results()]
    give(
        values=[one.value for one in mapped],
        errors=[one.error and f"{{type(one.error).__name__}}: {{one.error}}" for one in mapped],
        statuses=[one.task.status for one in mapped],
        ids=[one.task.id for one in mapped],
        means=values,
        left=[child.name for child in multiprocessing.active_children()],
    )
"""


def run(source: str, home: Path, server: LoopbackServer | None, code: int = 0) -> dict[str, Any]:
    """Runs a script; gives what it found."""
    process = start(source, home, server)
    try:
        out, err = process.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with its workers, which would go on beside the next tests
        raise
    assert process.returncode == code, out + err
    told = [line for line in out.splitlines() if line.startswith("FOUND ")]
    found: dict[str, Any] = json.loads(told[-1].removeprefix("FOUND ")) if told else {}
    return {**found, "stderr": err}


def start(source: str, home: Path, server: LoopbackServer | None) -> subprocess.Popen[str]:
    """Starts a script with ClearML set up for a server, or offline."""
    env = sdk_environment(server, home)
    (home / "script.py").write_text(HEAD + source)
    return subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=home,
        env=env if server else {**env, "CLEARML_OFFLINE_MODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(params=["online", "offline"])
def server(request: pytest.FixtureRequest) -> Iterator[LoopbackServer | None]:
    """A server, or None for offline."""
    if request.param == "offline":
        yield None
        return
    with LoopbackServer() as found:
        yield found
        assert (found.violations, found.crashes) == ([], [])


def held(home: Path, server: LoopbackServer | None, ids: list[str]) -> list[tuple[str, str, list[Any]]]:
    """Status, reason and points of each task."""
    if server is not None:
        docs = [server.task(task_id) for task_id in ids]
        return [
            (doc["status"], doc["status_reason"], server.scalars(doc["id"]).get(("loss", "value"), []))
            for doc in docs
        ]
    disk = Disk(home / "cache")
    ends = {line["id"]: line for line in disk.record() if line["event"] == "end"}
    assert len(ends) == len([line for line in disk.record() if line["event"] == "end"])
    sessions = {session.task["id"]: session for session in disk.sessions.values()}
    return [
        (ends[task_id]["status"], ends[task_id]["reason"], [p[2:] for p in sessions[task_id].scalars])
        for task_id in ids
    ]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_two_hundred_points_with_failures_and_kills(
    method: str, tmp_path: Path, server: LoopbackServer | None
) -> None:
    """10% raise, 2% are killed: each fails its own task alone, and every point is there exactly once."""
    source = KILLS.format(
        raising=list(RAISING), killed=list(KILLED), steps=STEPS, method=method, points=POINTS
    )
    found = run(source, tmp_path, server)
    assert found["left"] in ([], ["clearml-taskgroup"])
    assert found["means"] == [n + (STEPS - 1) / 16 for n in range(POINTS)]
    expected = ["failed" if n in RAISING or n in KILLED else "completed" for n in range(POINTS)]
    assert found["statuses"] == expected
    assert found["values"] == [n if status == "completed" else None for n, status in enumerate(expected)]
    for n, (status, reason, points) in enumerate(held(tmp_path, server, found["ids"])):
        assert status == expected[n]
        assert list(points) == [(step, n + step / 8) for step in range(STEPS)]
        if n in KILLED:
            assert reason == "its worker process was killed by SIGKILL (out of memory?)"
            assert found["errors"][n].startswith("WorkerDiedError")
        elif n in RAISING:
            assert reason == f"ValueError: raised by {n}"
            assert found["errors"][n].startswith(f"ValueError: raised by {n}")


TROUBLE = """
import fcntl

AT_IMPORT = os.environ["CUDA_VISIBLE_DEVICES"]
held = []

def hold_device():
    name = os.environ["CUDA_VISIBLE_DEVICES"]
    held.append(os.open(name, os.O_RDWR | os.O_CREAT))
    try:
        fcntl.lockf(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)  # until this process has ended
    except OSError:
        Path(f"used-twice-{name}").touch()
        raise

def point(task):
    hold_device()
    how = task.params["how"]
    task.report({"loss": task.attempt}, 1)
    if task.attempt <= task.params["times"] and how != "complete":
        if how != "raise":
            assert task._run.flush(30)
        if how == "raise":
            raise ValueError("no luck")
        if how == "exit":
            os._exit(7)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "hang":
            threading.Event().wait()
        while how == "ignore":
            try:
                threading.Event().wait()
            except BaseException:
                pass
    return task.device, AT_IMPORT

if __name__ == "__main__":
    METHOD
    with group() as group:
        space = {"how": HOWS, "times": [1, 2]}
        mapped = group.map(point, space, workers=4, devices=["0", "1", "2", "3"], retries=1, timeout=5)
        results = [(row.status, row.attempt, row.value("loss")) for row in group.results()]
    give(
        outcomes=[(*one.task.params.values(), one.task.status, one.task.attempt) for one in mapped],
        devices=[(one.task.device, *(one.value or [None, None])) for one in mapped],
        ids=[one.task.id for one in mapped],
        errors=[type(one.error).__name__ for one in mapped],
        results=results,
        failures=len(group.failures),
    )
"""
HOWS = {
    "complete": ("", "NoneType"),
    "raise": ("ValueError: no luck", "ValueError"),
    "exit": ("its worker process ended with exit code 7", "WorkerDiedError"),
    "kill": ("its worker process was killed by SIGKILL (out of memory?)", "WorkerDiedError"),
    "hang": ("the call took longer than timeout=5 s, so its worker process was ended", "CallTimeoutError"),
    "ignore": ("the call took longer than timeout=5 s, so its worker process was ended", "CallTimeoutError"),
}
"""What configurations do; the reason of the task's failure, and the class of the error."""


@pytest.mark.parametrize("method", ["fork", None])
def test_all_kinds_of_trouble_on_four_devices(
    method: str | None, tmp_path: Path, server: LoopbackServer | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some hang, die or raise once or always: all statuses are correct, no device is used twice at a time."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,GPU-6,7")
    chosen = f"multiprocessing.set_start_method({method!r})" if method else ""
    found = run(TROUBLE.replace("METHOD", chosen).replace("HOWS", repr([*HOWS])), tmp_path, server)
    assert list(tmp_path.glob("used-twice-*")) == []
    visible = {"0": "4", "1": "5", "2": "GPU-6", "3": "7"}
    for outcome, devices, error in zip(found["outcomes"], found["devices"], found["errors"], strict=True):
        how, times, status, attempt = outcome
        fails = how != "complete" and times == 2
        assert (status, attempt) == ("failed" if fails else "completed", 1 if how == "complete" else 2)
        assert error == (HOWS[how][1] if fails else "NoneType")
        device, in_worker, at_import = devices
        assert device in visible
        assert fails or (in_worker, at_import) == (device, visible[device] if method is None else at_import)
    assert found["results"] == [[status, attempt, attempt] for *_, status, attempt in found["outcomes"]]
    assert found["failures"] == 5
    assert sorted(ended(tmp_path, server)) == sorted(
        (how, attempt, "failed" if attempt <= times and how != "complete" else "completed", HOWS[how][0])
        if attempt <= times
        else (how, attempt, "completed", "")
        for how, times, _, attempts in found["outcomes"]
        for attempt in range(1, attempts + 1)
    )


def ended(home: Path, server: LoopbackServer | None) -> list[tuple[str, int, str, str]]:
    """What each task does, its attempt, its status and its reason; of all attempts."""
    if server is not None:
        docs = [(doc, identity_of(doc)) for doc in server.tasks.values()]
        return [
            (
                doc["hyperparams"]["General"]["how"]["value"],
                int(own["attempt"]),
                doc["status"],
                doc["status_reason"],
            )
            for doc, own in docs
            if own["kind"] == "task"
        ]
    lines = Disk(home / "cache").record()
    ends = {line["id"]: line for line in lines if line["event"] == "end"}
    opened = [line for line in lines if line["event"] == "task"]
    return [
        (line["params"]["how"], line["attempt"], ends[line["id"]]["status"], ends[line["id"]]["reason"])
        for line in opened
    ]


INTERRUPTED = """
def point(task):
    task.report({"loss": 1.0}, 1)
    Path(f"begun-{task.params['seed']}").touch()
    for _ in range(600):
        time.sleep(0.1)

def stubborn(task):
    task.report({"loss": 1.0}, 1)
    Path(f"begun-{task.params['seed']}").touch()
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

if __name__ == "__main__":
    multiprocessing.set_start_method("METHOD")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with group() as group:
        print("READY", flush=True)
        FUNCTION
"""
WAYS = {
    "workers": "group.map(point, {'seed': range(4)}, workers=2)",
    "stubborn": "group.map(stubborn, {'seed': range(4)}, workers=2)",
    "here": "group.map(point, {'seed': range(4)})",
}


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("everybody", [True, False])
def test_an_interrupt_stops_all(way: str, number: signal.Signals, everybody: bool, tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM, to the process group or the script alone, end it with all tasks stopped."""
    source = INTERRUPTED.replace("METHOD", "fork").replace("FUNCTION", WAYS[way])
    process = start(source, tmp_path, None)
    wait_for(tmp_path, 1 if way == "here" else 2)
    began = time.monotonic()
    (os.killpg if everybody else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - began < 12
    assert process.returncode == {signal.SIGINT: -signal.SIGINT, signal.SIGTERM: 143}[number], err
    disk = Disk(tmp_path / "cache")
    reason = {signal.SIGINT: "KeyboardInterrupt", signal.SIGTERM: "SIGTERM"}[number]
    ends = disk.ends()
    assert set(ends.values()) == {("stopped", reason)}
    begun = [path.name.removeprefix("begun-") for path in tmp_path.glob("begun-*")]
    for seed in begun:
        assert [p[2:] for p in disk.sessions[f"the map seed={seed}"].scalars] == [(1, 1.0)]
    assert not living(process.pid)


def wait_for(home: Path, count: int) -> None:
    """Waits until as many points have begun."""
    deadline = time.monotonic() + 30
    while len(list(home.glob("begun-*"))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def living(group: int) -> list[int]:
    """The processes of a process group that live, after a moment."""
    deadline = time.monotonic() + 10
    while True:
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[2]) == group and fields[0] != "Z":
                found.append(int(path.parent.name))
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_outlive_nobody(method: str, tmp_path: Path) -> None:
    """Where the script is killed, its workers end, and what they reported is on disk; resume works."""
    source = INTERRUPTED.replace("METHOD", method).replace("FUNCTION", WAYS["workers"])
    process = start(source, tmp_path, None)
    wait_for(tmp_path, 2)
    time.sleep(1)
    process.kill()
    process.communicate()
    assert not living(process.pid)
    disk = Disk(tmp_path / "cache")
    points = [point for session in disk.sessions.values() for point in session.scalars]
    assert points == [("loss", "value", 1, 1.0)] * 2
    resumed = """
def point(task):
    return task.params["seed"], task.attempt

if __name__ == "__main__":
    with group(resume=True) as group:
        give(values=[one.value for one in group.map(point, {"seed": range(4)}, workers=2)])
"""
    assert sorted(value[0] for value in run(resumed, tmp_path, None)["values"]) == [0, 1, 2, 3]


EXECUTORS = """
RAISING, KILLED = {raising}, {killed}

def point(task):
    seed = task.params["seed"]
    with open("ran", "a") as file:
        file.write(f"{{seed}}\\n")
    for step in range({steps}):
        task.report({{"loss": seed + step / 8}}, step)
    if seed in RAISING:
        raise ValueError(f"raised by {{seed}}")
    if seed in KILLED:
        time.sleep(0.6)
        os.kill(os.getpid(), signal.SIGKILL)
    return seed

def dask():
    from distributed import Client
    return Client(n_workers=2, threads_per_worker=1, dashboard_address=None)

def loky():
    import loky
    return loky.get_reusable_executor(2)

def pool():
    return ProcessPoolExecutor(2)

if __name__ == "__main__":
    with {kind}() as executor, group() as group:
        if "{kind}" == "dask":
            executor = executor.get_executor()
        mapped = group.map(point, {{"seed": range({points})}}, executor=executor)
    give(
        values=[one.value for one in mapped],
        errors=[one.error and f"{{type(one.error).__name__}}: {{one.error}}" for one in mapped],
        statuses=[one.task.status for one in mapped],
        ids=[one.task.id for one in mapped],
    )
"""


@pytest.mark.parametrize("kind", ["dask", "loky", "pool"])
def test_executors_with_failures_and_kills(kind: str, tmp_path: Path, server: LoopbackServer | None) -> None:
    """No point runs twice, statuses and errors agree, and on Dask a death concerns its own point alone."""
    pytest.importorskip({"dask": "distributed"}.get(kind, "concurrent"))
    raising, killed = [3, 13], [9, 19, 29, 39, 49]
    source = EXECUTORS.format(raising=raising, killed=killed, steps=STEPS, points=60, kind=kind)
    found = run(source, tmp_path, server)
    ran = (tmp_path / "ran").read_text().split()
    assert len(ran) == len(set(ran))
    states = held(tmp_path, server, found["ids"])
    for seed, (status, reason, points) in enumerate(states):
        error = found["errors"][seed]
        assert status == found["statuses"][seed] == ("failed" if error else "completed")
        assert found["values"][seed] == (None if error else seed)
        if status == "completed" or seed in raising:
            assert points == [(step, seed + step / 8) for step in range(STEPS)] or error
        if error and seed not in raising:
            assert "resume=True" in error
            assert reason
    if kind == "dask":
        failed = [seed for seed, error in enumerate(found["errors"]) if error]
        assert failed == sorted([*raising, *killed])
        assert len(ran) == 60
    else:
        assert found["errors"][9].startswith("WorkerDiedError: the task 'seed=9' was running")
        assert "was waiting" in found["errors"][59]


WAITING = """
def point(task):
    Path(f"begun-{task.params['seed']}").touch()
    for step in range(300):
        time.sleep(0.1)
        task.report({"loss": 1.0}, step)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with EXECUTOR as executor, group() as group:
        group.map(point, {"seed": range(12)}, executor=executor)
"""


@pytest.mark.parametrize("executor", ["ProcessPoolExecutor(2)", "ThreadPoolExecutor(2)"])
@pytest.mark.parametrize("everybody", [True, False])
def test_an_interrupt_stops_what_an_executor_runs(executor: str, everybody: bool, tmp_path: Path) -> None:
    """Waiting points do not begin, running ones end with their next report, all tasks are stopped."""
    process = start(WAITING.replace("EXECUTOR", executor), tmp_path, None)
    wait_for(tmp_path, 2)
    began = time.monotonic()
    (os.killpg if everybody else os.kill)(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 12
    assert process.returncode == -signal.SIGINT, err
    ends = Disk(tmp_path / "cache").ends()
    assert {status for status, _ in ends.values()} == {"stopped"}
    assert len(ends) == 13
    assert len(list(tmp_path.glob("begun-*"))) == 2
    assert not living(process.pid)
    assert not list(tmp_path.glob("cache/taskgroup/*/*-begun"))


BESIDE = """
from clearml import Task

def point(task):
    task.report({"loss": task.params["seed"]}, 1)
    return os.getpid(), multiprocessing.current_process().name

if __name__ == "__main__":
    main = Task.init("kills", "main", auto_resource_monitoring=False)
    with group() as group:
        mapped = group.map(point, {"seed": range(4)}, workers=2)
    give(values=[one.value for one in mapped], errors=[repr(one.error) for one in mapped],
         ids=[one.task.id for one in mapped], pid=os.getpid(), main=main.id)
    main.close()
"""


def test_beside_a_main_task(tmp_path: Path) -> None:
    """Beside `Task.init` workers run as ever; no task is made that nobody asked for."""
    with LoopbackServer() as server:
        found = run(BESIDE, tmp_path, server)
        assert found["errors"] == ["None"] * 4
        assert found["pid"] not in [pid for pid, _ in found["values"]]
        for seed, task_id in enumerate(found["ids"]):
            assert server.scalars(task_id) == {("loss", "value"): [(1, float(seed))]}
            assert server.task(task_id)["status"] == "completed"
            assert server.task(task_id)["parent"] == found["main"]
        assert len(server.tasks) == 5
        assert server.task(found["main"])["status"] == "completed"


def test_a_function_of_a_console_is_found(tmp_path: Path) -> None:
    """What is defined in a console, a notebook or `python -c` runs on workers, where Python can fork."""
    script = (
        HEAD
        + """
def point(task):
    return task.params["seed"] + 1

with group() as group:
    give(values=[one.value for one in group.map(point, {"seed": range(4)}, workers=2)])
"""
    )
    env = {**sdk_environment(None, tmp_path), "CLEARML_OFFLINE_MODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert 'FOUND {"values": [1, 2, 3, 4]}' in done.stdout, done.stderr


UNGUARDED = """
def point(task):
    return 1

multiprocessing.set_start_method("METHOD")
with group() as group:
    group.map(point, {"seed": range(3)}, workers=2)
"""


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_script_without_a_guard_is_told_so(method: str, tmp_path: Path) -> None:
    """Workers that import the script make neither a task nor a second run; the script says what to do."""
    found = run(UNGUARDED.replace("METHOD", method), tmp_path, None, code=1)
    assert "WorkerStartError" in found["stderr"]
    assert '`if __name__ == "__main__":`' in found["stderr"]
    disk = Disk(tmp_path / "cache")
    assert len(disk.records) == 1
    assert [session.task["type"] for session in disk.sessions.values()] == ["controller"]


GUARD_BELOW = """
def point(task):
    return 1

with group() as group:
    if __name__ == "__main__":
        multiprocessing.set_start_method("METHOD")
        group.map(point, {"seed": range(3)}, workers=2)
"""


def test_a_group_outside_the_guard_is_named(tmp_path: Path) -> None:
    """The worker says which group it would have opened once more."""
    found = run(GUARD_BELOW.replace("METHOD", "spawn"), tmp_path, None, code=1)
    assert "WorkerStartError: the group 'the map' would be opened again" in found["stderr"]
    assert len(Disk(tmp_path / "cache").records) == 1


AWAY = """
def point(task):
    for step in range(5):
        task.report({"loss": step / 8}, step)
    if task.params["seed"] == 3:
        time.sleep(1.1)
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    with group(close_timeout=3) as group:
        print("READY", flush=True)
        while not os.path.exists("go"):
            time.sleep(0.02)
        group.map(point, {"seed": range(6)}, workers=2)
"""


def test_points_of_workers_wait_for_a_server(tmp_path: Path) -> None:
    """What workers reported, a killed one too, is told as waiting; `upload` brings it, with the statuses."""
    with LoopbackServer() as server:
        process = start(AWAY, tmp_path, server)
        assert process.stdout is not None
        assert process.stdout.readline() == "READY\n"
        server.faults.fail_next("events.add_batch", status=503, times=10_000)
        (tmp_path / "go").touch()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "points of 6 tasks" in err
        assert "wait in" in err
        assert "clearml-taskgroup upload" in err
        server.faults.clear()
        brought = subprocess.run(
            [sys.executable, "-m", "clearml_taskgroup", "upload", "--all"],
            cwd=tmp_path,
            env=sdk_environment(server, tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert brought.returncode == 0, brought.stdout + brought.stderr
        docs = {doc["name"]: doc for doc in server.tasks.values()}
        for seed in range(6):
            doc = docs[f"the map seed={seed}"]
            assert doc["status"] == ("failed" if seed == 3 else "completed")
            assert server.scalars(doc["id"]) == {("loss", "value"): [(step, step / 8) for step in range(5)]}
