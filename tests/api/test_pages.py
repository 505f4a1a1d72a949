"""Section 3 and 4: health, readiness, OpenAPI, the page of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema_rs
import pytest

from tests.api.hubs import HOUR, Hub
from tests.api.rows import NAMES, ROWS, Row
from tests.api.schemas import check_page
from tests.api.wire import at

PARAMETERS = {
    "x1": "task_id",
    "mini": "daemon_id",
    "key-1": "key_id",
    "session-1": "session_id",
    "incident-1": "incident_id",
    "n1": "notice_id",
    "u1": "user_id",
}


def document(hub: Hub) -> Any:
    return hub.get("/openapi.json", key=None).of(200)


def template(path: str) -> str:
    return "/".join(f"{{{PARAMETERS[word]}}}" if word in PARAMETERS else word for word in path.split("/"))


def every(node: Any, key: str) -> Iterator[Any]:
    if isinstance(node, dict):
        if key in node:
            yield node[key]
        for value in node.values():
            yield from every(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from every(value, key)


def test_health_needs_no_key(hub: Hub) -> None:
    started_at = hub.now
    hub.clock.advance(5000)
    health = hub.get("/health", key=None).of(200)
    assert health == {"status": "ok", "version": "9.9.9", "startedAt": health["startedAt"]}
    assert at(health["startedAt"]) == started_at


def test_ready_needs_no_key_and_tells_how_it_is(hub: Hub) -> None:
    hub.advance(1000)
    ready = hub.get("/ready", key=None).of(200)
    assert ready["ready"] is True
    assert ready["store"]["writable"] is True
    assert ready["store"]["commitMs"] >= 0
    assert ready["alarm"]["lagMs"] >= 0
    assert at(ready["alarm"]["nextAt"]) >= hub.now
    assert ready["outbox"]["oldestSec"] == 0


def test_what_needs_no_key_is_described_too(shared_hub: Hub) -> None:
    for path in ("/health", "/health?detailed=true", "/ready"):
        answer = shared_hub.get(path, key=None)
        check_page(path.partition("?")[0], answer.status, answer.body)


def test_an_alarm_that_rings_no_more_is_not_ready(hub: Hub) -> None:
    hub.advance(1000)
    hub.clock.advance(HOUR)
    answer = hub.get("/ready", key=None)
    assert answer.status == 503
    check_page("/ready", 503, answer.body)
    hub.advance(1000)
    hub.get("/ready", key=None).of(200)


def test_the_document_is_openapi_3_1_of_this_version(shared_hub: Hub) -> None:
    shown = document(shared_hub)
    assert shown["openapi"].startswith("3.1.")
    assert shown["info"]["version"] == "9.9.9"
    assert shown["info"]["title"]


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_every_row_is_documented(shared_hub: Hub, row: Row) -> None:
    operation = document(shared_hub)["paths"][template(row.path)][row.method.lower()]
    assert operation["summary"]
    declared = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
    assert declared == set(re.findall(r"{(\w+)}", template(row.path)))
    assert {"401", "503"} <= operation["responses"].keys()
    assert any(status.startswith("2") for status in operation["responses"])


def test_nothing_else_is_documented(shared_hub: Hub) -> None:
    rows = {(row.method.lower(), template(row.path)) for row in ROWS}
    shown = {(method, path) for path, methods in document(shared_hub)["paths"].items() for method in methods}
    assert shown - rows == {("get", "/health"), ("get", "/ready"), ("get", "/metrics")}


def test_its_schemas_are_valid_and_every_reference_leads_somewhere(shared_hub: Hub) -> None:
    shown = document(shared_hub)
    schemas = shown["components"]["schemas"]
    for schema in schemas.values():
        jsonschema_rs.Draft202012Validator(schema | {"components": shown["components"]})
    for reference in every(shown, "$ref"):
        assert reference.removeprefix("#/components/schemas/") in schemas
    ids = list(every(shown["paths"], "operationId"))
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("row", [row for row in ROWS if isinstance(row.body, dict)], ids=lambda row: row.path)
def test_what_the_hub_accepts_is_valid_by_its_document(shared_hub: Hub, row: Row) -> None:
    shown = document(shared_hub)
    operation = shown["paths"][template(row.path)][row.method.lower()]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    validator = jsonschema_rs.Draft202012Validator(schema | {"components": shown["components"]})
    assert validator.is_valid(row.body)
    assert not validator.is_valid([])


def test_there_is_a_page_of_it(shared_hub: Hub) -> None:
    page = shared_hub.get("/docs", key=None)
    page.of(200)
    assert page.headers["content-type"].startswith("text/html")
    assert "/api/queue/claim" in page.text


def test_both_can_be_switched_off(start_hub: Callable[..., Hub]) -> None:
    hub = start_hub(publishes_docs=False)
    for path in ("/openapi.json", "/docs"):
        hub.get(path, key=None).of(401)
        hub.get(path).of(404)
    hub.get("/health", key=None).of(200)
