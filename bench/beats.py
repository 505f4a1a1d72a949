"""Many daemons at once: beats of a crowd over a few connections, at a chosen pace."""

from __future__ import annotations

import http.client
import threading
import time

import msgspec

from bench.processes import KEY, Hub


def beat_body(daemon_id: str, seq: int, interval_s: float) -> bytes:
    """The beat of one idle daemon."""
    said = {
        "daemonId": daemon_id,
        "machineId": f"machine-{daemon_id}",
        "bootId": f"boot-{daemon_id}",
        "seq": seq,
        "intervalSec": interval_s,
        "version": "0.1.0",
        "running": [],
        "state": "running",
    }
    return msgspec.json.encode(said)


def beat_all(
    hub: Hub, names: list[str], *, within_s: float, seq: int = 1, interval_s: float = 1, lines: int = 8
) -> None:
    """One beat of each daemon, spread evenly over `within_s`; RuntimeError if one was refused."""
    started = time.monotonic()
    trouble: list[str] = []

    def beat(line: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=30)
        headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
        for n in range(line, len(names), lines):
            wait_s = started + within_s * n / len(names) - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
            connection.request("POST", "/api/queue/heartbeat", beat_body(names[n], seq, interval_s), headers)
            answer = connection.getresponse()
            raw = answer.read()
            if answer.status != 200:
                trouble.append(f"{names[n]}: {answer.status} {raw[:200]!r}")
        connection.close()

    threads = [threading.Thread(target=beat, args=(line,), daemon=True) for line in range(lines)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if trouble:
        raise RuntimeError(trouble[0])
