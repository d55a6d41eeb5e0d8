"""What the outbox costs: CPU time per scalar with it and without, online, told as a ratio.

Run by hand: `python benchmarks/outbox.py`. The tests' loopback server runs in another process; each
measurement is a process of its own, the two kinds run in turns, and the median of the turns counts.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from core import CONFIG, line, output_of

ROOT = Path(__file__).resolve().parent.parent
TASKS, TURNS = 100, 7
METRICS = ("loss", "accuracy", "precision", "recall", "f1")


def work(kind: str, steps: int) -> None:
    """Reports to a group and waits for delivery; prints the CPU seconds of that alone."""
    from clearml_taskgroup import TaskGroup
    from clearml_taskgroup._storage.online import OnlineBackend
    from clearml_taskgroup._storage.outbox import Outbox

    if kind == "without":

        def leave_out(store: OnlineBackend, outbox: Outbox) -> None:
            outbox.close()

        setattr(OnlineBackend, "use_outbox", leave_out)  # noqa: B010
    with TaskGroup("benchmark", "outbox", mode="online", provenance=False) as group:
        tasks = group.tasks({"index": range(TASKS)})
        group.flush()
        cpu, wall = time.process_time(), time.perf_counter()
        for step in range(steps):
            for task in tasks:
                task.report(dict.fromkeys(METRICS, step * 0.123456789), step, split="val")
        loop = time.perf_counter() - wall
        group.flush()
        print(json.dumps({"cpu": time.process_time() - cpu, "loop": loop}))


def measure(kind: str, steps: int) -> dict[str, float]:
    """Runs one kind in a fresh process against a fresh server, and counts what arrived."""
    sys.path.insert(0, str(ROOT))
    from tests.loopback import LoopbackServer

    with tempfile.TemporaryDirectory() as folder, LoopbackServer() as server:
        config = Path(folder) / "clearml.conf"
        config.write_text(CONFIG)
        environment = {
            **os.environ,
            **server.environment(),
            "CLEARML_CACHE_DIR": f"{folder}/cache",
            "CLEARML_CONFIG_FILE": str(config),
        }
        measured = output_of([__file__, kind, str(steps)], environment)
        members = [task["id"] for task in server.tasks.values() if task["type"] == "training"]
        points = sum(len(curve) for task in members for curve in server.scalars(task).values())
        assert points == TASKS * steps * len(METRICS), points
        return {figure: value / points * 1e6 for figure, value in measured.items()}


def main() -> None:
    """Measures the bar."""
    steps = 500
    print(
        f"{TASKS} tasks × {steps} steps × {len(METRICS)} metrics, reported and delivered (median of {TURNS})"
    )
    runs: dict[str, list[dict[str, float]]] = {"with": [], "without": []}
    for _ in range(TURNS):
        for kind, listed in runs.items():
            listed.append(measure(kind, steps))
    figures = {
        kind: {name: statistics.median(run[name] for run in listed) for name in listed[0]}
        for kind, listed in runs.items()
    }
    for kind, figure in figures.items():
        print(
            f"    {kind:<8} CPU {figure['cpu']:.2f} µs per scalar, wall in the loop {figure['loop']:.2f} µs"
        )
    line(
        "4. CPU per scalar, with the outbox / without",
        figures["with"]["cpu"] / figures["without"]["cpu"],
        1.2,
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        work(sys.argv[1], int(sys.argv[2]))
    else:
        main()
