"""HTTP over loopback, and the places where it can be made to break."""

from __future__ import annotations

import selectors
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .dispatch import Answer, Headers
from .faults import Fault, FaultKind, Faults
from .recorder import Recorder

Done = Callable[[str, str, Headers, bytes, str], Answer]
"""Does a request: method, target, headers, body, and the fault for the record."""

Undone = Callable[[str, Headers, bytes, int, str], None]
"""Records a request that was never looked at: name, headers, body, status, fault."""

Named = Callable[[str, str], str]
"""The name that faults know a request by, from its method and target."""

PROXY_PAGE = "<html><head><title>{0} {1}</title></head><body>{0} {1}</body></html>"


class LoopbackHTTPServer(ThreadingHTTPServer):
    """A server on a free port of 127.0.0.1, which can be stopped without leftovers."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, name_of: Named, do: Done, undone: Undone, faults: Faults, recorder: Recorder) -> None:
        self.name_of = name_of
        self.do = do
        self.undone = undone
        self.faults = faults
        self.recorder = recorder
        self._open: set[socket.socket] = set()
        self._workers: set[threading.Thread] = set()
        self._guard = threading.Lock()
        # A byte through this pair ends the loop at once, where polling would take its time.
        self._asleep, self._alarm = socket.socketpair()
        super().__init__(("127.0.0.1", 0), LoopbackHandler)
        self._thread = threading.Thread(
            target=self._accept, name=f"loopback-{self.server_address[1]}", daemon=True
        )

    @property
    def url(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            selector.register(self._asleep, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._asleep:
                        return
                    self.handle_request()

    def stop(self) -> None:
        """Close every connection and wait for every thread."""
        self._alarm.send(b"!")
        self._thread.join()
        self._alarm.close()
        self._asleep.close()
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

    def server_bind(self) -> None:
        """Bind without asking the name service who we are."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread, known to `stop` from the first moment on."""
        worker = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        with self._guard:
            self._open.add(request)
            self._workers.add(worker)
        worker.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection to its end."""
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
    _in_flight: str | None = None

    def do_GET(self) -> None:
        """Serve any method; which ones mean something is for the callback to say."""
        body = self._body()
        headers = {key.lower(): value for key, value in self.headers.items()}
        name = self.server.name_of(self.command, self.path)
        self.server.recorder.enter(name)
        self._in_flight = name
        try:
            self._serve(name, headers, body)
        finally:
            self._leave()

    def _leave(self) -> None:
        """Counts the request as answered: just before the client can know it, and send the next one."""
        if self._in_flight is not None:
            self.server.recorder.leave(self._in_flight)
            self._in_flight = None

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else b""
            if len(body) < length:  # the client died as it spoke; nobody acts on half a sentence
                raise ConnectionAbortedError(f"{len(body)} of {length} bytes came")
            return body
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _serve(self, name: str, headers: Headers, body: bytes) -> None:
        server = self.server
        fault = server.faults.pick(name, body)
        if server.faults.outage:
            fault = Fault(FaultKind.DROP_BEFORE)
        told = str(fault) if fault else ""
        if fault is not None and fault.kind is FaultKind.DROP_BEFORE:
            server.undone(name, headers, body, 0, told)
            self._hang_up()
            return
        if fault is not None and fault.kind is FaultKind.STATUS:
            server.undone(name, headers, body, fault.status, told)
            self._send(proxy_answer(fault.status))
            return
        if fault is not None and fault.kind is FaultKind.ANSWER:
            server.undone(name, headers, body, fault.status, told)
            self._send(Answer(fault.status, fault.body))
            return
        if fault is not None and fault.kind in (FaultKind.TRICKLE, FaultKind.ENDLESS):
            server.undone(name, headers, body, 200, told)
            self._send_for_ever(fault.kind is FaultKind.TRICKLE)
            return
        server.faults.wait(name)
        answer = server.do(self.command, self.path, headers, body, told)
        server.faults.wait(name)
        if fault is None:
            self._send(answer)
        elif fault.kind is FaultKind.DROP_AFTER:
            self._hang_up()
        elif fault.kind is FaultKind.STATUS_AFTER:
            self._send(proxy_answer(fault.status))
        elif fault.kind is FaultKind.TRUNCATE:
            self._send(answer, cut=True)
        else:
            time.sleep(fault.delay)
            self._send(answer)

    def _send_for_ever(self, slowly: bool) -> None:
        """Answers until the client or this server hangs up."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            self.wfile.write(b" " if slowly else b" " * 65536)
            if slowly:
                time.sleep(0.05)

    def _hang_up(self) -> None:
        self.close_connection = True
        self._leave()
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
        self._leave()
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
