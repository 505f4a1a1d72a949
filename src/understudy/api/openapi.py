"""OpenAPI 3.1, made from the table of endpoints and the types of `wire`."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from understudy.api.daemons import DAEMON_ID_CHARS_MAX
from understudy.api.endpoint import Endpoint
from understudy.api.tasks import DEDUP_CHARS_MAX
from understudy.wire.answers.base import ErrorAnswer
from understudy.wire.answers.health import HealthAnswer, ReadyAnswer
from understudy.wire.limits import ID_PATTERN

_PARAMETER = re.compile(r"\{(\w{1,40})(?::path)?\}")
_WORDS = {
    400: "The body or a parameter is wrong; `details` names each field",
    401: "No key, or a wrong one",
    403: "The key may not do this, or the caller does not hold the lease",
    404: "There is nothing of that name",
    409: "The state of things does not allow it; `code` says why",
    413: "The body is too large",
    422: "The same idempotency key or id with another body",
    429: "Over the rate limit",
    503: "The store or the hub cannot answer now",
    507: "There is no room for more; `code` says which bound it is",
}
_STREAM = {"text/event-stream": {"schema": {"type": "string", "description": "The data of each event is an EventJson"}}}
_IN_PATHS: dict[str, dict[str, Any]] = {  # what is no id
    "daemon_id": {"type": "string", "minLength": 1, "maxLength": DAEMON_ID_CHARS_MAX},
    "user_id": {"type": "string"},
}
_IDEMPOTENCY_KEY = ("Idempotency-Key", {"type": "string", "maxLength": DEDUP_CHARS_MAX})
_LAST_EVENT_ID = ("Last-Event-ID", {"type": "string"})
PUBLIC = (  # path, summary, the shape of the answer, and with which statuses it comes
    ("/health", "Whether the hub runs", HealthAnswer, (200,)),
    ("/ready", "Whether it can do its work now", ReadyAnswer, (200, 503)),
)


def openapi_of(endpoints: tuple[Endpoint, ...], version: str) -> dict[str, Any]:
    """The document that `/openapi.json` shows."""
    shapes: set[type[Any]] = {shape for e in endpoints for shape in (e.shape, *e.answer) if shape is not None}
    shapes |= {ErrorAnswer, *(shape for _, _, shape, _ in PUBLIC)}
    _, components = msgspec.json.schema_components(
        sorted(shapes, key=_name), ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(_PARAMETER.sub(r"{\1}", endpoint.path), {})[endpoint.method.lower()] = _operation(endpoint)
    for path, summary, shape, statuses in PUBLIC:
        paths[path] = {"get": _public(path, summary, shape, statuses)}
    paths["/metrics"] = {"get": _metrics()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "understudy", "version": version, "license": {"name": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"key": []}, {"bearer": []}],
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "description": f"Scopes: {', '.join(endpoint.scopes)}",
        "operationId": f"{endpoint.method.lower()}{_PARAMETER.sub(r'by_', endpoint.path).replace('/', '_')}",
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint), *_headers(endpoint)],
        "responses": _responses(endpoint),
    }
    if endpoint.shape is not None:
        operation["requestBody"] = {"required": endpoint.needs_body, "content": _json_of((endpoint.shape,))}
    return operation


def _public(path: str, summary: str, shape: type[Any], statuses: tuple[int, ...]) -> dict[str, Any]:
    return {
        "summary": summary,
        "description": "Needs no key",
        "operationId": f"get{path.replace('/', '_')}",
        "parameters": [],
        "responses": {str(status): {"description": "Done", "content": _json_of((shape,))} for status in statuses},
        "security": [],
    }


def _metrics() -> dict[str, Any]:
    """The one page with a key whose answer is no JSON; its errors are."""
    text = {"schema": {"type": "string"}}
    content = {"text/plain": text, "application/openmetrics-text": text}
    failures = {str(s): {"description": _WORDS[s], "content": _json_of((ErrorAnswer,))} for s in (401, 403, 429)}
    return {
        "summary": "The hub in numbers, for Prometheus",
        "description": "Scopes: read",
        "operationId": "get_metrics",
        "parameters": [],
        "responses": {"200": {"description": "Done", "content": content}, **failures},
    }


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": _IN_PATHS.get(name, {"type": "string", "pattern": ID_PATTERN}),
        }
        for name in _PARAMETER.findall(endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [{"name": name, "in": "query", "required": False, "schema": dict(schema)} for name, schema in endpoint.query]


def _headers(endpoint: Endpoint) -> list[dict[str, Any]]:
    read = [_IDEMPOTENCY_KEY] * endpoint.is_keyed + [_LAST_EVENT_ID] * endpoint.follows
    return [{"name": name, "in": "header", "required": False, "schema": schema} for name, schema in read]


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    statuses = (200, 201) if callable(endpoint.status) else (endpoint.status,)
    content = _json_of(endpoint.answer) | (_STREAM if endpoint.follows else {})
    responses: dict[str, Any] = {str(status): {"description": "Done", "content": content} for status in statuses}
    failures = {400, 401, 403, 413, 429, 503, *endpoint.errors}
    for status in sorted(failures):
        responses[str(status)] = {"description": _WORDS[status], "content": _json_of((ErrorAnswer,))}
    return responses


def _json_of(shapes: tuple[type[Any], ...]) -> dict[str, Any]:
    """JSON of one of these shapes."""
    references = [{"$ref": f"#/components/schemas/{_name(shape)}"} for shape in shapes]
    return {"application/json": {"schema": references[0] if len(references) == 1 else {"oneOf": references}}}


def _name(shape: type[Any]) -> str:
    return shape.__name__
