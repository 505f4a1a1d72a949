"""The table of metrics as docs/metrics.md shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from understudy.api.metrics.table import OF_PROCESS, OF_STORE, OF_SYSTEM, Metric

HEAD = ("| Metric | Type | Unit | Meaning | Labels |", "|---|---|---|---|---|")


def table() -> str:
    """Three parts: of the process, of the store, of the system."""
    system = [f"| `{name}` | {kind} | {unit} | {meaning} | |" for name, kind, unit, meaning in OF_SYSTEM]
    parts = (
        ("Process: counted since its start", _rows(OF_PROCESS)),
        ("Store: read at each scrape", _rows(OF_STORE)),
        ("The process as the system sees it (Linux; by prometheus-client)", system),
    )
    return "\n\n".join("\n".join((f"### {title}", "", *HEAD, *rows)) for title, rows in parts)


def _rows(metrics: Iterable[Metric]) -> Iterator[str]:
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        labels = f"{labels}: {metric.words}" if labels and metric.words else labels or metric.words
        yield f"| `{metric.name}` | {metric.kind} | {metric.unit} | {metric.meaning} | {labels} |"
