"""The devices of `map(devices=…)`: what each worker's `CUDA_VISIBLE_DEVICES` is."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any

import attrs

from .._model.arguments import iterator_of
from .._text import counted
from ..errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VARIABLE = "CUDA_VISIBLE_DEVICES"
_UUID_PREFIXES = ("GPU-", "MIG-")
_EXPECTED = "a list of indices or UUIDs of CUDA devices, ['0', '1']"
_starting = threading.Lock()


@attrs.frozen
class Device:
    """One entry of `devices`.

    Attributes:
        name: The entry: an index into the devices of this process, or a UUID.
        visible: The value of `CUDA_VISIBLE_DEVICES` for its workers.
    """

    name: str
    visible: str


def checked_devices(devices: Any) -> tuple[str, ...]:
    """Checks that devices are a list of indices and UUIDs.

    Raises:
        ArgumentError: They are something else.
    """
    if isinstance(devices, str):
        parts = [part.strip() for part in devices.split(",")]
        raise ArgumentError("devices", devices, f"a list, {parts!r}")
    listed = iterator_of(devices)
    names = () if listed is None else tuple(_name(device, devices) for device in listed)
    if not names:
        raise ArgumentError("devices", devices, _EXPECTED)
    return names


def _name(device: Any, devices: Any) -> str:
    if type(device) is int and device >= 0:
        return str(device)
    text = device.strip() if isinstance(device, str) else ""
    if text.isascii() and text.isdecimal():
        return str(int(text))
    if not text.startswith(_UUID_PREFIXES) or "," in text:
        raise ArgumentError("devices", devices, _EXPECTED)
    return text


def find_devices(names: Sequence[str]) -> list[Device]:
    """Finds devices among those that this process sees, as its own `CUDA_VISIBLE_DEVICES` says.

    Without that variable, an index is the machine's.

    Raises:
        ArgumentError: This process does not see so many.
    """
    own = os.environ.get(VARIABLE)
    return [Device(name, name if own is None else _visible(name, own, names)) for name in names]


def _visible(name: str, own: str, names: Sequence[str]) -> str:
    if not name.isdecimal():
        return name
    seen = _seen(own)
    if int(name) >= len(seen):
        indices = f"indices from 0 to {len(seen) - 1}" if seen else "none, or UUIDs"
        what = f"{VARIABLE} of this process is {own!r}: it sees {counted(len(seen), 'device')}"
        raise ArgumentError("devices", list(names), f"{indices}, because {what}")
    return seen[int(name)]


def _seen(own: str) -> list[str]:
    """Lists the devices that a process sees; CUDA ignores what comes after an invalid entry."""
    seen: list[str] = []
    for entry in (part.strip() for part in own.split(",")):
        if not (entry.isascii() and entry.isdecimal()) and not entry.startswith(_UUID_PREFIXES):
            break
        seen.append(entry)
    return seen


@contextlib.contextmanager
def visible_here(device: Device | None) -> Iterator[None]:
    """Sets the variable in this process while a worker starts that takes over its environment."""
    if device is None:
        yield
        return
    with _starting:
        own = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = device.visible
        try:
            yield
        finally:
            if own is None:
                del os.environ[VARIABLE]
            else:
                os.environ[VARIABLE] = own
