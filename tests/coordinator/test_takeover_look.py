"""What the regular look opens, shuts and tells; on values."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.coordinator.takeover_views import AWAY, AWAY_SINCE, HERE, NOW, TASK, view
from understudy.coordinator import takeover
from understudy.coordinator.calls import TakeoverView
from understudy.coordinator.changes import Draft
from understudy.coordinator.nouns import LEASED, Policy, Task
from understudy.coordinator.takeover_look import LOOK_EVERY_MS, InLine, Verdict, look, why_kept
from understudy.coordinator.takeover_nouns import UNTOLD_PROVIDES, DaemonGroup, TakeoverState, TaskTakeover

OPEN, SHUT = TakeoverState(is_open=1), TakeoverState()


def looked(at: TakeoverView, *queue_head: InLine, tells: bool = True) -> tuple[Verdict, Draft]:
    draft = Draft()
    return look(draft, at, queue_head, NOW, tells=tells), draft


def names(draft: Draft) -> list[str]:
    return [event.name for event in draft.events]


def test_it_opens_when_all_are_away_and_shuts_when_one_is_back() -> None:
    verdict, draft = looked(view())
    assert (verdict.is_open, verdict.may_call, names(draft)) == (True, True, ["takeover.opened"])
    verdict, draft = looked(view(state=OPEN, standby=HERE))
    assert (verdict.is_open, verdict.may_call, names(draft)) == (False, False, ["takeover.closed"])


def test_daemons_with_too_many_tags_to_be_read_may_cover_anything() -> None:
    untold = DaemonGroup("healthy", UNTOLD_PROVIDES, "[]", 0, 9, "many", 1, 1, NOW.wall)
    gpu = frozenset({"gpu"})
    assert takeover.opening((AWAY,), frozenset(), NOW, Policy(), SHUT).at is not None
    assert takeover.opening((AWAY, untold), frozenset(), NOW, Policy(), SHUT).at is None
    assert takeover.keeping_shut((AWAY, untold), gpu, NOW, Policy(), SHUT) == [untold]
    assert not takeover.reach((replace(AWAY, provides='["gpu"]'), untold), NOW, Policy(), SHUT).may_open(gpu)


def test_a_look_that_changes_nothing_writes_nothing() -> None:
    _, draft = looked(view(state=OPEN))
    assert (draft.save, draft.events) == ([], [])


def test_the_next_look_comes_when_something_may_change() -> None:
    asleep = replace(AWAY, state="asleep", since_at=NOW.wall - 880_000)
    assert looked(view(standby=asleep))[0].pause_ms == 20_000  # of the quarter of an hour
    resting = replace(OPEN, resting_until_h=NOW.h + 5_000)
    verdict = looked(view(state=resting))[0]
    assert (verdict.is_open, verdict.may_call, verdict.pause_ms) == (True, False, 5_000)
    assert looked(view(state=OPEN))[0].pause_ms == LOOK_EVERY_MS


def test_the_next_look_comes_when_one_of_several_machines_counts_as_away() -> None:
    asleep = replace(AWAY, state="asleep", since_at=NOW.wall - 880_000, provides='["gpu"]')
    at = view(standby=HERE)
    assert looked(replace(at, daemon_groups=(*at.daemon_groups, asleep)))[0].pause_ms == 20_000
    resumed = replace(NOW, resumed_h=NOW.h - 10_000)
    draft = Draft()
    down = replace(at, daemon_groups=(*at.daemon_groups, replace(asleep, state="down")))
    assert look(draft, down, (), resumed, tells=True).pause_ms == 20_000  # of the half minute after a gap


def test_a_look_tells_for_which_tasks_the_hub_may_step_in() -> None:
    at = view(standby=HERE)
    reach = looked(replace(at, daemon_groups=(*at.daemon_groups, replace(AWAY, provides='["gpu"]'))))[0].reach
    needs = (frozenset({"gpu"}), frozenset({"machine"}), frozenset[str]())
    assert [reach.may_open(tags) for tags in needs] == [True, False, False]


def test_a_circuit_closes_when_the_key_is_another() -> None:
    state = replace(OPEN, circuit="authentication", access="old")
    _, draft = looked(view(state=state, access="new"))
    assert [(event.name, event.fields["why"]) for event in draft.events] == [("takeover.circuit_closed", "changed")]


def test_a_sender_is_told_once_where_its_task_stands() -> None:
    at = view(state=OPEN, mode="notify")
    _, draft = looked(at, InLine(3, Task("t")))
    (event,) = draft.events
    assert (event.name, event.fields["position"], event.fields["reason"]) == ("takeover.kept", 3, "notify")
    assert draft.save == [TaskTakeover("t", kept_at=NOW.wall)]
    assert names(looked(at, InLine(3, Task("t"), TaskTakeover("t", kept_at=1)))[1]) == []
    assert names(looked(at, InLine(3, Task("t", LEASED)))[1]) == []
    assert names(looked(at, InLine(3, Task("t")), tells=False)[1]) == []


@pytest.mark.parametrize(
    ("decided", "state", "task", "why"),
    [
        ({}, OPEN, TASK, ""),
        ({}, OPEN, Task("t"), "machine"),
        ({"mode": "interim"}, OPEN, Task("t"), ""),
        ({"mode": "notify"}, OPEN, TASK, "notify"),
        ({"has_key": False}, OPEN, TASK, ""),
        ({}, replace(OPEN, paused=1), TASK, "paused"),
        ({}, OPEN, replace(TASK, takeover="never"), ""),
        ({"sources": (("mail", "off"),)}, OPEN, replace(TASK, source="mail"), ""),
    ],
)
def test_why_a_task_is_kept(decided: dict[str, Any], state: TakeoverState, task: Task, why: str) -> None:
    assert why_kept(view(state=state, **decided), task) == why


def test_a_spent_budget_is_a_reason() -> None:
    at = view(state=OPEN)
    limit = at.policy.takeover.month_micro_usd
    spent = {"month": replace(at.budgets["month"], reported_share=100, reported_limit=limit)}
    assert why_kept(replace(at, budgets=spent), TASK) == "budget"
    raised = {"month": replace(spent["month"], reported_limit=limit - 1)}
    assert why_kept(replace(at, budgets=raised), TASK) == ""


def test_a_probe_is_wanted_only_when_somebody_might_be_answered() -> None:
    assert looked(view(probes=True))[0].wants_probe
    gpu = replace(AWAY, provides='["gpu"]')
    here = replace(view(probes=True, standby=HERE), daemon_groups=(HERE, gpu))
    assert not looked(here)[0].wants_probe
    assert looked(here, InLine(1, Task("t", needs='["gpu"]')))[0].wants_probe
    assert NOW.wall > AWAY_SINCE
