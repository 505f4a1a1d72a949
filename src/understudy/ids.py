"""The only maker of ids: sortable by time, prefixed by noun, from an injected clock and randomness."""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable

from understudy.clock import Clock

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base 32, as in the ULID specification
_TIME_CHARS = 10
_RANDOM_BITS = 80
_RANDOM_CHARS = 16
_FIRST = (1 << 79) - 1  # of a millisecond: above it there is room for half a billion more
_STEP = (1 << 50) - 1  # from one id to the next of the same millisecond: it cannot be guessed


_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)


def _base32(number: int, chars: int) -> str:
    """`number` in an even number of base-32 digits, two at a time."""
    return "".join(_PAIRS[(number >> shift) & 1023] for shift in range(5 * (chars - 2), -1, -10))


def time_of(made: str, prefix: str) -> int:
    """The instant in an id with this prefix, ms; 0 for any other text."""
    tail = made.removeprefix(f"{prefix}-")
    if tail == made or len(tail) != _TIME_CHARS + _RANDOM_CHARS or set(tail) - set(_ALPHABET):
        return 0
    return functools.reduce(lambda number, digit: 32 * number + _ALPHABET.index(digit), tail[:_TIME_CHARS], 0)


class IdMaker:
    """Makes ids such as `task-01J9ZQ…`: 48 bits of time, 80 random ones (ULID).

    Those of one millisecond sort in the order in which they were made, as the ULID specification has it: tasks that
    were sent one after the other are done in that order.
    """

    def __init__(self, clock: Clock, random_bits: Callable[[int], int] | None = None) -> None:
        self._clock = clock
        self._random_bits = random_bits or random.SystemRandom().getrandbits
        self._lock = threading.Lock()
        self._last = (0, 0)  # the time of the last id, and its other bits

    def new(self, prefix: str) -> str:
        """A fresh id for a noun, which sorts after those before, unless the clock was set back since."""
        with self._lock:
            at_ms, bits = self._clock.now_ms(), self._random_bits(_RANDOM_BITS)
            last_ms, last_bits = self._last
            bits = last_bits + 1 + (bits & _STEP) if at_ms == last_ms else bits & _FIRST
            self._last = (at_ms, bits)
        return f"{prefix}-{_base32(at_ms, _TIME_CHARS)}{_base32(bits, _RANDOM_CHARS)}"

    def new_after(self, prefix: str, last: str) -> str:
        """A fresh id that sorts after `last` even if the clock was set back since; `last` may be empty or spoilt."""
        made = self.new(prefix)
        tail = last.removeprefix(f"{prefix}-")
        is_id = len(tail) == _TIME_CHARS + _RANDOM_CHARS and not set(tail) - set(_ALPHABET)
        if made > last or not is_id or tail == _ALPHABET[-1] * len(tail):  # nothing sorts after the last of all
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
