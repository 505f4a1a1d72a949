"""A process of its own that opens many connections, sends each the same beginning, and leaves them so until it ends.

argv: port, count, hex of what is sent, name of the loopback address it comes from. Each connection that the hub closes
is opened again, so the pressure stays. A line "open" on standard output says that all were opened once.
"""

from __future__ import annotations

import resource
import selectors
import socket
import sys
import time

PAUSE_S = 0.01  # a hundred new connections a second from each process


def opened(port: int, beginning: bytes, source: str, chooser: selectors.BaseSelector) -> None:
    """One more connection that says nothing more."""
    line = socket.socket()
    line.bind((source, 0))
    line.connect(("127.0.0.1", port))
    line.setblocking(False)
    if beginning:
        line.send(beginning)
    chooser.register(line, selectors.EVENT_READ)


def main() -> None:
    """Until it is killed."""
    port, count, beginning, source = int(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3]), sys.argv[4]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 20_000)), hard))
    chooser = selectors.DefaultSelector()
    for _ in range(count):
        opened(port, beginning, source, chooser)
    sys.stdout.write("open\n")
    sys.stdout.flush()
    while True:
        for key, _ in chooser.select():
            line = key.fileobj
            assert isinstance(line, socket.socket)
            try:
                is_gone = not line.recv(65536)
            except OSError:
                is_gone = True
            if is_gone:
                chooser.unregister(line)
                line.close()
                time.sleep(PAUSE_S)
                opened(port, beginning, source, chooser)


if __name__ == "__main__":
    main()
