"""One daemon as people see it: its past, its incidents, what it runs, what it says of itself, its limits."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from understudy.coordinator import daily_windows
from understudy.coordinator.daily_windows import Window
from understudy.coordinator.health import limits_of
from understudy.coordinator.nouns import Daemon, Period, Policy, Progress
from understudy.coordinator.stuck import WORKS, fix_of, word_of
from understudy.coordinator.timeline import Uptime, uptime_of
from understudy.errors import NotFoundError
from understudy.hub.home import STEP_MS, RunShown, progress_said, titles_of
from understudy.hub.periods import DAY_MS, periods, stretches
from understudy.hub.views import View
from understudy.store.queries import HELD_BY, INCIDENTS_OF_BEFORE
from understudy.wire.answers.events import IncidentJson, incident_json
from understudy.wire.answers.overview import run_json

SPANS = {"24h": 1, "7d": 7, "90d": 90}  # in days
INCIDENTS_SHOWN = 10
RUNS_SHOWN = 50
PARTS_SHOWN = 32  # loops, logins
NEVER = 1 << 53  # later than any instant


class SpanShown(Struct, frozen=True):
    """The last days of a daemon."""

    parts: list[Period]
    since: int
    until: int
    uptime: Uptime


class DaemonIncidentsShown(Struct, frozen=True):
    """A page of a daemon's incidents, newest first."""

    incidents: list[IncidentJson]
    older: str  # the cursor of the next page; "": there is none


class LoopShown(Struct, frozen=True):
    """One loop as the last heartbeat reported it."""

    name: str
    ago_ms: float | None  # since it last made progress; None: not said
    limit_ms: float | None
    is_over: bool


class LoginShown(Struct, frozen=True):
    """The login of one assistant."""

    executor: str
    word: str  # ok, expiring, logged_out, …
    detail: str
    works: bool
    fix: str  # the command that fixes it; "": none is known, or needed


class LimitShown(Struct, frozen=True):
    """A limit of silence that holds for a daemon, and its origin."""

    ms: int
    origin: str  # own, hub, or raised: what was set is too short for its interval, or for the other limit


class LimitsShown(Struct, frozen=True):
    """The limits of one daemon."""

    late: LimitShown
    down: LimitShown
    own_late_ms: int  # 0: none
    own_down_ms: int
    sleep: tuple[Window, ...]
    sleep_trouble: str  # the part of its windows that cannot be judged here; "": none


def known_daemon(view: View, daemon_id: str) -> Daemon:
    """The daemon; NotFoundError if there is none."""
    found = view.reader.load_many(Daemon, (daemon_id,))
    if not found:
        raise NotFoundError("Daemon not found")
    return found[0]


def span_shown(view: View, daemon: Daemon, days: int) -> SpanShown:
    """Its last days as a bar, and the part of them in which it was up."""
    until = -(-view.now.wall // STEP_MS) * STEP_MS
    since = until - days * DAY_MS
    exact = periods(view, daemon, since)
    return SpanShown(stretches(exact, since, until), since, until, uptime_of(exact))


def incidents_of(view: View, daemon_id: str, before_at: int, before_id: str) -> DaemonIncidentsShown:
    """Its incidents before a cursor; 0 and "": the newest."""
    asked = (daemon_id, before_at or NEVER, before_id)
    rows = view.reader.find(INCIDENTS_OF_BEFORE, *asked, limit=INCIDENTS_SHOWN + 1)
    shown = rows[:INCIDENTS_SHOWN]
    older = f"{shown[-1].opened_at}~{shown[-1].id}" if len(rows) > len(shown) else ""
    return DaemonIncidentsShown([incident_json(row) for row in shown], older)


def runs_of(view: View, daemon_id: str) -> list[RunShown]:
    """The tasks that it holds, the longest held first."""
    tasks = sorted(view.reader.find(HELD_BY, (daemon_id,), limit=RUNS_SHOWN), key=lambda task: task.claimed_at)
    ids = [task.id for task in tasks]
    progress = {row.task_id: row for row in view.reader.load_many(Progress, ids)}
    titles = titles_of(view, ids)
    runs = [run_json(task, progress.get(task.id)) for task in tasks]
    return [RunShown(run, titles.get(run.task_id, ""), progress_said(run.progress)) for run in runs]


def loops_of(daemon: Daemon) -> list[LoopShown]:
    """Its loops; a value of another shape than ours counts as not said."""
    said: dict[str, Any] = msgspec.json.decode(daemon.loops)
    return [_loop(name, value if isinstance(value, dict) else {}) for name, value in [*said.items()][:PARTS_SHOWN]]


def _loop(name: str, said: dict[str, Any]) -> LoopShown:
    ago, limit = (_ms(said.get(key)) for key in ("agoSec", "limitSec"))
    return LoopShown(name, ago, limit, ago is not None and limit is not None and 0 < limit < ago)


def _ms(seconds: Any) -> float | None:
    is_number = isinstance(seconds, int | float) and 0 <= seconds < NEVER
    return seconds * 1000 if is_number else None


def logins_of(daemon: Daemon) -> list[LoginShown]:
    """Its assistants and whether each can work."""
    said: dict[str, Any] = msgspec.json.decode(daemon.auth)
    return [_login(name, state) for name, state in [*said.items()][:PARTS_SHOWN]]


def _login(executor: str, state: Any) -> LoginShown:
    word = word_of(state)
    detail = state.partition(":")[2] if isinstance(state, str) else ""
    works = word in WORKS
    return LoginShown(executor, word, detail, works, "" if works else fix_of(executor, state))


def limits_shown(daemon: Daemon, policy: Policy) -> LimitsShown:
    """The limits that hold for it."""
    limits = limits_of(daemon, policy)
    late = _limit(limits.late_ms, daemon.late_after_ms, policy.late_after_ms)
    down = _limit(limits.down_ms, daemon.down_after_ms, policy.down_after_ms)
    sleep, trouble = daily_windows.read(daemon.expected_sleep)
    return LimitsShown(late, down, daemon.late_after_ms, daemon.down_after_ms, sleep, trouble)


def _limit(ms: int, own_ms: int, hub_ms: int) -> LimitShown:
    origin = "own" if own_ms else "hub"
    return LimitShown(ms, origin if ms == (own_ms or hub_ms) else "raised")
