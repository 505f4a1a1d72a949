"""The loop of a long poll by itself: when it asks again though nothing wakes it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from understudy.api import long_poll
from understudy.api.long_poll import wait_for_work
from understudy.api.waiting import Waiting
from understudy.hub.claims import ClaimTasks, NothingYet
from understudy.wire.answers.claims import NoTasks
from understudy.wire.tasks import ClaimBody

NONE = NoTasks(success=False, message="No tasks available", pending=1)


class Scripted:
    """A hub that gives these answers, one after the other, the last one for ever."""

    def __init__(self, *answers: Any) -> None:
        self.waiting = Waiting()
        self._answers = list(answers)
        self.asked = 0

    async def decide(self, _: Any) -> Any:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def poll(hub: Scripted, wait_s: float) -> Any:
    async def nobody_hangs_up() -> dict[str, Any]:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    claim = ClaimTasks(ClaimBody(worker_id="w", wait_sec=wait_s), "w")
    hub_as_is: Any = hub
    return asyncio.run(wait_for_work(hub_as_is, claim, lambda: True, nobody_hangs_up))


def test_a_claim_whose_batch_had_no_room_asks_again_unwoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_poll, "LOOK_AGAIN_S", 0.001)
    short = NothingYet(NONE, frozenset(), is_barred=False, is_short=True)
    hub = Scripted(*[short] * 5, "a task")
    assert (poll(hub, 3), hub.asked) == ("a task", 6)


def test_a_claim_for_which_nothing_is_left_waits_until_it_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_poll, "LOOK_AGAIN_S", 0.001)
    hub = Scripted(NothingYet(NONE, frozenset(), is_barred=False))
    assert poll(hub, 0.05) is NONE
    assert hub.asked == 3  # at first, with its place in the line, and at the end
