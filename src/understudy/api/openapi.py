"""OpenAPI 3.1, made from the table of endpoints and the types of `wire`."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from understudy.api.endpoint import Endpoint
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
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {"type": "string"},
        "code": {"type": "string"},
        "details": {"type": "array", "items": {"type": "string"}},
    },
}


def openapi_of(endpoints: tuple[Endpoint, ...], version: str) -> dict[str, Any]:
    """The document that `/openapi.json` shows."""
    shapes = {shape for e in endpoints for shape in (e.shape, *e.answer) if shape is not None}
    _, components = msgspec.json.schema_components(
        sorted(shapes, key=_name), ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(_PARAMETER.sub(r"{\1}", endpoint.path), {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "understudy", "version": version, "license": {"name": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR},
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
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint)],
        "responses": _responses(endpoint),
    }
    if endpoint.shape is not None:
        operation["requestBody"] = {"required": True, "content": _json_of((endpoint.shape,))}
    return operation


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": ID_PATTERN} if name != "user_id" else {"type": "string"},
        }
        for name in _PARAMETER.findall(endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [{"name": name, "in": "query", "required": False, "schema": dict(schema)} for name, schema in endpoint.query]


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    statuses = (200, 201) if callable(endpoint.status) else (endpoint.status,)
    content = _json_of(endpoint.answer) | ({"text/event-stream": {}} if endpoint.follows else {})
    responses: dict[str, Any] = {str(status): {"description": "Done", "content": content} for status in statuses}
    failures = {400, 401, 403, 413, 429, 503, *endpoint.errors}
    for status in sorted(failures):
        responses[str(status)] = {"description": _WORDS[status], "content": _json_as("Error")}
    return responses


def _json_of(shapes: tuple[type[Any], ...]) -> dict[str, Any]:
    return _json_as(*map(_name, shapes))


def _json_as(*names: str) -> dict[str, Any]:
    """JSON that is like one of these components."""
    references = [{"$ref": f"#/components/schemas/{name}"} for name in names]
    return {"application/json": {"schema": references[0] if len(references) == 1 else {"oneOf": references}}}


def _name(shape: type[Any]) -> str:
    return shape.__name__
