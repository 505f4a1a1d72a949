"""Several hubs on one store, in one process: each hears at once of what the others did."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import pytest

from tests.api.hubs import Hub, SharedSqlite, SignallingSqlite
from tests.api.test_claims import start_polls
from tests.api.wire import ADMIN, Stream
from tests.fakes.webhook import FakeWebhook
from tests.waiting import allowed_s, eventually
from understudy.api import context
from understudy.api.auth import WRONG_KEYS_A_MINUTE
from understudy.api.context import LOOKS_AHEAD
from understudy.api.event_feed import Follower
from understudy.clock import ManualClock
from understudy.coordinator.nouns import Deployment, Policy
from understudy.coordinator.routes import Routes
from understudy.errors import StoreDownError
from understudy.hub.delivery import LOOK_EVERY_MS_SHARED
from understudy.notify.base import ChannelSettings
from understudy.runtime.hub import others
from understudy.runtime.hub.hints import COUNT_MAX, KINDS_MAX, Hint, hint_of
from understudy.runtime.hub.lanes import Lanes
from understudy.store.base import Store
from understudy.store.postgres import PostgresStore
from understudy.store.queries import DEPLOYMENTS

Pair = tuple[Hub, Hub]


@pytest.fixture
def make_pair(start_hub: Callable[..., Hub]) -> Callable[..., Pair]:
    """Two hubs on one store."""

    def make(*stores: Store) -> Pair:
        clock = ManualClock()
        return start_hub(store=stores[0], clock=clock, name="a"), start_hub(store=stores[-1], clock=clock, name="b")

    return make


@pytest.fixture(params=["alone", "with hints", "postgres"])
def pair(make_pair: Callable[..., Pair], request: pytest.FixtureRequest) -> Pair:
    """Two hubs on a store in memory without and with hints, and on a real PostgreSQL."""
    if request.param != "postgres":
        return make_pair(SharedSqlite() if request.param == "alone" else SignallingSqlite())
    url = request.getfixturevalue("postgres_url")
    return make_pair(PostgresStore(url, own_clock=True), PostgresStore(url, own_clock=True))


@pytest.fixture
def never_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hubs that look only after a hint."""
    monkeypatch.setattr(others, "LOOK_EVERY_S", 3600)


# ---- events


def test_a_stream_at_one_hub_has_the_events_of_all_in_order(pair: Pair) -> None:
    a, b = pair
    stream = Stream(b.port, "/api/events?follow=1")
    for n in range(6):
        (a, b)[n % 2].enqueue(f"t{n}")
    seen = [stream.until("task.queued") for _ in range(6)]
    assert [event["fields"]["taskId"] for _, event in seen] == [f"t{n}" for n in range(6)]
    places = [int(place) for place, _ in seen]
    assert places == sorted(places)
    stream.close()


def test_a_stream_goes_on_at_another_hub(pair: Pair) -> None:
    a, b = pair
    stream = Stream(a.port, "/api/events?follow=1")
    a.enqueue("first")
    place, _ = stream.until("task.queued")
    stream.close()
    a.enqueue("second")
    resumed = Stream(b.port, "/api/events?follow=1", last_id=place)
    assert resumed.until("task.queued")[1]["fields"]["taskId"] == "second"
    b.enqueue("third")
    assert resumed.until("task.queued")[1]["fields"]["taskId"] == "third"
    resumed.close()


def test_what_is_not_settled_yet_comes_later_and_once(pair: Pair) -> None:
    """A stream that begins while its hub has not read that far yet."""
    a, b = pair
    b.thread.run(_hold(b))
    a.enqueue("t")
    stream = Stream(b.port, "/api/events?follow=1")
    b.thread.run(_go_on(b))
    assert stream.until("task.queued")[1]["fields"]["taskId"] == "t"
    b.enqueue("u")
    assert stream.until("task.queued")[1]["fields"]["taskId"] == "u", "not the first one again"
    stream.close()


def test_a_stream_reads_no_further_than_its_hub_has_followed(pair: Pair) -> None:
    """What is behind that may still get something before it."""
    a, b = pair
    b.thread.run(_hold(b))
    a.enqueue("t")
    stream = Stream(b.port, "/api/events?follow=1")
    resumed = Stream(b.port, "/api/events?follow=1", last_id="1")
    b.thread.run(_close_feed(b))
    assert "task.queued" not in stream.rest() + resumed.rest()
    stream.close()
    resumed.close()


def test_whoever_begins_to_follow_while_only_names_are_read_is_shown_all(pair: Pair) -> None:
    """As long as nobody follows, a hub reads no more than the names of what happens."""
    a, b = pair
    b.thread.run(_hold(b))
    a.enqueue("t")
    asked: list[bool] = []
    came = b.thread.run(_join_after_the_read(b, asked))
    b.thread.run(_go_on(b))
    eventually(lambda: list(came._queue), what="the event")
    assert [(item.stored.event.name, item.stored.event.fields["taskId"]) for item in came._queue] == [
        ("task.queued", "t")
    ]
    assert asked[0]
    assert not any(asked[1:])
    b.thread.run(_leave(b, came))


async def _join_after_the_read(hub: Hub, asked: list[bool]) -> Follower:
    others, follower = hub.runtime._others, Follower("k")
    assert others is not None
    read = others._read

    async def read_then_join(fn: Any) -> Any:
        seen = await read(fn)
        if not follower._queue and (wanted := next(iter(getattr(fn, "args", ())), None)) is not None:
            asked.append(wanted.names_only)
            hub.runtime.feed.followers.add(follower)
        return seen

    others._read = read_then_join
    return follower


async def _leave(hub: Hub, follower: Follower) -> None:
    hub.runtime.feed.followers.discard(follower)


async def _close_feed(hub: Hub) -> None:
    hub.runtime.feed.close()


async def _hold(hub: Hub) -> None:
    """From here on it looks at nothing; a look that was under way has ended."""
    held = asyncio.Event()

    async def look_at_nothing() -> bool:
        held.set()
        return False

    hub.runtime._others._look = look_at_nothing  # type: ignore[method-assign, union-attr]
    hub.runtime._others._woken.set()  # type: ignore[union-attr]
    await held.wait()


async def _go_on(hub: Hub) -> None:
    del hub.runtime._others._look  # type: ignore[union-attr]
    hub.runtime._others._woken.set()  # type: ignore[union-attr]


@pytest.mark.sqlite
def test_a_store_of_one_hub_is_fed_by_its_commits(start_hub: Callable[..., Hub]) -> None:
    hub = start_hub()
    assert hub.runtime._others is None
    assert not hub.runtime.feed.is_followed


def test_looks_at_other_hubs_count_as_nobodys_requests(pair: Pair) -> None:
    a, b = pair
    before = b.runtime.tally.requests
    last_id = b.runtime.feed.last_id
    a.enqueue()
    eventually(lambda: b.runtime.feed.last_id > last_id)
    assert b.runtime.tally.requests == before


# ---- keys and sessions


def test_hubs_go_on_following_when_an_older_copy_of_their_store_takes_its_place(
    make_pair: Callable[..., Pair], postgres_url: str
) -> None:
    """As after a restore, or an asynchronous standby that was promoted: places in the log are given a second time."""
    a, b = make_pair(PostgresStore(postgres_url, own_clock=True), PostgresStore(postgres_url, own_clock=True))
    made = a.post("/api/keys", {"name": "n", "scopes": ["read"]}, key=ADMIN).of(201)
    stream = Stream(b.port, "/api/events?follow=1")
    for n in range(20):
        a.enqueue(f"t{n}")
        assert stream.until("task.queued")[1]["fields"]["taskId"] == f"t{n}"
    assert b.get("/api/queue", key=made["key"]).status == 200
    with closing(psycopg.connect(postgres_url, autocommit=True)) as restored:
        restored.execute("DELETE FROM event WHERE id > 5; SELECT setval('event_id', 5)")
    a.post(f"/api/keys/{made['id']}/revoke", key=ADMIN).of(200)
    eventually(lambda: b.get("/api/queue", key=made["key"]).status in {401, 429}, every_s=0.1, what="its end there")
    assert "task.queued" not in stream.rest(), "it is over: its reader comes again"
    stream.close()
    anew = Stream(b.port, "/api/events?follow=1", last_id="20")
    a.enqueue("after")
    seen = [anew.until("task.queued")[1]["fields"]["taskId"]]
    while seen[-1] != "after":  # it may begin with the last ones of what is left
        seen.append(anew.until("task.queued")[1]["fields"]["taskId"])
    anew.close()
    assert "Part of the event log is gone" in b.log.getvalue()


def test_hubs_go_on_where_a_copy_of_their_store_has_left_the_counter_of_places_behind(
    make_pair: Callable[..., Pair], postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a move by logical replication: no event is gone."""
    looks = counted_looks(monkeypatch)
    a, b = make_pair(PostgresStore(postgres_url, own_clock=True), PostgresStore(postgres_url, own_clock=True))
    with closing(Stream(b.port, "/api/events?follow=1")) as stream:
        for n in range(10):
            a.enqueue(f"t{n}")
            stream.until("task.queued")
        with closing(psycopg.connect(postgres_url, autocommit=True)) as moved:
            moved.execute("SELECT setval('event_id', 1, false)")
        looks.clear()
        eventually(lambda: len(looks) == 2 and min(looks.values()) > 1, what="a whole look of both")
        a.enqueue("after")
        assert stream.until("task.queued")[1]["fields"]["taskId"] == "after"
    assert "event log is gone" not in a.log.getvalue() + b.log.getvalue()


def test_a_hub_whose_store_was_away_looks_at_the_keys_again(
    make_pair: Callable[..., Pair], postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the other hub wrote meanwhile may have been lost, and its places given to other events."""
    a, b = make_pair(PostgresStore(postgres_url, own_clock=True), PostgresStore(postgres_url, own_clock=True))
    made = a.post("/api/keys", {"name": "n", "scopes": ["read"]}, key=ADMIN).of(201)
    eventually(lambda: b.get("/api/queue", key=made["key"]).status == 200, every_s=0.1, what="the key at the other hub")
    with closing(psycopg.connect(postgres_url, autocommit=True)) as other:
        other.execute("UPDATE api_key SET revoked_at = 1")
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    monkeypatch.setattr(b.runtime.store, "_opened", _is_away)
    eventually(lambda: b.runtime._others._has_failed, what="a look that fails")  # type: ignore[union-attr]
    monkeypatch.undo()
    eventually(lambda: b.get("/api/queue", key=made["key"]).status in {401, 429}, every_s=0.1, what="its end there")


def _is_away() -> Any:
    raise StoreDownError("away")


def counted_looks(monkeypatch: pytest.MonkeyPatch) -> Counter[others.Others]:
    """The looks of each hub that have ended, often."""
    looks: Counter[others.Others] = Counter()
    look = others.Others._look

    async def counted(hub: others.Others) -> bool:
        is_more = await look(hub)
        looks[hub] += 1
        return is_more

    monkeypatch.setattr(others, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(others.Others, "_look", counted)
    return looks


def test_a_key_that_is_revoked_at_one_hub_is_refused_at_all(pair: Pair) -> None:
    a, b = pair
    made = a.post("/api/keys", {"name": "n", "scopes": ["read"]}, key=ADMIN).of(201)
    refused = {401, 429}  # unknown; unknown, and asked too often
    eventually(lambda: b.get("/api/queue", key=made["key"]).status == 200, every_s=0.1, what="the key at the other hub")
    stream = Stream(b.port, "/api/events?follow=1", key=made["key"])
    a.post(f"/api/keys/{made['id']}/revoke", key=ADMIN).of(200)
    eventually(lambda: b.get("/api/queue", key=made["key"]).status in refused, every_s=0.1, what="its end there")
    a.enqueue("t")
    assert "task.queued" not in stream.rest(), "and its streams are over"
    stream.close()


def test_a_new_key_is_taken_by_a_hub_that_has_not_heard_of_it_yet(pair: Pair) -> None:
    """Behind a load balancer the first request with it was refused, and counted as a guess."""
    a, b = pair
    b.thread.run(_hold(b))
    made = a.post("/api/keys", {"name": "n", "scopes": ["read"]}, key=ADMIN).of(201)
    assert b.get("/api/queue", key=made["key"]).status == 200
    assert b.get("/metrics", key=made["key"]).status == 200
    b.thread.run(_go_on(b))


@pytest.mark.parametrize("pair", ["alone"], indirect=True)
def test_keys_of_strangers_make_a_hub_look_into_the_store_only_so_often(pair: Pair) -> None:
    a, b = pair
    b.thread.run(_hold(b))
    for n in range(max(LOOKS_AHEAD, WRONG_KEYS_A_MINUTE)):
        assert b.get("/api/queue", key=f"wrong-{n}").status == 401
    made = a.post("/api/keys", {"name": "n", "scopes": ["read"]}, key=ADMIN).of(201)
    assert b.get("/api/queue", key=made["key"]).status == 429, "as one more guess"
    b.clock.advance(1_000)
    assert b.get("/api/queue", key=made["key"]).status == 200
    b.thread.run(_go_on(b))


@pytest.mark.parametrize("pair", ["alone"], indirect=True)
def test_an_unknown_key_waits_for_no_store_that_is_frozen(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    _, b = pair
    read, goes_on = b.store.read, threading.Event()
    monkeypatch.setattr(context, "LOOK_WITHIN_S", 0.1)
    monkeypatch.setattr(b.store, "read", lambda *given: (goes_on.wait(allowed_s(20)), read(*given))[1])
    try:
        assert b.get("/api/queue", key="wrong").status == 401
        assert not goes_on.is_set()
    finally:
        goes_on.set()


# ---- long polls


def test_a_hint_brings_a_task_to_a_poll_at_another_hub(make_pair: Callable[..., Pair], never_looks: None) -> None:
    a, b = make_pair(SignallingSqlite())
    with ThreadPoolExecutor(1) as pool:
        (poll,) = start_polls(b, pool, {"workerId": "w"})
        task_id = a.enqueue()
        assert poll.result(allowed_s(20)).of(200)["taskId"] == task_id


def test_without_hints_each_hub_looks_by_itself(make_pair: Callable[..., Pair]) -> None:
    a, b = make_pair(SharedSqlite())
    with ThreadPoolExecutor(1) as pool:
        (poll,) = start_polls(b, pool, {"workerId": "w", "waitSec": 60})  # at its end it would look in any case
        task_id = a.enqueue()
        assert poll.result(allowed_s(20)).of(200)["taskId"] == task_id


def test_as_many_polls_are_woken_as_there_are_tasks(pair: Pair) -> None:
    a, b = pair
    with ThreadPoolExecutor(6) as pool:
        polls = start_polls(b, pool, *({"workerId": f"w{n}", "waitSec": 50} for n in range(6)))
        tasks = [{"content": "x"} for _ in range(4)]
        a.post("/api/queue/batch", {"tasks": tasks}).of(200)
        eventually(lambda: sum(poll.done() for poll in polls) == 4, within_s=allowed_s(20))
        eventually(lambda: b.runtime.waiting.count == 2, what="the others in their places again")
        a.enqueue(), a.enqueue()
        assert len({poll.result(allowed_s(20)).of(200)["taskId"] for poll in polls}) == 6


def test_a_task_that_somebody_waits_for_here_wakes_nobody_elsewhere(
    make_pair: Callable[..., Pair], never_looks: None
) -> None:
    store = SignallingSqlite()
    a, b = make_pair(store)
    with ThreadPoolExecutor(2) as pool:
        (there,) = start_polls(b, pool, {"workerId": "there", "waitSec": 50})
        (here,) = start_polls(a, pool, {"workerId": "here", "waitSec": 50})
        a.enqueue()
        assert here.result(allowed_s(20)).of(200)["success"]
        assert not any((hint := hint_of(sent)) and hint.ready for sent in store.sent)
        assert not there.done()
        a.enqueue()
        assert there.result(allowed_s(20)).of(200)["success"]


def test_a_poll_is_not_woken_for_what_its_daemon_may_not_have(pair: Pair) -> None:
    a, b = pair
    with ThreadPoolExecutor(2) as pool:
        gpu, plain = start_polls(b, pool, {"workerId": "g", "provides": ["gpu", "machine"]}, {"workerId": "p"})
        task_id = a.enqueue(needs=["gpu"])
        assert gpu.result(allowed_s(20)).of(200)["taskId"] == task_id
        assert not plain.done()
        a.enqueue()
        plain.result(allowed_s(20)).of(200)


def test_hints_are_small_and_those_of_strangers_are_read_with_care(
    make_pair: Callable[..., Pair], never_looks: None
) -> None:
    store = SignallingSqlite()
    a, _ = make_pair(store)
    a.post("/api/queue/batch", {"tasks": [{"content": "x", "needs": [f"n{n}"]} for n in range(90)]}).of(200)
    eventually(lambda: any((hint := hint_of(sent)) and hint.ready for sent in store.sent))
    assert all(len(sent) < 7_000 for sent in store.sent)
    assert max(len(hint.ready) for sent in store.sent if (hint := hint_of(sent))) <= KINDS_MAX
    for payload in ("", "x", "[]", '{"a":1}', '["x",[["not json","",1]]]', f'["x",[["[]","",{COUNT_MAX}]]]'):
        store.signal(payload)
    a.enqueue()
    assert hint_of("[1]") is None
    assert hint_of('["h",[["[]","",2]]]') == Hint("h", (("[]", "", 2),))


# ---- what a dead hub leaves


def test_what_a_dead_hub_has_left_in_the_outbox_is_sent_by_another(start_hub: Callable[..., Hub]) -> None:
    with FakeWebhook(is_fresh=False) as hook:
        channel = ChannelSettings("hook", "webhook", address=hook.address, secret=hook.secret)
        given = {"channels": (channel,), "policy": Policy(routes=Routes(channels=("hook",)))}
        store, clock = SharedSqlite(), ManualClock()
        a, b = (start_hub(store=store, clock=clock, name=name, **given) for name in ("a", "b"))
        a.runtime.deliverers.stop()
        a.post("/api/channels/test", key=ADMIN).of(200)
        hook.wait_for(1, within_s=60)
        loop = b.runtime.deliverers._by_name["hook"]
        assert loop.safe_step() == LOOK_EVERY_MS_SHARED, "and it looks again so soon"


# ---- who runs


def test_hubs_that_run_are_listed_and_one_that_ended_is_not(pair: Pair) -> None:
    a, b = pair
    assert {hub["name"] for hub in a.get("/api/overview").of(200)["hubs"]} == {"a", "b"}
    b.begin_stop().result(30)
    assert [hub["name"] for hub in a.get("/api/overview").of(200)["hubs"]] == ["a"]
    starts = {row["hub"]: row for row in a.get("/api/deployments").of(200)["deployments"]}
    assert (starts["b"]["running"], "endedAt" in starts["b"]) == (False, True)


def test_a_hub_that_was_killed_is_listed_no_more_after_a_while(pair: Pair) -> None:
    a, b = pair
    b.thread.run(_hold(b))
    for _ in range(4):
        a.clock.advance(6_000)
        a.enqueue()  # its own event wakes it
        eventually(lambda: _seen_at(a, "a") > a.clock.now_ms() - 5_000)
    assert [hub["name"] for hub in a.get("/api/overview").of(200)["hubs"]] == ["a"]


def test_a_hub_that_runs_is_listed_however_often_others_were_started_since(pair: Pair) -> None:
    a, b = pair
    crashed = a.clock.now_ms() + 1
    rows = [Deployment(f"v{n}", crashed + n, "1", "f", "box", "crashes", 1) for n in range(150)]
    a.store.transaction(lambda tx: tx.save_many(rows))
    assert {hub["name"] for hub in b.get("/api/overview").of(200)["hubs"]} == {"a", "b"}


def test_a_hub_that_an_older_copy_of_the_store_does_not_know_is_known_again(pair: Pair) -> None:
    a, b = pair
    a.store.transaction(lambda tx: tx.delete_many(Deployment, (b.runtime.start_id,)))
    assert [hub["name"] for hub in a.get("/api/overview").of(200)["hubs"]] == ["a"]
    a.clock.advance(6_000)
    a.enqueue()
    eventually(lambda: len(a.get("/api/overview").of(200)["hubs"]) == 2, what="both hubs")


def test_two_hubs_of_one_name_say_so_and_an_earlier_life_of_the_same_hub_is_none(
    start_hub: Callable[..., Hub],
) -> None:
    store, clock = SharedSqlite(), ManualClock()
    crashed = Deployment("v0", clock.now_ms(), "1", "f", "box", "a", clock.now_ms())
    store.transaction(lambda tx: tx.save_many([crashed]))
    a, b = (start_hub(store=store, clock=clock, name=name) for name in ("a", "b"))
    for _ in range(3):
        clock.advance(6_000)
        a.enqueue()
        eventually(lambda: min(_seen_at(a, "a"), _seen_at(a, "b")) > clock.now_ms() - 5_000)
    assert "Another hub" not in a.log.getvalue() + b.log.getvalue()
    c = start_hub(store=store, clock=clock, name="a")
    said = "Another hub that runs is named a too"

    def said_by_both() -> bool:
        clock.advance(6_000)
        a.enqueue()
        return all(said in hub.log.getvalue() for hub in (a, c))

    eventually(said_by_both, every_s=0.5)
    assert [hub.log.getvalue().count(said) for hub in (a, b, c)] == [1, 0, 1]


def _seen_at(hub: Hub, name: str) -> int:
    rows: list[Any] = hub.store.read(lambda reader: reader.find(DEPLOYMENTS))
    return max(int(row.seen_at) for row in rows if row.name == name)


@pytest.mark.sqlite
def test_a_hub_has_two_batches_under_way_on_a_shared_store_only(pair: Pair, start_hub: Callable[..., Hub]) -> None:
    assert [isinstance(hub.runtime.writer, Lanes) for hub in (*pair, start_hub())] == [True, True, False]
