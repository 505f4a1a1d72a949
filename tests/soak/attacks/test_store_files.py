"""The files of the store deleted, replaced and damaged under a real hub with an outside watchdog."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.hub_process import HubProcess, running_hub
from tests.waiting import eventually

pytestmark = pytest.mark.soak


class Watchdog:
    """An address outside that counts who speaks to it."""

    def __init__(self) -> None:
        self.pings = 0
        watchdog = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                watchdog.pings += 1
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/"


def delete(path: Path) -> None:
    path.unlink()


def delete_all(path: Path) -> None:
    for file in path.parent.glob("hub.db*"):
        file.unlink()


def delete_wal(path: Path) -> None:
    path.with_name("hub.db-wal").unlink()


def delete_index(path: Path) -> None:
    path.with_name("hub.db-shm").unlink()


def replace(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def overwrite(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


def empty(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("harm", [delete, delete_all, delete_wal, delete_index, replace, overwrite, empty])
def test_nothing_is_acknowledged_and_everybody_is_told(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    watchdog = Watchdog()
    with running_hub(tmp_path, watchdog_url=watchdog.url, watchdog_interval="1s") as hub:
        acknowledged = {f"t{n}" for n in range(50)}
        for name in sorted(acknowledged):
            hub.post("/api/queue", {"id": name, "content": "x" * 500})
        eventually(lambda: watchdog.pings > 0, what="a ping")
        harm(hub.data_dir / "hub.db")
        eventually(lambda: not hub.is_ready(), within_s=10, what="an honest /ready")
        for _ in range(20):
            assert hub.ask("POST", "/api/queue", {"content": "never"}).status == 503
            assert hub.ask("GET", "/api/queue").status == 503
            assert hub.ask("POST", "/api/queue/heartbeat", {"workerId": "w"}).status == 503
        eventually(lambda: "nothing is acknowledged" in hub.log, what="a critical line")
        before = watchdog.pings
        eventually(lambda: hub.log.count("The outside watchdog was not told") >= 3, within_s=30, what="silence")
        assert watchdog.pings - before <= 1, "one may have been under way"
        assert hub.log.count("nothing is acknowledged") == 1
        if harm in (delete, delete_all, delete_wal, delete_index, replace):
            assert_rescued(hub, acknowledged)


def assert_rescued(hub: HubProcess, acknowledged: set[str]) -> None:
    """What the log advises brings everything back."""
    folder = hub.data_dir
    (copy,) = eventually(lambda: list(folder.glob("hub.db.rescued-*")), what="a rescued copy")
    assert copy.stat().st_mode & 0o777 == 0o600
    hub.stop()
    for file in ("hub.db", "hub.db-wal", "hub.db-shm"):
        (folder / file).unlink(missing_ok=True)
    copy.rename(folder / "hub.db")
    hub.start()
    assert set(hub.get("/api/queue")["pending"]) == acknowledged


def test_a_store_that_is_moved_back_is_used_again(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        hub.post("/api/queue", {"id": "a", "content": "x"})
        path = hub.data_dir / "hub.db"
        path.rename(tmp_path / "away")
        eventually(lambda: not hub.is_ready(), within_s=10, what="an honest /ready")
        (tmp_path / "away").rename(path)
        eventually(hub.is_ready, within_s=10, what="a hub that goes on")
        hub.post("/api/queue", {"id": "b", "content": "x"})
        hub.kill()
        hub.start()
        assert hub.get("/api/queue")["pending"] == ["a", "b"]
