"""Tests whether a port is free, and finds the program that has it."""

from __future__ import annotations

import contextlib
import errno
import socket
from http import HTTPStatus
from typing import Any

from understudy.cli.client import HubClient
from understudy.cli.exits import ClientError
from understudy.errors import ConfigError
from understudy.texts import t

PORTS_TRIED = 50
HEALTH_S = 3.0


def check_free(host: str, port: int, url: str) -> None:
    """ConfigError with a sentence and a way out if nobody could listen there."""
    trouble = _trouble(host, port)
    if trouble is None:
        return
    if trouble.errno != errno.EADDRINUSE:
        raise ConfigError(t("cli.port.impossible", host=host, port=port, reason=trouble.strerror))
    other = next((p for p in range(port + 1, min(port + PORTS_TRIED, 65_536)) if _trouble(host, p) is None), 0)
    known = health_of(url)
    if known is not None:
        raise ConfigError(t("cli.port.ours", url=url, version=known.get("version", "?"), other=other))
    raise ConfigError(t("cli.port.taken", port=port, owner=owner_of(port), other=other))


def free_port(host: str) -> int:
    """One that nobody has now."""
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def health_of(url: str) -> dict[str, Any] | None:
    """The answer to `GET /health` if it is an understudy hub's; None otherwise."""
    hub = HubClient(url, answer_s=HEALTH_S)
    try:
        status, body = hub.status_of("/health")
    except ClientError:
        return None
    finally:
        hub.close()
    return body if is_health(status, body) else None


def is_health(status: int, body: Any) -> bool:
    """True if this answer to `GET /health` is that of a hub of ours."""
    return status == HTTPStatus.OK and isinstance(body, dict) and body.get("status") == "ok" and "startedAt" in body


def owner_of(port: int) -> str:
    """`process 1234 (node)`, or a word for unknown: other users' processes are not ours to see."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return t("cli.port.process", pid=connection.pid, name=psutil.Process(connection.pid).name())
    return t("cli.port.somebody")


def _trouble(host: str, port: int) -> OSError | None:
    try:
        with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
    except OSError as error:
        return error
    return None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
