"""What a user feels first: the import, the first report, and small groups, with nothing set but offline mode.

Run by hand: `make benchmark`. Each measurement is a process of its own with a home directory of its own; the
kinds run in turns, and the median of the turns counts. CPU time is that of the process and of those that it
has started, such as git.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from core import TURNS, as_after_an_earlier_run, line, take_turns

IMPORT_TURNS = 15
TIMEOUT_S = 120
GROUPS = {(100, 100): (2.5, 0.0), (10, 20): (1.0, 0.060)}
"""Tasks and steps of the small groups; the bar: so many times the limit, and so many seconds more."""
END_S = 0.041
"""What the end of a small group may take beside `Task.init`'s own detection of the script."""


# --- measuring -----------------------------------------------------------------------------------


def run(*command: str) -> dict[str, float]:
    """Runs a Python process with nothing set but offline mode; gives what it printed, and its CPU time."""
    with tempfile.TemporaryDirectory() as home:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CLEARML_")}
        environment = as_after_an_earlier_run({**kept, "HOME": home, "CLEARML_OFFLINE_MODE": "1"})
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
        done = subprocess.run(
            [sys.executable, *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            start_new_session=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"{command} failed:\n{done.stderr}")
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    found = {"process cpu": cpu, "process": time.time() - began}
    printed = [text for text in done.stdout.splitlines() if text.startswith("{")]  # ClearML prints, too
    found |= json.loads(printed[-1]) if printed else {}
    for moment in {"first", "end"} & found.keys():
        found[moment] -= began
    return found


def in_turns(commands: dict[str, list[str]], turns: int = TURNS) -> dict[str, dict[str, float]]:
    """Runs several commands in turns, after one turn that does not count; gives medians."""
    for command in commands.values():
        run(*command)
    return take_turns({kind: partial(run, *command) for kind, command in commands.items()}, turns)


# --- what is measured ----------------------------------------------------------------------------


def first_ours() -> dict[str, float]:
    """An offline script with one task and defaults, until its first report."""
    from clearml_taskgroup import TaskGroup

    with TaskGroup("benchmark", "first") as group, group.task({"C": 1}) as task:
        task.report({"loss": 0.5}, 0, split="val")
        first = time.time()
    return {"first": first, "end": time.time()}


def first_raw() -> NoReturn:
    """The same with `Task.init`; killed afterwards, as `close()` may hang with the process that reports."""
    from clearml import Task

    task: Any = Task.init("benchmark", "first")
    task.get_logger().report_scalar("loss", "val", 0.5, 0)
    print(json.dumps({"first": time.time()}), flush=True)
    os.killpg(0, signal.SIGKILL)
    raise AssertionError


def detected_raw() -> dict[str, float]:
    """The same until `Task.init` has detected code and packages, for which `close()` waits."""
    from clearml import Task

    # That process may hold git's pipe: the detection hangs then.
    setattr(Task, "_report_subprocess_enabled", False)  # noqa: B010
    began = time.time()
    task: Any = Task.init("benchmark", "first")
    task.get_logger().report_scalar("loss", "val", 0.5, 0)
    if task._detect_repo_async_thread is not None:
        task._detect_repo_async_thread.join()
    end = time.time()
    return {"end": end, "detection": end - began}


def first_limit() -> dict[str, float]:
    """The same event as a JSON line, synced."""
    import orjson

    with (Path.home() / "first.jsonl").open("wb") as file:
        file.write(orjson.dumps({"metric": "loss", "variant": "val", "value": 0.5, "iter": 0}))
        file.flush()
        os.fsync(file.fileno())
    return {"first": time.time()}


def group_ours(tasks: int, steps: int) -> dict[str, float]:
    """Tasks that are opened and closed one by one, with defaults; then the group's end."""
    from workloads import METRICS, Clock, values

    from clearml_taskgroup import TaskGroup

    it = iter(values(tasks, steps))
    clock = Clock()
    with TaskGroup("benchmark", "small") as group:
        for index in range(tasks):
            with group.task({"index": index}) as task:
                for step in range(steps):
                    task.report({metric: next(it) for metric in METRICS}, step, split="val")
        measured = clock.stop()
    return {**measured, "closing": clock.stop()["wall"] - measured["wall"]}


def group_other(kind: str, tasks: int, steps: int) -> dict[str, float]:
    """The same with raw ClearML, without provenance, or as far as the disk allows."""
    os.environ.setdefault("CLEARML_CACHE_DIR", str(Path.home() / "cache"))
    os.environ["BENCHMARK_MODE"] = "offline"
    import workloads

    measured: dict[str, float] = workloads.WORK[kind](tasks, steps, workloads.values(tasks, steps))
    return measured


# --- the bars ------------------------------------------------------------------------------------


def main() -> None:
    """Measures the bars."""
    here = __file__
    print("defaults: an offline script with one task, from the process's start (median of 5)")
    kinds = {kind: [here, f"first-{kind}"] for kind in ("limit", "ours", "raw")}
    found = in_turns({**kinds, "detected": [here, "detected-raw"]})
    detected = found.pop("detected")
    for kind, one in found.items():
        print(f"    {kind:<6} first report after {one['first'] * 1000:.0f} ms")
    ours, raw = found["ours"], found["raw"]
    line("defaults: first report, ours / raw", ours["first"] / raw["first"], 0.25)
    print(
        f"    code and packages are known: ours, at the group's end, after {ours['end'] * 1000:.0f} ms, raw "
        f"after {detected['end'] * 1000:.0f} ms, {detected['detection'] * 1000:.0f} ms from Task.init on"
    )
    line("defaults: the group's end, ours / raw", ours["end"] / detected["end"], 1)
    longest_end = END_S + detected["detection"]

    print(f"the import, beside `import attrs` (median of {IMPORT_TURNS})")
    imports = {
        "attrs": ["-c", "import attrs"],
        "ours": ["-c", "import attrs; from clearml_taskgroup import TaskGroup"],
    }
    found = in_turns(imports, IMPORT_TURNS)
    beside = found["ours"]["process cpu"] - found["attrs"]["process cpu"]
    print(f"    import attrs: CPU {found['attrs']['process cpu'] * 1000:.0f} ms")
    line("from clearml_taskgroup import TaskGroup, CPU", beside * 1000, 60, "ms")

    for (tasks, steps), (times, more) in GROUPS.items():
        size = [str(tasks), str(steps)]
        print(f"defaults: {tasks} tasks × {steps} steps × 5 metrics, one task after another (median of 5)")
        found = in_turns({kind: [here, f"group-{kind}", *size] for kind in ("limit", "ours", "raw")})
        for kind, one in found.items():
            print(
                f"    {kind:<6} wall {one['wall'] * 1000:.0f} ms   CPU {one['cpu'] * 1000:.0f} ms; "
                f"of the whole process {one['process cpu'] * 1000:.0f} ms"
            )
        ours, raw = found["ours"], found["raw"]
        bar = times * found["limit"]["wall"] + more
        line(f"{tasks} × {steps}: wall", ours["wall"] * 1000, bar * 1000, "ms")
        line(f"{tasks} × {steps}: wall, ours / raw", ours["wall"] / raw["wall"], 1 / 8)
        line(f"{tasks} × {steps}: the group's end", ours["closing"] * 1000, longest_end * 1000, "ms")


KINDS: dict[str, Callable[..., dict[str, float]]] = {
    "first-ours": first_ours,
    "first-raw": first_raw,
    "detected-raw": detected_raw,
    "first-limit": first_limit,
    "group-ours": lambda tasks, steps: group_ours(int(tasks), int(steps)),
    "group-limit": lambda tasks, steps: group_other("limit", int(tasks), int(steps)),
    "group-raw": lambda tasks, steps: group_other("raw-blocks", int(tasks), int(steps)),
}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(KINDS[sys.argv[1]](*sys.argv[2:])))
    else:
        main()
