"""Live daemons as far as the hub can tell: each beats at its interval, whatever the hub does meanwhile."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Any, Self

from bench.beats import beat_body
from bench.processes import KEY, Hub

CALL_WITHIN_S = 1.0


class Beaters(threading.Thread):
    """Daemons that beat from one event loop; `die` lets some of them fall silent for good."""

    def __init__(self, hub: Hub, names: list[str], interval_s: float) -> None:
        super().__init__(daemon=True, name="beaters")
        self._hub = hub
        self._names = names
        self._interval_s = interval_s
        self._dead: set[str] = set()
        self._stopped = threading.Event()
        self.accepted: dict[str, int] = dict.fromkeys(names, 0)
        self.unexpected: list[str] = []

    def die(self, names: list[str]) -> None:
        """These beat no more."""
        self._dead |= set(names)

    def run(self) -> None:
        asyncio.run(self._live())

    async def _live(self) -> None:
        await asyncio.gather(*(self._daemon(name, n) for n, name in enumerate(self._names)))

    async def _daemon(self, name: str, n: int) -> None:
        await asyncio.sleep(self._interval_s * n / len(self._names))
        seq, line = 0, None
        while not self._stopped.is_set() and name not in self._dead:
            seq += 1
            try:
                async with asyncio.timeout(CALL_WITHIN_S):
                    line = line or await asyncio.open_connection("127.0.0.1", self._hub.port)
                    await self._beat(line, name, seq)
            except (OSError, asyncio.IncompleteReadError):  # TimeoutError is an OSError
                if line is not None:
                    line[1].close()
                line = None
            await asyncio.sleep(self._interval_s)
        if line is not None:
            line[1].close()

    async def _beat(self, line: Any, name: str, seq: int) -> None:
        reader, writer = line
        body = beat_body(name, seq, self._interval_s)
        head = f"POST /api/queue/heartbeat HTTP/1.1\r\nHost: hub\r\nX-API-Key: {KEY}\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        said = await reader.readexactly(length)
        if answer[9:12] == b"200":
            self.accepted[name] += 1
        elif answer[9:12] != b"503":
            self.unexpected.append(f"{answer[9:12]!r} {said!r}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self.join(10)
