"""Two simulated hubs over one database: the balancer in front, a hub that stands still, an outcome that is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from understudy.coordinator.nouns import Policy
from understudy.errors import StoreDownError
from understudy.simulation.cluster import SEEN_AFTER_MS, Cluster
from understudy.simulation.exchange import Letter, Reply
from understudy.simulation.oracle import Oracle
from understudy.simulation.shared_store import CUT_AFTER_MS, Database, SharedStore
from understudy.simulation.weather import CALM
from understudy.simulation.world import World


class Stage:
    """Two hubs of a calm world, and what they answered."""

    def __init__(self) -> None:
        self.world = World(1)
        policy = Policy()
        self.cluster = Cluster(self.world, CALM, policy, Oracle(self.world, policy), None, 2)
        self.cluster.start()

    def send(self, path: str, body: Any = None) -> list[Reply | None]:
        """A request, and where its answer will be."""
        answers: list[Reply | None] = []
        meant = body or {}
        self.cluster.receive(Letter("someone", "POST", path, meant, msgspec.json.encode(meant)), answers.append)
        return answers

    def pass_ms(self, ms: int) -> None:
        self.world.run_until(self.world.now_ms + ms)

    def created(self, task_id: str) -> int:
        """The status of a new task's answer; 0: the connection broke."""
        answers = self.send("/api/queue", {"id": task_id, "content": "x"})
        self.pass_ms(200)
        (reply,) = answers
        return reply.status if reply is not None else 0


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.cluster.close()
    stage.cluster.store.close()


def test_requests_to_a_hub_that_is_gone_break_until_the_balancer_has_seen_it(stage: Stage) -> None:
    kept = stage.cluster._chosen("someone")
    kept.stop("kill")
    assert 0 in [stage.created(f"a{n}") for n in range(SEEN_AFTER_MS // 200)]
    stage.pass_ms(SEEN_AFTER_MS)
    assert {stage.created(f"b{n}") for n in range(10)} == {201}
    assert stage.cluster.hears()


def test_what_one_hub_was_given_another_one_knows(stage: Stage) -> None:
    assert [stage.created("a"), stage.created("a")] == [201, 200]
    for hub in stage.cluster.hubs:
        stage.cluster._kept["someone"] = hub
        assert stage.created("a") == 200


def test_time_counts_while_one_of_the_hubs_hears(stage: Stage) -> None:
    one, other = stage.cluster.hubs
    ledger = one._oracle.ledger
    one.freeze()
    stage.pass_ms(60_000)
    assert ledger.heard() == stage.world.now_ms
    other.freeze()
    stage.pass_ms(60_000)
    one.thaw()
    assert ledger.heard() == stage.world.now_ms - 60_000


def test_a_hub_that_stands_still_in_a_transaction_is_cut_and_the_others_go_on() -> None:
    now = [0]
    database = Database(lambda: now[0])
    frozen, other = SharedStore(database), SharedStore(database)
    database.hold(frozen, alone=False)
    other.transaction(lambda tx: tx.room(), alone=False)
    with pytest.raises(StoreDownError, match="lock timeout"):
        other.transaction(lambda tx: tx.room())
    now[0] = CUT_AFTER_MS
    other.transaction(lambda tx: tx.room())
    assert not database.let_go(frozen)


def test_an_outcome_that_is_lost_is_a_failure_for_the_client_and_kept_all_the_same(stage: Stage) -> None:
    ways = [hub.store for hub in stage.cluster.hubs if isinstance(hub.store, SharedStore)]
    for way in ways:
        way._outcome_lost = lambda: True
    assert stage.created("a") == 503
    for way in ways:
        way._outcome_lost = lambda: False
    assert stage.created("a") == 200
