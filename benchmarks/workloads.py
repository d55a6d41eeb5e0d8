"""The workloads of `core.py`, each run in a process of its own: `workloads.py KIND TASKS STEPS`.

Imports and provenance lie outside the timing on every side. Each prints one JSON object: seconds
of wall and CPU time, threads, open files and peak memory, after it has read all data back.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

MODE: Literal["online", "offline"] = "online" if os.environ.get("BENCHMARK_MODE") == "online" else "offline"
METRICS = ("loss", "accuracy", "precision", "recall", "f1")
Value = Callable[[int, int, int], float]


def values(tasks: int, steps: int) -> list[float]:
    """The numbers to log, made before the clock starts."""
    rng = random.Random(0)
    return [rng.random() for _ in range(tasks * steps * len(METRICS))]


class Clock:
    """Wall and CPU seconds, and the threads and open files above those at the start."""

    def __init__(self) -> None:
        self.threads, self.files = threading.active_count(), _open_files()
        self.most_threads = self.most_files = 0
        self.loop = 0.0
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def look(self) -> None:
        """Counts threads and files; called while everything is open."""
        self.most_threads = threading.active_count() - self.threads
        self.most_files = _open_files() - self.files

    def stop(self) -> dict[str, float]:
        """Gives what was measured."""
        return {
            "wall": time.perf_counter() - self.wall,
            "cpu": time.process_time() - self.cpu,
            "loop": self.loop,
            "threads": self.most_threads,
            "files": self.most_files,
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def ours(tasks: int, steps: int, numbers: list[float], *, one_by_one: bool = False) -> dict[str, Any]:
    """A group with all tasks open at once."""
    import clearml  # noqa: F401 - the import is not what is measured

    from clearml_taskgroup import TaskGroup

    it = iter(numbers)
    clock = Clock()
    with TaskGroup("benchmark", "core", mode=MODE, provenance=False) as group:
        space = [{"index": index} for index in range(tasks)]
        members = [group.task(point) for point in space] if one_by_one else group.tasks(space)
        start = time.perf_counter()
        for step in range(steps):
            for task in members:
                task.report(
                    {
                        "loss": next(it),
                        "accuracy": next(it),
                        "precision": next(it),
                        "recall": next(it),
                        "f1": next(it),
                    },
                    step,
                    split="val",
                )
        clock.loop = time.perf_counter() - start
        clock.look()
    measured = clock.stop()
    return {**measured, "points": read_back([task.id for task in members], numbers, steps)}


def raw(tasks: int, steps: int, numbers: list[float]) -> dict[str, Any]:
    """Raw ClearML, as fast as it goes: tasks made by `Task._create`."""
    from clearml import Task

    if MODE == "offline":
        Task.set_offline(True)
    it = iter(numbers)
    clock = Clock()
    members: list[Any] = [
        Task._create(project_name="benchmark", task_name=f"task {index}", task_type="training")
        for index in range(tasks)
    ]
    for task in members if MODE == "online" else ():
        task.mark_started()
    loggers = [task.get_logger() for task in members]
    start = time.perf_counter()
    for step in range(steps):
        for logger in loggers:
            logger.report_scalar("loss", "val", next(it), step)
            logger.report_scalar("accuracy", "val", next(it), step)
            logger.report_scalar("precision", "val", next(it), step)
            logger.report_scalar("recall", "val", next(it), step)
            logger.report_scalar("f1", "val", next(it), step)
    clock.loop = time.perf_counter() - start
    clock.look()
    for task in members:
        task.flush(wait_for_uploads=True)
        task.mark_completed()
        task.close()
    measured = clock.stop()
    return {**measured, "points": read_back([task.id for task in members], numbers, steps)}


def limit(tasks: int, steps: int, numbers: list[float]) -> dict[str, Any]:
    """The physical limit: the same events as JSON lines with orjson, one fsync for each file."""
    import orjson

    folder = Path(os.environ["CLEARML_CACHE_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    it = iter(numbers)
    clock = Clock()
    for task in range(tasks):
        task_id, now, lines = f"task-{task}", time.time_ns() // 1_000_000, []
        for step in range(steps):
            for metric in METRICS:
                event = {
                    "type": "training_stats_scalar",
                    "task": task_id,
                    "metric": metric,
                    "variant": "val",
                    "value": next(it),
                    "iter": step,
                    "timestamp": now,
                }
                lines.append(orjson.dumps(event))
        with (folder / f"{task}.jsonl").open("wb") as file:
            file.write(b"\n".join(lines))
            file.flush()
            os.fsync(file.fileno())
    return clock.stop()


def read_back(ids: list[str], numbers: list[float], steps: int) -> int:
    """Checks that all sessions hold every point with its value; gives the number of points.

    Online, the server's own data is looked at instead, by `online.py`.
    """
    if MODE == "online":
        return len(numbers)
    it = iter(numbers)
    expected: dict[tuple[str, str, int], float] = {}
    for step in range(steps):
        for task_id in ids:
            for metric in METRICS:
                expected[task_id, metric, step] = next(it)
    count = 0
    for task_id in ids:
        for event in _events(task_id):
            assert event["variant"] == "val", event
            assert event["value"] == expected.pop((task_id, event["metric"], event["iter"])), event
            count += 1
    assert not expected, f"{len(expected)} points are missing"
    return count


def _events(task_id: str) -> Iterator[dict[str, Any]]:
    session = Path(os.environ["CLEARML_CACHE_DIR"]) / "offline" / task_id / "metrics.jsonl"
    with session.open() as file:
        for line in file:
            yield from (event for event in json.loads(line) if event["type"] == "training_stats_scalar")


def ours_one_by_one(tasks: int, steps: int, numbers: list[float]) -> dict[str, Any]:
    """A group whose tasks are opened by a call each."""
    return ours(tasks, steps, numbers, one_by_one=True)


def blocks(tasks: int, steps: int, numbers: list[float], *, auto: bool = False) -> dict[str, Any]:
    """A sweep whose tasks report in a block of their own."""
    import clearml  # noqa: F401 - the import is not what is measured

    from clearml_taskgroup import TaskGroup

    it = iter(numbers)
    clock = Clock()
    with TaskGroup("benchmark", "blocks", mode=MODE, provenance=False, auto_connect_frameworks=auto) as group:
        opened = time.process_time()
        for task in group.sweep({"index": range(tasks)}):
            with task:
                for step in range(steps):
                    task.report({metric: next(it) for metric in METRICS}, step, split="val")
        clock.loop = time.process_time() - opened
    return clock.stop()


def blocks_auto(tasks: int, steps: int, numbers: list[float]) -> dict[str, Any]:
    """The same with auto-logging on, and nothing that it logs."""
    return blocks(tasks, steps, numbers, auto=True)


def raw_blocks(tasks: int, steps: int, numbers: list[float]) -> dict[str, Any]:
    """Raw ClearML, one task after another, each delivered and completed before the next."""
    from clearml import Task

    if MODE == "offline":
        Task.set_offline(True)
    it = iter(numbers)
    clock = Clock()
    for index in range(tasks):
        task: Any = Task._create(project_name="benchmark", task_name=f"task {index}", task_type="training")
        if MODE == "online":
            task.mark_started()
        logger = task.get_logger()
        for step in range(steps):
            for metric in METRICS:
                logger.report_scalar(metric, "val", next(it), step)
        task.flush(wait_for_uploads=True)
        task.mark_completed()
        task.close()
    return clock.stop()


WORK = {
    "ours": ours,
    "ours-one": ours_one_by_one,
    "raw": raw,
    "limit": limit,
    "blocks": blocks,
    "blocks-auto": blocks_auto,
    "raw-blocks": raw_blocks,
}


def slow_down_disk(seconds: float) -> None:
    """Makes each fsync take so much longer, one after another, as on a disk that is slower than this one."""
    fsync, disk = os.fsync, threading.Lock()

    def slow_fsync(fd: Any) -> None:
        fsync(fd)
        with disk:
            time.sleep(seconds)

    os.fsync = slow_fsync


def main() -> None:
    """Runs one workload."""
    if fsync_ms := float(os.environ.get("BENCHMARK_FSYNC_MS", 0)):
        slow_down_disk(fsync_ms / 1000)
    kind, tasks, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    numbers = values(tasks, steps)
    measured = WORK[kind](tasks, steps, numbers)
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
