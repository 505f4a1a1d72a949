"""Usage of one run as it goes to the hub: tokens, and money where the price is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.coordinator.prices import PRICES_AT, Price, Tokens, cost_micro_usd, price_of


def usage_json(model: str, used: Tokens, own: Mapping[str, Price]) -> dict[str, Any] | None:
    """`{"model","inputTokens",…,"costMicroUsd"?,"pricesAt"?}`; None if nothing was used."""
    if used == Tokens():
        return None
    shaped: dict[str, Any] = {
        **({"model": model} if model else {}),
        "inputTokens": used.input,
        "outputTokens": used.output,
        "cacheReadTokens": used.cache_read,
        "cacheWriteTokens": used.cache_write,
    }
    price = price_of(model, own)
    if price is not None:
        shaped |= {"costMicroUsd": cost_micro_usd(price, used), "pricesAt": PRICES_AT}
    return shaped
