"""What docs/performance.md shows: ten figures that matter first, one plot, then everything."""

from __future__ import annotations

import html
from collections.abc import Sequence

from bench.figures import Figure, number, table

FIRST = (  # the script, the beginning of what it measured, and how a reader calls it
    ("heartbeats", "durable heartbeats, full body, 64 connections, 1,000 tasks", "heartbeats, 64 connections"),
    ("cycles", "durable claim + result cycles, 64 connections, 1,000 tasks", "claim + result, 64 connections"),
    (
        "batches",
        "durable cycles in batches of 50, 16 connections, 1,000 tasks",
        "the same in batches of 50, 16 connections",
    ),
    ("enqueue", "acknowledged enqueue, 1 connection, 1,000 tasks, p99", "a task accepted and on disk, p99"),
    (
        "pickup",
        "enqueue sent → task in the hands of an idle long poll, 1,000 tasks",
        "sent → in the hands of a daemon, p99",
    ),
    ("heartbeats", "durable heartbeats, full body, 64 connections: cost", "a heartbeat's cost with 1,000,000 tasks"),
    ("many_daemons", "a heartbeat's cost with", "a heartbeat's cost with 100,000 daemons"),
    ("alarm", "late after its deadline, 1,000 daemons, idle", "silence → late, after the deadline, p99"),
    ("rescue", "daemon killed (SIGKILL), another one idle", "daemon killed → its task runs on another"),
    ("memory", "resident memory, idle hub", "memory of an idle hub"),
)
PLOTTED = (
    ("durable heartbeats, full body", "heartbeats", 0.3),
    ("durable claim + result cycles", "claim + result", 0.08),
    ("acknowledged enqueues", "enqueues", 0.0),
)
CONNECTIONS = (1, 16, 64)
KEY = "requests a second beside a bare application; red: the least that is asked for"
LEFT, BAR, ROW, WIDTH = 190, 16, 22, 640
CSS = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.q{fill:#57606a}.bar{fill:#2f9468}"
    ".limit{stroke:#cf372d;stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.q{fill:#9198a1}.bar{fill:#3fae7d}.limit{stroke:#ef6a5f}}"
)


def page_part(figures: Sequence[Figure], sentence: str, picture: str) -> str:
    """The ten figures (those that were measured), the plot, and the whole table, folded."""
    parts = [*_first(figures), "", sentence, "", f"![Rates beside a bare application]({picture})", ""]
    return "\n".join([*parts, "<details><summary>Every figure</summary>", "", table(figures), "", "</details>"])


def _first(figures: Sequence[Figure]) -> list[str]:
    lines = ["| what | measured (median) | target | holds |", "|---|---|---|---|"]
    for subject, begin, name in FIRST:
        for figure in figures:
            if figure.subject == subject and figure.what.startswith(begin):
                lines.append(_line(name, figure))
                break
    return lines


def _line(name: str, figure: Figure) -> str:
    beside = f", {number(sorted(figure.ratios)[len(figure.ratios) // 2])} × bare" if figure.bare else ""
    holds = "" if figure.holds is None else "yes" if figure.holds else "**no**"
    return f"| {name} | {number(figure.median)} {figure.unit.strip()}{beside} | {figure.target} | {holds} |"


def plot(figures: Sequence[Figure]) -> str:
    """An SVG: rates beside the bare application by number of connections, with the limits that the design sets."""
    rows: list[str] = []
    y = 0
    for begin, name, limit in PLOTTED:
        for connections in CONNECTIONS:
            ratio = _ratio(figures, begin, connections)
            if ratio is not None:
                is_judged = limit > 0 and connections == max(CONNECTIONS)
                rows.append(_bar(y, f"{name}, {connections} at once", ratio, limit if is_judged else 0.0))
                y += ROW
        y += ROW // 2
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 20}" role="img">'
    key = f'<text class="q" x="0" y="{y + 12}">{KEY}</text>'
    title = f"<title>{KEY}</title>"
    return "\n".join([head, title, f"<style>{CSS}</style>", *rows, key, "</svg>", ""])


def _ratio(figures: Sequence[Figure], begin: str, connections: int) -> float | None:
    wanted = f"{begin}, {connections} connection{'s' * (connections > 1)}, 1,000 tasks"
    found = [sorted(figure.ratios) for figure in figures if figure.what == wanted and figure.bare]
    return found[0][len(found[0]) // 2] if found else None


def _bar(y: int, name: str, ratio: float, limit: float) -> str:
    scale = (WIDTH - LEFT - 70) / 0.5  # half of what the bare application does fills the width
    width = min(ratio, 0.5) * scale
    x = LEFT + limit * scale
    mark = f'<line class="limit" x1="{x:.0f}" x2="{x:.0f}" y1="{y}" y2="{y + BAR + 2}"/>' if limit else ""
    return (
        f'<text x="0" y="{y + 13}">{html.escape(name)}</text>'
        f'<rect class="bar" x="{LEFT}" y="{y + 1}" width="{width:.0f}" height="{BAR}" rx="3"/>{mark}'
        f'<text class="q" x="{LEFT + max(width, limit * scale) + 8:.0f}" y="{y + 13}">{ratio:.2f}</text>'
    )
