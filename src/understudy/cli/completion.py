"""`understudy completion SHELL`: what a shell needs to complete our commands."""

from __future__ import annotations

import click

from understudy.cli.commands import Command, root
from understudy.cli.terminal import say
from understudy.texts import t

SHELLS = ("bash", "zsh", "fish")
EXAMPLE = """understudy completion bash >>~/.bashrc
understudy completion zsh >>~/.zshrc
understudy completion fish >~/.config/fish/completions/understudy.fish"""


@click.command("completion", cls=Command, help=t("cli.completion.help"), example=EXAMPLE)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """The script."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    say(kind(root, {}, "understudy", "_UNDERSTUDY_COMPLETE").source())
