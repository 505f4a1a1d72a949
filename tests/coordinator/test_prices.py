"""What a model costs: integer money, own prices first, nothing guessed."""

from __future__ import annotations

import pytest

from understudy.coordinator.prices import PRICES, Price, Tokens, cost_micro_usd, price_of, prices_from


def test_cost_is_tokens_times_price_rounded_up():
    price = Price(3, 15)
    assert cost_micro_usd(price, Tokens(input=1000, output=100)) == 3000 + 1500
    assert cost_micro_usd(price, Tokens(cache_read=1000, cache_write=1000)) == 300 + 3750
    assert cost_micro_usd(Price(0.25, 2), Tokens(input=1)) == 1
    assert cost_micro_usd(price, Tokens()) == 0


def test_a_date_in_a_models_name_does_not_matter_and_an_unknown_model_has_no_price():
    assert price_of("claude-haiku-4-5-20251001", {}) == PRICES["claude-haiku-4-5"]
    assert price_of("claude-opus-4-8[1m]", {}) == PRICES["claude-opus-4-8"]
    assert price_of("claude-next-9", {}) is None
    assert price_of("claude-haiku-4-5", {"claude-haiku-4-5": Price(9, 9)}) == Price(9, 9)


def test_own_prices_are_written_in_usd_per_million_tokens():
    assert prices_from(("a=5/25", "b=1/2/0.1/1.5")) == {"a": Price(5, 25), "b": Price(1, 2, 0.1, 1.5)}


@pytest.mark.parametrize("word", ["a", "a=", "=1/2", "a=1", "a=x/y", "a=1/2/3/4/5", "a=-1/2", "a=1e99/2", "a=nan/2"])
def test_what_is_no_price_is_refused_with_an_example(word: str):
    with pytest.raises(ValueError, match="claude-opus-4-5=5/25"):
        prices_from((word,))
