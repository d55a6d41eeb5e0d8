"""What ClearML's objects could not upload; with ClearML itself in `end_to_end/test_failed_uploads.py`."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_taskgroup._clearml import failed_uploads, sdk
from clearml_taskgroup._clearml.failed_uploads import (
    FailedUpload,
    FileNotUploaded,
    connection_problem,
    reason_of,
)
from clearml_taskgroup._model import limits
from tests.support.clock import Clock


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


# --- what becomes of an upload -----------------------------------------------------------------


class Values:
    """What ClearML's events have in common."""

    def __init__(self, variant: str = "a", *, metric: str = "artifacts", **fields: Any) -> None:
        self.metric, self.variant = metric, variant
        self._task: str | None = None
        self._image_data: Any = None
        self._local_image_path: str | None = None
        self._delete_after_upload = False
        self.upload_exception: Exception | None = None
        self.entry: dict[str, Any] = {}
        vars(self).update(fields)

    def update(self, **entry: Any) -> None:
        self.entry |= entry
        self._task = entry["task"]

    def get_target_full_upload_uri(self, storage: str, prefix: str, quote_uri: bool) -> tuple[str, str]:
        assert not quote_uri
        return f"{prefix}/{self.variant}", f"{storage}/{prefix}/{self.variant}"

    def get_iteration(self) -> int:
        return 7

    def get_file_entry(self) -> Any:
        return SimpleNamespace(stream=io.BytesIO(b"an array as a file"))

    def get_api_event(self) -> Any:
        return SimpleNamespace(to_dict=lambda: {"variant": self.variant, **self.entry})


class Event(Values):
    """Takes the place of ClearML's `UploadEvent`: an artifact, or the image of a plot."""


class Sample(Event):
    """The same of a debug sample."""


class Scalar(Values):
    """The same of an event that uploads nothing."""


class Watched:
    """A task whose uploads are watched, with classes in place of ClearML's.

    Attributes:
        kept: The failed uploads that were told.
        done: The addresses of files that were uploaded.
        resent: The events that ClearML has not sent.
        is_kept: What keeping a failed upload returns.
    """

    def __init__(self) -> None:
        self.kept: list[FailedUpload] = []
        self.done: list[str] = []
        self.resent: list[dict[str, Any]] = []
        self.is_kept = True
        self.written: list[tuple[list[Any], str | None]] = []
        self.fails: Exception | None = None
        self.is_ok: bool | None = True
        own = self

        class Metrics:
            _storage_uri, storage_key_prefix = "http://127.0.0.1:1", "prefix"

            def __init__(self, task_id: str) -> None:
                self._task_id = task_id

            def _do_write_events(self, events: list[Any], storage_uri: str | None = None) -> Any:
                own.written.append((list(events), storage_uri))
                for event in list(events):
                    if own.fails is not None:
                        event.upload_exception = own.fails
                        events.remove(event)
                return None if own.is_ok is None else SimpleNamespace(ok=lambda: own.is_ok)

        class Reporter:
            _storage_uri = None

            def __init__(self, task_id: str) -> None:
                self._metrics = Metrics(task_id)
                self.reported: list[Any] = []

            def _report(self, event: Any) -> None:
                self.reported.append(event)

        class Model:
            id, upload_storage_uri, _upload_storage_suffix = "m1", "http://127.0.0.1:1/files", "digits"

            def update_and_upload(self, *args: Any, **fields: Any) -> Any:
                return (args, fields)

            def _upload_model(self, *args: Any) -> Any:
                own.started = args
                if own.fails is not None:
                    raise own.fails
                return "the address"

        self.started: tuple[Any, ...] = ()
        failed_uploads.hook(Reporter, Metrics, Event, Model)
        self.reporter, self.model = Reporter("t1"), Model()
        self.other = Reporter("not watched")

    def keep(self, failed: FailedUpload) -> bool:
        self.kept.append(failed)
        return self.is_kept

    def write(self, *events: Any, storage_uri: str | None = None) -> Any:
        """Reports events, and has ClearML write them."""
        for event in events:
            self.reporter._report(event)
        return self.reporter._metrics._do_write_events(list(events), storage_uri)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """A watched task; no server has been away before."""
    monkeypatch.setattr(failed_uploads, "_watched", {})
    monkeypatch.setattr(failed_uploads, "_away", {})
    watched = Watched()
    failed_uploads.watch("t1", watched.keep, watched.done.append, watched.resent.extend)
    yield watched
    failed_uploads.unwatch("t1")


URL = "http://127.0.0.1:1/prefix/a"


def test_an_upload_that_is_done_is_told_with_its_address(watched: Watched) -> None:
    """ClearML's own result is given back; nothing is sent again."""
    assert watched.write(Event()).ok()
    assert (watched.done, watched.kept, watched.resent) == ([URL], [], [])
    watched.write(Event(), storage_uri="s3://bucket")
    assert watched.done[1:] == ["s3://bucket/prefix/a"]


def test_a_task_that_is_not_watched_is_clearml_s_own(watched: Watched) -> None:
    event = Event(_delete_after_upload=True)
    watched.other._report(event)
    assert watched.other.reported == [event]
    assert event._delete_after_upload
    watched.fails = OSError("refused")
    watched.other._metrics._do_write_events([event])
    assert watched.written == [([event], None)]
    assert (watched.kept, watched.done) == ([], [])


@pytest.mark.parametrize(
    ("event", "what", "content", "is_sent"),
    [
        (Event("model"), "the artifact 'model'", None, False),
        (Event("val", metric="loss"), "the image of the plot 'loss/val'", None, False),
        (Sample("val", metric="cats"), "the debug sample 'cats/val' of iteration 7", None, True),
        (Event("text", _image_data=io.StringIO("words")), "the artifact 'text'", b"words", False),
        (Event("bytes", _image_data=io.BytesIO(b"bytes")), "the artifact 'bytes'", b"bytes", False),
        (Event("array", _image_data=[[1]]), "the artifact 'array'", b"an array as a file", False),
    ],
)
def test_a_failed_upload_is_told_with_all_that_is_needed_to_repeat_it(
    watched: Watched, event: Values, what: str, content: bytes | None, is_sent: bool
) -> None:
    """The content of a stream, and the event of a debug sample, which is not sent without it."""
    watched.fails = OSError("Connection refused")
    watched.write(event)
    (failed,) = watched.kept
    assert (failed.task, failed.what, failed.cause) == ("t1", what, "nothing listens there")
    assert (failed.url, failed.content, failed.path) == (
        f"http://127.0.0.1:1/prefix/{event.variant}",
        content,
        None,
    )
    key = f"prefix/{event.variant}"
    sent = {"variant": event.variant, "task": "t1", "key": key, "url": failed.url}
    assert failed.event == (sent if is_sent else None)


@pytest.mark.parametrize(
    ("fails", "is_kept", "stays"), [(False, True, False), (True, True, False), (True, False, True)]
)
def test_a_file_that_clearml_made_is_deleted_once_it_is_not_needed(
    watched: Watched, tmp_path: Path, fails: bool, is_kept: bool, stays: bool
) -> None:
    """Not by ClearML, and not if nobody has a copy of it."""
    file = tmp_path / "sample.png"
    file.write_text("a sample")
    event = Sample(_local_image_path=str(file), _delete_after_upload=True)
    watched.is_kept, watched.fails = is_kept, OSError("refused") if fails else None
    watched.write(event)
    assert event._delete_after_upload is False
    assert file.exists() is stays
    assert [failed.path for failed in watched.kept] == ([file] if fails else [])


def test_the_user_s_file_stays(watched: Watched, tmp_path: Path) -> None:
    file = tmp_path / "sample.png"
    file.write_text("a sample")
    watched.write(Sample(_local_image_path=str(file)))
    assert file.exists()


def test_a_file_that_is_gone_is_not_tried(watched: Watched, tmp_path: Path) -> None:
    """And says nothing of the server; an image in memory needs no file."""
    missing = tmp_path / "sample.png"
    watched.write(Sample("b", _local_image_path=str(missing)), Event("c"))
    ((events, _),) = watched.written
    assert [event.variant for event in events] == ["c"]
    (failed,) = watched.kept
    assert (failed.cause, failed.path) == (f"{missing} is not there any more", None)
    assert failed_uploads._away == {}
    watched.write(Event("d", _local_image_path=str(missing), _image_data=io.BytesIO(b"x")))
    assert len(watched.kept) == 1


def test_of_a_server_that_is_away_one_upload_is_tried(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it takes connections again, or a minute is over; an unwatched storage is another one."""
    clock, problem = Clock(), OSError("still refused")
    monkeypatch.setattr(failed_uploads, "time", clock)
    asked: list[str] = []

    def connection_problem(url: str) -> OSError | None:
        asked.append(url)
        return problem if problem.args[0] else None

    monkeypatch.setattr(failed_uploads, "connection_problem", connection_problem)
    watched.fails = OSError("refused")
    watched.write(Event("a"))
    assert (len(watched.written[-1][0]), asked) == (1, [])
    clock.sleep(failed_uploads.AWAY_S)
    watched.write(Event("b"))
    assert (watched.written[-1][0], len(asked)) == ([], 1)
    assert watched.kept[1].cause == "still refused"
    clock.sleep(failed_uploads.AWAY_S + 1)
    watched.fails = None
    watched.write(Event("c"))
    assert (len(watched.written[-1][0]), len(asked)) == (1, 1)
    assert len(watched.done) == 1


def test_events_that_the_server_refuses_are_sent_again(watched: Watched) -> None:
    """Those whose upload failed have been told already; where ClearML gives no result, nothing is known."""
    watched.is_ok = False
    watched.write(Scalar("x"), Event("a"))
    assert [event["variant"] for event in watched.resent] == ["x", "a"]
    assert all(event["task"] == "t1" for event in watched.resent)
    watched.resent.clear()
    watched.fails = OSError("refused")
    watched.write(Event("b"))
    assert watched.resent == []
    watched.is_ok, watched.fails = None, None
    watched.write(Scalar("y"))
    assert watched.resent == []


def test_an_event_that_says_nothing_is_not_sent_again(watched: Watched) -> None:
    """As one that is an upload alone; one that has its task keeps it."""
    watched.is_ok = False
    empty, full = Scalar("x"), Scalar("y", _task="another")
    empty.get_api_event = lambda: None  # type: ignore[method-assign]
    watched.write(empty, full)
    assert watched.resent == [{"variant": "y"}]
    watched.resent.clear()
    watched.write(empty)
    assert watched.resent == []


def test_what_is_under_way_at_the_end_has_failed(watched: Watched, tmp_path: Path) -> None:
    """ClearML goes on with it, so its file stays; events that it has not sent are passed on."""
    file = tmp_path / "sample.png"
    file.write_text("a sample")
    watched.reporter._report(Sample("b", _local_image_path=str(file), _delete_after_upload=True))
    watched.reporter._report(Scalar("x"))
    failed_uploads.unwatch("t1")
    assert [(failed.cause, failed.path) for failed in watched.kept] == [
        ("the time for closing ran out", file)
    ]
    assert file.exists()
    assert [event["variant"] for event in watched.resent] == ["x"]
    failed_uploads.unwatch("t1")
    assert len(watched.kept) == 1


def test_what_was_written_is_not_under_way(watched: Watched) -> None:
    watched.write(Scalar("x"), Event("a"))
    failed_uploads.unwatch("t1")
    assert (watched.kept, watched.resent) == ([], [])


def test_giving_up_does_not_wait_at_the_exit(watched: Watched) -> None:
    """Also of a task that has no reporter yet."""
    watched.reporter._report(Scalar("x"))
    reporter = SimpleNamespace(_report_service="a thread")
    failed_uploads.give_up("t1", SimpleNamespace(_Task__reporter=reporter))
    assert (reporter._report_service, len(watched.resent)) == (None, 1)
    failed_uploads.give_up("t1", object())


@pytest.mark.parametrize("method", ["keep", "done", "resent"])
def test_an_error_of_one_s_own_does_not_stop_clearml_s_thread(
    watched: Watched, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    """It is logged."""

    def broken(*_: Any) -> bool:
        raise RuntimeError("the disk is full")

    calls: dict[str, Any] = {
        "keep": watched.keep,
        "done": watched.done.append,
        "resent": watched.resent.extend,
    }
    failed_uploads.watch("t1", *{**calls, method: broken}.values())
    watched.fails = OSError("refused") if method == "keep" else None
    watched.is_ok = method != "resent"
    watched.write(Event())
    assert "the disk is full" in caplog.text
    failed_uploads.watch("t1", *calls.values())


# --- models ------------------------------------------------------------------------------------


def upload(watched: Watched, *, background: bool = True, **fields: Any) -> Any:
    """Has ClearML upload a model, in the background or not."""
    task = {"task_id": "t1", **fields}
    watched.model.update_and_upload("net.pt", **task)
    return watched.model._upload_model("/tmp/net.pt", background, "best.pt", None)


def test_a_model_is_uploaded_in_the_background(watched: Watched) -> None:
    """Its end is told, with what ClearML has been given for it; the caller's own callback is called, too."""
    assert upload(watched) == "the address"
    file, background, name, ended = watched.started
    assert (file, background, name) == ("/tmp/net.pt", True, "best.pt")
    ended(None)
    assert (watched.done, watched.kept) == ([], [])
    ended("there")
    assert watched.done == ["http://127.0.0.1:1/files/digits/best.pt"]
    told: list[Any] = []
    watched.model._upload_storage_suffix = None  # type: ignore[assignment]
    watched.model._upload_model("/tmp/net.pt", True, None, told.append)
    watched.started[3](None)
    watched.started[3]("there")
    assert (watched.done[1:], told) == (["http://127.0.0.1:1/files/./net.pt"], [None, "there"])


def test_a_model_that_could_not_be_uploaded(watched: Watched) -> None:
    """Is told with its file and its id; while the server is away the next one is not tried."""
    upload(watched)
    watched.started[3](False)
    (failed,) = watched.kept
    assert (failed.task, failed.what, failed.model) == ("t1", "the model 'best.pt'", "m1")
    assert (failed.url, failed.path) == ("http://127.0.0.1:1/files/digits/best.pt", Path("/tmp/net.pt"))
    assert failed.cause == "ClearML's log has the reason"
    watched.started = ()
    told: list[Any] = []
    address = watched.model._upload_model("/tmp/net.pt", True, None, told.append)
    assert (address, told, watched.started) == ("http://127.0.0.1:1/files/digits/net.pt", [False], ())
    assert watched.kept[1].cause == "nothing listens there"


def test_a_model_whose_upload_does_not_begin_is_not_under_way(watched: Watched) -> None:
    """The caller meets the error."""
    watched.fails = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        upload(watched)
    failed_uploads.unwatch("t1")
    assert watched.kept == []


def test_a_model_that_is_under_way_at_the_end_has_failed(watched: Watched) -> None:
    upload(watched)
    failed_uploads.unwatch("t1")
    assert [failed.cause for failed in watched.kept] == ["the time for closing ran out"]


@pytest.mark.parametrize(
    "fields", [{"task_id": None}, {"task_id": "not watched"}, {"background": False}, {"nowhere": True}]
)
def test_other_models_are_clearml_s_own(watched: Watched, fields: dict[str, Any]) -> None:
    """Of other tasks, those that are waited for, and those that are uploaded nowhere."""
    if fields.pop("nowhere", False):
        watched.model.upload_storage_uri = ""
    assert upload(watched, **fields) == "the address"
    assert watched.started[3] is None
    failed_uploads.unwatch("t1")
    assert watched.kept == []


def test_what_an_update_is_given_goes_to_clearml(watched: Watched) -> None:
    assert watched.model.update_and_upload("net.pt", task_id="t1", name="n") == (
        ("net.pt",),
        {"task_id": "t1", "name": "n"},
    )


# --- uploads that could not begin --------------------------------------------------------------


def test_a_file_whose_upload_could_not_begin(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once, and told at the end, unless a later upload of it has begun."""
    one, two = (FailedUpload("t1", "the model", "", "away", Path(name)) for name in ("one.pt", "two.pt"))
    for failed in (one, one, two):
        failed_uploads.could_not_begin(failed)
    assert caplog.text.count("one.pt is not stored with its task: away") == 1
    failed_uploads.begun("t1", Path("two.pt"))
    failed_uploads.begun("t1", Path("three.pt"))
    failed_uploads.unwatch("t1")
    assert watched.kept == [one]
    failed_uploads.could_not_begin(two)  # of a task that has ended
    failed_uploads.begun("t1", Path("two.pt"))
    assert "two.pt" not in caplog.text.partition("two.pt")[2]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://h/a", ("h", 443)),
        ("http://h/a", ("h", 80)),
        ("http://h:81/a", ("h", 81)),
        ("ftp://h/a", None),
        ("http:///a", None),
    ],
)
def test_where_a_connection_is_tried(
    monkeypatch: pytest.MonkeyPatch, url: str, address: tuple[str, int] | None
) -> None:
    """At the port of the scheme."""
    asked: list[Any] = []

    def connect(to: tuple[str, int], timeout: float) -> Any:
        asked.append((to, timeout))
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", connect)
    assert connection_problem(url) is None
    assert asked == ([] if address is None else [(address, limits.API_CONNECT_TIMEOUT_S)])


def test_the_error_of_a_file_is_short() -> None:
    """Long names and addresses are cut."""
    error = FileNotUploaded.of("n" * 70, "u" * 130, OSError("refused by the server"))
    assert f"cannot upload {'n' * 60} to {'u' * 120}: refused by the server; check" in str(error)
