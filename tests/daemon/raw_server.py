"""A server that says given bytes, whatever it is asked: what stands between a daemon and its hub."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from tests.fakes.whole_request import read_whole


def raw_server(*answers: bytes, piece: int = 0) -> tuple[str, threading.Thread]:
    """Answers each connection with the next bytes, all at once or a piece every 0.02 s, and closes it."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server:
            for answer in answers:
                connection, _ = server.accept()
                with connection, contextlib.suppress(ConnectionError):
                    read_whole(connection)
                    for at in range(0, len(answer), piece or len(answer) or 1):
                        time.sleep(0.02 if piece else 0)
                        connection.sendall(answer[at : at + (piece or len(answer))])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return f"http://127.0.0.1:{server.getsockname()[1]}", thread
