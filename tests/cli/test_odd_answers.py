"""Whatever a hub of another kind answers, a command ends with a sentence and an exit code of its own, never 70."""

from __future__ import annotations

import http.server
import json
import random
import threading

import pytest

from understudy.cli import client, start
from understudy.cli.client import HubClient
from understudy.cli.exits import Exit

WORDS = (
    ["tasks"],
    ["tasks", "--json"],
    ["task", "t-1"],
    ["submit", "hello"],
    ["submit", "hello", "--json"],
    ["cancel", "t-1"],
    ["retry", "t-1"],
    ["move", "t-1"],
    ["status"],
    ["daemons", "list"],
    ["daemons", "set", "mini", "--late-after", "1m"],
    ["daemons", "pause", "mini"],
    ["daemons", "forget", "mini"],
    ["incidents", "list"],
    ["notices"],
    ["notify", "test"],
    ["tail", "--no-follow"],
    ["keys", "list"],
    ["keys", "create", "x"],
    ["keys", "revoke", "x"],
    ["keys", "rotate", "x"],
    ["incidents", "ack", "i-1"],
    ["takeover", "status"],
    ["takeover", "pause"],
    ["deployments", "list"],
    ["doctor"],
    ["doctor", "--json"],
    ["submit", "hello", "--wait"],
)
NAMES = tuple(
    name
    for line in (
        "tasks taskId id status daemons name health events at level component message fields incidents notices keys",
        "scopes history attempts settings running capacity success output error counts queue depth lastSeenAt key",
        "createdAt channels deployments startedAt version spend budget details total conversation takeover loops",
        "openIncidents",
    )
    for name in line.split()
)
ODD = (
    None,
    True,
    -1,
    1e308,
    float("inf"),
    float("nan"),
    10**40,
    "",
    "x",
    "9" * 30,
    "9999-99-99T99:99:99Z",
    [],
    {},
    [[]],
)


class Answers:
    """What the hub answers next."""

    def __init__(self) -> None:
        self.chosen = random.Random(1)
        self.status = 200

    def value(self, depth: int):
        """Something that JSON can hold, of a kind that nobody expects there."""
        kind = self.chosen.random()
        if depth == 0 or kind < 0.3:
            return self.chosen.choice(ODD)
        if kind < 0.5:
            return [self.value(depth - 1) for _ in range(self.chosen.randint(1, 2))]
        return self.object(depth - 1)

    def object(self, depth: int):
        """With most of the names that commands look for."""
        return {name: self.value(depth) for name in NAMES if self.chosen.random() < 0.5}


@pytest.fixture
def odd(monkeypatch, tmp_path):
    answers = Answers()

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            raw = json.dumps(answers.object(2)).encode()
            self.send_response(answers.status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    for name, value in {
        "UNDERSTUDY_HUB": f"http://127.0.0.1:{server.server_port}",
        "UNDERSTUDY_API_KEY": "usk_secret",
        "ADMIN_API_KEY": "usk_admin",
        "HOME": str(tmp_path),
        "UNDERSTUDY_DATA": str(tmp_path / "data"),
        "UNDERSTUDY_LANG": "en",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("PAUSE_MS_FIRST", "PAUSE_MS_MAX"):
        monkeypatch.setattr(client, name, 1)
    monkeypatch.setattr(client, "RETRY_AFTER_S_MAX", 0)
    monkeypatch.setattr(HubClient, "heard", "")
    yield answers
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_an_odd_answer_is_no_defect(odd, words, capsys):
    for status in (200, 200, 200, 200, 400, 503):
        odd.status = status
        code = start.run(list(words))
        said = capsys.readouterr().err
        assert code != Exit.DEFECT, said
        assert code in {Exit.OK, Exit.FAILED, Exit.UNREACHABLE, Exit.REFUSED, Exit.NOT_FOUND}, said
        assert "Traceback" not in said


def test_an_odd_answer_names_the_hub(odd, capsys):
    for _ in range(5):
        odd.object = lambda _: {"tasks": 5}
        assert start.run(["tasks"]) == Exit.UNREACHABLE
    assert "does not have the form of a hub's answer" in capsys.readouterr().err


def test_without_an_answer_it_is_a_defect(monkeypatch, capsys):
    monkeypatch.setattr(HubClient, "heard", "")
    assert start._reported(TypeError("ours")) == Exit.DEFECT
    assert "defect of understudy" in capsys.readouterr().err
