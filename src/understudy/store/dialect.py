"""The few words in which the backends differ. All queries are written once, in the language of this module.

`?` stands for a value, `IN ?` for a collection of texts, `each(?)` for its rows (`value`), `least` and `greatest` are
functions of two values, `instr` finds a text in another one, `named_instant(b.spec)` is the `availableAt` of a task as
it was submitted. `:name` is a value by name, for statements in which it stands more than once: no backend sees names
(`positional`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

import msgspec

STATEMENTS_MAX = 1024
_NAMED = re.compile(r":([a-z]{1,32}+)")


class Dialect:
    """A backend's words.

    `octets`: the number of bytes of a text. `has`: a
    function of the backend that knows the rule of searches; "" where Python looks at what a statement has brought.
    `rows_max` and `values_max` bound one INSERT. `names_one`: of a collection with one text a statement names that
    text, where reading a collection costs more than the rest of it.
    """

    def __init__(
        self,
        words: dict[str, str],
        collection: Callable[[Collection[str]], Any],
        *,
        octets: str,
        has: Callable[[str, tuple[str, ...]], str] | None = None,
        rows_max: int = 64,
        values_max: int = 32_000,
        names_one: bool = False,
    ) -> None:
        self._words = words
        self.collection = collection
        self.octets = octets
        self.has = has
        self.rows_max = rows_max
        self.values_max = values_max
        self.names_one = names_one
        self.sql = lru_cache(STATEMENTS_MAX)(self._sql)

    def _sql(self, text: str) -> str:
        for ours, theirs in self._words.items():
            text = text.replace(ours, theirs)
        return text

    def value(self, value: Any) -> Any:
        """A value as a statement takes it: collections in the backend's own form."""
        return value if isinstance(value, (str, int)) else self.collection(value)


def json_text(values: Collection[str]) -> str:
    """A collection as JSON."""
    return msgspec.json.encode(list(values)).decode()


@lru_cache(STATEMENTS_MAX)
def positional(text: str) -> tuple[str, tuple[str, ...]]:
    """A statement with a place for each `:name`, and the names in the order of their places."""
    return _NAMED.sub("?", text), tuple(_NAMED.findall(text))
