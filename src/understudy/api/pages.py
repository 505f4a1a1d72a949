"""The pages that need no key: the OpenAPI document and its page."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from html import escape
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from understudy.api.context import Api
from understudy.api.endpoint import Endpoint
from understudy.api.openapi import openapi_of
from understudy.texts import t


def page_routes(api: Api, endpoints: tuple[Endpoint, ...]) -> list[Route]:
    """The public routes."""
    if not api.publishes_docs:
        return []
    document = cache(lambda: openapi_of(endpoints, api.hub.version))  # made when it is first asked for
    return [Route("/openapi.json", _openapi(document)), Route("/docs", _docs(document))]


def _openapi(document: Callable[[], dict[str, Any]]) -> Any:
    async def openapi(_: Request) -> Response:
        return Response(msgspec.json.encode(document()), media_type="application/json")

    return openapi


def _docs(document: Callable[[], dict[str, Any]]) -> Any:
    async def docs(_: Request) -> Response:
        return HTMLResponse(_page(document()))

    return docs


def _page(document: dict[str, Any]) -> str:
    rows = "\n".join(
        f"<tr><td><code>{method.upper()}</code></td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(operation['summary'])}</td></tr>"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>understudy API</title>"
        "<style>body{font:16px system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "td{padding:.3rem .8rem .3rem 0;vertical-align:top}</style>"
        f"<h1>understudy {escape(document['info']['version'])}</h1>"
        f"<p>{escape(t('api.docs_intro'))} <a href=openapi.json>openapi.json</a></p><table>{rows}</table></html>"
    )
