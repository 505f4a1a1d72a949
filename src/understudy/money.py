"""Money is counted in whole micro-USD; what people and JSON see of it is USD."""

from __future__ import annotations

import re

MICRO_PER_USD = 1_000_000
MICRO_USD_MAX = (1 << 53) - 1  # what JSON and every store hold exactly: a larger number would be read as none


def usd(micro_usd: int) -> float:
    """The amount as JSON has it."""
    return micro_usd / MICRO_PER_USD


def total(*micro_usd: int) -> int:
    """The sum of these amounts, as far as it can be stored: what is beyond any budget stays beyond it."""
    return min(sum(micro_usd), MICRO_USD_MAX)


def usd_text(micro_usd: int) -> str:
    """The amount for people, without needless zeros: `0.05`."""
    whole, part = divmod(micro_usd, MICRO_PER_USD)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".")


def micro_usd_of(text: str) -> int:
    """An amount as people write it, nothing finer than a micro-USD; ValueError for anything else."""
    found = re.fullmatch(r"\$?(\d{1,6})(?:\.(\d{1,6}))?", text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no amount of USD")
    return int(found[1]) * MICRO_PER_USD + int((found[2] or "").ljust(6, "0"))
