"""The reasons for the state of a daemon or a channel, in the reader's language."""

from __future__ import annotations

from typing import Any

from understudy.cli.terminal import safe
from understudy.spans import span
from understudy.texts import t


def reason_of(row: dict[str, Any]) -> str:
    """The reason for a daemon's state, in the reader's language, with the fix if there is one."""
    stuck = row.get("stuck")
    if not isinstance(stuck, dict):
        reason = str(row.get("reason") or "")
        return t(f"liveness.reason.{reason}") if reason in ("planned", "stopped", "expected") else reason
    reason = t(
        f"liveness.{stuck['code']}",
        what=stuck["what"],
        state=stuck.get("state", ""),
        limit=f"{stuck.get('limitSec', 0):g}",
    )
    return t("liveness.fix", reason=reason, fix=stuck["mend"]) if stuck.get("mend") else reason


def channel_text(row: dict[str, Any]) -> str:
    """The messages that a channel could not send, counted, and the reason."""
    shown = {"name": safe(row["name"]), "waiting": row["waiting"], "dead": row["dead"]}
    text = t("cli.status.channel", **shown, span=span(float(row.get("oldestSec") or 0) * 1000))
    if not row["waiting"]:
        text = t("cli.status.channel_dead", **shown)
    return f"{text}: {safe(row.get('lastError') or '')}"
