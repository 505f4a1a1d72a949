"""The loops of a simulated hub in one of its lives: alarm and takeover, each effect in its time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from understudy.errors import StoreError, UnderstudyError
from understudy.hub.alarm_loop import Alarm
from understudy.hub.batch import Committed, Engine
from understudy.hub.operation import Operation
from understudy.hub.steps import Beside, Effect, Read, Sleep, Steps
from understudy.hub.takeover_loop import TakeoverLoop
from understudy.runtime.stepper import RETRY_MS_FIRST
from understudy.simulation.service import Service
from understudy.simulation.world import ViolationError, World

PROBE_URL = "http://probe.simulated/"
Step = Callable[[], None]


class HubLoops:
    """`in_this_life`: a step that happens only if the hub is still the same process. `guarded`: one that may end it.

    `decide` gets an operation decided.
    """

    def __init__(
        self,
        world: World,
        engine: Engine,
        in_this_life: Callable[[Step], Step],
        guarded: Callable[[Callable[[], Any]], Any],
        decide: Callable[[Operation], Any],
    ) -> None:
        self._world = world
        self._store = engine.store
        self._in_this_life = in_this_life
        self._guarded = guarded
        self._decide = decide
        self._alarm = Alarm(engine, _only_violations)
        self._alarm_at = -1
        self._service: Service | None = None
        self._takeover: TakeoverLoop | None = None
        self._takeover_at = -1
        self._is_in_turn = self._is_woken = False

    def look_at(self, committed: Committed) -> None:
        """After a commit of this hub."""
        self._alarm.look_at(committed)
        self.set_alarm(self._alarm.pause_ms())
        self.heed(committed)

    def heed(self, committed: Committed) -> None:
        """After a commit of any hub."""
        if self._takeover is not None and self._takeover.is_concerned(committed):
            self._set_takeover(0)

    # ---- alarm

    def set_alarm(self, pause_ms: int) -> None:
        """Ring then, unless it rings earlier."""
        at_ms = self._world.now_ms + pause_ms + self._world.between(0, 5)
        if self._world.now_ms < self._alarm_at <= at_ms and pause_ms:
            return
        self._alarm_at = at_ms
        self._world.at(at_ms, self._in_this_life(lambda: self._ring(at_ms)))

    def _ring(self, at_ms: int) -> None:
        if at_ms != self._alarm_at:
            return  # an earlier or later one was set meanwhile
        self._alarm_at = -1
        self._drive(self._alarm.step(), self.set_alarm)

    # ---- takeover

    def start_takeover(self, service: Service, worker_id: str) -> None:
        """From now on it looks whether it must step in."""
        self._service = service
        self._takeover = TakeoverLoop(worker_id, service.api, self._world.clock, probe_url=PROBE_URL)
        self._set_takeover(0)

    def _set_takeover(self, pause_ms: int) -> None:
        """Make the next turn then, or earlier if an earlier one was planned; during a turn none is planned."""
        at_ms = self._world.now_ms + pause_ms + self._world.between(0, 50)
        if self._is_in_turn:
            self._is_woken = self._is_woken or not pause_ms
        elif not self._world.now_ms < self._takeover_at <= at_ms:
            self._takeover_at = at_ms
            self._world.at(at_ms, self._in_this_life(lambda: self._turn_takeover(at_ms)))

    def _turn_takeover(self, at_ms: int) -> None:
        if self._takeover is not None and at_ms == self._takeover_at:
            self._takeover_at, self._is_in_turn, self._is_woken = -1, True, False
            self._drive(self._takeover.step(), self._end_turn)

    def _end_turn(self, pause_ms: int) -> None:
        self._is_in_turn = False
        self._set_takeover(0 if self._is_woken else pause_ms)

    # ---- effects

    def _drive(self, steps: Steps, done: Callable[[int], None], answer: Any = None) -> None:
        """Carry out what a loop of the hub asks for, each effect in its time; `done` gets what the steps return."""
        go_on = partial(self._drive, steps, done)
        try:
            effect = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
        except StopIteration as end:
            done(end.value or 0)
        except StoreError:
            self._world.after(RETRY_MS_FIRST, self._in_this_life(lambda: done(0)))
        except Exception as bug:
            raise ViolationError("a loop never breaks", f"a loop of the hub: {bug!r}") from bug
        else:
            self._guarded(lambda: self._perform(effect, go_on))

    def _perform(self, effect: Effect, go_on: Callable[[Any], None]) -> None:
        match effect:
            case Operation():
                go_on(self._decide(effect))
            case Read():
                go_on(self._store.read(effect.show))
            case Sleep():
                self._world.after(effect.ms, self._in_this_life(lambda: go_on(None)))
            case Beside():
                self._drive(effect.steps, lambda _: self._set_takeover(0))
                go_on("")
            case _:
                assert self._service is not None
                took_ms, answer = self._service.asked(effect)
                self._world.after(took_ms, self._in_this_life(lambda: go_on(answer)))


def _only_violations(trouble: BaseException) -> None:
    """The alarm goes on whatever happens; but what the oracle found, and any defect, must be seen."""
    if isinstance(trouble, ViolationError):
        raise trouble
    if not isinstance(trouble, UnderstudyError):
        raise ViolationError("no request ends in a defect", f"the alarm met {trouble!r}") from trouble
