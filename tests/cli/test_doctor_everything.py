"""Everything wrong at once: the doctor names each fault that it can see, and is never the patient itself."""

from __future__ import annotations

import http.server
import json
import threading

import pytest

from tests.ports import free_port
from understudy.cli import start
from understudy.cli.exits import Exit


class Refusing(http.server.BaseHTTPRequestHandler):
    """Knows no key, and lives in another year."""

    def do_GET(self):
        """401 with an answer of odd kinds."""
        raw = json.dumps({"error": [], "details": 5}).encode()
        self.send_response_only(401)
        self.send_header("Date", "Mon, 01 Jan 2001 00:00:00 GMT")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_):
        """Silent."""


@pytest.fixture
def refusing():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A data directory in which nothing is what it should be, and a shell that is no better."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "hub.db").write_bytes(b"garbage")
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe\x00bad = [")
    for name in ("spool", "boot_id", "hub.toml", "service", "keys"):
        (data / name).mkdir()
    (data / "spool" / "x.json").write_bytes(b"\xff{")
    for name, value in {
        "HOME": str(tmp_path),
        "UNDERSTUDY_DATA": str(data),
        "UNDERSTUDY_CONFIG": str(tmp_path / "config.toml"),
        "UNDERSTUDY_API_KEY": "x",
        "UNDERSTUDY_CA_FILE": str(tmp_path / "absent"),
        "UNDERSTUDY_TIME_ZONE": "Tokyo",
        "UNDERSTUDY_EXECUTOR": "nonsense",
        "SMTP_URL": ":::",
        "PATH": str(tmp_path / "absent"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("shutil.disk_usage", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))


def findings(capsys):
    code = start.run(["doctor", "--json"])
    said = capsys.readouterr()
    assert code == Exit.FAILED, said.err
    assert said.out, said.err
    return {one["name"]: one for one in json.loads(said.out)["findings"] if one["level"] == "problem"}


def test_without_a_network(broken, monkeypatch, capsys):
    monkeypatch.setenv("UNDERSTUDY_HUB", f"http://127.0.0.1:{free_port()}")
    assert {"settings", "hub", "machine", "store_file"} <= set(findings(capsys))


def test_with_a_hub_of_another_kind(broken, refusing, monkeypatch, capsys):
    monkeypatch.setenv("UNDERSTUDY_HUB", refusing)
    monkeypatch.delenv("UNDERSTUDY_CONFIG")  # whose damage hides the hub
    found = set(findings(capsys))
    assert {"settings", "machine", "store_file"} <= found
    assert "port" in found  # another program answers there
    assert start.run(["doctor"]) == Exit.FAILED
