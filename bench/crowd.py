"""A database with very many tasks and daemons: some are made by the hub's own rules, and the server copies those.

A copied row differs from its model in its ids, and in its place in the queue.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import psycopg

from bench.stock import fill
from understudy.clock import SystemClock
from understudy.coordinator.nouns import Policy
from understudy.hub.batch import Engine
from understudy.hub.claims import ClaimTasks
from understudy.hub.heartbeats import RecordHeartbeat
from understudy.hub.results import ReportResult
from understudy.ids import IdMaker
from understudy.store.postgres import PostgresStore
from understudy.wire.daemons import HeartbeatBody
from understudy.wire.tasks import ClaimBody, ResultBody

MODELS = 1_000  # of each
PATIENT = Policy(late_after_ms=36_000_000, down_after_ms=72_000_000)  # nobody is late while others are measured
DONE = 100  # of the tasks among them
OUTPUT = "y" * 400
_TASK = "{} || '-' || n"
_DAEMON = "substring({0} FROM '^[a-z]+-') || (substring({0} FROM '[0-9]+$')::int + n * " + f"{MODELS})"
TASKS: dict[str, dict[str, str]] = {
    "task": {"id": _TASK, "order_key": "{} + n", "queued_at": "{} + n"},
    "task_body": {"task_id": _TASK},
    "attempt": {"task_id": _TASK},
    "result": {"task_id": _TASK},
}
DAEMONS: dict[str, dict[str, str]] = {
    "daemon": {"id": _DAEMON, "machine_id": _DAEMON, "boot_id": _DAEMON},
    "boot": {"daemon_id": _DAEMON, "boot_id": _DAEMON},
    "period": {"daemon_id": _DAEMON},
}


def gather(url: str, tasks: int, daemons: int) -> None:
    """Fill an empty database with so many of each, in thousands."""
    store = PostgresStore(url)
    fill(store, MODELS)
    _finish_some(store)
    store.close()
    with psycopg.connect(url, autocommit=True) as connection:
        _copy(connection, TASKS, tasks // MODELS - 1)
        connection.execute(f"UPDATE usage SET open_tasks = open_tasks * {tasks // MODELS}")  # type: ignore[arg-type]
        _copy(connection, DAEMONS, daemons // MODELS - 1)
        connection.execute("VACUUM (ANALYZE)")


def _finish_some(store: PostgresStore) -> None:
    """All daemons are heard, and some tasks done by one of them."""
    clock = SystemClock()
    engine = Engine(store, clock, IdMaker(clock), PATIENT)
    fixed = {"seq": 1, "interval_sec": 10, "version": "1.0", "running": [], "capacity": 2}
    bodies = [
        HeartbeatBody(daemon_id=f"beat-{n}", machine_id=f"machine-{n}", boot_id=f"boot-{n}", **fixed)
        for n in range(MODELS)
    ]
    engine.run([RecordHeartbeat(body) for body in bodies])
    claim = ClaimBody(worker_id="beat-0", daemon_id="beat-0", boot_id="boot-0", max=DONE, request_id="claim-1")
    claimed = engine.run([ClaimTasks(claim, "beat-0")]).answers[0].tasks
    body = {"success": True, "output": "y" * 400}
    engine.run(
        [
            ReportResult(msgspec.json.decode(one.task)["id"], ResultBody(token=one.lease.token, **body))
            for one in claimed
        ]
    )


def _copy(
    connection: psycopg.Connection[tuple[object, ...]], tables: Mapping[str, Mapping[str, str]], times: int
) -> None:
    """Each row of these tables once more, so many times."""
    for table, changed in tables.items():
        found = connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position",
            (table,),
        ).fetchall()
        names = [str(name) for (name,) in found]
        values = ", ".join(changed.get(name, "{}").format(name) for name in names)
        connection.execute(
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {table}, generate_series(1, {times}) AS n"  # type: ignore[arg-type]
        )
