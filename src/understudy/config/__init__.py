"""Settings: read once, given downwards as values."""

from understudy.config.kinds import duration_ms, duration_text
from understudy.config.reading import FILE_NAME, Loaded, environment_keys, load, read, user_data_dir
from understudy.config.table import ENVIRONMENT_ONLY, Setting, Settings, table

__all__ = [
    "ENVIRONMENT_ONLY",
    "FILE_NAME",
    "Loaded",
    "Setting",
    "Settings",
    "duration_ms",
    "duration_text",
    "environment_keys",
    "load",
    "read",
    "table",
    "user_data_dir",
]
