"""Paths, credentials, envelopes and the check against the shipped schemas."""

from __future__ import annotations

import base64
import json

import pytest

from .client import Client, Refused, log, scalar
from .server import LoopbackServer


def test_the_envelope_is_the_real_one(api: Client) -> None:
    """An answer consists of meta, with the call's names and codes, and of data."""
    reply = api.reply("server.info")
    assert reply.status == 200
    assert reply.meta["id"] == reply.meta["trx"]
    assert reply.meta["endpoint"] == {
        "name": "server.info",
        "requested_version": "2.23",
        "actual_version": "1.0",
    }
    wanted = {"result_code": 200, "result_subcode": 0, "result_msg": "OK"}
    assert reply.meta.items() >= wanted.items()
    assert reply.meta["error_stack"] is None
    assert reply.data["version"] == "2.3.0"


def test_a_path_needs_no_version(api: Client, server: LoopbackServer) -> None:
    """A path without a version means the newest one."""
    assert api.send("/server.info", b"{}").meta["endpoint"]["requested_version"] == "2.34"
    assert server.calls[-1].version == "2.34"


def test_a_version_of_the_future_is_refused(api: Client) -> None:
    """A path that names a version above the server's own is a bad request."""
    assert api.send("/v9.9/server.info", b"{}").code == (400, 0)


def test_a_get_request_may_have_a_body(api: Client) -> None:
    """The SDK sends its JSON with GET, and it is read."""
    body = json.dumps({"name": "a project"}).encode()
    assert api.send("/v2.23/projects.create", body, method="GET").status == 200


def test_a_query_string_stands_in_for_a_body(api: Client) -> None:
    """Without a body, the query's values are read as numbers and booleans."""
    reply = api.send("/auth.login?expiration_sec=60", method="GET")
    claims = reply.data["token"].split(".")[1]
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert decoded["exp"] - decoded["iat"] == 60


def test_a_chunked_body_is_read(api: Client) -> None:
    """A client need not know how long its body is."""
    connection = api._connection
    headers = {"Authorization": api.authorization, "Transfer-Encoding": "chunked"}
    chunks = iter([b'{"name": ', b'"chunked"}'])
    connection.request("POST", "/projects.create", body=chunks, headers=headers, encode_chunked=True)
    response = connection.getresponse()
    assert (response.status, bool(response.read())) == (200, True)


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, (401, 20)),
        ("Digest abc", (401, 10)),
        ("Basic " + base64.b64encode(b"key:wrong").decode(), (401, 22)),
        ("Basic é", (401, 21)),
        ("Bearer not.a.token", (401, 30)),
    ],
)
def test_wrong_credentials_are_told_apart(
    api: Client, authorization: str | None, code: tuple[int, int]
) -> None:
    """Each way of not being let in has its own subcode."""
    assert api.send("/server.info", b"{}", authorization=authorization).code == code


def test_a_token_opens_the_door_until_it_expires(api: Client, server: LoopbackServer) -> None:
    """A token is good until the switch makes it an expired one; a new one is good again."""
    token = "Bearer " + api.call("auth.login")["token"]
    assert api.send("/server.info", authorization=token).status == 200
    server.expire_tokens()
    assert api.send("/server.info", authorization=token).code == (401, 30)
    fresh = "Bearer " + api.call("auth.login")["token"]
    assert api.send("/server.info", authorization=fresh).status == 200


def test_the_life_of_tokens_can_be_set(api: Client, server: LoopbackServer) -> None:
    server.credentials.lifetime = -1.0
    token = "Bearer " + api.call("auth.login")["token"]
    assert api.send("/server.info", authorization=token).code == (401, 30)


def test_a_tampered_token_is_refused(api: Client) -> None:
    head, _, signature = api.call("auth.login")["token"].split(".")
    forged = base64.urlsafe_b64encode(b'{"exp": 9999999999, "serial": 9}').decode().rstrip("=")
    reply = api.send("/server.info", authorization=f"Bearer {head}.{forged}.{signature}")
    assert reply.code == (401, 30)


def test_an_unknown_endpoint_is_answered_and_recorded(api: Client, server: LoopbackServer) -> None:
    """A call that the server lacks gets the real server's 404, and a test can see it."""
    reply = api.reply("tasks.levitate")
    assert reply.code == (404, 0)
    assert "tasks.levitate" in reply.meta["result_msg"]
    assert server.unknown_endpoints == ["tasks.levitate"]


def test_a_malformed_path_is_a_bad_request(api: Client) -> None:
    """A path that is not the path of a call is told so."""
    reply = api.send("/nothing/here")
    assert reply.code == (400, 0)
    assert reply.meta["result_msg"] == "Invalid request path /nothing/here"


def test_a_violation_is_refused_and_recorded(api: Client, server: LoopbackServer) -> None:
    """A body that the shipped schema forbids gets 400/12, and a test can see it."""
    with pytest.raises(Refused) as refused:
        api.call("tasks.create", name="task", type=7)
    assert refused.value.code == (400, 12)
    (violation,) = server.violations
    assert (violation.endpoint, violation.version) == ("tasks.create", "2.23")
    assert violation.path == ("type",)


def test_an_empty_list_is_a_violation_where_the_server_refuses_it(
    api: Client, server: LoopbackServer
) -> None:
    task = api.task()
    assert api.reply("tasks.edit_hyper_params", {"task": task, "hyperparams": []}).code == (400, 12)
    assert api.reply("tasks.stop_many", {"ids": []}).code == (400, 12)
    assert [violation.path for violation in server.violations] == [("hyperparams",), ("ids",)]


def test_a_missing_field_is_a_violation(api: Client, server: LoopbackServer) -> None:
    assert api.reply("tasks.get_by_id").code == (400, 12)
    assert "'task' is a required property" in server.violations[0].message


def test_the_schema_is_that_of_the_version_asked_for(server: LoopbackServer) -> None:
    """The newest schema at or below the version in the path decides."""
    for version, shipped in (("2.34", "2.23"), ("2.22", "2.20"), ("2.13", "2.13"), ("2.9", "2.9")):
        with Client(server, version=version) as api:
            assert api.reply("tasks.get_by_id").code == (400, 12)
        assert server.violations[-1].version == shipped


def test_null_means_absent(api: Client, server: LoopbackServer) -> None:
    """The shipped schemas forbid null where the server takes it as absent."""
    assert api.task(parent=None, comment=None)
    assert server.violations == []


def test_a_body_that_is_no_json_is_a_bad_request(api: Client, server: LoopbackServer) -> None:
    assert api.send("/projects.create", b"{nonsense").code == (400, 0)
    assert len(server.violations) == 1


def test_calls_without_a_schema_still_need_their_fields(api: Client) -> None:
    """Where clearml ships no schema, a missing field is named all the same."""
    assert api.reply("tasks.edit_runtime").code == (400, 11)


@pytest.mark.parametrize("line", ["{broken", "[]", '"text"', '{"a": 1}, {"b": 2}'])
def test_a_malformed_line_fails_the_whole_batch(api: Client, server: LoopbackServer, line: str) -> None:
    """Where one line is not an object, nothing of the batch is stored."""
    task = api.task()
    reply = api.batch_reply("events.add_batch", [scalar(task, 1.0), line, scalar(task, 2.0, 1)])
    assert reply.code == (400, 0)
    assert "batch item #1" in reply.meta["result_msg"] or "objects" in reply.meta["result_msg"]
    assert server.violations[0].line == 1
    assert server.scalars(task) == {}


def test_an_empty_batch_is_refused(api: Client) -> None:
    assert api.send("/events.add_batch", b"", content_type="application/json-lines").code == (400, 17)


def test_one_object_is_a_batch_of_one(api: Client, server: LoopbackServer) -> None:
    """A batch call with plain JSON takes the object as its only line."""
    task = api.task()
    assert api.call("events.add_batch", scalar(task, 1.0))["added"] == 1
    assert server.calls[-1].items == 1


def test_calls_are_recorded(api: Client, server: LoopbackServer) -> None:
    """A record tells name, codes, size, worker and the body."""
    api.project("recorded")
    api.reply("projects.create", name="recorded")
    first, second = server.calls
    assert (first.endpoint, first.status, first.worker) == ("projects.create", 200, "client")
    assert (second.status, second.subcode) == (400, 801)
    assert first.body == {"name": "recorded"}
    assert first.size == len(first.raw)
    assert first.started <= second.started
    task = api.task()
    api.batch("events.add_batch", [scalar(task, 1.0), log(task, "hello")])
    assert [item["type"] for item in server.calls[-1].body] == ["training_stats_scalar", "log"]


def test_calls_are_counted(api: Client, server: LoopbackServer) -> None:
    """Counts go by name and status, and can be set back."""
    api.project("counted")
    api.reply("projects.create", name="counted")
    assert server.count() == server.count("projects.create") == 2
    assert server.count("projects.create", status=400) == 1
    assert server.peak_in_flight("projects.create") == 1
    server.reset_counts()
    assert (server.count(), server.peak_in_flight("projects.create")) == (0, 0)


def test_a_condition_can_be_waited_for(api: Client, server: LoopbackServer) -> None:
    """Waiting ends when the condition holds, or with the time."""
    api.project("waited")
    assert server.wait_until(lambda: server.count("projects.create") == 1, 10.0)
    assert not server.wait_until(lambda: False, 0.0)


def test_the_user_is_told(api: Client) -> None:
    """The calls about the server and the user are answered."""
    assert api.call("users.get_current_user")["user"]["name"] == "Loopback User"
    assert api.call("users.get_all")["users"][0]["role"] == "admin"
    assert api.call("users.get_vaults") == {"vaults": []}
    assert api.call("server.config") == {}
    assert api.send("/debug.ping", authorization=None).status == 200
