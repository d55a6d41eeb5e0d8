"""The library beside raw ClearML and the physical limit, in one run, told as ratios.

Run by hand: `make benchmark`. Each measurement is a process of its own; each pair runs in turns,
and the median of the turns counts.
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

WORKLOADS = Path(__file__).with_name("workloads.py")
TURNS = 5
CONFIG = "sdk.development.report_use_subprocess: false\n"


def as_after_an_earlier_run(environment: Mapping[str, str]) -> dict[str, str]:
    """Adds a folder for compiled modules: to compile some hundred takes longer than most measurements."""
    compiled = f"{tempfile.gettempdir()}/taskgroup-benchmark-compiled"
    kept = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": compiled}


def output_of(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Runs Python with these arguments; gives the JSON object that is the last line of its output."""
    environment = as_after_an_earlier_run(environment)
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def fresh_folder() -> str:
    """Makes an empty folder; all of them are deleted when the benchmark ends.

    Not before: without a journal, ext4 makes a file 30 times slower where many were deleted a moment ago.
    """
    return tempfile.mkdtemp(dir=_all_folders().name)


@functools.cache
def _all_folders() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


def take_turns(
    measurements: Mapping[str, Callable[[], dict[str, Any]]], turns: int = TURNS
) -> dict[str, dict[str, float]]:
    """Makes several measurements in turns; gives the median of each figure."""
    runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in measurements}
    for _ in range(turns):
        for kind, measurement in measurements.items():
            runs[kind].append(measurement())
    return {
        kind: {figure: statistics.median(run[figure] for run in listed) for figure in listed[0]}
        for kind, listed in runs.items()
    }


def measure(kind: str, tasks: int, steps: int) -> dict[str, Any]:
    """Runs one workload in a fresh process with a fresh cache folder."""
    folder = fresh_folder()
    config = Path(folder) / "clearml.conf"
    config.write_text(CONFIG)
    environment = {
        **os.environ,
        "CLEARML_CACHE_DIR": f"{folder}/cache",
        "CLEARML_CONFIG_FILE": str(config),
    }
    return output_of([str(WORKLOADS), kind, str(tasks), str(steps)], environment)


def in_turns(kinds: list[str], tasks: int, steps: int, turns: int = TURNS) -> dict[str, dict[str, float]]:
    """Measures several kinds in turns; gives the median of each figure."""
    return take_turns({kind: partial(measure, kind, tasks, steps) for kind in kinds}, turns)


def line(what: str, value: float, bar: float, unit: str = "×") -> None:
    """Prints one figure beside its bar."""
    verdict = "met" if value <= bar else "MISSED"
    print(f"  {what:<58} {value:8.3f} {unit}   bar {bar:g} {unit}   {verdict}")


def main() -> None:
    """Measures all bars."""
    print("100 tasks open at once × 100 steps × 5 metrics, open + log + close (median of 5)")
    figures = in_turns(["limit", "ours", "raw"], 100, 100)
    limit, ours, raw = figures["limit"], figures["ours"], figures["raw"]
    for kind, figure in figures.items():
        print(f"    {kind:<6} wall {figure['wall']:.3f} s   CPU {figure['cpu']:.3f} s")
    line("1. wall, ours / raw", ours["wall"] / raw["wall"], 1 / 8)
    line("1. CPU, ours / raw", ours["cpu"] / raw["cpu"], 1 / 8)
    line("1. wall, ours / limit", ours["wall"] / limit["wall"], 4)
    line("1. CPU, ours / limit", ours["cpu"] / limit["cpu"], 4)
    points = 100 * 100 * 5
    print(
        f"    a scalar in the loop: ours {ours['loop'] / points * 1e6:.2f} µs, raw "
        f"{raw['loop'] / points * 1e6:.2f} µs"
    )
    line("2. loop, ours / raw", ours["loop"] / raw["loop"], 1 / 8)

    print("1,000 tasks open at once × 20 steps × 5 metrics (median of 3)")
    many = in_turns(["ours", "raw"], 1000, 20, turns=3)
    line("3. threads more than before", many["ours"]["threads"], 4, "threads")
    line("3. open files more than before", many["ours"]["files"], 16, "files")
    print(f"    raw: {many['raw']['threads']:.0f} threads, {many['raw']['files']:.0f} files")
    line("3. peak memory, ours / raw", many["ours"]["memory"] / many["raw"]["memory"], 1)

    few = in_turns(["ours"], 100, 20)["ours"]
    line("4. wall per task, at 1,000 / at 100", many["ours"]["wall"] / few["wall"] / 10, 1.3)
    line("4. CPU per task, at 1,000 / at 100", many["ours"]["cpu"] / few["cpu"] / 10, 1.3)
    print("5. all data was read back, complete and right, after each of these")

    print("a sweep of 300 tasks, a block and 5 numbers for each (median of 5)")
    swept = in_turns(["blocks", "blocks-auto"], 300, 1)
    for kind, what in {"blocks": "off", "blocks-auto": "on, and nothing is logged"}.items():
        per_task, rest = swept[kind]["loop"] / 300, swept[kind]["cpu"] - swept[kind]["loop"]
        print(f"    auto-logging {what}: CPU {per_task * 1e6:.0f} µs per task, {rest * 1e3:.1f} ms per group")


if __name__ == "__main__":
    main()
