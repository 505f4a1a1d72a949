"""The costs of a day as a Cloudflare Worker: one daemon, 50 tasks, counted in a real workerd under a moved clock.

    python -m bench.worker_day [--hours 24]

Prints the table of docs/cloudflare.md. Requests, settings of the alarm and rows are counted; duration is an upper
bound, because a daemon's long poll keeps the object awake all day.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.cloudflare.place import make_place
from tests.cloudflare.workerd import Workerd, understudy
from tests.project.tree import ROOT

THERE = ROOT / "tests" / "cloudflare"
HOUR_S = 3_600
BELLS = "settings of the alarm"  # a row each (Cloudflare)
GB = 0.128  # billed for an object, whatever it uses (Cloudflare's pricing)
FREE_ROWS, FREE_REQUESTS, FREE_GB_S = 100_000, 100_000, 13_000  # a day, of the free plan (the same)
KINDS = ("heartbeat", "poll", "task", "result", "alarm")
SHOWN = {"heartbeat": "heartbeats, one each 10 s", "poll": "long polls of 15 s", "task": "tasks submitted"}
SHOWN |= {"result": "results delivered", "alarm": "rings of the alarm"}


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--hours", type=int, default=24)
    hours = options.parse_args().hours
    print("\n".join(table(counted(hours), hours)))


def counted(parts: int, part_s: int = HOUR_S) -> dict[str, Counter[str]]:
    """Requests and rows by kind, in so many parts of a day; an object may be put away between them."""
    with tempfile.TemporaryDirectory() as folder:
        modules = {"worker.py": THERE / "day_worker.py", "tests/cloudflare/day.py": THERE / "day.py"}
        worker = Workerd(make_place(), Path(folder), {**modules, **dict(understudy())})
        worker.start()
        found = {"requests": Counter[str](), "rows": Counter[str]()}
        try:
            for part in range(parts):
                status, body = worker.ask("GET", f"/day/{part * part_s}/{part_s}")
                assert status == 200, worker.said()[-3000:]
                for name, counts in json.loads(body).items():
                    found[name].update(counts)
        finally:
            worker.stop()
    return found


def table(found: Mapping[str, Counter[str]], hours: int = 24) -> Iterator[str]:
    """The table, and the arithmetic below it."""
    requests, rows, bells = found["requests"], found["rows"], found["rows"][BELLS]
    yield "| in a day | requests | rows written | rows each |"
    yield "|---|---|---|---|"
    for kind in KINDS:
        count, written = requests.get(kind, 0), rows.get(kind, 0)
        yield f"| {SHOWN[kind]} | {count:,} | {written:,} | {written / max(count, 1):.1f} |"
    all_requests, all_rows = sum(requests.values()), sum(rows.values())
    yield f"| settings of the alarm, a row each | | {bells:,} | 1 |"
    yield f"| **all** | **{all_requests:,}** | **{all_rows:,}** | |"
    yield f"| the free plan has | {FREE_REQUESTS:,} | {FREE_ROWS:,} | |"
    yield f"| used | {all_requests / FREE_REQUESTS:.0%} | {all_rows / FREE_ROWS:.0%} | |"
    yield ""
    seconds = hours * HOUR_S
    duration = seconds * GB
    yield (
        f"Duration: {seconds:,} s × {GB} GB = {duration:,.0f} GB-s of the {FREE_GB_S:,} that the free plan has a day"
        f" ({duration / FREE_GB_S:.0%}), however many daemons there are."
    )


if __name__ == "__main__":
    main()
