"""A real HTTP proxy on loopback: CONNECT and absolute addresses; every name leads to one server."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class FakeProxy:
    """`asked` holds the first line and the headers of each request; `refuses` is the status that it says instead."""

    def __init__(self, behind_port: int, refuses: str = "") -> None:
        self.asked: list[list[str]] = []
        self.refuses = refuses
        self._behind = behind_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def url(self, user: str = "") -> str:
        return f"http://{user + '@' if user else ''}127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and (more := client.recv(65_536)):
                head += more
            lines = head.partition(b"\r\n\r\n")[0].decode().split("\r\n")
            self.asked.append(lines)
            if self.refuses:
                client.sendall(f"HTTP/1.1 {self.refuses}\r\ncontent-length: 0\r\n\r\n".encode())
                return
            with socket.create_connection(("127.0.0.1", self._behind)) as server:
                if lines[0].startswith("CONNECT "):
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    method, url, _ = lines[0].split(" ")
                    path = "/" + url.split("/", 3)[3]
                    server.sendall(head.replace(f"{method} {url} ".encode(), f"{method} {path} ".encode(), 1))
                threading.Thread(target=_pump, args=(client, server), daemon=True).start()
                _pump(server, client)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
