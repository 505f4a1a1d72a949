"""Styles, scripts and icons: a fixed set of files under an address that changes with their content."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib.resources import files

from msgspec import Struct

TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
}
FOLDERS = ("", "vendor")


class StaticFile(Struct, frozen=True):
    """One file, ready to be sent."""

    content: bytes
    compressed: bytes  # b"" where that saves nothing
    media_type: str
    etag: str


@cache
def static_files() -> dict[str, StaticFile]:
    """All of them by name, `vendor/` included; nothing else can be asked for."""
    found: dict[str, StaticFile] = {}
    for folder in FOLDERS:
        place = files(__package__) / "static" / folder if folder else files(__package__) / "static"
        for file in place.iterdir():
            ending = file.name.rpartition(".")[2]
            if ending in TYPES:
                found[f"{folder}/{file.name}".lstrip("/")] = _read(file.read_bytes(), TYPES[ending])
    return found


def _read(content: bytes, media_type: str) -> StaticFile:
    packed = gzip.compress(content, mtime=0)
    etag = f'"{hashlib.blake2b(content, digest_size=8).hexdigest()}"'
    return StaticFile(content, packed if len(packed) < len(content) * 9 // 10 else b"", media_type, etag)


@cache
def static_version() -> str:
    """Changes with any of them."""
    whole = "".join(f"{name}{file.etag}" for name, file in sorted(static_files().items()))
    return hashlib.blake2b(whole.encode(), digest_size=6).hexdigest()


def static_path(name: str) -> str:
    """The address of a file; KeyError if there is none of that name."""
    static_files()[name]
    return f"/static/{static_version()}/{name}"
