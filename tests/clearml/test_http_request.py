"""One HTTP request: the time for its whole answer, the size of it, and redirects."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from clearml_taskgroup._clearml import http_request
from clearml_taskgroup._clearml.http_request import Answer
from clearml_taskgroup._model import limits
from tests.loopback import LoopbackServer
from tests.support.clock import Clock

PING = "debug.ping"


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A session, closed at the end."""
    with contextlib.closing(http_request.new_session()) as session:
        yield session


class Session:
    """Takes the place of a session: notes each request, and answers with these statuses and targets."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, str, dict[str, Any]]] = []

    def request(self, method: str, url: str, **given: Any) -> Any:
        """Answers, or raises."""
        self.sent.append((method, url, given))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, target, content = answer
        response = requests.Response()
        response.status_code, response.raw = status, io.BytesIO(content)
        response.headers["Location"] = target
        response.close = lambda: None  # type: ignore[method-assign]
        return response


@pytest.mark.parametrize(("status", "ok"), [(200, True), (399, True), (400, False), (500, False)])
def test_an_answer_is_fine_below_400(status: int, ok: bool) -> None:
    assert Answer(status, "", b"").ok is ok


def test_json_that_cannot_be_read_is_a_value_error() -> None:
    """Nested too deep, it is told as such."""
    assert Answer(200, "OK", b'{"a": 1}').json() == {"a": 1}
    with pytest.raises(ValueError, match="nested too deep"):
        Answer(200, "OK", b"[" * 100_000).json()
    with pytest.raises(ValueError, match="Expecting value"):
        Answer(200, "OK", b"<html>").json()


def test_an_answer_has_status_reason_and_body(loopback: LoopbackServer, session: requests.Session) -> None:
    answer = http_request.send(session, "GET", f"{loopback.url}/{PING}", timeout=20.0)
    assert (answer.status_code, answer.reason, answer.location) == (200, "OK", "")
    assert answer.json()["meta"]["result_code"] == 200


def test_a_connection_is_kept_for_the_next_request(
    loopback: LoopbackServer, session: requests.Session
) -> None:
    """Each answer has a deadline of its own."""
    for _ in range(2):
        assert http_request.send(session, "GET", f"{loopback.url}/{PING}", timeout=20.0).ok
    (pool,) = pools(session, loopback.url)
    assert (pool.num_requests, pool.num_connections) == (2, 1)


def pools(session: requests.Session, url: str) -> list[Any]:
    """The connection pools of a session."""
    adapter: Any = session.get_adapter(url)
    pools = adapter.poolmanager.pools
    return [pools[key] for key in list(pools.keys())]


def test_a_pool_gets_the_deadline_once() -> None:
    """For every request of the session, of which the pool has one class of connections."""
    pool: Any = type("Pool", (), {"ConnectionCls": type("Connection", (), {})})()
    kind = http_request._with_deadline(pool).ConnectionCls
    assert (kind.__name__, kind.response_class) == ("Connection", http_request._Response)
    assert http_request._with_deadline(pool).ConnectionCls is kind


@pytest.mark.parametrize(("size", "most", "fits"), [(10, 10, True), (11, 10, False)])
def test_how_large_an_answer_may_be(
    monkeypatch: pytest.MonkeyPatch, size: int, most: int, fits: bool
) -> None:
    """Exactly as large as the limit is not too large."""
    monkeypatch.setattr(limits, "MAX_ANSWER_BYTES", most)
    session: Any = Session((200, "", b"x" * size))
    if fits:
        assert http_request.send(session, "GET", "http://a/", timeout=1.0).content == b"x" * size
    else:
        with pytest.raises(http_request.TooLarge, match="more than 0 MiB"):
            http_request.send(session, "GET", "http://a/", timeout=1.0)


def test_the_limit_is_told_in_mebibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ANSWER_BYTES", 3 * 2**20)
    session: Any = Session((200, "", b"x" * (3 * 2**20 + 1)))
    with pytest.raises(http_request.TooLarge, match="more than 3 MiB"):
        http_request.send(session, "GET", "http://a/", timeout=1.0)


@pytest.mark.parametrize(
    ("timeout", "times"),
    [
        (60.0, (limits.API_CONNECT_TIMEOUT_S, 60.0)),
        (4.0, (4.0, 4.0)),
        (0.0, (0.001, 0.001)),
        (-1.0, (0.001, 0.001)),
    ],
)
def test_the_times_of_a_request(
    monkeypatch: pytest.MonkeyPatch, timeout: float, times: tuple[float, float]
) -> None:
    """A connection has ten seconds at most; a request that is late already fails soon, and not for ever."""
    monkeypatch.setattr(http_request, "time", Clock())
    session: Any = Session((200, "", b""))
    http_request.send(session, "POST", "http://a/b", timeout=timeout, data=b"{}", verify=False)
    expected = {"timeout": times, "stream": True, "allow_redirects": False, "data": b"{}", "verify": False}
    assert session.sent == [("POST", "http://a/b", expected)]


def test_redirects_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole answer is there at the deadline, however many hosts were asked."""
    clock = Clock()
    monkeypatch.setattr(http_request, "time", clock)
    session: Any = Session(*[(307, "/next", b"")] * 2, (200, "", b"done"))
    request = session.request

    def slow(*args: Any, **given: Any) -> Any:
        clock.sleep(2.0)
        return request(*args, **given)

    session.request = slow
    assert http_request.send(session, "GET", "http://a/", timeout=5.0).content == b"done"
    assert [given["timeout"][1] for _, _, given in session.sent] == [5.0, 3.0, 1.0]


@pytest.mark.parametrize("status", http_request.SAME_REQUEST)
def test_a_redirect_is_followed_on_one_host(status: int) -> None:
    """To another path or port; credentials go to no other host, and three answers are enough."""
    session: Any = Session((status, "http://a:81/x", b""), (200, "", b"there"))
    assert http_request.send(session, "GET", "http://a/", timeout=1.0).content == b"there"
    assert [url for _, url, _ in session.sent] == ["http://a/", "http://a:81/x"]
    session = Session((status, "http://b/", b""))
    assert http_request.send(session, "GET", "http://a/", timeout=1.0).location == "http://b/"
    session = Session(*[(status, "/again", b"")] * http_request.MAX_REDIRECTS)
    assert http_request.send(session, "GET", "http://a/", timeout=1.0).status_code == status
    assert len(session.sent) == http_request.MAX_REDIRECTS == 3


@pytest.mark.parametrize("status", [200, 301, 302, 303])
def test_other_redirects_are_told(status: int) -> None:
    session: Any = Session((status, "/x", b""))
    answer = http_request.send(session, "GET", "http://a/", timeout=1.0)
    assert (answer.status_code, answer.location) == (status, "/x")


def test_a_variable_that_was_just_removed_is_looked_for_again() -> None:
    """Once; what is wrong twice is an error."""
    session: Any = Session(KeyError("A"), (200, "", b"there"))
    assert http_request.send(session, "GET", "http://a/", timeout=1.0).content == b"there"
    assert session.sent[0] == session.sent[1]
    twice: Any = Session(KeyError("A"), KeyError("A"))
    with pytest.raises(KeyError):
        http_request.send(twice, "GET", "http://a/", timeout=1.0)


class Source:
    """Takes the place of a socket and of its bytes."""

    def __init__(self) -> None:
        self.timeouts: list[float] = []
        self.closed = False

    def settimeout(self, seconds: float) -> None:
        """Notes the seconds."""
        self.timeouts.append(seconds)

    def readinto(self, buffer: Any) -> int:
        """Gives one byte."""
        buffer[:1] = b"x"
        return 1

    def close(self) -> None:
        """Notes that it is closed."""
        self.closed = True


def test_each_read_has_what_is_left_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the deadline nothing more is read."""
    clock, source = Clock(), Source()
    monkeypatch.setattr(http_request, "time", clock)
    given: Any = source
    reader = http_request._Reader(given, given, 5.0)
    assert reader.readable()
    buffer = bytearray(4)
    assert reader.readinto(buffer) == 1
    clock.sleep(3.0)
    assert reader.readinto(buffer) == 1
    assert source.timeouts == [5.0, 2.0]
    for _ in range(2):
        clock.sleep(2.0)
        with pytest.raises(TimeoutError, match="not complete in time"):
            reader.readinto(buffer)
    reader.close()
    assert source.closed
    assert reader.closed
