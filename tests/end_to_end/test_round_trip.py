"""Generated parameters have one key and one value in every process, live, from disk and from a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SETTINGS, Seeds
from tests.loopback import LoopbackServer
from tests.support import name_model
from tests.support.name_model import Refused
from tests.support.paths import REPOSITORY
from tests.support.round_trip import PLACES, generated

HASH_SEEDS = ("0", "1", "2", "3")


def start(seeds: range, hash_seed: str, folder: Path, server: LoopbackServer) -> subprocess.Popen[str]:
    """Starts a process that opens tasks with the parameters of some seeds."""
    folder.mkdir()
    (folder / "clearml.conf").write_text(SETTINGS)
    environment = {**os.environ, **server.environment(), "PYTHONHASHSEED": hash_seed}
    environment["CLEARML_CACHE_DIR"] = str(folder / "cache")
    environment["CLEARML_CONFIG_FILE"] = str(folder / "clearml.conf")
    command = [sys.executable, "-m", "tests.support.round_trip", str(seeds[0]), str(len(seeds))]
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)


def meaning(params: Any) -> Any:
    """What makes two parameter sets one task; `Refused` if they cannot be stored."""
    try:
        flat = name_model.flat(params)
        name_model.require(all(made.stored for made in flat.values()))
        return name_model.identity(flat, None, None) if all(one.identified for one in flat.values()) else None
    except Refused:
        return Refused


@pytest.mark.slow
def test_parameters_are_the_same_in_every_process_and_place(
    tmp_path: Path, loopback: LoopbackServer, seeds: Seeds
) -> None:
    wanted = seeds(200)
    processes = [start(wanted, one, tmp_path / one, loopback) for one in HASH_SEEDS]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    found = [[json.loads(line) for line in output.splitlines()] for output in outputs]
    key_of: dict[Any, str] = {}
    for number, seed in enumerate(wanted):
        params = generated(seed)
        means, (first, *others) = meaning(params), [output[number] for output in found]
        assert all(other == first for other in others), seed
        assert bool(first) == (means is not Refused), seed
        if not first:
            continue
        assert first.keys() == set(PLACES)
        assert first["live"] == first["disk"] == first["server"], seed
        if means is None:
            assert first["live"]["key"] == f"seed {seed}"
        else:
            assert key_of.setdefault(means, first["live"]["key"]) == first["live"]["key"], seed
    assert len(set(key_of.values())) == len(key_of), "different parameters share a key"
