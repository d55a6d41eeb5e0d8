"""The server as a whole: start and stop, many clients at once, the command line."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .client import Client, scalar
from .server import LoopbackServer

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]


def test_nothing_is_left_behind() -> None:
    """After a stop, the threads are gone and open connections are closed."""
    before = set(threading.enumerate())
    with LoopbackServer() as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
        connection.connect()
        with Client(server) as api:
            api.call("server.info")
        url = server.url
    assert set(threading.enumerate()) <= before
    connection.close()
    port = int(url.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass


def test_two_servers_do_not_know_each_other(api: Client, server: LoopbackServer) -> None:
    """Each server has ports, documents and records of its own."""
    with LoopbackServer() as other:
        assert len({other.url, other.files_url, server.url, server.files_url}) == 4
        api.project("mine")
        assert other.projects == {}
        assert other.calls == []


def test_a_connection_is_kept_open(api: Client, server: LoopbackServer) -> None:
    """Request after request goes over the same connection."""
    api.call("server.info")
    first = api._connection.sock
    api.reply("tasks.get_by_id")
    api.reply("no.such_call")
    assert api._connection.sock is first is not None


def test_documents_are_handed_out_as_copies(api: Client, server: LoopbackServer) -> None:
    """Whoever changes what a test sees changes nothing."""
    task = api.task("task", tags=["a"])
    server.tasks[task]["tags"].append("b")
    server.task(task)["name"] = "other"
    assert server.task(task)["tags"] == ["a"]
    assert api.find() == ["task"]


def test_many_clients_at_once(server: LoopbackServer) -> None:
    """Concurrent clients lose nothing, and a project's name stays unique."""

    def work(number: int) -> list[int]:
        with Client(server) as api:
            created = api.reply("projects.create", name="shared/project").status
            task = api.task(f"task {number}")
            api.move(task, "started")
            for step in range(10):
                api.batch("events.add_batch", [scalar(task, float(step), step * 10 + i) for i in range(10)])
            api.move(task, "completed")
            return [created]

    with ThreadPoolExecutor(16) as pool:
        created = [status for answer in pool.map(work, range(16)) for status in answer]
    assert sorted(created) == [200] + [400] * 15
    assert len(server.tasks) == 16
    assert {task["status"] for task in server.tasks.values()} == {"completed"}
    assert all(len(server.scalars(task)["loss", "train"]) == 100 for task in server.tasks)
    assert all(server.last_metrics(task)["loss", "train"]["count"] == 100 for task in server.tasks)
    assert server.count() == 16 * 14
    assert server.violations == []


def test_requests_of_one_title_for_many_tasks_do_not_mix(server: LoopbackServer) -> None:
    """Two clients that write the same task at once both count."""

    def work(series: str) -> None:
        with Client(server) as api:
            for step in range(50):
                api.batch("events.add_batch", [scalar(task, 1.0, step, "loss", series)])

    with Client(server) as api:
        task = api.task()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, ["a", "a", "b", "b"]))
    counts = {pair[1]: entry["count"] for pair, entry in server.last_metrics(task).items()}
    assert counts == {"a": 100, "b": 100}


def test_requests_under_way_are_counted(server: LoopbackServer) -> None:
    """The peak tells whether a client waits for an answer before it asks again."""

    def ask() -> None:
        with Client(server) as api:
            api.call("server.info")

    with ThreadPoolExecutor(4) as pool:
        with server.state.lock:
            asked = [pool.submit(ask) for _ in range(4)]
            assert server.wait_until(lambda: server.peak_in_flight("server.info") == 4)
        for future in asked:
            future.result()
    ask()
    assert server.peak_in_flight("server.info") == 4


@pytest.mark.parametrize("way", ["module", "path"])
def test_the_command_line_serves_until_sigterm(way: str, tmp_path: Path) -> None:
    """It prints the environment, as JSON or as exports; a copy of the folder works on its own."""
    if way == "module":
        how, cwd = ["-m", "tests.loopback", "--json"], ROOT
    else:
        how, cwd = [str(shutil.copytree(FOLDER, tmp_path / "a_copy"))], tmp_path
    with subprocess.Popen([sys.executable, *how], stdout=subprocess.PIPE, text=True, cwd=cwd) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if way == "module":
            url = json.loads(line)["CLEARML_API_HOST"]
        else:
            assert line.startswith("export CLEARML_API_HOST=")
            url = line.strip().partition("=")[2]
        connection = http.client.HTTPConnection(url.removeprefix("http://"))
        connection.request("GET", "/debug.ping")
        assert connection.getresponse().status == 200
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
