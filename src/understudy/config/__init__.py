"""Settings: read once, given downwards as values.

`policy` and `channels` shape them for a hub and a daemon. Both load msgspec, for which client commands have no time.
"""

from understudy.config.given_text import assignment, assignments, decoded_as_is, read_given
from understudy.config.kinds import duration, duration_ms, duration_text
from understudy.config.reading import (
    FILE_NAME,
    Loaded,
    environment_keys,
    load,
    read,
    secret_text,
    secrets_in,
    user_data_dir,
)
from understudy.config.table import ENVIRONMENT_ONLY, Setting, Settings, table

__all__ = [
    "ENVIRONMENT_ONLY",
    "FILE_NAME",
    "Loaded",
    "Setting",
    "Settings",
    "assignment",
    "assignments",
    "decoded_as_is",
    "duration",
    "duration_ms",
    "duration_text",
    "environment_keys",
    "load",
    "read",
    "read_given",
    "secret_text",
    "secrets_in",
    "table",
    "user_data_dir",
]
