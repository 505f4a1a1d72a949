"""A hub with a planted bug: it answers before it commits. For the test that the checker catches it."""

from __future__ import annotations

import sys
from typing import Any

from bench.hub_server import settings_of
from understudy.runtime.server import serve
from understudy.runtime.writer import Writer

real_commit = Writer._commit


def early_commit(self: Writer, batch: list[Any]) -> None:
    """As the real one, but the answers leave when they are decided, not when they are durable."""
    engine, replies = self.engine, [reply for _, reply in batch]
    real_decide_all = type(engine)._decide_all

    def decide_all(tx: Any, operations: Any) -> Any:
        committed = real_decide_all(engine, tx, operations)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._deliver, replies, committed)
        return committed

    engine._decide_all = decide_all  # type: ignore[method-assign]
    real_commit(self, batch)


if __name__ == "__main__":
    Writer._commit = early_commit  # type: ignore[method-assign]
    sys.exit(serve(settings_of(sys.argv[1])))
