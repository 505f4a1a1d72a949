"""The hub inside the object: settings from its environment, and what cannot work in this place.

An object that was evicted begins anew with its next event (runtime/one_loop/woken.py), on the same storage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from understudy.api.context import Api
from understudy.clock import Clock, SystemClock
from understudy.cloudflare.whole import whole_app
from understudy.config.policy import HubInputs
from understudy.config.worker_inputs import inputs_of
from understudy.errors import StoreError, UnderstudyError
from understudy.log import Stream
from understudy.runtime.one_loop.turns import Host
from understudy.runtime.one_loop.woken import WokenHub
from understudy.store.base import Store

HOST = "durable-object"
BODY_BYTES_MAX = 3 << 19  # a row of an object holds 2 MB at most; a daemon cuts a result that is refused with 413


class HubObject(WokenHub):
    """One hub, from its environment to its answers."""

    def __init__(
        self,
        environ: Mapping[str, str],
        make_store: Callable[[], Store],
        host: Host,
        lines: Stream,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or SystemClock()
        super().__init__(
            lambda: inputs_of(environ), make_store, host, lines, clock, HOST, body_bytes_max=BODY_BYTES_MAX
        )

    def _app_of(self, api: Api, given: HubInputs) -> Any:
        return whole_app(api, given)


def refusal_of(error: Exception) -> tuple[int, dict[str, str]]:
    """Status and answer of a hub that cannot start: its owner reads the sentence in the log too."""
    said = error.message if isinstance(error, UnderstudyError) else "The hub cannot start: its log says why"
    said = said.partition(":")[0] if isinstance(error, StoreError) else said
    return 503, {"error": said, "code": "not_started"}
