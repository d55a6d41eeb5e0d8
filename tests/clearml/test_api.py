"""One call to a server: what is tried again, for how long, and what is told at once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from clearml_taskgroup._clearml import api, sdk
from clearml_taskgroup._clearml.api import Refused, Transport, Unreachable
from clearml_taskgroup._model import limits
from clearml_taskgroup.errors import LoginError, ServerError
from tests.loopback import LoopbackServer

ASK = "projects.get_all"
LOST = [{"kind": "drop_after"}, {"kind": "truncate"}, {"status": 504, "after": True}]


def label(fault: dict[str, Any]) -> str:
    """The name of a fault, for pytest."""
    return str(fault.get("kind", fault.get("status")))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test does not notice."""
    monkeypatch.setattr(api, "MIN_RETRY_DELAY_S", 0.001)
    monkeypatch.setattr(api, "MAX_RETRY_DELAY_S", 0.005)
    monkeypatch.setattr(sdk, "MIN_LOGIN_RETRY_DELAY_S", 0.001)
    monkeypatch.setattr(sdk, "MAX_LOGIN_RETRY_DELAY_S", 0.005)


@pytest.fixture
def transport(loopback: LoopbackServer) -> Iterator[Transport]:
    """A transport to the loopback server, which has seen nothing but its login."""
    found = Transport(sdk.connect())
    loopback.reset_counts()
    yield found
    found.close()


class Pauses(threading.Event):
    """Takes the place of `Transport.closing`: notes how long it was to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Notes the time and lets none of it pass."""
        self.seconds.append(timeout or 0.0)
        return False


# --- what is tried again -----------------------------------------------------------------------


@pytest.mark.parametrize("status", sorted(api.RETRIED_STATUSES))
def test_a_passing_answer_is_tried_again(loopback: LoopbackServer, transport: Transport, status: int) -> None:
    """429, 500, 502, 503, 504 and 509 are tried again until the server answers."""
    loopback.faults.fail_next(ASK, status=status, times=2)
    assert transport.call(ASK, timeout=20) == {"projects": []}
    assert loopback.count(ASK) == 3


def test_the_list_of_passing_answers() -> None:
    """The answers that are tried again are the six that the issue names."""
    assert {429, 500, 502, 503, 504, 509} == api.RETRIED_STATUSES


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "truncate"])
def test_a_broken_connection_is_tried_again(
    loopback: LoopbackServer, transport: Transport, kind: str
) -> None:
    """A connection that ends before the whole answer is there is tried again."""
    loopback.faults.fail_next(ASK, kind=kind, times=2)
    assert transport.call(ASK, timeout=20) == {"projects": []}
    assert loopback.count(ASK) == 3


def test_an_answer_that_is_late_is_tried_again(loopback: LoopbackServer, transport: Transport) -> None:
    """An answer that does not come in the time for one is asked for again."""
    loopback.faults.fail_next(ASK, kind="delay", delay=0.6)
    assert transport.call(ASK, timeout=20, answer_timeout=0.2) == {"projects": []}
    assert loopback.count(ASK) == 2


def test_a_refused_connection_is_tried_again(loopback: LoopbackServer, transport: Transport) -> None:
    """Where nobody listens, it is tried again until somebody does."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{nobody.getsockname()[1]}"

    class Starts(Pauses):
        def wait(self, timeout: float | None = None) -> bool:
            transport.connection.host = loopback.url if len(self.seconds) > 1 else closed
            return super().wait(timeout)

    transport.connection.host, transport.closing = closed, Starts()
    assert transport.call(ASK, timeout=20) == {"projects": []}
    assert len(transport.closing.seconds) == 3


@pytest.mark.parametrize("page", [b"<html>busy</html>", b"[]", b'{"meta": {}}'])
def test_a_page_of_a_proxy_is_no_answer(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, page: bytes
) -> None:
    """A 200 with something else than a ClearML answer in it is tried again."""
    pages = [page, page]
    post = transport._post

    def answer(*args: Any) -> requests.Response:
        if not pages:
            return post(*args)
        found = requests.Response()
        found.status_code, found._content = 200, pages.pop()
        return found

    monkeypatch.setattr(Transport, "_post", lambda self, *args: answer(*args))
    assert transport.call(ASK, timeout=20) == {"projects": []}
    assert pages == []


def test_pauses_grow_and_vary(
    loopback: LoopbackServer, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pause is about twice the one before, up to a limit, with jitter."""
    monkeypatch.setattr(api, "MIN_RETRY_DELAY_S", 1.0)
    monkeypatch.setattr(api, "MAX_RETRY_DELAY_S", 8.0)
    pauses = transport.closing = Pauses()
    loopback.faults.fail_next(ASK, status=502, times=6)
    transport.call(ASK, timeout=1000)
    for seconds, middle in zip(pauses.seconds, (1, 2, 4, 8, 8, 8), strict=True):
        assert 0.5 * middle <= seconds <= 1.5 * middle
    assert any(seconds != round(seconds) for seconds in pauses.seconds)


# --- what is not -------------------------------------------------------------------------------


def test_a_400_is_told_at_once(loopback: LoopbackServer, transport: Transport) -> None:
    """What the server says no to is not asked twice, and its reason is kept."""
    with pytest.raises(Refused, match="Invalid task id") as refused:
        transport.call("tasks.get_by_id", {"task": "0" * 32}, timeout=20)
    assert (refused.value.status, refused.value.subcode) == (400, 101)
    assert loopback.count("tasks.get_by_id") == 1


@pytest.mark.parametrize("status", [403, 404, 405, 413])
def test_other_refusals_are_told_at_once(loopback: LoopbackServer, transport: Transport, status: int) -> None:
    """Other answers of the 400 kind, a proxy's too, are not tried again."""
    loopback.faults.fail_next(ASK, status=status)
    with pytest.raises(Refused) as refused:
        transport.call(ASK, timeout=20)
    assert (refused.value.status, loopback.count(ASK)) == (status, 1)


def test_500s_are_believed_to_pass_so_often(loopback: LoopbackServer, transport: Transport) -> None:
    """A 500 that stays is told after the number of attempts that the caller gives."""
    loopback.faults.fail_next(ASK, status=500, times=99)
    with pytest.raises(Refused, match="500"):
        transport.call(ASK, timeout=20, attempts_on_500=4)
    assert loopback.count(ASK) == 4


# --- for how long ------------------------------------------------------------------------------


def test_without_patience_there_is_one_attempt(loopback: LoopbackServer, transport: Transport) -> None:
    """Patience 0 is one attempt, whose failure names the server."""
    loopback.faults.fail_next(ASK, status=502, times=99)
    with pytest.raises(Unreachable, match="502"):
        transport.call(ASK, timeout=0)
    assert loopback.count(ASK) == 1


def test_patience_ends(loopback: LoopbackServer, transport: Transport) -> None:
    """A server that stays away is given up when the patience is over, not much later."""
    loopback.faults.outage = True
    before = time.monotonic()
    with pytest.raises(Unreachable, match=f"{ASK} got no answer from http://127"):
        transport.call(ASK, timeout=0.3)
    assert 0.25 < time.monotonic() - before < 5


def test_close_ends_the_waiting_at_once(
    loopback: LoopbackServer, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that waits for its next attempt ends with the transport, without another attempt."""
    monkeypatch.setattr(api, "MIN_RETRY_DELAY_S", 600.0)
    monkeypatch.setattr(api, "MAX_RETRY_DELAY_S", 600.0)
    loopback.faults.fail_next(ASK, status=502, times=99)
    errors: list[Exception] = []

    def call() -> None:
        try:
            transport.call(ASK, timeout=3600)
        except ServerError as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert loopback.wait_until(lambda: loopback.count(ASK) == 1)
    transport.close()
    thread.join(10)
    assert not thread.is_alive()
    assert [type(error) for error in errors] == [Unreachable]
    assert loopback.count(ASK) == 1


# --- answers that were lost --------------------------------------------------------------------


@pytest.mark.parametrize("fault", LOST, ids=label)
def test_a_lost_answer_is_asked_for(
    loopback: LoopbackServer, transport: Transport, fault: dict[str, Any]
) -> None:
    """Where the server may have acted, it is asked for the result before another attempt."""
    loopback.faults.fail_next("projects.create", **fault)

    def find() -> str | None:
        return next(iter(loopback.projects), None)

    body = {"name": "once", "description": ""}
    found = transport.call("projects.create", body, timeout=20, find_created=find)
    assert [found["id"]] == list(loopback.projects)
    assert loopback.count("projects.create") == 1


@pytest.mark.parametrize("fault", [{"status": 429}, {"kind": "expired"}], ids=label)
def test_an_answer_before_any_deed_leaves_no_doubt(
    loopback: LoopbackServer, transport: Transport, fault: dict[str, Any]
) -> None:
    """A busy server and an old token did nothing, so there is nothing to ask for."""
    loopback.faults.fail_next("projects.create", **fault)
    body = {"name": "once", "description": ""}
    transport.call("projects.create", body, timeout=20, find_created=lambda: pytest.fail("it was asked"))
    assert loopback.count("projects.create") == 2


# --- tokens ------------------------------------------------------------------------------------


def test_an_expired_token_is_renewed(loopback: LoopbackServer, transport: Transport) -> None:
    """After a 401 there is a new token, and the call is made again without a pause."""
    pauses = transport.closing = Pauses()
    loopback.expire_tokens()
    assert transport.call(ASK, timeout=0) == {"projects": []}
    assert [call.endpoint for call in loopback.calls] == [ASK, "auth.login", ASK]
    assert pauses.seconds == []


def test_a_token_may_expire_more_than_once(loopback: LoopbackServer, transport: Transport) -> None:
    """A second and a third 401 in one call are survived as well."""
    loopback.faults.fail_next(ASK, kind="expired", times=3)
    assert transport.call(ASK, timeout=20) == {"projects": []}


def test_tokens_that_are_never_taken_are_told(loopback: LoopbackServer, transport: Transport) -> None:
    """A server that refuses every token which it gives is a login error, not a refusal of the data."""
    loopback.faults.fail_next(ASK, kind="expired", times=99)
    with pytest.raises(LoginError, match="401"):
        transport.call(ASK, timeout=20)
    assert loopback.count(ASK) == api.MAX_RENEWALS + 1


FAULTS: list[dict[str, Any]] = [
    *({"status": status} for status in sorted(api.RETRIED_STATUSES)),
    {"kind": "drop_before"},
    {"kind": "drop_after"},
    {"kind": "truncate"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=label)
def test_a_new_token_survives_faults(
    loopback: LoopbackServer, transport: Transport, fault: dict[str, Any]
) -> None:
    """ClearML's own exceptions, where a new token fails, are failed attempts like any other."""
    loopback.expire_tokens()
    loopback.faults.fail_next("auth.login", **fault, times=7)
    assert transport.call(ASK, timeout=20) == {"projects": []}
    assert loopback.count("auth.login") >= 8


def test_a_new_token_is_not_waited_for_without_end(loopback: LoopbackServer, transport: Transport) -> None:
    """Where no new token can be had, patience ends as well."""
    loopback.expire_tokens()
    loopback.faults.fail_next("auth.login", status=500, times=999_999)
    with pytest.raises(Unreachable, match="log in"):
        transport.call(ASK, timeout=0.2)


def test_credentials_that_were_revoked_are_told_at_once(
    loopback: LoopbackServer, transport: Transport
) -> None:
    """Credentials that the server does not know any more are not tried again."""
    loopback.expire_tokens()
    loopback.credentials.secret_key = "another"
    with pytest.raises(LoginError, match="invalid credentials"):
        transport.call(ASK, timeout=20)
    assert loopback.count("auth.login") == 1


# --- the login as a group opens ----------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS, ids=label)
def test_the_first_login_survives_faults(loopback: LoopbackServer, fault: dict[str, Any]) -> None:
    """A few faults of the login, whatever they are, do not keep a group from opening."""
    loopback.faults.fail_next("auth.login", **fault, times=4)
    found = sdk.connect()
    assert found.host == loopback.url
    assert loopback.count("auth.login") == 5


def test_wrong_credentials_are_told_at_once(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login that the server refuses is made once."""
    monkeypatch.setenv("CLEARML_API_SECRET_KEY", "wrong")
    with pytest.raises(LoginError, match="invalid credentials"):
        sdk.connect()
    assert loopback.count("auth.login") == 1


def test_a_server_that_stays_away_is_told(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first login is given up after a while, with what to check."""
    monkeypatch.setattr(limits, "LOGIN_TIMEOUT_S", 0.1)
    loopback.faults.outage = True
    with pytest.raises(LoginError, match=r"cannot log in.*mode='offline'"):
        sdk.connect()
