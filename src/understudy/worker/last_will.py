"""The guard's last words: releases each dead run's lease, so that its task is free a second after the crash.

On the standard library alone: the guard is small because it loads nothing it may never need.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from understudy.backoff import doubled_ms
from understudy.log import Log
from understudy.wire.causes import cause_of
from understudy.wire.dial import TROUBLE, Server, TrustedCertificates, body_of
from understudy.wire.foreign_json import parsed
from understudy.worker.effects import HubAnswer
from understudy.worker.guard_policy import Hello, WatchedRun

TRIES_MAX = 4
TIMEOUT_S = 3
PAUSE_MS_FIRST, PAUSE_MS_MAX = 250, 2_000  # 2 s in all, after that the lease ends by itself
ANSWER_BYTES_MAX = 65_536


def release_all(hello: Hello, runs: list[WatchedRun], log: Log) -> None:
    """Release every run; failed releases are tried again, a few times."""
    left = list(runs)
    for attempt in range(TRIES_MAX):
        left = [run for run in left if not _released(hello, run, log)]
        if not left:
            return
        time.sleep(doubled_ms(PAUSE_MS_FIRST, PAUSE_MS_MAX, attempt) / 1000)
    for run in left:
        log.emit("warning", "Guard", f"Last will for {run.task_id} undelivered: its lease ends by itself")


def _released(hello: Hello, run: WatchedRun, log: Log) -> bool:
    try:
        answer = _post(hello, run)
    except (*TROUBLE, msgspec.MsgspecError) as error:
        log.emit("debug", "Guard", f"Hub not reached: {cause_of(error)}")
        return False
    if answer.is_final:
        log.emit("info", "Guard", f"Last will: released {run.task_id}", status=answer.status)
    else:
        log.emit("debug", "Guard", "Hub not reached", status=answer.status)
    return answer.is_final


def _post(hello: Hello, run: WatchedRun) -> HubAnswer:
    """The answer; MsgspecError if it is not a JSON object and so not the hub's."""
    hub = Server(hello.hub_url, TrustedCertificates(hello.ca_file))
    path = f"{hub.prefix}{urlsplit(hello.hub_url).path.rstrip('/')}/api/queue/{quote(run.task_id, safe='')}/release"
    body = {"workerId": hello.worker_id, "token": run.token, "reason": "daemon_gone"}
    headers = {"X-API-Key": hello.api_key, "Content-Type": "application/json", **hub.headers}
    connection = hub.connect(TIMEOUT_S, TIMEOUT_S)
    try:
        connection.request("POST", path, msgspec.json.encode(body), headers)
        response = connection.getresponse()
        return HubAnswer(response.status, parsed(body_of(response, ANSWER_BYTES_MAX), dict[str, Any]))
    finally:
        connection.close()
