"""The inputs of a daemon at its start; it reads no settings later."""

from __future__ import annotations

from pathlib import Path

import msgspec

from understudy.config import Settings, secrets_in
from understudy.notify.base import ChannelSettings


class DaemonInputs(msgspec.Struct, frozen=True, kw_only=True):
    """Its settings, and what a host finds out besides: the hub with its key, channels, the command to run."""

    hub_url: str
    api_key: str
    data_dir: Path
    settings: Settings = Settings()
    ca_file: str = ""  # CA certificates for https; empty: the system's
    command: tuple[str, ...] = ()  # argv of the executor `command`; empty: there is none
    channels: tuple[ChannelSettings, ...] = ()  # channels of this machine, for when the hub is out of reach
    of_env_file: frozenset[str] = frozenset()  # variables that the next life reads from their file itself
    can_update: bool = True  # False: the program that started it brings the new version

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that no run and no log line may contain."""
        of_channels = (part for channel in self.channels for part in channel.secrets)
        return (self.api_key, *of_channels, *secrets_in(self.settings))
