"""The signals of a program of ours: one that was ignored when it was started stays ignored.

`nohup understudy daemon &` ignores SIGHUP so that the daemon outlives its terminal; a shell without job control and
many build servers ignore SIGINT of what they start in the background. POSIX programs leave both alone.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable

ALWAYS = frozenset({signal.SIGTERM})  # how every supervisor ends a program: never ignored by us


def heeded(numbers: Iterable[signal.Signals]) -> tuple[signal.Signals, ...]:
    """Those of them that nobody asked us to ignore; to be asked before any handler is installed."""
    return tuple(n for n in numbers if n in ALWAYS or signal.getsignal(n) is not signal.SIG_IGN)
