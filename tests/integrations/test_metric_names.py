"""What the integrations share: names of frameworks → metric and split, and extras that are missing."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

import clearml_taskgroup.integrations
from clearml_taskgroup import Metric, TaskGroup
from clearml_taskgroup.errors import ArgumentError, LeftOutWarning, UnknownFieldError
from clearml_taskgroup.integrations import filled
from clearml_taskgroup.integrations._metric_names import (
    SPLITS,
    Relay,
    by_last_part,
    by_patterns,
    by_prefix,
    current_task,
    flat,
)
from clearml_taskgroup.testing import MemoryStore
from tests.integrations.conftest import Opener
from tests.support.clearml_process import run


def names(relay: Relay, backend: MemoryStore, values: dict[str, Any]) -> set[tuple[str, str]]:
    """Title and series of what a relay makes of values."""
    relay.put(values, 1)
    relay.owner.flush()
    return set(backend.tasks[relay.owner.id].scalars)


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("train_loss", ("loss", "train")),
        ("val/acc/top_5", ("acc/top_5", "val")),
        ("valid_loss", ("loss", "valid")),
        ("validation_loss", ("loss", "validation")),
        ("loss/test", ("loss", "test")),
        ("val_f", ("f", "val")),
        ("training_time", None),
        ("loss_val", None),
        ("val_", None),
        ("/val", None),
        ("val", None),
        ("", None),
    ],
)
def test_splits_in_names(key: str, parts: Any) -> None:
    """A word for a split is read before `_` or `/`, or behind `/`; anything else is left whole."""
    assert by_prefix(SPLITS)(key) == parts


@pytest.mark.parametrize(
    ("key", "parts"),
    [("a/b/c", ("a/b", "c")), ("a", None), ("a/", None), ("/a", None), (" /a", None), ("a/ ", None)],
)
def test_last_parts(key: str, parts: Any) -> None:
    """The last part of a tag is what stands behind its last `/`, if both sides have something."""
    assert by_last_part(key) == parts


def test_names_with_several_spellings(open_task: Opener, backend: MemoryStore) -> None:
    """The first spelling that is free is read; a name that another one has already is not merged with it."""
    relay = Relay(open_task(), by_prefix(SPLITS), spellings=lambda key: (key.removesuffix("_epoch"), key))
    values = {"train_loss_epoch": 0.5, "val_loss": 0.5, "train_loss": 0.25, "val_loss_epoch": 0.125}
    assert names(relay, backend, values) == {
        ("loss", "train"),
        ("loss", "val"),
        ("train_loss", "value"),
        ("loss_epoch", "val"),
    }


def test_the_rest_has_a_split_of_its_own(open_task: Opener, backend: MemoryStore) -> None:
    """Names without a split get the one that the framework means; a bound split goes before it."""
    task = open_task()
    values = {"loss": 0.5, "val_loss": 0.25}
    assert names(Relay(task, by_prefix(("val",)), rest="train"), backend, values) == {
        ("loss", "train"),
        ("loss", "val"),
    }
    bound = Relay(open_task().bind(split="mine"), by_prefix(("val",)), "split", rest="train")
    assert names(bound, backend, values) == {("loss", "mine"), ("loss", "val")}


def test_another_field_takes_the_split(open_task: Opener, backend: MemoryStore) -> None:
    """The split goes to the field that is named; a template without it is an error at once."""
    task = open_task("{metric}/{phase}-{fold}")
    relay = Relay(task.bind(fold=1), by_prefix(SPLITS), "phase")
    assert names(relay, backend, {"val_loss": 0.5, "lr": 0.1}) == {("loss", "val-1"), ("lr", "value-1")}
    assert names(Relay(open_task("{metric}"), by_prefix(SPLITS)), backend, {"val_loss": 0.5}) == {
        ("val_loss", "val_loss")
    }
    with pytest.raises(UnknownFieldError):
        Relay(task, by_prefix(SPLITS), "split")


def test_a_vocabulary_reads_first(open_task: Opener, backend: MemoryStore) -> None:
    """A name or alias of the vocabulary is taken whole; the rest's split goes to what carries none."""
    metrics = [
        Metric("loss", aliases={"val_loss": {"split": "check"}}),
        Metric("accuracy", aliases=["acc"]),
    ]
    task = open_task("{metric}/{split}", metrics=metrics)
    relay = Relay(task, by_prefix(("val",)), rest="train")
    values = {"loss": 0.5, "val_loss": 0.5, "acc": 0.5, "val_acc": 0.5}
    assert names(relay, backend, values) == {
        ("loss", "train"),
        ("loss", "check"),
        ("accuracy", "train"),
        ("accuracy", "val"),
    }


def test_what_is_left_out_is_told_once_for_each_name(open_task: Opener, backend: MemoryStore) -> None:
    """What is no number, or not in the vocabulary, costs nothing but one warning for the group."""
    task = open_task(metrics=["loss"])
    relay = Relay(task, by_prefix(SPLITS))
    values = {"loss": 0.5, "note": "words", "lr": 0.1}
    with pytest.warns(LeftOutWarning, match=r"group's tasks: 'note', 'lr'; 'note' is 'words', a str"):
        relay.put(values, 1)
    relay.put(values, 2)
    other = Relay(task.group.task({"C": 2}), by_prefix(SPLITS))
    with pytest.warns(LeftOutWarning, match=r"group's tasks: 'val_lr'; the metric 'lr' is not in"):
        other.put({**values, "val_lr": 0.1}, 1)
    task.flush()
    assert [task.scalars for task in backend.members] == [
        {("loss", "value"): [(1, 0.5), (2, 0.5)]},
        {("loss", "value"): [(1, 0.5)]},
    ]


def test_names_that_cannot_be_told_apart_are_left_out(open_task: Opener, backend: MemoryStore) -> None:
    """Two spellings of one metric in a vocabulary are not folded into one curve."""
    task = open_task(metrics=[Metric("loss", aliases={"val_loss": {"split": "val"}})])
    relay = Relay(task, by_prefix(SPLITS))
    with pytest.warns(LeftOutWarning, match="'loss/val'; 'val_loss' and 'loss/val' would both"):
        relay.put({"val_loss": 0.5, "loss/val": 0.25}, 1)
    assert names(relay, backend, {}) == {("loss", "val")}


def test_fields_that_nobody_fills_in(backend: MemoryStore) -> None:
    """A field that neither the framework nor the user knows reads `value`; defaults and aliases stay."""
    metrics = [Metric("loss", aliases={"val_loss": {"split": "val"}})]
    group = TaskGroup("digits", "sweep", template="{metric}/{split} {fold} {phase=main}", metrics=metrics)
    assert filled(group, "loss", {"fold": 1}) == {"fold": 1, "split": "value"}
    assert filled(group, "val_loss", {}) == {"fold": "value"}
    assert filled(group, "other", {}) == {"fold": "value", "split": "value"}


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
@pytest.mark.parametrize("read", [by_prefix(SPLITS), by_prefix(("val",), "/"), by_last_part])
@pytest.mark.parametrize("is_bound", [False, True])
def test_copies_log_to_the_same_task(copied: Any, read: Any, is_bound: bool) -> None:
    """Loggers and callbacks are copied and pickled together with the trainer that holds them."""
    with TaskGroup("digits", "sweep", mode="offline", provenance=False) as group:
        task = group.task({"C": 1})
        relay = Relay(task.bind() if is_bound else task, read)
        relay.put({"loss/val": 1.0}, 1)
        again = copied(relay)
        assert again.owner is task
        again.put({"loss/val": 2.0}, 2)
        writer = copied(task.summary_writer())
        writer.add_scalar("loss/val", 3.0, 3)
    assert group.results().history("loss", split="val")[0].values == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("only", "ignore", "reported"),
    [
        (None, (), ["loss", "eval_loss"]),
        (None, "eval_*", ["loss"]),
        ("*loss", ["loss"], ["eval_loss"]),
        (["loss", "eval_runtime"], (), ["loss", "eval_runtime"]),  # what is left out by default, too
        ((), (), []),
    ],
)
def test_patterns(
    open_task: Opener, backend: MemoryStore, only: Any, ignore: Any, reported: list[str]
) -> None:
    """Names match patterns as of files; `only` has its way with what is left out by default."""
    relay = Relay(open_task(), by_prefix(()), takes=by_patterns(only, ignore, ["*_runtime"]))
    found = names(relay, backend, {"loss": 1, "eval_loss": 2, "eval_runtime": 3})
    assert found == {(name, "value") for name in reported}


@pytest.mark.parametrize("pattern", [None, 1, [None], ["loss", 1]])
def test_a_pattern_is_text(pattern: Any) -> None:
    with pytest.raises(ArgumentError, match="patterns such as"):
        by_patterns(None, pattern)


def test_names_of_nested_dicts_are_joined() -> None:
    assert flat({"a": 1, "b": {"c": 2, "d": {"e": 3}}, "f": {}}) == {"a": 1, "b/c": 2, "b/d/e": 3}


def test_the_task_that_is_meant(open_task: Opener) -> None:
    """Without a task it is the one whose block this is; without a block, an error."""
    task = open_task()
    with task:
        assert current_task(None) is task
    view = task.bind(split="val")
    assert current_task(view) is view
    for wrong in (None, "C=1"):
        with pytest.raises(ArgumentError, match="a task of a group"):
            current_task(wrong)  # type: ignore[arg-type]


BLOCKED = """
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(name, name={lacking!r})
sys.meta_path.insert(0, Blocker())
from clearml_taskgroup import TaskGroup
from clearml_taskgroup.errors import MissingExtraError
with TaskGroup("project", "group", mode="disabled") as group:
    group.task(name="works").report({{"loss": 0.5}}, 1)
    try:
        {use}
    except ImportError as error:
        give([type(error).__name__, str(error)])
"""
IMPORT = "import clearml_taskgroup.integrations."
MISSING = [
    ("optuna", "optuna", "group.objective(print)"),
    ("lightning", "lightning", f"{IMPORT}lightning"),
    ("transformers", "huggingface", f"{IMPORT}huggingface"),
    ("keras", "keras", f"{IMPORT}keras"),
    ("hydra", "hydra", f"{IMPORT}hydra"),
    ("accelerate", "accelerate", f"{IMPORT}accelerate"),
    ("ray", "ray", f"{IMPORT}ray_tune"),
    ("sklearn", "sklearn", f"{IMPORT}sklearn"),
    ("xgboost", "xgboost", f"{IMPORT}xgboost"),
    ("lightgbm", "lightgbm", f"{IMPORT}lightgbm"),
    ("catboost", "catboost", f"{IMPORT}catboost"),
]


@pytest.mark.quick(1)
@pytest.mark.parametrize(("package", "extra", "use"), MISSING)
def test_a_missing_extra_is_named(tmp_path: Path, package: str, extra: str, use: str) -> None:
    """Where a package is missing, its integration says what to install; everything else works."""
    script = BLOCKED.format(package=package, lacking=package, use=use)
    command = f"pip install 'clearml-taskgroup[{extra}]'"
    module = f"clearml_taskgroup.integrations.{extra}"
    used = use.removeprefix("import ") if use.startswith(IMPORT) else module
    assert run(script, tmp_path).result == ["MissingExtraError", f"{used} needs {package}: {command}"]


@pytest.mark.quick(1)
@pytest.mark.parametrize(("package", "extra", "use"), MISSING)
def test_a_broken_package_speaks_for_itself(tmp_path: Path, package: str, extra: str, use: str) -> None:
    """A package that is there, and lacks something itself, is not told to be missing."""
    script = BLOCKED.format(package=package, lacking="torch", use=use)
    assert run(script, tmp_path).result[0] == "ModuleNotFoundError"


@pytest.mark.parametrize(("name", "module"), [("TaskCallback", "keras"), ("ray", "ray_tune")])
def test_names_that_are_looked_for_in_the_package(name: str, module: str) -> None:
    """The error says which module has them; integrations themselves are found as ever."""
    with pytest.raises(ImportError, match=f"has no '{name}'; import from its module .*{module}"):
        exec(f"from clearml_taskgroup.integrations import {name}")
    assert not hasattr(clearml_taskgroup.integrations, "nothing")
    from clearml_taskgroup.integrations import tensorboard

    assert tensorboard.__name__.endswith("integrations.tensorboard")
