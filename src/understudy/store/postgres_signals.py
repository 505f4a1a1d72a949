"""Hints between hubs by NOTIFY and LISTEN, on connections of their own; a pooler in the way lets none through.

Nothing depends on them: each hub looks at the store by itself every second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psycopg

from understudy.errors import StoreError
from understudy.store.postgres_pipeline import Statement
from understudy.store.postgres_wire import PostgresConnection, failure

CHANNEL = "understudy"
PAYLOAD_BYTES_MAX = 7_999  # PostgreSQL takes no more
LOOK_S = 0.5  # how long a stop may take
# A hint may be lost, so it does not wait for the disk; for this transaction alone, because a pooler shares connections.
_WITHOUT_WAIT = Statement("BEGIN"), Statement("SET LOCAL synchronous_commit = off")
_NOTIFY, _END = "SELECT pg_notify($1, $2)", Statement("COMMIT")
ASK_EVERY_S = 15.0  # a listener, whether its server still answers
PAUSE_S, PAUSE_MAX_S = 0.5, 2.0  # before the next connection


class SignalSender:
    """Sends hints; one connection, one at a time. No server that stays silent is waited for (`PostgresConnection`)."""

    def __init__(self, opened: Callable[[], PostgresConnection]) -> None:
        self._opened = opened
        self._link: PostgresConnection | None = None
        self._sending = threading.Lock()

    def send(self, payload: str) -> None:
        """Send it to every hub that listens, this one too; StoreError if that is not possible now."""
        if len(payload.encode()) > PAYLOAD_BYTES_MAX:
            raise ValueError(f"a signal has at most {PAYLOAD_BYTES_MAX} bytes")
        with self._sending:
            if self._link is None or not self._is_sent(self._link, payload):  # the server may have been restarted
                self._link = self._opened()
                self._is_sent(self._link, payload, is_last=True)

    def _is_sent(self, link: PostgresConnection, payload: str, *, is_last: bool = False) -> bool:
        try:
            link.ask(*_WITHOUT_WAIT, Statement(_NOTIFY, (CHANNEL, payload)), _END)
        except psycopg.Error as error:
            known = failure(error, link)
            self._close()
            if is_last:
                raise known from error
            return False
        return True

    def close(self) -> None:
        """Let the connection go."""
        with self._sending:
            self._close()

    def _close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


class Listener:
    """Hears hints in a thread of its own, and connects again as often as it must."""

    def __init__(self, opened: Callable[[], PostgresConnection], on_signal: Callable[[str], None]) -> None:
        self._opened = opened
        self._on_signal = on_signal
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="signals", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Hear no more."""
        self._is_over.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        pause_s = PAUSE_S
        while not self._is_over.is_set():
            try:
                link = self._opened()
            except StoreError:
                self._is_over.wait(pause_s)
                pause_s = min(2 * pause_s, PAUSE_MAX_S)
                continue
            pause_s = PAUSE_S
            try:
                if link.is_pooled:  # it would listen on a connection that others use by turns
                    return
                self._hear(link)
            except psycopg.Error:
                self._is_over.wait(PAUSE_S)
            finally:
                link.close()

    def _hear(self, link: PostgresConnection) -> None:
        link.ask(Statement(f"LISTEN {CHANNEL}"))
        self._on_signal("")  # something may have been missed
        asked_s = time.monotonic()
        while not self._is_over.is_set():
            for notify in link.connection.notifies(timeout=LOOK_S):
                self._on_signal(notify.payload)
            if time.monotonic() - asked_s > ASK_EVERY_S:  # a server that is frozen is as quiet as one without hints
                link.ask(Statement("SELECT 1"))
                asked_s = time.monotonic()
