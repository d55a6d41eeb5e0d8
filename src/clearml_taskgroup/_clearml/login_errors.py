"""Why a login failed, from what the HTTP request raised: an error that names the setting to change."""

from __future__ import annotations

import re

import requests

from ..errors import LoginError
from ..errors._base import private_kind
from . import http_request


@private_kind
class LoginDelayed(LoginError):
    """A login that failed; another attempt may succeed."""


@private_kind
class NobodyThere(LoginDelayed):
    """The server's name is not known, or nothing listens there: a typing error, or a server that is off."""


def no_answer(host: str, error: requests.RequestException) -> LoginError:
    text = str(error)
    if isinstance(error, requests.exceptions.SSLError):
        found = re.search(r"certificate verify failed: ([^(\"']*)", text)
        if found is not None:
            return LoginError(
                f"cannot log in: the certificate of {host} is not accepted ({found[1].strip()})", _CERTIFICATE
            )
        return LoginDelayed(f"cannot log in: {host} does not speak TLS as expected; should it be http://?")
    if isinstance(error, _BAD_ADDRESS):
        return LoginError(f"cannot log in: {host} is not a valid address")
    if isinstance(error, http_request.TooLarge):
        return LoginDelayed(f"cannot log in: the answer of {host} has {error}")
    if isinstance(error, requests.Timeout) or "timed out" in text:
        return LoginDelayed(f"cannot log in: {host} did not answer in time")
    no_connection = f"cannot log in: no connection to {host}"
    if "refused" in text:
        return NobodyThere(f"{no_connection}: nothing listens there")
    if "resol" in text.lower():
        return NobodyThere(f"{no_connection}: its name is not known")
    return LoginDelayed(f"{no_connection}: {type(error).__name__}")


_BAD_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)
_CERTIFICATE = (
    "set api.verify_certificate in clearml.conf (or CLEARML_API_HOST_VERIFY_CERT) to the path of a file "
    "with the certificate of its authority, or to false to accept any"
)


def login_error(error: Exception) -> LoginError:
    if isinstance(error.__context__, LoginError):  # ClearML's session wraps what `_send_request` raises
        return error.__context__
    text = " ".join(str(error).split())
    if "not configured" in text:  # ClearML goes on with how to set up a server
        return LoginError("cannot log in: ClearML is not configured on this machine")
    return LoginError(f"cannot log in: {text[:200]}")
