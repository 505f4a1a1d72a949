"""The hub inside the object: settings from its environment, the store on its storage, the API, and one bell.

It is started with the first event after the object was made. An object that was evicted begins anew, on the same
storage: nothing else is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import understudy
from understudy.api.auth import Keys, RateLimit
from understudy.api.context import Api
from understudy.clock import Clock, SystemClock
from understudy.cloudflare.whole import whole_app
from understudy.config.policy import HubInputs, fingerprint_of, hub_inputs
from understudy.config.reading import environment_keys, load
from understudy.coordinator.nouns import Policy
from understudy.errors import ConfigError, StoreError, UnderstudyError
from understudy.hub.alarm_loop import LOOK_EVERY_MS
from understudy.ids import IdMaker
from understudy.log import Log, Stream
from understudy.redact import Redactor
from understudy.runtime.one_loop.hub import OneLoopHub
from understudy.runtime.one_loop.turns import Host
from understudy.store.base import Store
from understudy.texts import language_from, t

HOST = "durable-object"
NO_FILES = Path("/no-data-directory")  # nothing is read from there or written
BODY_BYTES_MAX = 3 << 19  # a row of an object holds 2 MB at most; a daemon cuts a result that is refused with 413
SLEEPS_A_SILENCE = 3
SOCKETS = frozenset({"email", "apprise"})  # channels that need what is not there


class HubObject:
    """One hub, from its environment to its answers."""

    def __init__(
        self,
        environ: Mapping[str, str],
        make_store: Callable[[], Store],
        host: Host,
        lines: Stream,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._environ = environ
        self._make_store = make_store
        self._host = host
        self._lines = lines
        self._starting = asyncio.Lock()
        self._app: Any = None
        self._hub: OneLoopHub | None = None

    async def app(self) -> Any:
        """The application, started. ConfigError, StoreError."""
        if self._app is None:
            async with self._starting:
                if self._app is None:
                    await self._start(self._clock)
        return self._app

    async def ring(self) -> None:
        """Make the steps that are due; a step that waits for another server goes on behind this."""
        await self.app()
        assert self._hub is not None
        tasks = self._hub.ring()
        if tasks:
            await asyncio.wait(tasks, timeout=0)

    async def _start(self, clock: Clock) -> None:
        given = inputs_of(self._environ)
        settings = given.settings
        log = Log(clock, self._lines, level=settings.log_level, redactor=Redactor(given.secrets))
        store = self._make_store()
        hub = OneLoopHub(
            store,
            clock,
            IdMaker(clock),
            log,
            understudy.__version__,
            given,
            self._host,
            sleeps_ms=sleeps_ms_of(given.policy),
        )
        api = Api(
            hub,
            Keys(given.environment_keys),
            RateLimit(clock, settings.rate_per_s, settings.rate_burst),
            publishes_docs=settings.docs,
            redacts_results=settings.redact_results,
            body_bytes_max=BODY_BYTES_MAX,
        )
        await hub.start(fingerprint_of(given), HOST)
        await api.load_keys()
        self._app, self._hub = whole_app(api, given), hub


def sleeps_ms_of(policy: Policy) -> int:
    """The longest sleep: short beside what it may hide, the silence of a daemon while the place itself was down."""
    return min(LOOK_EVERY_MS, policy.late_after_ms // SLEEPS_A_SILENCE)


def inputs_of(environ: Mapping[str, str]) -> HubInputs:
    """The inputs of this hub, by the same names as everywhere. ConfigError for those that cannot work in this place."""
    loaded = load(environ, NO_FILES)
    keys = environment_keys(loaded.settings)
    language = language_from(dict(environ))
    if not keys:
        raise ConfigError(t("cloudflare.no_key", language))
    given = hub_inputs(loaded.settings, environ, NO_FILES, keys)
    for channel in given.channels:
        if channel.kind in SOCKETS:
            raise ConfigError(t("cloudflare.no_channel", language, name=channel.name, kind=channel.kind))
    return given


def refusal_of(error: UnderstudyError) -> tuple[int, dict[str, str]]:
    """Status and answer of a hub that cannot start: its owner reads the sentence in the log too."""
    said = error.message.partition(":")[0] if isinstance(error, StoreError) else error.message
    return 503, {"error": said, "code": "not_started"}
