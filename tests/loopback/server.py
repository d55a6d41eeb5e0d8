"""The server as a test sees it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from datetime import datetime
from types import TracebackType

from . import lifecycle
from .auth import Credentials
from .dispatch import EXPIRED, Answer, Dispatcher, Headers, worker_of
from .faults import Faults
from .files import Files, StoredFile
from .queueing import make_queue
from .recorder import Call, Recorder
from .schemas import Violation
from .state import Doc, State, TaskEvents
from .transport import LoopbackHTTPServer

METHODS = {"POST": "files.upload", "PUT": "files.upload", "DELETE": "files.delete"}


class LoopbackServer:
    """A ClearML API server and files server in this process, on 127.0.0.1.

    Use it as a context manager. Everything may be called from any thread.

    Attributes:
        faults: What goes wrong on the wire.
        credentials: The key and secret, and the life of tokens.
        state: The documents; take ``state.lock`` to change them.
        files: What was uploaded.
    """

    def __init__(self) -> None:
        self.faults = Faults()
        self.credentials = Credentials()
        self.state = State()
        self.files = Files()
        self._recorder = Recorder()
        self._dispatcher = Dispatcher(self.state, self.credentials, self._recorder)
        self._api = LoopbackHTTPServer(
            self._api_name, self._do_api, self._undone, self.faults, self._recorder
        )
        self._files = LoopbackHTTPServer(
            self._file_name, self._do_file, self._undone, self.faults, self._recorder
        )
        make_queue(self.state, "default", system_tags=["default"])

    def __enter__(self) -> LoopbackServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to answer."""
        self._api.start()
        self._files.start()

    def stop(self) -> None:
        """Close every connection and wait for every thread."""
        self._api.stop()
        self._files.stop()

    def _api_name(self, method: str, target: str) -> str:
        return self._dispatcher.name(target)

    def _do_api(self, method: str, target: str, headers: Headers, body: bytes, fault: str) -> Answer:
        return self._dispatcher.answer(target, headers, body, fault)

    def _undone(self, name: str, headers: Headers, body: bytes, status: int, fault: str) -> None:
        started = time.monotonic()
        worker = worker_of(headers)
        self._recorder.add(Call(name, "", status, 0, started, 0.0, len(body), worker=worker, fault=fault))

    def _file_name(self, method: str, target: str) -> str:
        return METHODS.get(method, "files.download")

    def _do_file(self, method: str, target: str, headers: Headers, body: bytes, fault: str) -> Answer:
        started = time.monotonic()
        answer = self.files.answer(method, target, headers, body)
        if fault == EXPIRED:
            answer = Answer(401, b"Unauthorized", "text/plain")
        name = self._file_name(method, target)
        duration = time.monotonic() - started
        self._recorder.add(Call(name, "", answer.status, 0, started, duration, len(body), fault=fault))
        return answer

    @property
    def url(self) -> str:
        """Where the API is."""
        return self._api.url

    @property
    def files_url(self) -> str:
        """Where files are."""
        return self._files.url

    @property
    def access_key(self) -> str:
        """The user's key."""
        return self.credentials.access_key

    @property
    def secret_key(self) -> str:
        """The user's secret."""
        return self.credentials.secret_key

    def environment(self) -> dict[str, str]:
        """Variables that make a ClearML process talk to this server."""
        return {
            "CLEARML_API_HOST": self.url,
            # There is no web page; links to it need only look like links.
            "CLEARML_WEB_HOST": self.files_url,
            "CLEARML_FILES_HOST": self.files_url,
            "CLEARML_API_ACCESS_KEY": self.access_key,
            "CLEARML_API_SECRET_KEY": self.secret_key,
            "CLEARML_SUPPRESS_UPDATE_MESSAGE": "1",
            # A proxy of the machine must not come between a test and its server.
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    @property
    def calls(self) -> list[Call]:
        """Every request since the last `reset_counts`, in the order of their answers."""
        return self._recorder.calls

    @property
    def violations(self) -> list[Violation]:
        """Every request that the shipped schemas do not allow; should stay empty."""
        return self._recorder.violations

    @property
    def unknown_endpoints(self) -> list[str]:
        """Names of calls that were asked for and that this server does not have."""
        return self._recorder.unknown

    @property
    def crashes(self) -> list[str]:
        """Traces of errors of this server's own; should stay empty."""
        return self._recorder.crashes

    def peak_in_flight(self, endpoint: str) -> int:
        """How many requests of a call were under way at once, at most."""
        return self._recorder.peak(endpoint)

    def wait_until(self, condition: Callable[[], bool], timeout: float = 30.0) -> bool:
        """Wait for a condition, looked at again as requests arrive and are answered.

        Args:
            condition: Something about this server.
            timeout: Seconds to wait at most.

        Returns:
            Whether the condition came true.
        """
        return self._recorder.wait_until(condition, timeout)

    def count(self, endpoint: str = "", *, status: int | None = None) -> int:
        """How many requests there were.

        Args:
            endpoint: Only of this call; "" for all.
            status: Only those answered with this status.
        """
        return sum(
            (not endpoint or call.endpoint == endpoint) and (status is None or call.status == status)
            for call in self.calls
        )

    def reset_counts(self) -> None:
        """Forget the calls and peaks; violations and unknown endpoints are kept."""
        self._recorder.reset()

    @property
    def tasks(self) -> dict[str, Doc]:
        """The tasks by id, oldest first: copies, in the form that the API gives."""
        with self.state.lock:
            return copy.deepcopy(self.state.tasks)

    def task(self, task_id: str) -> Doc:
        """One task: a copy.

        Raises:
            KeyError: When there is none.
        """
        with self.state.lock:
            return copy.deepcopy(self.state.tasks[task_id])

    def tasks_named(self, name: str) -> list[Doc]:
        """The tasks with exactly this name, oldest first: copies."""
        with self.state.lock:
            found = [t for t in self.state.tasks.values() if t["name"] == name]
            return copy.deepcopy(found)

    @property
    def projects(self) -> dict[str, Doc]:
        """The projects by id, oldest first: copies."""
        with self.state.lock:
            return copy.deepcopy(self.state.projects)

    @property
    def models(self) -> dict[str, Doc]:
        """The models by id, oldest first: copies."""
        with self.state.lock:
            return copy.deepcopy(self.state.models)

    @property
    def queues(self) -> dict[str, Doc]:
        """The queues by id, oldest first: copies."""
        with self.state.lock:
            return copy.deepcopy(self.state.queues)

    @property
    def stored_files(self) -> dict[str, StoredFile]:
        """The uploaded files by path."""
        return dict(self.files.stored)

    def _events(self, task_id: str) -> TaskEvents:
        return self.state.events.get(task_id) or TaskEvents()

    def scalars(self, task_id: str) -> dict[tuple[str, str], list[tuple[int, float]]]:
        """A task's points by title and series, sorted by iteration."""
        curves: dict[tuple[str, str], list[tuple[int, float]]] = {}
        with self.state.lock:
            for event in self._events(task_id).scalars.values():
                pair = (event["metric"], event["variant"])
                point = (event.get("iter", 0), event["value"])
                curves.setdefault(pair, []).append(point)
        return {pair: sorted(points) for pair, points in curves.items()}

    def logs(self, task_id: str) -> list[str]:
        """A task's console lines, in the order of arrival."""
        with self.state.lock:
            return [event.get("msg", "") for event in self._events(task_id).logs]

    def plots(self, task_id: str) -> list[Doc]:
        """A task's plot events: copies."""
        with self.state.lock:
            return copy.deepcopy(list(self._events(task_id).plots.values()))

    def images(self, task_id: str) -> list[Doc]:
        """A task's debug sample events: copies."""
        with self.state.lock:
            return copy.deepcopy(list(self._events(task_id).images.values()))

    def last_metrics(self, task_id: str) -> dict[tuple[str, str], Doc]:
        """A task's ``last_metrics`` by title and series instead of by hashes."""
        found = self.task(task_id)["last_metrics"].values()
        return {
            (entry["metric"], entry["variant"]): entry for variants in found for entry in variants.values()
        }

    def run_watchdog(self, now: datetime | None = None) -> list[str]:
        """Stop running tasks that were silent for 7,200 seconds, as of ``now``.

        Returns:
            The ids of the tasks that were stopped.
        """
        with self.state.lock:
            return lifecycle.run_watchdog(self.state, now or self.state.now())

    def expire_tokens(self) -> None:
        """Make every token that was given so far an expired one."""
        self.credentials.expire_tokens()
