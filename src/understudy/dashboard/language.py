"""The language of a page: as the switch says, else as the browser prefers, else English."""

from __future__ import annotations

from collections.abc import Mapping

from understudy.texts import LANGUAGES

COOKIE = "understudy_language"
KEPT_S = 400 * 86_400  # browsers keep no cookie longer


def language_of(cookies: Mapping[str, str], wished: str) -> str:
    """One of ours; `wished` is an `Accept-Language` header."""
    chosen = cookies.get(COOKIE, "")
    return chosen if chosen in LANGUAGES else _best(wished)


def _best(wished: str) -> str:
    """The first of the most wanted ones that we have."""
    best, best_weight = LANGUAGES[0], 0.0
    for part in wished.split(",")[:20]:
        name, _, weight = part.strip().lower().partition(";")
        word = name.split("-")[0]
        if word in LANGUAGES and (found := _weight(weight)) > best_weight:
            best, best_weight = word, found
    return best


def _weight(text: str) -> float:
    try:
        return float(text.strip().removeprefix("q=")) if text.strip() else 1.0
    except ValueError:
        return 0.0
