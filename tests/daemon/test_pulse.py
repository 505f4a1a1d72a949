"""The pulse that a supervisor feels: attempts to beat, and loops that go on; an absent hub does not stop it."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.daemon.live import living
from tests.waiting import eventually
from understudy.daemon.pulse import BEAT_MORE_MS, Pulse
from understudy.worker.state import DRAINING, IDLE, RUNNING, STOPPING


class State(SimpleNamespace):
    """As much of a daemon as its pulse feels."""

    def __init__(self, **changes):
        usual = {"seq": 0, "now_ms": 0, "mode": RUNNING, "is_stop_asked": False, "runs": {}, "stopped": ()}
        super().__init__(**usual | changes)
        self.duties = SimpleNamespace(interval_ms=10_000)
        self.liveness = SimpleNamespace(stopped=lambda: self.stopped)

    def awake_ms(self):
        return self.now_ms


LIMIT_MS = 10_000 + BEAT_MORE_MS


@pytest.mark.parametrize(("quiet_ms", "is_well"), [(0, True), (LIMIT_MS, True), (LIMIT_MS + 1, False)])
def test_a_daemon_that_attempts_no_beat_is_not_well(quiet_ms, is_well):
    state = State()
    pulse = Pulse(state)
    assert pulse.is_well()
    state.now_ms += quiet_ms
    assert pulse.is_well() is is_well


def test_attempts_are_enough_for_ever():
    state = State()
    pulse = Pulse(state)
    for _ in range(20):
        state.now_ms += LIMIT_MS
        state.seq += 1
        assert pulse.is_well()


def test_a_loop_that_stands_still_is_not_well_unless_runs_would_die_with_it():
    state = State(stopped=("claim",))
    assert not Pulse(state).is_well()
    state.runs = {"run": object()}
    assert Pulse(state).is_well()


@pytest.mark.parametrize("mode", [IDLE, STOPPING])
def test_who_has_stopped_beating_on_purpose_is_well(mode):
    state = State(mode=mode)
    pulse = Pulse(state)
    pulse.is_well()
    state.now_ms += 10 * LIMIT_MS
    assert pulse.is_well()


def test_a_long_drain_that_was_asked_for_is_well_and_one_from_afar_must_beat():
    for is_asked, is_well in ((True, True), (False, False)):
        state = State(mode=DRAINING, is_stop_asked=is_asked)
        pulse = Pulse(state)
        pulse.is_well()
        state.now_ms += 10 * LIMIT_MS
        assert pulse.is_well() is is_well


def test_a_real_daemon_says_ready_alive_and_stopping_even_without_a_hub(tmp_path):
    nook = tempfile.mkdtemp()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ears:
        ears.bind(str(Path(nook) / "notify"))
        ears.settimeout(60)
        env = {"NOTIFY_SOCKET": str(Path(nook) / "notify"), "WATCHDOG_USEC": "200000"}
        with living("http://127.0.0.1:9", tmp_path / "data", env=env, drain_ms=0) as daemon:
            assert ears.recv(100) == b"READY=1"
            assert [ears.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
            daemon.process.terminate()
            eventually(lambda: ears.recv(100) == b"STOPPING=1", what="STOPPING=1")
            assert daemon.process.wait(60) == 0
            (home,) = (tmp_path / "data" / "daemons").iterdir()
            assert (home / "stopped").read_text() == (home / "boot-id").read_text()
    shutil.rmtree(nook)
