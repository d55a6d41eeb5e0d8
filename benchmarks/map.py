"""`group.map` on two processes beside one, and what it costs by itself.

Run by hand: `make benchmark`. Each measurement is a process of its own; each pair runs in turns, and
the median of the turns counts. The first part needs two idle cores.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from clearml_taskgroup import GroupTask, TaskGroup

ROOT = Path(__file__).resolve().parents[1]
TURNS = 5


def network(task: GroupTask) -> list[Any]:
    """One task of `examples/digits_sweep.py`; gives all that it reported."""
    from examples.digits_sweep import train

    scores = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for epoch, found in enumerate(train(**task.params)):
            task.report(found, epoch, levels=("split", "metric"))
            scores.append(found)
    return scores


def nothing(task: GroupTask) -> None:
    """An empty function: what is left is the cost of `map`."""


def sweep(workers: int) -> dict[str, Any]:
    """Runs the digits sweep; gives its time and its results."""
    from examples.digits_sweep import SPACE

    began = time.perf_counter()
    with TaskGroup("digits", "map", template="{metric}/{split}", provenance=False) as group:
        mapped = group.map(network, SPACE, workers=workers)
    took = time.perf_counter() - began
    rows = [[row.name, *(stats.last for stats in row.stats.values())] for row in group.results()]
    assert {point.task.status for point in mapped} == {"completed"}
    return {"wall": took, "values": [point.value for point in mapped], "rows": rows}


def empty(points: int, kind: str) -> dict[str, Any]:
    """Runs an empty function on many points, on two processes of ours or of a given pool."""
    began = time.perf_counter()
    with TaskGroup("digits", "map", provenance=False) as group:
        if kind == "workers":
            group.map(nothing, {"seed": range(points)}, workers=2)
        else:
            with ProcessPoolExecutor(2) as pool:
                group.map(nothing, {"seed": range(points)}, executor=pool)
    return {"wall": time.perf_counter() - began}


def measure(*arguments: str) -> dict[str, Any]:
    """Runs one measurement in a fresh process with a fresh cache folder."""
    from core import output_of

    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "CLEARML_CACHE_DIR": folder, "CLEARML_OFFLINE_MODE": "1"}
        environment["PYTHONPATH"] = str(ROOT)
        return output_of([__file__, *arguments], environment)


def main() -> None:
    """Measures the bars."""
    from core import line

    print(f"45 networks on scikit-learn's digits, open + map + close (median of {TURNS})")
    runs: dict[str, list[dict[str, Any]]] = {"1": [], "2": []}
    for _ in range(TURNS):
        for workers, listed in runs.items():
            listed.append(measure("sweep", workers))
    walls = {workers: statistics.median(run["wall"] for run in listed) for workers, listed in runs.items()}
    print(f"    1 worker {walls['1']:.2f} s   2 workers {walls['2']:.2f} s")
    line("1. wall, 2 workers / 1 worker", walls["2"] / walls["1"], 0.65)
    first, *others = [(run["values"], run["rows"]) for listed in runs.values() for run in listed]
    assert all(other == first for other in others)
    print("    the results of all runs are equal, value for value")

    print("an empty function on two processes, offline, open + map + close (median of 3)")
    for kind in ("workers", "pool"):
        each = {
            points: statistics.median(measure("empty", str(points), kind)["wall"] for _ in range(3)) / points
            for points in (200, 2000)
        }
        line(f"3. a point of 200, {kind}", each[200] * 1000, 20, "ms")
        line(f"3. a point of 2,000, {kind}", each[2000] * 1000, 20, "ms")
        line(f"3. a point of 2,000 / of 200, {kind}", each[2000] / each[200], 1.3)
        if kind == "workers":
            start = statistics.median(measure("empty", "2", kind)["wall"] for _ in range(TURNS))
            line("4. map(workers=2) of 2 points: the start", start, 0.47, "s")
            line("4. each further point", (each[2000] * 2000 - start) / 1998 * 1000, 0.45, "ms")


if __name__ == "__main__":
    if sys.argv[1:2] == ["sweep"]:
        print(json.dumps(sweep(int(sys.argv[2]))))
    elif sys.argv[1:2] == ["empty"]:
        print(json.dumps(empty(int(sys.argv[2]), sys.argv[3])))
    else:
        main()
