"""Reads a request from a connection to its end: what is left unread when a server closes resets the connection."""

from __future__ import annotations

import re
import socket

TLS_HANDSHAKE = b"\x16"


def read_whole(connection: socket.socket) -> bytes:
    """The head of a request; its body, which often comes by itself, is read and left out. Of TLS, what comes first."""
    head = b""
    while not (b"\r\n\r\n" in head or head.startswith(TLS_HANDSHAKE)) and (part := connection.recv(65_536)):
        head += part
    head, _, body = head.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    left = int(found[1]) - len(body) if found else 0
    while left > 0 and (part := connection.recv(65_536)):
        left -= len(part)
    return head
