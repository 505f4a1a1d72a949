"""`GET /metrics`: read by Prometheus's own parser, true after a known story, bounded whatever is asked."""

from __future__ import annotations

import asyncio
import gzip
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.api.hubs import DAY, HOUR, FailingStore, Hub, set_failing
from tests.api.scraping import OPENMETRICS, Scrape, asked, scrape
from tests.api.wire import ADMIN, OWNER, Stream
from tests.waiting import eventually
from understudy.api.app import ENDPOINTS
from understudy.api.metrics import route
from understudy.api.metrics.table import OF_PROCESS, OF_STORE, OF_SYSTEM
from understudy.coordinator.nouns import Daemon, Notice, Policy, Task, Usage
from understudy.coordinator.prices import Price
from understudy.coordinator.routes import Route, Routes
from understudy.coordinator.takeover_nouns import Budget, TakeoverPolicy, TakeoverState
from understudy.hub.queue_depth import FIRST_IN_LINE
from understudy.store.sqlite_rows import SqliteTransaction

ROUTES = Routes(("ops", "mail"), (Route(("ops",)),))


def series(found: Scrape) -> set[Any]:
    """What Prometheus would keep: names with labels, but for statuses of answers, which are few."""
    return {
        (name, frozenset(pair for pair in labels if pair[0] != "status" or name != "understudy_http_requests_total"))
        for name, labels in found.samples
    }


# ---- form


@pytest.mark.parametrize("is_openmetrics", [False, True])
def test_every_metric_of_the_table_is_there_with_its_type_and_labels(hub: Hub, is_openmetrics: bool) -> None:
    hub.store.transaction(lambda tx: tx.save_many([Notice("n", "gone", "notice", "x", state="dead")]))
    page = asked(hub, **({"accept": OPENMETRICS} if is_openmetrics else {}))
    assert page.headers["content-type"].startswith("application/openmetrics" if is_openmetrics else "text/plain")
    found = Scrape(page.body.decode(), is_openmetrics=is_openmetrics)
    for metric in (*OF_PROCESS, *OF_STORE):
        assert found.types[metric.name] == metric.kind
        suffix = "_count" if metric.kind == "histogram" else ""
        labels = [dict(labels) for name, labels in found.samples if name == metric.name + suffix]
        assert labels, metric.name
        assert all(set(one) == set(metric.labels) for one in labels), metric.name
    ours = {metric.name for metric in (*OF_PROCESS, *OF_STORE)}
    system = {name: kind for name, kind, _, _ in OF_SYSTEM}
    assert {name: kind for name, kind in found.types.items() if name not in ours} in ({}, system)


def test_names_follow_the_conventions_of_prometheus() -> None:
    metrics = (*OF_PROCESS, *OF_STORE)
    assert len({metric.name for metric in metrics}) == len(metrics)
    for metric in metrics:
        assert metric.name.startswith("understudy_")
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert not metric.unit or metric.name.removesuffix("_total").endswith("_" + metric.unit.lower()), metric.name
        assert metric.meaning


def test_it_is_sent_packed_to_those_who_ask_for_it(shared_hub: Hub) -> None:
    page = asked(shared_hub, accept_encoding="deflate, gzip;q=0.8")
    assert page.headers["content-encoding"] == "gzip"
    assert int(page.headers["content-length"]) == len(page.body)
    Scrape(gzip.decompress(page.body).decode())
    for refused in ("identity", "gzip;q=0", "gzip; q=0.000", "x-gzip", ""):
        assert "content-encoding" not in asked(shared_hub, accept_encoding=refused).headers


@pytest.mark.parametrize("accept", ["application/openmetrics-text; version=x", "text/plain; version=1.0.0", "*", ";;,"])
def test_a_strange_wish_for_a_format_is_answered_all_the_same(shared_hub: Hub, accept: str) -> None:
    page = asked(shared_hub, accept=accept)
    Scrape(page.body.decode(), is_openmetrics="openmetrics" in page.headers["content-type"])


def test_head_is_the_same_without_a_body(shared_hub: Hub) -> None:
    page = asked(shared_hub, method="HEAD")
    assert (page.status, page.body) == (200, b"")
    assert int(page.headers["content-length"]) > 1000


# ---- who may read it


def test_a_key_that_may_read_is_needed(hub: Hub) -> None:
    made = {
        scope: hub.post("/api/keys", {"name": scope, "scopes": [scope]}, key=ADMIN).of(201)["key"]
        for scope in ("read", "submit", "work", "memory")
    }
    statuses = {scope: asked(hub, key=secret).status for scope, secret in made.items()}
    assert statuses == {"read": 200, "submit": 403, "work": 403, "memory": 403}
    assert asked(hub, key=ADMIN).status == 200
    refused = asked(hub, key=None)
    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert asked(hub, key="wrong").status == 401
    assert asked(hub, path=f"/metrics?key={OWNER}", key=None).status == 401
    assert asked(hub, method="POST").status == 404


def test_scrapes_count_against_the_rate_limit_of_their_key(start_hub: Callable[..., Hub]) -> None:
    hub = start_hub(burst=2)
    assert [asked(hub).status for _ in range(3)] == [200, 200, 429]


def test_no_secret_and_no_name_from_outside_is_in_it(hub: Hub) -> None:
    secret = hub.post("/api/keys", {"name": "name-of-a-key", "scopes": ["read"]}, key=ADMIN).of(201)["key"]
    hub.enqueue("id-of-a-task", content="text-of-a-task", source="source-of-a-task", priority="high")
    hub.beat("name-of-a-daemon", version="version-of-a-daemon")
    hub.lease("name-of-a-worker")
    text = scrape(hub).text
    for word in (secret, OWNER, ADMIN, "-of-a-", "host-of-the-tests"):
        assert word not in text


# ---- bounds


def test_nothing_that_is_asked_for_makes_a_new_series(hub: Hub) -> None:
    def ask() -> None:
        for n in range(1000):
            hub.get(f"/api/queue/task-{n}")
        for n in range(50):
            hub.get(f"/nothing/{n}")
            hub.get(f"/api/daemons/daemon-{n}")
        for n in range(5):  # more guesses would be held up
            asked(hub, path=f"/l/secret-{n}", key=None)
        for method in ("PATCH", "OPTIONS", "TRACE", "PROPFIND", "POST"):
            hub.client.call(method, "/metrics")

    ask()
    before = scrape(hub)
    ask()
    hub.enqueue("more")
    after = scrape(hub)
    assert series(after) - series(before) == set()
    assert after.value("understudy_http_requests_total", method="other", route="other", status="404") == 110
    task = {"method": "GET", "route": "/api/queue/{task_id}", "status": "404"}
    assert after.value("understudy_http_requests_total", **task) == 2000


def test_every_endpoint_is_counted_by_its_template_from_zero_on(shared_hub: Hub) -> None:
    found = scrape(shared_hub)
    for endpoint in ENDPOINTS:
        labels = {"method": endpoint.method, "route": endpoint.path.replace(":path", "")}
        assert found.value("understudy_http_requests_total", status="500", **labels) == 0


# ---- truth


def test_answers_are_counted_by_route_and_status(hub: Hub) -> None:
    before = scrape(hub)
    hub.enqueue("a")
    hub.beat()
    hub.get("/api/queue/none").of(404)
    hub.get("/api/queue", key=None).of(401)
    hub.get("/health", key=None).of(200)
    asked(hub, method="HEAD", path="/health")
    hub.get("/api/events").of(200)
    after = scrape(hub)
    name = "understudy_http_requests_total"
    more = {key: value - before.samples.get(key, 0) for key, value in after.samples.items() if key[0] == name}
    assert {(dict(k)["method"], dict(k)["route"], dict(k)["status"]): v for (_, k), v in more.items() if v} == {
        ("POST", "/api/queue", "201"): 1,
        ("POST", "/api/queue/heartbeat", "200"): 1,
        ("GET", "/api/queue/{task_id}", "404"): 1,
        ("GET", "/api/queue", "401"): 1,
        ("GET", "/health", "200"): 2,
        ("GET", "/api/events", "200"): 1,
        ("GET", "/metrics", "200"): 1,
    }


def test_pages_for_people_are_counted_too(hub: Hub) -> None:
    def answered(route: str) -> float:
        found = scrape(hub).samples
        name = "understudy_http_requests_total"
        return sum(v for (sample, labels), v in found.items() if sample == name and dict(labels)["route"] == route)

    before = answered("other"), answered("/")
    assert asked(hub, key=None, path="/nothing", accept="text/html").status in (401, 404)
    assert asked(hub, key=None, path="/", accept="text/html").status < 500
    assert (answered("other"), answered("/")) == (before[0] + 1, before[1] + 1)


def test_a_bug_is_counted_as_500(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ask", "ask_for"):  # until its end, which is decided as well
        monkeypatch.setattr(hub.runtime.writer, name, lambda *_: 1 / 0)
    assert asked(hub, method="POST", path="/api/queue/x/release").status == 500
    labels = {"method": "POST", "route": "/api/queue/{task_id}/release", "status": "500"}
    assert scrape(hub).value("understudy_http_requests_total", **labels) == 1


def test_a_known_story_is_told_by_the_numbers(start_hub: Callable[..., Hub]) -> None:
    hub = start_hub(policy=Policy(routes=ROUTES))
    first = scrape(hub)
    for task_id in ("a", "b", "c", "d"):
        hub.enqueue(task_id, delaySec=3600 if task_id == "d" else 0)
    hub.advance(5000)
    queued = scrape(hub)
    assert queued.of("understudy_queue_tasks", "state") == {"ready": 3, "delayed": 1}
    assert queued.value("understudy_queue_oldest_seconds") == 5
    hub.beat()
    leases = {lease["taskId"]: lease for lease in (hub.daemon_lease() for _ in range(3))}
    leased = scrape(hub)
    assert leased.value("understudy_leases") == 3
    assert leased.of("understudy_queue_tasks", "state") == {"delayed": 1}
    assert leased.value("understudy_queue_oldest_seconds") == 0
    assert leased.of("understudy_daemons", "state") == {"healthy": 1}
    hub.result("a", success=True, token=leases["a"]["token"]).of(200)
    hub.result("b", success=False, token=leases["b"]["token"]).of(200)
    hub.advance(180_000)
    after = scrape(hub)
    assert after.of("understudy_attempts_total", "outcome") == {"done": 1, "failed": 1, "expired": 1}
    assert after.of("understudy_daemons", "state") == {"late": 1}
    assert after.value("understudy_leases") == 0
    assert after.value("understudy_heartbeats_total") == first.value("understudy_heartbeats_total") + 1
    stored = hub.get("/api/events?limit=1000").of(200)["events"]
    assert sum(after.of("understudy_events_total", "level").values()) == len(stored)
    assert after.value("understudy_alarm_looks_total") > first.value("understudy_alarm_looks_total")
    assert after.value("understudy_alarm_lag_seconds_count") == after.value("understudy_alarm_looks_total")


def test_a_loss_whose_result_still_comes_counts_as_both(hub: Hub) -> None:
    hub.enqueue("a")
    lease = hub.lease()
    hub.advance(600_000)
    assert scrape(hub).of("understudy_attempts_total", "outcome") == {"expired": 1}
    hub.result("a", success=True, token=lease["token"]).of(200)
    assert scrape(hub).of("understudy_attempts_total", "outcome") == {"expired": 1, "done": 1}


def test_dead_letters_and_what_waits_are_counted_by_channel(start_hub: Callable[..., Hub]) -> None:
    hub = start_hub(policy=Policy(routes=ROUTES))
    at = hub.now - 60_000
    rows = [
        Notice("1", "ops", "notice", "x", state="dead", created_at=at),
        Notice("2", "ops", "notice", "x", created_at=at, due_at=at, next_at=at + DAY),
        Notice("3", "gone", "notice", "x", state="dead", created_at=at),
        Notice("4", "gone-too", "notice", "x", created_at=at, due_at=at - 1000, next_at=at + DAY),
        Notice("5", "ops", "notice", "x", created_at=at, due_at=hub.now + HOUR, next_at=hub.now + HOUR),
    ]
    hub.store.transaction(lambda tx: tx.save_many(rows))
    found = scrape(hub)
    assert found.of("understudy_outbox_dead", "channel") == {"ops": 1, "other": 1}
    assert found.of("understudy_outbox_notices", "channel") == {"ops": 1, "other": 1}
    assert found.of("understudy_outbox_oldest_seconds", "channel") == {"ops": 60, "other": 61}
    assert found.value("understudy_outbox_dead", channel="mail") == 0


TAKEOVER = TakeoverPolicy(mode="answer", has_key=True, model="m", price=Price(1, 2), day_micro_usd=2_000_000)


@pytest.mark.parametrize(
    ("policy", "state", "word"),
    [
        (TakeoverPolicy(), TakeoverState(), "off"),
        (TakeoverPolicy(mode="answer"), TakeoverState(), "lacking"),
        (TAKEOVER, TakeoverState(), "watching"),
        (TAKEOVER, TakeoverState(is_open=1), "open"),
        (TAKEOVER, TakeoverState(is_open=1, paused=1), "paused"),
        (TAKEOVER, TakeoverState(is_open=1, circuit="billing", circuit_at=1), "stopped"),
    ],
)
def test_takeover_is_in_one_state(
    start_hub: Callable[..., Hub], policy: TakeoverPolicy, state: TakeoverState, word: str
) -> None:
    hub = start_hub(policy=Policy(takeover=policy))
    hub.store.transaction(lambda tx: tx.save_many([state]))
    assert scrape(hub).of("understudy_takeover_state", "state") == {word: 1}


def test_money_is_shown_in_dollars_by_day_and_month(start_hub: Callable[..., Hub]) -> None:
    hub = start_hub(policy=Policy(takeover=TAKEOVER))
    rows = [Budget("2026-02-02", "day", 1_250_000, 3), Budget("2026-02", "month", 4_000_000, 9)]
    hub.store.transaction(lambda tx: tx.save_many(rows))
    found = scrape(hub)
    assert found.of("understudy_takeover_spent_usd", "period") == {"day": 1.25, "month": 4}
    assert found.of("understudy_takeover_budget_usd", "period") == {"day": 2, "month": 10}
    assert found.of("understudy_takeover_calls", "period") == {"day": 3, "month": 9}


def test_readers_of_the_event_log_and_waiting_claims_are_counted(hub: Hub) -> None:
    stream = Stream(hub.port, "/api/events?follow=1")
    try:
        found = scrape(hub)
        assert found.value("understudy_event_followers") == 1
        assert found.value("understudy_waiting_requests") == 1
        labels = {"method": "GET", "route": "/api/events", "status": "200"}
        assert found.value("understudy_http_requests_total", **labels) == 1
    finally:
        stream.close()


def test_the_sizes_of_batches_sum_up_to_what_was_decided(hub: Hub) -> None:
    before = scrape(hub)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: hub.new_client().post("/api/queue", {"content": f"{n}"}).of(201), range(16)))
    after = scrape(hub)
    more = [after.value(f"understudy_{name}") - before.value(f"understudy_{name}") for name in
            ("batch_requests_sum", "batch_requests_count", "commit_seconds_count")]  # fmt: skip
    assert more[0] == 16
    assert 1 <= more[1] == more[2] <= 16


@pytest.mark.sqlite
def test_a_state_that_cannot_be_read_counts_as_it_is_judged(hub: Hub) -> None:
    def spoil(tx: Any) -> None:
        tx.save_many([Daemon("d", state="late")])
        tx._db.execute("PRAGMA ignore_check_constraints = 1")
        tx._db.execute("UPDATE daemon SET state = 'on fire'")

    hub.store.transaction(spoil)
    assert scrape(hub).of("understudy_daemons", "state") == {"healthy": 1}


def test_a_scrape_counts_in_the_store_and_loads_few_rows(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(tx: Any) -> None:
        tx.save_many([Daemon(f"d{n}", "down") for n in range(3000)])
        tx.save_many([Task(f"t{n}", order_key=n, queued_at=n + 1) for n in range(3000)])
        tx.save_many([Usage("", 3000, 0)])
        tx.save_many([Notice(f"n{n}", "ops", "notice", "x", state="dead") for n in range(3000)])

    hub.store.transaction(fill)
    fetched, real = [], SqliteTransaction._fetch

    def counted(self: Any, query: str, values: Any = ()) -> list[Any]:
        rows = real(self, query, values)
        fetched.append(len(rows))
        return rows

    monkeypatch.setattr(SqliteTransaction, "_fetch", counted)
    found = scrape(hub)
    assert sum(fetched) <= FIRST_IN_LINE + 20
    assert found.value("understudy_daemons", state="down") == 3000
    assert found.value("understudy_queue_tasks", state="ready") == 3000
    assert found.value("understudy_outbox_dead", channel="other") == 3000


def test_a_hub_starts_without_what_only_a_scrape_or_a_page_needs() -> None:
    asks = (
        "import sys, understudy.runtime.hub.server; sys.exit(bool({'prometheus_client', 'jinja2'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", asks], check=True, timeout=120)


# ---- a store in trouble


@pytest.fixture
def failing(start_hub: Callable[..., Hub]) -> Iterator[Hub]:
    hub = start_hub(wrap=FailingStore)
    yield hub
    set_failing(hub, is_failing=False)


def test_with_a_broken_store_it_shows_what_the_process_knows(failing: Hub) -> None:
    failing.beat()
    assert scrape(failing).value("understudy_store_up") == 1
    set_failing(failing, is_failing=True)
    failing.beat().of(503)
    found = scrape(failing)
    assert found.value("understudy_store_up") == 0
    assert found.value("understudy_heartbeats_total") == 1
    assert found.value("understudy_batches_failed_total") >= 1
    labels = {"method": "POST", "route": "/api/queue/heartbeat", "status": "503"}
    assert found.value("understudy_http_requests_total", **labels) == 1
    assert not found.names() & {metric.name for metric in OF_STORE}
    assert "/secret/path" not in found.text
    set_failing(failing, is_failing=False)
    failing.beat()
    assert scrape(failing).value("understudy_store_up") == 1


def test_a_store_that_reads_but_takes_nothing_is_not_up(failing: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    set_failing(failing, is_failing=True)
    failing.beat().of(503)
    store: Any = failing.store
    monkeypatch.setattr(store, "read", store._store.read)
    found = scrape(failing)
    assert found.value("understudy_store_up") == 0
    assert "understudy_leases" in found.names()


def test_a_read_that_hangs_is_begun_once_and_keeps_nobody_waiting(
    start_hub: Callable[..., Hub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = start_hub(path=tmp_path / "hub.db")
    begun, go_on = [], threading.Event()

    def hang(view: Any) -> Any:
        begun.append(1)
        assert go_on.wait(120)
        raise RuntimeError("never shown")

    monkeypatch.setattr(route, "measured", hang)
    monkeypatch.setattr(route, "STORE_WITHIN_S", 0.02)
    try:
        for _ in range(4):
            assert scrape(hub).value("understudy_store_up") == 0
        assert begun == [1]
        hub.beat().of(200)
        hub.get("/api/daemons").of(200)
    finally:
        go_on.set()


def test_a_bug_in_a_reading_is_a_500_that_is_written_down(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "measured", lambda _: {}["bug"])
    assert asked(hub).status == 500
    assert "Internal error in GET /metrics" in hub.log.getvalue()


def test_scrapes_of_the_same_moment_share_one_read(
    start_hub: Callable[..., Hub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = start_hub(path=tmp_path / "hub.db")
    real, begun, go_on = route.measured, [], threading.Event()

    def slow(view: Any) -> Any:
        begun.append(1)
        assert go_on.wait(120)
        return real(view)

    monkeypatch.setattr(route, "measured", slow)
    labels = {"method": "GET", "route": "/metrics", "status": "200"}
    with ThreadPoolExecutor(4) as pool:
        pages = [pool.submit(scrape, hub) for _ in range(4)]
        try:
            eventually(lambda: hub.thread.run(_open_scrapes()) >= 4, what="scrapes")
        finally:
            go_on.set()
        assert [page.result(60).value("understudy_store_up") for page in pages] == [1, 1, 1, 1]
    assert begun == [1]
    assert scrape(hub).value("understudy_http_requests_total", **labels) == 4


async def _open_scrapes() -> int:
    """How many requests wait in `/metrics` on the loop of the hubs."""
    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    return sum("run_asgi" in getattr(coroutine, "__qualname__", "") for coroutine in coroutines)
