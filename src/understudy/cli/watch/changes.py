"""The changes between two looks, as data: a line of text each where stdout is no terminal, or a line of JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from understudy.cli.reasons import reason_of
from understudy.cli.takeover import doing_of
from understudy.cli.watch.words import money_of, progress_of, state_word
from understudy.texts import t

Change = dict[str, Any]  # `kind` and what it is about
NOTHING: dict[str, Any] = {
    "daemons": [],
    "runs": [],
    "openIncidents": [],
    "queue": {"waiting": None, "leased": None},
    "takeover": {},
}


def changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    """From one overview to the next; from NOTHING it is all there is."""
    yield from _daemons(before, after)
    yield from _runs(before, after)
    depths = [{key: look["queue"][key] for key in ("waiting", "leased")} for look in (before, after)]
    if depths[0] != depths[1]:
        yield {"kind": "queue", **after["queue"]}
    yield from _takeover(before["takeover"], after["takeover"])
    yield from _incidents(before, after)


def _daemons(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    was, now = _by("daemonId", before["daemons"]), _by("daemonId", after["daemons"])
    for name, row in now.items():
        state = was[name]["state"] if name in was else None
        if state != row["state"]:
            change: Change = {"kind": "daemon", "daemonId": name, "state": row["state"], "was": state}
            yield change | {key: row[key] for key in ("reason", "stuck") if key in row}
    for name in was.keys() - now.keys():
        yield {"kind": "daemon", "daemonId": name, "state": "forgotten", "was": was[name]["state"]}


def _runs(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    was, now = _by("taskId", before["runs"]), _by("taskId", after["runs"])
    for task_id, run in now.items():
        earlier = was.get(task_id)
        if earlier is None or earlier["claimedAt"] != run["claimedAt"]:
            yield {"kind": "run", "change": "begun", **run}
        elif earlier.get("progress") != run.get("progress"):
            yield {"kind": "run", "change": "progress", **run}
    for task_id, run in was.items():
        if task_id not in now:
            yield {"kind": "run", "change": "ended", **run}


def _takeover(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    was, now = (_takeover_now(seen) if seen else None for seen in (before, after))
    if now is not None and now != was:
        yield now


def _takeover_now(seen: dict[str, Any]) -> Change:
    day = seen["budget"]["day"]
    doing, spent, limit = doing_of(seen), day["spentUsd"], day["limitUsd"]
    return {"kind": "takeover", "doing": doing, "open": seen["open"], "spentTodayUsd": spent, "limitTodayUsd": limit}


def _incidents(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    was, now = _by("id", before["openIncidents"]), _by("id", after["openIncidents"])
    for key, row in now.items():
        if row != was.get(key):
            yield {"kind": "incident", "change": "open", **row}
    for key, row in was.items():
        if key not in now:
            yield {"kind": "incident", "change": "over", **row}


def _by(key: str, rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in rows}


def text_of(change: Change) -> str:
    """A change as a sentence, in the reader's language; what came over the wire is in it as it came."""
    return _TEXTS[change["kind"]](change)


def _queue_text(change: Change) -> str:
    return t("cli.watch.queue", waiting=change["waiting"], leased=change["leased"])


def _takeover_text(change: Change) -> str:
    doing = t("cli.takeover.line", doing=t(f"takeover.doing.{change['doing']}"))
    return f"{doing}  {money_of(change['spentTodayUsd'], change['limitTodayUsd'])}"


def _hub_text(change: Change) -> str:
    if change["state"] == "stale":
        return t("cli.watch.away", reason=change["reason"])
    return t("cli.watch.back", url=change["url"])


def _daemon_text(change: Change) -> str:
    word = state_word(change["state"])
    text = f"{change['daemonId']}: {word}"
    if change["was"]:
        text = f"{change['daemonId']}: {state_word(change['was'])} → {word}"
    reason = reason_of(change)
    return f"{text}  {reason}" if reason else text


def _run_text(change: Change) -> str:
    shown = {"task": change["taskId"], "worker": change.get("daemonId") or change["workerId"]}
    text = t(f"cli.watch.run_{change['change']}", **shown)
    said = progress_of(change) if change["change"] == "progress" else ""
    return f"{text}: {said}" if said else text


def incident_text(row: dict[str, Any]) -> str:
    """An incident in one line."""
    if row.get("change") == "over":
        return t("cli.watch.incident_over", id=row["id"], daemon=row["daemonId"])
    text = t("cli.watch.incident", id=row["id"], daemon=row["daemonId"], state=state_word(row["state"]))
    if row.get("acknowledgedBy"):
        text = f"{text}  {t('cli.watch.acknowledged', by=row['acknowledgedBy'])}"
    return text


_TEXTS: dict[str, Callable[[Change], str]] = {
    "daemon": _daemon_text,
    "run": _run_text,
    "queue": _queue_text,
    "takeover": _takeover_text,
    "incident": incident_text,
    "hub": _hub_text,
}
