"""pgqueuer: enqueue `tasks` jobs in one call, then drain them by one worker; prints jobs a second as JSON.

`pgqueuer_drain.py CONNINFO_URL TASKS`: its documented defaults, asyncpg, batches of 50, 16 tasks at a time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import timedelta

import asyncpg
from pgqueuer import PgQueuer, Queries
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.types import QueueExecutionMode

BATCH = 50
CONCURRENT = 16
PAYLOAD = b"x" * 200


async def drain(url: str, tasks: int) -> float:
    """Jobs a second, from the start of the worker until the queue is empty."""
    connection = await asyncpg.connect(url)
    driver = AsyncpgDriver(connection)
    queries = Queries(driver)
    if not await queries.schema_is_installed():
        await queries.install()
    await queries.clear_queue()
    await queries.enqueue(["noop"] * tasks, [PAYLOAD] * tasks, [0] * tasks)
    await connection.execute("ANALYZE")
    worker = PgQueuer(driver)

    @worker.entrypoint("noop")
    async def noop(_: Job) -> None:
        return

    began = time.perf_counter()
    await worker.run(
        dequeue_timeout=timedelta(seconds=1),
        batch_size=BATCH,
        max_concurrent_tasks=max(CONCURRENT, 2 * BATCH),
        mode=QueueExecutionMode.drain,
    )
    passed_s = time.perf_counter() - began
    left = sum(row.count for row in await queries.queue_size())
    if left:
        raise SystemExit(f"{left} jobs are left")
    return tasks / passed_s


if __name__ == "__main__":
    print(json.dumps({"per_s": asyncio.run(drain(sys.argv[1], int(sys.argv[2])))}))
