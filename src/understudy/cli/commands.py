"""The tree of commands, imported leaf by leaf, and the shape of their help."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from understudy import __version__
from understudy.cli.exits import Exit
from understudy.texts import t

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# section → command → module:attribute; the order is that of `--help`
TREE: dict[str, dict[str, str]] = {
    "run": {"up": "up:up", "hub": "hub:hub", "daemon": "daemon:daemon", "service": "service:service"},
    "tasks": {
        "submit": "submit:submit",
        "tasks": "tasks:tasks",
        "task": "tasks:task",
        "cancel": "task_commands:cancel",
        "retry": "task_commands:retry",
        "move": "task_commands:move",
    },
    "watch": {
        "status": "status:status",
        "daemons": "daemons:daemons",
        "incidents": "incidents:incidents",
        "notices": "notices:notices",
        "notify": "notify:notify",
        "tail": "tail:tail",
        "doctor": "doctor:doctor",
    },
    "manage": {
        "login-link": "login_link:login_link",
        "keys": "keys:keys",
        "takeover": "takeover:takeover",
        "daemon-control": "daemon_control:daemon_control",
        "deployments": "deployments:deployments",
        "verify": "verify:verify",
        "store": "store:store",
        "deploy": "deploy:deploy",
        "drill": "drill.command:drill",
        "completion": "completion:completion",
    },
}
HELP_WIDTH_MAX = 100


class Example:
    """Mixed into commands: an example below the help, and our own words for the parts."""

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", {}).setdefault("max_content_width", HELP_WIDTH_MAX)
        super().__init__(*args, **kwargs)
        self.example = example

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The example."""
        if self.example:
            with formatter.section(t("cli.example")):
                for line in self.example.splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}$ {line}\n")


class Command(Example, click.Command):
    """A command with an example."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, but an option with an empty text is refused: mostly a variable of a script that is not set."""
        if not ctx.resilient_parsing:
            given = self._given(ctx, args)
            for option in self.params:
                values = given.get(option.name or "")
                if isinstance(option, click.Option) and "" in (values if isinstance(values, list) else [values]):
                    raise click.UsageError(t("cli.empty_option", option=option.opts[0]), ctx)
        return super().parse_args(ctx, args)

    def _given(self, ctx: click.Context, args: list[str]) -> Mapping[str, Any]:
        """The values as they were written; a usage error names this command, which click forgets for some."""
        try:
            return self.make_parser(ctx).parse_args(list(args))[0]
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def get_short_help_str(self, limit: int = 45) -> str:
        """The first sentence; click looks for its end at a blank, which Japanese does without."""
        sentence, end, _ = (self.help or "").partition("。")
        return sentence + end if end else super().get_short_help_str(limit)


class Group(Example, click.Group):
    """A command with commands below it."""

    command_class = Command


class Root(Example, click.Group):
    """All commands; their modules stay unread until one is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return [name for section in TREE.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one that is asked for."""
        for section in TREE.values():
            if cmd_name in section:
                module, _, attribute = section[cmd_name].partition(":")
                command: click.Command = getattr(importlib.import_module(f"understudy.cli.{module}"), attribute)
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A line each, from the catalogue alone."""
        for section, commands in TREE.items():
            with formatter.section(t(f"cli.section.{section}")):
                rows: Sequence[tuple[str, str]] = [(name, t(f"cli.{name}.short")) for name in commands]
                formatter.write_dl(rows, col_max=12)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The example, and what exit codes mean."""
        super().format_epilog(ctx, formatter)
        with formatter.section(t("cli.exits")):
            formatter.write_dl([(str(code.value), t(f"cli.exit.{code.name.lower()}")) for code in Exit])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown name is compared with ours without importing them."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            import difflib

            close = difflib.get_close_matches(name, self.list_commands(ctx), 1)
            fix = t("cli.did_you_mean", name=close[0]) if close else ""
            raise click.UsageError(t("cli.no_such_command", name=name, fix=fix).strip(), ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names and their line, from the catalogue alone."""
        from click.shell_completion import CompletionItem

        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        options = super(click.Group, self).shell_complete(ctx, incomplete)
        return [*(CompletionItem(name, help=t(f"cli.{name}.short")) for name in names), *options]


def _show_version(ctx: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if is_asked and not ctx.resilient_parsing:
        click.echo(f"understudy {__version__}")
        ctx.exit()


root = Root(
    "understudy",
    help=t("cli.help"),
    example='understudy up\nunderstudy submit "What can you do?" --wait',
    no_args_is_help=True,
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help=t("cli.version.help"),
        )
    ],
)
