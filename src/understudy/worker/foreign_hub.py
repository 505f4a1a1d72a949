"""Leases in a form that this daemon cannot hold, from a hub without tokens: given back at once; then claims pause.

A lease without a token cannot be renewed by a beat or fenced, so its task must not be started. The hub may be upgraded
at any time: after a pause that grows, one task is asked for again.
"""

from __future__ import annotations

from typing import Any

from understudy.backoff import Backoff
from understudy.texts import t
from understudy.wire.limits import is_id
from understudy.worker.effects import Call, HubAnswer, Loop, NotifyOwner, Steps, Wait, WriteLog
from understudy.worker.release import TIMEOUT_MS, TRIES_MAX, release_path
from understudy.worker.state import WorkerState

PAUSE_MS_FIRST, PAUSE_MS_MAX = 60_000, 1_800_000
REASON = "not_started"


def lacks_token(entry: Any) -> bool:
    """True if nobody can hold this grant, because it has no token; False if only its task cannot be read here."""
    lease = entry.get("lease") if isinstance(entry, dict) else None
    return not (isinstance(lease, dict) and isinstance(lease.get("token"), int))


class ForeignHub:
    """The claim loop's state about a hub whose leases it cannot hold."""

    def __init__(self, state: WorkerState) -> None:
        self._state = state
        self._pauses = Backoff(PAUSE_MS_FIRST, PAUSE_MS_MAX, state.jitter)
        self._until_ms = 0  # mono
        self._about = f"hub-foreign:{state.identity.daemon_id}"

    def is_resting(self) -> bool:
        """True if nothing is to be claimed now."""
        return self._state.is_hub_foreign and self._state.clock.mono_ms() < self._until_ms

    def gave(self, entries: list[Any]) -> Loop:
        """Grants of the last claim that cannot be held: give them back, say so, claim no more for a while."""
        state, is_news = self._state, not self._state.is_hub_foreign
        state.is_hub_foreign = True
        pause_ms = self._pauses.next_ms()
        self._until_ms = state.clock.mono_ms() + pause_ms
        given_back = 0
        for entry in entries:
            state.mark("claim")
            given_back += yield from release_entry(state, entry)
        fields = {"tasks": len(entries), "givenBack": given_back, "againInSec": pause_ms // 1000}
        yield WriteLog("critical" if is_news else "warning", "Daemon", t("daemon.hub_foreign"), fields)
        if is_news:
            state.open_alarms.add(self._about)
            title = t("daemon.hub_foreign.title", daemon=state.identity.daemon_id)
            yield NotifyOwner("critical", title, t("daemon.hub_foreign"), self._about)

    def spoke_well(self) -> Loop:
        """It granted leases with tokens, so it is a hub of today: claim as usual again."""
        if not self._state.is_hub_foreign and self._about not in self._state.open_alarms:
            return
        self._state.open_alarms.discard(self._about)
        self._state.is_hub_foreign = False
        self._pauses.reset()
        yield WriteLog("info", "Daemon", t("daemon.hub_known"))
        title = t("daemon.hub_known.title", daemon=self._state.identity.daemon_id)
        yield NotifyOwner("recovered", title, t("daemon.hub_known"), self._about)


def release_entry(state: WorkerState, entry: Any) -> Steps[bool]:
    """Release one by its holder, and its token if it has one → whether the hub took it; no id, no release."""
    task_id = _task_id(entry)
    if not task_id:
        return False
    backoff = Backoff(250, 2_000, state.jitter)
    for nth in range(TRIES_MAX):
        answer = yield Call("POST", release_path(task_id), _body(state, entry), timeout_ms=TIMEOUT_MS)
        if isinstance(answer, HubAnswer) and answer.is_final:
            return True
        if nth + 1 < TRIES_MAX:
            yield Wait("release", backoff.next_ms())
    return False


def _task_id(entry: Any) -> str:
    """The id of what was granted, wherever that hub puts it; "" if it has none that may go into a path."""
    if not isinstance(entry, dict):
        return ""
    task = entry.get("task")
    named = (task.get("id") if isinstance(task, dict) else None, entry.get("taskId"), entry.get("id"))
    return next((name for name in named if isinstance(name, str) and is_id(name)), "")


def _body(state: WorkerState, entry: dict[str, Any]) -> dict[str, Any]:
    lease = entry.get("lease")
    lease = lease if isinstance(lease, dict) else {}
    holder, token = lease.get("workerId"), lease.get("token")
    body = {"workerId": holder if isinstance(holder, str) and holder else state.identity.worker_id, "reason": REASON}
    return body | ({"token": token} if isinstance(token, int) else {})
