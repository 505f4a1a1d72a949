"""Depth and number of values of a JSON text, before it is decoded: in linear time, a piece at a time.

Deep texts exhaust interpreters and parsers; parsing a text of millions of tiny values takes longer than anything else
here, and many times its size in memory. Between two pieces other threads get their turn.
"""

from __future__ import annotations

from itertools import accumulate

from understudy.errors import BadRequestError
from understudy.wire.limits import NESTING_MAX, VALUES_MAX

PIECE = 64 << 10
_NO_SIGNS = bytes(byte for byte in range(256) if byte not in b"[]{},")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def check_nesting(body: bytes) -> None:
    """BadRequestError if `body` has more levels or more values than are accepted. It need not be JSON."""
    brackets = body.count(b"{") + body.count(b"[")
    if brackets <= NESTING_MAX and brackets + body.count(b",") <= VALUES_MAX:
        return
    depth = signs = in_text = 0
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # quotes that are left begin or end a text
    for start in range(0, len(bare), PIECE):
        parts = bare[start : start + PIECE].split(b'"')
        outside = b"".join(parts[in_text::2]).translate(None, _NO_SIGNS)
        in_text = (in_text + len(parts) - 1) % 2
        signs += len(outside)
        if signs > 2 * VALUES_MAX:  # an object or list has two
            raise _refused(f"at most {VALUES_MAX:,} values")
        levels = outside.translate(None, b",")
        may_be_deep = depth + levels.count(b"[") + levels.count(b"{") > NESTING_MAX
        if may_be_deep and max(accumulate(map(_STEP.__getitem__, levels), initial=depth)) > NESTING_MAX:
            raise _refused(f"at most {NESTING_MAX} levels of nesting")
        depth += sum(map(_STEP.__getitem__, levels))


def _refused(expected: str) -> BadRequestError:
    return BadRequestError("Validation failed", (f"body: Expected {expected}",))
