"""A pipe that is full and that nobody reads, as the stderr of a program; until somebody reads it."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterator

from tests.waiting import allowed_s

READ_BYTES = 65_536


class Unread:
    """`end` is what a program is given; it takes no byte before `read_until`."""

    def __init__(self) -> None:
        self._from, self.end = os.pipe()
        os.set_blocking(self.end, False)
        with contextlib.suppress(BlockingIOError):
            for size in (4096, 1):
                while os.write(self.end, b"." * size):
                    pass
        os.set_blocking(self.end, True)

    def read_until(self, *words: str, within_s: float = 10.0) -> str:
        """Read until all these words were in it → everything read so far."""
        said = ""
        while missing := [word for word in words if word not in said]:
            assert select.select([self._from], [], [], allowed_s(within_s))[0], f"no {missing} in {said[-2000:]}"
            said += os.read(self._from, READ_BYTES).decode(errors="replace")
        return said

    def close(self) -> None:
        os.close(self._from)
        os.close(self.end)


@contextlib.contextmanager
def unread() -> Iterator[Unread]:
    pipe = Unread()
    try:
        yield pipe
    finally:
        pipe.close()
