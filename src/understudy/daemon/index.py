"""The package index that the owner of this machine has chosen: in the environment or in a file of pip's.

The public index has another program of our name, so it never counts as chosen, under any of its addresses.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

OWN_INDEX = ("PIP_INDEX_URL", "PIP_NO_INDEX", "PIP_CONFIG_FILE")
FILE_BYTES_MAX = 1 << 16
_PUBLIC = ("pypi.org", "pythonhosted.org", "python.org")
_YES = frozenset({"1", "true", "yes", "on", "y", "t"})
_SECTIONS = ("global", "install", "download")


def has_own_index(env: Mapping[str, str]) -> bool:
    """True if pip, with this environment, looks at an index of the owner's and not at the public one."""
    said: dict[str, str] = {}
    for path in _files(env):
        said |= dict(_from_file(path))
    said |= dict(_from_environment(env))
    if said.get("no-index", "").strip().lower() in _YES:
        return True
    named = said.get("index-url", "").split()
    return bool(named) and not any(_is_public(url) for url in (*named, *said.get("extra-index-url", "").split()))


def _files(env: Mapping[str, str]) -> Iterator[Path]:
    """The files that pip reads, the weakest first (pip's documentation, Configuration), without the null device."""
    named = env.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return
    support = "Library/Application Support" if sys.platform == "darwin" else ""
    yield from (Path("/", support or "etc/xdg", "pip/pip.conf"), Path("/etc/pip.conf"))
    if home := env.get("HOME"):
        yield from (Path(home, ".pip/pip.conf"), Path(home, ".config/pip/pip.conf"))
        if support:
            yield Path(home, support, "pip/pip.conf")
    yield Path(sys.prefix, "pip.conf")
    if named:
        yield Path(named)


def _from_environment(env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in ("no-index", "index-url", "extra-index-url"):
        value = env.get(f"PIP_{name.upper().replace('-', '_')}", "")
        if value:
            yield name, value


def _from_file(path: Path) -> Iterator[tuple[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        if not path.is_file() or path.stat().st_size > FILE_BYTES_MAX:
            return
        parser.read_string(path.read_text("utf-8", "replace"))
    except (OSError, configparser.Error):
        return
    for section in _SECTIONS:
        if parser.has_section(section):
            yield from ((name.replace("_", "-"), value or "") for name, value in parser.items(section))


def _is_public(url: str) -> bool:
    try:
        host = (urlsplit(url).hostname or "").rstrip(".").lower()
    except ValueError:
        return True
    return not url.startswith("file:") and (not host or any(host == p or host.endswith(f".{p}") for p in _PUBLIC))
