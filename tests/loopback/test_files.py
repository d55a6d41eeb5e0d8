"""The files server."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

import pytest

from .faults import FaultKind
from .server import LoopbackServer

Answer = tuple[int, bytes]


class FilesClient:
    """A connection to the files server."""

    def __init__(self, server: LoopbackServer) -> None:
        self.connection = http.client.HTTPConnection(server.files_url.removeprefix("http://"))

    def send(self, method: str, path: str, body: bytes = b"", kind: str = "text/plain") -> Answer:
        """Send a request."""
        self.connection.request(method, path, body=body, headers={"Content-Type": kind})
        response = self.connection.getresponse()
        return response.status, response.read()


@pytest.fixture
def files(server: LoopbackServer) -> Iterator[FilesClient]:
    """A client of the test's files server."""
    client = FilesClient(server)
    yield client
    client.connection.close()


def form(name: str, content: bytes) -> bytes:
    """A multipart body with one file in it."""
    head = f'--line\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
    return head.encode() + b"Content-Type: image/png\r\n\r\n" + content + b"\r\n--line--\r\n"


def test_a_form_uploads_under_the_name_of_its_field(files: FilesClient, server: LoopbackServer) -> None:
    """The SDK posts a form in which the field's name is the path."""
    content = b"\x00\r\n--almost\r\nthe line\r\n"
    body = form("group/my task/art.bin", content)
    status, answer = files.send("POST", "/", body, 'multipart/form-data; boundary="line"')
    assert (status, json.loads(answer)) == (200, ["group/my task/art.bin"])
    assert server.stored_files["group/my task/art.bin"].content == content
    assert server.stored_files["group/my task/art.bin"].content_type == "image/png"
    assert files.send("GET", "/group/my%20task/art.bin") == (200, content)


def test_put_and_head_and_delete(files: FilesClient) -> None:
    """A file can be put as it is, asked for, and removed."""
    assert files.send("PUT", "/a/b.txt", b"hello")[0] == 200
    assert files.send("HEAD", "/a/b.txt") == (200, b"")
    assert files.send("GET", "/a/b.txt?download=1") == (200, b"hello")
    assert files.send("DELETE", "/a/b.txt")[0] == 200
    assert files.send("DELETE", "/a/b.txt")[0] == 404
    assert files.send("GET", "/a/b.txt")[0] == 404


def test_the_root_is_there(files: FilesClient) -> None:
    """Whoever looks whether the server is up is told that it is."""
    assert files.send("GET", "/") == (200, b"OK")


def test_a_post_must_be_a_form(files: FilesClient) -> None:
    assert files.send("POST", "/", b"hello")[0] == 400


def test_files_have_faults_and_records_too(files: FilesClient, server: LoopbackServer) -> None:
    """Uploads and downloads fail by script, under names of their own."""
    server.faults.fail_next("files.upload", status=502)
    server.faults.fail_next("files.download", kind=FaultKind.EXPIRED)
    assert files.send("PUT", "/a.txt", b"hello")[0] == 502
    assert files.send("PUT", "/a.txt", b"hello")[0] == 200
    assert files.send("GET", "/a.txt")[0] == 401
    assert server.count("files.upload") == 2
    assert server.count("files.download", status=401) == 1
