"""Links that act: one purpose, expiring; looking shows, only acting acts."""

from __future__ import annotations

import pytest

from tests.hub.desk import LATE_MS, beat, bench_with, rows
from understudy.coordinator.links import LINK_KEPT_MS
from understudy.coordinator.nouns import Incident
from understudy.errors import NotFoundError
from understudy.hub.links import EmptyLinkError, FollowLink, shown_by
from understudy.hub.outbox import TakeNotice
from understudy.hub.retention import PurgeRows


@pytest.fixture
def taken():
    bench = bench_with(public_url="https://hub.example")
    beat(bench)
    bench.pass_time(LATE_MS)
    (outgoing,) = bench.ask(TakeNotice("ops"))
    return bench, dict(outgoing.links)


def shown(bench, secret):
    return bench.store.read(lambda reader: shown_by(reader, secret, bench.clock.now_ms()))


def incident(bench):
    incident_id = rows(bench)[0].incident_id
    (row,) = bench.store.read(lambda reader: reader.load_many(Incident, (incident_id,)))
    return row


def test_a_link_does_its_one_thing_once(taken):
    bench, links = taken
    assert (shown(bench, links["acknowledge"]).purpose, incident(bench).acknowledged_by) == ("acknowledge", "")
    bench.ask(FollowLink(links["acknowledge"]))
    assert (incident(bench).acknowledged_by, incident(bench).snoozed_until) == ("link", 0)
    bench.ask(FollowLink(links["snooze"]))
    until = incident(bench).snoozed_until
    assert until == bench.clock.now_ms() + 3_600_000
    bench.pass_time(5_000)
    bench.ask(FollowLink(links["snooze"]))
    assert incident(bench).snoozed_until == until  # pressing it again adds nothing


@pytest.mark.parametrize(("age", "is_good"), [(LINK_KEPT_MS - 1, True), (LINK_KEPT_MS, False)])
def test_a_link_expires(taken, age, is_good):
    bench, links = taken
    bench.clock.advance(age)
    if is_good:
        assert shown(bench, links["snooze"]).daemon_id == "mini"
        return
    with pytest.raises(EmptyLinkError):
        shown(bench, links["snooze"])
    (refused,) = bench.ask(FollowLink(links["snooze"]))
    assert isinstance(refused, EmptyLinkError)


@pytest.mark.parametrize("secret", ["", "usl_guessed", "x" * 200])
def test_a_guess_opens_nothing(taken, secret):
    bench, _ = taken
    with pytest.raises(NotFoundError) as refused:
        shown(bench, secret)
    assert (type(refused.value), type(bench.ask(FollowLink(secret))[0])) == (NotFoundError, NotFoundError)


def test_links_and_notices_are_removed_in_time(taken):
    bench, links = taken
    bench.ask(PurgeRows("link", bench.clock.now_ms() + LINK_KEPT_MS + 1))
    with pytest.raises(NotFoundError):
        shown(bench, links["snooze"])
    bench.ask(PurgeRows("notice", bench.clock.now_ms() + 1))
    assert len(rows(bench)) == 1  # it waits: it is kept until it was told


def test_a_link_to_an_incident_that_is_not_kept_is_no_guess(taken):
    bench, links = taken
    bench.pass_time(60_000)
    beat(bench)
    bench.ask(PurgeRows("incident", bench.clock.now_ms() + 1))
    for purpose in ("acknowledge", "snooze"):
        with pytest.raises(EmptyLinkError):
            shown(bench, links[purpose])


def test_without_an_address_of_its_own_a_hub_makes_no_links():
    bench = bench_with()
    beat(bench)
    bench.pass_time(LATE_MS)
    (outgoing,) = bench.ask(TakeNotice("ops"))
    assert outgoing.links == ()


def test_a_link_that_was_used_says_so(taken):
    bench, links = taken
    assert not shown(bench, links["snooze"]).is_used
    bench.ask(FollowLink(links["snooze"]))
    assert shown(bench, links["snooze"]).is_used
    assert not shown(bench, links["acknowledge"]).is_used
