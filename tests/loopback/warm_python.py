"""Runs scripts in fresh processes that have ClearML's dependencies imported already.

Importing ClearML takes 1.3 s of processor time, and 1 s of that goes to pandas, numpy, requests and others.
One process imports those once and forks a child for each script. ClearML itself is imported by the script,
because it reads its configuration and the environment while it is imported.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PRELOADED = (
    "attrs",
    "click",
    "furl",
    "jsonschema",
    "jwt",
    "multiprocessing",
    "numpy",
    "pandas",
    "pathlib2",
    "PIL.Image",
    "psutil",
    "pyparsing",
    "requests",
    "tqdm",
    "urllib3",
    "yaml",
)
LONGEST_REQUEST = 1024 * 1024
_server: tuple[int, subprocess.Popen[bytes], socket.socket] | None = None
_in_use = threading.Lock()


def run(
    script: Path, *, env: Mapping[str, str], cwd: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Runs a script as `python script` with this environment alone, and waits for the end of its output.

    The server takes one script at a time; if another thread uses it, the script gets a new process.

    Raises:
        subprocess.TimeoutExpired: It took too long, and was killed.
    """
    if not _in_use.acquire(blocking=False):
        command = [sys.executable, str(script)]
        return subprocess.run(
            command, env=env, cwd=cwd, timeout=timeout, capture_output=True, text=True, check=False
        )
    try:
        return _run_forked(script, env, cwd, timeout)
    finally:
        _in_use.release()


def _run_forked(
    script: Path, env: Mapping[str, str], cwd: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    process, channel = _started()
    pipes = [os.pipe(), os.pipe()]
    stdin = os.open(os.devnull, os.O_RDONLY)
    request = json.dumps({"script": str(script), "env": dict(env), "cwd": str(cwd)}).encode()
    socket.send_fds(channel, [request], [stdin, *(write for _, write in pipes)])
    os.close(stdin)
    output: list[bytes] = [b"", b""]

    def read(stream: int) -> None:
        os.close(pipes[stream][1])
        with open(pipes[stream][0], "rb") as file:
            output[stream] = file.read()

    readers = [threading.Thread(target=read, args=(stream,), daemon=True) for stream in (0, 1)]
    for reader in readers:
        reader.start()
    channel.settimeout(timeout)
    try:
        code = int(channel.recv(16))
    except TimeoutError:
        _kill(process, channel, os.getpid())
        raise subprocess.TimeoutExpired(["python", str(script)], timeout) from None
    finally:
        for reader in readers:
            reader.join(timeout)
    out, err = (text.decode() for text in output)
    return subprocess.CompletedProcess(["python", str(script)], code, out, err)


def _started() -> tuple[subprocess.Popen[bytes], socket.socket]:
    global _server
    if _server is not None and _server[0] == os.getpid() and _server[1].poll() is None:
        return _server[1:]
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLEARML_")}
    process = subprocess.Popen(
        [sys.executable, __file__, str(there.fileno())],
        pass_fds=[there.fileno()],
        stdin=subprocess.DEVNULL,
        env={**kept, "OPENBLAS_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
        start_new_session=True,
    )
    there.close()
    _server = os.getpid(), process, here
    atexit.register(_kill, process, here, os.getpid())
    return process, here


def _kill(process: subprocess.Popen[bytes], channel: socket.socket, owner: int) -> None:
    """Kills the server with all of its children, unless this process is a forked child of its owner."""
    if os.getpid() != owner:
        return
    channel.close()
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# --- in the server -------------------------------------------------------------------------------


def serve(channel: socket.socket) -> dict[str, Any] | None:
    """Forks a child for each script. Returns in the child, with what it is to run; None when nobody asks."""
    while True:
        data, fds, _, _ = socket.recv_fds(channel, LONGEST_REQUEST, 3)
        if not data:
            return None
        child = os.fork()
        if not child:
            channel.close()
            for stream, fd in enumerate(fds):
                os.dup2(fd, stream)
                os.close(fd)
            # The server's own objects know what its streams were: a file, that is, one that can seek.
            sys.stdin = open(0, closefd=False)  # noqa: SIM115
            sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
            request: dict[str, Any] = json.loads(data)
            return request
        for fd in fds:
            os.close(fd)
        channel.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def execute(script: str, env: Mapping[str, str], cwd: str) -> None:
    """Runs a script in this process as if Python had been started with it."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[:0] = [str(Path(script).parent), *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = [script]
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__=script, __builtins__=__builtins__)
    sys.modules["__main__"] = module
    exec(compile(Path(script).read_bytes(), script, "exec"), module.__dict__)


if __name__ == "__main__":
    del sys.path[0]  # this folder
    for _name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(_name)
    asked = serve(socket.socket(fileno=int(sys.argv[1])))
    if asked is not None:
        execute(**asked)
