"""Checks of the daemons by what the hub knows: silent, stuck, too many warnings, and the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from understudy import __version__
from understudy.cli.client import HubClient
from understudy.cli.connection import HubAddress
from understudy.cli.exits import ClientError
from understudy.cli.findings.finding import NOTICE, OK, PROBLEM, Finding, said
from understudy.cli.findings.service import Services
from understudy.cli.machine import shares_machine
from understudy.cli.reasons import reason_of
from understudy.clock import SystemClock, iso, parse_iso
from understudy.coordinator.stuck import EXPIRING, WORKS, fix_of, word_of
from understudy.spans import span
from understudy.texts import t

UNHEALTHY = frozenset({"late", "down", "stuck"})
UNKNOWN = "unknown"  # not asked yet
AT_WORK = frozenset({"healthy", "draining", "paused"})
BEATS_IN_TIME = 3  # so many beats should fit before a warning: one that is lost is ordinary
BEATS_TO_DOWN = 5
DAY_MS, HOUR_MS = 86_400_000, 3_600_000
INCIDENTS_A_DAY_MAX = 3
HUB_STARTS_AN_HOUR_MAX = 5
LISTED_MAX = 200


def look(hub: HubClient, place: HubAddress, services: Services, *, is_worker: bool = False) -> Iterator[Finding]:
    """Needs a key that may read."""
    try:
        daemons = hub.daemons()
        starts = hub.get("/api/deployments").get("deployments", [])
        yield from _nobody(daemons, services)
        for row in daemons:
            yield from _daemon(row, services)
        yield from _hub_starts(starts, is_worker=is_worker)
        yield from _hubs([row for row in starts if row.get("running")])
        if not is_worker and shares_machine(place, daemons, str(starts[0].get("host", "")) if starts else ""):
            what, why = t("cli.doctor.shared.what"), t("cli.doctor.shared.why")
            yield Finding("machine", NOTICE, what, why, t("cli.doctor.shared.fix"))
        yield from _falling_silent(hub)
        yield from _restarting(hub)
        yield from _cloned(hub)
    except ClientError as error:
        yield Finding("daemons", PROBLEM, said(error))


def _nobody(daemons: list[dict[str, Any]], services: Services) -> Iterator[Finding]:
    if any(row.get("state") in AT_WORK for row in daemons):
        return
    fix = "understudy service start" if "daemon" in services else t("cli.doctor.nobody.fix")
    yield Finding("daemons", PROBLEM, t("cli.doctor.nobody.what"), t("cli.doctor.nobody.why"), fix)


def _daemon(row: dict[str, Any], services: Services) -> Iterator[Finding]:
    name, state = str(row.get("daemonId")), str(row.get("state"))
    if state in UNHEALTHY:
        silent = span(float(row.get("silentForSec") or 0) * 1000)
        what = t("cli.doctor.daemon.what", id=name, state=state, span=silent, reason=reason_of(row) or "–")
        yield Finding("daemon", PROBLEM, what, t("cli.doctor.daemon.why"), _fix(name, services))
    elif state == "healthy":
        yield Finding("daemon", OK, t("cli.doctor.daemon.ok", id=name))
    yield from _logins(row, name)
    yield from _thresholds(row, name)
    version = str(row.get("version") or "")
    if row.get("bootId") and version and version != __version__:
        why = t("cli.doctor.version.why", theirs=version, ours=__version__)
        yield Finding("version", NOTICE, t("cli.doctor.version.daemon", id=name), why, t("cli.doctor.version.fix"))
    elif not row.get("bootId") and state != "new":
        what = t("cli.doctor.old_client.what", id=name)
        fix = t("cli.doctor.old_client.fix", id=name)
        yield Finding("old", NOTICE, what, t("cli.doctor.old_client.why"), fix)


def _fix(name: str, services: Services) -> str:
    """On the daemon's own machine there is more to do than to go there."""
    if name != services.daemon_id:
        return t("cli.doctor.daemon.fix", id=name)
    return "understudy service restart" if "daemon" in services else t("cli.doctor.daemon.fix_here")


def _logins(row: dict[str, Any], name: str) -> Iterator[Finding]:
    """A CLI that is missing, logged out or without credit: the machine is well, and no task succeeds."""
    auth = row.get("auth")
    for executor, state in auth.items() if isinstance(auth, dict) else ():
        word = word_of(state)
        if word not in WORKS | {UNKNOWN}:
            what = t("cli.doctor.login.what", executor=executor, id=name, state=word)
            fix = fix_of(executor, state) or t("cli.doctor.login.fix", executor=executor)
            yield Finding("login", PROBLEM, what, t("cli.doctor.login.why"), t("cli.doctor.login.there", fix=fix))
        elif word == EXPIRING:
            what = t("cli.doctor.login.expiring", executor=executor, id=name, date=str(state).partition(":")[2])
            fix = t("cli.doctor.login.there", fix=fix_of(executor, state))
            yield Finding("login", NOTICE, what, t("cli.doctor.login.expiring.why"), fix)


def _thresholds(row: dict[str, Any], name: str) -> Iterator[Finding]:
    """Warnings too often: one late beat is enough for one."""
    interval_s = row.get("intervalSec")
    if not interval_s or not row.get("lastSeenAt") or row.get("state") not in ("healthy", "late"):
        return
    late_s = (parse_iso(row["lateAt"]) - parse_iso(row["lastSeenAt"])) / 1000
    if late_s >= BEATS_IN_TIME * interval_s - 1:  # instants are whole milliseconds, and taken one after the other
        return
    what = t("cli.doctor.interval.what", id=name, interval=span(interval_s * 1000), late=span(late_s * 1000))
    late, down = (f"{round(beats * interval_s) or 1}s" for beats in (BEATS_IN_TIME, BEATS_TO_DOWN))
    fix = t("cli.doctor.interval.fix", id=name, late=late, down=down)
    yield Finding("interval", NOTICE, what, t("cli.doctor.interval.why"), fix)


def _falling_silent(hub: HubClient) -> Iterator[Finding]:
    """Daemons that fell silent again and again: sleep, a weak network, or limits that are too tight."""
    since = SystemClock().now_ms() - DAY_MS
    rows = hub.get("/api/incidents", limit=LISTED_MAX).get("incidents", [])
    often = Counter(str(row["daemonId"]) for row in rows if parse_iso(row["openedAt"]) >= since)
    for name, count in often.items():
        if count > INCIDENTS_A_DAY_MAX:
            what = t("cli.doctor.often.what", id=name, count=count)
            fix = t("cli.doctor.often.fix", id=name)
            yield Finding("often", NOTICE, what, t("cli.doctor.often.why"), fix)


def _last_hour(hub: HubClient, event: str) -> dict[str, dict[str, Any]]:
    """The fields of the last event of that name by daemon."""
    since = iso(SystemClock().now_ms() - HOUR_MS)
    events = hub.get("/api/events", search=event, since=since, limit=LISTED_MAX).get("events", [])
    return {str(row["fields"].get("daemonId")): row["fields"] for row in events if row.get("name") == event}


def _restarting(hub: HubClient) -> Iterator[Finding]:
    """Daemons that are started again and again (the hub reports it once an hour)."""
    for name, fields in _last_hour(hub, "daemon.restarting").items():
        what = t("cli.doctor.churn.what", id=name, count=fields.get("startsLastHour", "?"))
        yield Finding("churn", PROBLEM, what, t("cli.doctor.churn.why"), t("cli.doctor.churn.fix"))


def _cloned(hub: HubClient) -> Iterator[Finding]:
    """Two machines with one name: the second stands idle and sends nothing."""
    for name in _last_hour(hub, "daemon.cloned"):
        fix = t("cli.doctor.cloned.fix", id=name)
        yield Finding("cloned", PROBLEM, t("cli.doctor.cloned.what", id=name), t("cli.doctor.cloned.why"), fix)


def _hubs(running: list[dict[str, Any]]) -> Iterator[Finding]:
    """Several hubs on one store: they must be alike."""
    if len(running) < 2:  # noqa: PLR2004 - the one that answers
        return
    kinds = {(row["packageVersion"], row["configFingerprint"]) for row in running}
    names = ", ".join(f"{row['hub']} {row['packageVersion']}/{row['configFingerprint']}" for row in running)
    if len(kinds) == 1:
        names = ", ".join(str(row["hub"]) for row in running)
        yield Finding("hubs", OK, t("cli.doctor.hubs.ok", count=len(running), names=names))
        return
    what, why = t("cli.doctor.hubs.differ", names=names), t("cli.doctor.hubs.why")
    yield Finding("hubs", NOTICE, what, why, t("cli.doctor.hubs.fix"))


def _hub_starts(starts: list[dict[str, Any]], *, is_worker: bool) -> Iterator[Finding]:
    since = SystemClock().now_ms() - HOUR_MS
    count = sum(parse_iso(row["createdAt"]) >= since for row in starts if row.get("createdAt"))
    if count > HUB_STARTS_AN_HOUR_MAX:
        fix = t("cli.doctor.hub_churn.fix_worker" if is_worker else "cli.doctor.hub_churn.fix")
        yield Finding("hub_churn", PROBLEM, t("cli.doctor.hub_churn.what", count=count), fix=fix)
