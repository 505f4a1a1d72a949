"""Answers about results: as they are stored, and what became of those that were reported."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from understudy.coordinator.nouns import Result
from understudy.money import usd
from understudy.wire.answers.base import Answer, Yes, as_stored, if_any
from understudy.wire.tasks import FailureBody


class ResultJson(Answer, frozen=True):
    """The end of a task. Empty in the record of a task that ended without a result, such as a cancelled one."""

    success: bool | UnsetType = UNSET
    output: Any = UNSET
    error: Any = UNSET
    failure: FailureBody | UnsetType = UNSET
    usage: dict[str, Any] | UnsetType = UNSET
    executor: str | UnsetType = UNSET
    degraded: Yes | UnsetType = UNSET
    cost_usd: float | UnsetType = UNSET


class Taken(Answer, frozen=True):
    """A result was taken: as `duplicate`, which changes nothing, or `cut` to what a full store has room for."""

    success: Yes
    duplicate: Yes | UnsetType = UNSET
    cut: Yes | UnsetType = UNSET


class TakenOrNot(Answer, frozen=True, kw_only=True):
    """The outcome of one of many results: `success`, or `error`."""

    task_id: str
    success: Yes | UnsetType = UNSET
    duplicate: Yes | UnsetType = UNSET
    cut: Yes | UnsetType = UNSET
    error: str | UnsetType = UNSET
    code: str | UnsetType = UNSET
    held_by: str | UnsetType = UNSET


class ResultsAnswer(Answer, frozen=True):
    """One for each result that was reported, in their order."""

    results: list[TakenOrNot]


def result_json(row: Result) -> ResultJson:
    """A result, with what its worker sent as it is stored."""
    return ResultJson(
        success=bool(row.success),
        output=as_stored(row.output) if row.output else UNSET,
        error=as_stored(row.error) if row.error else UNSET,
        failure=as_stored(row.failure) if row.failure else UNSET,
        usage=as_stored(row.usage) if row.usage else UNSET,
        executor=if_any(row.executor),
        degraded=True if row.degraded else UNSET,
        cost_usd=usd(row.cost_micro_usd) if row.cost_micro_usd else UNSET,
    )
