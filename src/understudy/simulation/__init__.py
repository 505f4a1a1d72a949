"""The proof by simulation: the real loops and the real hub under a virtual clock, a bad network and an oracle.

Law: one seed decides everything, so a failure is replayed by its number; the oracle knows only what was sent,
what was answered and what time it was, never the hub's rules. Absent: threads, sockets, files, real time (but
for the speed that is shown at the end).
"""

from __future__ import annotations

from understudy.simulation.campaign import verify

__all__ = ["verify"]
