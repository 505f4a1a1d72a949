"""Takeover's loop, driven by hand: what a turn asks for, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from understudy.clock import ManualClock
from understudy.coordinator.calls import LEASE_MARGIN_MS, NoCall
from understudy.coordinator.nouns import Task
from understudy.coordinator.prompts import Prompt
from understudy.coordinator.takeover import Reach
from understudy.coordinator.takeover_look import Verdict
from understudy.errors import ConflictError, StoreError
from understudy.hub.batch import Committed
from understudy.hub.call_ends import SettleCall
from understudy.hub.calls import ReserveCall, TakeoverCall
from understudy.hub.steps import Beside, Performance, Sleep, Steps
from understudy.hub.takeover import CheckTakeover, RecordProbe
from understudy.hub.takeover_loop import (
    PAUSE_MS_MAX_SHARED,
    PAUSE_MS_MIN,
    PROBE_EVERY_MS,
    SETTLE_TRIES_MS,
    TELL_EVERY_MS,
    TakeoverLoop,
)
from understudy.services.claude import ClaudeApi
from understudy.wire.outbound import HttpAnswer, HttpRequest, NoAnswer

JOB = TakeoverCall("call-1", "t1", 7, Prompt("m", "", (), 10), timeout_ms=1_000)
BUSY = Verdict(is_open=True, may_call=True)


class Driven:
    """The loop, its clock, and what it asked for."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.loop = TakeoverLoop("hub/w", ClaudeApi("key"), self.clock, probe_url="http://probe/")
        self.asked: list[Any] = []

    def drive(self, steps: Steps, answers: Iterable[Any]) -> int:
        """Answer each effect in turn, an exception by raising it → what the steps return; `Sleep` answers itself."""
        given = iter(answers)
        answer: Any = None
        while True:
            try:
                effect = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
            except StopIteration as end:
                assert next(given, None) is None, "it asked for less"
                return int(end.value)
            self.asked.append(effect)
            if isinstance(effect, Sleep):
                self.clock.advance(effect.ms)
            answer = None if isinstance(effect, Sleep) else next(given)

    def kinds(self) -> list[type]:
        return [type(effect) for effect in self.asked]


@pytest.fixture
def driven() -> Driven:
    return Driven()


def test_a_turn_with_nothing_to_do_is_one_look_and_a_pause(driven: Driven) -> None:
    assert driven.drive(driven.loop.step(), [Verdict(pause_ms=9_000)]) == 9_000 - PAUSE_MS_MIN
    assert driven.kinds() == [CheckTakeover, Sleep]


def test_of_several_hubs_each_looks_soon_for_what_a_dead_one_has_left(driven: Driven) -> None:
    driven.loop = TakeoverLoop("hub/w", ClaudeApi("key"), driven.clock, is_shared=True)
    assert driven.drive(driven.loop.step(), [Verdict(pause_ms=60_000)]) == PAUSE_MS_MAX_SHARED - PAUSE_MS_MIN


GPU_AWAY = Reach(away=frozenset({frozenset({"gpu"})}), here=frozenset({frozenset({"machine"})}))


@pytest.mark.parametrize(("needs", "is_due"), [('["gpu"]', True), ('["machine"]', False), ("[]", False)])
def test_a_task_that_only_an_absent_machine_can_do_makes_a_turn_due(driven: Driven, needs: str, is_due: bool) -> None:
    ready = Committed((), ready=(Task("t", needs=needs),))
    assert not driven.loop.is_concerned(ready)
    driven.drive(driven.loop.step(), [Verdict(reach=GPU_AWAY)])
    assert driven.loop.is_concerned(ready) == is_due


def test_senders_are_told_at_once_and_again_in_a_while(driven: Driven) -> None:
    """A look at a thousand tasks is not taken with every turn; one that is left out follows soon."""
    verdict = Verdict(reach=GPU_AWAY, pause_ms=60_000)
    assert driven.drive(driven.loop.step(), [verdict]) == 60_000 - PAUSE_MS_MIN
    assert driven.drive(driven.loop.step(), [verdict]) == TELL_EVERY_MS - 2 * PAUSE_MS_MIN
    driven.clock.advance(TELL_EVERY_MS - 2 * PAUSE_MS_MIN)
    assert driven.drive(driven.loop.step(), [verdict]) == 60_000 - PAUSE_MS_MIN
    looks = [effect.tells for effect in driven.asked if isinstance(effect, CheckTakeover)]
    assert looks == [True, False, True]


@pytest.mark.parametrize("answer", [NoAnswer("refused"), HttpAnswer(503)])
def test_a_probe_that_fails_ends_the_turn(driven: Driven, answer: HttpAnswer | NoAnswer) -> None:
    pause_ms = driven.drive(driven.loop.step(), [Verdict(wants_probe=True), answer])
    assert pause_ms == PROBE_EVERY_MS - PAUSE_MS_MIN
    assert driven.kinds() == [CheckTakeover, HttpRequest, Sleep]


def test_a_probe_that_succeeds_is_recorded_and_the_turn_looks_again(driven: Driven) -> None:
    away = Verdict(wants_probe=True, reach=GPU_AWAY)
    driven.drive(driven.loop.step(), [away, HttpAnswer(404), None, Verdict()])
    assert driven.kinds() == [CheckTakeover, HttpRequest, RecordProbe, CheckTakeover, Sleep]
    assert all(effect.tells for effect in driven.asked if isinstance(effect, CheckTakeover))


def test_each_call_is_begun_beside_the_loop_until_there_is_no_more_to_do(driven: Driven) -> None:
    driven.drive(driven.loop.step(), [BUSY, JOB, "", JOB, "", NoCall("busy")])
    assert driven.kinds() == [CheckTakeover, ReserveCall, Beside, ReserveCall, Beside, ReserveCall, Sleep]


def test_a_call_for_which_there_is_no_thread_is_given_back_and_costs_nothing(driven: Driven) -> None:
    driven.drive(driven.loop.step(), [BUSY, JOB, "can't start new thread", None, NoCall("resting")])
    settled = driven.asked[3]
    assert isinstance(settled, SettleCall)
    assert (settled.job, settled.called.kind, settled.called.billed) == (JOB, "again", "nothing")


def test_a_call_is_one_request_and_its_settlement(driven: Driven) -> None:
    driven.drive(driven.loop.call(JOB), [HttpAnswer(529), None])
    assert driven.kinds() == [HttpRequest, SettleCall]


def test_a_call_that_the_store_cannot_take_is_settled_again_until_its_lease_is_over(driven: Driven) -> None:
    tries = (JOB.timeout_ms + LEASE_MARGIN_MS) // SETTLE_TRIES_MS
    driven.drive(driven.loop.call(JOB), [HttpAnswer(529), *[StoreError("full")] * (tries + 1)])
    assert driven.kinds() == [HttpRequest, *[SettleCall, Sleep] * tries, SettleCall]
    assert {e.ms for e in driven.asked if isinstance(e, Sleep)} == {SETTLE_TRIES_MS}


def test_a_call_whose_lease_is_lost_is_settled_once(driven: Driven) -> None:
    driven.drive(driven.loop.call(JOB), [HttpAnswer(529), ConflictError("stale token", "token")])
    assert driven.kinds() == [HttpRequest, SettleCall]


@pytest.mark.parametrize("beside", [False, True])
def test_a_call_that_the_end_of_the_hub_prevents_is_given_back_and_costs_nothing(driven: Driven, beside: bool) -> None:
    """It was reserved while the hub was asked to stop: nobody will make it."""
    answers: dict[type, Any] = {CheckTakeover: BUSY, ReserveCall: JOB}
    steps = driven.loop.call(JOB) if beside else driven.loop.step()
    performance = Performance(steps, lambda: beside or ReserveCall in driven.kinds())
    while (effect := performance.next()) is not None:
        driven.asked.append(effect)
        performance.answer = answers.get(type(effect))
    settled = driven.asked.pop()
    assert driven.kinds() == ([] if beside else [CheckTakeover, ReserveCall])
    assert isinstance(settled, SettleCall)
    assert (settled.job, settled.called.kind, settled.called.billed) == (JOB, "again", "nothing")
