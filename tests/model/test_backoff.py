"""The pauses between repeated attempts."""

from __future__ import annotations

import random

import pytest

from clearml_taskgroup._model.backoff import Backoff


def test_pauses_double_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: 1.0)
    backoff = Backoff(0.5, 3.0)
    assert [backoff.next_pause() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert [backoff.next_pause() for _ in range(2)] == [0.5, 1.0]
    slower = Backoff(1.0, 10.0, factor=1.5)
    assert [slower.next_pause() for _ in range(3)] == [1.0, 1.5, 2.25]


def test_pauses_vary_by_half() -> None:
    pauses = [Backoff(2.0, 10.0).next_pause() for _ in range(200)]
    assert all(1.0 <= pause <= 3.0 for pause in pauses)
    assert max(pauses) - min(pauses) > 1.0
