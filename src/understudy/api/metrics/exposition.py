"""The table and the facts → the page, by prometheus-client; imported at the first scrape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from understudy.api.metrics.table import OF_PROCESS, OF_STORE, SECONDS, Metric, ProcessFacts
from understudy.hub.counting import Spread
from understudy.hub.measured import Measured

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def page_of(process: ProcessFacts, measured: Measured | None, *, is_openmetrics: bool) -> bytes:
    """All samples that there are; without a store only those of this process."""
    facts = _Facts(process, measured)
    if is_openmetrics:
        return bytes(generate_openmetrics(facts))  # type: ignore[no-untyped-call]
    return generate_latest(facts)


class _Facts(Collector):
    """The facts of one scrape as prometheus-client reads them."""

    def __init__(self, process: ProcessFacts, measured: Measured | None) -> None:
        self._process = process
        self._measured = measured

    def collect(self) -> Iterator[Any]:
        """One family a metric."""
        yield from (_family(metric, metric.read(self._process)) for metric in OF_PROCESS)
        if self._measured is not None:
            yield from (_family(metric, metric.read(self._measured)) for metric in OF_STORE)
        yield from _process_figures()


def _process_figures() -> list[Any]:
    """CPU, memory and files of this process; none where the system does not tell."""
    try:
        return list(ProcessCollector(registry=None).collect())
    except Exception:  # noqa: BLE001 - it reads /proc as it finds it: a limit that is no number would end the page
        return []


def _family(metric: Metric, found: Iterable[Any] | Spread) -> Any:
    if isinstance(found, Spread):
        return _histogram(metric, found)
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in found:
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, spread: Spread) -> HistogramMetricFamily:
    """Counts up to each bound; what is kept in ms is shown in seconds."""
    unit = 1000 if metric.unit == SECONDS else 1
    bounds = [*(str(bound / unit) for bound in spread.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(spread.counts), strict=True))
    return HistogramMetricFamily(metric.name, metric.meaning, buckets=buckets, sum_value=spread.total / unit)
