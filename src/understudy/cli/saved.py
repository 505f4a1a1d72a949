"""Keys and address that a hub leaves for clients on its machine, in files that only their owner can read."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from understudy.clock import SystemClock
from understudy.config.given_text import read_given
from understudy.errors import ConfigError
from understudy.ids import IdMaker
from understudy.private import make_directory, write_durably, write_first
from understudy.texts import t

CLIENT_FILE = "client.json"
API_KEY_FILE = "api-key"
ADMIN_KEY_FILE = "admin-key"
_BYTES_MAX = 64 << 10


@dataclass(frozen=True, slots=True)
class Saved:
    """Address and keys of the hub that ran here last; `data` is its data directory."""

    hub: str
    api_key: str = ""
    admin_key: str = ""
    data: str = ""


@dataclass(frozen=True, slots=True)
class LocalKeys:
    """The two keys a hub without any makes: one for work, one that may do everything."""

    api_key: str
    admin_key: str


def load_saved(directory: Path) -> Saved | None:
    """The values saved in this directory; None if there are none, or if they cannot be read."""
    try:
        with (directory / CLIENT_FILE).open("rb") as file:
            found = json.loads(file.read(_BYTES_MAX))
        return Saved(**{name: str(found.get(name, "")) for name in ("hub", "api_key", "admin_key", "data")})
    except (OSError, ValueError, AttributeError, RecursionError):
        return None


def save(directory: Path, saved: Saved) -> Path:
    """Keep it for later commands → the file."""
    path = directory / CLIENT_FILE
    keep(path, json.dumps(asdict(saved), indent=2) + "\n")
    return path


def load_local_keys(directory: Path) -> LocalKeys | None:
    """The keys that were made here earlier; None if one is missing or spoilt. ConfigError as `local_keys`."""
    api_key, admin_key = map(_key_in, _key_files(directory))
    return LocalKeys(api_key, admin_key) if api_key and admin_key else None


def has_local_key(directory: Path) -> bool:
    """True if at least one of them is there: this directory was set up. ConfigError as `local_keys`."""
    return any(_key_in(path) for path in _key_files(directory))


def local_keys(directory: Path) -> LocalKeys:
    """The keys of this data directory; each that is missing, or spoilt by a crash, is made.

    ConfigError if one that is there cannot be read: it may be in use.
    """
    found = [(path, _key_in(path)) for path in _key_files(directory)]  # all are read before the first is made
    return LocalKeys(*(key or _made(path, is_missing=key is None) for path, key in found))


def _key_files(directory: Path) -> tuple[Path, Path]:
    return directory / API_KEY_FILE, directory / ADMIN_KEY_FILE


def _key_in(path: Path) -> str | None:
    """None if it is missing, "" if it is spoilt. ConfigError if it cannot be read."""
    try:
        key = read_given(path, str(path)).strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(t("cli.key_unreadable", path=path, reason=error.strerror or error)) from None
    except ConfigError:  # no text
        return ""
    return key if key.isascii() and key.isprintable() else ""


def _made(path: Path, *, is_missing: bool) -> str:
    """A new key in this file; where another process makes one at the same time, the one that is there."""
    key = IdMaker(SystemClock(), random.SystemRandom().getrandbits).secret("usk")
    if is_missing:
        keep(path, f"{key}\n", write_first)
    if not is_missing or not _key_in(path):  # spoilt, or a link to nothing
        keep(path, f"{key}\n")
    return _key_in(path) or key


def keep(path: Path, text: str, write: Callable[[Path, bytes], None] = write_durably) -> None:
    """Write a file for its owner alone, whole or not at all. ConfigError if the place is not ours to write."""
    try:
        make_directory(path.parent)
        write(path, text.encode())
    except OSError as error:
        raise ConfigError(t("cli.cannot_write", path=path, reason=error.strerror or error)) from None
