"""The nouns of takeover: its owner's settings, its state, what it did for each task, what each call cost.

Money is counted in integer micro-USD.
"""

from __future__ import annotations

from msgspec import Struct

from understudy.coordinator.prices import Price

OFF, NOTIFY, INTERIM, ANSWER = "off", "notify", "interim", "answer"


class TakeoverPolicy(Struct, frozen=True):
    """The owner's decisions about takeover; it contains no secret."""

    mode: str = ""  # of all sources; "": only of those named below; "off": nothing anywhere
    sources: tuple[tuple[str, str], ...] = ()  # (source, mode)
    has_key: bool = False
    access: str = ""  # fingerprint of key, address and model: a circuit closes when it changes
    model: str = ""
    price: Price | None = None  # None: unknown, so nothing is called
    fallback_model: str = ""  # while the other one is overloaded
    fallback_price: Price | None = None
    fallback_access: str = ""  # fingerprint of key, address and the other model
    answer_tokens_max: int = 4096
    timeout_ms: int = 60_000  # of one call
    after_ms: int = 900_000  # how long asleep, draining or stopped as planned
    task_micro_usd: int = 50_000
    day_micro_usd: int = 1_000_000
    month_micro_usd: int = 10_000_000
    calls_a_minute: int = 10
    calls_at_once: int = 2
    probes: bool = False  # the hub's own way to the world is looked at first


class TakeoverState(Struct, frozen=True):
    """The state of takeover: one row."""

    id: int = 1
    is_open: int = 0  # for tasks that need no machine
    since_at: int = 0
    paused: int = 0
    circuit: str = ""  # why no call is made any more; "": closed
    circuit_at: int = 0
    circuit_until_at: int = 0  # 0: until somebody resumes, or key, address or the refused model change
    access: str = ""  # the fingerprint of what was refused
    failures: int = 0  # of calls, one after the other
    failure: str = ""  # the reason of the last one
    resting_until_h: int = 0
    minute: int = 0  # since the epoch
    minute_calls: int = 0
    probed_h: int = 0  # when the world last answered


class TaskTakeover(Struct, frozen=True, rename={"interim_answer": "provisional", "interim_at": "provisional_at"}):
    """The state of takeover for one task."""

    task_id: str
    kept_at: int = 0  # its sender got the message that it is kept
    tries: int = 0  # calls that failed, one after the other; TRIES_MAX: it may be what the service refuses
    not_before_h: int = 0
    spent_micro_usd: int = 0
    interim_answer: str = ""  # the interim answer, as JSON text; "": none
    interim_at: int = 0


class Budget(Struct, frozen=True, rename={"reported_share": "told"}):
    """The spending of one day or month (UTC), without open reservations."""

    period: str  # 2026-11-22 | 2026-11
    kind: str  # day | month
    spent_micro_usd: int = 0
    calls: int = 0
    reported_share: int = 0  # the highest share that was reported: 0, 50, 80 or 100 %
    reported_limit: int = 0  # the limit that it is a share of, in micro-USD


class Reservation(Struct, frozen=True):
    """One call: its worst case is reserved before it is made, its cost settled after."""

    id: str
    task_id: str
    token: int  # of the lease it is made under; 0: an interim answer, without one
    worker_id: str
    model: str
    reserved_micro_usd: int
    expires_h: int  # a call that nobody settled by then was cut: settled as spent
    at: int
    settled_at: int = 0
    spent_micro_usd: int = 0
    outcome: str = ""  # "" while open


UNTOLD = "\0"  # the tag of daemons whose own are too many to be read: they may cover anything
UNTOLD_PROVIDES = r'["\u0000"]'


class DaemonGroup(Struct, frozen=True):
    """Daemons that are alike in what takeover asks about; instants are the latest among them."""

    state: str  # of health; "planned": stopped as announced
    provides: str
    capabilities: str
    paused: int
    count: int
    daemon_id: str  # of one of them
    since_at: int
    first_seen_at: int
    last_seen_at: int
