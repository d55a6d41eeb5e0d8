"""Which run is meant, and where it is looked for; a server that is away is told soon and in one line."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import click
import pytest

from clearml_taskgroup import TaskGroup
from clearml_taskgroup._clearml import sdk
from clearml_taskgroup._cli import find_run
from clearml_taskgroup._cli.error_text import server_name
from clearml_taskgroup._cli.find_run import (
    NoAnswer,
    choose_place,
    connect,
    is_below,
    list_runs,
    run_on_disk,
    run_with_id,
    suggestions,
)
from clearml_taskgroup._cli.find_run import Place as Where
from clearml_taskgroup._cli.output import Failure
from clearml_taskgroup._model.backoff import Backoff
from clearml_taskgroup._results.run_list import Listed
from clearml_taskgroup.errors import NoSuchRunError
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


# --- where to look -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [None, "online", "offline"])
@pytest.mark.parametrize("fallback", [True, False])
def test_the_place_with_a_server(loopback: LoopbackServer, mode: Any, fallback: bool) -> None:
    """It is asked unless --offline is given; without an option, this disk is looked at as well."""
    place = choose_place(mode, disk_fallback=fallback)
    assert (place.mode, place.connection is None, place.is_fallback) == (mode, mode == "offline", False)


def test_the_place_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_place(None) == choose_place("offline") == Where("offline")
    with pytest.raises(Failure, match="no ClearML server is configured"):
        choose_place("online")
    monkeypatch.setattr(sdk, "task_mode", lambda: "offline")
    with pytest.raises(Failure, match="unset CLEARML_OFFLINE_MODE"):
        choose_place("online")


@pytest.mark.usefixtures("loopback")
def test_the_place_on_another_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only rank 0 of a distributed job asks the server, unless --online says so."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert choose_place(None) == Where("offline")
    assert choose_place("online").connection is not None


def test_the_place_of_a_server_that_is_away(away: None, capsys: pytest.CaptureFixture[str]) -> None:
    """This disk takes its place, with a line on stderr, if the command can do without."""
    assert choose_place(None) == Where("offline", is_fallback=True)
    assert capsys.readouterr().err.endswith("; showing what is on this disk\n")
    for mode, fallback in (("online", True), (None, False)):
        with pytest.raises(Failure, match="use this disk only with --offline"):
            choose_place(mode, disk_fallback=fallback)  # type: ignore[arg-type]
    assert capsys.readouterr().err == ""


def test_runs_of_server_and_disk_are_one_list(loopback: LoopbackServer) -> None:
    """The latest first; of a run that is on both, the run log and the time of this disk."""
    with Place(loopback).group(name="one") as online:
        online.task({"C": 1})
    offline = make()
    connection = choose_place("online").connection
    both, server, disk = (
        list_runs(place) for place in (Where(None, connection), Where("online", connection), Where("offline"))
    )
    assert [run.run for run in both] == [run.run for run in disk] == [offline.run, online.run]
    assert [run.run for run in server] == [online.run]
    assert (both[1].record, both[1].started) == (online.record_path, disk[1].started)


# --- which run -----------------------------------------------------------------------------------


def listed(run: str = "abcdef", number: int = 1, started: float | None = None, **more: Any) -> Listed:
    facts = {"project": "p", "group": "g", "group_id": "0" * 12} | more
    return Listed(run=run, number=number, mode="offline", started=started, **facts)


def test_the_beginning_of_an_id() -> None:
    runs = [listed("abcdef1"), listed("abcdef2"), listed("fedcba")]
    assert run_with_id("fed", runs) is runs[2]
    with pytest.raises(Failure, match="'abcdef' may mean abcdef1, abcdef2; give more digits"):
        run_with_id("abcdef", runs)
    with pytest.raises(NoSuchRunError, match=r"abcdef1 \(p/g, run 1\)"):
        run_with_id("012345", runs)


@pytest.mark.parametrize(
    ("project", "wanted", "is_in"),
    [("a", "a", True), ("a/b", "a", True), ("a/b", "/a/", True), ("ab", "a", False), ("a", "a/b", False)],
)
def test_projects_below(project: str, wanted: str, is_in: bool) -> None:
    assert is_below(project, wanted) is is_in


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("digits", [], ""),
        ("digits", ["wine", "iris"], "; there is: wine, iris"),
        ("digit", ["wine", "digits"], "; did you mean digits?"),
        ("/Digit/", ["wine", "my digits"], "; did you mean 'my digits'?"),
        ("other/digits", ["wine/digits"], "; did you mean wine/digits?"),
        ("abcd", ["abcx", "abcde", "abcdf", "abcdg"], "; did you mean abcde or abcdf or abcdg?"),
        ("aaaaaaaxxx", ["aaaaaaayyy"], "; there is: aaaaaaayyy"),  # similar by 0.7
    ],
)
def test_suggestions(text: str, names: list[str], expected: str) -> None:
    """At most three, the most similar first, as a whole or by the last part; else what there is."""
    assert suggestions(text, names) == expected


@pytest.mark.parametrize(
    ("text", "known", "value"),
    [
        ("1", [1], 1),
        ("1", [1.0], 1.0),
        ("1e0", [1], 1),
        ("1", ["1"], "1"),
        ("1.0", ["1"], "1.0"),
        ("1", [True], "1"),
        ("TRUE", [True], True),
        ("none", [None], None),
        ("None", ["None"], "None"),
        ("none", ["None"], "none"),
        ("b", ["a", "b"], "b"),
        ("2", [1, 2.0, 2], 2.0),
        ("x", [1], "x"),
        ("x", [], "x"),
        ("nan", [float("nan")], float("nan")),
    ],
)
def test_values_by_their_text(text: str, known: list[Any], value: Any) -> None:
    """The value that has this text, as a person writes it; else the text."""
    found = find_run._parse_value(text, known)
    assert (repr(found), type(found)) == (repr(value), type(value))


def test_a_run_on_disk_by_number_id_and_parent() -> None:
    first, second = make(), make()
    found = {
        text: run_on_disk(*given).run
        for text, given in {
            "latest": (GROUP,),
            "group id": (first.id,),
            "with slashes": (f"/{GROUP}/",),
            "number": (GROUP, "1"),
            "digits": (GROUP, first.run[:6]),
            "id": (first.run,),
            "path": (str(first.record_path),),
            "parent": (str(first.parent_id),),
        }.items()
    }
    assert {text for text, run in found.items() if run == second.run} == {
        "latest",
        "group id",
        "with slashes",
    }
    assert all(run in (first.run, second.run) for run in found.values())
    with pytest.raises(NoSuchRunError, match="run 3 of the group"):
        run_on_disk(GROUP, "3")
    with pytest.raises(Failure, match=f"the group a/b was not found; .*there is: {GROUP}"):
        run_on_disk("a/b")
    with pytest.raises(click.UsageError, match="'the project' is a project, with the groups: 'the project/"):
        run_on_disk(PROJECT)
    with pytest.raises(click.UsageError, match="'abc' is none of them"):
        run_on_disk("abc")
