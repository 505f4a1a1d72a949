"""Results while the store is full: the task must end, but its result must not fill the disk, so it is cut."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from understudy.wire.tasks import ResultBody

TEXT_BYTES_KEPT = 8_192  # of each text: with as many tasks as a store may hold, still little


def cut_result(body: ResultBody) -> ResultBody:
    """The result with only the beginning and the end of long texts, and without a long list of what was used."""
    usage = body.usage
    if usage and len(msgspec.json.encode(usage)) > TEXT_BYTES_KEPT:
        usage = {name: usage[name] for name in ("costMicroUsd",) if isinstance(usage.get(name), int)}
    return replace(body, output=_ends(body.output), error=_ends(body.error), usage=usage)


def _ends(value: Any) -> Any:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    raw = text.encode()
    if len(raw) <= TEXT_BYTES_KEPT:
        return value
    half = TEXT_BYTES_KEPT // 2
    head, tail = raw[:half].decode(errors="ignore"), raw[-half:].decode(errors="ignore")
    return f"{head}\n… {len(raw) - 2 * half} bytes left out: the hub's store is full …\n{tail}"
