"""What `doctor` looks at, in an order in which one finding may explain the next."""

from __future__ import annotations

import platform
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from understudy import __version__, config
from understudy.cli.client import HubClient
from understudy.cli.connection import Place, find_place
from understudy.cli.exits import ClientError, RefusedError, RejectedError, UnreachableError
from understudy.cli.machine import shares_machine
from understudy.cli.port import is_health
from understudy.cli.terminal import span
from understudy.clock import SystemClock
from understudy.errors import ConfigError, UnderstudyError
from understudy.texts import t

OK, NOTICE, PROBLEM = "ok", "notice", "problem"
CLOCK_OFF_MS_MAX = 5_000  # the Date header has whole seconds, and the answer was under way
ANSWER_S = 5.0
DISK_FREE_BYTES_MIN = 512 << 20
UNHEALTHY = frozenset({"late", "down", "stuck"})
# A body that no hub accepts shows whether the key has the scope: the key is judged before the body (CONTRACT, head)
SCOPES = {
    "read": ("GET", "/api/tasks?limit=1"),
    "submit": ("POST", "/api/queue"),
    "work": ("POST", "/api/results"),
    "memory": ("POST", "/api/memory/save"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: how it is, why that matters, what mends it."""

    name: str
    level: str
    what: str
    why: str = ""
    mend: str = ""


def examine(environ: Mapping[str, str], here: Path) -> list[Finding]:
    """All findings. Nothing is changed anywhere."""
    findings = list(_settings(environ))
    try:
        place = find_place(environ, here)
    except UnderstudyError as error:
        mend = t("cli.doctor.no_hub.mend") if isinstance(error, ConfigError) else t("cli.doctor.key.mend")
        return [*findings, Finding("hub", PROBLEM, error.message, mend=mend)]
    hub = HubClient(place.url, place.key, ca_file=place.ca_file, answer_s=ANSWER_S)
    try:
        return [*findings, *_with_hub(hub, place, environ)]
    finally:
        hub.close()


def _with_hub(hub: HubClient, place: Place, environ: Mapping[str, str]) -> Iterator[Finding]:
    reached = _reach(hub, place)
    yield reached
    if reached.level == PROBLEM:
        yield from _local(place, environ)
        return
    for look in (_transport(place), _clock(hub), _store(hub), _local(place, environ)):
        yield from look
    key = list(_key(hub, place))
    yield from key
    if all(finding.level != PROBLEM for finding in key):
        yield from _daemons(hub, place)


def _settings(environ: Mapping[str, str]) -> Iterator[Finding]:
    try:
        loaded = config.load(environ, config.user_data_dir(environ))
    except ConfigError as error:
        yield Finding("settings", PROBLEM, error.message, mend=t("cli.doctor.settings.mend"))
        return
    for sentence in loaded.notes:
        yield Finding("settings", NOTICE, sentence, mend=t("cli.doctor.settings.mend"))


def _reach(hub: HubClient, place: Place) -> Finding:
    try:
        status, health = hub.status_of("/health")
    except ClientError as error:
        if place.is_loopback and _answers_tcp(place):
            return _no_hub(place)
        mend = t("cli.doctor.unreachable.mend_here") if place.is_loopback else t("cli.doctor.unreachable.mend")
        return Finding("hub", PROBLEM, error.message, t("cli.doctor.unreachable.why", origin=place.url_from), mend)
    if not is_health(status, health):
        return _no_hub(place)
    version = str(health.get("version", "?"))
    what = t("cli.doctor.reached.what", url=place.url, version=version, origin=place.url_from)
    if version != __version__:
        why = t("cli.doctor.version.why", theirs=version, ours=__version__)
        return Finding("version", NOTICE, what, why, t("cli.doctor.version.mend"))
    return Finding("hub", OK, what)


def _no_hub(place: Place) -> Finding:
    """Something answers there, but no hub: on this machine its port is taken."""
    if not place.is_loopback:
        why = t("cli.doctor.unreachable.why", origin=place.url_from)
        return Finding("hub", PROBLEM, t("cli.client.no_hub", url=place.url), why, t("cli.doctor.unreachable.mend"))
    what = t("cli.doctor.port_taken.what", port=urlsplit(place.url).port or 80)
    return Finding("port", PROBLEM, what, t("cli.doctor.port_taken.why"), t("cli.doctor.port_taken.mend"))


def _answers_tcp(place: Place) -> bool:
    parts = urlsplit(place.url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), 1.0):
            return True
    except OSError:
        return False


def _transport(place: Place) -> Iterator[Finding]:
    if place.url.startswith("http://") and not place.is_loopback:
        yield Finding(
            "transport", NOTICE, t("cli.doctor.plain.what"), t("cli.doctor.plain.why"), t("cli.doctor.plain.mend")
        )


def _clock(hub: HubClient) -> Iterator[Finding]:
    try:
        theirs_ms = int(parsedate_to_datetime(hub.date).timestamp() * 1000)
    except (TypeError, ValueError):
        return
    off_ms = SystemClock().now_ms() - theirs_ms
    if abs(off_ms) > CLOCK_OFF_MS_MAX:
        key = "cli.doctor.clock.ahead" if off_ms > 0 else "cli.doctor.clock.behind"
        shown = t(key, span=span(abs(off_ms)))
        yield Finding("clock", PROBLEM, shown, t("cli.doctor.clock.why"), t("cli.doctor.clock.mend"))
    else:
        yield Finding("clock", OK, t("cli.doctor.clock.ok"))


def _store(hub: HubClient) -> Iterator[Finding]:
    try:
        _, ready = hub.status_of("/ready")
    except UnreachableError as error:
        yield Finding("store", PROBLEM, error.message)
        return
    if not isinstance(ready, dict) or "store" not in ready:
        yield Finding("store", PROBLEM, t("cli.doctor.ready.none"), mend=t("cli.doctor.unreachable.mend"))
    elif not ready["store"].get("writable"):
        yield Finding(
            "store", PROBLEM, t("cli.doctor.store.what"), t("cli.doctor.store.why"), t("cli.doctor.store.mend")
        )
    elif not ready.get("ready"):
        yield Finding(
            "alarm", PROBLEM, t("cli.doctor.alarm.what"), t("cli.doctor.alarm.why"), t("cli.doctor.alarm.mend")
        )
    else:
        yield Finding("store", OK, t("cli.doctor.store.ok", ms=ready["store"].get("commitMs")))


def _local(place: Place, environ: Mapping[str, str]) -> Iterator[Finding]:
    """What can be seen only on the hub's own machine, or of a daemon's."""
    for path in {place.data, config.user_data_dir(environ)} - {None}:
        if path is None or not path.exists():
            continue
        free = shutil.disk_usage(path).free
        if free < DISK_FREE_BYTES_MIN:
            what = t("cli.doctor.disk.what", path=path, free=free >> 20)
            yield Finding("disk", PROBLEM, what, t("cli.doctor.disk.why"), t("cli.doctor.disk.mend", path=path))


def _key(hub: HubClient, place: Place) -> Iterator[Finding]:
    if not place.key:
        yield Finding("key", PROBLEM, t("cli.doctor.key.none"), t("cli.doctor.key.why"), t("cli.doctor.key.mend"))
        return
    missing = []
    for scope, (method, path) in SCOPES.items():
        try:
            hub.ask(method, path, None if method == "GET" else {}, repeatable=method == "GET")
        except RefusedError as error:
            if error.fields.get("status") == HTTPStatus.UNAUTHORIZED:
                what = t("cli.doctor.key.wrong", origin=place.key_from)
                yield Finding("key", PROBLEM, what, t("cli.doctor.key.why"), t("cli.doctor.key.mend"))
                return
            missing.append(scope)
        except RejectedError as error:  # for its body: the key has the scope
            if error.fields.get("status") == HTTPStatus.TOO_MANY_REQUESTS:
                yield Finding("key", PROBLEM, error.message, t("cli.doctor.key.why"), t("cli.doctor.key.mend"))
                return
        except ClientError:
            continue
    if "read" in missing:
        what = t("cli.doctor.scope.what", scopes=", ".join(missing), origin=place.key_from)
        yield Finding("scope", PROBLEM, what, t("cli.doctor.scope.why"), t("cli.doctor.scope.mend"))
    elif missing:
        what = t("cli.doctor.scope.what", scopes=", ".join(missing), origin=place.key_from)
        yield Finding("scope", NOTICE, what, t("cli.doctor.scope.partial"), t("cli.doctor.scope.mend"))
    else:
        yield Finding("key", OK, t("cli.doctor.key.ok", origin=place.key_from))


def _daemons(hub: HubClient, place: Place) -> Iterator[Finding]:
    try:
        daemons = hub.get("/api/daemons").get("daemons", [])
        starts = hub.get("/api/deployments").get("deployments", [])
    except ClientError as error:
        yield Finding("daemons", PROBLEM, error.message)
        return
    if not any(row.get("state") in ("healthy", "draining", "paused") for row in daemons):
        yield Finding(
            "daemons", PROBLEM, t("cli.doctor.nobody.what"), t("cli.doctor.nobody.why"), t("cli.doctor.nobody.mend")
        )
    for row in daemons:
        yield from _daemon(row)
    if shares_machine(place, daemons, str(starts[0].get("host", "")) if starts else ""):
        mend = t("cli.doctor.shared.mend")
        yield Finding("machine", NOTICE, t("cli.doctor.shared.what"), t("cli.doctor.shared.why"), mend)


def _daemon(row: dict[str, Any]) -> Iterator[Finding]:
    name, state = str(row.get("daemonId")), str(row.get("state"))
    version = str(row.get("version") or "")
    if state in UNHEALTHY:
        silent = span(float(row.get("silentForSec") or 0) * 1000)
        what = t("cli.doctor.daemon.what", id=name, state=state, span=silent, reason=row.get("reason") or "–")
        own = name == platform.node().partition(".")[0]
        mend = t("cli.doctor.daemon.mend_here") if own else t("cli.doctor.daemon.mend", id=name)
        yield Finding("daemon", PROBLEM, what, t("cli.doctor.daemon.why"), mend)
    elif state == "healthy":
        yield Finding("daemon", OK, t("cli.doctor.daemon.ok", id=name))
    if row.get("bootId") and version and version != __version__:
        why = t("cli.doctor.version.why", theirs=version, ours=__version__)
        yield Finding("version", NOTICE, t("cli.doctor.version.daemon", id=name), why, t("cli.doctor.version.mend"))
