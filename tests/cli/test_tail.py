"""`tail`: the last lines, then live ones; after a restart of the hub it goes on, with nothing twice or missing."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import subprocess
import threading

import pytest

from tests.cli.program import PROGRAM, understudy
from tests.hub_process import running_hub
from tests.waiting import eventually
from understudy.cli import tail
from understudy.cli.exits import ClientError


@pytest.fixture
def hub(tmp_path):
    with running_hub(tmp_path) as process:
        yield process


@contextlib.contextmanager
def tailing(hub, *arguments):
    """Lines of a live tail, as they come."""
    lines: list[str] = []
    said: list[str] = []
    command = [*PROGRAM, "tail", *arguments]
    process = subprocess.Popen(command, env=hub.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def read(stream, into):
        for line in stream:
            into.append(line.rstrip("\n"))

    readers = [
        threading.Thread(target=read, args=pair, daemon=True)
        for pair in ((process.stdout, lines), (process.stderr, said))
    ]
    for reader in readers:
        reader.start()
    try:
        yield process, lines, said
    finally:
        process.kill()
        process.wait()
        for reader in readers:
            reader.join(60)
        process.stdout.close()
        process.stderr.close()


def enqueue(hub, number):
    hub.post("/api/queue", {"content": "x", "id": f"task-{number}", "needs": ["gpu"]})


def test_the_last_50_come_first_then_what_happens(hub):
    for number in range(60):
        enqueue(hub, number)
    with tailing(hub, "--format", "json") as (_, lines, _):
        eventually(lambda: len(lines) >= 50, within_s=15)
        ids = [json.loads(line)["fields"]["taskId"] for line in lines[:50]]
        assert ids == [f"task-{number}" for number in range(10, 60)]
        enqueue(hub, 60)
        eventually(lambda: any('"task-60"' in line for line in lines), within_s=5)


def test_a_restarted_hub_is_followed_without_gap_or_repetition(hub):
    enqueue(hub, 0)
    with tailing(hub, "--format", "json", "--search", "queued", "--lines", "2") as (process, lines, said):
        eventually(lambda: len(lines) == 1, within_s=15)
        enqueue(hub, 1)
        eventually(lambda: len(lines) == 2, within_s=5)
        hub.kill()
        eventually(lambda: any("Waiting for the hub" in line for line in said), within_s=10)
        process.send_signal(signal.SIGSTOP)
        hub.start()
        for number in range(2, 6):
            enqueue(hub, number)
        process.send_signal(signal.SIGCONT)
        eventually(lambda: any("task-5" in line for line in lines), within_s=20)
        enqueue(hub, 6)
        eventually(lambda: any("task-6" in line for line in lines), within_s=10)
        assert [json.loads(line)["fields"]["taskId"] for line in lines] == [f"task-{n}" for n in range(7)]
        assert sum("Waiting for the hub" in line for line in said) == 1
        assert sum("is back" in line for line in said) == 1


@pytest.mark.parametrize(
    ("search", "line"),
    [
        ("heartbeat", "[Queue API] Heartbeat recorded"),
        ("alarm", "[TaskCoordinator] Alarm triggered"),
        ("CRITICAL", "[TaskCoordinator] CRITICAL: daemon mini unresponsive"),
    ],
)
def test_operators_find_what_they_grep_for(tmp_path, search, line):
    limits = {"heartbeat_interval": "100ms", "late_after": "200ms", "down_after": "400ms"}
    with running_hub(tmp_path, **limits) as hub, tailing(hub, "--search", search) as (_, lines, _):
        eventually(
            lambda: hub.post("/api/queue/heartbeat", {"workerId": "mini"}) and any(line in row for row in lines),
            within_s=15,
            every_s=1.0,
        )


def test_level_and_since_choose(hub):
    enqueue(hub, 0)
    assert understudy("tail", "--no-follow", "--level", "critical", env=hub.env).out == ""
    assert "hub.started" in understudy("tail", "--no-follow", "--since", "1h", "--format", "json", env=hub.env).out
    assert understudy("tail", "--no-follow", "--since", "2999-01-01T00:00:00Z", env=hub.env).out == ""


def test_a_hub_that_was_never_there_is_no_reason_to_wait(hub):
    done = understudy("tail", env={**hub.env, "UNDERSTUDY_HUB": "http://127.0.0.1:9"})
    assert done.code == 3
    assert understudy("tail", env={**hub.env, "UNDERSTUDY_API_KEY": "wrong", "ADMIN_API_KEY": ""}).code == 4


def test_ctrl_c_ends_it_with_130_and_no_word(hub):
    with tailing(hub) as (process, lines, said):
        eventually(lambda: lines, within_s=15)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert [line for line in said if line] == []  # an empty one after ^C


@pytest.mark.parametrize("line", [b"data: 1", b": alive"])
def test_an_event_without_end_fills_no_memory(monkeypatch, line):
    monkeypatch.setattr(tail, "EVENT_BYTES_MAX", 10_000)
    with pytest.raises(ClientError):
        list(tail._events(itertools.repeat(line, 1_000_000)))
    assert len(list(tail._events(iter([line, b""] * 5_000)))) == 5_000
