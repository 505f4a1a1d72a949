"""Claims while another transaction of the database keeps vacuum from removing anything: `bench/held_snapshot.py`.

Workers enqueue, claim and report without a pause at a real hub on PostgreSQL (`--workers`). After a first minute a
second connection takes a snapshot and holds it, as a backup or a forgotten session does, for `--minutes` (5; 30 is
what the project promises to live through); a last minute shows how the hub is after it. One line a minute: how many
tasks, how long a claim took, and how many dead rows the table of tasks had at its end.
"""

from __future__ import annotations

import argparse
import http.client
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.figures import percentile  # noqa: E402
from bench.processes import KEY, Hub, free_port  # noqa: E402
from tests.postgres import Server, running_server  # noqa: E402

DEAD = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'task'"
CONTENT = "x" * 200
HEAD = "| minute | tasks | claim p50, ms | p99 | longest | dead rows | refused |\n|---|---|---|---|---|---|---|"
HEADERS = {"X-API-Key": KEY, "Content-Type": "application/json"}


class Worker(threading.Thread):
    """Enqueues a task, claims one and reports it, again and again."""

    def __init__(self, hub: Hub, number: int, stopped: threading.Event) -> None:
        super().__init__(daemon=True)
        self._connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=60)
        self._name = f"worker-{number}"
        self._stopped = stopped
        self.claims_ms: list[float] = []
        self.refused: list[str] = []

    def run(self) -> None:
        while not self._stopped.is_set():
            self._send("/api/queue", {"content": CONTENT})
            began = time.perf_counter()
            said = self._send("/api/queue/claim", {"workerId": self._name, "max": 1})
            self.claims_ms.append((time.perf_counter() - began) * 1000)
            for one in said.get("tasks", ()):
                report = {"success": True, "output": "y", "token": one["lease"]["token"]}
                self._send(f"/api/result/{one['task']['id']}", report)
        self._connection.close()

    def _send(self, path: str, body: Any) -> Any:
        self._connection.request("POST", path, msgspec.json.encode(body), HEADERS)
        answer = self._connection.getresponse()
        raw = answer.read()
        if answer.status not in (200, 201):
            self.refused.append(f"{path}: {answer.status}")
            return {}
        return msgspec.json.decode(raw)


@contextmanager
def working(hub: Hub, count: int) -> Iterator[list[Worker]]:
    """So many workers, until the end of the block."""
    stopped = threading.Event()
    workers = [Worker(hub, n, stopped) for n in range(count)]
    for worker in workers:
        worker.start()
    yield workers
    stopped.set()
    for worker in workers:
        worker.join(60)


def minute(name: str, server: Server, database: str, workers: list[Worker], seconds: float) -> None:
    """Let them work for so long, and print a line."""
    for worker in workers:
        worker.claims_ms = []
    time.sleep(seconds)
    taken = [ms for worker in workers for ms in worker.claims_ms]
    refused = sum(len(worker.refused) for worker in workers)
    ((dead,),) = server.ask(DEAD, database=database)
    figures = f"{percentile(taken, 50):,.1f} | {percentile(taken, 99):,.1f} | {max(taken):,.1f}"
    print(f"| {name} | {len(taken):,} | {figures} | {dead:,} | {refused} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="bench/held_snapshot.py", description=__doc__)
    parser.add_argument("--minutes", type=int, default=5)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--minute-s", type=float, default=60, help="seconds of a minute, to see that it runs")
    asked = parser.parse_args()
    with running_server(is_durable=True, port=free_port(), autovacuum_naptime="10s") as server:
        url = server.new_database()
        database = url.rpartition("/")[2]
        with tempfile.TemporaryDirectory() as folder, Hub(Path(folder) / "hub", settings=settings(url)) as hub:
            print(HEAD, flush=True)
            with working(hub, asked.workers) as workers:
                minute("before", server, database, workers, asked.minute_s)
                with closing(psycopg.connect(url)) as holder:
                    holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    holder.execute("SELECT count(*) FROM task").fetchall()
                    for nth in range(asked.minutes):
                        minute(f"held, {nth + 1}", server, database, workers, asked.minute_s)
                minute("after", server, database, workers, asked.minute_s)


def settings(url: str) -> dict[str, Any]:
    """Of a hub whose one key may have as many tasks as it likes."""
    return {"store": url, "key_tasks_max": 10_000_000, "key_mb_max": 100_000, "store_mb_max": 100_000}


if __name__ == "__main__":
    main()
