"""Prices of models: one table with its date, overridden by configuration; money is integer micro-USD.

Prices are per million tokens, so micro-USD per token is the price in USD. A model that is in no table has no
price: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from understudy.money import total

PRICES_AT = "2026-11-22"  # when the table below was written down; providers change prices without asking
USD_PER_MTOK_MAX = 1_000_000  # of an own price


class Price(Struct, frozen=True):
    """USD per million tokens. Reading a cache costs a tenth and writing it 5/4 of the input where not given."""

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None


class Tokens(Struct, frozen=True):
    """The tokens that one run or call used; the four kinds do not overlap."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0


PRICES = {
    "claude-opus-4": Price(15, 75),
    "claude-opus-4-1": Price(15, 75),
    "claude-opus-4-5": Price(5, 25),
    "claude-sonnet-4": Price(3, 15),
    "claude-sonnet-4-5": Price(3, 15),
    "claude-haiku-4-5": Price(1, 5),
    "claude-opus-4-6": Price(5, 25),
    "claude-opus-4-7": Price(5, 25),
    "claude-opus-4-8": Price(5, 25),
    "claude-sonnet-4-6": Price(3, 15),
    "claude-sonnet-5": Price(2, 10),
    "claude-opus-5-5": Price(4, 20),
    "claude-sonnet-5-5": Price(2, 10),
    "claude-haiku-5-5": Price(0.1, 0.5),  # prompts up to 100,000 tokens
    "gpt-5": Price(1.25, 10, cache_read=0.125, cache_write=1.25),
    "gpt-5-codex": Price(1.25, 10, cache_read=0.125, cache_write=1.25),
    "gpt-5-mini": Price(0.25, 2, cache_read=0.025, cache_write=0.25),
}
_MORE = re.compile(r"(-\d{8}|-\d{4}-\d\d-\d\d|-latest)?(\[\w{1,16}\])?$")  # a date, and `[1m]` for a long context


def price_of(model: str, own: Mapping[str, Price]) -> Price | None:
    """The price of a model, `own` first; a date at the end of its name does not matter. None if unknown."""
    plain = _MORE.sub("", model)
    for table in (own, PRICES):
        for name in (model, plain):
            if name in table:
                return table[name]
    return None


def cost_micro_usd(price: Price, used: Tokens) -> int:
    """The cost, rounded up to a whole micro-USD; no more than can be stored, whatever was counted."""
    read = price.input / 10 if price.cache_read is None else price.cache_read
    write = price.input * 5 / 4 if price.cache_write is None else price.cache_write
    parts = (
        used.input * price.input,
        used.output * price.output,
        used.cache_read * read,
        used.cache_write * write,
    )
    return total(-int(-sum(parts) // 1))


def prices_from(words: tuple[str, ...]) -> dict[str, Price]:
    """Own prices, each `model=input/output[/cache_read[/cache_write]]` in USD per million tokens; ValueError."""
    return dict(_price_from(word) for word in words)


def _price_from(word: str) -> tuple[str, Price]:
    model, equals, numbers = word.partition("=")
    try:
        values = [float(number) for number in numbers.split("/")]
    except ValueError:
        values = []
    if not (equals and model.strip() and 2 <= len(values) <= 4 and all(0 <= v <= USD_PER_MTOK_MAX for v in values)):  # noqa: PLR2004
        raise ValueError(f"{word!r}: write model=input/output in USD per million tokens, like claude-opus-4-5=5/25")
    return model.strip(), Price(*values)
