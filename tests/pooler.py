"""A pooler that lends connections for single transactions, as PgBouncer in its usual mode: for tests.

Who is let in speaks to the server as the pooler's own user. The connection that was given back last is lent first; a
client keeps one from its first message until the server says that no transaction is open.

`UNDERSTUDY_PGBOUNCER` names the program of a real PgBouncer, to take that instead.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.postgres import identity
from tests.waiting import eventually

_WISHES = (80877103, 80877104)  # TLS, GSS: refused
_CANCEL = 80877102
_KEY = b"K" + struct.pack("!iii", 12, 1, 1)  # no process of the server has this number
PGBOUNCER = os.environ.get("UNDERSTUDY_PGBOUNCER", "")  # before the tests' own environment is made
PGBOUNCER_INI = """
[databases]
* = host={server} port=5432
[pgbouncer]
unix_socket_dir = {folder}
listen_port = 5432
pool_mode = transaction
auth_type = trust
auth_file = {folder}/users
max_client_conn = 200
default_pool_size = 10
"""
_READY = b"Z" + struct.pack("!i", 5) + b"I"
_LET_IN = b"R" + struct.pack("!ii", 8, 0)


def read_exactly(line: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = line.recv(count - len(found))
        if not more:
            raise EOFError
        found += more
    return found


def message_of(line: socket.socket) -> tuple[bytes, bytes]:
    """The next one: its kind, and the whole of it."""
    head = read_exactly(line, 5)
    return head[:1], head + read_exactly(line, struct.unpack("!i", head[1:])[0] - 4)


def begin(line: socket.socket) -> bytes:
    """The first message of a client, after its wishes were refused."""
    while True:
        size = read_exactly(line, 4)
        body = read_exactly(line, struct.unpack("!i", size)[0] - 4)
        if struct.unpack("!i", body[:4])[0] not in _WISHES:
            return size + body
        line.sendall(b"N")


class Pooler:
    """Listens on a socket in `folder`; the server is reached by its own."""

    def __init__(self, server: Path, folder: Path) -> None:
        self._server = server
        self._idle: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen(20)
        self._lines: list[socket.socket] = []
        threading.Thread(target=self._accept, name="pooler", daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                self._lines.append(line)
                threading.Thread(target=self._serve, args=(line,), name="pooled", daemon=True).start()

    def _lend(self, first: bytes) -> tuple[socket.socket, bytes]:
        """A connection to the server, and what it says about itself where it is a new one."""
        with self._lock:
            if self._idle:
                return self._idle.pop(), b""
        line = socket.socket(socket.AF_UNIX)
        line.connect(str(self._server))
        self._lines.append(line)
        line.sendall(first)
        said = b""
        while True:
            kind, message = message_of(line)
            said += message if kind == b"S" else b""
            if kind == b"Z":
                return line, said

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), client:
            first = begin(client)
            if struct.unpack("!i", first[4:8])[0] == _CANCEL:
                return
            server, said = self._lend(first)
            self.give_back(server)
            client.sendall(_LET_IN + said + _KEY + _READY)
            while True:
                kind, message = message_of(client)
                if kind == b"X":
                    return
                self._transaction(client, message, first)

    def _transaction(self, client: socket.socket, message: bytes, first: bytes) -> None:
        """From the message that begins it until the server is idle again."""
        server, _ = self._lend(first)
        server.sendall(message)
        asked = int(message[:1] in (b"Q", b"S"))
        while True:
            for line in select.select([client, server], [], [])[0]:
                kind, message = message_of(line)
                other = server if line is client else client
                other.sendall(message)
                asked += (line is client and kind in (b"Q", b"S")) - (line is server and kind == b"Z")
                if line is server and kind == b"Z" and message[-1:] == b"I" and not asked:
                    self.give_back(server)
                    return

    def give_back(self, server: socket.socket) -> None:
        """It may be lent to another client."""
        with self._lock:
            self._idle.append(server)

    def close(self) -> None:
        for line in (self._listener, *self._lines):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()


@contextlib.contextmanager
def running_pooler(server: Path, folder: Path) -> Iterator[None]:
    """A pooler before the server whose socket is in the folder `server`."""
    if PGBOUNCER:
        with _running_pgbouncer(server, folder):
            yield
        return
    made = Pooler(server / ".s.PGSQL.5432", folder)
    try:
        yield
    finally:
        made.close()


@contextlib.contextmanager
def _running_pgbouncer(server: Path, folder: Path) -> Iterator[None]:
    (folder / "users").write_text('"postgres" ""\n')
    (folder / "ini").write_text(PGBOUNCER_INI.format(server=server, folder=folder))
    who = identity()
    for path in (folder, *folder.iterdir()) if who else ():
        shutil.chown(path, who["user"], who["group"])
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([PGBOUNCER, folder / "ini"], stdout=log, stderr=log, cwd="/", **who)
    try:
        eventually((folder / ".s.PGSQL.5432").exists, what="PgBouncer")
        yield
    finally:
        process.kill()
        process.wait(30)
