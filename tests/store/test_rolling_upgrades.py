"""The rule of migrations on PostgreSQL: expand first, contract a version later, so that hubs of two versions go on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.hub.conftest import Bench
from understudy import store
from understudy.clock import SystemClock
from understudy.coordinator.nouns import Policy
from understudy.errors import ConfigError, StoreVersionError
from understudy.hub.claims import ClaimTasks
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.results import ReportResult
from understudy.store import postgres_schema
from understudy.store.check import check
from understudy.store.opening import open_store
from understudy.store.postgres import PostgresStore
from understudy.store.tables import SCHEMA_VERSION
from understudy.wire.tasks import ClaimBody, EnqueueBody, ResultBody

FOLDER = Path(store.__file__).parent / "migrations/postgres"
FIRST = min(FOLDER.glob("*.sql"))
# What a hub of the version before may still use, or would not fill.
CONTRACTS = re.compile(
    r"\bDROP\s+(?!INDEX\s+IF)|\bRENAME\b|\bSET\s+NOT\s+NULL\b|\bTYPE\b|\bTRUNCATE\b"
    r"|\bADD\s+(?:CONSTRAINT|CHECK|UNIQUE)\b"
    r"|\bADD\s+COLUMN\b(?:(?!\bDEFAULT\b)[^,;])*\bNOT\s+NULL\b(?:(?!\bDEFAULT\b)[^,;])*[,;]",
    re.IGNORECASE,
)


def faults_of(number: int, script: str) -> list[str]:
    """What is wrong with a step."""
    said = re.match(r"-- compatible_from: (\d+)", script)
    sql = re.sub(r"--[^\n]*", "", script)
    if said is None:
        return [found.group(0) for found in CONTRACTS.finditer(sql)]
    return [] if int(said[1]) < number else ["no hub would go on beside this step"]


def test_every_step_of_ours_keeps_the_rule() -> None:
    steps = {path: faults_of(int(path.name[:4]), path.read_text("utf-8")) for path in FOLDER.glob("*.sql")}
    del steps[FIRST]
    assert {path.name: faults for path, faults in steps.items() if faults} == {}


@pytest.mark.parametrize(
    "step",
    [
        "ALTER TABLE task DROP COLUMN note;",
        "DROP TABLE usage;",
        "ALTER TABLE task RENAME COLUMN note TO remark;",
        "ALTER TABLE task ALTER COLUMN note TYPE BYTEA;",
        "ALTER TABLE task ADD COLUMN more BIGINT NOT NULL;",
        "ALTER TABLE task ADD COLUMN more BIGINT NOT NULL, ADD COLUMN less BIGINT NOT NULL DEFAULT 0;",
        "ALTER TABLE task ADD CONSTRAINT small CHECK (losses < 9);",
        "-- compatible_from: 20\nALTER TABLE task DROP COLUMN note;",
    ],
)
def test_a_step_that_hubs_of_before_would_not_survive_is_found(step: str) -> None:
    assert faults_of(20, step)


@pytest.mark.parametrize(
    "step",
    [
        "ALTER TABLE task ADD COLUMN more BIGINT NOT NULL DEFAULT 0;",
        "ALTER TABLE task ADD COLUMN more TEXT COLLATE \"C\" NOT NULL DEFAULT '';",
        "CREATE TABLE more (id TEXT PRIMARY KEY, x BIGINT NOT NULL); CREATE INDEX more_by_x ON more (x);",
        "-- compatible_from: 19\nALTER TABLE task DROP COLUMN note;",
    ],
)
def test_a_step_that_only_adds_or_comes_a_version_later_is_none(step: str) -> None:
    assert faults_of(20, step) == []


class Versions:
    """Code of several versions, by the steps that each knows."""

    def __init__(self, url: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.url, self._folder, self._patch = url, folder / "postgres", patch
        self._folder.mkdir()
        patch.setattr(postgres_schema, "files", lambda _: folder)

    def starts(self, version: int, step: str = "") -> PostgresStore:
        """A hub of this version opens the store; its step is there from now on."""
        if step:
            (self._folder / f"{version:04d}_step.sql").write_text(step, "utf-8")
        with self._patch.context() as code:
            code.setattr(postgres_schema, "SCHEMA_VERSION", version)
            return PostgresStore(self.url, own_clock=True)


@pytest.fixture
def versions(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Versions:
    PostgresStore(postgres_url).close()
    return Versions(postgres_url, tmp_path, monkeypatch)


def test_one_task_goes_through_hubs_of_two_versions(versions: Versions) -> None:
    """Enqueued by the new one, claimed from the old one, done at the new one: a rolling upgrade under load."""
    old_store = versions.starts(SCHEMA_VERSION)
    new_store = versions.starts(
        SCHEMA_VERSION + 1,
        "ALTER TABLE task ADD COLUMN more BIGINT NOT NULL DEFAULT 0; CREATE TABLE later (id BIGINT PRIMARY KEY);",
    )
    old, new = Bench(Policy(), old_store), Bench(Policy(), new_store)
    new.ask(EnqueueTasks([EnqueueBody("x")], ["t"], "key"))
    (claimed,) = old.ask(ClaimTasks(ClaimBody(worker_id="w", max=1), "w"))
    (done,) = new.ask(ReportResult("t", ResultBody(success=True, token=claimed["tasks"][0]["lease"]["token"])))
    assert not isinstance(done, BaseException)
    assert old_store.read(lambda reader: check(reader, old.clock)).faults == []
    versions.starts(SCHEMA_VERSION).close()  # one of before may start again meanwhile
    old_store.close()
    new_store.close()


def test_after_the_contraction_a_hub_of_before_says_what_to_do_and_stops(versions: Versions) -> None:
    expanded, contracted = SCHEMA_VERSION + 1, SCHEMA_VERSION + 2
    versions.starts(expanded, "ALTER TABLE task ADD COLUMN remark TEXT NOT NULL DEFAULT '';").close()
    versions.starts(contracted, f"-- compatible_from: {expanded}\nALTER TABLE task DROP COLUMN note;").close()
    versions.starts(expanded).close()  # knows the new column: it goes on
    with pytest.raises(StoreVersionError, match="install the newer understudy again"):
        versions.starts(SCHEMA_VERSION)
    with pytest.raises(ConfigError, match=rf"{contracted}|{expanded}"):
        open_store(versions.url, "", Path(), SystemClock())
