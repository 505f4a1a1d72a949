"""procrastinate: defer `tasks` jobs in one call, then drain them by one worker; prints jobs a second as JSON.

`procrastinate_drain.py CONNINFO TASKS`: its defaults but for 16 jobs at a time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import procrastinate

CONCURRENT = 16
PAYLOAD = "x" * 200


async def drain(conninfo: str, tasks: int) -> float:
    """Jobs a second, from the start of the worker until the queue is empty."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=conninfo))

    @app.task(name="noop")
    async def noop(payload: str) -> None:  # noqa: ARG001 - it has one
        return

    async with app.open_async():
        if not await app.check_connection_async():
            await app.schema_manager.apply_schema_async()
        await app.connector.execute_query_async("TRUNCATE procrastinate_jobs CASCADE")
        for start in range(0, tasks, 1000):
            await noop.batch_defer_async(*({"payload": PAYLOAD} for _ in range(min(1000, tasks - start))))
        await app.connector.execute_query_async("ANALYZE procrastinate_jobs")
        began = time.perf_counter()
        await app.run_worker_async(concurrency=CONCURRENT, wait=False, install_signal_handlers=False)
        passed_s = time.perf_counter() - began
        left = (
            await app.connector.execute_query_one_async(
                "SELECT count(*) AS n FROM procrastinate_jobs WHERE status = 'todo'"
            )
        )["n"]
    if left:
        raise SystemExit(f"{left} jobs are left")
    return tasks / passed_s


if __name__ == "__main__":
    print(json.dumps({"per_s": asyncio.run(drain(sys.argv[1], int(sys.argv[2])))}))
