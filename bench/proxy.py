"""A small TCP proxy between a daemon and its hub that can fall silent, or cut its connections."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

CHUNK = 65536


class Proxy:
    """Forwards bytes. `silence()` swallows them, as a network does that is gone; `cut()` resets every connection."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._lines: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_silent = threading.Event()
        self._is_closed = False
        self.accepted = 0

    def silence(self) -> None:
        """From now on nothing gets through, in either direction, and no connection ends."""
        self._is_silent.set()

    def speak(self) -> None:
        """New connections get through again; those that were silent are reset."""
        self._is_silent.clear()
        self.cut()

    def cut(self) -> int:
        """Reset every connection; how many ends there were."""
        with self._lock:
            lines, self._lines = self._lines, set()
        for line in lines:
            with contextlib.suppress(OSError):
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                line.shutdown(socket.SHUT_RDWR)
            line.close()
        return len(lines)

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._keep(near)
            if self._is_silent.is_set():
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target_port), timeout=10)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            self._keep(far)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _keep(self, line: socket.socket) -> None:
        with self._lock:
            self._lines.add(line)

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(CHUNK):
                if self._is_silent.is_set():
                    return
                sink.sendall(data)
        except OSError:
            pass
        if not self._is_silent.is_set():
            self._end(source, sink)

    def _end(self, *lines: socket.socket) -> None:
        for line in lines:
            with self._lock:
                self._lines.discard(line)
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True, name="proxy").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
