"""Planted bugs, one a name: a checker that does not find them proves nothing (docs/measured.md, Proof by simulation).

Each is a context manager that changes product code in place and puts it back. The first three are the ones that
every queue of this kind had at some time; the others guard what this hub does beyond them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from understudy.simulation.mutants import asleep, hubs, takeover, tasks

_TASKS = (
    tasks.name_for_token,
    tasks.lease_end_ignored,
    tasks.enqueue_resets,
    tasks.lease_cut_short,
    tasks.any_token,
    tasks.token_is_attempt,
    tasks.gaps_are_silence,
    tasks.answer_before_commit,
    tasks.second_result_wins,
    tasks.late_result_refused,
    tasks.unnamed_wait_blocks,
    tasks.reservation_forgotten,
    tasks.old_boot_keeps_leases,
    tasks.late_beat_supersedes,
    tasks.overtaken_beat_counts,
    tasks.guard_forgets_deadlines,
)
_TAKEOVER = (takeover.takeover_too_soon, takeover.cut_calls_are_free, takeover.hub_closes_machine_tasks)
_HUBS = (
    hubs.others_hear_nothing,
    hubs.each_hub_moves_the_pauses,
    hubs.alarm_minds_its_own,
    hubs.start_cuts_all_calls,
)
_ASLEEP = (
    asleep.promises_too_much,
    asleep.absence_is_sleep,
    asleep.sleep_is_a_gap,
    asleep.alarm_stays_where_it_is,
    asleep.promise_is_made_once,
    asleep.notice_counts_before_it_arrives,
    asleep.notice_in_hand_is_left,
)


def _names(*plants: Callable[[], AbstractContextManager[None]]) -> frozenset[str]:
    return frozenset(plant.__name__ for plant in plants)


ABOUT_SLEEP = _names(*_ASLEEP)
ABOUT_TAKEOVER = _names(*_TAKEOVER, hubs.start_cuts_all_calls)
ABOUT_HUBS = _names(*_HUBS)
MUTANTS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    plant.__name__: plant for plant in (*_TASKS, *_TAKEOVER, *_HUBS, *_ASLEEP)
}
