"""A server that is away: told soon and in one line, and the disk is looked at instead."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._cli.error_text import server_name
from clearml_taskgroup._cli.find_run import NoAnswer, connect
from clearml_taskgroup._model.backoff import Backoff
from tests.loopback import LoopbackServer
from tests.support.cli import as_json, as_json_error, command, told
from tests.support.runs import NAME, PROJECT, Place

GROUP = f"{PROJECT}/{NAME}"
REFUSES = "http://127.0.0.1:9"


def make() -> TaskGroup:
    """Makes an offline run of one task."""
    with Place().group() as group:
        group.task({"C": 1}).report({"loss": 1.0}, 1)
    return group


@pytest.fixture
def away(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that refuses connections; nobody waits for it to come back."""
    monkeypatch.setenv("CLEARML_API_HOST", REFUSES)
    monkeypatch.setattr(Backoff, "next_pause", lambda _: pytest.fail("it was waited for"))


@pytest.mark.usefixtures("away")
def test_the_disk_stands_in() -> None:
    """What is on this disk is shown, the exit code is 0, and one line on stderr says why."""
    group = make()
    for arguments in (("list",), ("show", GROUP), ("show", group.run[:8]), ("best", GROUP, "loss")):
        result = command(*arguments)
        assert (result.exit_code, group.run[:12] in result.stdout) == (0, arguments[0] != "best")
        assert result.stderr == (
            f"the ClearML server {REFUSES} does not answer (no connection to it: nothing listens there); "
            "showing what is on this disk\n"
        )
        assert "file://" in result.stdout or arguments == ("list",)
        json.loads(command(*arguments, "--json").stdout)


@pytest.mark.usefixtures("away")
def test_nothing_on_disk_either() -> None:
    """Where there is nothing on this disk, the exit code is 1, and as JSON an empty list or the error."""
    assert (command("list").exit_code, command("list").stdout) == (1, "no runs\n")
    result = command("list", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, [])
    assert "was not found" in as_json_error("show", GROUP, code=1)


@pytest.mark.usefixtures("away")
def test_the_server_alone() -> None:
    """With --online nothing stands in; --offline asks nobody."""
    group = make()
    for arguments in (("list",), ("show", GROUP), ("best", group.run, "loss"), ("report", GROUP)):
        line = told(*arguments, "--online", code=1)
        assert "does not answer" in line
        assert "--offline" in line
        assert "HTTPConnectionPool" not in line
    assert as_json("list", "--offline")[0]["run"] == group.run


def test_a_server_that_comes_back(loopback: LoopbackServer) -> None:
    """A connection that breaks, or a proxy's answer, once is no reason to do without the server."""
    with Place(loopback).group() as group:
        group.task({"C": 1})
    for fault in ({"kind": "drop_before"}, {"status": 503}):
        loopback.faults.fail_next("auth.login", **fault)
        assert [run["run"] for run in as_json("list", "--online")] == [group.run]


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_how_it_is_away(loopback: LoopbackServer, silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What keeps a server from answering is told in a few words; one that answers has no trouble."""
    assert connect().host == loopback.environment()["CLEARML_API_HOST"]
    away = {
        REFUSES: "no connection to it: nothing listens there",
        "http://nowhere.invalid": "no connection to it: its name is not known",
        "nonsense": "it is not a valid address",
        silent: "it did not answer in time",
    }
    for host, told_as in away.items():
        monkeypatch.setenv("CLEARML_API_HOST", host)
        with pytest.raises(NoAnswer) as caught:
            connect(0.0)
        assert caught.value.message == f"the ClearML server {host} does not answer ({told_as})"
    monkeypatch.setenv("CLEARML_API_HOST", loopback.environment()["CLEARML_API_HOST"])
    loopback.faults.fail_next("auth.login", status=502, times=9)
    with pytest.raises(NoAnswer, match="does not answer as a ClearML API server does: 502"):
        connect(0.0)


def test_wrong_credentials(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that refuses the credentials is no server that is away: one line, and exit code 1."""
    make()
    monkeypatch.setenv("CLEARML_API_ACCESS_KEY", "another")
    line = told("list", code=1)
    assert "refuses the credentials" in line
    assert "CLEARML_API_SECRET_KEY" in line
    assert line.endswith("--offline")
    line = told("upload", GROUP, code=1)
    assert "refuses the credentials" in line
    assert line.endswith(f"run again: clearml-taskgroup upload '{GROUP}'")


def test_no_server_is_configured() -> None:
    """Without any configuration this disk is looked at without a word; what needs a server says so."""
    make()
    assert command("list").stderr == command("show", GROUP).stderr == ""
    for arguments in (("list", "--online"), ("upload", GROUP)):
        assert "no ClearML server is configured; run clearml-init" in told(*arguments, code=1)


def test_clearml_is_set_offline(loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ClearML is set offline, what needs a server says what to do about it."""
    make()
    monkeypatch.setenv("CLEARML_OFFLINE_MODE", "1")
    monkeypatch.setattr(sdk, "task_mode", lambda: "offline")
    assert "unset CLEARML_OFFLINE_MODE" in told("list", "--online", code=1)
    assert "env -u CLEARML_OFFLINE_MODE clearml-taskgroup upload" in told("upload", GROUP, code=1)
    assert command("show", GROUP).stderr == ""


def test_the_address_is_read_without_asking(loopback: LoopbackServer) -> None:
    """The configured server is named without a login."""
    host = loopback.environment()["CLEARML_API_HOST"]
    assert server_name() == f"the ClearML server {host}"
    assert loopback.calls == []
