"""Streams of one key, unread answers and unfinished bodies: what a key holder can hold in a hub's memory is bounded."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bench.processes import KEY
from tests.soak.watched import WatchedHub

pytestmark = pytest.mark.soak
STREAMS = 2_200
HEAD = f"X-API-Key: {KEY}\r\nHost: h\r\n"
GROWTH_MIB_MAX = 450  # both bounds of 128 MiB, what parsing takes, and what the allocator keeps


def line(hub: WatchedHub, sent: bytes) -> socket.socket:
    """A connection that has sent this, and then neither sends nor reads."""
    opened = socket.create_connection(("127.0.0.1", hub.port), timeout=20)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.sendall(sent)
    return opened


def test_an_event_goes_to_2200_followers_of_one_key_without_holding_the_loop(tmp_path: Path, report) -> None:
    with WatchedHub(tmp_path) as hub:
        ask = f"GET /api/events?follow=1 HTTP/1.1\r\n{HEAD}\r\n".encode()
        lines = [line(hub, ask) for _ in range(STREAMS)]
        heads = [one.recv(15) for one in lines]
        followed = sum(head.endswith(b"200 OK") for head in heads)
        refused = sum(head.startswith(b"HTTP/1.1 429") for head in heads)
        hub.holds_ms()
        for number in range(20):
            assert hub.call("POST", "/api/queue", {"id": f"t{number}", "content": "x"})[0] == 201
        longest = hub.assert_turns()
        for one in lines:
            one.close()
        report(
            f"{followed} of {STREAMS:,} streams were opened, {refused:,} refused; the loop was held {longest:.0f} ms"
        )
        assert followed + refused == STREAMS
        assert followed <= 100


def test_unread_answers_do_not_pile_up(tmp_path: Path, report) -> None:
    with WatchedHub(tmp_path, settings={"rate_per_s": 200, "rate_burst": 1000}) as hub:
        assert hub.call("POST", "/api/queue", {"id": "big", "content": "x" * 1_000_000})[0] == 201
        before = hub.rss_mib()
        ask = f"GET /api/queue/big HTTP/1.1\r\n{HEAD}\r\n".encode()
        lines = [line(hub, ask * 20) for _ in range(800)]
        assert hub.call("POST", "/api/queue/heartbeat", {"workerId": "w"}, timeout_s=5)[0] == 200
        grown = hub.rss_mib() - before
        for one in lines:
            one.close()
        assert hub.call("POST", "/api/queue/heartbeat", {"workerId": "w"})[0] == 200
        report(f"800 connections with 20 unread answers of 1 MB each: {grown:+.0f} MiB")
        assert grown < GROWTH_MIB_MAX


def test_unfinished_bodies_do_not_pile_up(tmp_path: Path, report) -> None:
    with WatchedHub(tmp_path) as hub:
        assert hub.call("POST", "/api/queue/heartbeat", {"workerId": "w"})[0] == 200
        before = hub.rss_mib()
        head = f"POST /api/results HTTP/1.1\r\n{HEAD}Content-Length: 8000000\r\n\r\n".encode()
        lines: list[socket.socket] = []
        for _ in range(200):
            try:
                lines.append(line(hub, head + b" " * 7_900_000))
            except OSError:  # refused in the middle, and hung up
                continue
            if len(lines) % 20 == 0:
                assert hub.call("POST", "/api/queue/heartbeat", {"workerId": "w"})[0] == 200
        grown = hub.rss_mib() - before
        for one in lines:
            one.close()
        report(f"200 unfinished bodies of 8 MB: {grown:+.0f} MiB")
        assert grown < GROWTH_MIB_MAX
