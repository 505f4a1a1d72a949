"""A scrape as Prometheus makes it: with a Bearer key, read by prometheus-client's own parsers."""

from __future__ import annotations

import http.client
from typing import Any, NamedTuple

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from tests.api.hubs import Hub
from tests.api.wire import OWNER

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"


class Page(NamedTuple):
    """What came back, as bytes."""

    status: int
    headers: dict[str, str]
    body: bytes


def asked(hub: Hub, *, key: str | None = OWNER, method: str = "GET", path: str = "/metrics", **headers: str) -> Page:
    """One request; `accept_encoding="gzip"` is a header."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if key is not None:
        sent["Authorization"] = f"Bearer {key}"
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=30)
    try:
        connection.request(method, path, headers=sent)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Page(response.status, found, response.read())
    finally:
        connection.close()


class Scrape:
    """The samples of one page."""

    def __init__(self, text: str, *, is_openmetrics: bool = False) -> None:
        families: Any = (openmetrics_families if is_openmetrics else text_families)(text)
        self.text = text
        self.types: dict[str, str] = {}
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in families:
            suffix = "_total" if family.type == "counter" else ""
            self.types[family.name.removesuffix(suffix) + suffix] = family.type
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in self.samples, key
                self.samples[key] = sample.value

    def value(self, name: str, **labels: str) -> float:
        return self.samples[name, frozenset(labels.items())]

    def of(self, name: str, label: str) -> dict[str, float]:
        """Every sample of a metric by the value of its label; those that are 0 are left out."""
        found = {dict(labels)[label]: value for (sample, labels), value in self.samples.items() if sample == name}
        return {word: value for word, value in found.items() if value}

    def names(self) -> set[str]:
        return {name for name, _ in self.samples}


def scrape(hub: Hub) -> Scrape:
    page = asked(hub)
    assert page.status == 200, page.body
    return Scrape(page.body.decode())
