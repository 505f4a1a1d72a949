"""The package index that the owner of this machine has chosen: in the environment or in a file of pip's.

The public index has another program of our name, so it never counts as chosen, under any of its addresses.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

# Of the installer's variables those that say where packages come from and how that place is reached and trusted. Others
# (PIP_TARGET, PIP_REQUIRE_HASHES, PIP_REQUIREMENT) change what an installation is, and would fail that of an update.
SOURCES = frozenset(
    {
        "PIP_CACHE_DIR",
        "PIP_CERT",
        "PIP_CLIENT_CERT",
        "PIP_CONFIG_FILE",
        "PIP_DEFAULT_TIMEOUT",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_INDEX_URL",
        "PIP_KEYRING_PROVIDER",
        "PIP_NO_CACHE_DIR",
        "PIP_NO_INDEX",
        "PIP_ONLY_BINARY",
        "PIP_PROXY",
        "PIP_PYPI_URL",
        "PIP_RETRIES",
        "PIP_TIMEOUT",
        "PIP_TRUSTED_HOST",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_FILE",
    }
)
_PATHS = frozenset(
    {"PIP_CACHE_DIR", "PIP_CERT", "PIP_CLIENT_CERT", "PIP_CONFIG_FILE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"}
)
OWN_INDEX = ("PIP_INDEX_URL", "PIP_NO_INDEX", "PIP_CONFIG_FILE")
FILE_BYTES_MAX = 1 << 16
_PUBLIC = ("pypi.org", "pythonhosted.org", "python.org")
_YES = frozenset({"1", "true", "yes", "on", "y", "t"})
_SECTIONS = ("global", "download")  # the weaker one first; what is meant for `pip install` alone says nothing here
_INDEXES = ("index-url", "pypi-url", "extra-index-url")  # `pypi-url` is another name of the first


class _UnreadError(Exception):
    """pip may read what we do not."""


def sources_of(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of SOURCES that are set, with paths in full: the installer runs in another directory."""
    return {name: _in_full(name, value) for name, value in environ.items() if name in SOURCES and value}


def _in_full(name: str, value: str) -> str:
    if name == "PIP_FIND_LINKS":
        return " ".join(map(_place_in_full, value.split()))
    is_path = name in _PATHS and not value.startswith("~")  # which is the installer's to read
    return str(Path(value).absolute()) if is_path else value


def _place_in_full(place: str) -> str:
    """A relative path as an address, in which no space divides the name of a directory."""
    return place if ":" in place or place[0] in "/~" else Path(place).absolute().as_uri()


def has_own_index(env: Mapping[str, str]) -> bool:
    """True if `pip download`, with this environment, looks at an index of the owner's and not at the public one."""
    try:
        said = _said(env)
    except _UnreadError:
        return False
    if said.get("no-index", "").strip().lower() in _YES:
        return True
    named = [url for name in _INDEXES for url in said.get(name, "").split()]
    return bool(said.get("index-url", "").strip()) and not any(_is_public(url) for url in named)


def _said(env: Mapping[str, str]) -> dict[str, str]:
    """The values in force: of a section the later file, of all files the later section, above all the environment."""
    sections: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for path in _files(env):
        for section, found in _from_file(path).items():
            sections[section] |= found
    said: dict[str, str] = {}
    for found in (*sections.values(), _from_environment(env)):
        said |= {name: value for name, value in found.items() if value}
    return said


def _files(env: Mapping[str, str]) -> Iterator[Path]:
    """The files that pip reads, the weakest first (pip's documentation, Configuration), without the null device.

    Where a file is named in the environment and exists, pip reads no file of the user's.
    """
    named = env.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return
    if named and not Path(named).is_absolute():  # pip is started in another directory than we
        raise _UnreadError
    support = "Library/Application Support" if sys.platform == "darwin" else ""
    yield from (
        (Path("/", support, "pip/pip.conf"),) if support else (Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"))
    )
    if (home := env.get("HOME")) and not (named and Path(named).exists()):
        own = (
            Path(home, support, "pip") if support and Path(home, support, "pip").is_dir() else Path(home, ".config/pip")
        )
        yield from (Path(home, ".pip/pip.conf"), own / "pip.conf")
    yield Path(sys.prefix, "pip.conf")
    if named:
        yield Path(named)


def _from_environment(env: Mapping[str, str]) -> dict[str, str]:
    return {name[4:].lower().replace("_", "-"): value for name, value in env.items() if name.startswith("PIP_")}


def _from_file(path: Path) -> dict[str, dict[str, str]]:
    """By section. Nothing of a file in another format, with which pip does nothing at all; _UnreadError."""
    parser = configparser.RawConfigParser()
    try:
        if not path.is_file():
            return {}
        if path.stat().st_size > FILE_BYTES_MAX:
            raise _UnreadError
        parser.read_string(path.read_text("utf-8", "replace"))
    except (OSError, configparser.Error):
        return {}
    return {section: _named(parser.items(section)) for section in _SECTIONS if parser.has_section(section)}


def _named(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name.replace("_", "-").removeprefix("--"): value or "" for name, value in items}


def _is_public(url: str) -> bool:
    try:
        host = (urlsplit(url).hostname or "").rstrip(".").lower()
    except ValueError:
        return True
    return not url.startswith("file:") and (not host or any(host == p or host.endswith(f".{p}") for p in _PUBLIC))
