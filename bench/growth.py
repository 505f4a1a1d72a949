"""Rows and bytes that a hub's store gains in a day, for each daemon and for each task: `bench/growth.py`.

The hub's own operations run under a clock that is moved, so a day takes a minute. What is written again and again in
place (a daemon's row with each heartbeat, the hearing row) adds no bytes to a store, but is written to its log: those
bytes are measured too: on SQLite as the size of its WAL, on PostgreSQL as the distance of two positions in it. Here the
heartbeats of all daemons share one commit every ten seconds, and a task has three commits for itself alone.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from understudy.clock import ManualClock  # noqa: E402
from understudy.coordinator.nouns import Policy  # noqa: E402
from understudy.coordinator.samples import Sample  # noqa: E402
from understudy.hub.alarm import RingAlarm  # noqa: E402
from understudy.hub.batch import Engine  # noqa: E402
from understudy.hub.claims import ClaimTasks  # noqa: E402
from understudy.hub.enqueue import EnqueueTasks  # noqa: E402
from understudy.hub.heartbeats import RecordHeartbeat  # noqa: E402
from understudy.hub.results import ReportResult  # noqa: E402
from understudy.hub.starts import LogMinute, RecordHearing  # noqa: E402
from understudy.ids import IdMaker  # noqa: E402
from understudy.store.base import Store  # noqa: E402
from understudy.store.check import totals  # noqa: E402
from understudy.store.sqlite import SqliteStore  # noqa: E402
from understudy.wire.daemons import HeartbeatBody  # noqa: E402
from understudy.wire.tasks import ClaimBody, EnqueueBody, ResultBody  # noqa: E402

DAEMONS, BEAT_S = 20, 10
HOURS = 2  # of a day; its rest is the same again
TASKS = 2_000
CONTENT, ANSWER = "x" * 300, "y" * 1_200  # characters: a question, and an answer of some paragraphs


class Place:
    """A store whose size and log can be measured."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store, self.clock = store, clock
        self.engine = Engine(store, clock, IdMaker(clock), Policy())
        self.ids = IdMaker(clock)
        self.seq = 0

    def run(self, *operations: Any) -> list[Any]:
        answers = list(self.engine.run(operations).answers)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    def beat(self, names: list[str]) -> None:
        """A heartbeat of each, in one batch."""
        self.seq += 1
        fixed = {"seq": self.seq, "interval_sec": BEAT_S, "version": "1.0", "running": [], "capacity": 2}
        bodies = [HeartbeatBody(daemon_id=n, machine_id=f"m-{n}", boot_id="b", **fixed) for n in names]
        self.run(*map(RecordHeartbeat, bodies))

    def hours(self, hours: float, names: list[str]) -> None:
        """So much time of quiet daemons."""
        for second in range(round(hours * 3600)):
            self.clock.advance(1000)
            if second % BEAT_S == 0:
                self.beat(names)
            else:
                self.run(RecordHearing())
            if second % 60 == 0:
                self.run(LogMinute(1, Sample(0, beats=6 * len(names), requests=6 * len(names), commits=60)))

    def silence(self, names: list[str]) -> None:
        """All fall silent until they are down, then come back."""
        for _ in range(400):
            self.clock.advance(1000)
            self.run(RingAlarm())
        self.beat(names)

    def tasks(self, count: int) -> None:
        """Each enqueued, claimed and done."""
        for _ in range(count):
            self.clock.advance(1000)
            task_id = self.ids.new("task")
            self.run(EnqueueTasks([EnqueueBody(content=CONTENT, source="slack")], [task_id], "key"))
            claim = ClaimBody(
                worker_id="mini-0", daemon_id="mini-0", boot_id="b", max=1, request_id=self.ids.new("claim")
            )
            (claimed,) = self.run(ClaimTasks(claim, "mini-0"))
            token = claimed.tasks[0].lease.token
            self.run(ReportResult(task_id, ResultBody(success=True, token=token, output={"text": ANSWER})))

    def rows(self) -> int:
        return sum(self.store.read(totals).values())

    def size(self) -> int:
        """The bytes of tables and indexes."""
        raise NotImplementedError

    def logged(self) -> int:
        """The bytes that were written to the log since it was asked last."""
        raise NotImplementedError

    def measure(self, work: Callable[[], None]) -> tuple[int, int, int]:
        """Rows, bytes and bytes of log that this adds."""
        self.logged()
        rows, size = self.rows(), self.size()
        work()
        log = self.logged()
        return self.rows() - rows, self.size() - size, log


class OnSqlite(Place):
    """A file; its log is emptied each time that its size was read."""

    def __init__(self, path: Path, clock: ManualClock) -> None:
        self._path = path
        self._file = SqliteStore(path)
        self._file._writer.execute("PRAGMA wal_autocheckpoint = 0")  # noqa: SLF001
        super().__init__(self._file, clock)

    def size(self) -> int:
        return self.store.read(lambda reader: reader.room()).used_bytes

    def logged(self) -> int:
        written = self._path.with_name(f"{self._path.name}-wal").stat().st_size
        self._file._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # noqa: SLF001
        return written


class OnPostgres(Place):
    """A database of a server that nobody else uses."""

    def __init__(self, address: str, clock: ManualClock) -> None:
        import psycopg  # noqa: PLC0415 - an extra

        from understudy.store.postgres import PostgresStore  # noqa: PLC0415

        self._connection = psycopg.connect(address, autocommit=True)
        self._from = 0
        super().__init__(PostgresStore(address, own_clock=True), clock)

    def _ask(self, statement: str) -> int:
        row = self._connection.execute(statement).fetchone()  # type: ignore[arg-type]
        assert row is not None
        return int(row[0])

    def size(self) -> int:
        return self._ask("SELECT pg_database_size(current_database())")

    def logged(self) -> int:
        before, self._from = self._from, self._ask("SELECT pg_current_wal_lsn() - '0/0'")
        return self._from - before


def line(what: str, found: Sequence[float], per: float) -> str:
    """One line of the table."""
    rows, size, log = (value / per for value in found)
    return f"| {what} | {rows:,.1f} | {size:,.0f} | {log:,.0f} |"


def report(place: Place) -> None:
    """The whole table."""
    names = [f"mini-{n}" for n in range(DAEMONS + 1)]
    place.hours(0.1, names[:1])
    one = place.measure(lambda: place.hours(HOURS, names[:1]))
    place.beat(names)
    many = place.measure(lambda: place.hours(HOURS, names))
    print("| What | rows | bytes | bytes of log |\n|---|---|---|---|")
    print(line("A hub with one quiet daemon, a day", one, HOURS / 24))
    print(line(f"Each of {DAEMONS} more, a day", [b - a for a, b in zip(one, many, strict=True)], DAEMONS * HOURS / 24))
    print(line("A silence: late, down, recovered", place.measure(lambda: place.silence(names)), len(names)))
    print(line("A task, done at the first attempt", place.measure(lambda: place.tasks(TASKS)), TASKS), flush=True)
    place.store.close()


def main() -> None:
    """On SQLite, and on PostgreSQL if its binaries are here."""
    with tempfile.TemporaryDirectory() as folder:
        print("SQLite")
        report(OnSqlite(Path(folder) / "hub.db", ManualClock()))
    from tests.postgres import running_server  # noqa: PLC0415 - needs its binaries

    with running_server(is_durable=False) as server:
        print("PostgreSQL")
        report(OnPostgres(server.new_database(), ManualClock()))


if __name__ == "__main__":
    main()
