"""Whether the owner of this machine has chosen where versions come from.

The public index has a stranger's program of our name, so it is no choice, whichever way it is named.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

OWN_INDEX = ("PIP_INDEX_URL", "PIP_NO_INDEX", "PIP_CONFIG_FILE")
FILE_BYTES_MAX = 1 << 16
_PUBLIC = ("pypi.org", "pythonhosted.org", "python.org")
_YES = frozenset({"1", "true", "yes", "on", "y", "t"})
_SECTIONS = ("global", "install", "download")


def has_own_index(env: Mapping[str, str]) -> bool:
    """Whether pip, with this environment, looks at an index of the owner's and not at the public one."""
    said = {**dict(_from_file(env.get("PIP_CONFIG_FILE", ""))), **dict(_from_environment(env))}
    if said.get("no-index", "").strip().lower() in _YES:
        return True
    named = said.get("index-url", "").split()
    return bool(named) and not any(_is_public(url) for url in (*named, *said.get("extra-index-url", "").split()))


def _from_environment(env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in ("no-index", "index-url", "extra-index-url"):
        value = env.get(f"PIP_{name.upper().replace('-', '_')}", "")
        if value:
            yield name, value


def _from_file(path: str) -> Iterator[tuple[str, str]]:
    if not path or not Path(path).is_file() or Path(path).stat().st_size > FILE_BYTES_MAX:
        return
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(Path(path).read_text("utf-8", "replace"))
    except configparser.Error:
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
