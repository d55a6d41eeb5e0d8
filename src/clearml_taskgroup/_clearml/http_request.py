"""One HTTP request: a deadline for its whole answer, and a limit to the answer's size.

A timeout of `requests` limits each wait for more bytes. A server that sends one byte a second would
never exceed it, so the socket is given what is left until the deadline before each read.
"""

from __future__ import annotations

import http.client
import io
import json
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import attrs
import requests
from requests.adapters import HTTPAdapter

from .._model import limits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from socket import socket

CHUNK_BYTES = 64 * 1024
MAX_REDIRECTS = 3
SAME_REQUEST = (307, 308)
"""The redirects that keep method and body: after any other one, the request's body would be missing."""
OVERLOADED = frozenset({408, 429, 502, 503, 504, 509})
"""Statuses of a server, or of a proxy before it, that say nothing about the request itself."""
MAY_PASS = OVERLOADED | {500}
"""Statuses after which another attempt may succeed."""


class TooLarge(requests.RequestException):
    """The answer is larger than `limits.MAX_ANSWER_BYTES`."""


@attrs.frozen
class Answer:
    """A whole HTTP answer; has what ClearML's session needs of one of `requests`.

    Attributes:
        status_code: The HTTP status.
        reason: The status as text.
        content: The body.
        location: Where a redirect points to.
    """

    status_code: int
    reason: str
    content: bytes
    location: str = ""

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status_code < 400

    def json(self) -> Any:
        """Reads the body.

        Raises:
            ValueError: It is not JSON, or nested too deep to be read.
        """
        try:
            return json.loads(self.content)
        except RecursionError:
            raise ValueError("JSON that is nested too deep") from None


def new_session() -> requests.Session:
    """Makes a session that keeps connections open for the requests of one process."""
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter())
    return session


def send(session: requests.Session, method: str, url: str, *, timeout: float, **request: Any) -> Answer:
    """Sends one request and reads its answer.

    Args:
        session: From `new_session`.
        method: The HTTP method.
        url: The address.
        timeout: Seconds until the whole answer must be there.
        request: More arguments of `requests.Session.request`.

    Raises:
        requests.RequestException: There was no whole answer in time, or it is too large.
    """
    deadline = time.monotonic() + timeout
    for _ in range(MAX_REDIRECTS):
        answer = _send(session, method, url, deadline, request)
        target = urljoin(url, answer.location)
        # Credentials go to no other host.
        if answer.status_code not in SAME_REQUEST or urlsplit(target).hostname != urlsplit(url).hostname:
            break
        url = target
    return answer


def _send(
    session: requests.Session, method: str, url: str, deadline: float, request: Mapping[str, Any]
) -> Answer:
    _request.deadline = deadline
    left = max(0.001, deadline - time.monotonic())
    timeout = (min(limits.API_CONNECT_TIMEOUT_S, left), left)
    request = {"timeout": timeout, "stream": True, "allow_redirects": False, **request}
    try:
        answer = session.request(method, url, **request)
    except (
        KeyError
    ):  # the script has just removed a variable of the environment, where proxies are looked for
        answer = session.request(method, url, **request)
    with answer as response:
        content = bytearray()
        for chunk in response.iter_content(CHUNK_BYTES):
            content += chunk
            if len(content) > limits.MAX_ANSWER_BYTES:
                raise TooLarge(f"more than {limits.MAX_ANSWER_BYTES // 1024**2} MiB")
        location = response.headers.get("Location", "")
        return Answer(response.status_code, str(response.reason or ""), bytes(content), location)


_request = threading.local()  # the deadline of this thread's request


class _Adapter(HTTPAdapter):
    """Reads answers with `_Response`; both methods are the ways of `requests` to a connection pool."""

    def get_connection(self, *args: Any, **kwargs: Any) -> Any:
        return _with_deadline(super().get_connection(*args, **kwargs))

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        return _with_deadline(super().get_connection_with_tls_context(*args, **kwargs))


def _with_deadline(pool: Any) -> Any:
    kind = pool.ConnectionCls
    if getattr(kind, "response_class", None) is not _Response:
        pool.ConnectionCls = type(kind.__name__, (kind,), {"response_class": _Response})
    return pool


class _Response(http.client.HTTPResponse):
    """Keeps to the deadline of the request that it answers, in its headers too."""

    def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Reader(sock, self.fp.detach(), _request.deadline))


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket, raw: io.RawIOBase, deadline: float) -> None:
        self._sock, self._raw, self._deadline = sock, raw, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer is not complete in time")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
