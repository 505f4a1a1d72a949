"""The environment of a run: an allowlist of the daemon's, and never a secret of ours, by name or by value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

KEPT = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR")  # and LC_*; docs/measured.md, Environments
# Names that stay with us even if the owner asks for them to be passed on.
_OURS = re.compile(
    r"(UNDERSTUDY|ASSISTANT|WORKERS|QUEUE|ADMIN)_|(SLACK|DISCORD|TELEGRAM|WHATSAPP|NTFY|SMTP)_"
    r"|(DATABASE|POSTGRES\w{0,64})_UR[IL](_|$)|PGPASSWORD|CLAUDECODE$|CLAUDE_CODE_"
)
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|WEBHOOK|DATABASE|POSTGRES")
_VALUE_LENGTH_MIN = 8  # shorter values are no secrets; they would be found everywhere


def child_env(ambient: Mapping[str, str], passed: tuple[str, ...], secrets: Iterable[str] = ()) -> dict[str, str]:
    """The part of `ambient` that is passed on: the allowlist, LC_* and `passed`, without our secrets or values."""
    hidden = our_secrets(ambient, secrets)
    return {
        name: value
        for name, value in ambient.items()
        if (name in KEPT or name.startswith("LC_") or name in passed)
        and not _OURS.match(name)
        and not any(secret in value for secret in hidden)
    }


def is_ours(name: str) -> bool:
    """True if a variable of this name is a secret of ours."""
    return bool(_OURS.match(name) and _SECRET.search(name)) and not name.endswith("_FILE")


def our_secrets(ambient: Mapping[str, str], secrets: Iterable[str] = ()) -> tuple[str, ...]:
    """Every value that no run may see: those given to us, and those of variables that are ours by name."""
    named = (value for name, value in ambient.items() if _OURS.match(name) and _SECRET.search(name))
    return tuple({value for value in (*secrets, *named) if len(value) >= _VALUE_LENGTH_MIN})


def credential(ambient: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """The assistant's own login: exactly one of `names`, the first that is set; none of them is often right."""
    return next(({name: ambient[name]} for name in names if ambient.get(name)), {})
