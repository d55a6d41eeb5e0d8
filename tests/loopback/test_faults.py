"""What goes wrong on the wire, when it is told to."""

from __future__ import annotations

import http.client
import time

import pytest

from .client import Client
from .faults import GATEWAY_STATUSES, Fault, FaultKind, Faults
from .server import LoopbackServer

BROKEN = (http.client.HTTPException, OSError)


@pytest.mark.parametrize("status", GATEWAY_STATUSES)
def test_a_proxy_can_answer_instead(api: Client, server: LoopbackServer, status: int) -> None:
    """A status in a script is a web page of a proxy, and the call is not done."""
    server.faults.fail_next("projects.create", status=status)
    reply = api.reply("projects.create", name="first")
    assert (reply.status, reply.headers["Content-Type"]) == (status, "text/html")
    assert server.projects == {}
    assert api.reply("projects.create", name="first").status == 200
    assert [(c.endpoint, c.status, c.fault) for c in server.calls] == [
        ("projects.create", status, f"status:{status}"),
        ("projects.create", 200, ""),
    ]


def test_a_proxy_can_answer_too_late(api: Client, server: LoopbackServer) -> None:
    """With after, the call was done, so that a retry does it again."""
    server.faults.fail_next("projects.create", status=504, after=True)
    assert api.reply("projects.create", name="first").status == 504
    assert api.reply("projects.create", name="first").code == (400, 801)


def test_a_connection_can_drop_before_the_call(api: Client, server: LoopbackServer) -> None:
    """The client gets nothing, and nothing is done."""
    server.faults.fail_next("projects.create", kind=FaultKind.DROP_BEFORE)
    with pytest.raises(BROKEN):
        api.reply("projects.create", name="first")
    assert server.projects == {}
    assert (server.calls[0].status, server.calls[0].fault) == (0, "drop_before")
    assert api.reply("projects.create", name="first").status == 200


def test_a_connection_can_drop_after_the_call(api: Client, server: LoopbackServer) -> None:
    """The client gets nothing, and the call was done."""
    server.faults.fail_next("projects.create", kind="drop_after")
    with pytest.raises(BROKEN):
        api.reply("projects.create", name="first")
    assert [project["name"] for project in server.projects.values()] == ["first"]


def test_an_answer_can_be_cut_off(api: Client, server: LoopbackServer) -> None:
    """The length promises more than what comes."""
    server.faults.fail_next("server.info", kind=FaultKind.TRUNCATE)
    with pytest.raises(http.client.IncompleteRead):
        api.reply("server.info")


def test_a_token_can_expire_by_script(api: Client, server: LoopbackServer) -> None:
    """The answer is that to an expired token, whatever the credentials."""
    server.faults.fail_next("server.info", kind=FaultKind.EXPIRED)
    reply = api.reply("server.info")
    assert reply.code == (401, 30)
    assert "expired" in reply.meta["result_msg"]
    assert api.reply("server.info").status == 200


def test_an_answer_can_be_late(api: Client, server: LoopbackServer) -> None:
    """A delay comes on top, for one answer; a latency for all of them."""
    server.faults.fail_next("server.info", kind=FaultKind.DELAY, delay=0.05)
    before = time.monotonic()
    api.reply("server.info")
    assert time.monotonic() - before >= 0.05
    server.faults.latency = 0.02
    before = time.monotonic()
    for _ in range(3):
        api.reply("server.info")
    assert time.monotonic() - before >= 0.06


def test_scripts_count_and_match(api: Client, server: LoopbackServer) -> None:
    """A script goes by a pattern and a number of times, one script after the other."""
    server.faults.fail_next("projects.*", status=502, times=2)
    server.faults.fail_next("projects.get_all", status=503)
    statuses = [api.reply("projects.get_all").status for _ in range(4)]
    assert statuses == [502, 502, 503, 200]
    assert api.reply("server.info").status == 200


def test_a_script_needs_one_kind_of_fault() -> None:
    """Neither nothing nor two things at once can be scripted."""
    with pytest.raises(ValueError, match="either"):
        Faults().fail_next("tasks.create")
    with pytest.raises(ValueError, match="either"):
        Faults().fail_next("tasks.create", status=500, kind="delay")


def test_an_outage_turns_everyone_away(api: Client, server: LoopbackServer) -> None:
    """Neither an open nor a new connection is served, until it is over."""
    api.call("server.info")
    server.faults.outage = True
    for _ in range(2):
        with pytest.raises(BROKEN):
            api.call("server.info")
    server.faults.outage = False
    api.call("server.info")


def picked(seed: int) -> list[str]:
    """What happens to 300 requests under a seed."""
    faults = Faults()
    faults.random(0.5, seed)
    return [str(faults.pick("tasks.create")) for _ in range(300)]


def test_chance_goes_by_its_seed() -> None:
    """The same seed gives the same faults, another one others, at about the rate."""
    first = picked(1)
    assert first == picked(1) != picked(2)
    assert 100 < first.count("None") < 200
    assert {"drop_before", "drop_after", "truncate", "delay", "expired", "status:502"} < set(first)


def test_chance_can_be_narrowed_down(api: Client, server: LoopbackServer) -> None:
    """A mix says what may happen, a pattern to whom, and clear ends it."""
    server.faults.random(1.0, 0, mix=[Fault(FaultKind.STATUS, status=429)], pattern="projects.*")
    assert api.reply("projects.get_all").status == 429
    assert api.reply("server.info").status == 200
    server.faults.latency = 1.0
    server.faults.clear()
    assert api.reply("projects.get_all").status == 200


def test_a_login_does_not_expire() -> None:
    """By chance, a login fails in every way but that of a token."""
    faults = Faults()
    faults.random(1.0, 0, mix=[Fault(FaultKind.EXPIRED)])
    assert faults.pick("auth.login") is None
    assert faults.pick("tasks.create") is not None
