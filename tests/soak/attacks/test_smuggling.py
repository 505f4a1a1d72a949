"""Behind a real proxy that keeps its connections to the hub, nobody's body becomes somebody else's request."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from bench.processes import KEY, Hub
from tests.soak.attacks.proxies import NAMES, proxy

pytestmark = pytest.mark.soak
ROUNDS = 20
PAUSE_S = 0.03  # between head and body: the attack needs two packets
OFFERS = (
    "Connection: Upgrade, Content-Length\r\nUpgrade: h2c",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    "Connection: Upgrade\r\nUpgrade: websocket",
    "Connection: close, Upgrade\r\nUpgrade: h2c\r\nExpect: 100-continue",
)


def exchange(port: int, *packets: bytes) -> bytes:
    """What comes back within 0.7 s."""
    with socket.create_connection(("127.0.0.1", port), timeout=0.7) as line:
        said = b""
        try:
            for packet in packets:
                line.sendall(packet)
                time.sleep(PAUSE_S)
            while part := line.recv(65536):
                said += part
                if b"Content-Length: 0" not in said and said.endswith((b"}", b"]")):
                    break
        except OSError:
            pass
        return said


@pytest.mark.parametrize("name", NAMES)
def test_an_attacker_without_a_key_never_speaks_with_the_key_of_another(name: str, tmp_path: Path, report) -> None:
    with Hub(tmp_path / "hub") as hub, proxy(name, hub.port, tmp_path / "proxy") as port:
        hub.call("POST", "/api/queue/heartbeat", {"daemonId": "mini", "bootId": "b", "machineId": "m", "seq": 1})
        hidden = b"POST /api/daemons/mini/pause HTTP/1.1\r\nHost: h\r\nX-Smuggled: "
        hidden_whole = b"POST /api/queue HTTP/1.1\r\nHost: h\r\nContent-Length: 15\r\n\r\n" + b'{"content":"x"}'
        ask = f"GET /api/queue HTTP/1.1\r\nHost: h\r\nX-API-Key: {KEY}\r\nConnection: close\r\n\r\n".encode()
        wrong: list[bytes] = []
        for number in range(ROUNDS):
            offer = OFFERS[number % len(OFFERS)]
            body = hidden if number % 2 else hidden_whole
            head = f"POST /api/queue/heartbeat HTTP/1.1\r\nHost: h\r\n{offer}\r\nContent-Length: {len(body)}\r\n\r\n"
            exchange(port, head.encode(), body)
            said = exchange(port, ask)
            if b'"pending":[],"count":0' not in said:
                wrong.append(said)
        assert wrong == []
        daemon = hub.call("GET", "/api/daemons/mini")[1]
        assert daemon["state"] == "healthy"
        report(f"{name}: {ROUNDS} attacks, each answer went to who had asked")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("offer", OFFERS[:3])
def test_a_client_that_offers_an_upgrade_keeps_its_body(name: str, offer: str, tmp_path: Path) -> None:
    with Hub(tmp_path / "hub") as hub, proxy(name, hub.port, tmp_path / "proxy") as port:
        body = b'{"daemonId":"mini","bootId":"b","machineId":"m","seq":1}'
        head = f"POST /api/queue/heartbeat HTTP/1.1\r\nHost: h\r\nX-API-Key: {KEY}\r\n{offer}\r\n"
        said = exchange(port, f"{head}Content-Length: {len(body)}\r\n\r\n".encode(), body)
        assert b" 200 " in said[:20], said
        assert [one["daemonId"] for one in hub.call("GET", "/api/daemons")[1]["daemons"]] == ["mini"]
