"""The running hub, the keys and the limits: every endpoint is given these."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from understudy.api.auth import Keys, Patience, RateLimit
from understudy.api.connections import address_of
from understudy.api.hub import Hub
from understudy.api.request_counts import RequestCounts
from understudy.api.respond import INTERNAL, Response, response_of
from understudy.errors import TooManyRequestsError, UnauthorizedError, UnderstudyError
from understudy.hub.batch import Committed
from understudy.hub.bounds import KEYS_MAX
from understudy.hub.keys import Caller
from understudy.store.queries import VALID_KEYS
from understudy.wire.limits import RESULT_BYTES_MAX

KEY_EVENTS = "key."
LOAD_AGAIN_S = 0.2
LOOKS_A_S, LOOKS_AHEAD = 1, 20  # at the keys of the store for unknown ones, of all senders together
LOOK_WITHIN_S = 1.0


class Api:
    """The running hub, the keys and the limits: every endpoint is given these."""

    def __init__(
        self,
        hub: Hub,
        keys: Keys,
        limit: RateLimit,
        *,
        publishes_docs: bool = True,
        redacts_results: bool = True,
        body_bytes_max: int = RESULT_BYTES_MAX,
    ) -> None:
        """`body_bytes_max`: of any request, where the place or its store takes less than the endpoints do."""
        self.hub = hub
        self.keys = keys
        self.limit = limit
        self.publishes_docs = publishes_docs
        self.body_bytes_max = body_bytes_max
        self.redactor = hub.log.redactor if redacts_results else hub.log.redactor.by_value_only()
        self.hold = Patience().hold
        self.requests = RequestCounts()
        self._loading = asyncio.Lock()
        self._reload: asyncio.Task[None] | None = None
        self._looks = RateLimit(hub.clock, LOOKS_A_S, LOOKS_AHEAD)
        self._look: asyncio.Task[None] | None = None
        hub.feed.elsewhere.add(self._look_at)
        hub.feed.doubts.add(self._load_again)

    async def load_keys(self) -> None:
        """Take over the keys of the store; one at a time, so that an older look never replaces a newer one."""
        async with self._loading:
            stored = await self.hub.view(lambda view: view.reader.find(VALID_KEYS, limit=KEYS_MAX))
            self.keys.replace_stored(stored)

    async def key_changed(self) -> None:
        """After a request that changed a key: take it over. If that fails now, it is done as soon as it can be."""
        try:
            await self.load_keys()
        except UnderstudyError:
            self._load_again()
            raise

    def _look_at(self, committed: Committed) -> None:
        """Another hub may have made or revoked a key."""
        if any(stored.event.name.startswith(KEY_EVENTS) for stored in committed.events):
            self._load_again()

    def _load_again(self) -> None:
        self._reload = asyncio.get_running_loop().create_task(self._load_until_done())

    async def _load_until_done(self) -> None:
        """A store that fails, or too many who read, is tried again: a revoked key must not stay valid for that."""
        while not self.hub.feed.is_over:
            try:
                await self.load_keys()
            except UnderstudyError:
                await asyncio.sleep(LOAD_AGAIN_S)
            else:
                return

    async def caller(self, scope: Any) -> Caller:
        """The sender of the request; UnauthorizedError, or TooManyRequestsError after too many wrong keys.

        A missing key is no guess, so it is not counted (docs/contract.md, section 1).
        """
        secret = _secret(scope)
        if not secret:
            raise UnauthorizedError
        return await self.caller_with(secret, scope.get("client"))

    async def caller_with(self, secret: str, client: Any) -> Caller:
        """The same for a key that came in another way."""
        caller = self.keys.find(secret)
        if caller is None and self.hub.feed.is_followed:
            await self._look_for_new_keys()
            caller = self.keys.find(secret)
        if caller is None:
            self.limit.wrong_key(address_of(client))
        assert caller is not None
        return caller

    async def _look_for_new_keys(self) -> None:
        """Another hub may have made a key of which this one has not heard yet. All who come meanwhile share a look."""
        if self._look is None or self._look.done():
            try:
                self._looks.take("")
            except TooManyRequestsError:
                return
            self._look = asyncio.get_running_loop().create_task(self._load_if_possible())
        await asyncio.wait({self._look}, timeout=LOOK_WITHIN_S)

    async def _load_if_possible(self) -> None:
        with suppress(UnderstudyError):
            await self.load_keys()

    def internal_error(self, where: str, bug: BaseException) -> Response:
        """The answer to a request that met a bug of ours, which is logged; `where` is its method and path."""
        self.hub.log.emit("critical", "API", f"Internal error in {where}: {bug!r}")
        return response_of(500, INTERNAL)

    def known(self, scope: Any) -> Caller | None:
        """The sender of the request; None if it shows no valid key, which is not counted here."""
        return self.keys.find(_secret(scope))


def _secret(scope: Any) -> str:
    """The key of a request, "" for none. `X-API-Key` counts before `Authorization`, which may be meant for a proxy."""
    secret = ""
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            return str(value.decode("latin-1"))
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            secret = value[7:].decode("latin-1").strip()
    return secret
