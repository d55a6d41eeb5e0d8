"""Waiting for pipes: what can be read is found, however often it is waited for."""

from __future__ import annotations

import multiprocessing
import selectors
import sys

import pytest

from clearml_taskgroup._map.handles import Handles


@pytest.fixture(params=["as here", "as on Windows", "without poll"], autouse=True)
def platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way to wait."""
    if request.param == "as on Windows":
        monkeypatch.setattr(sys, "platform", "win32")
    elif request.param == "without poll":
        monkeypatch.delattr(selectors, "PollSelector", raising=False)


def test_what_can_be_read_is_found_until_it_is_removed() -> None:
    handles = Handles[str]()
    (one, one_end), (two, two_end) = multiprocessing.Pipe(), multiprocessing.Pipe()
    with one, one_end, two, two_end:
        handles.add(one, "one")
        handles.add(two, "two")
        assert handles.wait(-1.0) == []
        two_end.send_bytes(b"a message")
        assert handles.wait(60.0) == handles.wait(60.0) == ["two"]
        one_end.close()  # the end of a pipe can be read, too
        assert sorted(handles.wait(60.0)) == ["one", "two"]
        assert two.recv_bytes() == b"a message"
        handles.remove(one)
        assert handles.wait(0.0) == []


def test_a_process_that_has_ended_is_found() -> None:
    handles = Handles[str]()
    pipe, end = multiprocessing.Pipe()
    with pipe, end:
        handles.add(pipe, "pipe")
        process = multiprocessing.get_context("spawn").Process(target=print)
        process.start()
        handles.add(process.sentinel, "process")
        assert handles.wait(60.0) == ["process"]
        process.join()
        handles.remove(process.sentinel)
        process.close()
