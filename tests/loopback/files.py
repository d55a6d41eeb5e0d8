"""The files server: bytes by path."""

from __future__ import annotations

import json
import re
import threading
from urllib.parse import unquote

import attrs

from .dispatch import Answer, Headers


@attrs.frozen
class StoredFile:
    """A file as it was uploaded."""

    content: bytes
    content_type: str = "application/octet-stream"


@attrs.define
class Files:
    """What was uploaded, by path without a leading slash."""

    stored: dict[str, StoredFile] = attrs.field(factory=dict)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def put(self, path: str, file: StoredFile) -> None:
        """Keep a file."""
        with self._lock:
            self.stored[_clean(path)] = file

    def get(self, path: str) -> StoredFile | None:
        """The file with this path."""
        with self._lock:
            return self.stored.get(_clean(path))

    def remove(self, path: str) -> bool:
        """Forget a file; False when there is none."""
        with self._lock:
            return self.stored.pop(_clean(path), None) is not None

    def answer(self, method: str, target: str, headers: Headers, body: bytes) -> Answer:
        """Do a request."""
        path = target.partition("?")[0]
        if method == "POST":
            return self._upload(path, headers, body)
        if method == "PUT":
            kind = headers.get("content-type", "application/octet-stream")
            self.put(path, StoredFile(body, kind))
            return Answer(200, json.dumps([_clean(path)]).encode())
        if not _clean(path):
            return Answer(200, b"OK", "text/plain")
        if method == "DELETE":
            status = 200 if self.remove(path) else 404
            return Answer(status, b"", "text/plain")
        file = self.get(path)
        if file is None:
            return Answer(404, b"File not found", "text/plain")
        return Answer(200, file.content, file.content_type)

    def _upload(self, path: str, headers: Headers, body: bytes) -> Answer:
        match = re.search(r'boundary="?([^";]+)"?', headers.get("content-type", ""))
        if match is None:
            return Answer(400, b"expected multipart/form-data", "text/plain")
        names = []
        for name, file in _parts(body, match[1].encode()):
            self.put(f"{path}/{name}", file)
            names.append(_clean(f"{path}/{name}"))
        return Answer(200, json.dumps(names).encode())


def _clean(path: str) -> str:
    return "/".join(part for part in unquote(path).split("/") if part)


def _parts(body: bytes, boundary: bytes) -> list[tuple[str, StoredFile]]:
    found = []
    for chunk in (b"\r\n" + body).split(b"\r\n--" + boundary)[1:]:
        head, separator, content = chunk.partition(b"\r\n\r\n")
        text = head.decode("utf-8", "replace")
        name = re.search(r'[; ]name="([^"]*)"', text)
        if not separator or name is None:
            continue
        kind = re.search(r"content-type: *([^\r\n]+)", text, re.IGNORECASE)
        file = StoredFile(content, kind[1] if kind else "application/octet-stream")
        found.append((name[1], file))
    return found
