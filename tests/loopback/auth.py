"""Credentials and tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from typing import Any

import attrs

from . import errors
from .state import COMPANY, USER, USER_NAME

API_VERSION = "2.34"
SERVER_VERSION = "2.3.0"
DEFAULT_LIFETIME = 30 * 24 * 3600


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@attrs.define
class Credentials:
    """The one user's key and secret, and the tokens that they buy.

    Attributes:
        lifetime: Seconds that a new token lives, unless the client asks for another.
        api_version: What the tokens call the server's API version.
    """

    access_key: str = "LOOPBACKACCESSKEY000"
    secret_key: str = "loopback-secret-key"
    lifetime: float = DEFAULT_LIFETIME
    api_version: str = API_VERSION
    _signing_key: bytes = b"loopback-signing-key"
    _valid_since: int = 0
    _serial: int = 0
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def expire_tokens(self) -> None:
        """Make every token that was given so far an expired one."""
        with self._lock:
            self._valid_since = self._serial

    def issue(self, lifetime: float | None = None) -> str:
        """A new token, with the claims that the SDK reads."""
        with self._lock:
            self._serial += 1
            serial = self._serial
        now = time.time()
        claims = {
            "iat": int(now),
            "exp": int(now + (lifetime or self.lifetime)),
            "auth_type": "Bearer",
            "env": "loopback",
            "identity": {
                "user": USER,
                "company": COMPANY,
                "role": "admin",
                "user_name": USER_NAME,
                "company_name": "loopback",
            },
            "api_version": self.api_version,
            "server_version": SERVER_VERSION,
            "server_build": "0",
            "feature_set": "basic",
            "serial": serial,
        }
        head = _encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
        signed = f"{head}.{_encode(json.dumps(claims).encode())}"
        return f"{signed}.{self._signature(signed)}"

    def _signature(self, signed: str) -> str:
        digest = hmac.new(self._signing_key, signed.encode(), hashlib.sha256)
        return _encode(digest.digest())

    def check(self, authorization: str | None) -> None:
        """Let a request pass, or refuse it.

        Args:
            authorization: The header's value.

        Raises:
            ApiError: 401, with the subcode that tells why.
        """
        if not authorization:
            raise errors.no_credentials()
        kind, _, value = authorization.partition(" ")
        if kind == "Basic":
            self._check_basic(value)
        elif kind == "Bearer":
            self._check_token(value)
        else:
            raise errors.bad_auth_type()

    def _check_basic(self, value: str) -> None:
        try:
            key, _, secret = base64.b64decode(value).decode("latin-1").partition(":")
        except ValueError as error:
            raise errors.malformed_credentials(str(error)) from error
        if (key, secret) != (self.access_key, self.secret_key):
            raise errors.invalid_credentials()

    def _check_token(self, token: str) -> None:
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._signature(signed), signature):
            raise errors.invalid_token("Signature verification failed")
        claims: dict[str, Any] = json.loads(_decode(signed.partition(".")[2]))
        if claims["exp"] <= time.time() or claims["serial"] <= self._valid_since:
            raise errors.invalid_token("Signature has expired")
