"""Checks of the hub: it answers, its clock is right, and it can write."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from understudy import __version__
from understudy.cli.client import HubClient
from understudy.cli.connection import HubAddress
from understudy.cli.exits import ClientError, UnreachableError
from understudy.cli.findings.finding import NOTICE, OK, PROBLEM, AutomaticFix, Finding, said
from understudy.cli.findings.service import Services
from understudy.cli.port import is_health
from understudy.clock import SystemClock
from understudy.spans import span
from understudy.texts import t

CLOCK_OFF_MS_MAX = 5_000  # the Date header has whole seconds, and the answer was under way


def reach(hub: HubClient, place: HubAddress, services: Services) -> Finding:
    """Checks that a hub answers there."""
    try:
        status, health = hub.status_of("/health")
    except ClientError as error:
        if place.is_loopback and _answers_tcp(place):
            return _no_hub(place)
        why = t("cli.doctor.unreachable.why", origin=place.url_from)
        if place.is_loopback and "hub" in services:
            automatic = AutomaticFix("start_service", "hub")
            return Finding("hub", PROBLEM, said(error), why, "understudy service start hub", automatic)
        fix = t("cli.doctor.unreachable.fix_here") if place.is_loopback else t("cli.doctor.unreachable.fix")
        return Finding("hub", PROBLEM, said(error), why, fix)
    if not is_health(status, health):
        return _foreign(place) if isinstance(health, dict) and "status" in health else _no_hub(place)
    version = str(health.get("version", "?"))
    what = t("cli.doctor.reached.what", url=place.url, version=version, origin=place.url_from)
    if version != __version__:
        why = t("cli.doctor.version.why", theirs=version, ours=__version__)
        return Finding("version", NOTICE, what, why, t("cli.doctor.version.fix"))
    return Finding("hub", OK, what)


def _foreign(place: HubAddress) -> Finding:
    """It answers `/health` as a hub, but it is not understudy: its leases have no tokens."""
    fix = t("cli.doctor.foreign.fix", version=__version__, origin=place.url_from)
    what = t("cli.doctor.foreign.what", url=place.url)
    return Finding("foreign_hub", PROBLEM, what, t("cli.doctor.foreign.why"), fix)


def _no_hub(place: HubAddress) -> Finding:
    """Something answers there, but no hub: on this machine its port is taken."""
    if not place.is_loopback:
        why = t("cli.doctor.unreachable.why", origin=place.url_from)
        return Finding("hub", PROBLEM, t("cli.client.no_hub", url=place.url), why, t("cli.doctor.unreachable.fix"))
    what = t("cli.doctor.port_taken.what", port=urlsplit(place.url).port or 80)
    return Finding("port", PROBLEM, what, t("cli.doctor.port_taken.why"), t("cli.doctor.port_taken.fix"))


def _answers_tcp(place: HubAddress) -> bool:
    parts = urlsplit(place.url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), 1.0):
            return True
    except OSError:
        return False


def transport(place: HubAddress) -> Iterator[Finding]:
    """Checks that the key is sent encrypted."""
    if place.url.startswith("http://") and not place.is_loopback:
        yield Finding(
            "transport", NOTICE, t("cli.doctor.plain.what"), t("cli.doctor.plain.why"), t("cli.doctor.plain.fix")
        )


def clock(hub: HubClient) -> Iterator[Finding]:
    """Checks that both clocks agree."""
    try:
        theirs_ms = int(parsedate_to_datetime(hub.date).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        return
    off_ms = SystemClock().now_ms() - theirs_ms
    if abs(off_ms) > CLOCK_OFF_MS_MAX:
        key = "cli.doctor.clock.ahead" if off_ms > 0 else "cli.doctor.clock.behind"
        shown = t(key, span=span(abs(off_ms)))
        yield Finding("clock", PROBLEM, shown, t("cli.doctor.clock.why"), t("cli.doctor.clock.fix"))
    else:
        yield Finding("clock", OK, t("cli.doctor.clock.ok"))


def store(hub: HubClient, *, is_worker: bool = False) -> Iterator[Finding]:
    """Checks that the hub can write and that its alarm runs; a Worker has no machine to go to."""
    where = "_worker" if is_worker else ""
    try:
        _, ready = hub.status_of("/ready")
    except UnreachableError as error:
        yield Finding("store", PROBLEM, said(error))
        return
    if not isinstance(ready, dict) or "store" not in ready:
        yield Finding("store", PROBLEM, t("cli.doctor.ready.none"), fix=t("cli.doctor.unreachable.fix"))
    elif not ready["store"].get("writable"):
        yield Finding(
            "store", PROBLEM, t("cli.doctor.store.what"), t("cli.doctor.store.why"), t(f"cli.doctor.store.fix{where}")
        )
    elif ready.get("draining"):
        yield Finding("hub", NOTICE, t("cli.doctor.draining"))
    elif not ready.get("ready"):
        yield Finding(
            "alarm", PROBLEM, t("cli.doctor.alarm.what"), t("cli.doctor.alarm.why"), t(f"cli.doctor.alarm.fix{where}")
        )
    else:
        if count := ready["store"].get("unreadable"):
            what = t("cli.doctor.unreadable.what", count=count)
            yield Finding("unreadable", NOTICE, what, t("cli.doctor.unreadable.why"), t("cli.doctor.unreadable.fix"))
        yield Finding("store", OK, t("cli.doctor.store.ok", ms=ready["store"].get("commitMs")))
