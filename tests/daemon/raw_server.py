"""A server that says given bytes, whatever it is asked: what stands between a daemon and its hub."""

from __future__ import annotations

import socket
import threading


def raw_server(*answers: bytes) -> tuple[str, threading.Thread]:
    """Answers each connection with the next bytes and closes it."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server:
            for answer in answers:
                connection, _ = server.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return f"http://127.0.0.1:{server.getsockname()[1]}", thread
