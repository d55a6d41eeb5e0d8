"""The devices of `map(devices=…)`: which lists are accepted, and what each worker sees."""

from __future__ import annotations

import os
from typing import Any

import pytest

from clearml_taskgroup._map.devices import Device, checked_devices, find_devices, visible_here
from clearml_taskgroup.errors import ArgumentError

UUID = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["0", "1"], ("0", "1")),
        (range(3), ("0", "1", "2")),
        ((0, " 1 ", UUID, "MIG-3"), ("0", "1", UUID, "MIG-3")),
        (["00", "0"], ("0", "0")),
    ],
)
def test_indices_and_uuids(given: Any, names: tuple[str, ...]) -> None:
    """Numbers and texts are the same."""
    assert checked_devices(given) == names


@pytest.mark.parametrize(
    "wrong",
    ["0", "", 2, [], [""], ["-1"], [-1], [True], [None], [0.5], ["cuda:0"], ["GPU-1,2"], ["0,1"], ["²"], {}],
)
def test_what_is_no_list_of_devices(wrong: Any) -> None:
    """Each is refused, and the error says what a list of devices looks like."""
    with pytest.raises(ArgumentError, match=r"devices=.*expected a list") as raised:
        checked_devices(wrong)
    assert len(str(raised.value)) <= 500


def test_a_bare_text_is_answered_by_the_list_that_was_meant() -> None:
    with pytest.raises(ArgumentError, match=r"a list, \['0', '1'\]"):
        checked_devices("0, 1")


@pytest.mark.parametrize(
    ("own", "names", "visible"),
    [
        (None, ["0", "7", UUID], ["0", "7", UUID]),
        ("4,5", ["0", "1"], ["4", "5"]),
        (" 4 , 5", ["1", "1"], ["5", "5"]),
        (f"{UUID},MIG-3", ["1", "0"], ["MIG-3", UUID]),
        ("4,5", ["GPU-1"], ["GPU-1"]),
        ("4,-1,5", ["0"], ["4"]),
    ],
)
def test_an_index_counts_what_this_process_sees(
    own: str | None, names: list[str], visible: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an index into the variable, if that is set; a UUID stays as it is."""
    _set(monkeypatch, own)
    assert find_devices(names) == [Device(name, one) for name, one in zip(names, visible, strict=True)]


@pytest.mark.parametrize(
    ("own", "name", "said"),
    [
        ("4,5", "2", "indices from 0 to 1, because CUDA_VISIBLE_DEVICES of this process is '4,5': it sees 2"),
        ("7", "1", "indices from 0 to 0"),
        ("", "0", "none, or UUIDs, because CUDA_VISIBLE_DEVICES of this process is '': it sees 0 devices"),
        ("-1", "0", "it sees 0 devices"),
        ("NoDevFiles", "0", "it sees 0 devices"),
        ("4,-1,5", "1", "it sees 1 device"),
    ],
)
def test_an_index_beyond_them_is_refused(
    own: str, name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what there is. CUDA does not read on after an invalid entry."""
    _set(monkeypatch, own)
    with pytest.raises(ArgumentError) as raised:
        find_devices(["0", name] if own not in ("", "-1", "NoDevFiles") else [name])
    assert said in str(raised.value)


@pytest.mark.parametrize("own", [None, "4,5"])
def test_the_variable_is_set_while_a_worker_starts(own: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Afterwards it is as before, also if the start fails."""
    _set(monkeypatch, own)
    with pytest.raises(OSError, match="no more"), visible_here(Device("1", "5")):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
        raise OSError("no more processes")
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == own


def _set(monkeypatch: pytest.MonkeyPatch, own: str | None) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if own is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", own)
