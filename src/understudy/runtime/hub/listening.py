"""The socket of a hub, and the end of its server: no connection that a client has made is broken.

Theory of operation. Closing a listening socket resets every connection that the system has made but the server has not
accepted yet, perhaps with a request in it. So before that the last connections are accepted while no new one may begin:
on Linux a filter drops the first packet (SYN) of each attempt; the client tries again a second later, and is refused.
Elsewhere there is no such filter, and an attempt in the last microseconds may be reset.

Every connection then gets the answer that it waits for, with `Connection: close`. One that is idle is kept for an
instant, because a request may be on its way (`api/protocol.py`).
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn

from understudy.api.connections import Connections
from understudy.errors import ConfigError

BACKLOG = 2048
LAST_CONNECTIONS_S = 0.1  # for those that were begun just before and far away
LOOK_EVERY_S = 0.01
SO_ATTACH_FILTER = 26  # Linux; Python has no name for it
# Linux, Documentation/networking/filter.rst: load the flags of the TCP header; of SYN and ACK, is it SYN alone? Drop it
NO_NEW = ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFF_FFFF))


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; ConfigError if the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"Cannot listen on {host}:{port}: {error.strerror}. Choose another --port, or stop who uses it"
        ) from error
    listener.listen(BACKLOG)
    listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return listener


def turn_away(listener: socket.socket) -> None:
    """From here on no connection begins at this socket; those that have begun are completed. Linux only."""
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in NO_NEW))
    with suppress(OSError):  # a sandbox may forbid it: then it is as elsewhere
        listener.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(NO_NEW), ctypes.addressof(program))
        )


class HubServer(uvicorn.Server):
    """uvicorn's server, with the signals left to us, and an end that breaks nothing."""

    def __init__(self, crowd: Connections, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._crowd = crowd

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    def begin_end(self) -> None:
        """From here on each answer is the last one of its connection; new connections are taken for a moment more."""
        self.should_exit = self._crowd.is_ending = True
        for connection in tuple(self.server_state.connections):
            connection.shutdown()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take the last connections, give every answer, close; within the time that uvicorn is given."""
        doors = [listener.dup() for listener in sockets or []]
        for door in doors:
            turn_away(door)
        for server in self.servers:
            server.close()
        self.begin_end()
        await self._take_the_last(doors)
        await super().shutdown(sockets)

    async def _take_the_last(self, doors: Sequence[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + (LAST_CONNECTIONS_S if sys.platform == "linux" else 0)
        while True:
            for door in doors:
                for connection in _waiting_at(door):
                    await loop.connect_accepted_socket(self._protocol, connection)
            if loop.time() >= until:
                break
            await asyncio.sleep(LOOK_EVERY_S)
        for door in doors:
            door.close()

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    def stop_now(self) -> None:
        """Wait for nobody any more."""
        self.force_exit = True
        for connection in tuple(self.server_state.connections):
            connection.drop()  # type: ignore[union-attr]  # each is a LimitedProtocol


def _waiting_at(door: socket.socket) -> Iterator[socket.socket]:
    """The connections that the system has made and that nobody has taken."""
    while True:
        try:
            connection, _ = door.accept()
        except OSError:  # none, or no descriptor is left
            return
        connection.setblocking(False)  # noqa: FBT003 - the standard library's signature
        yield connection
