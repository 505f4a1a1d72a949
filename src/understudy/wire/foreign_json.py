r"""JSON that others wrote: half a character in it is replaced, and never spoils the rest.

Node's clients cut texts inside a surrogate pair (`"\ud83d"`), and msgspec then refuses the whole document. What is no
JSON for another reason is refused as ever. A document without such halves is parsed once, as it came.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from understudy.errors import BadRequestError
from understudy.wire.nesting import check_nesting

_REPLACEMENT = rb"\ufffd"  # as long as what it replaces
_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE_ESCAPE = re.compile(rb"%(high)b(?!%(low)b)|(?<!%(high)b)%(low)b" % {b"high": _HIGH, b"low": _LOW})
_LONE_BYTES = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")  # the same as bytes, which are no UTF-8
_HIDDEN = b"\0\0"  # in place of an escaped backslash while we look; in JSON no NUL stands for itself


def whole(raw: bytes) -> bytes:
    """`raw` with U+FFFD in place of each half of a surrogate pair that stands alone; linear."""
    if b"\xed" in raw:
        raw = _LONE_BYTES.sub("\ufffd".encode(), raw)
    if (b"\\ud" not in raw and b"\\uD" not in raw) or b"\0" in raw:
        return raw
    hidden = raw.replace(b"\\\\", _HIDDEN)
    healed = bytearray(hidden)
    for half in _LONE_ESCAPE.finditer(hidden):  # a loop, so that other threads get their turn in between
        healed[half.start() : half.end()] = _REPLACEMENT
    return bytes(healed.replace(_HIDDEN, b"\\\\"))


def object_of(raw: bytes, *, is_from_hub: bool = False) -> dict[str, Any] | None:
    """The JSON object that these bytes are; None if they are none, or hold more levels or values than a request may.

    The parser's call keeps the interpreter: 8 MiB of tiny values take it 0.3 s and 170 MB, and no other thread gets its
    turn. The hub's own answer may be that large: it brings many tasks at once.
    """
    try:
        if not is_from_hub:
            check_nesting(raw)
        found = parsed(raw)
    except (ValueError, BadRequestError):  # ValueError: msgspec's own and broken UTF-8
        return None
    return found if isinstance(found, dict) else None


def parsed(raw: bytes, shape: Any = Any, *, is_strict: bool = False) -> Any:
    """`raw` as `shape`: msgspec.MsgspecError or UnicodeDecodeError if it is malformed, or nested too deeply.

    Bytes that are no UTF-8 are replaced too, unless `is_strict`.
    """
    try:
        return _parsed(raw, shape, is_strict=is_strict)
    except RecursionError as error:  # what a shape does not name is read all the same
        raise msgspec.DecodeError("nested too deeply") from error


def _parsed(raw: bytes, shape: Any, *, is_strict: bool) -> Any:
    try:
        return msgspec.json.decode(raw, type=shape)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        healed = whole(raw)
        healed = healed if is_strict else healed.decode("utf-8", "replace").encode()
        if healed == raw:
            raise
        return msgspec.json.decode(healed, type=shape)
