"""A client of the API without the SDK: one connection, one call at a time."""

from __future__ import annotations

import base64
import http.client
import json
from types import TracebackType
from typing import Any

import attrs

from .server import LoopbackServer

Doc = dict[str, Any]


@attrs.frozen
class Reply:
    """An answer as it came over the wire."""

    status: int
    content: bytes
    headers: dict[str, str]

    @property
    def meta(self) -> Doc:
        """The envelope's first half."""
        meta: Doc = json.loads(self.content)["meta"]
        return meta

    @property
    def data(self) -> Doc:
        """The envelope's second half."""
        data: Doc = json.loads(self.content)["data"]
        return data

    @property
    def code(self) -> tuple[int, int]:
        """Code and subcode."""
        return self.meta["result_code"], self.meta["result_subcode"]


class Refused(Exception):
    """The server said no."""

    def __init__(self, reply: Reply) -> None:
        self.code = reply.code
        self.message: str = reply.meta["result_msg"]
        super().__init__(f"{self.code}: {self.message}")


class Client:
    """Calls a `LoopbackServer`. Use it as a context manager."""

    def __init__(self, server: LoopbackServer, *, version: str = "2.23") -> None:
        self._version = version
        key = f"{server.access_key}:{server.secret_key}".encode()
        self.authorization = f"Basic {base64.b64encode(key).decode()}"
        self._connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def send(
        self,
        path: str,
        body: bytes = b"",
        *,
        method: str = "POST",
        content_type: str = "application/json",
        authorization: str | None = "",
    ) -> Reply:
        """Send a request as it is.

        Args:
            path: With a leading slash.
            body: The body's bytes.
            method: The HTTP method.
            content_type: How the body is to be read.
            authorization: The header; None for none, "" for the right credentials.
        """
        headers = {"Content-Type": content_type, "X-ClearML-Worker": "client"}
        if authorization is not None:
            headers["Authorization"] = authorization or self.authorization
        try:
            self._connection.request(method, path, body=body, headers=headers)
            response = self._connection.getresponse()
            content = response.read()
        except (http.client.HTTPException, OSError):
            self._connection.close()
            raise
        return Reply(response.status, content, dict(response.getheaders()))

    def reply(self, endpoint: str, body: Doc | None = None, /, **fields: Any) -> Reply:
        """Make a call and return the whole answer, whatever it is."""
        content = json.dumps({**(body or {}), **fields}).encode()
        return self.send(f"/v{self._version}/{endpoint}", content)

    def call(self, endpoint: str, body: Doc | None = None, /, **fields: Any) -> Doc:
        """Make a call.

        Raises:
            Refused: When the server says no.
        """
        reply = self.reply(endpoint, body, **fields)
        if reply.status != 200:
            raise Refused(reply)
        return reply.data

    def batch_reply(self, endpoint: str, items: list[Any]) -> Reply:
        """Make a batch call of objects, or of lines as text."""
        lines = (item if isinstance(item, str) else json.dumps(item) for item in items)
        body = "\n".join(lines).encode()
        path = f"/v{self._version}/{endpoint}"
        return self.send(path, body, content_type="application/json-lines")

    def batch(self, endpoint: str, items: list[Any]) -> Doc:
        """Make a batch call.

        Raises:
            Refused: When the server says no.
        """
        reply = self.batch_reply(endpoint, items)
        if reply.status != 200:
            raise Refused(reply)
        return reply.data

    def project(self, name: str = "project") -> str:
        """Make a project."""
        return str(self.call("projects.create", name=name)["id"])

    def task(self, name: str = "task", **fields: Any) -> str:
        """Make a task."""
        body = {"name": name, "type": "training", **fields}
        return str(self.call("tasks.create", body)["id"])

    def move(self, task: str, *steps: str) -> None:
        """Lead a task through status calls by force: ``move(task, "started", "failed")``."""
        for step in steps:
            self.call(f"tasks.{step}", task=task, force=True)

    def find(self, **query: Any) -> list[str]:
        """The names of the tasks that match."""
        return [task["name"] for task in self.call("tasks.get_all", query)["tasks"]]


def scalar(
    task: str, value: float, iteration: int | None = 0, title: str = "loss", series: str = "train"
) -> Doc:
    """An event that reports a point."""
    event: Doc = {
        "type": "training_stats_scalar",
        "task": task,
        "metric": title,
        "variant": series,
        "value": value,
        "timestamp": 1_700_000_000_000,
    }
    if iteration is not None:
        event["iter"] = iteration
    return event


def log(task: str, message: str, time: int = 1_700_000_000_000) -> Doc:
    """An event that reports a console line."""
    return {"type": "log", "task": task, "msg": message, "level": "info", "timestamp": time}
