"""The table of metrics: the page, its document (docs/metrics.md) and its tests are all made from it.

No label's values grow with tasks, daemons or keys: they are words of our own, routes, or names from the settings.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from typing import Any, Literal

from msgspec import Struct

from understudy.api.hub import HubPulse
from understudy.hub.counting import OUTCOMES, SIZES, TIMES_MS, Counted, Spread
from understudy.hub.measured import QUEUED_AS, STATES, TAKEOVER_STATES, Measured
from understudy.hub.queue_depth import FIRST_IN_LINE
from understudy.log import LEVELS

Sample = tuple[tuple[str, ...], float]  # the values of its labels, and its own
SECONDS, USD, BYTES, NONE = "seconds", "USD", "bytes", ""


class ProcessFacts(Struct, frozen=True):
    """The facts that this process knows without the store."""

    counted: Counted
    pulse: HubPulse
    answers: dict[tuple[str, str, int], int]  # by method, route and status
    waiting: int
    followers: int
    version: str
    is_store_up: bool


class Metric(Struct, frozen=True):
    """One metric: its name as scraped, and how its samples are read from the facts (`ProcessFacts` or `Measured`)."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    meaning: str
    read: Callable[[Any], Iterable[Sample] | Spread]
    labels: tuple[str, ...] = ()
    words: str = ""  # which values the labels have, for the document


def _one(value: float) -> list[Sample]:
    return [((), value)]


def _each(values: dict[str, int]) -> list[Sample]:
    return [((word,), value) for word, value in values.items()]


def _answers(facts: ProcessFacts) -> list[Sample]:
    return [((method, route, str(status)), n) for (method, route, status), n in sorted(facts.answers.items())]


def _state(facts: Measured) -> list[Sample]:
    return [((word,), float(word == facts.takeover)) for word in TAKEOVER_STATES]


def _money(name: str) -> Callable[[Measured], list[Sample]]:
    return lambda facts: [((kind,), getattr(getattr(facts.budget, kind), name)) for kind in ("day", "month")]


def _outboxes(name: str) -> Callable[[Measured], list[Sample]]:
    return lambda facts: [((channel,), getattr(box, name)) for channel, box in facts.outboxes.items()]


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


PERIODS = _listed(("day", "month"))
CHANNELS = "channels by their names in the settings; `other`: rows of those that are gone"

OF_PROCESS: tuple[Metric, ...] = (
    Metric(
        "understudy_build_info", "gauge", NONE, "The version of this hub; always 1",
        lambda facts: [((facts.version, platform.python_version()), 1)], ("version", "python"),
    ),
    Metric(
        "understudy_store_up", "gauge", NONE,
        "1 if the store could be read for this scrape and took the last batch; with 0 what is read from it is absent",
        lambda facts: _one(float(facts.is_store_up)),
    ),
    Metric(
        "understudy_http_requests_total", "counter", NONE,
        "Requests that were answered. Not those that the HTTP parser refused, nor those whose client went away",
        _answers, ("method", "route", "status"),
        "templates such as `/api/queue/{task_id}`, with their methods; `other`: unknown paths and methods",
    ),
    Metric(
        "understudy_heartbeats_total", "counter", NONE, "Heartbeats that were recorded",
        lambda facts: _one(facts.counted.heartbeats),
    ),
    Metric(
        "understudy_attempts_total", "counter", NONE,
        "Attempts that ended. `expired` and `lost` are losses; one whose result still came counts as that too",
        lambda facts: _each(facts.counted.attempts), ("outcome",), _listed(OUTCOMES),
    ),
    Metric(
        "understudy_events_total", "counter", NONE, "Events that were added to the event log",
        lambda facts: _each(facts.counted.events), ("level",), _listed(LEVELS),
    ),
    Metric(
        "understudy_batch_requests", "histogram", NONE, "Requests that shared one commit",
        lambda facts: facts.counted.batch_sizes, words=f"up to {SIZES[-1]}",
    ),
    Metric(
        "understudy_commit_seconds", "histogram", SECONDS,
        "From the beginning of a batch until its answers may leave: deciding, COMMIT, fsync; to the millisecond",
        lambda facts: facts.counted.commits_ms, words=f"up to {TIMES_MS[-1] // 1000} s",
    ),
    Metric(
        "understudy_batches_failed_total", "counter", NONE, "Batches in which the store failed: answered with 503",
        lambda facts: _one(facts.counted.failed_batches),
    ),
    Metric(
        "understudy_alarm_lag_seconds", "histogram", SECONDS, "How late the alarm looked at what was due",
        lambda facts: facts.counted.lags_ms, words=f"up to {TIMES_MS[-1] // 1000} s",
    ),
    Metric(
        "understudy_alarm_looks_total", "counter", NONE, "Looks of the alarm at all deadlines",
        lambda facts: _one(facts.counted.rings),
    ),
    Metric(
        "understudy_alarm_silent_seconds", "gauge", SECONDS,
        "Since the alarm looked last: 60 s at most while all is well",
        lambda facts: _one(facts.pulse.since_ring_ms / 1000),
    ),
    Metric(
        "understudy_waiting_requests", "gauge", NONE, "Long polls and event streams that are open",
        lambda facts: _one(facts.waiting),
    ),
    Metric(
        "understudy_event_followers", "gauge", NONE, "Readers that follow the event log live",
        lambda facts: _one(facts.followers),
    ),
)  # fmt: skip

OF_STORE: tuple[Metric, ...] = (
    Metric(
        "understudy_daemons", "gauge", NONE, "Daemons by their state", lambda facts: _each(facts.daemons),
        ("state",), _listed(sorted(STATES)),
    ),
    Metric(
        "understudy_queue_tasks", "gauge", NONE, "Queued tasks: claimable, delayed, or reserved for their machine",
        lambda facts: _each(facts.queue), ("state",), _listed(QUEUED_AS),
    ),
    Metric(
        "understudy_queue_oldest_seconds", "gauge", SECONDS,
        f"Age of the oldest of the first {FIRST_IN_LINE} claimable tasks, in the order of the queue; 0: none",
        lambda facts: _one(facts.oldest_s),
    ),
    Metric("understudy_leases", "gauge", NONE, "Tasks that are leased", lambda facts: _one(facts.leases)),
    Metric(
        "understudy_takeover_state", "gauge", NONE,
        "1 for the state that takeover is in. `lacking`: no key or no price; `stopped`: the service refuses us",
        _state, ("state",), _listed(TAKEOVER_STATES),
    ),
    Metric(
        "understudy_takeover_spent_usd", "gauge", USD, "Spent on takeover in this day or month (UTC)",
        _money("spent_usd"), ("period",), PERIODS,
    ),
    Metric(
        "understudy_takeover_reserved_usd", "gauge", USD, "Reserved for calls that are under way",
        lambda facts: _one(facts.budget.day.reserved_usd),
    ),
    Metric(
        "understudy_takeover_budget_usd", "gauge", USD, "The most that may be spent",
        _money("limit_usd"), ("period",), PERIODS,
    ),
    Metric(
        "understudy_takeover_calls", "gauge", NONE, "Calls of this day or month (UTC)",
        _money("calls"), ("period",), PERIODS,
    ),
    Metric(
        "understudy_outbox_notices", "gauge", NONE, "Notices and answers that should have been sent by now",
        _outboxes("waiting"), ("channel",), CHANNELS,
    ),
    Metric(
        "understudy_outbox_oldest_seconds", "gauge", SECONDS, "How long the oldest of them waits; 0: none does",
        _outboxes("oldest_s"), ("channel",), CHANNELS,
    ),
    Metric(
        "understudy_outbox_dead", "gauge", NONE, "Dead letters that are kept: they could not be sent",
        _outboxes("dead"), ("channel",), CHANNELS,
    ),
    Metric(
        "understudy_store_used_bytes", "gauge", BYTES, "What the store holds",
        lambda facts: _one(facts.room.used_bytes),
    ),
    Metric(
        "understudy_store_free_bytes", "gauge", BYTES, "What the disk of the store has free",
        lambda facts: _one(facts.room.free_bytes),
    ),
    Metric(
        "understudy_store_unreadable_rows", "gauge", NONE, "Rows that could not be read whole since this start",
        lambda facts: _one(facts.unreadable),
    ),
)  # fmt: skip

OF_SYSTEM: tuple[tuple[str, str, str, str], ...] = (  # prometheus-client's own, on Linux: name, kind, unit, meaning
    ("process_cpu_seconds_total", "counter", SECONDS, "CPU time that the hub has used"),
    ("process_resident_memory_bytes", "gauge", BYTES, "Memory of the hub that is in RAM"),
    ("process_virtual_memory_bytes", "gauge", BYTES, "Its address space"),
    ("process_start_time_seconds", "gauge", SECONDS, "When it was started, since 1970"),
    ("process_open_fds", "gauge", NONE, "Open files and connections"),
    ("process_max_fds", "gauge", NONE, "How many there may be"),
)
