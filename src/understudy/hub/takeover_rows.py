"""The rows that every operation of takeover needs: its state, budgets, open calls, and the daemons that are away."""

from __future__ import annotations

from understudy.coordinator import takeover
from understudy.coordinator.calls import TakeoverView
from understudy.coordinator.nouns import Daemon, Now
from understudy.coordinator.takeover_nouns import (
    ANSWER,
    INTERIM,
    Budget,
    DaemonGroup,
    Reservation,
    TakeoverPolicy,
    TakeoverState,
)
from understudy.coordinator.utc_calendar import DAY, MONTH, period_of
from understudy.hub.working_set import Needs, WorkingSet
from understudy.store.base import Candidates

STATE_ID = 1
CANDIDATES = 8  # tasks of each kind that are looked at for one call; for interim answers `calls_at_once` more


def need_takeover(
    needs: Needs, *, queue_head: int = 0, candidates: tuple[Candidates, ...] = (), daemons: bool = True
) -> None:
    """State that takeover's rows are needed; without `daemons`, which are all read, nobody can say when it opens."""
    needs.row(TakeoverState, STATE_ID)
    needs.add_takeover(candidates, queue_head, daemons=daemons)


def need_budgets(work: WorkingSet, needs: Needs) -> None:
    """State that the budgets of this day and month are needed: their names are known once the time is."""
    for kind in (DAY, MONTH):
        needs.row(Budget, period_of(kind, work.now.wall))


def state_of(work: WorkingSet) -> TakeoverState:
    """The state of takeover, with the changes of this batch."""
    return work.get(TakeoverState, STATE_ID) or TakeoverState()


def budgets_of(work: WorkingSet, now: Now) -> dict[str, Budget]:
    """Day and month, as they stand now."""
    periods = {kind: period_of(kind, now.wall) for kind in (DAY, MONTH)}
    return {kind: work.get(Budget, period) or Budget(period, kind) for kind, period in periods.items()}


def open_calls(work: WorkingSet) -> list[Reservation]:
    """Calls that are not settled, those of this batch included."""
    return [call for call in work.rows[Reservation].values() if call is not None and not call.settled_at]


def view_of(work: WorkingSet, now: Now) -> TakeoverView:
    """All of it; a daemon that an earlier request of this batch heard of keeps takeover shut."""
    heard = (row for row in work.changed(Daemon) if row.state in ("healthy", "paused"))
    daemon_groups = (*work.daemon_groups, *map(_group_of, heard))
    return TakeoverView(work.policy, state_of(work), budgets_of(work, now), tuple(open_calls(work)), daemon_groups)


def text_candidates(policy: TakeoverPolicy) -> Candidates:
    """Tasks that the hub may answer for good."""
    names, others = takeover.sources_in(policy, frozenset({INTERIM, ANSWER}))
    return Candidates(names, others, text=True, limit=CANDIDATES)


def machine_candidates(work: WorkingSet) -> Candidates:
    """Tasks to which the hub may give an interim answer, now that the daemons and the time are known."""
    policy = work.policy.takeover
    names, others = takeover.sources_in(policy, frozenset({INTERIM}))
    reach = takeover.reach(work.daemon_groups, work.now, work.policy, state_of(work))
    limit = CANDIDATES + policy.calls_at_once  # those that are asked for now stay in the queue
    return Candidates(names, others, text=False, limit=limit, reach=reach)


def _group_of(row: Daemon) -> DaemonGroup:
    return DaemonGroup(
        row.state,
        row.provides,
        row.capabilities,
        row.paused,
        1,
        row.id,
        row.since_at,
        row.first_seen_at,
        row.last_seen_at,
    )
