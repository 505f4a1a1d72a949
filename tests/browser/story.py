"""A day in the life of a hub, told by its own rules on a store of its own: for pictures, and for pages that need rows.

`day_of(path, "ja")` begins a day ago and ends now. A Mac mini does the work and a Linux box stands beside it; the box
sleeps at night. In that night the Mac dies, the hub takes over what is only text, the Mac comes back and does the rest.
Now a third machine is late. The store is that of a hub that was stopped a moment ago.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tests.browser.story_texts import STORIES, Story
from tests.hub.standing_in import StandIn
from understudy.coordinator.nouns import Daemon, Hearing, Notice
from understudy.coordinator.prices import Price, Tokens
from understudy.coordinator.routes import Route, Routes
from understudy.coordinator.samples import Sample
from understudy.coordinator.takeover import CallOutcome
from understudy.hub.alarm import RingAlarm
from understudy.hub.call_ends import SettleCall
from understudy.hub.calls import ReserveCall, TakeoverCall
from understudy.hub.claims import ClaimTasks
from understudy.hub.daemons import ConfigureDaemon
from understudy.hub.incidents import AcknowledgeIncident
from understudy.hub.queue_depth import queue_depth
from understudy.hub.results import ReportResult
from understudy.hub.starts import LogMinute, RecordStart
from understudy.store.sqlite import SqliteStore
from understudy.wire.daemons import RunningBody, SettingsBody
from understudy.wire.tasks import ClaimBody, ResultBody

MINUTE, HOUR = 60_000, 3_600_000
STANDBY = "hub/cloud"  # takeover, by the name of its host
MAC, BOX, NUC = "mac-mini", "linux-box", "office-nuc"
PRICE = Price(1, 5)  # µUSD for a token read, and for one written
CHANNELS = ("ntfy", "webhook")
PROVIDES = {MAC: ["machine"], BOX: ["machine", "gpu"], NUC: ["machine"]}


class Day(StandIn):
    """A hub whose time passes in minutes, each with a heartbeat of whoever is alive."""

    def __init__(self, path: Path, story: Story, hours: int) -> None:
        limits = {"day_micro_usd": 2_000_000, "month_micro_usd": 20_000_000, "price": PRICE, "answer_tokens_max": 4_096}
        super().__init__(SqliteStore(path), model="claude-haiku-5-5", **limits)
        self.engine.policy = replace(self.engine.policy, routes=Routes(CHANNELS, (Route(CHANNELS),)))
        self.clock.jump(time.time_ns() // 1_000_000 - hours * HOUR - self.clock.now_ms())
        self.story = story
        self.alive: set[str] = set()
        self.runs: dict[str, RunningBody] = {}  # by daemon
        self._numbers = iter(range(1_000))
        self._chance = random.Random(3)
        self.ask(RecordStart("v1", "0.9.0", "a1b2c3d4e5f6", "hub"))

    def minutes(self, count: float) -> None:
        """Let time pass while the hub hears."""
        left = round(count * MINUTE)
        while left > 0:
            step = min(left, MINUTE)
            left -= step
            self.clock.advance(step)
            self._hear()
            self.beats()
            self.finish(RingAlarm)
            self._log_minute()

    def beats(self) -> None:
        """A heartbeat of each that is alive."""
        for name in sorted(self.alive):
            run = self.runs.get(name)
            said: dict[str, Any] = {"running": [run] if run else [], "provides": PROVIDES.get(name, ["machine"])}
            self.beat(name, interval_sec=10, version="0.9.0", capacity=2, state="running", **said)

    def _log_minute(self) -> None:
        """What a hub counts in a minute."""
        depth = self.store.read(lambda tx: queue_depth(tx, 100))
        commits = 9 * len(self.alive) + self._chance.randrange(4)
        sample = Sample(
            at=0,
            waiting=depth.waiting,
            leased=depth.leased,
            beats=6 * len(self.alive),
            requests=8 * len(self.alive) + self._chance.randrange(6),
            commits=commits,
            commit_ms=round(commits * self._chance.uniform(1.5, 3)),
            commit_max_ms=self._chance.randrange(4, 15),
        )
        self.ask(LogMinute(1, sample))

    def _hear(self) -> None:
        """As if the alarm had listened each second."""

        def listen(tx: Any) -> None:
            for hearing in tx.load_many(Hearing, (1,)):
                tx.save_many((replace(hearing, heard_at=self.clock.now_ms()),))

        self.store.transaction(listen)

    # ---- what happens

    def submit(self, words: str, **fields: Any) -> str:
        """A task of somebody."""
        task_id = f"task-{next(self._numbers) + 1041}"
        self.enqueue(task_id, words, **{"source": "slack", **fields})
        return task_id

    def begin(self, name: str, progress: str = "") -> tuple[str, int]:
        """A daemon takes the next task → its id and token."""
        body = ClaimBody(
            worker_id=name, daemon_id=name, boot_id="b", provides=PROVIDES[name], on_loss="wait", wait_sec=0
        )
        (answer,) = self.ask(ClaimTasks(body, name))
        task_id, token = answer["taskId"], answer["lease"]["token"]
        self.runs[name] = RunningBody(task_id=task_id, token=token, progress=progress or None)
        self.beats()
        return task_id, token

    def end(self, name: str, output: str = "", error: str = "") -> None:
        """What it runs is done, or has failed."""
        run = self.runs.pop(name)
        body = ResultBody(
            success=not error, worker_id=name, token=run.token, output=output or None, error=error or None
        )
        self.ask(ReportResult(run.task_id, replace(body, duration_ms=74_000)))
        self.beats()

    def work(self, name: str, asked: str, answer: str, minutes: float = 3) -> None:
        """A task from beginning to end."""
        self.submit(asked, needs=["machine"])
        self.begin(name)
        self.minutes(minutes)
        self.end(name, answer)

    def take_over(self, answers: tuple[str, ...]) -> None:
        """The hub answers, one call after the other."""
        for text in answers:
            self.look()
            (job,) = self.ask(ReserveCall(STANDBY))
            assert isinstance(job, TakeoverCall), job
            self.minutes(0.5)
            outcome = CallOutcome("answered", text=text, tokens=Tokens(2_100, 2_400), billed="tokens")
            self.ask(SettleCall(job, outcome, STANDBY))


def day_of(path: Path, lang: str = "en", hours: int = 24) -> None:
    """Write the store of that day; with fewer than 12 hours what came before the night is left out."""
    story = STORIES[lang]
    day = Day(path, story, hours)
    day.alive = {MAC, BOX}
    day.minutes(2)
    _morning(day, story, hours)
    _night(day, story)
    _now(day, story)
    _deliver(day)
    day.store.close()


def _deliver(day: Day) -> None:
    """Every notice has arrived, but for the last one to the webhook."""

    def deliver(tx: Any) -> None:
        sent = [
            replace(row, state="sent", attempts=1, sent_at=row.created_at + 700) for row in tx.load_all(Notice, 1_000)
        ]
        last = max((row for row in sent if row.channel == "webhook"), key=lambda row: row.created_at)
        sent.append(replace(last, state="dead", attempts=9, sent_at=0, last_error="HTTP 503 Service Unavailable"))
        tx.save_many(sent)

    day.store.transaction(deliver)


def _morning(day: Day, story: Story, hours: int) -> None:
    """Ordinary work until four and a half hours before the end."""
    day.work(MAC, *story.done[0])
    left = (hours * 60) - 2 - 3 - 270
    if left > 0:
        day.work(BOX, *story.done[1], minutes=min(left, 8))
        day.minutes(max(left - 8, 0))


def _night(day: Day, story: Story) -> None:
    """The box sleeps, the Mac dies; the hub answers what is only text, and hands back."""
    day.alive = {MAC}
    day.beat(BOX, state="stopping", planned_for_sec=3 * 3600)
    day.submit(story.machine_task, needs=["machine"])
    day.begin(MAC)
    day.minutes(3)
    day.alive = set()
    day.minutes(6)
    for asked, _ in story.taken_over:
        day.submit(asked)
    day.minutes(16)
    day.take_over(tuple(answer for _, answer in story.taken_over))
    day.ask(AcknowledgeIncident(day.row(Daemon, MAC).incident_id, story.person))
    day.minutes(60)
    day.alive = {MAC}
    day.minutes(2)
    day.end(MAC, story.machine_answer)
    day.look()
    day.minutes(30)
    day.alive = {MAC, BOX, NUC}
    day.minutes(10)


def _now(day: Day, story: Story) -> None:
    """Work goes on; the third machine falls silent four minutes before the end."""
    day.ask(ConfigureDaemon(NUC, SettingsBody(late_after_sec=180, down_after_sec=3_600)))
    for asked, answer in story.done[2:]:
        day.work(MAC, asked, answer)
    day.submit(story.failing[0], needs=["machine"])
    day.begin(BOX)
    day.minutes(1)
    day.end(BOX, error=story.failing[1])
    day.minutes((time.time_ns() // 1_000_000 - day.clock.now_ms()) / MINUTE - 4)
    day.alive = {MAC, BOX}
    day.submit(story.running[0], needs=["machine"])
    day.begin(MAC, story.running[1])
    day.submit(story.waiting, needs=["machine"], delay_sec=1800)
    day.minutes((time.time_ns() // 1_000_000 - day.clock.now_ms()) / MINUTE)
