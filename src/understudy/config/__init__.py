"""Settings: read once, given downwards as values."""

from understudy.config.channels import Channels, channels_of
from understudy.config.kinds import duration_ms, duration_text
from understudy.config.reading import FILE_NAME, Loaded, environment_keys, load, read, secrets_in, user_data_dir
from understudy.config.table import ENVIRONMENT_ONLY, Setting, Settings, table

__all__ = [
    "ENVIRONMENT_ONLY",
    "FILE_NAME",
    "Channels",
    "Loaded",
    "Setting",
    "Settings",
    "channels_of",
    "duration_ms",
    "duration_text",
    "environment_keys",
    "load",
    "read",
    "secrets_in",
    "table",
    "user_data_dir",
]
