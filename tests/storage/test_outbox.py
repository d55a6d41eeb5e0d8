"""The outbox: events on disk until a server has counted them."""

from __future__ import annotations

import errno
import json
import os
import stat
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from clearml_taskgroup._clearml.events import console_event
from clearml_taskgroup._model import limits
from clearml_taskgroup._storage.append_file import shared_lock
from clearml_taskgroup._storage.outbox import Outbox, parse_lines, refused_path, sent_path, to_lines
from clearml_taskgroup.errors import StoreError

Write = Callable[[int, bytes], int]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a run's outbox lies."""
    return tmp_path / "group" / "run-0001.outbox"


def event(task: str, step: int) -> str:
    """One scalar as the reporter writes it."""
    return (
        f'{{"type":"training_stats_scalar","task":"{task}","metric":"loss","variant":"val",'
        f'"value":{step / 2!r},"iter":{step},"timestamp":1}}'
    )


def drained(outbox: Outbox) -> list[tuple[str, int]]:
    """Takes everything out; gives tasks and iterations in the order of delivery."""
    found = []
    while not outbox.is_empty:
        batch, length = outbox.next()
        found += [(task, json.loads(line)["iter"]) for task, lines in batch.items() for line in lines]
        outbox.delivered(length)
    return found


def crashed(outbox: Outbox) -> Outbox:
    """Opens the file again as the next process does after a SIGKILL of this one."""
    os.close(outbox._file)
    os.close(outbox._sent_file)
    return Outbox.open(outbox.path)


def test_what_is_handed_over_is_on_disk_and_comes_back_in_order(path: Path) -> None:
    """Events of several tasks are in the file at once, and a new process finds each in order."""
    outbox = Outbox.open(path)
    outbox.append({"a": [event("a", 0), event("a", 1)], "b": [event("b", 0)]})
    outbox.append({"a": [event("a", 2)]})
    assert path.read_bytes().count(b"\n") == 4
    again = crashed(outbox)
    assert again.waiting() == {"a": 3, "b": 1}
    batch, _ = again.next()
    assert {task: [json.loads(line)["iter"] for line in lines] for task, lines in batch.items()} == {
        "a": [0, 1, 2],
        "b": [0],
    }


def test_what_was_delivered_does_not_come_back(path: Path) -> None:
    """After a crash only that is sent which the server had not counted."""
    outbox = Outbox.open(path)
    outbox.append({"a": [event("a", 0)]})
    _, length = outbox.next()
    outbox.append({"a": [event("a", 1)]})
    outbox.delivered(length)
    assert list(outbox.batches()) == [{"a": [event("a", 0), event("a", 1)]}]  # both are still in the file
    assert drained(crashed(outbox)) == [("a", 1)]


def test_nothing_is_left_when_all_was_delivered(path: Path) -> None:
    """Closing removes both files if nothing waits, and keeps both if something does."""
    outbox = Outbox.open(path)
    outbox.append({"a": [event("a", 0)]})
    outbox.close()
    assert sorted(found.name for found in path.parent.iterdir()) == ["run-0001.outbox", "run-0001.sent"]
    outbox = Outbox.open(path)
    assert drained(outbox) == [("a", 0)]
    outbox.close()
    outbox.close()
    assert list(path.parent.iterdir()) == []


def test_a_file_that_a_worker_has_open_may_stay(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows deletes no open file; the next run of that name knows that all of it was delivered."""
    outbox = Outbox.open(path)
    outbox.append({"a": [event("a", 0)]})
    assert drained(outbox) == [("a", 0)]

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "it is open in a process", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        outbox.close()
    again = Outbox.open(path)
    assert again.is_empty
    again.close()
    assert not path.exists()


def test_files_are_the_owners_alone(path: Path) -> None:
    """Nobody else can read the files, whatever the umask."""
    before = os.umask(0)
    try:
        outbox = Outbox.open(path)
    finally:
        os.umask(before)
    outbox.append({"a": [event("a", 0)]})
    modes = [stat.S_IMODE(found.stat().st_mode) for found in (path, sent_path(path))]
    outbox.close()
    assert modes == [0o600, 0o600]


@pytest.mark.parametrize("cut", [1, 2, 30, 60, 110])
def test_a_line_cut_short_is_skipped(path: Path, cut: int) -> None:
    """Of a line that a crash cut anywhere nothing is sent, and what comes after it is whole."""
    outbox = Outbox.open(path)
    outbox.append({"a": [event("a", 0), event("a", 1)]})
    os.ftruncate(outbox._file, outbox.size - cut)
    again = crashed(outbox)
    again.append({"a": [event("a", 2)]})
    assert again.waiting() == {"a": 2}
    assert drained(again) == [("a", 0), ("a", 2)]


def test_a_console_line_cut_at_a_brace_is_skipped(path: Path) -> None:
    """A torn line whose end looks like the end of an event is no event."""
    outbox = Outbox.open(path)
    line = console_event("a", "{'loss': 1}" + "x" * 20)
    os.write(outbox._file, line[: line.rindex("}x") + 1].encode())
    again = crashed(outbox)
    again.append({"a": [event("a", 0)]})
    assert drained(again) == [("a", 0)]


def test_a_child_killed_as_it_writes_holds_up_nobody(path: Path) -> None:
    """A torn end in the living file is passed over, by reading and by the next write."""
    outbox = Outbox.open(path)
    outbox.after_fork()
    outbox.append({"a": [event("a", 0)]})
    os.write(outbox._file, event("child", 0)[:50].encode())
    assert drained(outbox) == [("a", 0)]
    os.write(outbox._file, event("child", 1)[:50].encode())
    outbox.append({"a": [event("a", 1)]})
    assert drained(outbox) == [("a", 1)]


def test_a_mark_beyond_the_file_passes_over_nothing(path: Path) -> None:
    """A mark that was left behind by a removed file does not hide what is written later."""
    outbox = Outbox.open(path)
    sent_path(path).write_text(f"{100:<20}")
    again = crashed(outbox)
    again.append({"a": [event("a", 0), event("a", 1)]})
    assert drained(crashed(again)) == [("a", 0), ("a", 1)]


def test_a_mark_that_cannot_be_read_sends_all_again(path: Path) -> None:
    """A mark that holds no number loses nothing."""
    outbox = Outbox.open(path)
    outbox.append({"a": [event("a", 0)]})
    sent_path(path).write_bytes(b"\0" * 20)
    assert drained(crashed(outbox)) == [("a", 0)]


def test_the_file_starts_anew_when_much_was_delivered(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past its bound a file that is all delivered is emptied, and goes on in order."""
    monkeypatch.setattr(limits, "OUTBOX_RECYCLE_BYTES", 2**16)
    monkeypatch.setattr(limits, "SENDER_CHUNK_BYTES", 2**14)
    outbox = Outbox.open(path)
    lines = [event("a", step) for step in range(100)]
    most = 0
    while outbox.total_sent < 2.5 * limits.OUTBOX_RECYCLE_BYTES:
        outbox.append({"a": lines})
        most = max(most, outbox.size)
        assert drained(outbox) == [("a", step) for step in range(100)]
    assert limits.OUTBOX_RECYCLE_BYTES <= most < limits.OUTBOX_RECYCLE_BYTES + 2 * limits.SENDER_CHUNK_BYTES
    assert outbox.size < limits.OUTBOX_RECYCLE_BYTES
    outbox.append({"a": [event("a", 7)]})
    assert outbox.total_written > outbox.total_sent > 2 * limits.OUTBOX_RECYCLE_BYTES
    assert drained(crashed(outbox)) == [("a", 7)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_file_is_not_emptied_while_a_forked_child_writes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a child appends while its parent would empty the file is kept; afterwards the file starts anew."""
    monkeypatch.setattr(limits, "OUTBOX_RECYCLE_BYTES", 100)
    outbox = Outbox.open(path)
    outbox.append({"a": [event("a", 0)]})
    writes, may_end = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        outbox.after_fork()
        with shared_lock(outbox._file):
            os.write(writes[1], b".")
            os.read(may_end[0], 1)
            os.write(outbox._file, f"{event('child', 0)}\n".encode())
        os._exit(0)
    os.read(writes[0], 1)
    assert drained(outbox) == [("a", 0)]
    assert outbox.size > 100
    os.write(may_end[1], b".")
    os.waitpid(child, 0)
    assert drained(outbox) == [("child", 0)]
    assert outbox.size == 0
    for end in (*writes, *may_end):
        os.close(end)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_many_writers_and_a_file_that_starts_anew_lose_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three children append while their parent delivers and empties the file again and again."""
    monkeypatch.setattr(limits, "OUTBOX_RECYCLE_BYTES", 1000)
    outbox = Outbox.open(path)
    children = []
    for number in range(3):
        child = os.fork()
        if not child:
            outbox.after_fork()
            for step in range(500):
                outbox.append({f"c{number}": [event(f"c{number}", step)]})
            os._exit(0)
        children.append(child)
    found: list[tuple[str, int]] = []
    while children:
        found += drained(outbox)
        children = [child for child in children if os.waitpid(child, os.WNOHANG) == (0, 0)]
    found += drained(outbox)
    for number in range(3):
        assert [step for name, step in found if name == f"c{number}"] == list(range(500))
    assert outbox.total_sent > 10 * limits.OUTBOX_RECYCLE_BYTES
    assert outbox.size < 10 * limits.OUTBOX_RECYCLE_BYTES


@pytest.mark.slow
def test_what_waits_is_read_in_bounded_memory(path: Path) -> None:
    """Reading and counting what waits holds a few chunks of it, however much it is."""
    outbox = Outbox.open(path)
    for start in range(0, 200_000, 10_000):
        outbox.append({"a": [event("a", step) for step in range(start, start + 10_000)]})
    written = outbox.size
    tracemalloc.start()
    assert outbox.waiting() == {"a": 200_000}
    expected = 0
    while not outbox.is_empty:
        for line in (data := outbox.read()).splitlines():
            assert f'"iter":{expected},' in line.decode()
            expected += 1
        outbox.delivered(len(data))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert expected == 200_000
    assert peak < 7 * limits.SENDER_CHUNK_BYTES < 0.7 * written


def test_a_line_longer_than_a_chunk_arrives(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One long console text is read whole."""
    monkeypatch.setattr(limits, "SENDER_CHUNK_BYTES", 100)
    outbox = Outbox.open(path)
    text = console_event("a", "x" * 1000)
    outbox.append({"a": [text]})
    batch, length = outbox.next()
    assert batch == {"a": [text]}
    assert length == outbox.size


def test_events_are_lines_by_task_and_back() -> None:
    """A line without a task, or that does not look like an event, is none."""
    batch = {"a": [event("a", 0), event("a", 1)], "b": [event("b", 0)]}
    data = to_lines(batch)
    assert data == "".join(f"{line}\n" for lines in batch.values() for line in lines).encode()
    assert parse_lines(data) == batch
    odd = ['{"no":"event"}', event("a", 2)[:-1], event("a", 3)[1:], "", event("a", 4) + "#"]
    assert parse_lines("\n".join([*odd, event("a", 5)]).encode()) == {"a": [event("a", 5)]}
    assert parse_lines(b"") == {}
    assert to_lines({}) == b""


def test_the_files_beside_an_outbox(path: Path) -> None:
    assert sent_path(path).name == "run-0001.sent"
    assert refused_path(path).name == "run-0001.refused"


def test_what_waits_is_counted_from_an_offset_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many chunks it is in."""
    outbox = Outbox.open(path)
    lines = [event("a", step) for step in range(4)]
    outbox.append({"a": lines[:2], "b": [event("b", 0)]})
    outbox.append({"a": lines[2:]})
    assert outbox.waiting() == {"a": 4, "b": 1}
    one = len(lines[0]) + 1
    assert outbox.waiting(one) == {"a": 3, "b": 1}
    outbox.delivered(one)
    assert outbox.waiting(one) == {"a": 2, "b": 1}
    monkeypatch.setattr(limits, "SENDER_CHUNK_BYTES", 2 * one)
    assert [*outbox.batches()] == [
        {"a": lines[:2]},
        {"b": [event("b", 0)], "a": lines[2:3]},
        {"a": lines[3:]},
    ]
    assert outbox.next() == ({"a": lines[1:2], "b": [event("b", 0)]}, 2 * one)
    monkeypatch.setattr(limits, "SENDER_CHUNK_BYTES", one)
    assert outbox.next() == ({"a": lines[1:2]}, one)


def test_what_was_written_and_what_was_sent_goes_on_where_the_file_starts_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts anew once all is delivered and the bound is reached, not before."""
    monkeypatch.setattr(limits, "OUTBOX_RECYCLE_BYTES", length := len(event("a", 0)) + 1)
    outbox = Outbox.open(path)
    outbox.append({"a": [event("a", 0)]})
    outbox.append({"a": [event("a", 1)]})
    outbox.delivered(length)
    assert (outbox.size, outbox.sent, outbox.total_sent, outbox.total_written) == (
        2 * length,
        length,
        length,
        2 * length,
    )
    assert sent_path(path).read_text().strip() == str(length)
    outbox.delivered(length)
    assert (outbox.size, outbox.sent, outbox.total_sent, outbox.total_written) == (
        0,
        0,
        2 * length,
        2 * length,
    )
    assert (sent_path(path).read_text().strip(), outbox.is_empty) == ("0", True)


def test_a_file_that_others_write_to_is_emptied_under_a_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_RECYCLE_BYTES", 1)
    outbox = Outbox.open(path)
    outbox.share()
    outbox.append({"a": [event("a", 0)]})
    other = os.open(path, os.O_RDWR)
    with shared_lock(other):
        outbox.delivered(outbox.size)
        assert (outbox.size > 0, outbox.is_empty) == (True, True)
    outbox.delivered(0)
    assert outbox.size == 0
    os.close(other)


def test_an_outbox_is_gone_once_it_is_closed_or_removed(path: Path) -> None:
    outbox, other = Outbox.open(path), Outbox.open(path)
    assert not outbox.is_gone
    other.close()
    assert (outbox.is_gone, other.is_gone, other.size, other.is_empty) == (True, True, 0, True)


def test_a_closed_outbox_that_was_not_empty_is_as_large_as_what_was_sent(path: Path) -> None:
    outbox = Outbox.open(path)
    outbox.append({"a": [event("a", 0), event("a", 1)]})
    outbox.delivered(5)
    outbox.close()
    assert (outbox.size, [*outbox.batches()]) == (5, [])


# --- disks that refuse -----------------------------------------------------------------------------


def test_a_full_disk_is_a_named_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that the disk refuses names the file and the cause, and leaves the file as it was."""
    outbox = Outbox.open(path)
    outbox.append({"a": [event("a", 0)]})

    def full(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StoreError, match=r"run-0001\.outbox.*No space left.*free some space"):
            outbox.append({"a": [event("a", 1)]})
    outbox.append({"a": [event("a", 2)]})
    assert drained(outbox) == [("a", 0), ("a", 2)]


def test_a_disk_that_fills_in_the_middle_takes_all_or_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a batch that fits in part nothing stays, so that handing it over again doubles nothing."""
    outbox = Outbox.open(path)
    outbox.append({"a": [event("a", 0)]})
    write: Write = os.write
    batch = {"a": [event("a", 1), event("a", 2)]}
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2 + 20]))
        with pytest.raises(StoreError, match=r"only \d+ of \d+ bytes could be written"):
            outbox.append(batch)
    outbox.append(batch)
    assert drained(outbox) == [("a", 0), ("a", 1), ("a", 2)]


def test_a_mark_that_the_disk_refuses_stops_no_delivery(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk delivery goes on; after a crash some events are sent again."""
    outbox = Outbox.open(path)
    outbox.append({"a": [event("a", 0)]})

    def full(file: int, data: bytes, at: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        assert drained(outbox) == [("a", 0)]
    assert outbox.is_empty
    assert drained(crashed(outbox)) == [("a", 0)]


def test_a_folder_that_cannot_be_made_is_a_named_error(tmp_path: Path) -> None:
    """Where a file is in the place of the folder, opening names the place."""
    (tmp_path / "group").write_text("a file")
    with pytest.raises(StoreError, match=r"group.run-0001\.outbox"):
        Outbox.open(tmp_path / "group" / "run-0001.outbox")


def test_a_mark_that_cannot_be_opened_leaves_no_file_open(path: Path) -> None:
    """Where only the second file cannot be opened, the first is closed again."""
    sent_path(path).mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StoreError):
        Outbox.open(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_late_answer_after_the_end_does_no_harm(path: Path) -> None:
    """What the server counts after the file was closed is neither noted nor an error."""
    outbox = Outbox.open(path)
    outbox.append({"a": [event("a", 0)]})
    _, length = outbox.next()
    outbox.close()
    outbox.delivered(length)
    assert outbox.waiting() == {}
    assert drained(Outbox.open(path)) == [("a", 0)]
