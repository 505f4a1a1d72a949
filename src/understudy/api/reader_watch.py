"""The pace at which a client must read its answers: what it does not read waits in memory."""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle

from understudy.api.connections import ClientConnection

ANSWER_WITHIN_S = 30
SLOWEST_BYTES_A_S = 16 * 1024


class ReaderWatch:
    """Drops a connection unless its client reads so much in 30 s, or half of what there is."""

    __slots__ = ("_connection", "_handle", "_loop")

    def __init__(self, connection: ClientConnection, loop: AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop
        self._handle: TimerHandle | None = None

    def start(self) -> None:
        """Judge in 30 s, by what is unread now, and so on."""
        self.stop()
        self._handle = self._loop.call_later(ANSWER_WITHIN_S, self._judge, self._connection.unread_bytes)

    def stop(self) -> None:
        """Judge no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _judge(self, unread_before: int) -> None:
        wanted = min(ANSWER_WITHIN_S * SLOWEST_BYTES_A_S, max(unread_before // 2, 1))
        if unread_before - self._connection.unread_bytes < wanted:
            self._connection.drop()
        else:
            self.start()
