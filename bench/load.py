"""Load on a server: `wrk` where it is installed, else our own generator; each in a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import msgspec
from msgspec import Struct

from bench.processes import HERE, KEY, Server

WRK = shutil.which("wrk")
TOOL = "wrk" if WRK else "bench/generator.py"
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


class Load(Struct, frozen=True):
    """What a load came to."""

    rate_per_s: float
    requests: int
    p50_ms: float
    p99_ms: float
    cpu_us: float = 0  # of the server, a request


def load(server: Server, kind: str, connections: int, seconds: float, env: dict[str, str] | None = None) -> Load:
    """Requests of one kind (`bench/wrk/<kind>.lua`) for some seconds; RuntimeError if one was refused."""
    before = server.cpu_s()
    done = subprocess.run(
        _command(server.port, kind, connections, seconds),
        env={**os.environ, "BENCH_KEY": KEY, **(env or {})},
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{TOOL} failed: {done.stdout}{done.stderr}")
    came = (_from_wrk if WRK else _from_own)(kind, done.stdout)
    return msgspec.structs.replace(came, cpu_us=(server.cpu_s() - before) * 1e6 / max(came.requests, 1))


def start_load(server: Server, kind: str, connections: int, seconds: float) -> subprocess.Popen[str]:
    """The same in the background, for measurements under load."""
    return subprocess.Popen(
        _command(server.port, kind, connections, seconds),
        env={**os.environ, "BENCH_KEY": KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _command(port: int, kind: str, connections: int, seconds: float) -> list[str]:
    if WRK:
        script = str(HERE / "wrk" / f"{kind}.lua")
        span = f"-d{max(1, round(seconds))}s"
        return [
            WRK,
            "-t1",
            f"-c{connections}",
            span,
            "--timeout",
            "30s",
            "--latency",
            "-s",
            script,
            f"http://127.0.0.1:{port}",
        ]
    return [sys.executable, str(HERE / "generator.py"), str(port), kind, str(connections), str(seconds)]


def _from_wrk(kind: str, said: str) -> Load:
    refused = re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", said)
    if refused:
        raise RuntimeError(f"{kind}: {refused[0]}")
    rate, requests = _found(r"Requests/sec:\s+([\d.]+)", said), _found(r"(\d+) requests in", said)
    return Load(float(rate), int(requests), _latency(said, "50"), _latency(said, "99"))


def _found(pattern: str, said: str) -> str:
    match = re.search(pattern, said)
    if match is None:
        raise RuntimeError(f"no {pattern} in what wrk said: {said}")
    return match[1]


def _latency(said: str, percent: str) -> float:
    match = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)$", said, re.MULTILINE)
    return float(match[1]) * _UNITS_MS[match[2]] if match else 0.0


def _from_own(kind: str, said: str) -> Load:
    reported = msgspec.json.decode(said)
    if reported["refused"]:
        raise RuntimeError(f"{kind}: {reported['refused']} requests were refused, the first with {reported['first']}")
    return Load(reported["rate_per_s"], reported["requests"], reported["p50_ms"], reported["p99_ms"])
