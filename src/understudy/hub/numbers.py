"""`GET /api/numbers`: the last day or month in buckets, from samples and from rows that are kept anyway."""

from __future__ import annotations

from typing import Any, Literal

from understudy.clock import iso
from understudy.hub.views import View
from understudy.money import usd
from understudy.store.queries import FINISHED_TASKS, SAMPLED, SPENT
from understudy.wire.answers.numbers import Bucket, NumbersAnswer

Span = Literal["day", "month"]
BUCKETS: dict[Span, tuple[int, int]] = {"day": (600_000, 144), "month": (21_600_000, 120)}  # ms a bucket, how many


def numbers(view: View, span: Span) -> NumbersAnswer:
    """The buckets of a day (10 minutes each) or of a month (6 hours each); the last one is of this moment."""
    bucket_ms, count = BUCKETS[span]
    to_at = _end(view, bucket_ms)
    return NumbersAnswer(span, bucket_ms // 1000, iso(to_at), buckets(view, bucket_ms, count))


def buckets(view: View, bucket_ms: int, count: int) -> list[Bucket]:
    """So many stretches of this length, aligned to the epoch, up to the one that is under way."""
    to_at = _end(view, bucket_ms)
    from_at = to_at - count * bucket_ms
    gather = view.reader.gathered
    sampled, tasks, spent = (gather(series, from_at, to_at, bucket_ms) for series in (SAMPLED, FINISHED_TASKS, SPENT))
    return [
        Bucket(iso(from_at + n * bucket_ms), **_sampled(sampled.get(n)), **_tasks(tasks.get(n)), **_spent(spent.get(n)))
        for n in range(count)
    ]


def _end(view: View, bucket_ms: int) -> int:
    return view.now.wall - view.now.wall % bucket_ms + bucket_ms


def _sampled(values: tuple[int, ...] | None) -> dict[str, Any]:
    if values is None:
        return {}
    waiting, leased, oldest_ms, beats, requests, commits, commit_ms, commit_max_ms = values
    shown = {"waiting": waiting, "leased": leased, "oldest_sec": oldest_ms / 1000, "beats": beats, "requests": requests}
    return shown | {
        "commits": commits,
        "commit_mean_ms": round(commit_ms / max(commits, 1), 3),
        "commit_max_ms": commit_max_ms,
    }


def _tasks(values: tuple[int, ...] | None) -> dict[str, Any]:
    if values is None:
        return {}
    finished, pickup_ms, pickup_max_ms, run_ms, run_max_ms = values
    return {
        "finished": finished,
        "pickup_mean_sec": round(pickup_ms / finished / 1000, 3),
        "pickup_max_sec": pickup_max_ms / 1000,
        "run_mean_sec": round(run_ms / finished / 1000, 3),
        "run_max_sec": run_max_ms / 1000,
    }


def _spent(values: tuple[int, ...] | None) -> dict[str, Any]:
    return {} if values is None else {"calls": values[0], "spent_usd": usd(values[1])}
