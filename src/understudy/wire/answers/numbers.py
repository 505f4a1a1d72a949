"""The answer that plots are drawn from."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, UnsetType

from understudy.wire.answers.base import Answer, Instant, one_of


class Bucket(Answer, frozen=True):
    """A stretch of time in numbers; a key is absent where nothing is known of it."""

    from_at: Instant
    waiting: int | UnsetType = UNSET  # at most, of the moments at which it was counted, once a minute
    leased: int | UnsetType = UNSET
    oldest_sec: float | UnsetType = UNSET
    beats: int | UnsetType = UNSET
    requests: int | UnsetType = UNSET
    commits: int | UnsetType = UNSET
    commit_mean_ms: float | UnsetType = UNSET
    commit_max_ms: int | UnsetType = UNSET
    finished: int | UnsetType = UNSET  # tasks that had been claimed
    pickup_mean_sec: float | UnsetType = UNSET  # of these tasks, from the moment when they could be claimed
    pickup_max_sec: float | UnsetType = UNSET
    run_mean_sec: float | UnsetType = UNSET
    run_max_sec: float | UnsetType = UNSET
    calls: int | UnsetType = UNSET  # of takeover, by the time at which they were settled
    spent_usd: float | UnsetType = UNSET


class NumbersAnswer(Answer, frozen=True):
    """Buckets of one length, oldest first; the last one is not over yet."""

    span: Annotated[str, one_of("day", "month")]
    bucket_sec: int
    to_at: Instant  # the end of the last bucket
    buckets: list[Bucket]
