"""From a path, headers and bytes to an answer in the server's envelope."""

from __future__ import annotations

import json
import re
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import attrs

# Imported for what they register.
from . import (  # noqa: F401
    charts,
    copies,
    errors,
    events,
    general,
    lifecycle,
    models,
    parts,
    projects,
    queueing,
    removal,
    schemas,
    tasks,
)
from .auth import API_VERSION, Credentials
from .errors import ApiError
from .faults import Fault, FaultKind
from .recorder import KEPT_BODY, Call, Recorder
from .registry import HANDLERS, REQUIRED, Request
from .state import Doc, State, new_id

PATH = re.compile(r"/(?:v(?P<version>\d+(?:\.\d+)?)/)?(?P<name>[a-zA-Z_]\w+\.[a-zA-Z_]\w+)/?")

OPEN_ENDPOINTS = frozenset({"debug.ping", "auth.logout"})
EXPIRED = str(Fault(FaultKind.EXPIRED))

Headers = Mapping[str, str]


@attrs.frozen
class Answer:
    """What goes back over the wire."""

    status: int
    body: bytes
    content_type: str = "application/json"


@attrs.define
class _Reading:
    """A request as far as it could be read before something went wrong."""

    endpoint: str = ""
    version: str = API_VERSION
    items: int | None = None


@attrs.define
class Dispatcher:
    """Answers API calls on a state, and keeps a record of them."""

    state: State
    credentials: Credentials
    recorder: Recorder

    def name(self, path: str) -> str:
        """The call that a path asks for, or "" when it is not the path of one."""
        match = PATH.fullmatch(path.partition("?")[0])
        return match["name"] if match else ""

    def answer(self, target: str, headers: Headers, body: bytes, fault: str = "") -> Answer:
        """Do a call.

        Args:
            target: The path, with its query.
            headers: The request's headers, by name in lower case.
            body: The request's body.
            fault: What will be done to the answer on purpose, for the record.
        """
        started = time.monotonic()
        reading = _Reading()
        call_id = new_id()
        subcode = 0
        try:
            # Written out under the lock, because the answer holds live documents.
            request = self._read(target, headers, body, reading, expired=fault == EXPIRED)
            with self.state.lock:
                data = self._do(request, reading)
                written = self._envelope(call_id, headers, reading, data=data)
            status = 200
        except ApiError as error:
            status, subcode = error.code, error.subcode
            written = self._envelope(call_id, headers, reading, error=error)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            status = 500
            self.recorder.crash(traceback.format_exc())
            failure = ApiError(500, 0, f"General server error: {error!r}")
            written = self._envelope(call_id, headers, reading, error=failure)
        self._record(headers, body, started, status, subcode, reading, fault)
        return Answer(status, written)

    def _record(
        self,
        headers: Headers,
        body: bytes,
        started: float,
        status: int,
        subcode: int,
        reading: _Reading,
        fault: str,
    ) -> None:
        self.recorder.add(
            Call(
                endpoint=reading.endpoint,
                version=reading.version,
                status=status,
                subcode=subcode,
                started=started,
                duration=time.monotonic() - started,
                size=len(body),
                items=reading.items,
                worker=worker_of(headers),
                fault=fault,
                raw=body if len(body) <= KEPT_BODY else b"",
            )
        )

    def _read(
        self, target: str, headers: Headers, body: bytes, reading: _Reading, *, expired: bool
    ) -> Request:
        path, _, query = target.partition("?")
        match = PATH.fullmatch(path)
        if match is None:
            raise errors.bad_request(f"Invalid request path {path}")
        reading.endpoint = match["name"]
        reading.version = match["version"] or API_VERSION
        if schemas.parse_version(reading.version) > schemas.parse_version(API_VERSION):
            message = f"Invalid API version (max. supported version is {API_VERSION})"
            raise errors.bad_request(message)
        if reading.endpoint not in HANDLERS and reading.endpoint != "auth.login":
            self.recorder.miss(reading.endpoint)
            raise errors.unknown_endpoint(reading.endpoint, reading.version)
        if expired:
            raise errors.invalid_token("Signature has expired")
        if reading.endpoint not in OPEN_ENDPOINTS:
            self.credentials.check(headers.get("authorization"))
        content_type = headers.get("content-type", "").partition(";")[0].strip()
        if content_type == "application/json-lines":
            items = self._read_lines(body, reading)
            return Request(reading.endpoint, reading.version, {}, items, worker_of(headers))
        return self._read_object(query, headers, body, reading)

    def _read_lines(self, body: bytes, reading: _Reading) -> list[Doc]:
        items = parse_lines(body)
        if isinstance(items, BadLine):
            self._violate(reading, items.message, items.index)
            raise errors.bad_request(items.message)
        reading.items = len(items)
        found, fatal = events.check_batch(reading.endpoint, reading.version, items)
        self.recorder.violate(*found)
        if fatal:
            first = found[0]
            raise errors.validation_error(f"{first.message} in batch item #{first.line}")
        return items

    def _read_object(self, query: str, headers: Headers, body: bytes, reading: _Reading) -> Request:
        data: Any = {}
        if body:
            try:
                data = json.loads(body)
            except ValueError as error:
                message = f"Failed to decode JSON object: {error}"
                self._violate(reading, message)
                raise errors.bad_request(message) from error
        data = data or {key: _plain(value) for key, value in parse_qsl(query)}
        if not isinstance(data, dict):
            self._violate(reading, "the body is not an object")
            raise errors.validation_error("Data should be a dict")
        data = {key: value for key, value in data.items() if value is not None}
        if reading.endpoint == "events.add_batch":
            # The server takes a single object for a batch of one.
            data, items = {}, [data] if data else []
            reading.items = len(items)
            return Request(reading.endpoint, reading.version, data, items, worker_of(headers))
        violation = schemas.check(reading.endpoint, reading.version, data)
        if violation is not None:
            self.recorder.violate(violation)
            where = ".".join(map(str, violation.path))
            raise errors.validation_error(violation.message, **({"field": where} if where else {}))
        missing = [name for name in REQUIRED.get(reading.endpoint, ()) if name not in data]
        if missing:
            raise errors.missing_fields(*missing)
        return Request(reading.endpoint, reading.version, data, None, worker_of(headers))

    def _violate(self, reading: _Reading, message: str, line: int | None = None) -> None:
        self.recorder.violate(schemas.Violation(reading.endpoint, reading.version, message, line=line))

    def _do(self, request: Request, reading: _Reading) -> Doc:
        if request.endpoint == "auth.login":
            return {"token": self.credentials.issue(request.body.get("expiration_sec"))}
        handler: Callable[[State, Request], Doc] = HANDLERS[request.endpoint]
        return handler(self.state, request)

    def _envelope(
        self,
        call_id: str,
        headers: Headers,
        reading: _Reading,
        *,
        data: Doc | None = None,
        error: ApiError | None = None,
    ) -> bytes:
        meta = {
            "id": call_id,
            "trx": headers.get("x-clearml-trx", call_id),
            "endpoint": {
                "name": reading.endpoint,
                "requested_version": reading.version,
                "actual_version": "1.0",
            },
            "result_code": error.code if error else 200,
            "result_subcode": error.subcode if error else 0,
            "result_msg": error.message if error else "OK",
            "error_stack": None,
            "error_data": error.details if error else {},
        }
        return json.dumps({"meta": meta, "data": data or {}}, default=list).encode()


@attrs.frozen
class BadLine:
    """A line of a batch that is not an object."""

    index: int
    message: str


def parse_lines(body: bytes) -> list[Doc] | BadLine:
    """The objects of a batch, one on each line."""
    lines = body.splitlines()
    try:
        # One call for all is a good third faster; it also shares the keys' strings.
        whole = json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError:
        whole = None
    if whole is not None and len(whole) == len(lines) and all(type(item) is dict for item in whole):
        return list(whole)
    items: list[Doc] = []
    for index, line in enumerate(lines):
        try:
            item = json.loads(line)
        except ValueError as error:
            return BadLine(index, f"Failed to decode JSON object: {error} in batch item #{index}")
        if not isinstance(item, dict):
            kind = type(item).__name__
            return BadLine(index, f"json lines must contain objects, found: {kind}")
        items.append(item)
    return items


def worker_of(headers: Headers) -> str:
    """The name that the client gave itself."""
    return headers.get("x-clearml-worker") or headers.get("x-trains-worker") or "<unknown>"


def _plain(value: str) -> object:
    """A value from a query string, read as the server reads it."""
    if value.replace(".", "", 1).isdigit():
        return float(value) if "." in value else int(value)
    return {"true": True, "false": False}.get(value.lower(), value)
