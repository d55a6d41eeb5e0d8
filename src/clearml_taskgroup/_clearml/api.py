"""Call a ClearML API server: repeat a failed call with back-off, renew the token, keep a time limit."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import attrs
import requests

from .._model import limits
from .._model.backoff import Backoff
from ..errors import LoginError, ServerError
from .sdk import Connection, LoginDelayed

if TYPE_CHECKING:
    from collections.abc import Callable

RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504, 509})
"""HTTP statuses of a server, or of a proxy before it, after which another attempt may succeed."""
MIN_RETRY_DELAY_S, MAX_RETRY_DELAY_S = 0.2, 10.0
MAX_RENEWALS = 5
"""How often one call renews its token: a server that refuses five new ones will refuse the next."""
JSON, JSON_LINES = "application/json", "application/json-lines"


@attrs.define(slots=False, repr=False)
class Refused(ServerError):
    """The server answered with an error that another attempt will not change.

    Attributes:
        status: The HTTP status.
        subcode: ClearML's own code for the reason, 0 without one.
    """

    status: int = 0
    subcode: int = 0


class Unreachable(ServerError):
    """No usable answer came within the time limit."""


@attrs.define(eq=False)
class Transport:
    """Calls one API server, from any thread.

    Args:
        connection: The server's address, and the token.
    """

    connection: Connection
    closing: threading.Event = attrs.field(factory=threading.Event)
    _http: requests.Session | None = None
    _pid: int = 0

    def call(
        self,
        action: str,
        body: dict[str, Any] | None = None,
        *,
        lines: list[str] | bytes | None = None,
        timeout: float | None = None,
        answer_timeout: float | None = None,
        attempts_on_500: int = 6,
        find_created: Callable[[], str | None] | None = None,
    ) -> dict[str, Any]:
        """Makes one call; repeats it while another attempt may succeed.

        Args:
            action: Service and action, `tasks.create`.
            body: The request.
            lines: For batches, instead of a body: JSON texts, as a list or already joined to lines.
            timeout: Seconds after which no further attempt begins, `limits.API_TIMEOUT_S` by default;
                there is always a first attempt.
            answer_timeout: Seconds that one attempt waits for its answer,
                `limits.API_ANSWER_TIMEOUT_S` by default.
            attempts_on_500: After how many answers with status 500 to give up: some faults pass, but
                a bad request can cause it as well.
            find_created: Called before another attempt if the server may have carried out the last
                one. Returns the id of what the call was to create if it exists, else None.

        Returns:
            The answer's data.

        Raises:
            Refused: The server answered with an error.
            Unreachable: There was no usable answer within the time limit.
            LoginError: The server does not accept the credentials any more.
        """
        if isinstance(lines, bytes):
            data = lines
        else:
            data = ("\n".join(lines) if lines is not None else json.dumps(body or {})).encode()
        content_type = JSON if lines is None else JSON_LINES
        deadline = time.monotonic() + (limits.API_TIMEOUT_S if timeout is None else timeout)
        if answer_timeout is None:
            answer_timeout = limits.API_ANSWER_TIMEOUT_S
        backoff = Backoff(MIN_RETRY_DELAY_S, MAX_RETRY_DELAY_S)
        renewals = answers_500 = 0
        while True:
            may_be_done = True  # whether the server may have carried out this attempt
            try:
                answer = self._post(action, data, content_type, answer_timeout)
                if answer.status_code == 200:
                    return _data(answer)
                problem = f"{action} was answered with {_reason(answer)}"
                may_be_done = answer.status_code not in (401, 429)
                if answer.status_code == 401:
                    if renewals == MAX_RENEWALS:
                        raise LoginError(problem)
                    self.connection.renew()
                    renewals += 1
                    if renewals == 1:  # the token had expired
                        continue
                answers_500 += answer.status_code == 500
                if answer.status_code not in {401, *RETRIED_STATUSES} or answers_500 >= attempts_on_500:
                    raise Refused(problem, answer.status_code, _subcode(answer))
            except LoginDelayed as delayed:
                problem, may_be_done = delayed.problem, False
            except (requests.RequestException, ValueError) as error:
                problem = f"{action} got no answer from {self.connection.host} ({type(error).__name__})"
            left = deadline - time.monotonic()
            if left <= 0 or self.closing.is_set():
                raise Unreachable(problem)
            if self.closing.wait(min(backoff.next_pause(), left)):
                raise Unreachable(problem)
            if may_be_done and find_created is not None and (found := find_created()) is not None:
                return {"id": found}

    def _post(self, action: str, data: bytes, content_type: str, timeout: float) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.connection.token()}", "Content-Type": content_type}
        return self._session().post(
            f"{self.connection.host}/{action}",
            data=data,
            headers=headers,
            timeout=(min(limits.API_CONNECT_TIMEOUT_S, timeout), timeout),
            verify=self.connection.verify,
        )

    def _session(self) -> requests.Session:
        if self._http is None or self._pid != os.getpid():  # a forked child needs sockets of its own
            self._http, self._pid = requests.Session(), os.getpid()
        return self._http

    def close(self) -> None:
        """Ends the pauses of calls under way and closes the connections."""
        self.closing.set()
        if self._http is not None and self._pid == os.getpid():
            self._http.close()


def _data(answer: requests.Response) -> dict[str, Any]:
    content = answer.json()
    if not isinstance(content, dict) or "data" not in content:  # a proxy's own page
        raise ValueError("not an answer of a ClearML server")
    data = content["data"]
    return data if isinstance(data, dict) else {}


def _meta(answer: requests.Response) -> dict[str, Any]:
    try:
        meta = answer.json()["meta"]
    except (ValueError, KeyError, TypeError):
        return {}
    return meta if isinstance(meta, dict) else {}


def _reason(answer: requests.Response) -> str:
    meta = _meta(answer)
    reason = meta.get("result_msg") or answer.reason or "no reason"
    return f"{answer.status_code}/{meta.get('result_subcode', 0)}: {reason}"


def _subcode(answer: requests.Response) -> int:
    return int(_meta(answer).get("result_subcode") or 0)
