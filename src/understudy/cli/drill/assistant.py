"""The assistant of the drill's daemon, held up at will: `python -P -m understudy.cli.drill.assistant GATE`.

It answers in capitals. A prompt that begins with `wait` is answered once the file GATE is there; while it waits, its
process id stands in `GATE.pid`. On the standard library alone: it starts with each task.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

WAITS = "wait"
WAIT_S_MAX = 60.0


def main(gate: Path) -> int:
    """Answer what comes on stdin → exit code."""
    prompt = sys.stdin.read()
    if prompt.startswith(WAITS):
        os.umask(0o077)
        gate.with_suffix(".pid").write_text(str(os.getpid()))
        until = time.monotonic() + WAIT_S_MAX
        while not gate.exists():
            if time.monotonic() > until:
                return 1
            time.sleep(0.02)
    sys.stdout.write(prompt.upper())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
