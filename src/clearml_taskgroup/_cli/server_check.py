"""Checks whether the configured server answers, so that commands do not wait for one that is down."""

from __future__ import annotations

import threading
import time

import requests
import urllib3

from .._clearml import login

TIMEOUT_S = 3.0
"""Seconds to wait for a server that a command can do without."""
REQUIRED_TIMEOUT_S = 6.0
"""Seconds to wait for a server that a command needs."""
RETRY_PAUSE_S = 0.3
GATEWAY_STATUS_CODES = (502, 503, 504)
"""The status codes of a proxy in front of a server that is down."""


def why_unreachable(*, needed: bool = False) -> str | None:
    """Returns why the configured server does not answer, in a few words; None if it answers.

    A refused connection is reported at once, anything else after `TIMEOUT_S`.

    Args:
        needed: Whether the command needs the server; then it waits for `REQUIRED_TIMEOUT_S`.
    """
    timeout = REQUIRED_TIMEOUT_S if needed else TIMEOUT_S
    host, verify = login.api_server()
    if not verify:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    found: list[str | None] = []
    # The timeout of a connection does not include the look-up of the name, so a thread limits the whole.
    asking = threading.Thread(target=lambda: found.append(_ping(host, verify, timeout)), daemon=True)
    asking.start()
    asking.join(timeout + RETRY_PAUSE_S)
    return found[0] if found else _timed_out(timeout)


def _ping(host: str, verify: bool | str, timeout: float) -> str | None:
    deadline = time.monotonic() + timeout
    while True:
        left = max(0.1, deadline - time.monotonic())
        try:
            answer = requests.get(f"{host}/debug.ping", timeout=left, verify=verify)
            if answer.status_code not in GATEWAY_STATUS_CODES:
                return None
            problem = f"it answers {answer.status_code}"
        except _NO_ADDRESS:
            return "it is not a valid address"
        except requests.exceptions.SSLError:
            return "its certificate is not accepted"
        except requests.Timeout:
            return _timed_out(timeout)
        except requests.RequestException as error:
            text = str(error)
            if "refused" in text:
                return "the connection is refused"
            if "resol" in text or "getaddrinfo" in text:  # NameResolutionError
                return "its name is not known"
            problem = "the connection breaks"
        if time.monotonic() + RETRY_PAUSE_S >= deadline:
            return problem
        time.sleep(RETRY_PAUSE_S)


_NO_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)


def _timed_out(timeout: float) -> str:
    return f"timed out after {timeout:g} s"


def server_name() -> str:
    """The configured server, for messages."""
    return f"the ClearML server {login.api_server()[0]}"
