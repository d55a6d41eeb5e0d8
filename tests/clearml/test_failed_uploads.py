"""Whether a storage's server takes connections; the rest is in `end_to_end/test_failed_uploads.py`."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._clearml.failed_uploads import FileNotUploaded, connection_problem, reason_of


def test_only_http_servers_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a proxy makes the connection, or for another storage, nobody is asked."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/a"
        assert connection_problem(url) is not None
        listening.listen()
        assert connection_problem(url) is None
    assert connection_problem("http://127.0.0.1:1/a") is not None
    assert connection_problem("s3://bucket/a") is None
    assert connection_problem("file:///a") is None
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:2")
    monkeypatch.setenv("NO_PROXY", "")
    assert connection_problem("http://127.0.0.1:1/a") is None


def test_a_server_that_is_away_is_an_error_at_once(tmp_path: Path) -> None:
    """ClearML itself would try for a minute; the message says what to check."""
    (tmp_path / "notes.txt").write_text("words")
    began = time.monotonic()
    with pytest.raises(FileNotUploaded) as raised:
        sdk.upload_file(tmp_path / "notes.txt", f"http://127.0.0.1:1/{'a' * 500}/notes.txt")
    assert time.monotonic() - began < 10.0
    text = str(raised.value)
    assert text.startswith("the ClearML server: cannot upload notes.txt to http://127.0.0.1:1/aaa")
    assert "api.files_server" in text
    assert text.endswith("nothing was deleted here.")
    assert "nothing listens there" in text


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (
            ValueError("Failed uploading object /a/b c.json to http://h:1 (413): <html>\n"),
            "the server answered 413",
        ),
        (ValueError("Failed uploading object /a/b c.json (502): <html>"), "the server answered 502"),
        (OSError(111, "Connection refused"), "nothing listens there"),
        (
            ConnectionError("HTTPConnectionPool(host='h'): Read timed out. (read timeout=30)"),
            "no answer in time",
        ),
        (ConnectionError("Failed to resolve 'h'"), "its name is not known"),
        (socket.gaierror(-2, "Name or service not known"), "its name is not known"),
        (
            AttributeError("'NoneType' object has no attribute 'upload'"),
            "ClearML cannot use that storage, and its log says why",
        ),
        (KeyError(), "KeyError"),
        (ValueError("x" * 500), "x" * 110),
    ],
)
def test_a_reason_is_short(raised: Exception, said: str) -> None:
    """Whatever a storage raises."""
    assert reason_of(raised) == said
