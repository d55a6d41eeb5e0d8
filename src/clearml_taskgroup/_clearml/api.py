"""One call to a ClearML API server: back-off with jitter, a renewed token, a limit in time."""

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

RETRIED = frozenset({429, 500, 502, 503, 504, 509})
"""What a server, or a proxy before it, answers when trying again may help."""
MIN_RETRY_DELAY_S, MAX_RETRY_DELAY_S = 0.2, 10.0
MOST_401 = 5
"""How many tokens in a row a server may refuse that has just given them."""
LINES = "application/json-lines"


@attrs.define(slots=False, repr=False)
class Refused(ServerError):
    """The server's answer that trying again will not change, or that stayed the same.

    Attributes:
        status: The HTTP status.
        subcode: ClearML's own code for the reason, 0 without one.
    """

    status: int = 0
    subcode: int = 0


class Unreachable(ServerError):
    """No usable answer came in the time that there was."""


@attrs.define(eq=False)
class Transport:
    """Calls to one API server, from any thread.

    Args:
        connection: Where the server is, and the token.
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
        patience: float,
        wait: float = limits.API_ANSWER_TIMEOUT_S,
        most_500: int = 6,
        on_doubt: Callable[[], str | None] | None = None,
    ) -> dict[str, Any]:
        """Makes one call, again and again while that can help.

        Args:
            action: Service and action, `tasks.create`.
            body: The request.
            lines: For batches instead of a body: JSON texts, a line each, or joined to lines already.
            patience: The most seconds to try for; one attempt is made in any case.
            wait: The most seconds that one attempt waits for its answer.
            most_500: How often the answer 500 is believed to be passing.
            on_doubt: Called before another attempt where the server may have acted on the last
                one; what it gives, if not None, is the id of what the call was to make.

        Returns:
            The answer's data.

        Raises:
            Refused: The server said no, and why.
            Unreachable: There was no usable answer in time.
            LoginError: The server does not take the credentials any more.
        """
        if isinstance(lines, bytes):
            data = lines
        else:
            data = ("\n".join(lines) if lines is not None else json.dumps(body or {})).encode()
        deadline = time.monotonic() + patience
        kind = LINES if lines is not None else "application/json"
        backoff = Backoff(MIN_RETRY_DELAY_S, MAX_RETRY_DELAY_S)
        expired = failures = 0
        while True:
            doubt = True
            try:
                answer = self._post(action, data, kind, wait)
                if answer.status_code == 200:
                    return _data(answer)
                problem = f"{action} was answered with {_told(answer)}"
                doubt = answer.status_code not in (401, 429)
                if answer.status_code == 401:
                    if expired == MOST_401:
                        raise LoginError(problem)
                    self.connection.renew()
                    expired += 1
                    if expired == 1:
                        continue
                failures += answer.status_code == 500
                if answer.status_code not in {401, *RETRIED} or failures >= most_500:
                    raise Refused(problem, answer.status_code, _subcode(answer))
            except LoginDelayed as delayed:
                problem, doubt = delayed.problem, False
            except (requests.RequestException, ValueError) as error:
                problem = f"{action} got no answer from {self.connection.host} ({type(error).__name__})"
            left = deadline - time.monotonic()
            if left <= 0 or self.closing.is_set():
                raise Unreachable(problem)
            if self.closing.wait(min(backoff.next_pause(), left)):
                raise Unreachable(problem)
            if doubt and on_doubt is not None and (found := on_doubt()) is not None:
                return {"id": found}

    def _post(self, action: str, data: bytes, kind: str, wait: float) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.connection.token()}", "Content-Type": kind}
        return self._session().post(
            f"{self.connection.host}/{action}",
            data=data,
            headers=headers,
            timeout=(min(limits.API_CONNECT_TIMEOUT_S, wait), wait),
            verify=self.connection.verify,
        )

    def _session(self) -> requests.Session:
        if self._http is None or self._pid != os.getpid():  # a forked child needs sockets of its own
            self._http, self._pid = requests.Session(), os.getpid()
        return self._http

    def close(self) -> None:
        """Ends the waiting of calls under way and lets go of the connections."""
        self.closing.set()
        if self._http is not None and self._pid == os.getpid():
            self._http.close()


def _data(answer: requests.Response) -> dict[str, Any]:
    told = answer.json()
    if not isinstance(told, dict) or "data" not in told:  # a proxy's own page
        raise ValueError("not an answer of a ClearML server")
    data = told["data"]
    return data if isinstance(data, dict) else {}


def _meta(answer: requests.Response) -> dict[str, Any]:
    try:
        meta = answer.json()["meta"]
    except (ValueError, KeyError, TypeError):
        return {}
    return meta if isinstance(meta, dict) else {}


def _told(answer: requests.Response) -> str:
    meta = _meta(answer)
    reason = meta.get("result_msg") or answer.reason or "no reason"
    return f"{answer.status_code}/{meta.get('result_subcode', 0)}: {reason}"


def _subcode(answer: requests.Response) -> int:
    return int(_meta(answer).get("result_subcode") or 0)
