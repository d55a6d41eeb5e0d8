"""Parameters, configuration, artifacts and models of tasks."""

from __future__ import annotations

from typing import Any

import pytest

from .client import Client, Refused
from .server import LoopbackServer

PARAMETER = {"section": "General", "name": "lr", "value": "0.1"}


def code_of(api: Client, endpoint: str, **fields: Any) -> tuple[int, int]:
    """Code and subcode of an answer."""
    return api.reply(endpoint, fields).code


@pytest.mark.parametrize(
    ("parameter", "code"),
    [
        ({"section": "General", "name": "lr", "value": 0.1}, (400, 12)),
        ({"name": "lr", "value": "0.1"}, (400, 800)),
        ({"section": "General", "value": "0.1"}, (400, 800)),
        ({"section": "General", "name": "lr"}, (400, 800)),
    ],
)
def test_a_hyperparameter_is_text_with_section_and_name(
    api: Client, parameter: dict[str, Any], code: tuple[int, int]
) -> None:
    """Numbers are refused, and so is a parameter without section, name or value."""
    fields = {"hyperparams": {"General": {"lr": parameter}}}
    assert code_of(api, "tasks.create", name="task", type="training", **fields) == code


def test_after_completion_artifacts_are_closed_even_with_force(api: Client) -> None:
    """Artifacts and runtime cannot be changed any more; requirements and properties can."""
    task = api.task()
    api.move(task, "started", "completed")
    artifacts = [{"key": "a", "type": "custom"}]
    closed = (
        ("tasks.add_or_update_artifacts", {"artifacts": artifacts}),
        ("tasks.delete_artifacts", {"artifacts": [{"key": "a"}]}),
        ("tasks.edit_runtime", {"add_or_update": {"a": "1"}}),
        ("tasks.edit_hyper_params", {"hyperparams": [PARAMETER]}),
        ("tasks.edit_configuration", {"configuration": [{"name": "n", "value": "v"}]}),
    )
    for name, fields in closed:
        assert api.reply(name, fields, task=task, force=True).code == (400, 110)
    properties = [{"section": "Properties", "name": "note", "value": "v"}]
    api.call("tasks.edit_hyper_params", task=task, hyperparams=properties)
    api.call("tasks.set_requirements", task=task, requirements={"pip": "numpy"})
    api.call("tasks.edit", task=task, tags=["x"], force=True)


def test_runtime_is_edited_by_key(api: Client, server: LoopbackServer) -> None:
    """Keys are added and removed; while the task runs, only with force."""
    task = api.task(runtime={"a": "1", "b": "2"})
    api.call("tasks.edit_runtime", task=task, add_or_update={"c": "3"}, remove=["a"])
    assert server.task(task)["runtime"] == {"b": "2", "c": "3"}
    api.move(task, "started")
    assert code_of(api, "tasks.edit_runtime", task=task, remove=["b"]) == (400, 110)
    api.call("tasks.edit_runtime", task=task, remove=["b"], force=True)


def test_artifacts_go_by_key_and_mode(api: Client, server: LoopbackServer) -> None:
    """The same key overwrites, another one is added, and both can be removed."""
    task = api.task()
    for size in (1, 2):
        item = {"key": "model", "type": "custom", "content_size": size}
        api.call("tasks.add_or_update_artifacts", task=task, artifacts=[item])
    api.call("tasks.add_or_update_artifacts", task=task, artifacts=[{"key": "data", "type": "custom"}])
    held = server.task(task)["execution"]["artifacts"]
    assert [(item["key"], item["mode"]) for item in held] == [("data", "output"), ("model", "output")]
    assert held[1]["content_size"] == 2
    api.call("tasks.delete_artifacts", task=task, artifacts=[{"key": "data"}])
    assert len(server.task(task)["execution"]["artifacts"]) == 1


def test_hyperparameters_are_edited_and_removed(api: Client, server: LoopbackServer) -> None:
    """Single values, sections and everything can be replaced or removed."""
    task = api.task(hyperparams={"General": {"lr": PARAMETER}})

    def edit(replace: str, *names: str) -> dict[str, Any]:
        items = [{"section": "General", "name": name, "value": "1"} for name in names]
        api.call("tasks.edit_hyper_params", task=task, hyperparams=items, replace_hyperparams=replace)
        section: dict[str, Any] = server.task(task)["hyperparams"]["General"]
        return section

    assert set(edit("none", "a", "b")) == {"lr", "a", "b"}
    assert set(edit("section", "c", "d")) == {"c", "d"}
    listed = api.call("tasks.get_hyper_params", tasks=[task])["params"][0]["hyperparams"]
    assert [item["name"] for item in listed] == ["c", "d"]
    api.call("tasks.delete_hyper_params", task=task, hyperparams=[{"section": "General", "name": "c"}])
    assert set(server.task(task)["hyperparams"]["General"]) == {"d"}
    api.call("tasks.delete_hyper_params", task=task, hyperparams=[{"section": "General"}])
    assert server.task(task)["hyperparams"] == {}


def test_configuration_objects_are_edited(api: Client, server: LoopbackServer) -> None:
    """Each by its name, or all at once."""
    task = api.task(configuration={"net": {"name": "net", "value": "old"}})
    items = [{"name": "net", "value": "a"}, {"name": "data", "value": "b"}]
    api.call("tasks.edit_configuration", task=task, configuration=items)
    assert server.task(task)["configuration"] == {item["name"]: item for item in items}
    api.call("tasks.edit_configuration", task=task, configuration=items[:1], replace_configuration=True)
    assert set(server.task(task)["configuration"]) == {"net"}


def test_models_are_named_as_input_and_output(api: Client, server: LoopbackServer) -> None:
    """A model has one place for each name, and an iteration moves the task on."""
    task = api.task()
    model = api.call("models.create", name="net", uri="http://x", task=task)["id"]
    for iteration in (3, 5):
        fields = {"name": "best", "model": model, "type": "output", "iteration": iteration}
        api.call("tasks.add_or_update_model", fields, task=task)
    found = server.task(task)
    assert [item["name"] for item in found["models"]["output"]] == ["best"]
    assert found["last_iteration"] == 5


def test_models_can_be_kept_and_found(api: Client) -> None:
    """Models are made, edited, published, found and removed."""
    model = api.call("models.create", name="net", uri="http://x", ready=False)["id"]
    api.call("models.edit", model=model, framework="torch", tags=["t"])
    assert api.call("models.get_by_id", model=model)["model"]["framework"] == "torch"
    assert len(api.call("models.get_all", tags=["t"])["models"]) == 1
    assert api.call("models.set_ready", model=model)["updated"] == 1
    assert api.reply("models.set_ready", model=model).code == (400, 203)
    metadata = [{"key": "k", "type": "str", "value": "v"}]
    api.call("models.add_or_update_metadata", model=model, metadata=metadata)
    api.call("models.archive_many", ids=[model])
    assert api.call("models.delete", model=model)["deleted"] is True
    with pytest.raises(Refused, match="Invalid model id"):
        api.call("models.get_by_id", model=model)
