"""The progress of a long command: a line that changes on a terminal, a line from time to time elsewhere."""

from __future__ import annotations

import sys
import time

from understudy.cli.terminal import can_draw, cut, note, width_of
from understudy.spans import span
from understudy.texts import t

ON_TERMINAL_S, ELSEWHERE_S = 0.2, 10.0
CLEAR_LINE = "\r\x1b[2K"
RATE_FROM_S = 1.0  # before that a rate says nothing


class ProgressLine:
    """Rows that are done, of how many, how fast, and what is left; written to stderr."""

    def __init__(self, total: int, already: int = 0) -> None:
        self._total = total
        self._already = already  # done by an earlier run: they count for the rest, not for the rate
        self._done = 0
        self._began_s = self._shown_s = time.monotonic()
        self._is_on_terminal = can_draw(sys.stderr)
        self._stands = False  # a line that a later one takes the place of

    def ahead(self, table: str, rows: int) -> None:
        """So many more rows of a table are done."""
        self._done += rows
        now_s = time.monotonic()
        if now_s - self._shown_s < (ON_TERMINAL_S if self._is_on_terminal else ELSEWHERE_S):
            return
        self._shown_s = now_s
        self._show(self.line(table, now_s - self._began_s))

    def line(self, table: str, elapsed_s: float) -> str:
        """The state after so many seconds."""
        done = self._already + self._done
        total = max(self._total, done)
        values = {"table": table, "done": f"{done:,}", "total": f"{total:,}", "percent": 100 * done // max(total, 1)}
        rate = self._done / elapsed_s if elapsed_s >= RATE_FROM_S else 0.0
        if not rate:
            return t("cli.progress.begun", "", **values)
        left = span((total - done) / rate * 1000)
        return t("cli.progress.line", "", rate=f"{round(rate):,}", left=left, **values)

    @property
    def elapsed_ms(self) -> int:
        """Since it began."""
        return round((time.monotonic() - self._began_s) * 1000)

    def end(self) -> None:
        """Take away the line that stands."""
        if self._stands:
            sys.stderr.write(CLEAR_LINE)
            sys.stderr.flush()
            self._stands = False

    def _show(self, line: str) -> None:
        if not self._is_on_terminal:
            note(line)
            return
        sys.stderr.write(f"{CLEAR_LINE}{cut(line, width_of(sys.stderr) - 1)}")  # what wraps is not cleared
        sys.stderr.flush()
        self._stands = True
