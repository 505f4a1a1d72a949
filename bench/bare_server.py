"""The yardstick: an ASGI application that answers a constant, under the very server that the hub uses."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from typing import Any

import uvicorn
import uvloop

BODY = b'{"success":true,"timestamp":1770000000000}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]


async def app(_scope: Any, receive: Any, send: Any) -> None:
    """Read the body, answer the constant."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


async def serve(port: int) -> None:
    """Serve until SIGTERM."""
    listener = socket.create_server(("127.0.0.1", port), backlog=2048)
    listener.setblocking(False)  # noqa: FBT003
    server = uvicorn.Server(
        uvicorn.Config(
            app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False
        )
    )
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)
    await server.serve(sockets=[listener])


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
