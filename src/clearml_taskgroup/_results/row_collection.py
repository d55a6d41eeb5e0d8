"""Base class of results: rows by position, without being a `collections.abc.Sequence`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Reversible, Sequence
from typing import Any, Self, TypeVar, overload

import attrs

R = TypeVar("R")


class RowCollection(Collection[R], Reversible[R]):
    """Rows by position: what `collections.abc.Sequence` has.

    It is none itself: of a sequence, polars would make one column of rows instead of asking for its columns.
    """

    __slots__ = ()
    _rows_attribute = "rows"

    @property
    def _items(self) -> Sequence[R]:
        items: Sequence[R] = getattr(self, self._rows_attribute)
        return items

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[R]:
        return iter(self._items)

    def __reversed__(self) -> Iterator[R]:
        return reversed(self._items)

    def __contains__(self, row: object) -> bool:
        return row in self._items

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> R | Self:
        if isinstance(index, str):
            raise TypeError(self._not_a_position(index))
        if isinstance(index, slice):
            changed: dict[str, Any] = {self._rows_attribute: self._items[index]}
            return attrs.evolve(self, **changed)  # type: ignore[misc]  # the subclasses are attrs classes
        return self._items[index]

    def _not_a_position(self, given: str) -> str:
        """Returns the message for a text as the index."""
        return f"{given!r} was given; rows are selected by position, an int or a slice"

    def index(self, row: object, start: int = 0, stop: int | None = None) -> int:
        """Returns the position of a row.

        Args:
            row: The row.
            start: The first position that counts.
            stop: The position after the last one that counts; None for the end.

        Raises:
            ValueError: The row is not in the collection.
        """
        return self._items.index(row, start, len(self) if stop is None else stop)

    def count(self, row: object) -> int:
        """Counts the rows that equal a row.

        Args:
            row: The row.
        """
        return self._items.count(row)
