"""The hub of the benchmark as a fork of the prepared process, for tests that start one again and again."""

from __future__ import annotations

import os

from bench.processes import Hub
from tests import prepared

CODE = """
import runpy, sys
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


class PreparedHub(Hub):
    """Killed, stopped and asked as any other."""

    def launch(self) -> None:
        """Start it without waiting."""
        if not prepared.can_be(os.environ):
            super().launch()
            return
        with self.log.open("ab") as log:
            self._child = prepared.start(self._argv[1:], code=CODE, stdout=log, stderr=log, has_session=True)  # type: ignore[assignment]
