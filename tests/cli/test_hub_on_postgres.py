"""`understudy hub` with a PostgreSQL database as its store: it serves, goes on after a kill, and shows no password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from tests.cli.program import environ, understudy
from tests.dashboard.browser import Browser
from tests.hub_process import ADMIN_KEY, running_hub
from tests.postgres import GUARDED, Server
from understudy.store.tables import SCHEMA_VERSION

PASSWORD = "hush@hush/hush hush"


@pytest.fixture
def place(postgres_server: Server) -> Iterator[str]:
    """The address of a database that is its user's own, with the password of that user."""
    postgres_server.admin.execute(f"CREATE ROLE {GUARDED} LOGIN PASSWORD '{PASSWORD}'")
    postgres_server.admin.execute(f"CREATE DATABASE guarded_hub OWNER {GUARDED}")
    yield postgres_server.url("guarded_hub", user=GUARDED).replace("@", f":{quote(PASSWORD, safe='')}@", 1)
    postgres_server.admin.execute("DROP DATABASE guarded_hub WITH (FORCE)")
    postgres_server.admin.execute(f"DROP ROLE {GUARDED}")


def test_a_hub_works_goes_on_after_a_kill_and_shows_its_password_nowhere(place: str, tmp_path: Path) -> None:
    with running_hub(tmp_path / "data", store=place, log_level="debug") as hub:
        hub.post("/api/queue", {"id": "t1", "content": "go on"})
        browser = Browser(hub.port)
        browser.get(hub.post("/api/login-links", {"scope": "admin"}, key=ADMIN_KEY)["path"])
        page = browser.get("/settings").text
        browser.close()
        assert "guarded_hub" in page
        assert hub.process is not None
        shown = (page, hub.log, repr(hub.get("/ready")), repr(psutil.Process(hub.process.pid).cmdline()))
        hub.kill()
        hub.environ |= {"UNDERSTUDY_STORE": place.replace(f":{quote(PASSWORD, safe='')}@", "@"), "PGPASSWORD": PASSWORD}
        hub.start()  # libpq alone would look where nothing is any more: secrets are hidden
        assert hub.get("/api/tasks/t1")["status"] == "pending"
        assert not (tmp_path / "data/hub.db").exists()
    for text in (*shown, hub.log):
        assert "hush" not in text


@pytest.mark.parametrize(
    ("version", "compatible_from", "says"),
    [(99, 98, "install the newer understudy again"), (SCHEMA_VERSION - 1, 10, "its start brings it there")],
)
def test_a_hub_that_runs_ends_once_its_store_is_another_versions(
    place: str, postgres_server: Server, tmp_path: Path, version: int, compatible_from: int, says: str
) -> None:
    """It was ready, and took work, though what it needed was gone from the store."""
    with running_hub(tmp_path / "data", store=place) as hub:
        changed = f"UPDATE understudy_schema SET version = {version}, compatible_from = {compatible_from}"
        postgres_server.ask(changed, database="guarded_hub")
        assert hub.process is not None
        assert hub.process.wait(60) == 1
        assert f"This hub ends: The store has schema {version}" in hub.log
        assert says in hub.log


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (("hush", "else"), 2, "does not take the password"),
        (("guarded_hub", "no_hub"), 2, "does not exist"),
        (("@", "@@"), 2, "not the address of a PostgreSQL database"),
        (("host=", "host=/nowhere"), 1, "cannot be reached"),
    ],
)
def test_a_hub_that_cannot_work_says_why_and_ends(
    place: str, tmp_path: Path, change: tuple[str, str], code: int, says: str
) -> None:
    env = environ(UNDERSTUDY_STORE=place.replace(*change, 1), UNDERSTUDY_DATA=str(tmp_path / "data"))
    done = understudy("hub", "--port", "0", env=env)
    assert (done.code, says in done.err) == (code, True), done.err
    assert "hush" not in done.err
