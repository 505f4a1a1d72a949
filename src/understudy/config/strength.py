"""The strength of a key that somebody chose: a hub that others can reach can be asked again and again.

Bits are a rough upper bound of what a guesser must try: different pairs of neighbours times the alphabet in use.
What is in every list of passwords, repeats itself or counts up is worth nothing.
"""

from __future__ import annotations

import re
from itertools import pairwise
from math import log2

CHARS_MIN = 16
BITS_MIN = 64  # at 100,000 guesses a second some millions of years
CHARS_JUDGED = 512
_KNOWN = re.compile(
    "password|passwort|secret|changeme|change|understudy|assistant|workers|worker|queue|admin|token|hub|key|api"
    "|example|default|test|demo|daemon|qwertyuiop|qwertz|qwerty|asdfghjkl|zxcvbnm|letmein|welcome|correct"
    "|horse|battery|staple|your|here|replace|with|insert|please"
)


def is_easy_to_guess(secret: str) -> bool:
    """True for what is short, made of known words, repeated or counted up."""
    return len(secret) < CHARS_MIN or bits_of(secret) < BITS_MIN


def bits_of(secret: str) -> float:
    """The bits of entropy it has at most."""
    text = _KNOWN.sub("", secret[:CHARS_JUDGED].lower())
    steps = [0, *(ord(b) - ord(a) for a, b in pairwise(text))]
    counts_on = [step == before and abs(step) <= 1 for before, step in pairwise(steps)]
    pairs = {pair for pair, is_dull in zip(pairwise(text), counts_on, strict=True) if not is_dull}
    return len(pairs) * log2(max(2, len(set(secret[:CHARS_JUDGED]))))
