"""Online, beside raw ClearML, against the tests' loopback server, told as ratios.

Run by hand: `make benchmark`. The server runs in a process of its own; each measurement is one,
too. Raw ClearML has its fastest settings; the server's data is compared with what was logged.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from core import CONFIG, WORKLOADS, line, output_of

ROOT = Path(__file__).resolve().parent.parent


def measure(kind: str, tasks: int, steps: int, latency: float = 0.0) -> dict[str, Any]:
    """Runs one workload against a fresh server, and reads the server's state back."""
    sys.path.insert(0, str(ROOT))
    from tests.loopback import LoopbackServer

    with tempfile.TemporaryDirectory() as folder, LoopbackServer() as server:
        config = Path(folder) / "clearml.conf"
        config.write_text(CONFIG)
        server.faults.latency = latency
        environment = {
            **os.environ,
            **server.environment(),
            "CLEARML_CACHE_DIR": f"{folder}/cache",
            "CLEARML_CONFIG_FILE": str(config),
            "BENCHMARK_MODE": "online",
        }
        measured = output_of([str(WORKLOADS), kind, str(tasks), str(steps)], environment)
        members = [task for task in server.tasks.values() if task["type"] == "training"]
        assert len(members) == tasks, len(members)
        assert {task["status"] for task in members} == {"completed"}
        points = sum(len(curve) for task in members for curve in server.scalars(task["id"]).values())
        assert points == tasks * steps * 5, points
        measured["calls"] = sum(call.endpoint.startswith("tasks.") for call in server.calls)
        measured["batches"] = server.count("events.add_batch")
        measured["all calls"] = len(server.calls)
        return measured


GROUP_CALLS = 7
"""Task calls of the group itself.

Two find the run's number, 3 are for its parent, 2 look for statuses that somebody else has set.
"""


def main() -> None:
    """Measures all bars of the online store."""
    print("100 tasks × 20 steps × 5 metrics, interleaved, counted by the server")
    ours, raw = measure("ours", 100, 20), measure("raw", 100, 20)
    for kind, figure in (("ours", ours), ("raw", raw)):
        print(
            f"    {kind:<5} {figure['calls']} task calls, {figure['batches']} batches, "
            f"{figure['all calls']} in all, wall {figure['wall']:.2f} s, CPU {figure['cpu']:.2f} s"
        )
    line("1. calls for each task", (ours["calls"] - GROUP_CALLS) / 100, 3, "calls")
    line("1. batches, ours / raw", ours["batches"] / raw["batches"], 0.1)

    print("50 ms on each answer, 200 tasks opened and closed")
    ours, raw = measure("ours", 200, 0, 0.05), measure("raw", 200, 0, 0.05)
    print(f"    ours {ours['wall']:.1f} s, raw {raw['wall']:.1f} s")
    line("2. wall, ours / raw", ours["wall"] / raw["wall"], 1 / 6)
    one, one_raw = measure("ours-one", 200, 0, 0.05), raw
    line("2. … opened one by one", one["wall"] / one_raw["wall"], 1)

    print("50 ms on each answer, a sweep of 100 tasks × 20 steps × 5 metrics, one after another")
    ours, raw = measure("blocks", 100, 20, 0.05), measure("raw-blocks", 100, 20, 0.05)
    print(f"    ours {ours['wall']:.1f} s, raw {raw['wall']:.1f} s, each with its last answer")
    line("2. wall for each task of a sweep", ours["wall"] * 10, 75, "ms")
    line("2. …, ours / raw", ours["wall"] / raw["wall"], 1 / 6)

    print("100 tasks × 100 steps × 5 metrics, delivery included")
    ours, raw = measure("ours", 100, 100), measure("raw", 100, 100)
    print(f"    ours CPU {ours['cpu']:.2f} s, raw {raw['cpu']:.2f} s")
    line("3. CPU, ours / raw", ours["cpu"] / raw["cpu"], 1 / 6)

    print("1,000 tasks open at once × 20 steps × 5 metrics")
    many, few = measure("ours", 1000, 20), measure("ours", 100, 20)
    raw = measure("raw", 1000, 20)
    line("3. threads more than before", many["threads"], 4, "threads")
    line("3. open files more than before", many["files"], 16, "files")
    line("3. peak memory, ours / raw", many["memory"] / raw["memory"], 1)
    line("3. wall per task, at 1,000 / at 100", many["wall"] / few["wall"] / 10, 1.3)
    print("    the server's state was compared with what was logged, after each of these")


if __name__ == "__main__":
    main()
