"""HTTP over loopback, and the places where it can be made to break."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .dispatch import Answer, Headers
from .faults import Fault, FaultKind, Faults

Done = Callable[[str, str, Headers, bytes, str], Answer]
"""Does a request: method, target, headers, body, and the fault for the record."""

Undone = Callable[[str, Headers, bytes, int, str], None]
"""Records a request that was never looked at, with its status and fault."""

Named = Callable[[str, str], str]
"""The name that faults know a request by, from its method and target."""

PROXY_PAGE = "<html><head><title>{0} {1}</title></head><body>{0} {1}</body></html>"


class LoopbackHTTPServer(ThreadingHTTPServer):
    """A server on a free port of 127.0.0.1, which can be stopped without leftovers."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, name: Named, do: Done, undone: Undone, faults: Faults) -> None:
        self.name_of = name
        self.do = do
        self.undone = undone
        self.faults = faults
        self._open: set[socket.socket] = set()
        self._workers: set[threading.Thread] = set()
        self._guard = threading.Lock()
        super().__init__(("127.0.0.1", 0), LoopbackHandler)
        self._thread = threading.Thread(
            target=self.serve_forever,
            kwargs={"poll_interval": 0.02},
            name=f"loopback-{self.server_address[1]}",
            daemon=True,
        )

    @property
    def url(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Close every connection and wait for every thread."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._guard:
            connections = list(self._open)
            workers = list(self._workers)
        for connection in connections:
            hang_up(connection)
        for worker in workers:
            worker.join()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Turn a new connection away during an outage."""
        return not self.faults.outage

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection to its end."""
        with self._guard:
            self._open.add(request)
            self._workers.add(threading.current_thread())
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._guard:
                self._open.discard(request)
                self._workers.discard(threading.current_thread())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up, and everything of our own errors."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def hang_up(connection: socket.socket) -> None:
    """End a connection at once, in both directions."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The client was faster.
        return


class LoopbackHandler(BaseHTTPRequestHandler):
    """One connection, request after request."""

    server: LoopbackHTTPServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = 1 << 16

    def do_GET(self) -> None:
        """Serve any method; which ones mean something is for the callback to say."""
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        headers = {key.lower(): value for key, value in self.headers.items()}
        server = self.server
        fault = server.faults.pick(server.name_of(self.command, self.path))
        if server.faults.outage:
            fault = Fault(FaultKind.DROP_BEFORE)
        if fault is not None and not self._survives(fault, headers, body):
            return
        told = str(fault) if fault else ""
        answer = server.do(self.command, self.path, headers, body, told)
        if fault is not None:
            if fault.kind is FaultKind.DROP_AFTER:
                self._hang_up()
                return
            if fault.kind is FaultKind.STATUS_AFTER:
                answer = proxy_answer(fault.status)
            if fault.kind is FaultKind.DELAY:
                time.sleep(fault.delay)
        cut = fault is not None and fault.kind is FaultKind.TRUNCATE
        self._send(answer, cut=cut)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815

    def _survives(self, fault: Fault, headers: Headers, body: bytes) -> bool:
        """Whether a request is looked at in spite of its fault."""
        undone = self.server.undone
        if fault.kind is FaultKind.DROP_BEFORE:
            undone(self.path, headers, body, 0, str(fault))
            self._hang_up()
            return False
        if fault.kind is FaultKind.STATUS:
            undone(self.path, headers, body, fault.status, str(fault))
            self._send(proxy_answer(fault.status))
            return False
        if fault.kind is FaultKind.EXPIRED:
            # Any forged token gets the very answer that an expired one gets.
            forged = {**headers, "authorization": "Bearer expired.by.fault"}
            answer = self.server.do(self.command, self.path, forged, body, str(fault))
            self._send(answer)
            return False
        return True

    def _hang_up(self) -> None:
        self.close_connection = True
        hang_up(self.connection)

    def _send(self, answer: Answer, *, cut: bool = False) -> None:
        if self.server.faults.latency:
            time.sleep(self.server.faults.latency)
        try:
            phrase = HTTPStatus(answer.status).phrase
        except ValueError:
            phrase = "Bandwidth Limit Exceeded"
        head = (
            f"HTTP/1.1 {answer.status} {phrase}\r\n"
            f"Content-Type: {answer.content_type}\r\n"
            f"Content-Length: {len(answer.body)}\r\n"
            "Server: loopback\r\n"
            "\r\n"
        ).encode("latin-1")
        body = b"" if self.command == "HEAD" else answer.body
        if cut:
            self.wfile.write(head + body[: len(body) // 2])
            self._hang_up()
            return
        # One write, so that an answer is one packet where it fits.
        self.wfile.write(head + body)

    def log_message(self, *args: Any) -> None:
        """Keep standard error for tests."""


def proxy_answer(status: int) -> Answer:
    """What a proxy in front of the server says when the server cannot be reached."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Bandwidth Limit Exceeded"
    return Answer(status, PROXY_PAGE.format(status, phrase).encode(), "text/html")
