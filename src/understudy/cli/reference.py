"""Writes the generated parts of the documentation: every command's help, every setting."""

from __future__ import annotations

from collections.abc import Iterator

import click

from understudy import config
from understudy.cli.commands import root
from understudy.texts import t

WIDTH = 100


def commands() -> str:
    """Markdown: the help of every command, its exit codes included."""
    parts: list[str] = []
    for path, command, ctx in _walk(root, click.Context(root, info_name="understudy")):
        ctx.max_content_width = ctx.terminal_width = WIDTH
        parts += ["", f"## `{path}`", "", "```text", command.get_help(ctx), "```"]
    return "\n".join(parts).strip()


def _walk(command: click.Command, ctx: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    yield ctx.command_path, command, ctx
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            found = command.get_command(ctx, name)
            assert found is not None
            yield from _walk(found, click.Context(found, info_name=name, parent=ctx))


def settings() -> str:
    """Markdown: a table for each section of settings."""
    parts: list[str] = []
    section = ""
    for row in config.table().values():
        if row.of.section != section:
            section = row.of.section
            parts += ["", f"## {t(f'config.section.{section}')}", "", *_head("setting")]
        env = "<br>".join(f"`{name}`" + (f"<br>`{name}_FILE`" if row.is_secret else "") for name in row.env)
        default = row.of.kind.show(row.default)
        shown = f"`{default}`" if default else ""
        parts.append(f"| `{row.name}` | {env} | {shown} | {row.of.kind.expects} | {t(f'config.help.{row.name}')} |")
    parts += [
        "",
        f"## {t('config.section.environment')}",
        "",
        f"| {t('config.column.environment')} | {t('config.column.meaning')} |",
        "|---|---|",
    ]
    parts += [f"| `{name}` | {t(f'config.help.{name}')} |" for name in config.ENVIRONMENT_ONLY]
    return "\n".join(parts).strip()


def _head(first: str) -> list[str]:
    columns = (first, "environment", "default", "values", "meaning")
    return ["| " + " | ".join(t(f"config.column.{column}") for column in columns) + " |", "|---" * len(columns) + "|"]
