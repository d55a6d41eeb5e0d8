"""Models that real frameworks save, in tasks of a group as `Task.init` alone has them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from clearml_taskgroup import TaskGroup
from tests.loopback import LoopbackServer
from tests.support.clearml_process import run

Doc = dict[str, Any]

BEGIN = """
import io
import numpy as np
{begin}
x, y = np.arange(40.0).reshape(20, 2), np.arange(20.0)

def work():
    rounds = 3
{work}
"""
FRAMEWORKS = {
    "joblib": (
        "import joblib",
        """
    for value in range(rounds):
        joblib.dump(value, "first.joblib", compress=3)
        pause()
    with open("second.joblib", "wb") as file:
        joblib.dump(y, file, compress=3)
    joblib.dump(y, io.BytesIO(), compress=3)
    """,
    ),
    "torch": (
        "import torch",
        """
    for value in range(rounds):
        torch.save(torch.zeros(value), "best.pt")
        pause()
    torch.save(torch.zeros(1), Path("path.pt"))
    torch.save(torch.zeros(1), io.BytesIO())
    torch.load("best.pt")
    """,
    ),
    "xgboost": (
        "import xgboost",
        """
    data = xgboost.DMatrix(x, label=y)
    for _ in range(2):
        model = xgboost.train({"max_depth": 1}, data, rounds, evals=[(data, "val")], verbose_eval=False)
    model.save_model("model.json")
    model.save_model("other.ubj")
    xgboost.Booster().load_model("model.json")
    """,
    ),
    "lightgbm": (
        "import lightgbm",
        """
    data = lightgbm.Dataset(x, label=y)
    options = {"num_leaves": 3, "verbose": -1, "min_data_in_leaf": 1}
    model = lightgbm.train(options, data, rounds, valid_sets=[data], valid_names=["val"])
    model.save_model("model.txt")
    lightgbm.Booster(model_file="model.txt")
    """,
    ),
    "catboost": (
        "import catboost",
        """
    model = catboost.CatBoostRegressor(iterations=rounds, verbose=False, allow_writing_files=False)
    model.fit(x, y, eval_set=(x, y))
    model.save_model("model.cbm")
    catboost.CatBoostRegressor().load_model("model.cbm")
    """,
    ),
    "keras": (
        "import keras",
        """
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.save("model.keras")
    model.save_weights("some.weights.h5")
    """,
    ),
}
RUNS = """
from clearml import OutputModel, Task
from clearml_taskgroup import TaskGroup

pause = OutputModel.wait_for_uploads  # else the third model is a pause of 30 seconds
task = Task.init("the project", "alone", auto_resource_monitoring=False,
                 auto_connect_frameworks={"detect_repository": False})
work()
task.close()

pause = lambda: None
for mode in ("online", "offline"):
    with TaskGroup("the project", mode, mode=mode, template="{split}/{metric}", provenance=False,
                   auto_connect_frameworks=True) as group:
        for task in group.sweep({"seed": [1, 2]}):
            with task:
                work()
give(str(group.record_path))
"""


def frameworks() -> list[Any]:
    """Each framework; joblib is there for all tests, the others need packages."""
    marks = {
        name: [
            pytest.mark.frameworks,
            pytest.mark.skipif(not importlib.util.find_spec(name), reason=f"needs {name}"),
        ]
        for name in FRAMEWORKS
    }
    marks["joblib"] = [pytest.mark.slow]
    return [pytest.param(name, marks=marks[name]) for name in FRAMEWORKS]


def logged(server: LoopbackServer) -> dict[str, Doc]:
    """What each task has: models with their files' sizes, scalars, parameters; without names of tasks."""
    found = {}
    for task in server.tasks.values():
        if task["type"] == "controller":
            continue
        general = task["hyperparams"].get("General", {})
        found[task["name"]] = {
            **{kind: _models(server, task, kind) for kind in ("output", "input")},
            "scalars": server.scalars(task["id"]),
            "parameters": {name: entry["value"] for name, entry in general.items() if name != "seed"},
            "last_iteration": task["last_iteration"],
        }
    return found


def _models(server: LoopbackServer, task: Doc, kind: str) -> dict[str, Any]:
    models = {}
    for item in task["models"][kind]:
        if item["name"] == "uploading_file":  # ClearML's, for a model that is saved during its upload
            continue
        model = server.models[item["model"]]
        own = {
            name: model[name] for name in ("framework", "design", "labels", "tags", "ready", "system_tags")
        }
        path = unquote(model["uri"].removeprefix(f"{server.files_url}/"))
        content = server.stored_files[path].content
        size = len(content) if model["framework"] != "Keras" else None  # its file has the date in it
        models[item["name"]] = {**own, "file": path.rpartition("/")[2], "size": size}
    return models


@pytest.mark.parametrize("framework", frameworks())
def test_a_task_has_what_task_init_has(
    framework: str, loopback: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Item by item, names aside; online, and offline after the upload."""
    begin, work = FRAMEWORKS[framework]
    settings = {"CLEARML_DEFAULT_OUTPUT_URI": loopback.files_url, "KERAS_BACKEND": "torch"}
    env = {**loopback.environment(), **settings}
    source = f"{BEGIN.format(begin=begin, work=work)}\n{RUNS}"
    record = run(source, tmp_path, env=env, timeout=300.0).result
    assert TaskGroup.upload(record).problems == ()
    found = logged(loopback)
    alone = found.pop("alone")
    assert alone["output"]
    assert [*found] == [f"{mode} seed={seed}" for mode in ("online", "offline") for seed in (1, 2)]
    for name, own in found.items():
        assert own == ({**alone, "input": {}} if "offline" in name else alone), name


BESIDE = """
import joblib
from clearml import Task
from clearml_taskgroup import TaskGroup
Task.set_offline(OFFLINE)
main = Task.init("the project", "main", output_uri=None if OFFLINE else FILES, auto_resource_monitoring=False,
                 auto_connect_frameworks={"joblib": "main*"})
joblib.dump(1, "main before.z", compress=3)
with TaskGroup("the project", "group", auto_connect_frameworks=True, provenance=False) as group:
    joblib.dump(2, "main between.z", compress=3)
    for task in group.sweep({"seed": [1, 2]}):
        with task:
            joblib.dump(task.params["seed"], "own.z", compress=3)
            joblib.dump(task.params["seed"], "plain")
joblib.dump(3, "main after.z", compress=3)
joblib.dump(4, "not wanted.z", compress=3)
sessions = {task.params["seed"]: str(session(task)) for task in group} if OFFLINE else {}
main.close()
give(sessions)
"""


@pytest.mark.slow
@pytest.mark.parametrize("offline", [False, True])
def test_beside_task_init(offline: bool, loopback: LoopbackServer, tmp_path: Path) -> None:
    """Outside of blocks models go to the main task, and its wildcards hold for that task alone."""
    script = f"OFFLINE, FILES = {offline}, {loopback.files_url!r}\n{BESIDE}"
    sessions = run(script, tmp_path, env=loopback.environment()).result
    if offline:
        for folder in sessions.values():
            entries = json.loads((Path(folder) / "task.json").read_text())["offline_output_models"]
            assert [Path(entry["weights"]["weights_filename"]).name for entry in entries] == [
                "own.z",
                "plain",
            ]
        return
    names = {
        task["name"]: [item["name"] for item in task["models"]["output"]] for task in loopback.tasks.values()
    }
    assert names == {
        "main": ["main before", "main between", "main after"],
        "group seed=1": ["own", "plain"],
        "group seed=2": ["own", "plain"],
    }
    assert len(loopback.stored_files) == 7  # the main task's output_uri is that of the others


MAPPED = """
import joblib
from clearml_taskgroup import TaskGroup

def train(task):
    joblib.dump(task.params["seed"], f"model {task.params['seed']}.z")

if __name__ == "__main__":
    with TaskGroup("the project", "group", mode="offline", auto_connect_frameworks=True,
                   provenance=False) as group:
        group.map(train, {"seed": [1, 2, 3]}, workers=2)
    entries = {task.params["seed"]: json.loads((session(task) / "task.json").read_text()) for task in group}
    give({seed: [(entry["init"]["name"], joblib.load(entry["weights"]["weights_filename"]))
                 for entry in data["offline_output_models"]] for seed, data in entries.items()})
"""


@pytest.mark.slow
def test_in_the_workers_of_map(tmp_path: Path) -> None:
    """What a function saves in a worker process is its own task's model."""
    found = run(MAPPED, tmp_path).result
    assert found == {str(seed): [[f"group seed={seed} - model {seed}", seed]] for seed in (1, 2, 3)}
