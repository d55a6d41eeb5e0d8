"""Whether the configured server answers: asked before a command would wait for it."""

from __future__ import annotations

import threading
import time

import requests

from .. import _clearml

PATIENCE = 4.0
"""Seconds after which a command does without a server."""
PAUSE = 0.3
GATEWAY = (502, 503, 504)
"""What a proxy answers for a server that is away."""


def trouble() -> str | None:
    """Gives what keeps the configured server from answering, in a few words; None if it answers.

    A refused connection is told at once, all else after `PATIENCE` seconds.
    """
    host, verify = _clearml.api_server()
    found: list[str | None] = []
    # A name that cannot be looked up takes longer than any timeout of a connection says.
    asking = threading.Thread(target=lambda: found.append(_asked(host, verify)), daemon=True)
    asking.start()
    asking.join(PATIENCE + PAUSE)
    return found[0] if found else f"nothing came for {PATIENCE:g} s"


def _asked(host: str, verify: bool) -> str | None:
    deadline = time.monotonic() + PATIENCE
    while True:
        left = max(0.1, deadline - time.monotonic())
        try:
            answer = requests.get(f"{host}/debug.ping", timeout=left, verify=verify)
            if answer.status_code not in GATEWAY:
                return None
            problem = f"it answers {answer.status_code}"
        except (
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidSchema,
            requests.exceptions.MissingSchema,
        ):
            return "that is no address"
        except requests.exceptions.SSLError:
            return "its certificate is not accepted"
        except requests.Timeout:
            return f"nothing came for {PATIENCE:g} s"
        except requests.RequestException as error:
            told = str(error)
            if "refused" in told:
                return "the connection is refused"
            if "resol" in told or "getaddrinfo" in told:  # NameResolutionError
                return "its name is not known"
            problem = "the connection breaks"
        if time.monotonic() + PAUSE >= deadline:
            return problem
        time.sleep(PAUSE)


def name() -> str:
    """Gives the configured server, for people."""
    return f"the ClearML server {_clearml.api_server()[0]}"
