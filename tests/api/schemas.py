"""The answers' schemas of the hub's own document, stricter than it is published: no key that it does not name."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

import jsonschema_rs

from understudy.api.app import ENDPOINTS
from understudy.api.endpoint import Endpoint
from understudy.api.openapi import openapi_of

# a task comes back with all that its sender gave it
OPEN = {"TaskJson", "TaskRecord", "WholeRecord", "ClaimedTask"}
_PARAMETER = re.compile(r"\{(\w+)(:path)?\}")


class Known(NamedTuple):
    """An endpoint, how its paths look, and what its answers are like, by status."""

    endpoint: Endpoint
    pattern: re.Pattern[str]
    validators: dict[int, Any]


def strict(document: dict[str, Any]) -> dict[str, Any]:
    """The document with closed schemas: clients must bear more keys, its tests must not."""
    components = document["components"]
    schemas = {
        name: schema if name in OPEN or "properties" not in schema else schema | {"additionalProperties": False}
        for name, schema in components["schemas"].items()
    }
    return document | {"components": components | {"schemas": schemas}}


def schema_of(document: dict[str, Any], endpoint: Endpoint, status: int) -> dict[str, Any]:
    """The schema of an answer; KeyError if there is none."""
    operation = document["paths"][endpoint.path.replace(":path", "")][endpoint.method.lower()]
    schema: dict[str, Any] = operation["responses"][str(status)]["content"]["application/json"]["schema"]
    return schema


def statuses_of(endpoint: Endpoint) -> tuple[int, ...]:
    """With which an endpoint may answer, errors aside."""
    return (201, 200) if callable(endpoint.status) else (endpoint.status,)


def undescribed(endpoints: tuple[Endpoint, ...]) -> list[str]:
    """Endpoints whose answer is any object, or nothing, by the document."""
    document = openapi_of(endpoints, "1")
    found = []
    for endpoint in endpoints:
        schemas = [schema_of(document, endpoint, status) for status in statuses_of(endpoint)]
        if not all("$ref" in schema or schema.get("oneOf") for schema in schemas):
            found.append(f"{endpoint.method} {endpoint.path}")
    return found


def known_of(document: dict[str, Any], endpoints: tuple[Endpoint, ...]) -> list[Known]:
    """Each endpoint with validators for its answers."""
    found = []
    for endpoint in endpoints:
        pattern = _PARAMETER.sub(lambda match: ".+" if match[2] else "[^/]+", endpoint.path)
        schemas = {status: schema_of(document, endpoint, status) for status in statuses_of(endpoint)}
        validators = {
            status: jsonschema_rs.validator_for(schema | {"components": document["components"]})
            for status, schema in schemas.items()
        }
        found.append(Known(endpoint, re.compile(f"{pattern}/?"), validators))
    return found


def lenient(document: Any) -> Any:
    """For rows that somebody has spoilt: any word may stand there, and any window of sleep."""
    if isinstance(document, dict):
        kept = {name: value for name, value in document.items() if name != "enum"}
        return {name: {} if name == "SleepWindow" else lenient(value) for name, value in kept.items()}
    return [lenient(value) for value in document] if isinstance(document, list) else document


@cache
def _known(*, is_spoilt: bool) -> list[Known]:
    document = strict(openapi_of(ENDPOINTS, "1"))
    return known_of(lenient(document) if is_spoilt else document, ENDPOINTS)


@cache
def _component(name: str) -> Any:
    document = strict(openapi_of(ENDPOINTS, "1"))
    reference = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return jsonschema_rs.validator_for(reference)


@cache
def _paths() -> Any:
    return openapi_of(ENDPOINTS, "1")["paths"]


def _hold(body: Any, validator: Any, name: str) -> None:
    problems = [f"{error.instance_path}: {error.message[:300]}" for error in validator.iter_errors(body)]
    assert not problems, f"{name}: {problems[:5]} in {str(body)[:600]}"


def check_event(event: Any) -> None:
    """AssertionError if an event of the stream is not as the document says."""
    _hold(event, _component("EventJson"), "event")


def check_error(method: str, path: str, status: int, body: Any) -> None:
    """AssertionError if an error is not as the document says, or comes with a status that it does not name."""
    _hold(body, _component("ErrorAnswer"), f"{method} {path} {status}")
    known = endpoint_of(method, path)
    if known is not None:
        operation = _paths()[known.endpoint.path.replace(":path", "")][method.lower()]
        assert str(status) in operation["responses"], f"{method} {path} {status}: {body}"


def endpoint_of(method: str, path: str, *, is_spoilt: bool = False) -> Known | None:
    """The endpoint that answers a request, as the hub finds it: the first of the table."""
    path = path.partition("?")[0]
    known = _known(is_spoilt=is_spoilt)
    return next((k for k in known if k.endpoint.method == method and k.pattern.fullmatch(path)), None)


def check_answer(method: str, path: str, status: int, body: Any, *, is_spoilt: bool = False) -> None:
    """AssertionError if an answer is not as the document says."""
    known = endpoint_of(method, path, is_spoilt=is_spoilt)
    if known is not None:
        check_body(known, status, body)


def check_page(path: str, status: int, body: Any) -> None:
    """AssertionError if a public page is not as the document says."""
    document = strict(openapi_of(ENDPOINTS, "1"))
    schema = document["paths"][path]["get"]["responses"][str(status)]["content"]["application/json"]["schema"]
    jsonschema_rs.validate(schema | {"components": document["components"]}, body)


def check_body(known: Known, status: int, body: Any) -> None:
    """AssertionError if an answer of this endpoint is not as the document says."""
    name = f"{known.endpoint.method} {known.endpoint.path} {status}"
    assert status in known.validators, f"{name}: not described"
    _hold(body, known.validators[status], name)
