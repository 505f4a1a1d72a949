"""After a sleep: a beat at once with its length, dead connections dropped, nothing new before the hub has answered."""

from __future__ import annotations

import threading
from typing import Any

from tests.waiting import eventually
from tests.worker.rules_hub import RulesHub
from understudy.clock import SystemClock
from understudy.daemon.life import main_loop
from understudy.daemon.sleep import SleepWatch
from understudy.runtime.machine.drive import Driver
from understudy.worker.effects import Abort, Failed, HubAnswer, ResetConnections
from understudy.worker.state import Signals

HOUR_MS = 3_600_000


class Sleeper(RulesHub):
    """A daemon whose machine sleeps at will."""

    def __init__(self, **stage: Any) -> None:
        super().__init__(**stage)
        self.slept_ms = 0
        self.stage.state.slept_ms = lambda: self.slept_ms
        self.effects: list[Any] = []
        perform = self.stage._perform
        self.stage._perform = lambda loop, effect: (self.effects.append(effect), perform(loop, effect))[1]  # type: ignore[method-assign]
        self.stage.start(main_loop(self.stage.state))

    def sleep(self, ms: int) -> None:
        """The lid is closed for so long; the clock that counts sleep goes on."""
        self.slept_ms += ms
        self.stage.clock.advance(ms)
        self.stage.state.signals.raise_("beat")  # as the driver does within two seconds

    def count(self, kind: type) -> int:
        return sum(isinstance(effect, kind) for effect in self.effects)

    def beats(self) -> list[dict[str, Any]]:
        return [call.body for _, call in self.stage.calls if call.path.endswith("/heartbeat")]


def test_after_a_sleep_connections_are_dropped_and_the_long_poll_is_cut() -> None:
    hub = Sleeper()
    hub.stage.run_for(12_000)
    hub.effects.clear()
    hub.sleep(HOUR_MS)
    hub.stage.run_for(100)
    assert hub.beats()[-1]["sleptSec"] == 3600
    assert any(isinstance(effect, ResetConnections) for effect in hub.effects)
    assert any(isinstance(effect, Abort) and effect.name == "claim" for effect in hub.effects)


def test_nothing_is_claimed_after_a_sleep_before_a_beat_is_accepted() -> None:
    hub = Sleeper()
    hub.stage.run_for(12_000)
    hub.sleep(HOUR_MS)
    hub.is_away = True
    hub.stage.run_for(60_000)
    assert not hub.stage.state.may_claim()
    hub.is_away = False
    hub.submit("t1")
    assert hub.stage.run_until(lambda: "t1" in hub.results)


def test_a_run_that_was_about_to_start_waits_for_the_hubs_word_after_a_sleep() -> None:
    hub = Sleeper(on_loss="wait")
    answer = hub.stage.hub
    hub.stage.hub = lambda call: (5_000 if call.path.endswith("/claim") else 4, answer(call)[1])
    hub.submit("t1")
    hub.stage.run_for(3_000)  # granted, and the grant is on its way
    hub.refuses["/heartbeat"] = HubAnswer(503, {})
    hub.sleep(3_000)
    hub.stage.run_for(10_000)
    assert [run.task.id for run in hub.stage.state.runs.values()] == ["t1"]
    assert hub.stage.started == []
    hub.refuses.clear()
    assert hub.stage.run_until(lambda: hub.stage.started == ["t1"], within_ms=10_000)


def test_a_sleep_is_acted_on_once_however_often_the_beat_after_it_fails() -> None:
    hub = Sleeper()
    hub.stage.run_for(12_000)
    hub.is_away = True
    hub.effects.clear()
    hub.sleep(HOUR_MS)
    hub.stage.run_for(60_000)
    assert hub.count(ResetConnections) == 1
    assert hub.count(Abort) == 1
    hub.sleep(HOUR_MS)
    hub.stage.run_for(60_000)
    assert hub.count(ResetConnections) == 2
    assert {beat["sleptSec"] for beat in hub.beats() if "sleptSec" in beat} == {3600, 7200}


def test_the_owner_hears_of_a_hub_that_is_away_after_a_sleep() -> None:
    hub = Sleeper()
    hub.stage.run_for(12_000)
    hub.is_away = True
    hub.sleep(HOUR_MS)
    hub.stage.run_for(290_000)
    assert hub.stage.reported == []
    hub.stage.run_for(HOUR_MS)
    assert [line.split()[0] for line in hub.stage.reported] == ["critical"]


def test_a_sleep_during_a_beat_is_no_absence_of_the_hub() -> None:
    """The beat is on its way when the lid is closed; its connection is dead when it is opened."""
    hub = Sleeper()
    answer = hub.stage.hub
    hub.stage.hub = lambda call: (900, answer(call)[1])
    hub.stage.run_until(lambda: len(hub.beats()) == 3)
    hub.is_away = True
    hub.stage.hub = lambda _: (900, Failed("connection reset"))
    hub.stage.run_until(lambda: len(hub.beats()) == 4)
    hub.sleep(HOUR_MS)
    hub.stage.run_for(60_000)
    assert hub.stage.reported == []


class Meter:
    """How long the machine has slept, as a test says."""

    def __init__(self) -> None:
        self.ms = 0

    def slept_ms(self) -> int:
        return self.ms


def test_a_sleep_is_noticed_once() -> None:
    meter = Meter()
    watch = SleepWatch(meter.slept_ms)
    meter.ms = 1_999
    assert not watch.has_slept()
    meter.ms = 2_000
    assert watch.has_slept()
    assert not watch.has_slept()


def test_a_waiting_heartbeat_is_woken_by_a_sleep() -> None:
    """The real driver: `wait` looks every two seconds, whatever it waits for."""
    meter, signals = Meter(), Signals()
    driver = Driver(signals, SystemClock(), SleepWatch(meter.slept_ms).has_slept)
    woken = threading.Event()
    threads = [
        threading.Thread(target=lambda: driver.wait("beat", 60_000) and woken.set(), daemon=True),
        threading.Thread(target=lambda: driver.wait("claim", 3_000), daemon=True),
    ]
    for thread in threads:
        thread.start()
    meter.ms = 5_000
    eventually(woken.is_set, within_s=10, what="a beat")
