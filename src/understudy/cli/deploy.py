"""`understudy deploy init cloudflare DIR`: the files with which `wrangler` deploys a hub as a Worker."""

from __future__ import annotations

from pathlib import Path

import click

from understudy.cli.commands import Group
from understudy.cli.terminal import say, say_lines
from understudy.private import make_directory, write_private
from understudy.texts import t

FILES = {"wrangler.jsonc": "wrangler.jsonc", "src/entry.py": "entry.txt", "requirements.txt": "requirements.txt"}
INSTALL = (
    "pip install --target python_modules --no-deps --only-binary :all: --platform pyemscripten_2026_0_wasm32"
    " --platform manylinux2014_x86_64 --python-version 3.14 --implementation cp --abi cp314 -r requirements.txt"
)
SECRETS = ("npx wrangler@4 secret put UNDERSTUDY_API_KEY", "npx wrangler@4 secret put ADMIN_API_KEY")
DRY_RUN, DEPLOY = "npx wrangler@4 deploy --dry-run", "npx wrangler@4 deploy"


@click.group("deploy", cls=Group, help=t("cli.deploy.help"), example="understudy deploy init cloudflare ./hub")
def deploy() -> None:
    """See the commands below."""


@deploy.group("init", cls=Group, help=t("cli.deploy.init"), example="understudy deploy init cloudflare ./hub")
def init() -> None:
    """See the commands below."""


@init.command("cloudflare", help=t("cli.deploy.init.cloudflare"), example="understudy deploy init cloudflare ./hub")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def cloudflare(directory: Path) -> None:
    """Nothing that is there already is touched."""
    written = {directory / name: _content(template) for name, template in FILES.items()}
    taken = [path for path in written if path.exists()]
    if taken:
        from understudy.errors import ConfigError

        raise ConfigError(t("cli.deploy.taken", path=taken[0]))
    for path, content in written.items():
        make_directory(path.parent)
        write_private(path, content.encode())
        say(str(path))
    _say_steps(directory)


def _content(template: str) -> str:
    from importlib.resources import files

    from understudy import __version__

    text = (files("understudy.cloudflare") / "template" / template).read_text("utf-8")
    return text.replace("{version}", __version__)


def _say_steps(directory: Path) -> None:
    steps = (("go", f"cd {directory}"), ("install", INSTALL), ("try", DRY_RUN), ("deploy", DEPLOY))
    for number, (name, command) in enumerate(steps, 1):
        say()
        say_lines([t(f"cli.deploy.step.{name}", number=number)])
        say(f"   {command}")
    say()
    say_lines([t("cli.deploy.step.secrets", number=len(steps) + 1)])
    for command in SECRETS:
        say(f"   {command}")
