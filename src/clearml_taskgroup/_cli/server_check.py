"""Whether the configured server answers: asked before a command would wait for it."""

from __future__ import annotations

import threading
import time

import requests
import urllib3

from .._clearml import sdk
from .._model.backoff import Backoff

PATIENCE = 3.0
"""Seconds after which a command does without a server."""
LONGER = 10.0
"""Seconds for a command that cannot do without."""
PAUSE = 0.3
GATEWAY = (502, 503, 504)
"""What a proxy answers for a server that is away."""


def trouble(*, needed: bool = False) -> str | None:
    """Gives what keeps the configured server from answering, in a few words; None if it answers.

    A refused connection is told at once, all else after some seconds.

    Args:
        needed: Whether the command can do nothing without the server.
    """
    patience = LONGER if needed else PATIENCE
    host, verify = sdk.api_server()
    if not verify:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    found: list[str | None] = []
    # A name that cannot be looked up takes longer than any timeout of a connection says.
    asking = threading.Thread(target=lambda: found.append(_asked(host, verify, patience)), daemon=True)
    asking.start()
    asking.join(patience + PAUSE)
    return found[0] if found else _silence(patience)


def _asked(host: str, verify: bool, patience: float) -> str | None:
    deadline = time.monotonic() + patience
    backoff = Backoff(PAUSE, PAUSE)
    while True:
        left = max(0.1, deadline - time.monotonic())
        try:
            answer = requests.get(f"{host}/debug.ping", timeout=left, verify=verify)
            if answer.status_code not in GATEWAY:
                return None
            problem = f"it answers {answer.status_code}"
        except _NO_ADDRESS:
            return "that is no address"
        except requests.exceptions.SSLError:
            return "its certificate is not accepted"
        except requests.Timeout:
            return _silence(patience)
        except requests.RequestException as error:
            told = str(error)
            if "refused" in told:
                return "the connection is refused"
            if "resol" in told or "getaddrinfo" in told:  # NameResolutionError
                return "its name is not known"
            problem = "the connection breaks"
        pause = backoff.next_pause()
        if time.monotonic() + pause >= deadline:
            return problem
        time.sleep(pause)


_NO_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)


def _silence(patience: float) -> str:
    return f"nothing came for {patience:g} s"


def name() -> str:
    """Gives the configured server, for people."""
    return f"the ClearML server {sdk.api_server()[0]}"
