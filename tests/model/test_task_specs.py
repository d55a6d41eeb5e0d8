"""Specs: keys and names of a run's tasks, their places, and doubles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._model.arguments import checked_tags
from clearml_taskgroup._model.identity import task_key
from clearml_taskgroup.errors import (
    ArgumentError,
    DuplicateTaskError,
    ParameterError,
    ServerNameError,
)
from clearml_taskgroup.testing import MemoryStore


def test_parameters_make_key_and_name(group: TaskGroup) -> None:
    """The key is made of the parameters alone; a name of one's own leaves it as it is."""
    task = group.task({"C": 1})
    assert (str(task.name), len(task.key)) == ("C=1", 12)
    with TaskGroup("other", "group") as other:
        assert other.task({"C": 1.0}, name="first try").key == task.key
        assert str(other.get(C=1).name) == "first try"


def test_without_parameters_the_key_is_the_name(group: TaskGroup) -> None:
    assert group.task(name="baseline").key == "baseline"
    assert str(group.task(key="final").name) == "final"
    assert group.task({}, name="empty").key == "empty"


def test_neither_parameters_nor_name_nor_key(group: TaskGroup) -> None:
    """A task that nothing tells apart is refused, with the three ways to tell it."""
    nothing: tuple[dict[str, Any] | None, ...] = (None, {})
    for params in nothing:
        with pytest.raises(ArgumentError, match="name='baseline'"):
            group.task(params)


def test_a_given_key_goes_before_parameters(group: TaskGroup) -> None:
    """With key=, parameters need have no identity, and may be equal in two tasks."""
    task = group.task({"loss": lambda x: x}, key="mine")
    assert (task.key, str(task.name)) == ("mine", "mine")
    first, second = group.task({"C": 1}, key="a"), group.task({"C": 1}, key="b")
    assert (first.key, second.key) == ("a", "b")
    assert [str(first.name), str(second.name)] == ["C=1", "C=1~b"]


def test_names_are_unique_in_a_run(group: TaskGroup) -> None:
    """A name that is taken by another key gets the key added."""
    group.task({"C": 1}, name="trial")
    second = group.task({"C": 2}, name="trial")
    assert str(second.name) == f"trial~{second.key}"
    group.task(name="C=3")
    (made,) = group.tasks([{"C": 3}])
    assert str(made.name) == f"C=3~{made.key}"


class Model:
    """Follows scikit-learn's convention for estimators."""

    def __init__(self, C: float = 1.0, degree: int = 3) -> None:  # noqa: N803
        self.C, self.degree = C, degree

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"C": self.C, "degree": self.degree}

    def set_params(self, **params: Any) -> None:
        vars(self).update(params)


class Other(Model):
    """Has the same parameters."""


Same = type("Model", (Model,), {"__module__": "elsewhere"})


def test_an_estimator_is_named_by_its_parameters(group: TaskGroup) -> None:
    """A name has `Model(C=3)` without the path; two classes of one text have different names and keys."""
    models = [Model(3), Same(3), Other(3), "Model(C=3)"]
    made = group.tasks({"model": models})
    first, second, third, fourth = (str(task) for task in made)
    assert first == "model=Model(C=3)"
    assert second == f"model=Model(C=3)~{made[1].key}"
    assert third == "model=Other(C=3)"
    assert fourth == 'model="Model(C=3)"'
    assert len({task.key for task in made}) == 4
    assert [task.key for task in made] == [task_key({"model": model}) for model in models]


def test_a_name_that_was_refused_is_free(group: TaskGroup) -> None:
    """A space that is refused takes no names away."""
    with pytest.raises(DuplicateTaskError):
        group.tasks({"model": [Model(3), Model(3.0)]})
    assert str(group.task({"model": Same(3)})) == "model=Model(C=3)"


def test_a_lambda_is_refused_until_a_key_is_given(group: TaskGroup) -> None:
    """What has no identity is refused as the task is made, with the way out."""
    with pytest.raises(ParameterError, match="give key="):
        group.task({"loss": lambda x: x}, name="mine")


def test_the_same_parameters_twice(group: TaskGroup) -> None:
    """A double is refused, and the error shows both tasks as they were given."""
    group.task({"C": 1, "seed": 0})
    with pytest.raises(DuplicateTaskError) as caught:
        group.task({"seed": 0.0, "C": 1})
    text = str(caught.value)
    assert "{'C': 1, 'seed': 0}" in text
    assert "{'seed': 0.0, 'C': 1}" in text
    assert "key=" in text
    assert "if_exists='return'" in text
    assert len(group) == 1


def test_the_same_name_twice(group: TaskGroup) -> None:
    """Two tasks with nothing but one and the same name are a double."""
    group.task(name="baseline")
    with pytest.raises(DuplicateTaskError, match="'baseline'"):
        group.task(name="baseline")


def test_if_exists_return(group: TaskGroup) -> None:
    """`if_exists="return"` gives the task that the run has, and otherwise opens one."""
    first = group.task({"C": 1}, if_exists="return")
    assert group.task({"C": 1.0}, if_exists="return") is first
    assert len(group) == 1
    with pytest.raises(ArgumentError, match="'error' or 'return'"):
        group.task({"C": 1}, if_exists="skip")  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["tasks", "sweep"])
def test_doubles_in_a_space_are_refused_before_any_task(group: TaskGroup, way: str) -> None:
    """A space with one point twice opens no task at all; the error shows both spellings."""
    with pytest.raises(DuplicateTaskError, match=r"'C': 1\.0.*'C': 1\}"):
        getattr(group, way)([{"C": 2}, {"C": 1}, {"C": 1.0}])
    with pytest.raises(DuplicateTaskError, match="it twice, as its configurations 2 and 3; leave") as caught:
        getattr(group, way)({"C": [2, 1, 1.0]})
    assert "if_exists" not in str(caught.value)
    assert len(group) == 0
    group.task({"C": 2})
    with pytest.raises(DuplicateTaskError, match="if_exists"):
        getattr(group, way)({"C": [1, 2]})
    assert len(group) == 1


def test_a_point_taken_since_the_sweep_was_made(group: TaskGroup) -> None:
    """A sweep's turn whose point another call has opened meanwhile is a double, too."""
    sweep = group.sweep({"C": [1, 2]})
    group.task({"C": 2})
    next(sweep)
    with pytest.raises(DuplicateTaskError):
        next(sweep)


def test_the_index_is_the_place_in_the_space(group: TaskGroup) -> None:
    """Tasks are numbered from 0 in the order of the space, over all calls."""
    made = [*group.tasks({"C": [1, 2]}), group.task(name="extra"), *group.sweep({"D": [1, 2]})]
    assert [task.index for task in made] == [0, 1, 2, 3, 4]
    assert [task.attempt for task in made] == [1] * 5


@pytest.mark.parametrize(
    "arguments", [{"name": " "}, {"name": ""}, {"name": 3}, {"key": ""}, {"key": 7}, {"params": [("C", 1)]}]
)
def test_arguments_of_the_wrong_kind(group: TaskGroup, arguments: dict[str, Any]) -> None:
    """A blank or non-text name or key, and parameters that are no dict, are refused by name."""
    ((argument, _),) = arguments.items()
    with pytest.raises(ArgumentError, match=f"^{argument}="):
        group.task(**arguments)


def test_tags(backend: MemoryStore) -> None:
    """A task has its group's tags and its own; a bare string is refused."""
    with TaskGroup("digits", "sweep", tags=["a"]) as group:
        group.task({"C": 1}, tags=("b",))
        with pytest.raises(ArgumentError, match=r"\['b'\]"):
            group.task({"C": 2}, tags="b")
    assert backend.members[0].tags == ("a", "b")
    for bad in ([""], [3], ["a", " "]):
        with pytest.raises(ArgumentError, match="not blank"):
            checked_tags(bad)  # type: ignore[arg-type]


def test_clearml_task_names(backend: MemoryStore) -> None:
    """`task_name` says how the ClearML tasks are called; the default is group and task."""
    with TaskGroup("digits", "sweep") as group:
        group.task({"C": 1})
    with TaskGroup("digits", "sweep", task_name="{group}/{index}-{task} [{key}]") as group:
        key = group.task({"C": 1}).key
    assert [task.spec.task_name for task in backend.members] == ["sweep C=1", f"sweep/0-C=1 [{key}]"]


def test_task_names_that_a_server_refuses(backend: MemoryStore) -> None:
    """A ClearML task's name of fewer than 3 characters is refused as the task is made."""
    with TaskGroup("digits", "sweep", task_name="{task}") as group:
        with pytest.raises(ServerNameError, match="the task name 'ab'"):
            group.task(name="ab")
        group.task(name="abc")
    assert len(backend.members) == 1


def test_identity_is_written_into_each_task(backend: MemoryStore) -> None:
    """The section `TaskGroup` holds group, run, key, index, attempt, template and typed parameters."""
    with TaskGroup("digits", "sweep") as group:
        task = group.task({"model": {"depth": np.int64(3)}, "flag": True, "none": None})
    section = backend.identity(task.id)
    assert section["group"] == group.id
    assert section["run"] == group.run
    assert (section["key"], section["index"], section["attempt"]) == (task.key, "0", "1")
    assert section["template"] == "{metric}/{split=value}"
    assert section["params"] == '{"model/depth": 3, "flag": true, "none": null}'
    assert backend.tasks[task.id].hyperparameters["General"] == {
        "model/depth": "3",
        "flag": "True",
        "none": "",
    }


def test_names_of_a_space_have_what_varies(group: TaskGroup) -> None:
    """Parameters that are the same in all configurations are left out; keys are made of all of them."""
    tasks = group.tasks({"model": ["svm"], "C": [1, 10], "net": [{"depth": 2}], "seed": [0]})
    assert [task.name for task in tasks] == ["C=1", "C=10"]
    assert tasks[0].key == task_key({"model": "svm", "C": 1, "net/depth": 2, "seed": 0})
    assert group.task({"model": "svm", "C": 1}).name == "C=1,model=svm"  # a space of its own is not known
    # As a task has `model` in its name, the next ones have, too.
    listed = group.tasks({"model": ["rf"], "C": [1, 20], "seed": [0]})
    assert [task.name for task in listed] == ["C=1,model=rf", "C=20,model=rf"]
    assert [task.name for task in group.tasks([{"a": 1, "b": 1}, {"a": 1, "b": 2}])] == ["b=1", "b=2"]
    assert [task.name for task in group.tasks({"only": [1], "one": [True]})] == ["one=True,only=1"]


def test_names_of_a_space_have_one_form(group: TaskGroup) -> None:
    """Where one would be blank, or another task's, all have all parameters, what varies first."""
    group.tasks({"model": ["svm"], "z": [1, 10]})
    listed = group.tasks({"model": ["rf"], "z": [1, 20]})
    assert [task.name for task in listed] == ["z=1,model=rf", "z=20,model=rf"]
    assert [task.name for task in group.tasks([{"a": 1, "b": 1}, {"a": 1}])] == ["b=1,a=1", "a=1"]


def test_equal_values_do_not_vary(group: TaskGroup) -> None:
    """Values are compared as for keys, whatever their types."""
    space = [{"x": 1, "y": [1, 2], "z": 1, "s": 0}, {"x": 1.0, "y": (1, 2), "z": True, "s": 0}]
    assert [task.name for task in group.tasks(space)] == ["z=1", "z=True"]
    arrays = [{"w": np.array([1, 2]), "s": 1}, {"w": np.array([1, 2]), "s": 2}]
    assert [task.name for task in group.tasks(arrays)] == ["s=1", "s=2"]


def test_a_configuration_keeps_its_name() -> None:
    """Under `resume`, and where it is run again, whatever varies in the space now."""
    with TaskGroup("digits", "kept names", mode="offline", provenance=False) as group:
        group.task({"C": 1, "seed": 0}).mark_failed()
        listed = group.tasks([{"C": 2, "seed": 0}, {"C": 2, "seed": 1}])
        assert [task.name for task in listed] == ["C=2,seed=0", "C=2,seed=1"]  # as the first one's
        again = [task.name for task in group.sweep({"C": [1], "seed": [0, 1]}, if_exists="retry")]
        assert again == ["C=1,seed=0", "C=1,seed=1"]
    with TaskGroup("digits", "kept names", mode="offline", provenance=False, resume=True) as group:
        names = [task.name for task in group.tasks({"C": [2, 3], "seed": [0, 1]})]
        assert names == ["C=2,seed=0", "C=2,seed=1", "C=3,seed=0", "C=3,seed=1"]
    with TaskGroup("digits", "kept names", mode="offline", provenance=False) as group:
        group.tasks({"C": [2], "seed": [0, 1], "k": [5]})
    with TaskGroup("digits", "kept names", mode="offline", provenance=False, resume=True) as group:
        names = [task.name for task in group.tasks({"C": [2, 3], "seed": [0, 1], "k": [5]})]
        assert names == ["seed=0", "seed=1", "C=3,seed=0", "C=3,seed=1"]


def test_in_a_shared_run_names_have_all_parameters() -> None:
    """Other processes may have another space, in which other parameters vary."""
    with TaskGroup("digits", "shared names", mode="offline", provenance=False, run="names") as group:
        assert [task.name for task in group.tasks({"C": [1], "seed": [0, 1]})] == ["C=1,seed=0", "C=1,seed=1"]


@pytest.mark.parametrize(("given", "name"), [("mine", "'mine'"), (3, "'baseline'")])
def test_parameters_are_a_dict(given: Any, name: str, group: TaskGroup) -> None:
    """The error says where a name goes."""
    with pytest.raises(ArgumentError, match=rf"task\(\{{'lr': 0\.1\}}\); without .* task\(name={name}\)"):
        group.task(given)
