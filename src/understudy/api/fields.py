"""Fields of a query or a form: as many as anybody needs, and larger texts of them are read beside the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import parse_qsl

from understudy.errors import BadRequestError

FIELDS_MAX = 64  # a query of 64 KiB that consists of separators took 24 ms
READ_AT_ONCE_BYTES = 32 << 10
T = TypeVar("T")


def check_fields(raw: bytes, where: str = "query") -> None:
    """BadRequestError if there are more fields than are accepted."""
    if raw.count(b"&") >= FIELDS_MAX:
        raise BadRequestError("Validation failed", (f"{where}: Expected at most {FIELDS_MAX} fields",))


def query_of(raw: bytes) -> dict[str, str]:
    """The fields of a query, the last one of each name. BadRequestError."""
    check_fields(raw)
    return dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True))


def form_of(raw: bytes) -> dict[str, str]:
    """The fields of a form; one that comes more than once has a line for each. BadRequestError."""
    check_fields(raw, "body")
    fields: dict[str, str] = {}
    try:
        for name, value in parse_qsl(raw.decode(), keep_blank_values=True):
            fields[name] = f"{fields[name]}\n{value}" if name in fields else value
    except ValueError as error:
        raise BadRequestError("Validation failed") from error
    return fields


async def beside_loop(size: int, work: Callable[[], T]) -> T:
    """The outcome of `work`, which reads `size` bytes. Where these are many nobody else waits for it."""
    if size <= READ_AT_ONCE_BYTES:
        return work()
    return await asyncio.get_running_loop().run_in_executor(None, work)
