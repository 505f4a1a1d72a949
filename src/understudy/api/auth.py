"""Callers and their rates: keys by hash, a bucket for each key, a count of wrong keys for each address."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from math import ceil

from understudy.clock import Clock
from understudy.coordinator.nouns import Key
from understudy.errors import TooManyRequestsError, UnauthorizedError, UnderstudyError
from understudy.hub.bounds import KEYS_MAX
from understudy.hub.keys import ADMIN_KEY_NAME, SCOPES, Caller, caller_of, environment_keys_of, hash_of

WRONG_KEYS_A_MINUTE = 20
ADDRESSES_MAX = 10_000
HOLD_MS = 1_000  # how long the answer to one more wrong key is kept back
HELD_MAX = 256  # answers at a time: beyond that they go out at once, so that guessing costs the hub nothing
MINUTE_MS = 60_000
SECRET_CHARS_MAX = 512


class Keys:
    """Every valid key by its hash; several may be valid at once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        named = environment_keys_of(environment)
        self.marks = {key.id: key.mark for key in named}
        self._fixed = {hash_of(environment[key.name]): Caller(key.id, key.scopes, mark=key.mark) for key in named}
        admin = environment.get(ADMIN_KEY_NAME)
        if admin:
            admin_id = f"env:{ADMIN_KEY_NAME}"
            self._fixed[hash_of(admin)] = Caller(admin_id, SCOPES, mark=self.marks[admin_id])
        self._callers: dict[str, Caller] = dict(self._fixed)
        self._ids = {caller.key_id for caller in self._callers.values()}
        self._cache: dict[str, Caller] = {}

    def replace_stored(self, stored: Iterable[Key]) -> None:
        """Take over what the store says now."""
        self._callers = {key.hash: caller_of(key) for key in stored if not key.revoked_at} | self._fixed
        self._ids = {caller.key_id for caller in self._callers.values()}
        self._cache = {}

    def is_valid(self, key_id: str) -> bool:
        """True if a caller that was let in earlier would still be."""
        return key_id in self._ids

    def is_same(self, key_id: str, mark: str) -> bool:
        """The same for what was made with a key earlier, perhaps before a restart with another one of its name."""
        return key_id in self._ids and self.marks.get(key_id, "") == mark

    def find(self, secret: str) -> Caller | None:
        """The caller with this secret; hashed once, then remembered until keys change."""
        caller = self._cache.get(secret)
        if caller is None and 0 < len(secret) <= SECRET_CHARS_MAX:
            caller = self._callers.get(hash_of(secret))
            if caller is not None:
                self._cache[secret] = caller
        return caller


class RateLimit:
    """A token bucket a key, and a count of wrong keys an address; all bounded."""

    def __init__(self, clock: Clock, per_s: float, burst: float) -> None:
        self._clock = clock
        self._per_ms = per_s / 1000
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._wrong: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def take(self, key_id: str) -> None:
        """Take one from the key's bucket; TooManyRequestsError says when to come back."""
        now = self._clock.mono_ms()
        level, since = self._buckets.pop(key_id, (self._burst, now))
        while len(self._buckets) >= KEYS_MAX:
            self._buckets.popitem(last=False)  # the one that was not used for longest
        level = min(self._burst, level + (now - since) * self._per_ms)
        if level < 1:
            self._buckets[key_id] = (level, now)
            raise TooManyRequestsError(max(1, ceil((1 - level) / self._per_ms / 1000)))
        self._buckets[key_id] = (level - 1, now)

    def wrong_key(self, address: str) -> None:
        """Count a wrong key of one customer's address; UnauthorizedError, or GuessingError beyond 20 a minute."""
        now = self._clock.mono_ms()
        count, since = self._wrong.pop(address, (0, now))
        if now - since >= MINUTE_MS:
            count, since = 0, now
        self._wrong[address] = (count + 1, since)
        while len(self._wrong) > ADDRESSES_MAX:
            self._wrong.popitem(last=False)
        if count >= WRONG_KEYS_A_MINUTE:
            raise GuessingError(max(1, ceil((since + MINUTE_MS - now) / 1000)))
        raise UnauthorizedError


class GuessingError(TooManyRequestsError):
    """One more wrong key from an address that has sent too many."""


class Patience:
    """Keeps back answers to guesses, a bounded number at a time; a right key never waits."""

    def __init__(self) -> None:
        self._held = 0

    async def hold(self, error: UnderstudyError) -> None:
        """Wait if `error` answers a guess."""
        if not isinstance(error, GuessingError) or self._held >= HELD_MAX:
            return
        self._held += 1
        try:
            await asyncio.sleep(HOLD_MS / 1000)
        finally:
            self._held -= 1
