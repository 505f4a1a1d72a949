"""The classes that the Worker's configuration names. The Worker answers nothing itself, it passes all to the object.

The hub is imported with the object's first event: what is imported here counts against the time that a Worker may
take to start at its upload.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from workers import DurableObject, WorkerEntrypoint

from understudy.clock import SystemClock
from understudy.cloudflare.critical import critical

if TYPE_CHECKING:
    from understudy.cloudflare.javascript import CloudflareHost

NAME = "hub"  # of the one object
RING_AGAIN_MS = 30_000


class Default(WorkerEntrypoint):  # type: ignore[misc]
    """The Worker."""

    async def fetch(self, request: Any) -> Any:
        """The object's answer; its request is the same one, so its end is seen there too."""
        objects = self.env.TASK_COORDINATOR
        return await objects.get(objects.idFromName(NAME)).fetch(request.js_object)


class TaskCoordinator(DurableObject):  # type: ignore[misc]
    """The hub."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self._raw = (ctx._ctx, env._env)  # noqa: SLF001 - the SDK wraps both, and offers no other way
        self._place: CloudflareHost | None = None

    def _there(self) -> CloudflareHost:
        if self._place is None:
            from understudy.cloudflare.javascript import CloudflareHost  # noqa: PLC0415 - see above

            self._place = CloudflareHost(*self._raw)
        return self._place

    async def fetch(self, request: Any) -> Any:
        """A request's answer."""
        return await self._there().answer(getattr(request, "js_object", request))

    async def alarm(self, *_: Any) -> None:
        """Make the steps that are due. Whatever fails is said, and the alarm set: six failures would be its end."""
        try:
            await self._there().ring()
        except Exception as error:  # noqa: BLE001 - see above
            sys.stderr.write(f"{critical(error)}\n")
            context, _ = self._raw
            await context.storage.setAlarm(float(SystemClock().now_ms() + RING_AGAIN_MS))
