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
from ..errors import LoginError
from . import http_request
from .answers import is_clearml, misfit, summary
from .api_errors import AnsweredByProxy, AnswerTooLarge, Refused, Unreachable
from .login_errors import LoginDelayed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .login import Connection

MAX_ODD_ANSWERS = 3
"""How often a call is made to a server whose answers have the wrong shape."""
MIN_RETRY_DELAY_S, MAX_RETRY_DELAY_S = 0.2, 10.0
MAX_RENEWALS = 5
"""How often one call renews its token: a server that refuses five new ones will refuse the next."""
JSON, JSON_LINES = "application/json", "application/json-lines"


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
        attempts_on_proxy: int | None = None,
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
            attempts_on_proxy: After how many answers that a proxy gave in the server's place to give up;
                None for as many as there are within `timeout`.
            find_created: Called before another attempt if the server may have carried out the last
                one. Returns the id of what the call was to create if it exists, else None.

        Returns:
            The answer's data.

        Raises:
            Refused: The server answered with an error.
            AnsweredByProxy: A proxy gave `attempts_on_proxy` answers in the server's place.
            AnswerTooLarge: The answer is too large to be read.
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
        renewals = answers_500 = by_proxy = odd = 0
        while True:
            may_be_done = True  # whether the server may have carried out this attempt
            try:
                answer = self._post(action, data, content_type, answer_timeout)
                meta, content = _read(answer)
                status = answer.status_code
                if meta is None:  # without ClearML's own words, nothing is known of the server
                    problem = (
                        f"{action} was answered by something else than a ClearML server: {summary(answer)}"
                    )
                    may_be_done = status != 429
                    by_proxy += status not in http_request.OVERLOADED
                    if by_proxy == attempts_on_proxy:
                        raise AnsweredByProxy(problem)
                elif status == 200:
                    wrong = misfit(action, body or {}, content)
                    if wrong is None:
                        return dict(content)
                    problem = f"{action} was answered with {wrong}; {_REMEDY}"
                    odd += 1
                    # What was to be created is looked for once more.
                    if odd == MAX_ODD_ANSWERS + (find_created is not None):
                        raise Unreachable(problem)
                else:
                    problem = f"{action} was answered with {_reason(answer, meta)}"
                    may_be_done = status not in (401, 429)
                    answers_500 += status == 500
                    may_pass = status in {401, *http_request.MAY_PASS} and answers_500 < attempts_on_500
                    if not may_pass:
                        raise Refused(problem, status, _subcode(meta))
                if status == 401:
                    if renewals == MAX_RENEWALS:
                        raise LoginError(problem)
                    self.connection.renew(answer_timeout)
                    renewals += 1
                    if renewals == 1:  # the token had expired
                        continue
            except LoginDelayed as delayed:
                problem, may_be_done = delayed.problem, False
            except http_request.TooLarge as error:
                raise AnswerTooLarge(f"the answer to {action} has {error}; {_REMEDY}") from None
            except (requests.RequestException, ValueError) as error:
                problem = f"{action} got no answer from {self.connection.host} ({type(error).__name__})"
            left = deadline - time.monotonic()
            if left <= 0 or self.closing.is_set():
                raise Unreachable(problem)
            if self.closing.wait(min(backoff.next_pause(), left)):
                raise Unreachable(problem)
            if may_be_done and find_created is not None and (found := find_created()) is not None:
                return {"id": found}

    def _post(self, action: str, data: bytes, content_type: str, timeout: float) -> http_request.Answer:
        token = self.connection.token(timeout)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": content_type}
        url = f"{self.connection.host}/{action}"
        verify = self.connection.verify
        session = self._session()
        return http_request.send(
            session, "POST", url, timeout=timeout, data=data, headers=headers, verify=verify
        )

    def _session(self) -> requests.Session:
        if self._http is None or self._pid != os.getpid():  # a forked child needs sockets of its own
            self._http, self._pid = http_request.new_session(), os.getpid()
        return self._http

    def close(self) -> None:
        """Ends the pauses of calls under way and closes the connections."""
        self.closing.set()
        if self._http is not None and self._pid == os.getpid():
            self._http.close()


_REMEDY = "check api.api_server in clearml.conf, the server's version, and any proxy before it"


def _read(answer: http_request.Answer) -> tuple[dict[str, Any] | None, Any]:
    """Reads ClearML's `meta` and the data; no `meta` if a proxy gave the answer."""
    try:
        content = answer.json()
    except ValueError:
        return None, None
    if not is_clearml(content):
        return None, None
    if answer.status_code == 200 and (content.get("data") is None or content["meta"]["result_code"] != 200):
        return None, None
    return content["meta"], content.get("data")


def _reason(answer: http_request.Answer, meta: Mapping[str, Any]) -> str:
    reason = meta.get("result_msg") or answer.reason or "no reason"
    return f"{answer.status_code}/{_subcode(meta)}: {reason}"


def _subcode(meta: Mapping[str, Any]) -> int:
    subcode = meta.get("result_subcode")
    return subcode if isinstance(subcode, int) else 0
