"""Known secrets by value, in each form in which they leak: as they are, in a URL, in JSON, in base64."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote

import msgspec

SECRET_CHARS_MIN = 8  # a shorter one would mask words and numbers
_BASE64_CHARS_MIN = 8
_NAME_ENDS = (
    "KEY",
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIALS",
    "WEBHOOK_URL",
    "WATCHDOG_URL",
)
_LOCATIONS = ("/", "~/", "./")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")  # RFC 3986


def forms_of(secrets: Iterable[str]) -> tuple[str, ...]:
    """Every form of every secret that is long enough, the longest first: a part must not go before the whole."""
    found = {form for secret in secrets if len(secret) >= SECRET_CHARS_MIN for form in _forms(secret)}
    return tuple(sorted(found, key=lambda form: (-len(form), form)))


def _forms(secret: str) -> Iterable[str]:
    raw = secret.encode("utf-8", "replace")
    yield secret
    in_url = "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in raw)
    yield from (in_url, in_url.replace("%2F", "/"), in_url.replace("%20", "+"))
    in_json = msgspec.json.encode(raw.decode()).decode()[1:-1]
    yield from (in_json, "".join(char if char.isascii() else f"\\u{ord(char):04x}" for char in in_json))
    yield from _in_base64(raw)


def _in_base64(raw: bytes) -> Iterable[str]:
    """Its base64 wherever it begins in what is encoded (`user:password`), without the ends that its company decides."""
    for before in range(3):
        encoded = b2a_base64(b"\0" * before + raw, newline=False).decode()
        core = encoded[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6]
        if len(core) >= _BASE64_CHARS_MIN:
            yield from (core, core.replace("+", "-").replace("/", "_"))


def secret_names(environ: Mapping[str, str]) -> frozenset[str]:
    """The variables of an environment that hold secrets, judged by their names."""
    return frozenset(name for name in environ if name.upper().endswith(_NAME_ENDS))


def secrets_of(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The secrets of an environment, judged by its names, passwords of proxies included; a file's path is not one."""
    named = (
        value
        for name, value in environ.items()
        if name.upper().endswith(_NAME_ENDS) and not value.startswith(_LOCATIONS)
    )
    return (*named, *_of_proxies(environ))


def _of_proxies(environ: Mapping[str, str]) -> Iterator[str]:
    """As they stand in the address, and as they are meant."""
    for name, value in environ.items():
        if name.upper().endswith("_PROXY") and "@" in value:
            given = value.rpartition("@")[0].rpartition("//")[2].partition(":")[2]
            yield from {given, unquote(given)} - {""}
