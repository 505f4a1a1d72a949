"""The operations that the shared queries need from a backend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from understudy.store.base import Unreadable
from understudy.store.dialect import Dialect
from understudy.store.reading import is_sound, row_of
from understudy.store.statements import selected

N = TypeVar("N", bound=Struct)


class SqlSession:
    """An open transaction of a backend: statements in its dialect, with `?` for values."""

    dialect: Dialect
    unreadable: Unreadable

    def _fetch(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """The rows of a query, also when a text of them cannot be read."""
        raise NotImplementedError

    def _change(self, statement: str, values: Sequence[Any] = ()) -> int:
        """The number of rows that a statement has changed."""
        raise NotImplementedError

    def _change_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """One statement with the values of each row."""
        raise NotImplementedError

    def _rows(self, noun: type[N], where: str, *values: Any) -> list[N]:
        return self._nouns(noun, self._fetch(selected(noun, where), values))

    def _nouns(self, noun: type[N], found: list[Any]) -> list[N]:
        """The nouns that these rows are."""
        if not found:
            return []
        if all(map(is_sound(noun), found)):
            nouns = [noun(*row) for row in found]
            self._has_read(noun, nouns)
            return nouns
        return [read for row in found if (read := row_of(noun, row, self.unreadable)) is not None]

    def _has_read(self, noun: type[Struct], rows: Sequence[Struct]) -> None:
        """Note rows that were read without a stand-in, of any noun: exactly as the table has them.

        Those of memory and progress are not always: a text may be cut or left out (store/parts.py).
        """
