"""What endpoints read of a request (path, query, headers, body) stands in the hub's document, and as they take it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from urllib.parse import quote

import jsonschema_rs
import pytest

from tests.api.hubs import Hub
from tests.api.rows import NAMES, ROWS, Row
from tests.api.schemas import endpoint_of
from tests.api.wire import ADMIN
from understudy.api.app import ENDPOINTS
from understudy.api.endpoint import Endpoint, Request
from understudy.api.endpoint_app import EndpointApp
from understudy.api.openapi import openapi_of

PATHS = openapi_of(ENDPOINTS, "1")["paths"]
WORDS = ("a", "a" * 128, "a" * 129, "a" * 256, "a" * 257, "two words", "マシン", "a:b_c.d-e", "a?b", "a%b", "a\n")


class Noted(dict[str, str]):
    """A query that notes which of its names are asked for."""

    def __init__(self, given: dict[str, str], names: set[str]) -> None:
        super().__init__(given)
        self._names = names

    def get(self, name: str, *default: Any) -> Any:
        self._names.add(name)
        return super().get(name, *default)

    def __getitem__(self, name: str) -> str:
        self._names.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self._names.add(str(name))
        return super().__contains__(name)


def name_of(one: Endpoint) -> str:
    return f"{one.method} {one.path}"


def endpoint(row: Row) -> Endpoint:
    known = endpoint_of(row.method, row.path)
    assert known is not None
    return known.endpoint


def operation_of(row: Row) -> Any:
    return PATHS[endpoint(row).path.replace(":path", "")][row.method.lower()]


def names_of(row: Row, place: str) -> set[str]:
    return {one["name"] for one in operation_of(row)["parameters"] if one["in"] == place}


WITH_BODIES = [row for row in ROWS if "requestBody" in operation_of(row)]
WITH_NAMES = [row for row in ROWS if names_of(row, "path")]


def test_every_name_that_an_endpoint_reads_of_a_query_is_described_and_no_other(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: dict[str, set[str]] = defaultdict(set)
    admitted = EndpointApp._admitted

    def noting(app: EndpointApp, *given: Any) -> Request:
        request = admitted(app, *given)
        request.query = Noted(request.query, read[name_of(app.endpoint)])
        return request

    monkeypatch.setattr(EndpointApp, "_admitted", noting)
    for row in ROWS:
        hub.client.call(row.method, row.path, row.body, key=ADMIN)
    assert read == {name_of(endpoint(row)): names_of(row, "query") for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_the_headers_that_an_endpoint_reads_are_described(row: Row) -> None:
    keyed = {"Idempotency-Key"} if endpoint(row).is_keyed else set()
    assert names_of(row, "header") == keyed | ({"Last-Event-ID"} if endpoint(row).follows else set())


@pytest.mark.parametrize("row", WITH_BODIES, ids=lambda row: row.path)
def test_a_body_is_required_where_the_hub_refuses_a_request_without_one(shared_hub: Hub, row: Row) -> None:
    answer = shared_hub.client.call(row.method, row.path, key=ADMIN)
    assert operation_of(row)["requestBody"]["required"] is (answer.status == 400), answer.text


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("row", WITH_NAMES, ids=lambda row: row.path)
def test_a_name_in_a_path_is_valid_by_the_document_where_the_hub_takes_it(shared_hub: Hub, row: Row, word: str) -> None:
    (schema,) = (one["schema"] for one in operation_of(row)["parameters"] if one["in"] == "path")
    parts = zip(row.path.split("/"), endpoint(row).path.split("/"), strict=True)
    path = "/".join(quote(word, safe="") if place.startswith("{") else part for part, place in parts)
    answer = shared_hub.client.call(row.method, path, row.body, key=ADMIN)
    assert jsonschema_rs.validator_for(schema).is_valid(word) is (answer.status != 400), answer.text
