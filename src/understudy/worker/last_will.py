"""The guard's last words: releases each dead run's lease, so that its task is free a second after the crash.

On the standard library alone: the guard is small because it loads nothing it may never need.
"""

from __future__ import annotations

import http.client
import ssl
import time
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from understudy.log import Log
from understudy.wire.causes import cause_of
from understudy.wire.foreign import parsed
from understudy.wire.proxies import proxy_for, tunnel_host
from understudy.worker.effects import Answer
from understudy.worker.guard_policy import Hello, Watched

TRIES_MAX = 4
TIMEOUT_S = 3
PAUSE_S = 0.25  # doubled with each try: 2 s in all, after that the lease ends by itself
ANSWER_BYTES_MAX = 65_536


def speak(hello: Hello, runs: list[Watched], log: Log) -> None:
    """Release every run; failed releases are tried again, a few times."""
    left = list(runs)
    for attempt in range(TRIES_MAX):
        left = [run for run in left if not _released(hello, run, log)]
        if not left:
            return
        time.sleep(PAUSE_S * 2**attempt)
    for run in left:
        log.emit("warning", "Guard", f"Last will for {run.task_id} undelivered: its lease ends by itself")


def _released(hello: Hello, run: Watched, log: Log) -> bool:
    try:
        answer = _post(hello, run)
    except (OSError, http.client.HTTPException, ValueError, msgspec.MsgspecError) as error:
        log.emit("debug", "Guard", f"Hub not reached: {cause_of(error)}")
        return False
    if answer.is_final:
        log.emit("info", "Guard", f"Last will: released {run.task_id}", status=answer.status)
    else:
        log.emit("debug", "Guard", "Hub not reached", status=answer.status)
    return answer.is_final


def _post(hello: Hello, run: Watched) -> Answer:
    """The answer; MsgspecError if it is not a JSON object and so not the hub's."""
    url = urlsplit(hello.hub_url)
    path = f"{url.path.rstrip('/')}/api/queue/{quote(run.task_id, safe='')}/release"
    body = {"workerId": hello.worker_id, "token": run.token, "reason": "daemon_gone"}
    headers = {"X-API-Key": hello.api_key, "Content-Type": "application/json"}
    connection = _connection(hello)
    proxy = proxy_for(hello.hub_url)
    if proxy is not None and url.scheme == "http":
        path, headers = f"http://{url.netloc.rpartition('@')[2]}{path}", headers | proxy.headers
    try:
        connection.request("POST", path, msgspec.json.encode(body), headers)
        answer = connection.getresponse()
        return Answer(answer.status, parsed(answer.read(ANSWER_BYTES_MAX), dict[str, Any]))
    finally:
        connection.close()


def _connection(hello: Hello) -> http.client.HTTPConnection:
    url = urlsplit(hello.hub_url)
    if url.hostname is None:
        raise ValueError(f"no host in {hello.hub_url!r}")
    proxy = proxy_for(hello.hub_url)
    at = (url.hostname, url.port) if proxy is None else (proxy.host, proxy.port)
    if url.scheme == "https":
        context = ssl.create_default_context(cafile=hello.ca_file or None)
        made = http.client.HTTPSConnection(*at, timeout=TIMEOUT_S, context=context)
        if proxy is not None:
            made.set_tunnel(tunnel_host(url.hostname), url.port or http.client.HTTPS_PORT, proxy.headers)
        return made
    return http.client.HTTPConnection(*at, timeout=TIMEOUT_S)
