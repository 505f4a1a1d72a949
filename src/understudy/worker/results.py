"""The result of a run as it is spooled, sent and kept as evidence."""

from __future__ import annotations

from typing import Any

import msgspec


class RunResult(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One result with the token it is judged by; the JSON form is also the spool's file format."""

    name: str  # the run's id: file name in the spool
    task_id: str
    token: int
    success: bool
    finished_at: int = 0  # wall clock, epoch ms
    duration_ms: int = 0
    output: str | None = None
    error: str | None = None
    failure_class: str = ""
    failure_final: bool = False
    usage: dict[str, Any] | None = None


def wire_form(result: RunResult) -> dict[str, Any]:
    """The entry for `POST /api/results` (docs/contract.md, section 2)."""
    body: dict[str, Any] = {
        "taskId": result.task_id,
        "token": result.token,
        "success": result.success,
        "durationMs": result.duration_ms,
    }
    if result.output is not None:
        body["output"] = result.output
    if result.error is not None:
        body["error"] = result.error
    if result.failure_class:
        body["failure"] = {"class": result.failure_class, "final": result.failure_final}
    if result.usage is not None:
        body["usage"] = result.usage
    return body
