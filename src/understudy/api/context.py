"""What every endpoint needs: the running hub, the keys and the limits."""

from __future__ import annotations

import asyncio
from typing import Any

from understudy.api.auth import Keys, RateLimit
from understudy.coordinator.nouns import Key
from understudy.hub.keys import KEYS_MAX, Caller
from understudy.runtime.hub import HubRuntime


class Api:
    """What every endpoint needs: the running hub, the keys and the limits."""

    def __init__(self, hub: HubRuntime, keys: Keys, limit: RateLimit, *, publishes_docs: bool = True) -> None:
        self.hub = hub
        self.keys = keys
        self.limit = limit
        self.publishes_docs = publishes_docs
        hub.writer.after_commit(self._after_commit)

    def _after_commit(self, committed: Any) -> None:
        if any(stored.event.name.startswith("key.") for stored in committed.events):
            asyncio.get_running_loop().create_task(self.load_keys())

    async def load_keys(self) -> None:
        """Take over the keys of the store."""
        stored = await self.hub.view(lambda view: view.reader.load_all(Key, KEYS_MAX))
        self.keys.replace_stored(stored)

    def caller(self, scope: Any) -> Caller:
        """Who sends the request; UnauthorizedError, or TooManyRequestsError for too many wrong keys."""
        secret = ""
        for name, value in scope["headers"]:
            if name == b"x-api-key":
                secret = value.decode("latin-1")
                break
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                secret = value[7:].decode("latin-1").strip()
        caller = self.keys.find(secret)
        if caller is None:
            client = scope.get("client")
            self.limit.wrong_key(client[0] if client else "")
        assert caller is not None
        return caller
