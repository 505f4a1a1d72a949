"""A hub with a planted bug: it answers before it commits. For the test that the checker catches it."""

from __future__ import annotations

import sys

from bench.hub_server import inputs_of
from understudy.runtime.hub.loops import HubLoop
from understudy.runtime.hub.server import serve
from understudy.runtime.hub.writer import Writer

GATHER_S = 0.02  # so that each batch has promises of several clients in it: one may be a claim that found nothing


def early_begin(self: Writer) -> None:
    """As the real one, but the answers leave when they are decided, not when they are durable."""
    batch = self._next_batch()
    batch.prepared = self.engine.prepare(batch.operations)
    if batch.prepared is not None:
        self._deliver(batch.replies, batch.prepared)
    self._batches.put(batch)


def gather(self: Writer, _: int) -> None:
    self._loop.call_later(GATHER_S, early_begin, self)


if __name__ == "__main__":
    Writer._gather = gather  # type: ignore[method-assign]
    HubLoop.start = lambda _: None  # type: ignore[method-assign]  # alone in its commits: nobody's promise
    sys.exit(serve(inputs_of(sys.argv[1])))
