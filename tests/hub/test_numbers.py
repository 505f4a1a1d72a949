"""Samples of each minute, and the plots that are drawn of them and of rows that are kept anyway."""

from __future__ import annotations

from typing import Any

import pytest

from tests.hub.conftest import Bench, as_read
from tests.hub.test_alarm_loop import Stand, beat, stand  # noqa: F401 - a fixture
from understudy.coordinator.nouns import Now, Task
from understudy.coordinator.retention import SAMPLES_KEPT_MS, SAMPLES_MAX, purge_plan
from understudy.coordinator.samples import MINUTE_MS, Sample, taken
from understudy.coordinator.takeover_nouns import Reservation
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.numbers import numbers
from understudy.hub.retention import PurgeRows
from understudy.hub.starts import LogMinute
from understudy.hub.tally import Counts, Tally
from understudy.hub.views import View
from understudy.wire.tasks import EnqueueBody

DAY = 86_400_000
FULL = Sample(0, 3, 1, 5_000, beats=6, requests=9, commits=4, commit_ms=40, commit_max_ms=25)


def samples(store: Any) -> list[Sample]:
    found: list[Sample] = store.read(lambda tx: tx.load_all(Sample, 100))
    return found


def buckets(hub: Bench, span: Any = "day") -> list[dict[str, Any]]:
    """Those that have anything beside their instant, as a client reads them."""
    wall, policy = hub.clock.now_ms(), hub.engine.policy
    answer = as_read(hub.store.read(lambda tx: numbers(View(tx, wall, policy), span)))
    assert answer["span"] == span
    assert [len(answer["buckets"]), answer["bucketSec"]] == {"day": [144, 600], "month": [120, 21_600]}[span]
    return [bucket for bucket in answer["buckets"] if len(bucket) > 1]


def test_a_minute_is_one_row_at_its_beginning() -> None:
    change = taken(FULL, Now(10 * MINUTE_MS + 59_999, 0))
    assert change is not None
    assert (change.noun.at, change.noun.beats) == (10 * MINUTE_MS, 6)


@pytest.mark.parametrize("name", ["waiting", "leased", "beats", "requests"])
def test_an_idle_hub_writes_no_row_and_anything_at_all_is_one(name: str) -> None:
    assert taken(Sample(0, commits=60, commit_ms=60, commit_max_ms=3), Now(MINUTE_MS, 0)) is None
    assert taken(Sample(0, **{name: 1}), Now(MINUTE_MS, 0)) is not None


def test_hubs_over_one_store_write_one_row_a_minute_together(hub: Bench) -> None:
    other = Bench(store=hub.store)
    hub.ask(LogMinute(1, FULL))
    other.ask(LogMinute(1, FULL))
    (row,) = samples(hub.store)
    assert (row.beats, row.requests, row.commits, row.commit_ms) == (12, 18, 8, 80)
    assert (row.waiting, row.leased, row.oldest_ms, row.commit_max_ms) == (3, 1, 5_000, 25)


def test_the_alarm_takes_a_sample_each_minute(stand: Stand) -> None:  # noqa: F811
    stand.step()
    stand.ask(beat())
    stand.ask(EnqueueTasks([EnqueueBody("x")], ["a"], "k"))
    for _ in range(130):
        stand.clock.advance(1_000)
        stand.step()
    first, second, *_ = samples(stand.store)
    assert second.at - first.at == MINUTE_MS
    assert (first.beats, first.waiting, second.beats) == (1, 1, 0)
    assert 50_000 <= first.oldest_ms <= 60_000


def test_counts_are_those_since_the_last_time_and_none_is_lost() -> None:
    tally = Tally()
    tally.requests += 5
    for ms in (3, 9, 1):
        tally.committed(ms)
    assert tally.take() == Counts(5, 3, 13, 9)
    tally.requests += 1
    tally.committed(2)
    assert tally.take() == Counts(1, 1, 2, 2)
    assert tally.take() == Counts()


def test_samples_go_after_31_days_and_are_bounded(hub: Bench) -> None:
    wall = hub.clock.now_ms()
    rows = [Sample(wall - SAMPLES_KEPT_MS + n, beats=1) for n in (-1, 0, 1)]
    hub.store.transaction(lambda tx: tx.save_many(rows))
    plan = dict(purge_plan(hub.engine.policy, wall))
    hub.ask(PurgeRows("sample", plan["sample"]))
    assert samples(hub.store) == rows[1:]
    assert plan["sample_overflow"] == SAMPLES_MAX >= SAMPLES_KEPT_MS // MINUTE_MS
    hub.ask(PurgeRows("sample_overflow", 1))
    assert samples(hub.store) == rows[2:]


def test_a_plot_has_what_was_sampled_what_finished_and_what_was_spent(hub: Bench) -> None:
    hub.clock.advance(300_000)  # into a bucket
    wall = hub.clock.now_ms()
    minute = wall - wall % MINUTE_MS
    hub.store.transaction(
        lambda tx: tx.save_many(
            [
                Sample(minute, 3, 1, 5_000, 6, 9, 4, 40, 25),
                Sample(minute - 3_600_000, 7, 0, 0, 1, 1, 1, 1, 1),
                Sample(minute - 2 * DAY, 9, 9, 9, 9, 9, 9, 9, 9),
                Task("a", "done", 0, queued_at=wall - 5_000, claimed_at=wall - 3_000, finished_at=wall),
                Task("b", "failed", 0, queued_at=wall - 9_000, claimed_at=wall - 8_000, finished_at=wall - 2_000),
                Reservation("r", "t", 1, "w", "m", 9, 1, wall - 1, wall, 1_500, "done"),
                Reservation("open", "t", 1, "w", "m", 9, 1, wall - 1),
            ]
        )
    )
    first, last = buckets(hub)
    assert (first["waiting"], first["beats"], "finished" in first) == (7, 1, False)
    assert {key: value for key, value in last.items() if key != "fromAt"} == {
        "waiting": 3, "leased": 1, "oldestSec": 5, "beats": 6, "requests": 9, "commits": 4, "commitMeanMs": 10,
        "commitMaxMs": 25, "finished": 2, "pickupMeanSec": 1.5, "pickupMaxSec": 2, "runMeanSec": 4.5, "runMaxSec": 6,
        "calls": 1, "spentUsd": 0.0015,
    }  # fmt: skip
    older, newer = buckets(hub, "month")
    assert (older["waiting"], newer["waiting"], newer["beats"]) == (9, 7, 7)


def test_a_hub_without_a_past_has_empty_buckets(hub: Bench) -> None:
    assert buckets(hub) == buckets(hub, "month") == []
