"""The CPU that the hub's import takes in a Worker: in a real workerd, and in this Python beside it.

    python -m bench.worker_start [--rounds 3]

CPU of the thread that runs Python there, not time: other programs on the machine stretch it less. What is read into a
Worker is source, so it is compiled at each start; in this Python the compiled files are there. Pyodide's own start is
the yardstick: on a quiet machine it took 3.4 to 4.3 s (2026-11-22).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from tests.cloudflare.compiled import compiled
from tests.cloudflare.place import make_place
from tests.cloudflare.workerd import Workerd, understudy
from tests.project.tree import ROOT

HUB = "understudy.cloudflare.javascript"  # the hub and its bridge: what the object imports with its first event
HERE = ("understudy.cloudflare.hub_object", "understudy.cloudflare.exchange", "understudy.cloudflare.fetching")
HERE += ("understudy.store.durable",)  # the same without what exists in a Worker only
ENTRY = "understudy.cloudflare.entry"  # what an upload runs
_SELF = (
    "import sys, time; a = time.process_time(); [__import__(m) for m in sys.argv[1:]]; print(time.process_time() - a)"
)


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    rounds = options.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        compiled_modules = compiled(make_place(), Path(folder))
        there = [_there() for _ in range(rounds)]
        compiled_there = [_there(compiled_modules) for _ in range(rounds)]
    print(f"| CPU, median of {rounds} | s | modules |\n|---|---|---|")
    for name, at in (("Pyodide's start", 0), ("the entry, at the upload", 1), ("the hub, with its first event", 2)):
        print(f"| workerd: {name} | {median(run[at][0] for run in there):.2f} | {there[0][at][1] or ''} |")
    print(f"| workerd: the hub, compiled | {median(run[2][0] for run in compiled_there):.2f} | {there[0][2][1]} |")
    print(f"| CPython: the hub | {median(_here() for _ in range(rounds)):.2f} | |")


def _there(modules: Mapping[str, Path] | None = None) -> tuple[tuple[float, int], ...]:
    """CPU seconds and modules of workerd's start, of the entry and of the hub; `modules`: what compile.mjs made."""
    is_compiled = modules is not None
    with tempfile.TemporaryDirectory() as folder:
        every = {"worker.py": ROOT / "tests" / "cloudflare" / "import_worker.py", **(modules or dict(understudy()))}
        worker = Workerd(make_place(), Path(folder), every, starts_from_snapshot=is_compiled, wheels=not is_compiled)
        worker.start()
        try:
            started_s = _cpu_s(worker.pid)
            found = [(started_s, 0)]
            for module in (ENTRY, HUB):
                before_s = _cpu_s(worker.pid)
                status, body = worker.ask("GET", f"/import/{module}")
                assert status == 200, worker.said()[-2000:]
                found.append((_cpu_s(worker.pid) - before_s, json.loads(body)["modules"]))
        finally:
            worker.stop()
    return tuple(found)


def _cpu_s(pid: int) -> float:
    """User and system time of the main thread, which runs the Worker (proc(5))."""
    fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _here() -> float:
    done = subprocess.run([sys.executable, "-c", _SELF, *HERE], capture_output=True, text=True, check=True)
    return float(done.stdout)


if __name__ == "__main__":
    main()
