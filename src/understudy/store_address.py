"""The place of a store: the path of a SQLite file, or the address of a PostgreSQL database, split from its password.

An address is what libpq takes: `postgresql://user:password@host:port/database?sslmode=require`, several
`host:port` with commas, a folder of a socket as `?host=/run/postgresql`. It is read more strictly than by libpq, which
would take a misplaced piece of a password for something else, and show it in an error.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from understudy.texts import t

SCHEMES = ("postgresql", "postgres")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]{1,64}\]|(?>(?:[\w.-]|%2[Ff]){0,255}))(?::\d{1,5})?")
_NAME = re.compile(r"[^/?@:#\s]{0,255}+")
_ENCODED = re.compile(r"(?>(?:[^%\x00-\x1f\x7f]|%(?!00)[0-9A-Fa-f]{2}){0,4096})")
SECRETS = frozenset({"sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"})


def is_postgres(store: str) -> bool:
    """True if this is meant as the address of a PostgreSQL database; it may be wrong."""
    return store.partition(":")[0].lower() in SCHEMES and ":" in store


def without_password(address: str) -> tuple[str, str]:
    """The address without its password, and the password; "" for none.

    ValueError says what is wrong with it, and shows nothing that may be secret.
    """
    scheme, _, rest = address.partition("://")
    has_user = "@" in rest.partition("/")[0]  # as libpq looks for it
    who, place = rest.split("@", 1) if has_user else ("", rest)
    user, _, password = who.partition(":")
    target, _, more = place.partition("?")
    hosts, has_database, database = target.partition("/")
    is_whole = all(_ENCODED.fullmatch(part) for part in (user, password, hosts, database, more))
    has_names = _NAME.fullmatch(user) and _NAME.fullmatch(database)
    if scheme not in SCHEMES or not is_whole or not has_names or not all(map(_HOST.fullmatch, hosts.split(","))):
        raise ValueError(t("postgres.bad_address"))
    kept, passwords = _parameters(more)
    passwords += [unquote(password)] if password else []
    if len(passwords) > 1:
        raise ValueError(t("postgres.two_passwords"))
    ends = (f"{user}@" if user else "", hosts, has_database, database, f"?{'&'.join(kept)}" if kept else "")
    return f"postgresql://{''.join(ends)}", "".join(passwords)


def _parameters(text: str) -> tuple[list[str], list[str]]:
    """Those to keep, as they are written, and every password among them."""
    kept, passwords = [], []
    for part in filter(None, text.split("&")):
        name, is_pair, value = part.partition("=")
        if not is_pair or "#" in value or not re.fullmatch(r"[a-z_]{1,40}", name):
            raise ValueError(t("postgres.bad_address"))
        if name in SECRETS:
            raise ValueError(t("postgres.secret_parameter", name=name))
        if name == "password":
            passwords.append(unquote(value))
        else:
            kept.append(part)
    return kept, passwords


def has_parameter(address: str, name: str) -> bool:
    """True if the address says something about it."""
    return any(part.startswith(f"{name}=") for part in address.partition("?")[2].split("&"))


def has_several_hosts(address: str) -> bool:
    """True if the connection goes to whichever of them takes it."""
    hosts, _, parameters = address.partition("?")
    listed = [part for part in parameters.split("&") if part.startswith(("host=", "hostaddr="))]
    return any("," in unquote(part) for part in (hosts.rpartition("@")[2], *listed))
