"""A hub that its host may forget at any instant: it is started by the first event afterwards, on the same store.

An event is a request (`app`) or the bell (`ring`). Nothing is kept between two lives but the store and the bell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import understudy
from understudy.api.app import build_app
from understudy.api.context import Api
from understudy.clock import Clock
from understudy.config.policy import HubInputs, fingerprint_of
from understudy.coordinator.nouns import Policy
from understudy.hub.alarm_loop import LOOK_EVERY_MS
from understudy.ids import IdMaker
from understudy.log import Log, Stream
from understudy.redact import Redactor
from understudy.runtime.one_loop.hub import OneLoopHub
from understudy.runtime.one_loop.turns import Host
from understudy.runtime.served import api_of
from understudy.store.base import Store
from understudy.wire.limits import RESULT_BYTES_MAX

SLEEPS_A_SILENCE = 3
START_AGAIN_MS = 30_000


class WokenHub:
    """One hub, from its inputs to its answers."""

    def __init__(
        self,
        inputs: Callable[[], HubInputs],
        make_store: Callable[[], Store],
        host: Host,
        lines: Stream,
        clock: Clock,
        name: str,
        *,
        body_bytes_max: int = RESULT_BYTES_MAX,
    ) -> None:
        """`inputs` and `make_store` may raise: the next event tries again."""
        self._inputs = inputs
        self._make_store = make_store
        self._host = host
        self._lines = lines
        self._clock = clock
        self._name = name
        self._body_bytes_max = body_bytes_max
        self._starting = asyncio.Lock()
        self._app: Any = None
        self._hub: OneLoopHub | None = None

    async def app(self) -> Any:
        """The application, started. ConfigError, StoreError."""
        if self._app is None:
            async with self._starting:
                if self._app is None:
                    await self._start()
        return self._app

    async def ring(self) -> None:
        """Make the steps that are due; a step that waits for another server goes on behind this."""
        try:
            await self.app()
            assert self._hub is not None
            tasks = self._hub.ring()
        except Exception:
            self._host.set_bell(START_AGAIN_MS)  # a host rings a few times more for one that fails, and then no more
            raise
        if tasks:
            await asyncio.wait(tasks, timeout=0)

    async def _start(self) -> None:
        given = self._inputs()
        own, redactor = given.settings, Redactor(given.secrets)
        log = Log(self._clock, self._lines, level=own.log_level, form=own.log_form, redactor=redactor)
        hub = self._make_hub(given, log)
        api = api_of(hub, given, body_bytes_max=self._body_bytes_max)
        try:
            await api.load_keys()
            await hub.start(fingerprint_of(given), self._name)
        except BaseException:
            hub.turns.is_over = True  # the next event starts another one, beside which this one must do nothing
            raise
        self._app, self._hub = self._app_of(api, given), hub

    def _app_of(self, api: Api, given: HubInputs) -> Any:
        """The application: the API alone."""
        return build_app(api)

    def _make_hub(self, given: HubInputs, log: Log) -> OneLoopHub:
        ids, sleeps_ms = IdMaker(self._clock), sleeps_ms_of(given.policy)
        store, version = self._make_store(), understudy.__version__
        return OneLoopHub(store, self._clock, ids, log, version, given, self._host, sleeps_ms=sleeps_ms)


def sleeps_ms_of(policy: Policy) -> int:
    """The longest sleep: short beside what it may hide, the silence of a daemon while the place itself was down."""
    return min(LOOK_EVERY_MS, policy.late_after_ms // SLEEPS_A_SILENCE)
