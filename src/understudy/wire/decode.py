"""Bytes to typed bodies, with one clear entry for each field that is wrong."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import msgspec

from understudy.errors import BadRequestError
from understudy.wire.foreign_json import whole
from understudy.wire.nesting import check_nesting

T = TypeVar("T", bound=msgspec.Struct)
_NOT_JSON = "Invalid JSON in request body"
_INVALID = "Validation failed"


@cache
def _decoder(shape: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(shape)


def decode(body: bytes, shape: type[T]) -> T:
    """`body` as `shape`; BadRequestError names every field that does not fit (docs/contract.md, section 1).

    Integral floats such as 60.0 pass as integers; unknown keys are ignored; NUL is refused in every text,
    because not every store can hold it, but becomes U+FFFD in what a daemon says of itself (`heals_nul`): for a detail
    no sign of life is refused. Half a surrogate pair becomes U+FFFD.
    """
    check_nesting(body)
    try:
        return _decoded(body, shape)
    except BadRequestError:
        healed = whole(body)
        if healed == body:
            raise
    return _decoded(healed, shape)


def _decoded(body: bytes, shape: type[T]) -> T:
    try:
        if not body.isascii():
            body.decode()
        if b"\\u0000" in body:
            raw = msgspec.json.decode(body)
            return _by_field(_without_nul(raw) if getattr(shape, "heals_nul", False) else raw, shape)
        decoded: T = _decoder(shape).decode(body)
    except msgspec.ValidationError:
        return _by_field(_parsed(body), shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequestError(_NOT_JSON) from error
    return decoded


@cache
def _fields(shape: type[Any]) -> dict[str, msgspec.structs.FieldInfo]:
    """The fields by their names on the wire; working them out costs more than the rest of a refusal."""
    return {f.encode_name: f for f in msgspec.structs.fields(shape)}


def _parsed(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequestError(_NOT_JSON) from error


def _by_field(raw: Any, shape: type[T]) -> T:
    """Convert field by field, to name all that are wrong; only bad or rare bodies come here."""
    if not isinstance(raw, dict):
        raise BadRequestError(_INVALID, ("body: Expected `object`",))
    problems: list[str] = []
    values: dict[str, Any] = {}
    for wire_name, field in _fields(shape).items():
        if wire_name not in raw:
            if field.required:
                problems.append(f"{wire_name}: Object missing required field")
            continue
        try:
            refuses_nul = field.name not in getattr(shape, "allows_nul", ())
            values[wire_name] = _converted(raw[wire_name], field.type, refuses_nul=refuses_nul)
        except msgspec.ValidationError as error:
            problems.append(f"{wire_name}: {_cleaned(str(error), wire_name)}")
    if problems:
        raise BadRequestError(_INVALID, tuple(problems))
    return msgspec.convert(values, shape)


def _converted(value: Any, hint: Any, *, refuses_nul: bool) -> Any:
    if refuses_nul and _has_nul(value):
        raise msgspec.ValidationError("NUL characters are not accepted")
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError:
        value = _integral(value)
        msgspec.convert(value, hint)
    return value


def _integral(value: Any) -> Any:
    """`value` with integral floats as integers, all the way down."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_integral(item) for item in value]
    if isinstance(value, dict):
        return {key: _integral(item) for key, item in value.items()}
    return value


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, list):
        return any(_has_nul(item) for item in value)
    if isinstance(value, dict):
        return any("\0" in key or _has_nul(item) for key, item in value.items())
    return False


def _cleaned(message: str, wire_name: str) -> str:
    """msgspec's sentence without the part of the path that the entry names already."""
    head, _, path = message.partition(" - at `$")
    path = path.rstrip("`")
    return f"{head} at {wire_name}{path}" if path else head
