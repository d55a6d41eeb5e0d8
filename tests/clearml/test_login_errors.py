"""Why a login failed: an error that names the setting to change, and says whether to try again."""

from __future__ import annotations

import pytest
import requests

from clearml_taskgroup._clearml.http_request import TooLarge
from clearml_taskgroup._clearml.login_errors import LoginDelayed, NobodyThere, login_error, no_answer
from clearml_taskgroup.errors import LoginError

HOST = "https://host"
CERTIFICATE = "SSLError(1, '[SSL: X] certificate verify failed: self-signed certificate (_ssl.c:1006)')"


@pytest.mark.parametrize(
    ("error", "kind", "problem"),
    [
        (
            requests.exceptions.SSLError(CERTIFICATE),
            LoginError,
            "the certificate of https://host is not accepted (self-signed certificate)",
        ),
        (
            requests.exceptions.SSLError("[SSL: WRONG_VERSION_NUMBER] wrong version number"),
            LoginDelayed,
            "https://host does not speak TLS as expected; should it be http://?",
        ),
        (requests.exceptions.InvalidURL("x"), LoginError, "https://host is not a valid address"),
        (requests.exceptions.InvalidSchema("x"), LoginError, "https://host is not a valid address"),
        (requests.exceptions.MissingSchema("x"), LoginError, "https://host is not a valid address"),
        (TooLarge("more than 64 MiB"), LoginDelayed, "the answer of https://host has more than 64 MiB"),
        (requests.ReadTimeout("x"), LoginDelayed, "https://host did not answer in time"),
        (requests.ConnectionError("read timed out"), LoginDelayed, "https://host did not answer in time"),
        (
            requests.ConnectionError("Connection refused"),
            NobodyThere,
            "no connection to https://host: nothing listens there",
        ),
        (
            requests.ConnectionError("Failed to resolve 'host'"),
            NobodyThere,
            "no connection to https://host: its name is not known",
        ),
        (
            requests.ConnectionError("NameResolutionError"),
            NobodyThere,
            "no connection to https://host: its name is not known",
        ),
        (
            requests.ConnectionError("reset by peer"),
            LoginDelayed,
            "no connection to https://host: ConnectionError",
        ),
    ],
)
def test_why_there_was_no_answer(
    error: requests.RequestException, kind: type[LoginError], problem: str
) -> None:
    found = no_answer(HOST, error)
    assert type(found) is kind
    assert found.problem == f"cannot log in: {problem}"


def test_a_certificate_has_a_setting_of_its_own() -> None:
    """All other problems have the advice of `LoginError`."""
    assert "api.verify_certificate" in no_answer(HOST, requests.exceptions.SSLError(CERTIFICATE)).advice
    assert "api.api_server" in no_answer(HOST, requests.ReadTimeout()).advice


def test_what_clearml_s_session_raises() -> None:
    """An error of ours that it wraps is that one; the manual for a server's set-up is one sentence."""
    ours = LoginDelayed("cannot log in: busy")
    wrapped = ValueError("wrapped")
    wrapped.__context__ = ours
    assert login_error(wrapped) is ours
    missing = login_error(ValueError("It seems ClearML is not configured on this machine!\nTo get started …"))
    assert missing.problem == "cannot log in: ClearML is not configured on this machine"
    refused = login_error(ValueError("invalid \n credentials " + "x" * 300))
    assert refused.problem == "cannot log in: " + f"invalid credentials {'x' * 300}"[:200]
    assert type(refused) is LoginError
