"""Every core is busy with tasks: the beats keep their interval (reported; the bound is generous)."""

from __future__ import annotations

import itertools
import os
import sys
import time

import pytest

from tests.daemon.fake_hub import FakeHub
from tests.daemon.live import living as daemon_living

INTERVAL_S = 2.0
LATE_S_MAX = 2.0
BURN = """
import os, time
for _ in range({forks}): os.fork()
end = time.monotonic() + {s}
while time.monotonic() < end: pass
"""


@pytest.mark.soak
def test_beats_keep_their_interval_while_every_core_is_busy(tmp_path, report):
    seconds = 40
    cores = os.cpu_count() or 1
    forks = max(2, (2 * cores - 1).bit_length())  # at least two busy processes for each core
    hub = FakeHub()
    hub.next_s = INTERVAL_S
    command = (sys.executable, "-c", BURN.format(forks=forks, s=seconds))
    try:
        with daemon_living(hub.url, tmp_path, *command, heartbeat_interval_ms=int(INTERVAL_S * 1000), drain_ms=0):
            hub.submit("t1")
            began = time.monotonic()
            while "t1" not in hub.results and time.monotonic() - began < seconds + 30:
                time.sleep(0.5)  # the passing of time is what is tested
    finally:
        hub.close()
    busy = [
        seen.at_s for seen in hub.seen if seen.path.endswith("/heartbeat") and began + 2 < seen.at_s < began + seconds
    ]
    gaps = sorted(later - earlier for earlier, later in itertools.pairwise(busy))
    assert len(gaps) > seconds / INTERVAL_S / 2
    late = max(0.0, gaps[-1] - INTERVAL_S)
    load = f"{len(gaps)} beats on {cores} cores with {2**forks} busy processes"
    report(f"{load}: longest interval {gaps[-1]:.3f} s of {INTERVAL_S:g} s")
    assert late < LATE_S_MAX
