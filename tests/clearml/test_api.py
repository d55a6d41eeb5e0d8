"""One call to a server: what is tried again, for how long, and what is told at once."""

from __future__ import annotations

import contextlib
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from clearml_taskgroup._clearml import api, http_request, login
from clearml_taskgroup._clearml.api import Transport
from clearml_taskgroup._clearml.api_errors import AnsweredByProxy, AnswerTooLarge, Refused, Unreachable
from clearml_taskgroup._model import limits
from clearml_taskgroup.errors import LoginError, ServerError
from tests.loopback import LoopbackServer
from tests.loopback.faults import refusal
from tests.support.clock import Clock

ASK = "projects.get_all"
LOGIN_TIMEOUT_S = limits.LOGIN_TIMEOUT_S
LOST = [{"kind": "drop_after"}, {"kind": "truncate"}, {"status": 504, "after": True}]


def label(fault: dict[str, Any]) -> str:
    """The name of a fault, for pytest."""
    return str(fault.get("kind", fault.get("status")))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test does not notice."""
    monkeypatch.setattr(api, "MIN_RETRY_DELAY_S", 0.001)
    monkeypatch.setattr(api, "MAX_RETRY_DELAY_S", 0.005)
    monkeypatch.setattr(login, "MIN_LOGIN_RETRY_DELAY_S", 0.001)
    monkeypatch.setattr(login, "MAX_LOGIN_RETRY_DELAY_S", 0.005)
    monkeypatch.setattr(login, "MIN_LOGIN_ANSWER_S", 0.1)
    monkeypatch.setattr(login, "LOGIN_MARGIN_S", 0.1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of calls and logins, with the pauses and the limit that they really have."""
    clock = Clock()
    monkeypatch.setattr(limits, "LOGIN_TIMEOUT_S", LOGIN_TIMEOUT_S)
    for module, name in ((api, ""), (login, "LOGIN_")):
        monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(module, f"MIN_{name}RETRY_DELAY_S", 0.5)
        monkeypatch.setattr(module, f"MAX_{name}RETRY_DELAY_S", 5.0)
    return clock


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


@pytest.mark.parametrize("status", sorted(http_request.MAY_PASS))
def test_a_passing_answer_is_tried_again(loopback: LoopbackServer, transport: Transport, status: int) -> None:
    """Tried again until the server answers."""
    loopback.faults.fail_next(ASK, status=status, times=2)
    assert transport.call(ASK, timeout=20) == {"projects": []}
    assert loopback.count(ASK) == 3


def test_the_list_of_passing_answers() -> None:
    """The answers that are tried again; a 500 may be of the request itself, the others are not."""
    assert {408, 429, 500, 502, 503, 504, 509} == http_request.MAY_PASS
    assert {500} == http_request.MAY_PASS - http_request.OVERLOADED


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "truncate"])
def test_a_broken_connection_is_tried_again(
    loopback: LoopbackServer, transport: Transport, kind: str
) -> None:
    """A connection that ends before the whole answer is there is tried again."""
    loopback.faults.fail_next(ASK, kind=kind, times=2)
    assert transport.call(ASK, timeout=20) == {"projects": []}
    assert loopback.count(ASK) == 3


def test_a_variable_that_the_script_removes_meanwhile_ends_no_call(
    loopback: LoopbackServer, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`requests` reads all environment variables for each request; another thread may just remove one."""
    left = [KeyError("A_VARIABLE")]

    def proxies(*args: Any, **kwargs: Any) -> dict[str, str]:
        if left:
            raise left.pop()
        return {}

    monkeypatch.setattr("requests.sessions.get_environ_proxies", proxies)
    assert transport.call(ASK, timeout=20) == {"projects": []}
    assert not left
    assert loopback.count(ASK) == 1


def test_an_answer_that_is_late_is_tried_again(loopback: LoopbackServer, transport: Transport) -> None:
    """An answer that does not come in the time for one is asked for again."""
    loopback.faults.fail_next(ASK, kind="delay", delay=0.2)
    assert transport.call(ASK, timeout=20, answer_timeout=0.1) == {"projects": []}
    assert loopback.count(ASK) >= 2


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


PAGES = [
    b"<html>busy</html>",
    b"",
    b"null",
    b"[]",
    b'{"meta": {}}',
    b'{"meta": {}, "data": null}',
    b'{"meta": {"result_code": "200"}, "data": {}}',
    b"[" * 100_000,
    b"\xff\xfe",
]
NOT_OF_THE_SERVER = [
    *((status, PAGES[0]) for status in (302, 400, 401, 403, 404, 405, 413, 418)),
    *((status, page) for status in (200, 400) for page in PAGES[1:]),
    (200, b'{"meta": {"result_code": 200}, "data": null}'),
    *((200, b'{"meta": {"result_code": %d}, "data": {"projects": []}}' % code) for code in (400, 500)),
]


@pytest.mark.quick(3)
@pytest.mark.parametrize(("status", "page"), NOT_OF_THE_SERVER, ids=range(len(NOT_OF_THE_SERVER)))
def test_a_page_of_a_proxy_is_no_answer(
    loopback: LoopbackServer, transport: Transport, status: int, page: bytes
) -> None:
    """An answer that is not of a ClearML server is tried again, whatever its status."""
    loopback.faults.fail_next(ASK, status=status, body=page, times=2)
    assert transport.call(ASK, timeout=20) == {"projects": []}
    assert loopback.count(ASK) == 3


def test_a_page_of_a_proxy_is_told_in_the_end(loopback: LoopbackServer, transport: Transport) -> None:
    """The error shows the page, and says that it is not a ClearML server's."""
    loopback.faults.fail_next(ASK, status=403, body=b"<html>\x1b[31m blocked", times=99)
    with pytest.raises(Unreachable, match="something else than a ClearML server: 403 Forbidden") as raised:
        transport.call(ASK, timeout=0)
    assert "blocked" in str(raised.value)
    assert "\x1b" not in str(raised.value)
    with pytest.raises(AnsweredByProxy):
        transport.call(ASK, timeout=20, attempts_on_proxy=2)
    assert loopback.count(ASK) == 3


def test_an_answer_of_the_wrong_shape_is_told_soon(loopback: LoopbackServer, transport: Transport) -> None:
    """A server that does not answer as expected will not do so at the tenth attempt either."""
    odd = b'{"meta": {"result_code": 200}, "data": {"projects": [{"id": 5}]}}'
    loopback.faults.fail_next(ASK, body=odd, times=99)
    with pytest.raises(Unreachable, match=r"data.projects\[0\].id is of type int, expected text; check"):
        transport.call(ASK, timeout=1000)
    assert loopback.count(ASK) == api.MAX_ODD_ANSWERS


@pytest.mark.parametrize("kind", ["trickle", "endless"])
def test_an_answer_without_end(
    loopback: LoopbackServer, transport: Transport, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The time for an answer is that for the whole of it, and no more than `MAX_ANSWER_BYTES` are read."""
    monkeypatch.setattr(limits, "MAX_ANSWER_BYTES", 2**20)
    loopback.faults.fail_next(ASK, kind=kind, times=99)
    with pytest.raises(Unreachable if kind == "trickle" else AnswerTooLarge):
        transport.call(ASK, timeout=0, answer_timeout=0.1 if kind == "trickle" else 60.0)
    loopback.faults.clear()
    assert transport.call(ASK) == {"projects": []}


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
    """Other answers of the 400 kind are not tried again if they are the server's own."""
    loopback.faults.fail_next(ASK, status=status, body=b'{"meta": {"result_code": 400}, "data": {}}')
    with pytest.raises(Refused) as refused:
        transport.call(ASK, timeout=20)
    assert (refused.value.status, loopback.count(ASK)) == (status, 1)


def test_500s_are_believed_to_pass_so_often(loopback: LoopbackServer, transport: Transport) -> None:
    """A 500 that stays is told after the number of attempts that the caller gives."""
    loopback.faults.fail_next(ASK, status=500, body=b'{"meta": {"result_code": 500}, "data": {}}', times=99)
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


def test_patience_ends(loopback: LoopbackServer, transport: Transport, clock: Clock) -> None:
    """A server that stays away is given up when the patience is over, and no earlier."""
    transport.closing = clock
    loopback.faults.outage = True
    with pytest.raises(Unreachable, match=f"{ASK} got no answer from http://127"):
        transport.call(ASK, timeout=20)
    assert clock.now == pytest.approx(20)


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
    thread.join(60)
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


@pytest.mark.parametrize(
    ("fault", "is_asked"),
    [
        ({"status": 429}, False),
        ({"status": 429, "body": refusal(429)}, False),
        ({"kind": "expired", "times": 2}, False),
        ({"status": 500, "body": refusal(500)}, True),
        ({"status": 502}, True),
    ],
)
def test_an_answer_before_any_deed_leaves_no_doubt(
    loopback: LoopbackServer, transport: Transport, fault: dict[str, Any], is_asked: bool
) -> None:
    """A busy server and an old token did nothing, so there is nothing to ask for."""
    loopback.faults.fail_next("projects.create", **fault)
    body, asked = {"name": "once", "description": ""}, list[bool]()
    transport.call("projects.create", body, timeout=20, find_created=lambda: asked.append(True))
    assert loopback.count("projects.create") == 1 + fault.get("times", 1)
    assert bool(asked) is is_asked


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
    *({"status": status} for status in sorted(http_request.MAY_PASS)),
    {"kind": "drop_before"},
    {"kind": "drop_after"},
    {"kind": "truncate"},
]


@pytest.mark.quick(3)
@pytest.mark.parametrize("fault", FAULTS, ids=label)
def test_a_new_token_survives_faults(
    loopback: LoopbackServer, transport: Transport, fault: dict[str, Any]
) -> None:
    """ClearML's own exceptions, where a new token fails, are failed attempts like any other."""
    loopback.expire_tokens()
    loopback.faults.fail_next("auth.login", **fault, times=7)
    assert transport.call(ASK, timeout=20) == {"projects": []}
    assert loopback.count("auth.login") >= 8


def test_a_new_token_is_not_waited_for_without_end(
    loopback: LoopbackServer, transport: Transport, clock: Clock
) -> None:
    """Where no new token can be had, patience ends as well."""
    transport.closing = clock
    loopback.expire_tokens()
    loopback.faults.fail_next("auth.login", status=500, times=999_999)
    with pytest.raises(Unreachable, match="log in"):
        transport.call(ASK, timeout=20)


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


@pytest.mark.quick(3)
@pytest.mark.parametrize("fault", FAULTS, ids=label)
def test_the_first_login_survives_faults(loopback: LoopbackServer, fault: dict[str, Any]) -> None:
    """A few faults of the login, whatever they are, do not keep a group from opening."""
    loopback.faults.fail_next("auth.login", **fault, times=4)
    found = login.connect()
    assert found.host == loopback.url
    assert loopback.count("auth.login") == 5


def test_wrong_credentials_are_told_at_once(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login that the server refuses is made once."""
    monkeypatch.setenv("CLEARML_API_SECRET_KEY", "wrong")
    with pytest.raises(LoginError, match="invalid credentials"):
        login.connect()
    assert loopback.count("auth.login") == 1


def test_a_server_that_stays_away_is_told(loopback: LoopbackServer, clock: Clock) -> None:
    """The first login is given up after a while, with what to check."""
    loopback.faults.outage = True
    with pytest.raises(LoginError, match=r"cannot log in.*mode='offline'"):
        login.connect()
    # Of the pauses of 0.5, 1, 2 and 4 s, each ± 50 %, as many as fit into the time limit.
    assert 0.5 * (0.5 + 1 + 2) <= clock.now <= limits.LOGIN_TIMEOUT_S


# --- a login that cannot succeed ---------------------------------------------------------------


PAGE = b"<html>welcome</html>"


@pytest.mark.quick(4)
@pytest.mark.parametrize(
    ("odd", "told"),
    [
        ({"body": PAGE}, "does not answer as a ClearML API server does: 200 OK '<html>welcome"),
        ({"status": 404, "body": PAGE}, "404 Not Found"),
        ({"status": 302, "body": PAGE}, "302 Found"),
        ({"kind": "trickle"}, "did not answer in time"),
        ({"kind": "endless"}, "more than 1 MiB"),
        ({"body": b"[" * 100_000}, "does not answer as"),
        ({"body": b'{"meta": {"result_code": 200}, "data": null}'}, "cannot log in"),
        ({"body": b'{"meta": {"result_code": 200}, "data": {"token": 5}}'}, "cannot log in"),
        ({"body": b'{"meta": {"result_code": 200}, "data": {"token": "x"}}'}, "cannot log in"),
        ({"body": b'{"meta": {"result_code": 200}, "data": [1]}'}, "cannot log in"),
    ],
)
def test_a_login_with_an_odd_answer(
    loopback: LoopbackServer,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
    odd: dict[str, Any],
    told: str,
) -> None:
    """It is an error within the time for the login, which says what answered."""
    monkeypatch.setattr(limits, "MAX_ANSWER_BYTES", 2**20)
    if odd.get("kind") == "trickle":
        monkeypatch.setattr(limits, "LOGIN_TIMEOUT_S", 0.1)
    loopback.faults.fail_next("auth.login", times=1_000_000, **odd)
    with pytest.raises(LoginError, match=told) as raised:
        login.connect()
    assert clock.now <= limits.LOGIN_TIMEOUT_S
    assert len(str(raised.value)) <= 500


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_keeps_the_request_is_followed(loopback: LoopbackServer, status: int) -> None:
    """One that leads nowhere else ends, and is told with its target."""
    with redirecting(status, loopback.url) as (host, seen):
        session = http_request.new_session()
        answer = http_request.send(session, "POST", f"{host}/debug.ping", timeout=5.0, data=b"{}")
        assert answer.status_code == 200
        assert answer.json()["meta"]["result_code"] == 200
        assert len(seen) == 1
    with redirecting(status, "") as (host, seen):
        answer = http_request.send(session, "POST", f"{host}/debug.ping", timeout=5.0, data=b"{}")
        assert (answer.status_code, answer.location) == (status, "/debug.ping")
        assert len(seen) == http_request.MAX_REDIRECTS
    session.close()


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_loses_the_request_is_told(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, clock: Clock, status: int
) -> None:
    """Its target is named; following it would drop the request's body."""
    with redirecting(status, loopback.url) as (host, _):
        monkeypatch.setenv("CLEARML_API_HOST", host)
        with pytest.raises(LoginError, match=rf"{status} .* to '{loopback.url}/auth.login"):
            login.connect()


def test_where_nothing_listens(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """It is an error within ten seconds, which names the address and the reason."""
    assert LOGIN_TIMEOUT_S + 1.0 < 10  # and the import of ClearML
    monkeypatch.setenv("CLEARML_API_HOST", "http://127.0.0.1:9")
    with pytest.raises(LoginError, match=r"no connection to http://127.0.0.1:9: nothing listens there"):
        login.connect()


@pytest.mark.quick(3)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("how", ["no answer", "no connection", "no name server"])
def test_a_host_that_swallows_packets(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, how: str, scheme: str
) -> None:
    """As for a firewall between here and the server: the time for the login is kept."""
    monkeypatch.setattr(limits, "LOGIN_TIMEOUT_S", 0.1)
    asked = threading.Event()
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        if how == "no connection":  # its queue is full
            for _ in range(4):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(listening.getsockname())
        name = "127.0.0.1"
        if how == "no name server":
            name = "the-server.invalid"
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: asked.wait(60.0) and [])
        stack.callback(asked.set)
        monkeypatch.setenv("CLEARML_API_HOST", f"{scheme}://{name}:{listening.getsockname()[1]}")
        with pytest.raises(LoginError, match=f"{name}:.* did not answer in time"):
            login.connect()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_a_certificate_of_an_unknown_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """It is refused at once, with the setting; with the setting, the group goes online."""
    with LoopbackServer() as server, tls_before(server, tmp_path) as (host, certificate):
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CLEARML_API_HOST", host)
        with pytest.raises(LoginError, match=r"the certificate of https://127.*api\.verify_certificate"):
            login.connect()
        assert clock.now == 0
        monkeypatch.setenv("CLEARML_API_HOST_VERIFY_CERT", str(certificate))
        transport = Transport(login.connect())
        assert transport.call(ASK) == {"projects": []}
        transport.close()
        transport.connection.disconnect()
        monkeypatch.setenv("CLEARML_API_HOST", server.url.replace("http://", "https://"))
        with pytest.raises(LoginError, match="does not speak TLS"):
            login.connect()


@pytest.mark.parametrize(
    ("setting", "variable", "expected"),
    [
        (True, None, True),
        (False, None, False),
        ("false", None, False),
        ("Yes", None, True),
        ("/a/file", None, "/a/file"),
        (True, "0", False),
        (False, "true", True),
        (True, "/another/file", "/another/file"),
        (0, None, False),
    ],
)
def test_how_certificates_are_checked(
    monkeypatch: pytest.MonkeyPatch, setting: Any, variable: str | None, expected: bool | str
) -> None:
    """The setting is a switch or a path, and the environment's has precedence, as for ClearML."""
    if variable is not None:
        monkeypatch.setenv("CLEARML_API_HOST_VERIFY_CERT", variable)
    assert login._verify({"api.verify_certificate": setting}) == expected


@contextlib.contextmanager
def redirecting(status: int, target: str) -> Iterator[tuple[str, list[str]]]:
    """A proxy that redirects every request to the same path of another server, or to itself."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.append(self.path)
            self.send_response(status)
            self.send_header("Location", target + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{proxy.server_address[1]}", seen
        proxy.shutdown()
        thread.join()


@contextlib.contextmanager
def tls_before(server: LoopbackServer, folder: Path) -> Iterator[tuple[str, Path]]:
    """Puts TLS with a certificate of its own before a server."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        *subject,
    ]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    to = server.url.rpartition(":")[2]

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError), context.wrap_socket(self.request, server_side=True) as client:
                inside = socket.create_connection(("127.0.0.1", int(to)))

                def back() -> None:
                    with contextlib.suppress(OSError):
                        while data := inside.recv(65536):
                            client.sendall(data)

                answers = threading.Thread(target=back)
                answers.start()
                with contextlib.suppress(OSError):
                    while data := client.recv(65536):
                        inside.sendall(data)
                inside.shutdown(socket.SHUT_RDWR)
                answers.join()
                inside.close()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        thread.start()
        yield f"https://127.0.0.1:{proxy.server_address[1]}", certificate
        proxy.shutdown()
        thread.join()


def test_a_machine_without_a_configuration() -> None:
    """The error is a sentence of ours, not the start of ClearML's manual."""
    with pytest.raises(LoginError, match=r"ClearML is not configured on this machine; set api\.api_server"):
        login.connect()
