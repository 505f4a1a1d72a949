"""Money: whole micro-USD inside, USD outside."""

from __future__ import annotations

import pytest

from understudy.money import MICRO_USD_MAX, micro_usd_of, total, usd, usd_text


@pytest.mark.parametrize(
    ("micro_usd", "text"), [(0, "0"), (1, "0.000001"), (50_000, "0.05"), (10_000_000, "10"), (1_250_000, "1.25")]
)
def test_an_amount_is_read_as_it_is_shown(micro_usd, text):
    assert (usd_text(micro_usd), micro_usd_of(f" ${text} ")) == (text, micro_usd)
    assert usd(micro_usd) == float(text)


def test_a_sum_stays_a_number_that_a_store_and_json_hold_exactly():
    assert total(1, 2, 3) == 6
    assert total(MICRO_USD_MAX, 1) == MICRO_USD_MAX == 2**53 - 1


@pytest.mark.parametrize("text", ["", "-1", "1e3", "0.0000001", "1,5", "True", "1234567", "$"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ValueError, match="USD"):
        micro_usd_of(text)
