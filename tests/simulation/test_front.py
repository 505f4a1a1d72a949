"""The simulated hub answers by the application that the server hosts: its refusals, its long polls, its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from understudy.coordinator.nouns import Policy
from understudy.hub.claims import NothingYet
from understudy.simulation.exchange import Letter, Reply, SimulatedExchange
from understudy.simulation.hub import SimulatedHub
from understudy.simulation.oracle import Oracle
from understudy.simulation.weather import CALM
from understudy.simulation.world import ViolationError, World
from understudy.wire.answers.claims import NoTasks


class Stage:
    """A hub of a calm world, and what it answered."""

    def __init__(self) -> None:
        self.world = World(1)
        policy = Policy()
        self.hub = SimulatedHub(self.world, CALM, policy, Oracle(self.world, policy))
        self.hub.start()

    def send(self, method: str, path: str, body: Any = None) -> tuple[Letter, list[Reply | None]]:
        """A request, and where its answer will be."""
        meant = body if isinstance(body, dict) else {}
        raw = body if isinstance(body, bytes) else msgspec.json.encode(meant)
        letter, answers = Letter("someone", method, path, meant, raw), []
        self.hub.receive(letter, answers.append)
        return letter, answers

    def ask(self, method: str, path: str, body: Any = None) -> Reply:
        _, answers = self.send(method, path, body)
        self.pass_ms(100)
        (reply,) = answers
        assert reply is not None
        return reply

    def pass_ms(self, ms: int) -> None:
        self.world.run_until(self.world.now_ms + ms)


@pytest.fixture
def stage() -> Any:
    stage = Stage()
    yield stage
    stage.hub.close()
    stage.hub.store.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/queue", b"not json", 400),
        ("POST", "/api/queue", b'{"content": 1}', 400),
        ("POST", "/api/queue/bad id/renew", b"{}", 400),
        ("POST", "/api/queue", b"[" * 40_000, 400),  # so large that the server would decode it beside its loop
        ("GET", "/api/nothing", b"", 404),
        ("PUT", "/api/queue", b"{}", 404),
        ("GET", "/api/tasks/t-1", b"", 404),
        ("GET", "/api/queue/", b"", 200),
    ],
)
def test_a_request_is_answered_as_the_server_answers_it(
    stage: Stage, method: str, path: str, body: bytes, status: int
) -> None:
    assert stage.ask(method, path, body).status == status


CLAIM = {"workerId": "w", "provides": ["machine"], "waitSec": 20}


def test_a_claim_that_waits_is_answered_when_work_comes(stage: Stage) -> None:
    _, answers = stage.send("POST", "/api/queue/claim", CLAIM)
    stage.pass_ms(5_000)
    assert answers == []
    stage.ask("POST", "/api/queue", {"id": "t1", "content": "do"})
    (reply,) = answers
    assert reply is not None
    assert reply.body["taskId"] == "t1"


def test_a_claim_that_waits_in_vain_is_answered_at_the_end_of_its_time(stage: Stage) -> None:
    _, answers = stage.send("POST", "/api/queue/claim", CLAIM)
    stage.pass_ms(19_900)
    assert answers == []
    stage.pass_ms(200)
    (reply,) = answers
    assert reply is not None
    assert reply.body["success"] is False


def test_a_task_goes_to_the_next_in_line_when_the_first_has_hung_up(stage: Stage) -> None:
    letter, gone = stage.send("POST", "/api/queue/claim", CLAIM)
    stage.pass_ms(1_000)
    _, answers = stage.send("POST", "/api/queue/claim", CLAIM | {"workerId": "v"})
    stage.pass_ms(1_000)
    stage.hub.hang_up(letter)
    stage.ask("POST", "/api/queue", {"id": "t1", "content": "do"})
    assert gone == []
    assert len(answers) == 1


def test_a_claim_that_was_sent_twice_is_told_of_the_one_task_on_both_connections(stage: Stage) -> None:
    """The client may have heard only of the second: the first was granted to a connection that is dead."""
    claim = CLAIM | {"requestId": "r1"}
    first, second = stage.send("POST", "/api/queue/claim", claim)[1], stage.send("POST", "/api/queue/claim", claim)[1]
    stage.pass_ms(1_000)
    stage.ask("POST", "/api/queue", {"id": "t1", "content": "do"})
    stage.pass_ms(20_000)
    assert [reply.body.get("taskId") for reply in (*first, *second) if reply is not None] == ["t1", "t1"]


def test_the_oracle_hears_of_a_grant_whose_client_was_gone_before_it_was_told() -> None:
    exchange = SimulatedExchange(Letter("someone", "POST", "/api/queue/claim", CLAIM, b""), lambda _: None, "key")
    assert exchange.unsent() is None
    exchange.decided = NothingYet(NoTasks(False, "No tasks available", 0), frozenset(), is_barred=False)
    assert exchange.unsent() is None
    exchange.decided = {"success": True, "taskId": "t1"}
    known = exchange.unsent()
    assert known is not None
    assert (known.status, known.body) == (200, {"success": True, "taskId": "t1"})


@pytest.mark.parametrize(
    "end",
    [
        lambda hub: hub.stop("kill"),
        lambda hub: hub.stop("stop"),
    ],
)
def test_whoever_waits_when_the_hub_dies_sees_the_connection_break(
    stage: Stage, end: Callable[[SimulatedHub], None]
) -> None:
    _, answers = stage.send("POST", "/api/queue/claim", CLAIM)
    stage.pass_ms(1_000)
    end(stage.hub)
    stage.pass_ms(60_000)
    assert answers == [None]


def test_a_frozen_hub_answers_when_it_goes_on(stage: Stage) -> None:
    stage.hub.freeze()
    _, answers = stage.send("POST", "/api/queue", {"id": "t1", "content": "do"})
    stage.pass_ms(60_000)
    assert answers == []
    stage.hub.thaw()
    stage.pass_ms(100)
    assert len(answers) == 1


def test_a_defect_behind_a_request_is_a_violation(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.hub.claims.ClaimTasks.__init__", lambda *_, **__: 1 / 0)
    with pytest.raises(ViolationError, match="ZeroDivisionError"):
        stage.send("POST", "/api/queue/claim", CLAIM)
