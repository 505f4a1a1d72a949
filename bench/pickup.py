"""From an enqueue that is sent to its task in the hands of an idle daemon, and to the start of the body."""

from __future__ import annotations

import random
import select
import socket
import sys
import time
from collections.abc import Iterator

import msgspec

from bench.figures import Figure, Plan, percentile
from bench.processes import KEY, DaemonProcess, Hub
from bench.rounds import TASKS_FEW
from bench.stock import stock

SAMPLES = 200
LIMIT_MS = 20  # docs/performance.md
SHY = ["machine", "pickup"]  # the tasks measured need a tag of their own: the queue behind stays as it is
STAMP = "import sys,time; sys.stdin.read(); print(time.time_ns())"


def measure(plan: Plan) -> Iterator[Figure]:
    """With few and with many tasks in the queue; then with the real daemon, to the start of the body."""
    samples = 50 if plan.is_quick else SAMPLES
    for tasks in (TASKS_FEW, plan.tasks_many):
        folder = plan.folder / f"pickup-{tasks}"
        stock(tasks, folder / "hub.db")
        with Hub(folder) as hub:
            runs = [pickups_ms(hub, hub, samples) for _ in range(plan.rounds)]
        figure = Figure(
            "pickup",
            f"enqueue sent → task in the hands of an idle long poll, {tasks:,} tasks, p99",
            "ms",
            [percentile(run, 99) for run in runs],
            target=f"≤ {LIMIT_MS} ms",
            note=f"p50 {percentile([ms for run in runs for ms in run], 50):.1f} ms",
        )
        figure.holds = figure.median <= LIMIT_MS
        yield figure
    with Hub(plan.folder / "pickup-daemon") as hub:
        bodies = [bodies_ms(hub, plan, max(10, samples // 10), round_) for round_ in range(plan.rounds)]
    yield Figure(
        "pickup",
        "enqueue sent → first line of the body under the daemon (a new Python process), p50",
        "ms",
        [percentile(run, 50) for run in bodies],
        note=f"p99 {percentile([ms for run in bodies for ms in run], 99):.0f} ms",
    )


def request(path: str, body: object) -> bytes:
    """A POST as bytes."""
    payload = msgspec.json.encode(body)
    head = f"POST {path} HTTP/1.1\r\nHost: hub\r\nX-API-Key: {KEY}\r\nContent-Length: {len(payload)}\r\n\r\n"
    return head.encode() + payload


def answer_of(line: socket.socket) -> bytes:
    """The body of the next answer."""
    said = b""
    while b"\r\n\r\n" not in said:
        said += line.recv(65536)
    head, _, body = said.partition(b"\r\n\r\n")
    assert head[9:10] == b"2", said
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += line.recv(65536)
    return body


def pickups_ms(asked: Hub, given: Hub, samples: int) -> list[float]:
    """One thread, two connections: the poll waits at one hub, the enqueue goes to another, or to the same."""
    taken = []
    lines = [socket.create_connection(("127.0.0.1", hub.port)) for hub in (asked, given)]
    with lines[0] as poll, lines[1] as submit:
        for line in (poll, submit):
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        claim = request("/api/queue/claim", {"workerId": "w", "provides": SHY[1:], "waitSec": 30, "max": 1})
        enqueue = request("/api/queue", {"content": "x" * 200, "needs": SHY[1:]})
        for _ in range(samples):
            poll.sendall(claim)
            time.sleep(random.uniform(0.02, 0.12))
            assert not _is_readable(poll), "the poll was answered before anything was enqueued"
            sent_at = time.perf_counter()
            submit.sendall(enqueue)
            got = answer_of(poll)
            taken.append((time.perf_counter() - sent_at) * 1000)
            answer_of(submit)
            said = msgspec.json.decode(got)
            assert said["success"], said
            result = {"success": True, "token": said["lease"]["token"]}
            submit.sendall(request(f"/api/result/{said['taskId']}", result))
            answer_of(submit)
    return taken


def _is_readable(line: socket.socket) -> bool:
    waiting = select.poll()  # select() has no room for thousands of descriptors
    waiting.register(line, select.POLLIN)
    return bool(waiting.poll(0))


def bodies_ms(hub: Hub, plan: Plan, samples: int, round_: int) -> list[float]:
    """With the daemon: its command says when it began."""
    taken = []
    name = f"pickup-{round_}"
    command = [sys.executable, "-S", "-c", STAMP]
    with DaemonProcess(hub.port, plan.folder / name, daemon_id=name, command=command):
        for n in range(samples + 1):
            time.sleep(random.uniform(0.02, 0.12))
            sent_at = time.time_ns()
            task_id = hub.call("POST", "/api/queue", {"content": "x"})[1]["taskId"]
            began_at = int(result_of(hub, task_id)["output"])
            if n:  # the first waits for the daemon's start
                taken.append((began_at - sent_at) / 1e6)
    return taken


def result_of(hub: Hub, task_id: str, within_s: float = 30) -> dict[str, str]:
    """The result, once it is there; RuntimeError if it does not come."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        status, result = hub.call("GET", f"/api/result/{task_id}")
        if status == 200:
            return dict(result)
        time.sleep(0.01)
    raise RuntimeError(f"no result of {task_id} within {within_s} s")
