"""Lists of daemons: bounded in bytes, in an order in which one can go on, and read in parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.hub.conftest import Bench, as_read
from understudy.coordinator.nouns import Daemon, Period, Policy
from understudy.hub import daemon_list
from understudy.hub.daemons import RegisterDaemon
from understudy.hub.heartbeats import RecordHeartbeat
from understudy.hub.overview import overview
from understudy.hub.public_status import public_status
from understudy.hub.views import View
from understudy.wire.daemons import HeartbeatBody, RegisterBody, RunningBody

NAMES = [f"d{n}" for n in range(7)]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_list, "READ_AT_ONCE", 2)


@pytest.fixture
def small_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("daemon_list", "views"):
        monkeypatch.setattr(f"understudy.hub.{module}.LIST_BYTES_MAX", 3 * (daemon_list.ROW_BYTES + 100))


@pytest.fixture
def crowd(hub: Bench) -> Bench:
    hub.ask(*(beat(name) for name in NAMES))
    return hub


class Damaged:
    """A store in which the id of one daemon cannot be read."""

    def load_all(self, noun: type[Daemon], limit: int, after: str | None) -> list[Daemon]:
        found = [name for name in NAMES if name > (after or "")][:limit]
        return [noun(name) for name in found if name != "d1"]


def test_a_daemon_that_cannot_be_read_hides_no_other() -> None:
    names = [daemon.id for daemon in daemon_list.each_daemon(Damaged())]  # type: ignore[arg-type]
    assert names == [name for name in NAMES if name != "d1"]


def beat(name: str, **fields: Any) -> RecordHeartbeat:
    return RecordHeartbeat(HeartbeatBody(daemon_id=name, machine_id=name, boot_id="b", **fields))


def shown(hub: Bench, show: Any) -> Any:
    wall, policy = hub.clock.now_ms(), Policy()
    return hub.store.read(lambda reader: as_read(show(View(reader, wall, policy))))


def pages(hub: Bench) -> Iterator[Any]:
    after = ""
    while True:
        page = shown(hub, lambda view, after=after: view.daemons(after))
        yield [row["daemonId"] for row in page["daemons"]]
        if "next" not in page:
            return
        after = page["next"]


def test_all_daemons_are_on_one_page_while_they_fit(crowd: Bench) -> None:
    assert [*pages(crowd)] == [NAMES]
    assert "daemonsNext" not in shown(crowd, overview)
    assert "leftOut" not in shown(crowd, View.old_health)


@pytest.mark.usefixtures("small_answers")
def test_more_daemons_than_one_answer_holds_come_page_by_page(crowd: Bench) -> None:
    found = [*pages(crowd)]
    assert [name for page in found for name in page] == NAMES
    assert max(map(len, found)) == 3


@pytest.mark.usefixtures("small_answers")
def test_the_overview_says_where_the_list_goes_on(crowd: Bench) -> None:
    seen = shown(crowd, overview)
    rest = shown(crowd, lambda view: view.daemons(seen["daemonsNext"]))
    assert seen["daemons"]
    assert rest["daemons"][0]["daemonId"] == NAMES[len(seen["daemons"])]


def test_the_overview_counts_the_periods_of_its_daemons(crowd: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_list, "LIST_BYTES_MAX", 20_000)
    at = crowd.clock.now_ms()
    gaps = [Period("", at + n * 100, "unknown", at + n * 100 + 50) for n in range(1, 25)]
    crowd.store.transaction(lambda tx: tx.save_many(gaps))
    crowd.clock.advance(10_000)
    seen = shown(crowd, overview)["daemons"]
    assert {len(row["periods"]) for row in seen} == {49}
    assert 10_000 < len(msgspec.json.encode(seen)) <= 20_000


@pytest.mark.usefixtures("small_answers")
def test_the_overview_has_the_open_incidents_of_daemons_beyond_its_end_too(crowd: Bench) -> None:
    crowd.pass_time(200_000)
    seen = shown(crowd, overview)
    assert "daemonsNext" in seen
    assert sorted(incident["daemonId"] for incident in seen["openIncidents"]) == NAMES


def test_a_row_is_not_longer_than_it_is_counted(hub: Bench) -> None:
    name = '"' * 200
    hub.ask(beat(name, version="v" * 128))
    (daemon,) = hub.store.read(lambda tx: tx.load_many(Daemon, (name,)))
    (row,) = shown(hub, View.daemons)["daemons"]
    assert len(msgspec.json.encode(row)) <= daemon_list.size_of(daemon)


@pytest.mark.usefixtures("small_answers")
def test_old_health_counts_those_that_it_leaves_out(crowd: Bench) -> None:
    health = shown(crowd, View.old_health)
    assert (len(health["activeDaemons"]), health["totalActive"], health["leftOut"]) == (3, 7, 4)


def test_the_public_status_numbers_all_of_them(crowd: Bench) -> None:
    status = shown(crowd, lambda view: public_status(view, with_names=True))
    assert [(one.number, one.name, one.state) for one in status.daemons] == [
        (number, name, "healthy") for number, name in enumerate(NAMES, 1)
    ]
    assert status.counts == {"healthy": 7}


def test_a_daemon_that_says_very_much_has_a_small_row(hub: Bench) -> None:
    runs = [RunningBody("t" * 120 + str(n), 1, "2026-01-01T00:00:00Z", 1, 1) for n in range(256)]
    much: dict[str, Any] = {f"part{n}": "x" * 1_000 for n in range(32)}
    hub.ask(beat("d", provides=["\U0001f600" * 64] * 256, running=runs, loops=much, auth=much))
    (daemon,) = hub.store.read(lambda tx: tx.load_many(Daemon, ("d",)))
    assert daemon_list.size_of(daemon) < 28_000


def test_a_full_store_takes_no_daemon_that_it_does_not_know(hub: Bench) -> None:
    hub.ask(beat("known"))
    hub.engine.policy = Policy(store_bytes_max=1)
    old = RegisterDaemon(RegisterBody("new", "1", ["x"], 1000, "2026-01-01T00:00:00Z"))
    refused = [hub.ask(request)[0] for request in (beat("new"), old)]
    assert [refusal.fields["code"] for refusal in refused] == ["store_full", "store_full"]
    assert hub.ask(beat("known"))[0]["success"] is True


def test_daemons_of_one_batch_share_the_room_that_is_left(hub: Bench) -> None:
    hub.ask(beat("first"))  # with which hearing time begins: that batch may be decided twice
    used = hub.store.read(lambda tx: tx.room().used_bytes)
    hub.engine.policy = Policy(store_bytes_max=used + 2_000_000)
    answers = hub.ask(*(beat(f"d{n}") for n in range(100)))
    assert 0 < sum(isinstance(answer, dict) for answer in answers) < 63
