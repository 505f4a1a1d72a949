"""No input whatever gives a 5xx, hangs the hub or makes it grow: fuzzed on the wire, in a real process."""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from typing import Any

import pytest

from bench.processes import KEY, Hub
from tests.seeds import SEED
from tests.soak.fuzzer import Fuzzer
from tests.soak.watched import WatchedHub
from understudy.clock import ManualClock
from understudy.coordinator.nouns import Policy
from understudy.errors import NotFoundError
from understudy.hub.batch import Engine
from understudy.hub.task_commands import CommandTask
from understudy.ids import IdMaker
from understudy.runtime.hub.writer import Writer
from understudy.store.sqlite import SqliteStore

LINES = 4
GROWTH_MIB_MAX = 10
SETTLED_AFTER = 40_000  # by then what is kept within bounds has filled them: known rows, statements, texts, live events


def fuzz(hub: Hub, requests: int, seed: int) -> dict[int, int]:
    """So many requests over four connections; the answers by status."""
    document = hub.call("GET", "/openapi.json")[1]
    fuzzers = [Fuzzer(hub, document, seed * 100 + n, requests // LINES) for n in range(LINES)]
    for fuzzer in fuzzers:
        fuzzer.start()
    for fuzzer in fuzzers:
        fuzzer.join(3600)
        assert not fuzzer.is_alive()
    assert [problem for fuzzer in fuzzers for problem in fuzzer.problems] == [], f"seed {seed}"
    counted: dict[int, int] = {}
    for fuzzer in fuzzers:
        for status, times in fuzzer.by_status.items():
            counted[status] = counted.get(status, 0) + times
    assert hub.is_running
    assert hub.call("GET", "/ready")[0] == 200
    log = hub.log.read_text("utf-8", "replace")
    assert "Internal error" not in log, log[-2000:]
    assert "Traceback" not in log, log[-2000:]
    return counted


def schemathesis_requests(hub: Hub, requests: int, seed: int) -> dict[int, int]:
    """The same by schemathesis, from the same document; half of them wrong on purpose."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{hub.port}/openapi.json")
    schema = schema.exclude(path=["/health", "/ready", "/metrics"])  # they take nothing that could be wrong
    counted: dict[int, int] = {}
    operations = [result.ok() for result in schema.get_all_operations()]
    session_headers = {"X-API-Key": KEY}

    def run_one(strategy: Any, examples: int) -> None:
        @seeded(seed)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=False,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy)
        def send(case: Any) -> None:
            body = getattr(case, "body", None)
            if isinstance(body, dict) and isinstance(body.get("waitSec"), int | float) and body["waitSec"] <= 60:
                body["waitSec"] = 0
            if isinstance(case.query, dict):
                case.query.pop("follow", None)
            answer = case.call(headers=session_headers, timeout=20)
            counted[answer.status_code] = counted.get(answer.status_code, 0) + 1
            assert answer.status_code < 500, f"{case.method} {case.formatted_path}: {answer.status_code} {answer.text}"

        send()

    modes = schemathesis.GenerationMode.all() if hasattr(schemathesis.GenerationMode, "all") else []
    modes = modes or [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    each = max(1, requests // (len(operations) * len(modes)))
    for operation in operations:
        for mode in modes:
            run_one(operation.as_strategy(generation_mode=mode), each)
    return counted


def test_1900_fuzzed_requests_give_no_5xx(tmp_path):
    with Hub(tmp_path) as hub:
        counted = fuzz(hub, 1_900, seed=1 + SEED)
        assert counted.get(200, 0) > 200
        assert counted.get(400, 0) > 100


@pytest.mark.soak
def test_2000_requests_of_schemathesis_give_no_5xx(tmp_path, report):
    seed = random.randrange(1 << 20)
    with Hub(tmp_path) as hub:
        counted = schemathesis_requests(hub, 2_000, seed)
        assert hub.call("GET", "/ready")[0] == 200
        report(f"{sum(counted.values()):,} requests (seed {seed}): by status {dict(sorted(counted.items()))}")


@pytest.mark.soak
def test_100_000_fuzzed_requests_give_no_5xx_and_no_growth(tmp_path, report):
    seed = random.randrange(1 << 20)
    with WatchedHub(tmp_path) as hub:
        counted = fuzz(hub, SETTLED_AFTER, seed)
        settled = hub.rss_mib()
        grown = []
        for part in range(1, 4):
            for status, times in fuzz(hub, 20_000, seed + part).items():
                counted[status] = counted.get(status, 0) + times
            grown.append(hub.rss_mib() - settled)
        growth = ", ".join(f"{mib:+.1f}" for mib in grown)
        report(
            f"100,000 requests (seed {seed}): by status {dict(sorted(counted.items()))}; resident memory "
            f"{settled:.0f} MiB after {SETTLED_AFTER:,}, then {growth} MiB after each 20,000; "
            f"the loop was held {hub.assert_turns():.0f} ms at most"
        )
        assert max(grown) <= GROWTH_MIB_MAX


def test_a_refusal_is_freed_with_its_answer_not_by_the_collector():
    """A ring of exception, frames and working set for each refused request is how a hub grows (100 KiB each)."""

    async def refuse_many() -> None:
        clock = ManualClock()
        ids = IdMaker(clock)
        writer = Writer(Engine(SqliteStore(None), clock, ids, Policy()), lambda _: None)
        writer.start(asyncio.get_running_loop())
        for n in range(20):
            with pytest.raises(NotFoundError):
                await writer.decide(CommandTask("cancel", f"task-{n}", "key"))
        await writer.stop()
        writer.engine.store.close()

    asyncio.run(refuse_many())
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        asyncio.run(refuse_many())
        gc.collect()
        kept = Counter(type(found).__name__ for found in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not kept["WorkingSet"]
    assert not kept["NotFoundError"]
