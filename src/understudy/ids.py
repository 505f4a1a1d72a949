"""The only maker of ids: sortable by time, prefixed by noun, from an injected clock and randomness."""

from __future__ import annotations

import random
from collections.abc import Callable

from understudy.clock import Clock

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base 32, as in the ULID specification
_TIME_CHARS = 10
_RANDOM_BITS = 80
_RANDOM_CHARS = 16


_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)


def _base32(number: int, chars: int) -> str:
    """`number` in an even number of base-32 digits, two at a time."""
    return "".join(_PAIRS[(number >> shift) & 1023] for shift in range(5 * (chars - 2), -1, -10))


class IdMaker:
    """Makes ids such as `task-01J9ZQ…`: 48 bits of time, 80 random ones (ULID)."""

    def __init__(self, clock: Clock, random_bits: Callable[[int], int] | None = None) -> None:
        self._clock = clock
        self._random_bits = random_bits or random.SystemRandom().getrandbits

    def new(self, prefix: str) -> str:
        """A fresh id for a noun; later ids sort after earlier ones to the millisecond."""
        time_part = _base32(self._clock.now_ms(), _TIME_CHARS)
        return f"{prefix}-{time_part}{_base32(self._random_bits(_RANDOM_BITS), _RANDOM_CHARS)}"

    def new_after(self, prefix: str, last: str) -> str:
        """A fresh id that sorts after `last` even if the clock was set back since; `last` may be empty."""
        made = self.new(prefix)
        tail = last.removeprefix(f"{prefix}-")
        if made > last or set(tail) - set(_ALPHABET):
            return made
        number = 0
        for digit in tail:
            number = number * 32 + _ALPHABET.index(digit)
        return f"{prefix}-{_base32(number + 1, len(tail))}"

    def uuid(self) -> str:
        """A random UUID (version 4), where a contract asks for one."""
        bits = self._random_bits(128)
        bits = (bits & ~(0xF << 76)) | (4 << 76)
        bits = (bits & ~(0x3 << 62)) | (2 << 62)
        text = f"{bits:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def secret(self, prefix: str) -> str:
        """A random secret of 160 bits (API keys, capability links)."""
        return f"{prefix}_{_base32(self._random_bits(160), 32).lower()}"
