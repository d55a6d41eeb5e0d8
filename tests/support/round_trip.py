"""Opens tasks with generated parameters, and prints what is known of each afterwards, as JSON lines.

`python -m tests.support.round_trip FIRST_SEED COUNT`, with PYTHONHASHSEED and ClearML's variables set.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from fractions import Fraction
from random import Random
from typing import Any

from clearml_taskgroup import GroupTask, TaskGroup
from clearml_taskgroup.errors import ParameterError
from clearml_taskgroup.testing import recording
from tests.support.generated import Made, parameters, values_of

PLACES = ("live", "disk", "server")


def generated(seed: int) -> dict[str, Made]:
    """Makes the parameters of a seed, the same in each process."""
    return parameters(Random(seed))


def written(value: Any) -> str:
    """Writes a value that results have with its type, and the members of sets in sorted order."""
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}({', '.join(sorted(map(written, value)))})"
    if isinstance(value, dict):
        return f"{{{', '.join(sorted(f'{written(key)}: {written(item)}' for key, item in value.items()))}}}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({', '.join(map(written, value))})"
    assert value is None or type(value) in (bool, int, float, Fraction, str, bytes), type(value)
    return f"{type(value).__name__} {value!r}"


def opened(group: TaskGroup, seed: int) -> GroupTask | None:
    """Opens the task of a seed, with key= if its parameters cannot be a key; None where they are refused."""
    params = values_of(generated(seed))
    try:
        task = group.task(params, if_exists="return")
        assert group.task(task.params, if_exists="return") is task
    except ParameterError:
        try:
            return group.task(params, key=f"seed {seed}")
        except ParameterError:
            return None
    return task


def main(seeds: range) -> None:
    name = f"hash seed {os.environ['PYTHONHASHSEED']}"
    found: dict[int, dict[str, Any]] = {seed: {} for seed in seeds}
    for place in PLACES:
        mode: Any = {"live": None, "disk": "offline", "server": "online"}[place]
        with recording() if mode is None else contextlib.nullcontext():
            with TaskGroup("the project", name, mode=mode, provenance=False) as group:
                tasks = {seed: opened(group, seed) for seed in seeds}
        results = group.results() if mode is None else TaskGroup.load("the project", name, mode=mode)
        assert len(results) == len(group)
        rows = {row.key: row for row in results}
        for seed, task in tasks.items():
            if task is not None:
                params = {name: written(value) for name, value in sorted(rows[task.key].params.items())}
                found[seed][place] = {"key": task.key, "name": str(task), "params": params}
    for seed in seeds:
        print(json.dumps(found[seed]))


if __name__ == "__main__":
    first, count = map(int, sys.argv[1:])
    main(range(first, first + count))
