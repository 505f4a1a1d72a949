"""Options that several commands share, and what they read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from understudy import config
from understudy.cli.terminal import note
from understudy.clock import SystemClock, iso, parse_iso
from understudy.private import make_directory, tighten
from understudy.texts import t

F = TypeVar("F", bound=Callable[..., Any])


class DurationType(click.ParamType[int]):
    """A duration with its unit → ms; `least` and `most` are what the hub takes."""

    name = "duration"

    def __init__(self, most: str, least: str = "0s") -> None:
        self._parse = config.duration(least, most).parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Milliseconds; usage error with the fix."""
        if isinstance(value, int):
            return value
        try:
            return int(self._parse(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class SinceType(click.ParamType[str]):
    """`10m` (that long ago), or an instant with its zone → an instant of the wire."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """ISO 8601 UTC; usage error with the fix."""
        try:
            return iso(parse_iso(value))
        except (ValueError, OverflowError):
            try:
                return iso(max(SystemClock().now_ms() - config.duration_ms(value), 0))
            except ValueError:
                self.fail(t("cli.since.bad", value=value), param, ctx)


def json_option(command: F) -> F:
    """`--json`: what a script reads."""
    return click.option("--json", "as_json", is_flag=True, help=t("cli.json.help"))(command)


def data_option(command: F) -> F:
    """`--data DIR`."""
    return click.option(
        "--data", "data", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help=t("cli.data.help")
    )(command)


def address_options(command: F) -> F:
    """`--host` and `--port`."""
    settings = config.Settings()
    command = click.option(
        "--port", type=click.IntRange(0, 65_535), metavar="PORT", help=t("cli.port.help", default=settings.port)
    )(command)
    return click.option("--host", metavar="ADDRESS", help=t("cli.host.help", default=settings.host))(command)


def hub_options(command: F) -> F:
    """`--env-file FILE` and `--yes`: of what runs tasks, and looks into no `.env` by itself."""
    command = click.option("--yes", "is_agreed", is_flag=True, help=t("cli.known_hubs.yes"))(command)
    return click.option(
        "--env-file", type=click.Path(dir_okay=False), metavar="FILE", help=t("cli.known_hubs.env_file")
    )(command)


def eof_option(command: F) -> F:
    """`--stop-at-eof`: for a starter that this process must not outlive."""
    return click.option("--stop-at-eof", is_flag=True, hidden=True)(command)


def refuse_two(**given: object) -> None:
    """UsageError if two of these options were given, of which only one can be meant; it names both."""
    both = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if len(both) > 1:
        raise click.UsageError(t("cli.contradiction", one=both[0], other=both[1]))


def data_dir_of(chosen: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The data directory of this start, absolute."""
    data_dir = (chosen or config.user_data_dir(environ)).expanduser().absolute()
    str(data_dir).encode()  # UnicodeEncodeError becomes a sentence in `start`: neither store nor unit could hold it
    return data_dir


def own_data_dir(data_dir: Path) -> None:
    """Make it if it is not there, and take from others what they could read in it. OSError."""
    make_directory(data_dir)
    tighten(data_dir)


def with_warnings(loaded: config.Loaded) -> config.Settings:
    """The settings, after saying what was adapted."""
    for sentence in loaded.notes:
        note(f"understudy: {sentence}")
    return loaded.settings
