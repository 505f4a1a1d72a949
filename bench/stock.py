"""Stores with many queued tasks, made by the hub's own rules once and copied for each run."""

from __future__ import annotations

import shutil
import tempfile
from hashlib import sha256
from pathlib import Path

import understudy
from understudy.clock import SystemClock
from understudy.coordinator.nouns import Policy
from understudy.hub.batch import Engine
from understudy.hub.enqueue import EnqueueTasks
from understudy.ids import IdMaker
from understudy.store import migrations
from understudy.store.base import Store
from understudy.store.sqlite import SqliteStore
from understudy.store.tables import SCHEMA_VERSION
from understudy.wire.tasks import EnqueueBody

BATCH = 1000
CONTENT = "x" * 200
KEPT_IN = Path(tempfile.gettempdir()) / "understudy-bench"


def fill(store: Store, tasks: int) -> None:
    """Enqueue `tasks` tasks into a store, as `POST /api/queue/batch` would."""
    clock = SystemClock()
    ids = IdMaker(clock)
    engine = Engine(store, clock, ids, Policy())
    for start in range(0, tasks, BATCH):
        count = min(BATCH, tasks - start)
        bodies = [EnqueueBody(content=CONTENT, source="bench") for _ in range(count)]
        made = engine.run([EnqueueTasks(bodies, [ids.new("task") for _ in bodies], "bench", is_bounded=False)])
        failed = [answer for answer in made.answers if isinstance(answer, BaseException)]
        if failed:
            raise failed[0]


def stock(tasks: int, target: Path) -> Path:
    """A store with this many queued tasks at `target`; large ones are kept between runs."""
    target.parent.mkdir(parents=True, exist_ok=True)
    kept = KEPT_IN / f"stock-{understudy.__version__}-{SCHEMA_VERSION}-{_schema_hash()}-{tasks}.db"
    if not kept.exists():
        KEPT_IN.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part")
        part.unlink(missing_ok=True)
        print(f"  making a store with {tasks:,} tasks …", flush=True)
        store = SqliteStore(part)
        store._writer.execute("PRAGMA synchronous = OFF")  # noqa: SLF001 - only while it is made
        fill(store, tasks)
        store.close()
        part.rename(kept)
        for outdated in KEPT_IN.glob(f"stock-*-{tasks}.db"):
            if outdated != kept:
                outdated.unlink()
    shutil.copyfile(kept, target)
    return target


def _schema_hash() -> str:
    digest = sha256()
    for file in sorted(Path(migrations.__file__).parent.rglob("*.sql")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]
