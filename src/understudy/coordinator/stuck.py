"""Alive is not enough: what a beat says of loops, runs and logins decides whether its daemon is stuck.

Nothing here compares clocks. A loop comes with the seconds since its last success and its own limit, a run with the
seconds since its last sign and its limit; both are counted by the daemon in time during which it was awake and in
touch with the hub, so neither a sleep nor an outage of the hub makes a loop look dead (daemon/heartbeat.py).
A login is `word` or `word:detail`. The first one named is that of tasks that name no executor: while it cannot work its
daemon claims nothing, so it is stuck, whatever the others say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct

from understudy.coordinator.changes import Event
from understudy.coordinator.health import health_event
from understudy.coordinator.nouns import Daemon, Now
from understudy.coordinator.renewals import NamedRun

OK, EXPIRING = "ok", "expiring"
WORKS = frozenset({OK, EXPIRING})
DETAIL_CHARS_MAX = 200  # also of a name, or of a word
LOGINS_MAX = 16  # of one daemon; further logins are shown, but make no event
# executor → word → the command that fixes it; "" for any other word (docs/measured.md, Logins)
FIXES = {
    "claude_code": {
        "missing": "npm install -g @anthropic-ai/claude-code",
        "no_credit": "open https://console.anthropic.com/settings/billing",
        "": "claude setup-token",
    },
    "codex": {
        "missing": "npm install -g @openai/codex",
        "no_credit": "open https://platform.openai.com/settings/organization/billing",
        "": "codex login",
    },
}


# word of a machine that cannot start processes → where to look first (worker/start_faults.py)
START_FIXES = {
    "disk_full": "df -h",
    "no_descriptors": "ulimit -n",
    "no_memory": "top",
    "no_processes": "ulimit -u",
    "no_directory": "understudy doctor",
    "not_runnable": "understudy doctor",
    "cannot_start": "understudy doctor",
}


class Trouble(Struct, frozen=True):
    """The reason why a daemon that sends heartbeats does no work: `code` for programs, `reason` for people."""

    code: str  # auth_failed | loop_stopped | task_stalled
    what: str  # the executor, loop or task
    word: str = ""  # how the login is
    limit_s: float = 0
    fix: str = ""

    @property
    def reason(self) -> str:
        """A sentence that stays the same while the trouble does."""
        match self.code:
            case "auth_failed":
                return f"{self.what} cannot work: {self.word}" + (f"; fix it with `{self.fix}`" if self.fix else "")
            case "loop_stopped":
                return f"its {self.what} loop made no progress for more than {self.limit_s:g} s"
            case _:
                return f"task {self.what} showed no progress for more than {self.limit_s:g} s"


def trouble_of(loops: dict[str, Any], auth: dict[str, Any], running: Iterable[tuple[str, Any, Any]]) -> Trouble | None:
    """The first trouble that a beat reports, the easiest to fix first; `running`: task, idle for, limit (seconds).

    Values of another type than expected are ignored.
    """
    executor, state = next(iter(auth.items()), ("", OK))
    if word_of(state) not in WORKS:
        return Trouble("auth_failed", executor[:DETAIL_CHARS_MAX], word_of(state), fix=fix_of(executor, state))
    for name, said in loops.items():
        if isinstance(said, dict) and is_over(said.get("agoSec"), said.get("limitSec")):
            return Trouble("loop_stopped", name[:DETAIL_CHARS_MAX], limit_s=said["limitSec"])
    for task_id, idle_s, limit_s in running:
        if is_over(idle_s, limit_s):
            return Trouble("task_stalled", task_id, limit_s=limit_s)
    return None


def trouble_in(
    daemon: Daemon, loops: dict[str, Any] | None, auth: dict[str, Any] | None, runs: Iterable[NamedRun]
) -> Trouble | None:
    """The trouble that a beat reports; logins that it does not mention are as an earlier beat reported them."""
    running = [(run.task_id, run.idle_s, run.idle_limit_s) for run in runs]
    if not (loops or auth or running):
        return None
    return trouble_of(loops or {}, auth_of(daemon, auth), running)


def trouble_said(daemon: Daemon) -> Trouble | None:
    """The trouble that its last heartbeat reported."""
    decode = msgspec.json.decode
    running = [(run["taskId"], run.get("idleSec"), run.get("idleLimitSec")) for run in decode(daemon.running)]
    return trouble_of(decode(daemon.loops), decode(daemon.auth), running)


def auth_of(daemon: Daemon, said: dict[str, Any] | None) -> dict[str, Any]:
    """The states of its logins as reported, now or last; a daemon that was just started has not checked them yet."""
    if said is not None or daemon.auth == "{}":
        return said or {}
    known: dict[str, Any] = msgspec.json.decode(daemon.auth)
    return known


def is_over(value: Any, limit: Any) -> bool:
    """True if a limit was given, and this is beyond it."""
    return isinstance(value, int | float) and isinstance(limit, int | float) and 0 < limit < value


def word_of(state: Any) -> str:
    """The state of a login, without its detail."""
    return state.partition(":")[0][:DETAIL_CHARS_MAX] if isinstance(state, str) else OK


def fix_of(executor: str, state: Any) -> str:
    """The command that fixes a login; "" where we know none."""
    if word_of(state) in START_FIXES:
        return START_FIXES[word_of(state)]
    known = FIXES.get(executor, {})
    return known.get(word_of(state), known.get("", ""))


def login_events(daemon: Daemon, auth: dict[str, Any], now: Now) -> tuple[Event, ...]:
    """Events about its logins that changed since its last heartbeat, one for each change."""
    before = msgspec.json.decode(daemon.auth)
    return tuple(
        event
        for name, state in islice(auth.items(), LOGINS_MAX)
        for event in _auth_events(daemon, now, name[:DETAIL_CHARS_MAX], before.get(name, OK), state)
    )


def _auth_events(daemon: Daemon, now: Now, executor: str, before: Any, state: Any) -> Iterator[Event]:
    was, word = word_of(before), word_of(state)
    if was == word:
        return
    if was not in WORKS and word in WORKS:
        message = f"{executor} on {daemon.id} can work again"
        yield health_event(daemon, now, "daemon.auth_restored", "info", message, executor=executor)
    detail = str(state).partition(":")[2][:DETAIL_CHARS_MAX] or None
    fields = {"executor": executor, "state": word, "detail": detail, "mend": fix_of(executor, state) or None}
    if word == EXPIRING:
        message = f"The token of {executor} on {daemon.id} ends on {detail}"
        yield health_event(daemon, now, "daemon.token_expiring", "warning", message, **fields)
    elif word != OK:
        message = f"{executor} on {daemon.id} cannot work: {word}"
        yield health_event(daemon, now, "daemon.auth_failed", "critical", message, **fields)
