"""Classes and values of the kinds that parameters have."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import attrs
import numpy as np

from clearml_taskgroup._model.identity import flatten, task_key


class Permission(enum.IntFlag):
    """Flags, whose combinations may have no name."""

    READ = 1
    WRITE = 2


class Colour(enum.Enum):
    """An enum."""

    RED = 1


@dataclasses.dataclass
class Adam:
    """A dataclass."""

    lr: float
    tags: frozenset[str] = frozenset()
    repr: Any = None


class WithMore(Adam):
    """Derived from a dataclass, with an attribute that is no field."""

    def __init__(self, lr: float, more: int) -> None:
        super().__init__(lr)
        self.more = more


class Spoken:
    """Known by its `repr` only."""

    def __repr__(self) -> str:
        return "Spoken()"


class Broken:
    """Raises whatever it is asked."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    @property
    def dtype(self) -> Any:
        raise RuntimeError("no dtype")


def relu(x: float) -> float:
    """A function."""
    return max(x, 0.0)


class Estimator:
    """Follows scikit-learn's convention."""

    def __init__(self, alpha: float = 1.0, missing: float = float("nan"), steps: Any = ()) -> None:
        self.alpha, self.missing, self.steps = alpha, missing, steps

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"alpha": self.alpha, "missing": self.missing, "steps": self.steps}

    def set_params(self, **params: Any) -> None:
        vars(self).update(params)


@attrs.frozen
class Block:
    """An attrs class."""

    layers: list[dict[str, int]]


STRUCT = np.array([(1, 2)], dtype=[("a", "i4"), ("b", "i4")])


def key(value: Any) -> str:
    return task_key(flatten({"x": value}))


def label(value: Any) -> str:
    """Names a value the same in each process that collects these tests."""
    return type(value).__name__
