"""Takeover as rules: its modes, when it is open, and what stops its calls (docs/takeover.md).

```
every daemon that covers the needs is away ──(a fresh probe, if one is configured)──> open
one of them is back, paused, or was never away ──────────────────────────────────────> shut
```
Theory of operation
-------------------
1. Open is a matter of needs. Takeover is open for a set of tags once every daemon that covers them is away. A task
   without needs can be done by every daemon, so it is open for those only when all are away; if no daemon ever covered
   the tags it never opens. TakeoverState keeps `is_open` for tasks without needs alone, because that is what events and
   `status` show; for others it is worked out from the daemons at each look.
2. Away. A daemon that is down or stuck is away at once; asleep, stopped as planned or draining, after `after_ms`. One
   that just stopped may be back at once, and is down soon if it is not. A paused one is not away: its owner took it out
   on purpose. After a gap the daemons have RESUME_GRACE_MS to be heard again. Once takeover is open, silence shuts it
   for nobody (`_stays_away`): one that oversleeps, that has not come back at the end of a planned stop, or that falls
   silent while it is stuck or draining, is away still while it is not yet down.
3. Modes by source: `off`; `notify`: senders read that their task is kept; `answer`: also, a task without needs is
   answered for good; `interim`: also, a task with needs gets an interim answer and stays queued for its machine.
   Whether one task is answered is decided by `is_wanted` (calls.py); whether its sender gets a message, by `why_kept`
   (takeover_look.py).
4. A call is made under a lease like any worker's, with a token. The transaction that claims the task reserves the worst
   case of the cost; the transaction that takes the answer settles it. A call that nobody settled until its reservation
   ends counts as spent to the last micro-USD (budget.py). An interim answer has a reservation and no lease.
5. What stops calls, from the widest to the narrowest: no key or no price (`lacks`), the owner's pause, the circuit (the
   service refuses us: key, credit, model), a budget, a rest after failures in a row, the number of calls at once and in
   a minute, and a task's own tries (TRIES_MAX, then it rests). A circuit closes when the owner resumes, when key,
   address or the refused model change, or at its month's end.

Doubts. The hub trusts its own view: if its line is cut, all daemons look away. Only `probe_url` tells the difference,
and it is asked once for each opening. Daemons are grouped by equal tags (DaemonGroup), and instants are the latest of a
group, which errs towards waiting longer. A late result of the machine and an answer of the hub race for a task without
needs; the token decides, and the loser is kept as evidence.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from understudy.backoff import dice_of, doubled_ms, spread
from understudy.coordinator.changes import Change, Event, make_event
from understudy.coordinator.claims import tags_of
from understudy.coordinator.health import PLANNED, STOPPED
from understudy.coordinator.hearing import at_wall
from understudy.coordinator.nouns import Now, Policy
from understudy.coordinator.prices import Price, Tokens
from understudy.coordinator.takeover_nouns import (
    ANSWER,
    INTERIM,
    NOTIFY,
    OFF,
    UNTOLD,
    DaemonGroup,
    TakeoverPolicy,
    TakeoverState,
)
from understudy.coordinator.utc_calendar import MONTH, next_period_at

EXECUTOR = "hub/claude-api"
AWAY_AT_ONCE = frozenset({"down", "stuck"})
AWAY_AFTER_A_WHILE = frozenset({"asleep", PLANNED, "draining"})
UNHEARD = frozenset({"late", "asleep"})  # silence alone leads there
RESUME_GRACE_MS = 30_000  # after a gap the daemons are given this long to be heard again
PROBE_FRESH_MS = 60_000
TRIES_MAX = 3  # of one task, then it rests; a task that is suspect keeps as many
TASK_RESTS_MS = 600_000
BACKOFF_FIRST_MS, BACKOFF_MAX_MS = 10_000, 600_000
OVERLOAD_FIRST_MS, OVERLOAD_MAX_MS = 5_000, 60_000


class Opening(Struct, frozen=True):
    """The instant at which takeover opens for some needs: `at` (wall) may be past; None: not as things stand."""

    at: int | None = None
    daemon_id: str = ""
    count: int = 0
    last_seen_at: int = 0  # the last sign of life of any daemon that could do it


class CallOutcome(Struct, frozen=True):
    """The outcome of one call."""

    kind: str  # answered | failed (for good) | again | stop (opens the circuit)
    reason: str = ""  # a stable word: refused, too_large, overloaded, cut, authentication, …
    text: str = ""
    is_truncated: bool = False
    said: str = ""  # the service's own words about an error, for the owner
    wait_ms: int = 0  # not before, says the service
    tokens: Tokens = Tokens()
    billed: str = "nothing"  # nothing | tokens (as counted) | unknown (counts as all that was reserved)
    is_suspect: bool = False  # perhaps it is this one task that the service refuses


def mode_of(policy: TakeoverPolicy, source: str) -> str:
    """The mode for tasks of this source."""
    if policy.mode == OFF:
        return OFF
    return dict(policy.sources).get(source, policy.mode or OFF)


def modes(policy: TakeoverPolicy) -> frozenset[str]:
    """All modes that any source may have."""
    if policy.mode == OFF:
        return frozenset({OFF})
    return frozenset({policy.mode or OFF, *(mode for _, mode in policy.sources)})


def is_switched_on(policy: TakeoverPolicy) -> bool:
    """True if any source has a mode other than off."""
    return bool(modes(policy) & {NOTIFY, INTERIM, ANSWER})


def sources_in(policy: TakeoverPolicy, wanted: frozenset[str]) -> tuple[tuple[str, ...], bool]:
    """The sources in one of these modes as (names, whether they are the exceptions)."""
    is_default = (policy.mode or OFF) in wanted
    named = tuple(sorted(source for source, mode in policy.sources if (mode in wanted) != is_default))
    return named, is_default


def lacks(policy: TakeoverPolicy) -> str:
    """The reason why the hub cannot answer at all: `off`, `no_key`, `no_price`; "" if it can.

    Telling senders needs neither key nor price.
    """
    if not is_switched_on(policy):
        return "off"
    if not modes(policy) & {INTERIM, ANSWER}:
        return ""
    if not policy.has_key:
        return "no_key"
    return "" if policy.price is not None else "no_price"


def stopped_by(policy: TakeoverPolicy, state: TakeoverState) -> str:
    """The reason why no call may be made now, as a stable word; "" if one may."""
    if not modes(policy) & {INTERIM, ANSWER}:
        return NOTIFY
    return lacks(policy) or ("paused" if state.paused else "") or state.circuit


def doing(policy: TakeoverPolicy, state: TakeoverState) -> str:
    """The state of takeover in one word for people: its mode, or the reason why it does nothing."""
    if lacking := lacks(policy):
        return lacking
    if modes(policy) & {INTERIM, ANSWER} and (state.paused or state.circuit):
        return "paused" if state.paused else "circuit"
    return policy.mode or "sources"


def with_takeover(event: Event, policy: TakeoverPolicy, state: TakeoverState) -> Event:
    """An event that a daemon is down, with what is done for those who wait for it; any other event as it is."""
    if event.name != "daemon.down":
        return event
    return replace(event, fields={**event.fields, "takeover": doing(policy, state)})


# ---- when it is open


def covers(tags: frozenset[str], needs: frozenset[str]) -> bool:
    """True if a daemon with these tags may have tasks with these needs, as far as it is known."""
    return needs <= tags or UNTOLD in tags


def opening(
    daemons: Iterable[DaemonGroup], needs: frozenset[str], now: Now, policy: Policy, state: TakeoverState
) -> Opening:
    """The opening of takeover for these needs: once every daemon that covers them is away; never without any."""
    able = [daemon for daemon in daemons if covers(tags_of(daemon.provides, daemon.capabilities), needs)]
    instants = [_away_at(daemon, now, policy, state) for daemon in able]
    if not able or None in instants:
        return Opening()
    at = max(at for at in (*instants, _heard_again_at(now, policy)) if at is not None)
    last = max(able, key=lambda daemon: daemon.last_seen_at)
    return Opening(at, last.daemon_id, sum(daemon.count for daemon in able), last.last_seen_at)


def keeping_shut(
    daemons: Iterable[DaemonGroup], needs: frozenset[str], now: Now, policy: Policy, state: TakeoverState
) -> list[DaemonGroup]:
    """The daemons that keep takeover shut for these needs: they cover them, and are not away."""
    able = (daemon for daemon in daemons if covers(tags_of(daemon.provides, daemon.capabilities), needs))
    return [daemon for daemon in able if _away_at(daemon, now, policy, state) is None]


def next_away_at(daemons: Iterable[DaemonGroup], now: Now, policy: Policy, state: TakeoverState) -> int:
    """The next instant (wall) at which some of these daemons begin to count as away; 0: none as things stand."""
    instants = (_away_at(daemon, now, policy, state) for daemon in daemons)
    heard_at = _heard_again_at(now, policy)
    return min((max(at, heard_at) for at in instants if at is not None and max(at, heard_at) > now.wall), default=0)


class Reach(Struct, frozen=True):
    """The sets of tags that daemons provide: those who are away now, and the others."""

    away: frozenset[frozenset[str]] = frozenset()
    here: frozenset[frozenset[str]] = frozenset()

    def may_open(self, needs: frozenset[str]) -> bool:
        """True if all daemons that cover these needs are away, and there is one."""
        return any(covers(tags, needs) for tags in self.away) and not any(covers(tags, needs) for tags in self.here)


def reach(daemons: Iterable[DaemonGroup], now: Now, policy: Policy, state: TakeoverState) -> Reach:
    """The reach of these daemons now; a gap or a probe, for which the hub itself waits, is not in it."""
    away, here = set[frozenset[str]](), set[frozenset[str]]()
    for daemon in daemons:
        at = _away_at(daemon, now, policy, state)
        (away if at is not None and at <= now.wall else here).add(tags_of(daemon.provides, daemon.capabilities))
    return Reach(frozenset(away), frozenset(here))


def _away_at(daemon: DaemonGroup, now: Now, policy: Policy, state: TakeoverState) -> int | None:
    """From when on these daemons count as away; None while they are here, or their owner says `paused`."""
    if daemon.paused:
        return None
    if daemon.state in AWAY_AT_ONCE or _stays_away(daemon, state):
        return min(daemon.since_at, now.wall)
    if daemon.state in AWAY_AFTER_A_WHILE:
        return max(_past(daemon.since_at, now), _resumed_at(now)) + policy.takeover.after_ms
    if daemon.state == "new":
        return max(_past(daemon.first_seen_at, now), _resumed_at(now) - policy.down_after_ms) + policy.down_after_ms
    return None


def _stays_away(daemon: DaemonGroup, state: TakeoverState) -> bool:
    """True if they were away when takeover opened, and nothing but time has passed: a word of theirs shuts it."""
    is_unheard = daemon.state in UNHEARD or (daemon.state == STOPPED and daemon.last_seen_at < state.since_at)
    return bool(state.is_open) and is_unheard


def _past(at: int, now: Now) -> int:
    """The instant; 0 if the clock was set back to before it: the time of that change then counts instead."""
    return at if at <= now.wall else 0


def _heard_again_at(now: Now, policy: Policy) -> int:
    """The end of the time that daemons are given after a gap."""
    return _resumed_at(now) + min(RESUME_GRACE_MS, policy.down_after_ms)


def _resumed_at(now: Now) -> int:
    return at_wall(now, now.resumed_h) if now.resumed_h else 0


def is_open(found: Opening, state: TakeoverState, now: Now, policy: TakeoverPolicy) -> bool:
    """True if the hub may step in: the time has come, and the hub's own network works as far as it was probed."""
    return found.at is not None and found.at <= now.wall and not wants_probe(state, now, policy)


def wants_probe(state: TakeoverState, now: Now, policy: TakeoverPolicy) -> bool:
    """True if the hub must first see that it reaches the world; asked once an opening."""
    return policy.probes and not state.is_open and (not state.probed_h or now.h - state.probed_h > PROBE_FRESH_MS)


def is_for_machine(needs: str) -> bool:
    """True if a task waits for a machine: no answer of the hub closes it."""
    return needs != "[]"


# ---- what stops and delays calls


def after_call(
    state: TakeoverState, called: CallOutcome, call_id: str, now: Now, policy: TakeoverPolicy, model: str = ""
) -> TakeoverState:
    """The state after a call: ready, resting, or with its circuit open; of two refusals the one that holds longer.

    `model` is the one that was called; "": the first.
    """
    if called.kind == "stop":
        until = next_period_at(MONTH, now.wall) if called.reason == "spend_limit" else 0
        if state.circuit and is_access_of(policy, state.access) and (until or not state.circuit_until_at):
            return state
        access = policy.fallback_access if model and model == policy.fallback_model else policy.access
        return replace(state, circuit=called.reason, circuit_at=now.wall, circuit_until_at=until, access=access)
    if called.kind != "again":
        if now.h < state.resting_until_h:  # it began before the failure after which all rest
            return state
        return replace(state, failures=0, failure="", resting_until_h=0)
    wait_ms = max(called.wait_ms, rest_ms(called.reason, state.failures, call_id))
    resting = max(state.resting_until_h, now.h + wait_ms)
    return replace(state, failures=state.failures + 1, failure=called.reason, resting_until_h=resting)


def is_access_of(policy: TakeoverPolicy, access: str) -> bool:
    """True if what was refused is still what this owner calls with."""
    return access in (policy.access, policy.fallback_access)


def model_for(policy: TakeoverPolicy, state: TakeoverState) -> str:
    """The model of the next call: the other one while the first is overloaded, if its price is known."""
    if state.failure == "overloaded" and policy.fallback_model and policy.fallback_price is not None:
        return policy.fallback_model
    return policy.model


def price_for(policy: TakeoverPolicy, model: str) -> Price | None:
    """The price of one of the two models; None if it is unknown."""
    return policy.price if model == policy.model else policy.fallback_price


def rest_ms(reason: str, failures: int, call_id: str) -> int:
    """The rest after failures in a row: 10 s × 2ⁿ up to 10 min, on overload 5 s up to 60 s, less up to a fifth."""
    first, most = (OVERLOAD_FIRST_MS, OVERLOAD_MAX_MS) if reason == "overloaded" else (BACKOFF_FIRST_MS, BACKOFF_MAX_MS)
    return round(spread(doubled_ms(first, most, failures), dice_of(call_id), 1.0, 0.8))


def circuit_after(state: TakeoverState, now: Now, policy: TakeoverPolicy) -> TakeoverState:
    """The same with its circuit closed, if its time is over or key, address or the refused model are others now."""
    if state.circuit_until_at:  # a clock that was ahead may have named a later month
        next_at = next_period_at(MONTH, now.wall)
        state = replace(state, circuit_until_at=next_at) if state.circuit_until_at > next_at else state
    is_over = bool(state.circuit_until_at) and now.wall >= state.circuit_until_at
    if state.circuit and (is_over or not is_access_of(policy, state.access)):
        return closed(state)
    return state


def closed(state: TakeoverState) -> TakeoverState:
    """Calls may be made again."""
    return replace(
        state, circuit="", circuit_at=0, circuit_until_at=0, access="", failures=0, failure="", resting_until_h=0
    )


def switch(state: TakeoverState, verb: str, by: str, now: Now) -> Change[TakeoverState] | None:
    """An owner's word: pause, or resume, which also closes the circuit; None if nothing changes."""
    is_pause = verb == "pause"
    after = replace(state if is_pause else closed(state), paused=int(is_pause))
    if after == state:
        return None
    name = "takeover.paused" if is_pause else "takeover.resumed"
    return Change(after, (), (takeover_event(now, name, f"Takeover {name.partition('.')[2]}", by=by),))


def probed(state: TakeoverState, now: Now) -> Change[TakeoverState]:
    """The probe was answered: the hub's own network works."""
    return Change(replace(state, probed_h=now.h))


def takeover_event(now: Now, name: str, message: str, level: str = "info", **fields: object) -> Event:
    """An event of takeover's story, or of a task's if `taskId` is among the fields."""
    task_id = str(fields.get("taskId") or "")
    return make_event(now, name, message, fields, level=level, component="Takeover", task_id=task_id)
