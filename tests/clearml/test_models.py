"""Models on a server, as the output of a task."""

from __future__ import annotations

from clearml_taskgroup._clearml import models
from clearml_taskgroup._clearml.api import Transport
from tests.loopback import LoopbackServer
from tests.support.stored_tasks import create


def test_a_model_is_created_once_for_a_file_of_a_task(loopback: LoopbackServer, transport: Transport) -> None:
    """Another name, file or task is another model."""
    task = create(transport)
    body = {"name": "net", "uri": "file:///net.pt", "task": task, "framework": "PyTorch"}
    model = models.create_model(transport, body)
    assert models.create_model(transport, body) == model
    others = [{"name": "other"}, {"uri": "file:///other.pt"}, {"task": create(transport, key="k1")}]
    assert len({models.create_model(transport, body | other) for other in others} - {model}) == 3
    assert (loopback.models[model]["name"], len(loopback.models)) == ("net", 4)


def test_a_model_whose_answer_was_lost_is_found(loopback: LoopbackServer, transport: Transport) -> None:
    loopback.faults.fail_next("models.create", kind="drop_after")
    body = {"name": "net", "uri": "file:///net.pt", "task": create(transport), "framework": "PyTorch"}
    assert [models.create_model(transport, body)] == list(loopback.models)


def test_a_model_is_an_output_of_a_task(loopback: LoopbackServer, transport: Transport) -> None:
    """With its iteration if it has one, also the first."""
    task = create(transport)
    body = {"name": "net", "uri": "file:///net.pt", "task": task, "framework": "PyTorch"}
    model = models.create_model(transport, body)
    loopback.reset_counts()
    for iteration in (None, 0, 7):
        models.add_output_model(transport, task, "best", model, iteration)
    (listed,) = loopback.task(task)["models"]["output"]
    assert (listed["name"], listed["model"]) == ("best", model)
    models.set_model_address(transport, model, "file:///moved.pt")
    assert loopback.models[model]["uri"] == "file:///moved.pt"


def test_the_first_iteration_is_one() -> None:
    sent = []

    class Server:
        def call(self, action: str, body: dict[str, object]) -> None:
            sent.append(body.get("iteration"))

    for iteration in (None, 0, 7):
        models.add_output_model(Server(), "t", "best", "m", iteration)  # type: ignore[arg-type]
    assert sent == [None, 0, 7]
