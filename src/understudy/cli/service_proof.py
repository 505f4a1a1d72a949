"""The proof that a start succeeded: a heartbeat with a new bootId at the hub, or a hub that is ready anew."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from understudy import config
from understudy.cli.client import HubClient, path_of
from understudy.cli.connection import HubAddress, find_place, is_same_hub
from understudy.cli.exits import AbsentError, ClientError, RefusedError, UnreachableError
from understudy.cli.hub import client_url
from understudy.cli.service_program import HUB
from understudy.clock import SystemClock
from understudy.errors import UnderstudyError
from understudy.texts import t

if TYPE_CHECKING:
    from understudy.daemon.service import Supervisor

WITHIN_S = 60.0
PAUSE_S = 0.2
ANSWER_S = 3.0


class Proof(Protocol):
    """Something that is seen only after a start."""

    def wait(self, supervisor: Supervisor) -> None:
        """Until it is seen. ClientError with what is known if it is not."""
        ...


def proof_of(role: str, env: Mapping[str, str]) -> Proof:
    """The proof that the coming start must give; it notes what exists before the start."""
    return HubProof(env) if role == HUB else DaemonProof(env)


class DaemonProof:
    """The hub has accepted a beat of the start that this machine made last, and that start is a new one."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._id = daemon_id_of(env)
        self._path = config.user_data_dir(env) / "daemons" / self._id / "boot-id"
        self._before = self._made()
        self._hubs = list(_hubs(env))

    def wait(self, supervisor: Supervisor) -> None:
        """Poll the hub until the deadline."""
        until_ms = SystemClock().mono_ms() + WITHIN_S * 1000
        while not ((made := self._made()) and made != self._before and made == self._accepted()):
            if SystemClock().mono_ms() >= until_ms:
                hub = self._hubs[0].url if self._hubs else "–"
                raise ClientError(_failure("cli.service.no_beat", supervisor, id=self._id, hub=hub))
            time.sleep(PAUSE_S * random.uniform(0.8, 1.2))

    def _made(self) -> str:
        """The bootId of the last start here."""
        try:
            return self._path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def _accepted(self) -> str:
        """The bootId of the last heartbeat that the hub accepted; "" if it knows none or does not answer now."""
        reason = ""
        for hub in self._hubs:
            try:
                return str(hub.get(path_of("daemons", self._id)).get("bootId") or "")
            except (AbsentError, UnreachableError):
                return ""
            except RefusedError as error:  # a key of a daemon need not be allowed to read
                reason = error.message
        raise RefusedError(t("cli.service.unproven", reason=reason))


def daemon_id_of(env: Mapping[str, str]) -> str:
    """The name of the daemon that a service with this environment runs."""
    from understudy.daemon.home import default_daemon_id

    plain = {name: value for name, value in env.items() if not name.endswith("_FILE")}  # perhaps not yet written
    return _settings(plain).daemon_id or default_daemon_id()


def _settings(env: Mapping[str, str]) -> config.Settings:
    return config.load(env, config.user_data_dir(env)).settings


def _hubs(env: Mapping[str, str]) -> Iterator[HubClient]:
    """The service's hub with the service's key, then with the key of this shell, if that means the same hub."""
    place = find_place(env, None)
    yield _client(place)
    try:
        ours = find_place(os.environ, None, admin=True)
    except UnderstudyError:
        return
    if ours.key and ours.key != place.key and is_same_hub(ours.url, place.url):
        yield _client(ours)


class HubProof:
    """A hub that is ready and has started since."""

    def __init__(self, env: Mapping[str, str]) -> None:
        settings = _settings(env)
        self._hub = _client(HubAddress(client_url(settings.host, settings.port), ""))
        self._before = self._started_at()

    def wait(self, supervisor: Supervisor) -> None:
        """Poll until the deadline."""
        until_ms = SystemClock().mono_ms() + WITHIN_S * 1000
        while self._started_at() in ("", self._before) or not self._is_ready():
            if SystemClock().mono_ms() >= until_ms:
                raise UnreachableError(_failure("cli.service.not_ready", supervisor, hub=self._hub.url))
            time.sleep(PAUSE_S * random.uniform(0.8, 1.2))

    def _started_at(self) -> str:
        try:
            status, body = self._hub.status_of("/health")
        except ClientError:
            return ""
        return str(body.get("startedAt", "")) if status == 200 and isinstance(body, dict) else ""  # noqa: PLR2004

    def _is_ready(self) -> bool:
        try:
            return self._hub.status_of("/ready")[0] == 200  # noqa: PLR2004
        except ClientError:
            return False


def _client(place: HubAddress) -> HubClient:
    return HubClient(place.url, place.key, ca_file=place.ca_file, answer_s=ANSWER_S)


def _failure(key: str, supervisor: Supervisor, **values: str) -> str:
    """The error of a start that gave no proof."""
    state = supervisor.state()
    shown = t(f"cli.service.state.{state.word}")
    return t(key, state=shown, exit=state.last_exit or "–", log=supervisor.log_hint(), **values)
