"""A full store or disk refuses no result: the task ends, long texts are cut visibly, short ones are kept whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.hub.conftest import Bench
from tests.hub.test_batch import claim, enqueue
from understudy.coordinator.nouns import Evidence, Memory, Policy, Result, Task
from understudy.hub.cut_results import TEXT_BYTES_KEPT
from understudy.hub.results import ReportResult, ReportResults
from understudy.wire.tasks import ResultBody, ResultItem

LARGE = "begin " + "\N{HIRAGANA LETTER A}" * 300_000 + " end"
NOTED = TEXT_BYTES_KEPT + 100
FULL = Policy(store_bytes_max=1)


@pytest.fixture(params=[FULL, Policy(disk_free_bytes_min=1 << 63)], ids=["store", "disk"])
def hub(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A hub that was filled while the task `a` was out."""
    bench = Bench()
    bench.ask(enqueue("a", conversation="slack:U1", metadata={"long": "x" * 20_000}), enqueue("b"))
    bench.ask(claim("w", on_loss="requeue"))
    bench.engine.policy = request.param
    yield bench
    bench.store.close()


def row(hub: Bench, noun: Any, key: str = "a") -> Any:
    return hub.store.read(lambda tx: tx.load_many(noun, (key,)))[0]


def report(hub: Bench, **fields: Any) -> Any:
    token = row(hub, Task).token
    return hub.ask(ReportResult("a", ResultBody(token=token, **{"success": True, **fields})))[0]


def test_a_long_output_is_cut_visibly_and_its_task_ends(hub: Bench) -> None:
    assert report(hub, output=LARGE, usage={"costMicroUsd": 7, "log": "x" * 20_000}) == {"success": True, "cut": True}
    kept = row(hub, Result)
    assert (row(hub, Task).status, kept.cost_micro_usd) == ("done", 7)
    output = msgspec.json.decode(kept.output)
    assert (output[:6], output[-4:]) == ("begin ", " end")
    left_out = len(LARGE.encode()) - TEXT_BYTES_KEPT
    assert f"… {left_out} bytes left out: the hub's store is full …" in output
    assert len(kept.output.encode()) < NOTED
    assert len(kept.usage) < 100


def test_an_error_and_what_is_no_text_are_cut_as_well(hub: Bench) -> None:
    assert report(hub, success=False, output={"list": ["y"] * 90_000}, error=LARGE)["cut"] is True
    kept = row(hub, Result)
    assert row(hub, Task).status == "failed"
    assert len(kept.output.encode()) < 2 * NOTED  # quotes are escaped
    assert len(kept.error.encode()) < NOTED


def test_a_short_result_is_kept_whole(hub: Bench) -> None:
    assert report(hub, output={"answer": 42}, usage={"tokens": 1}) == {"success": True}
    assert (row(hub, Result).output, row(hub, Result).usage) == ('{"answer":42}', '{"tokens":1}')


def test_memory_and_evidence_grow_little(hub: Bench) -> None:
    token = row(hub, Task).token
    report(hub, output=LARGE)
    said = hub.store.read(lambda tx: tx.load_all(Memory, 10))
    assert len(said) == 2
    assert all(len(message.content.encode()) <= NOTED for message in said)
    hub.ask(ReportResult("b", ResultBody(success=True, worker_id="w9", output=LARGE)))
    hub.ask(ReportResult("a", ResultBody(success=True, token=token, output=LARGE)))
    assert all(len(kept.body.encode()) < 2 * NOTED for kept in hub.store.read(lambda tx: tx.load_all(Evidence, 10)))


def test_results_of_one_request_are_counted_together() -> None:
    bench = Bench()
    names = [f"t{nth}" for nth in range(4)]
    bench.ask(*(enqueue(name) for name in names))
    tokens = {a["taskId"]: a["lease"]["token"] for a in bench.ask(*(claim(name, on_loss="requeue") for name in names))}
    used = bench.store.read(lambda tx: tx.room()).used_bytes
    bench.engine.policy = Policy(store_bytes_max=used + 250_000)
    items = [ResultItem(task_id=name, token=tokens[name], success=True, output="x" * 100_000) for name in names]
    (answer,) = bench.ask(ReportResults(items))
    assert [one.get("cut", False) for one in answer["results"]] == [False, False, True, True]
    bench.store.close()
