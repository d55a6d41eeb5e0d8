"""Results of 1,000 tasks × 20 metrics, read from a loopback server and from disk.

Run by hand: `make benchmark`. The server runs in one process, what reads from it in another.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from core import CONFIG, line

ROOT = Path(__file__).resolve().parent.parent
TASKS, METRICS = 1000, 20


def write() -> None:
    """Runs the group, in the mode that the environment gives."""
    from clearml_taskgroup import TaskGroup

    with TaskGroup("digits", "results", provenance=False, mode=_mode()) as group:
        for task in group.tasks({"C": range(TASKS // 10), "seed": range(10)}):
            for step in range(3):
                task.report({f"metric {number}": number + step / 2 for number in range(METRICS)}, step)


def read() -> dict[str, Any]:
    """Reads the results; gives the seconds that took, and the number of values."""
    from clearml_taskgroup import TaskGroup

    begun = time.perf_counter()
    results = TaskGroup.load("digits", "results", mode=_mode())
    seconds = time.perf_counter() - begun
    values = sum(
        stats.last == number + 1 for row in results for number, stats in enumerate(row.stats.values())
    )
    return {"seconds": seconds, "tasks": len(results), "values": values}


def _mode() -> Any:
    return os.environ["BENCHMARK_MODE"]


def _run(what: str, environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run([sys.executable, __file__, what], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{what} failed:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1])) if done.stdout.strip() else {}


def main() -> None:
    """Measures the bars of loaded results."""
    sys.path.insert(0, str(ROOT))
    from tests.loopback import LoopbackServer

    print(f"results of {TASKS:,} tasks × {METRICS} metrics")
    for mode, other_machine in (("online", False), ("online", True), ("offline", False)):
        with tempfile.TemporaryDirectory() as folder, LoopbackServer() as server:
            config = Path(folder) / "clearml.conf"
            config.write_text(CONFIG)
            environment = {
                **os.environ,
                **server.environment(),
                "CLEARML_CACHE_DIR": f"{folder}/cache",
                "CLEARML_CONFIG_FILE": str(config),
                "BENCHMARK_MODE": mode,
            }
            _run("write", environment)
            before = len(server.calls)
            if other_machine:
                environment["CLEARML_CACHE_DIR"] = f"{folder}/another"
            found = _run("read", environment)
            assert (found["tasks"], found["values"]) == (TASKS, TASKS * METRICS), found
            where = {"offline": "from disk"}.get(
                mode, "without its record" if other_machine else "with its record"
            )
            line(f"{mode}, {where}", found["seconds"], 3, "s")
            if mode == "online":
                line("… calls, the login among them", len(server.calls) - before, 5, "calls")


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        write()
    elif sys.argv[1:] == ["read"]:
        print(json.dumps(read()))
    else:
        main()
