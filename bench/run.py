"""The table of speeds: `bench/run.py [NAMES] [--json] [--quick] [--write]`; without names, everything.

Each subject is one file with `measure(plan)`. `--write` puts the tables of what was measured into docs/performance.md.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import msgspec  # noqa: E402

from bench.figures import Figure, Plan, conditions, table  # noqa: E402
from bench.report import page_part, plot  # noqa: E402

SUBJECTS = (
    "heartbeats",
    "cycles",
    "batches",
    "enqueue",
    "pickup",
    "many_daemons",
    "waiting",
    "alarm",
    "rescue",
    "start",
    "memory",
    "metrics",
    "pages",
    "commands",
    "many_hubs",
    "many_rows",
)
SHARED = ("many_hubs", "many_rows")  # these have a table of their own
PAGE = ROOT / "docs" / "performance.md"
PICTURE = "pictures/performance.svg"
BEGIN, END = "<!-- table: make bench ARGS=--write -->", "<!-- end of table -->"
BEGIN_SHARED = '<!-- table: make bench ARGS="many_hubs --write" -->'


def main() -> int:
    """Measure, print; 1 if a subject broke, 0 otherwise (a target that is missed is printed, not an error)."""
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SUBJECTS))
    parser.add_argument("--json", action="store_true", help="one JSON object a figure")
    parser.add_argument("--quick", action="store_true", help="one short round, small stores: to see that it runs")
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance.md")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in SUBJECTS]
    if unknown:
        parser.error(f"no subject {unknown[0]!r}: {', '.join(SUBJECTS)}")
    figures: list[Figure] = []
    broken = 0
    with tempfile.TemporaryDirectory(prefix="understudy-bench-", ignore_cleanup_errors=True) as folder:
        plan = _plan(Path(folder), asked)
        for name in asked.names or SUBJECTS:
            try:
                figures += _measured(name, plan, is_quiet=asked.json)
            except (RuntimeError, OSError, AssertionError) as trouble:
                broken += 1
                print(f"── {name} broke: {trouble}", file=sys.stderr)
        _show(figures, plan, as_json=asked.json)
    if asked.write:
        _write(figures, plan)
    return 1 if broken else 0


def _plan(folder: Path, asked: argparse.Namespace) -> Plan:
    if asked.quick:
        return Plan(folder, 1, 1.0, (64,), is_quick=True, tasks_many=20_000, daemons_many=10_000)
    return Plan(folder, asked.rounds)


def _measured(name: str, plan: Plan, *, is_quiet: bool) -> list[Figure]:
    started = time.monotonic()
    print(f"── {name}", file=sys.stderr, flush=True)
    figures = list(importlib.import_module(f"bench.{name}").measure(plan))
    print(f"   {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    if not is_quiet:
        print(table(figures), file=sys.stderr, flush=True)
    return figures


def _show(figures: list[Figure], plan: Plan, *, as_json: bool) -> None:
    if as_json:
        for figure in figures:
            print(msgspec.json.encode(figure).decode())
    else:
        print(f"{table(figures)}\n\n{conditions(plan, figures)}")


def _write(figures: list[Figure], plan: Plan) -> None:
    """Put each table in its place; one of which nothing was measured stays as it is."""
    page = PAGE.read_text("utf-8")
    for begin, is_shared in ((BEGIN, False), (BEGIN_SHARED, True)):
        found = [figure for figure in figures if (figure.subject in SHARED) == is_shared]
        if found:
            head, _, rest = page.partition(begin)
            _, _, tail = rest.partition(END)
            page = f"{head}{begin}\n{_shown(found, plan, is_shared=is_shared)}\n{END}{tail}"
    PAGE.write_text(page, "utf-8")


def _shown(figures: list[Figure], plan: Plan, *, is_shared: bool) -> str:
    sentence = conditions(plan, figures)
    if is_shared:
        return f"{table(figures)}\n\n{sentence}"
    (PAGE.parent / PICTURE).write_text(plot(figures), "utf-8")
    return page_part(figures, sentence, PICTURE)


if __name__ == "__main__":
    sys.exit(main())
