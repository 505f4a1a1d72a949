"""Nothing that a hub does becomes dearer with the number of rows in its store, but for what is listed with its reason.

Every fragment of every page, every answer of the API that is read from a snapshot, /metrics, every step of the loops
and the requests of daemons are done in a store of FEW rows of each kind and in one of ten times as many; what SQLite
has to do for them is counted. Lists are longer than a page in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.hub.crowded import Crowded
from understudy.coordinator.nouns import Daemon, Policy, Task
from understudy.coordinator.retention import purge_plan
from understudy.dashboard.frame import STANDING
from understudy.dashboard.page import Given
from understudy.dashboard.pages import PAGES
from understudy.hub.alarm import RingAlarm
from understudy.hub.calls import CutCalls
from understudy.hub.claims import ClaimTasks
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.heartbeats import RecordHeartbeat
from understudy.hub.home import beats_shown
from understudy.hub.measured import measured
from understudy.hub.numbers import numbers
from understudy.hub.outbox import ReclaimNotices
from understudy.hub.overview import overview
from understudy.hub.public_status import public_status
from understudy.hub.queue_depth import queue_depth
from understudy.hub.results import ReportResult
from understudy.hub.retention import PurgeRows
from understudy.hub.starts import RecordStart
from understudy.hub.takeover import CheckTakeover
from understudy.hub.views import View
from understudy.store.base import EventFilter, TaskFilter
from understudy.store.queries import Query
from understudy.wire.daemons import HeartbeatBody
from understudy.wire.tasks import ClaimBody, EnqueueBody, ResultBody

pytestmark = pytest.mark.sqlite
FEW, MANY = 300, 3_000
GROWS, AND_STEPS = 1.5, 1_000
BOUNDS = {  # smaller, so that few rows are more than a page
    "understudy.hub.home.DAEMONS_SHOWN": 30,
    "understudy.hub.overview.RUNS_MAX": 20,
    "understudy.hub.periods.PERIODS_MAX": 100,
    "understudy.hub.views.QUEUE_LIST_MAX": 100,
    "understudy.hub.home.RUNS_MAX": 20,
    "understudy.hub.incident_story.OPEN_SHOWN": 20,
    "understudy.hub.incident_story.OPEN_COUNTED_MAX": 50,
    "understudy.hub.channel_story.RECENT_MAX": 100,
    "understudy.hub.claims.PENDING_COUNT_MAX": 100,
    "understudy.store.lists.EVENTS_BACK_MAX": 100,
    "understudy.store.lists.SORTED_MAX": 100,
}
LISTS_ALL = "its contract: it lists all daemons"
LEASES = "it sorts what runs, which daemons bound by their capacity"
LETTERS = "it counts what waits and is dead, which owners resend and retention removes"
FINISHED = "it adds up what has finished in its days"
GROWING = {  # with the reason
    "/api/daemons": LISTS_ALL,
    "/api/daemon/health": LISTS_ALL,
    "/api/overview": LISTS_ALL,
    "/status": "it numbers daemons in the order in which they came; read at most every few seconds, whoever looks",
    "/api/tasks leased": LEASES,
    "/tasks tasks_rows claimed": LEASES,
    "/api/channels": LETTERS,
    "/notices notices_channels": LETTERS,
    "/metrics": LETTERS,
    "/api/numbers": FINISHED,
    "/numbers numbers": FINISHED,
    "/numbers numbers month": FINISHED,
    "a look of takeover": "it sees from what all daemons offer who could do a task; only where it is switched on",
    "purge of memory_overflow": "it looks for conversations that are too long, every ten minutes",
}
Work = Callable[[Crowded], Any]


def fragments() -> Iterator[tuple[str, Work]]:
    """Each fragment of each page, with each filter that is no search for a text."""
    path = (("daemon_id", "d-4"), ("task_id", "task-4"))
    queries: dict[str, tuple[dict[str, str], ...]] = {
        "tasks_rows": tuple({"status": one} for one in ("pending", "claimed", "done", "failed", "cancelled")),
        "notices": tuple({"state": one} for one in ("waiting", "sent", "dead", "folded")),
        "incidents": ({"cursor": f"{1 << 47}~x"},),
        "numbers": ({"span": "month"},),
    }
    scopes = frozenset({"admin", "read", "submit", "work"})
    yield "the frame", on_view(partial(STANDING.show, Given("en", scopes)))
    for page in PAGES:
        for fragment in page.fragments:
            for query in ({}, *queries.get(fragment.name, ())):
                given = Given("en", scopes, path, tuple(query.items()))
                name = f"{page.path} {fragment.name} {' '.join(query.values())}".strip()
                yield name, on_view(partial(fragment.show, given))


def on_view(show: Callable[[View], Any]) -> Work:
    """What is shown, read from a snapshot."""

    def work(hub: Crowded) -> Any:
        policy, wall = hub.engine.policy, hub.clock.now_ms()
        return hub.store.read(lambda reader: show(View(reader, wall, policy)))

    return work


def views() -> Iterator[tuple[str, Work]]:
    """What the API answers, /metrics included."""
    shown: dict[str, Callable[[View], Any]] = {
        "/api/queue": View.queue,
        "/api/tasks": lambda view: view.tasks(TaskFilter()),
        **{f"/api/tasks {one}": partial(_tasks, one) for one in ("queued", "leased", "done", "failed", "cancelled")},
        "/api/daemons": View.daemons,
        "/api/daemons/ID": lambda view: view.daemon("d-4"),
        "/api/daemon/health": View.old_health,
        "/api/events": lambda view: view.events(EventFilter(), []),
        "/api/events of a task": lambda view: view.events(EventFilter(task_id="task-4"), []),
        "/api/incidents": lambda view: view.incidents(0, "", 50),
        **{f"/api/notices {one}": partial(_notices, one) for one in ("", "waiting", "sent", "dead", "folded")},
        "/api/channels": View.channels,
        "/ready": View.outbox_oldest_s,
        "/api/deployments": View.deployments,
        "/api/memory/context": lambda view: view.context("user-4", "c", 1_000, 3_000),
        "/api/overview": overview,
        "/api/numbers": lambda view: numbers(view, "month"),
        "/metrics": measured,
        "/status": lambda view: public_status(view, with_names=False),
        "the beats of Home": beats_shown,
        "the length of the queue": lambda view: queue_depth(view.reader),
    }
    return ((name, on_view(show)) for name, show in shown.items())


def _tasks(status: str, view: View) -> Any:
    return view.tasks(TaskFilter(status))


def _notices(state: str, view: View) -> Any:
    return view.notices(state, 0, "", 50)


def steps() -> Iterator[tuple[str, Work]]:
    """The steps of the loops, a start, and the requests of daemons and of those who submit."""
    beat = {"machine_id": "", "boot_id": "b", "seq": 9, "interval_sec": 10, "running": [], "capacity": 1}
    yield "the start of a hub", lambda hub: hub.ask(RecordStart("v", "1", "f", "h"), CutCalls("hub/h"))
    yield "notices of a hub that died", lambda hub: hub.ask(ReclaimNotices(is_shared=False))
    yield "the alarm", lambda hub: hub.ask(RingAlarm())
    yield "the next deadlines", lambda hub: hub.store.read(lambda reader: reader.next_deadlines())
    yield "a look of takeover", lambda hub: hub.ask(CheckTakeover())
    yield "a heartbeat", lambda hub: hub.ask(RecordHeartbeat(HeartbeatBody(daemon_id="d-0", **beat)))
    yield "a new daemon", lambda hub: hub.ask(RecordHeartbeat(HeartbeatBody(daemon_id="new", **beat)))
    yield "a task", lambda hub: hub.ask(EnqueueTasks([EnqueueBody("x")], ["a-task"], "key"))
    yield "a claim", lambda hub: hub.ask(ClaimTasks(ClaimBody(worker_id="w", max=1), "w"))
    yield "a claim in vain", lambda hub: hub.ask(ClaimTasks(ClaimBody(worker_id="w", max=1, provides=["x"]), "w"))
    yield "a result", lambda hub: hub.ask(ReportResult("task-9", ResultBody(success=True, token=10)))
    for what, before in purge_plan(Policy(), 0):
        yield f"purge of {what}", partial(_purge, what, before)


def _purge(what: str, before: int, hub: Crowded) -> None:
    hub.ask(PurgeRows(what, before))


WORKS = (*fragments(), *views(), *steps())


@pytest.fixture(scope="module")
def costs() -> Iterator[Callable[[Work], tuple[int, int]]]:
    """The cost of a work with few and with many rows."""
    with pytest.MonkeyPatch.context() as patch:
        for name, bound in BOUNDS.items():
            patch.setattr(name, bound)
        hubs = Crowded(FEW), Crowded(MANY)
        yield lambda work: tuple(hub.counted(partial(work, hub)) for hub in hubs)  # type: ignore[return-value]
        for hub in hubs:
            hub.store.close()


def test_ten_times_the_rows_are_not_more_work(costs: Callable[[Work], tuple[int, int]]) -> None:
    done = {name: costs(work) for name, work in WORKS}
    grown = {name: cost for name, cost in done.items() if is_more(*cost)}
    assert {name: cost for name, cost in grown.items() if name not in GROWING} == {}
    assert GROWING.keys() <= grown.keys(), "what is listed grows no more: take it off the list"


def is_more(few: int, many: int) -> bool:
    """True if a cost has grown."""
    return many > few * GROWS + AND_STEPS


def test_a_read_and_a_count_of_all_rows_are_seen(costs: Callable[[Work], tuple[int, int]]) -> None:
    assert is_more(*costs(lambda hub: hub.store.read(lambda reader: reader.load_all(Daemon, FEW + MANY))))
    allowed = Query(Task, "takeover = 'allow'")
    assert is_more(*costs(lambda hub: hub.store.read(lambda reader: reader.count(allowed, limit=FEW + MANY))))
