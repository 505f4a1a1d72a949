"""Causes for a missing answer, in few words without any address: for notices, mail, the hub and its own calls.

A failed exchange is a chain of errors (a client's own around the system's): the most telling one names it.
"""

from __future__ import annotations

import errno
import socket
from binascii import Error as Base64Error
from collections.abc import Iterator
from http.client import HTTPException, IncompleteRead, InvalidURL

TOO_SLOW = "too slow"
REFUSED = "connection refused"
UNKNOWN_HOST = "unknown host"
NO_NAME_SERVER = "no name server answers"
UNREACHABLE = "network unreachable"
UNTRUSTED = "certificate not trusted"
NO_TLS = "no TLS"
CUT = "connection cut"
NO_HTTP = "not HTTP"
UNSENDABLE = "cannot be sent"
PROXY = "proxy refused"
NO_STARTTLS = "no STARTTLS or log-in offered"
ALL = (
    TOO_SLOW,
    REFUSED,
    UNKNOWN_HOST,
    NO_NAME_SERVER,
    UNREACHABLE,
    UNTRUSTED,
    NO_TLS,
    CUT,
    NO_HTTP,
    UNSENDABLE,
    PROXY,
    NO_STARTTLS,
)
_NO_TUNNEL = "Tunnel connection failed: "  # of http.client
CHAIN_MAX = 12
CAUSE_CHARS_MAX = 200
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL})
_CUT = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ESHUTDOWN, errno.ENOTCONN})


def is_local(error: BaseException) -> bool:
    """True if the network is not the cause, as with a value that cannot be written: trying again is useless."""
    if isinstance(error, (OSError, HTTPException, UnicodeDecodeError, Base64Error)):
        return False
    return isinstance(error, (ValueError, TypeError, AttributeError))


def cause_of(error: BaseException) -> str:
    """The cause in few words: one of `ALL`, perhaps with a detail after a colon, else the system's own words."""
    chain = tuple(_chain(error))
    for link in reversed(chain):  # what a client makes of it says less
        if named := _named(link):
            return named[:CAUSE_CHARS_MAX]
    if is_local(error):
        return f"{UNSENDABLE}: {type(error).__name__}"
    said = next((link.strerror for link in chain if isinstance(link, OSError) and link.strerror), "")
    return (str(said) or type(error).__name__)[:CAUSE_CHARS_MAX]


def _named(error: BaseException) -> str:
    """Our name for an error of the system; "" for one that says nothing by itself."""
    if isinstance(error, socket.gaierror):
        return NO_NAME_SERVER if error.errno == socket.EAI_AGAIN else UNKNOWN_HOST
    if tls := _tls(error):
        return tls
    number = error.errno if isinstance(error, OSError) else None
    kinds: tuple[tuple[bool, str], ...] = (
        (isinstance(error, ConnectionRefusedError), REFUSED),
        (isinstance(error, TimeoutError), TOO_SLOW),
        (number in _UNREACHABLE, UNREACHABLE),
        (isinstance(error, ConnectionError) or number in _CUT, CUT),
        (isinstance(error, IncompleteRead) or type(error).__name__ == "SMTPServerDisconnected", CUT),
        (isinstance(error, InvalidURL), UNSENDABLE),
        (isinstance(error, HTTPException), NO_HTTP),
        (str(error).startswith(_NO_TUNNEL), f"{PROXY}: {str(error).removeprefix(_NO_TUNNEL)}"),
        (type(error).__name__ == "SMTPNotSupportedError", NO_STARTTLS),
    )
    return next((word for is_it, word in kinds if is_it), "")


def _tls(error: BaseException) -> str:
    """By name: `ssl` is only loaded where it is used. What a certificate is not valid for is an address: cut off."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if "SSLCertVerificationError" in names:
        detail = str(getattr(error, "verify_message", "")).partition(", certificate is not valid")[0]
        return f"{UNTRUSTED}: {detail}" if detail else UNTRUSTED
    if names & {"SSLEOFError", "SSLZeroReturnError"}:
        return CUT
    if "SSLError" in names and isinstance(error, OSError):
        word = str(getattr(error, "reason", "") or "").replace("_", " ").lower()
        return f"{NO_TLS}: {word}" if word else NO_TLS
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, innermost last; bounded, each once."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < CHAIN_MAX:
        link = waiting.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        more = (getattr(link, "reason", None), link.__cause__, link.__context__, *link.args)
        waiting += [other for other in more if isinstance(other, BaseException)]
