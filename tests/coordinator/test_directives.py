"""Directives on values: offered until a beat names them, ended once, counted on their daemon."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from understudy.coordinator import directives
from understudy.coordinator.nouns import Daemon, Directive, Now

NOW = Now(1_770_000_000_000, 1_770_000_000_000)
MINI = Daemon("mini", open_directives=1)
ASKED = Directive("d1", "mini", "drain", state="asked", expires_h=NOW.h + 1_000)
LATER = Now(NOW.wall + 1_000, NOW.h + 1_000)


def test_it_is_offered_until_a_beat_names_it_and_told_once() -> None:
    first = directives.offer(MINI, (ASKED,), {}, "b1", NOW)
    (delivered,) = first.offered
    assert (delivered.state, [event.name for event in first.change.events]) == ("delivered", ["directive.delivered"])
    again = directives.offer(MINI, (delivered,), {}, "b1", NOW)
    assert (len(again.offered), again.change.rows, again.change.events) == (1, (MINI,), ())
    named = directives.offer(MINI, (delivered,), {"d1": ("started", "")}, "b1", NOW)
    assert (named.offered, named.change.rows[1].state) == ([], "started")


@pytest.mark.parametrize(("boot_id", "is_done"), [("b1", False), ("b2", True)])
def test_a_restart_is_done_by_word_of_another_boot(boot_id: str, is_done: bool) -> None:
    told = replace(ASKED, kind="restart", state="started", boot_id="b1")
    after = directives.offer(MINI, (told,), {"d1": ("done", "")}, boot_id, NOW)
    assert (after.change.noun.open_directives == 0, after.comes_back) == (is_done, not is_done)


@pytest.mark.parametrize(("state", "end"), [("asked", "expired"), ("delivered", "expired"), ("started", "failed")])
def test_the_alarm_ends_it_at_its_time_and_its_daemon_has_one_fewer(state: str, end: str) -> None:
    directive = replace(ASKED, state=state)
    assert directives.lapsed(directive, MINI, NOW) is None
    change = directives.lapsed(directive, MINI, LATER)
    assert change is not None
    assert (change.noun.state, change.save) == (end, (replace(MINI, open_directives=0),))


@pytest.mark.parametrize(("left_ms", "ends_ms"), [(600_000, 1_500_000), (3_600_000, 4_500_000), (-1, 900_000)])
def test_one_that_has_begun_has_its_time_and_a_quarter_of_an_hour_for_its_end(left_ms: int, ends_ms: int) -> None:
    known = replace(ASKED, kind="restart", state="delivered", boot_id="b1", expires_h=NOW.h + left_ms)
    begun = directives.reported(known, "started", "", "b1", NOW).noun
    assert (begun.state, begun.expires_h) == ("started", NOW.h + ends_ms)


@pytest.mark.parametrize(
    ("kind", "drains", "is_later"), [("drain", True, True), ("drain", False, False), ("restart", True, False)]
)
def test_a_drain_lasts_as_long_as_its_daemon_says_that_it_is_draining(kind: str, drains: bool, is_later: bool) -> None:
    begun = replace(ASKED, kind=kind, state="started")
    rows = directives.offer(MINI, (begun,), {}, "b1", NOW, drains=drains).change.rows
    assert rows[1:] == ((replace(begun, expires_h=NOW.h + 900_000),) if is_later else ())


@pytest.mark.parametrize(("interval_ms", "left_ms"), [(10_000, 450_001), (3_600_000, 7_200_001)])
def test_not_each_beat_of_a_draining_daemon_writes_its_drain_and_its_interval_may_be_long(
    interval_ms: int, left_ms: int
) -> None:
    mini = replace(MINI, interval_ms=interval_ms)
    begun = replace(ASKED, state="started", expires_h=NOW.h + left_ms)
    assert directives.goes_on(begun, mini, NOW).noun is begun
    later = directives.goes_on(replace(begun, expires_h=NOW.h + left_ms - 1), mini, NOW).noun
    assert later.expires_h - NOW.h == 2 * (left_ms - 1) >= 4 * interval_ms


def test_it_ends_although_its_daemon_is_gone() -> None:
    change = directives.lapsed(ASKED, None, LATER)
    assert change is not None
    assert change.rows == (change.noun,)
