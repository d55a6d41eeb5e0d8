"""Finds out what ClearML's own objects of a task could not upload or send.

ClearML logs a failure and forgets it: an artifact stays listed with an address where nothing is, a debug
sample is dropped, a file that ClearML made for the upload is deleted, and so are all events of a request
that the server, or a proxy before it, has refused.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from .._log import logger
from .._model import limits
from ..errors import ServerError
from ..errors._base import private_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Event = dict[str, Any]
AWAY_S = 60.0
"""How long a server that has failed counts as away, unless it takes connections again."""
_TASK = "taskgroup_task"
"""An attribute of ClearML's models: the id of the task that the model is an output of."""


@private_kind
class FileNotUploaded(ServerError):
    """A file could not be uploaded to the files server, or to another storage."""

    @classmethod
    def of(cls, name: str, url: str, error: Exception) -> FileNotUploaded:
        """Makes the error about one file, from what the storage raised."""
        advice = "check api.files_server in clearml.conf, and upload again: nothing was deleted here."
        return cls(f"cannot upload {name[:60]} to {url[:120]}: {reason_of(error)}; {advice}")


def reason_of(error: object) -> str:
    """Gives the reason of a failed upload in a few words; each storage has exceptions of its own."""
    text = " ".join(str(error).split()) or type(error).__name__
    if answered := re.match(r"Failed uploading object .*? \((\d{3})\): ", text):
        return f"the server answered {answered[1]}"
    for word, reason in _REASONS.items():
        if word in text.lower():
            return reason
    return text[:110]


_REASONS = {
    "connection refused": "nothing listens there",
    "timed out": "no answer in time",
    "name or service not known": "its name is not known",
    "'nonetype' object has no attribute": "ClearML cannot use that storage, and its log says why",
    "failed to resolve": "its name is not known",
}


@attrs.frozen
class FailedUpload:
    """A file that was not uploaded.

    Attributes:
        task: The ClearML task's id.
        what: What it is, for people.
        url: Where it should be; empty if its upload could not begin.
        cause: Why it is not there.
        path: The file; None if there is none, as for an image that was given as an array.
        content: The content if there is no file.
        event: The API event that refers to the file, and was not sent without it.
        model: The id of the ClearML model whose weights it is.
    """

    task: str
    what: str
    url: str
    cause: str
    path: Path | None = None
    content: bytes | None = None
    event: Mapping[str, Any] | None = None
    model: str = ""


@attrs.define(eq=False)
class _Upload:
    """An upload that has not ended.

    Attributes:
        describe: Makes the description, given the cause of a failure.
        temporary: A file that ClearML made for the upload and does not need afterwards.
    """

    describe: Callable[[str], FailedUpload]
    temporary: Path | None = None


@attrs.define(eq=False)
class _Watched:
    keep: Callable[[FailedUpload], bool]
    done: Callable[[str], None]
    resend: Callable[[list[Event]], None]
    under_way: dict[Any, _Upload] = attrs.field(factory=dict)
    waiting: dict[Any, None] = attrs.field(factory=dict)  # events that ClearML has not sent
    not_begun: dict[Path | None, FailedUpload] = attrs.field(factory=dict)  # by the file's path

    def end(self, upload: _Upload, url: str, cause: str) -> None:
        """Passes an upload's result on; raises nothing, because it runs in ClearML's threads."""
        try:
            if not cause:
                self.done(url)
            elif not self.keep(upload.describe(cause)):
                return
            if upload.temporary is not None:
                upload.temporary.unlink(missing_ok=True)
        except Exception as error:
            logger.warning(
                "the upload to %s failed (%s), and its file could not be kept: %s", url, cause, error
            )

    def send_again(self, task_id: str, events: Iterable[Any]) -> None:
        """Passes on events that ClearML will not send."""
        try:
            found = [api_event for event in events if (api_event := _api_event(event, task_id)) is not None]
            if found:
                self.resend(found)
        except Exception as error:
            logger.warning("values that ClearML's logger could not send are lost: %s", error)


_watched: dict[str, _Watched] = {}
_away: dict[str, float] = {}  # servers by host and port, and when their last upload failed


def watch(
    task_id: str,
    keep: Callable[[FailedUpload], bool],
    done: Callable[[str], None],
    resend: Callable[[list[Event]], None],
) -> None:
    """Watches what one task uploads and sends from now on.

    Args:
        task_id: The ClearML task's id.
        keep: Called for each failed upload; returns whether it has kept a copy of the file.
        done: Called with the address of each file that was uploaded.
        resend: Called with API events that were refused, or not sent in time.
    """
    _watched[task_id] = _Watched(keep, done, resend)


def unwatch(task_id: str) -> None:
    """Ends `watch`; what is still under way counts as failed."""
    watched = _watched.pop(task_id, None)
    if watched is not None:
        for upload in list(watched.under_way.values()):
            # ClearML goes on with it, so its temporary file stays.
            watched.end(attrs.evolve(upload, temporary=None), "", "the time for closing ran out")
        watched.send_again(task_id, list(watched.waiting))
        for failed in watched.not_begun.values():
            watched.keep(failed)


def could_not_begin(failed: FailedUpload) -> None:
    """Notes a file whose upload could not begin, and logs that once; `begun` takes it back."""
    watched = _watched.get(failed.task)
    if watched is not None and failed.path not in watched.not_begun:
        watched.not_begun[failed.path] = failed
        logger.warning("%s is not stored with its task: %s", failed.path, failed.cause)


def begun(task_id: str, path: Path) -> None:
    """Notes that the upload of a file that is written again and again has begun."""
    if (watched := _watched.get(task_id)) is not None:
        watched.not_begun.pop(path, None)


def give_up(task_id: str, task: Any) -> None:
    """Ends `watch`, and does not let ClearML wait at the interpreter's exit until everything was sent."""
    unwatch(task_id)
    reporter = getattr(task, "_Task__reporter", None)
    if reporter is not None:
        reporter._report_service = None


def hook(reporter_class: Any, metrics_class: Any, event_class: Any, model_class: Any) -> None:
    """Replaces the methods of ClearML's classes that start and end uploads; to be called once."""
    report, write = reporter_class._report, metrics_class._do_write_events
    update, upload = model_class.update_and_upload, model_class._upload_model

    def report_and_note(reporter: Any, event: Any) -> None:
        watched = _watched.get(reporter._metrics._task_id)
        if watched is not None and isinstance(event, event_class):
            watched.under_way[event] = _noted(reporter, event, is_sample=type(event) is not event_class)
        elif watched is not None:
            watched.waiting[event] = None
        report(reporter, event)

    def write_and_look(metrics: Any, events: list[Any], storage_uri: str | None = None) -> Any:
        watched = _watched.get(metrics._task_id)
        if watched is None:
            return write(metrics, events, storage_uri)
        given = list(events)  # ClearML removes those that it cannot use
        uploads = {event: watched.under_way[event] for event in events if event in watched.under_way}
        for event in uploads:
            if problem := _no_attempt(event, metrics, storage_uri):
                event.upload_exception = problem
                events.remove(event)
        result: Any = None
        try:
            result = write(metrics, events, storage_uri)
            return result
        finally:
            for event, ended in uploads.items():
                watched.under_way.pop(event, None)
                _end(watched, ended, _address(event, metrics, storage_uri)[1], event.upload_exception)
            for event in given:
                watched.waiting.pop(event, None)
            if result is not None and not result.ok():
                sent = [event for event in events if event.upload_exception is None]
                watched.send_again(metrics._task_id, sent)

    def update_and_note(model: Any, *args: Any, **fields: Any) -> Any:
        vars(model)[_TASK] = fields.get("task_id")
        return update(model, *args, **fields)

    def upload_and_look(
        model: Any,
        model_file: str,
        async_enable: bool = False,
        target_filename: str | None = None,
        cb: Callable[[Any], None] | None = None,
    ) -> Any:
        watched = _watched.get(vars(model).get(_TASK) or "")
        if watched is None or not async_enable or not model.upload_storage_uri:
            return upload(model, model_file, async_enable, target_filename, cb)
        path = Path(model_file)
        suffix = model._upload_storage_suffix or "."
        url = f"{model.upload_storage_uri}/{suffix}/{target_filename or path.name}"
        key = object()

        def ended(result: Any, problem: object = "ClearML's log has the reason") -> None:
            if result is not None:  # None: it begins
                watched.under_way.pop(key, None)
                _end(watched, noted, url, None if result else problem)
            if cb is not None:
                cb(result)

        def describe(cause: str) -> FailedUpload:
            what, task = f"the model {(target_filename or path.name)!r}", vars(model)[_TASK]
            return FailedUpload(task, what, url, cause, path=path, model=str(model.id))

        noted = watched.under_way[key] = _Upload(describe)
        if problem := _is_still_away(url):
            ended(False, problem)
            return url
        try:
            return upload(model, model_file, async_enable, target_filename, ended)
        except BaseException:  # the caller meets it
            watched.under_way.pop(key, None)
            raise

    reporter_class._report, metrics_class._do_write_events = report_and_note, write_and_look
    model_class.update_and_upload, model_class._upload_model = update_and_note, upload_and_look


def _noted(reporter: Any, event: Any, *, is_sample: bool) -> _Upload:
    """Notes what an event is to upload: ClearML closes a stream, and deletes a file of its own."""
    given, metrics = event._image_data, reporter._metrics
    path = Path(event._local_image_path) if given is None and event._local_image_path else None
    stream = given.getvalue() if hasattr(given, "getvalue") else None
    temporary = path if event._delete_after_upload else None
    event._delete_after_upload = False

    def describe(cause: str) -> FailedUpload:
        key, url = _address(event, metrics, reporter._storage_uri)
        event.update(task=metrics._task_id, key=key, url=url)
        content = stream.encode() if isinstance(stream, str) else stream
        if given is not None and content is None:
            content = event.get_file_entry().stream.read()
        sent = event.get_api_event() if is_sample else None
        name = f"{event.metric}/{event.variant}"
        what = f"the debug sample {name!r} of iteration {event.get_iteration()}"
        if not is_sample:
            is_artifact = event.metric == "artifacts"
            what = f"the artifact {event.variant!r}" if is_artifact else f"the image of the plot {name!r}"
        fields = None if sent is None else sent.to_dict()
        there = path if path is not None and path.is_file() else None
        return FailedUpload(metrics._task_id, what, url, cause, there, content, fields)

    return _Upload(describe, temporary)


def _api_event(event: Any, task_id: str) -> Event | None:
    """Gives an event as it is sent; None for one that is an upload alone."""
    if event._task is None:  # ClearML fills it in as it sends the event
        event.update(task=task_id)
    api_event = event.get_api_event()
    return None if api_event is None else dict(api_event.to_dict())


def _address(event: Any, metrics: Any, storage_uri: str | None) -> tuple[str, str]:
    storage = storage_uri or metrics._storage_uri
    key, url = event.get_target_full_upload_uri(storage, metrics.storage_key_prefix, quote_uri=False)
    return str(key), str(url)


def _no_attempt(event: Any, metrics: Any, storage_uri: str | None) -> Exception | None:
    """Gives a reason not to try an upload.

    ClearML tries for a minute, one file after the other. While a server is away, one of them is enough.
    """
    path = event._local_image_path
    if event._image_data is None and path and not Path(path).is_file():
        return FileNotFoundError(f"{path} is not there any more")
    return _is_still_away(_address(event, metrics, storage_uri)[1])


def _is_still_away(url: str) -> Exception | None:
    if time.monotonic() - _away.get(_server(url), float("-inf")) > AWAY_S:
        return None
    return connection_problem(url)


def _end(watched: _Watched, upload: _Upload, url: str, problem: object) -> None:
    if problem and not isinstance(problem, FileNotFoundError):
        _away[_server(url)] = time.monotonic()
    watched.end(upload, url, reason_of(problem) if problem else "")


def _server(url: str) -> str:
    return urlsplit(url).netloc


def connection_problem(url: str) -> OSError | None:
    """Gives the reason why no connection to the server of an address can be made; None for other storages."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.hostname is None or _has_proxy(url):
        return None
    address = (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
    try:
        with contextlib.closing(socket.create_connection(address, timeout=limits.API_CONNECT_TIMEOUT_S)):
            return None
    except OSError as error:
        return error


def _has_proxy(url: str) -> bool:
    from requests.utils import get_environ_proxies, select_proxy

    return select_proxy(url, get_environ_proxies(url)) is not None
