"""Logs in to the configured ClearML server, within a time limit.

Parts of ClearML that are private or not documented; `tests/clearml/test_login.py` tries them on the lowest
and the newest supported version:

* `clearml.backend_api.Session` with `host`, `token`, `config`, `refresh_token()`, `get_api_server_host()`,
  `get_app_server_host()`, `get_files_server_host()` and `check_min_api_server_version()`: addresses,
  credentials and the token. Its own `send_request` repeats a call for hours, and the end of a block could
  not limit that.
* `Session._send_request()` is overridden, with which the session logs in: its own repeats a login for ever
  where the server's certificate is not accepted, and waits without end for a slow answer. `_connect()` is
  overridden, with which it prepares for its first request, to set `verify` and our own `http`.
"""

from __future__ import annotations

import os
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import attrs
import requests

from .._model import limits
from .._model.backoff import Backoff
from . import http_request, sdk
from .answers import is_clearml, summary
from .concurrent import call_in_time
from .login_errors import LoginDelayed, NobodyThere, login_error, no_answer

if TYPE_CHECKING:
    from collections.abc import Callable

MIN_LOGIN_RETRY_DELAY_S, MAX_LOGIN_RETRY_DELAY_S = 0.5, 5.0
MIN_LOGIN_ANSWER_S = 1.0
"""How long one attempt waits for its answer at least."""
LOGIN_MARGIN_S = 0.5
"""How long after that it is waited for what keeps to no limit, as looking up the server's name."""


@attrs.define
class Connection:
    """The addresses of ClearML's servers, and the token for them.

    Attributes:
        host: The API server's address, without a `/` at its end.
        files: The files server's address.
        web: The web server's address, None if ClearML does not know it.
        verify: Whether the server's certificate is checked, or the path of the authorities' certificates.
        new_pages: Whether the web pages' paths say "tasks" (API 2.31 and newer), not "experiments".
    """

    host: str
    web: str | None
    files: str
    verify: bool | str
    new_pages: bool
    _session: Any

    def token(self, timeout: float | None = None) -> str:
        """Gives a valid token; ClearML's session renews it before it expires.

        Args:
            timeout: Seconds that a renewal may take, `limits.LOGIN_TIMEOUT_S` by default and at most.

        Raises:
            LoginError: It had to be renewed, and the server refused.
            LoginDelayed: It had to be renewed, and the server was away.
        """
        return str(self._ask(lambda: self._session.token, timeout))

    def renew(self, timeout: float | None = None) -> None:
        """Gets a new token, because the server refused the old one; see `token`.

        Raises:
            LoginError: The server refuses the credentials.
            LoginDelayed: The server was away.
        """
        self._ask(self._session.refresh_token, timeout)

    def _ask(self, get: Callable[[], Any], timeout: float | None) -> Any:
        longest = limits.LOGIN_TIMEOUT_S
        self._session.answer_timeout = longest if timeout is None else min(timeout, longest)
        try:
            return get()
        except Exception as error:
            raise login_error(error) from error

    def disconnect(self) -> None:
        """Closes the idle connection of ClearML's session, which opens another one for its next token."""
        self._session.http.close()


def api_server() -> tuple[str, bool | str]:
    """Reads from the configuration: the API server's address, and how to check its certificate.

    Returns:
        The address; and whether to check it, or the path of the authorities' certificates.
    """
    host = sdk.session_class().get_api_server_host()
    return str(host).rstrip("/"), _verify(sdk.configuration())


def _verify(config: Any) -> bool | str:
    """Reads the setting as ClearML does: a switch, or the path of the authorities' certificates."""
    given = os.environ.get("CLEARML_API_HOST_VERIFY_CERT") or os.environ.get("TRAINS_API_HOST_VERIFY_CERT")
    value = given or config.get("api.verify_certificate", True)
    return _SWITCHES.get(value.lower(), value) if isinstance(value, str) else bool(value)


_SWITCHES: dict[str, bool | str] = {
    **dict.fromkeys(("y", "yes", "t", "true", "on", "1"), True),
    **dict.fromkeys(("n", "no", "f", "false", "off", "0"), False),
}


def connect(timeout: float | None = None, *, restarts: bool = True) -> Connection:
    """Logs in to the configured server; tries again while it does not answer.

    Args:
        timeout: The most seconds to try for, `limits.LOGIN_TIMEOUT_S` by default.
        restarts: Whether to wait where nothing listens, as while a server restarts.

    Raises:
        LoginError: It refuses the credentials (raised at once), or cannot be reached.
    """
    kind, host = _session_class(), api_server()[0]  # ClearML cannot read its settings in two threads at once
    deadline = time.monotonic() + (limits.LOGIN_TIMEOUT_S if timeout is None else timeout)
    backoff = Backoff(MIN_LOGIN_RETRY_DELAY_S, MAX_LOGIN_RETRY_DELAY_S)
    sessions: list[Any] = []
    while True:
        kind.answer_timeout = left = max(MIN_LOGIN_ANSWER_S, deadline - time.monotonic())
        try:
            call_in_time(lambda: sessions.append(kind()), left + LOGIN_MARGIN_S, "the login")
            break
        except TimeoutError as error:
            raise LoginDelayed(f"cannot log in: {host} did not answer in time") from error
        except Exception as error:  # requests', urllib3's and ClearML's own
            problem = login_error(error)
            if not isinstance(problem, LoginDelayed) or (isinstance(problem, NobodyThere) and not restarts):
                raise problem from error
            pause = backoff.next_pause()
            if time.monotonic() + pause > deadline:
                raise problem from error
        time.sleep(pause)
    (session,) = sessions
    try:
        web: str | None = kind.get_app_server_host().rstrip("/")
    except ValueError:
        web = None
    return Connection(
        host=str(session.host).rstrip("/"),
        web=web,
        files=kind.get_files_server_host().rstrip("/"),
        verify=session.verify,
        new_pages=bool(kind.check_min_api_server_version("2.31")),
        session=session,
    )


@lru_cache(maxsize=1)
def _session_class() -> Any:
    """Makes the class of ClearML's session whose requests have a time limit and are not repeated."""
    session_class = sdk.session_class()

    class LimitedSession(session_class):  # type: ignore[misc,valid-type]
        answer_timeout = limits.LOGIN_TIMEOUT_S

        def _connect(self) -> None:
            self.http, self.verify = http_request.new_session(), _verify(self.config)
            super()._connect()

        def _send_request(self, service: str, action: str, *args: Any, **request: Any) -> Any:
            known = ("headers", "auth", "data", "json", "params")
            given = {name: request[name] for name in known if request.get(name)}
            method, url = request.get("method") or "get", f"{self.host}/{service}.{action}"
            try:
                answer = http_request.send(
                    self.http, method, url, timeout=self.answer_timeout, verify=self.verify, **given
                )
            except requests.RequestException as error:
                raise no_answer(self.host, error) from error
            try:
                content = answer.json()
            except ValueError:
                content = None
            if not is_clearml(content) or answer.status_code in http_request.MAY_PASS:
                odd = f"{self.host} does not answer as a ClearML API server does"
                raise LoginDelayed(f"cannot log in: {odd}: {summary(answer)}")
            return answer

    return LimitedSession
