"""A daemon is stopped or killed at random moments, takeover on: every task ends once, with one answer to be seen."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time

import pytest

from tests.daemon.live import LiveDaemon
from tests.fakes.claude import FakeClaude
from tests.hub_process import KEY, HubProcess
from tests.waiting import eventually
from understudy.simulation.scenario import play

QUICK = {"late_after": "400ms", "down_after": "900ms", "heartbeat_interval": "200ms", "lease_duration": "2s"}
TAKEOVER = {"takeover": "answer", "takeover_timeout": "5s", "takeover_calls_a_minute": 1000}
BLOWS = 1_000
WORLDS_TOGETHER = 25


def play_about_takeover(first, count):
    """(blows, answers of the hub) of so many worlds; AssertionError with the story of one that goes wrong."""
    blows = answered = 0
    for seed in range(first, first + count):
        outcome = play(seed, takeover=True)
        assert outcome.violation is None, f"world {seed}: {outcome.violation}\n" + "\n".join(outcome.story)
        blows, answered = blows + outcome.blows, answered + outcome.answered
    return blows, answered


def test_worlds_about_takeover_hold():
    blows, answered = play_about_takeover(20, 8)
    assert blows > 30
    assert answered > 3


@pytest.mark.soak
def test_a_thousand_moments_in_the_simulator(report):
    blows = answered = worlds = 0
    while blows < BLOWS:
        more = play_about_takeover(1 + worlds, WORLDS_TOGETHER)
        blows, answered, worlds = blows + more[0], answered + more[1], worlds + WORLDS_TOGETHER
    report(f"daemons struck at {blows:,} random moments in {worlds} worlds, {answered:,} tasks answered by the hub")


class Struck:
    """One hub, one daemon that is struck, and tasks that come all the while."""

    def __init__(self, folder, api, seed):
        self.chance = random.Random(seed)
        self.folder = folder
        self.hub = HubProcess(folder / "hub", **QUICK, **TAKEOVER)
        self.hub.data_dir.mkdir()
        text = f'anthropic_api_key = "{api.key}"\nanthropic_base_url = "{api.url}"\n'
        (self.hub.data_dir / "understudy.toml").write_text(text)
        self.hub.start()
        self.daemon = self._daemon()
        self.text: list[str] = []
        self.machine: list[str] = []

    def _daemon(self):
        command = ("sh", "-c", "sleep 0.2; cat")
        return LiveDaemon(
            self.hub.url, self.folder / "daemon", *command, api_key=KEY, capacity=2, heartbeat_interval_ms=200
        )

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.daemon.process.pid, signal.SIGCONT)
        self.daemon.close()
        self.hub.close()

    def ask(self, count):
        """Text tasks, and one in four for the machine, over a short while."""
        for _ in range(count):
            needs = {} if self.chance.random() < 0.25 else {"needs": []}
            body = {"content": f"q{self.chance.random()}", "onLoss": "requeue", **needs}
            (self.text if needs else self.machine).append(self.hub.post("/api/queue", body)["taskId"])
            time.sleep(self.chance.uniform(0, 0.1))

    def strike(self):
        """Kill it or stop it, at once; then let it come back at any moment of what follows."""
        deed = self.chance.choice(("kill", "stop"))
        self.ask(3)
        time.sleep(self.chance.uniform(0, 0.5))
        if deed == "kill":
            self.daemon.kill()
        else:
            os.kill(self.daemon.process.pid, signal.SIGSTOP)
        self.ask(3)
        time.sleep(self.chance.choice((0.3, 1.2, 1.5, 2.5)) * self.chance.uniform(0.5, 1.5))
        if deed == "kill":
            self.daemon = self._daemon()
        else:
            os.kill(self.daemon.process.pid, signal.SIGCONT)
        self.ask(2)

    def settled(self):
        return not self.hub.get("/api/queue")["pending"] and not self.hub.get("/api/tasks?status=claimed")["tasks"]

    def judge(self):
        """Each task ended once, by whom it may be, and nothing happened to it afterwards; how many the hub answered."""
        by_hub = 0
        for task_id in (*self.text, *self.machine):
            record = self.hub.get(f"/api/tasks/{task_id}")
            assert record["status"] == "done", record
            done = [attempt for attempt in record["attempts"] if attempt.get("outcome") == "done"]
            assert len(done) == 1, record
            story = [event["name"] for event in record["history"]]
            assert story.count("task.done") == 1, story
            assert "task.claimed" not in story[story.index("task.done") :], story
            is_hubs = done[0]["workerId"].startswith("hub/")
            assert bool(record["result"].get("degraded")) == is_hubs, record
            assert not (is_hubs and task_id in self.machine), record
            by_hub += is_hubs
        budget = self.hub.get("/api/takeover")["budget"]["day"]
        assert budget["reservedUsd"] == 0
        assert budget["spentUsd"] <= budget["limitUsd"]
        self.text, self.machine = [], []
        return by_hub


def strike_for_real(folder, times, seed):
    """So many blows against a real daemon; how many tasks there were and how many of them the hub answered."""
    tasks = by_hub = 0
    with FakeClaude() as api, contextlib.ExitStack() as stack:
        chance = random.Random(seed)

        def slowly(body):
            time.sleep(chance.uniform(0, 0.4))
            return "from the hub"

        api.reply = slowly
        struck = Struck(folder, api, seed)
        stack.callback(struck.close)
        eventually(lambda: struck.hub.get("/api/daemons")["daemons"], what="a daemon")
        for _ in range(times):
            struck.strike()
            eventually(struck.settled, within_s=40, what="the end of every task")
            tasks += len(struck.text) + len(struck.machine)
            by_hub += struck.judge()
        assert api.problems == []
    return tasks, by_hub


def test_a_real_daemon_is_struck(tmp_path):
    tasks, _ = strike_for_real(tmp_path, 1, seed=3)
    assert tasks == 8


@pytest.mark.soak
def test_a_real_daemon_is_struck_20_times(tmp_path, report):
    tasks, by_hub = strike_for_real(tmp_path, 20, seed=random.randrange(1 << 30))
    assert by_hub > 0
    report(f"a real daemon stopped or killed 20 times: {tasks} tasks, each ended once, {by_hub} answered by the hub")
