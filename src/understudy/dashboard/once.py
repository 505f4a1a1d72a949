"""Forms that make a key make one: a form that is sent again names the same id and the same secret.

Both follow from the secret of the session, which no page contains, and the name of the form. So the answer of the
second sending, which is the one that the browser shows, is that of the first, on any hub and without a stored secret.
"""

from __future__ import annotations

import hashlib
import hmac
from itertools import count

from understudy.ids import IdMaker, time_of

FORM = "form"  # the prefix of the names of forms


class _Instant:
    """A clock that stands."""

    def __init__(self, at_ms: int) -> None:
        self._at_ms = at_ms

    def now_ms(self) -> int:
        """The instant."""
        return self._at_ms

    mono_ms = now_ms


def ids_of(form: str, path: str, secret: str) -> IdMaker | None:
    """The maker of ids and secrets for this form, sent to this path by a session; None if it has no name of ours."""
    at_ms = time_of(form, FORM)
    if not at_ms:
        return None
    key, numbers = hmac.digest(secret.encode(), f"once {path} {form}".encode(), hashlib.sha256), count()

    def bits(wanted: int) -> int:
        drawn = hmac.digest(key, str(next(numbers)).encode(), hashlib.sha256)
        return int.from_bytes(drawn, "big") >> (8 * len(drawn) - wanted)

    return IdMaker(_Instant(at_ms), bits)
