"""`understudy deploy`: the files with which `wrangler` deploys a hub as a Worker, and a check of them before."""

from __future__ import annotations

from pathlib import Path

import click

from understudy.cli.commands import Command, Group
from understudy.cli.deploy_check import INSTALL
from understudy.cli.exits import Exit
from understudy.cli.options import json_option
from understudy.cli.terminal import say, say_json, say_lines
from understudy.private import make_directory, write_private
from understudy.texts import t

FILES = {
    "wrangler.jsonc": "wrangler.jsonc",
    "src/entry.py": "entry.txt",
    "requirements.txt": "requirements.txt",
    "compile.mjs": "compile.mjs",
}
PACKAGE = "python_modules/understudy"
SECRETS = ("npx wrangler@4 secret put UNDERSTUDY_API_KEY", "npx wrangler@4 secret put ADMIN_API_KEY")
COMPILE = "npm install --no-save pyodide@314.0.6 && node compile.mjs"
DRY_RUN, DEPLOY = "npx wrangler@4 deploy --dry-run", "npx wrangler@4 deploy"


EXAMPLE = "understudy deploy init cloudflare ./hub\nunderstudy deploy cloudflare --check ./hub"
CHECK_EXAMPLE = "understudy deploy cloudflare --check ./hub\nunderstudy deploy cloudflare --check --json ./hub"


@click.group("deploy", cls=Group, help=t("cli.deploy.help"), example=EXAMPLE)
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
    package = directory / PACKAGE
    taken = [path for path in (*written, package) if path.exists() or path.is_symlink()]
    if taken:
        from understudy.errors import ConfigError

        raise ConfigError(t("cli.deploy.taken", path=taken[0]))
    for path, content in written.items():
        make_directory(path.parent)
        write_private(path, content.encode())
        say(str(path))
    _copy_package(package)
    say(str(package))
    _say_steps(directory)


def _copy_package(package: Path) -> None:
    """This very installation: on PyPI the name `understudy` is another project's, whose code must not come along."""
    import shutil

    import understudy

    shutil.copytree(Path(understudy.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))


def _content(template: str) -> str:
    from importlib.resources import files

    return (files("understudy.cloudflare") / "template" / template).read_text("utf-8")


def _say_steps(directory: Path) -> None:
    steps = (
        ("go", f"cd {directory}"),
        ("install", INSTALL),
        ("compile", COMPILE),
        ("try", DRY_RUN),
        ("deploy", DEPLOY),
    )
    for number, (name, command) in enumerate(steps, 1):
        say()
        say_lines([t(f"cli.deploy.step.{name}", number=number)])
        say(f"   {command}")
    say()
    say_lines([t("cli.deploy.step.secrets", number=len(steps) + 1)])
    for command in SECRETS:
        say(f"   {command}")


@deploy.command("cloudflare", cls=Command, help=t("cli.deploy.cloudflare"), example=CHECK_EXAMPLE)
@click.option("--check", is_flag=True, help=t("cli.deploy.check"))
@json_option
@click.argument("directory", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
def check_cloudflare(check: bool, as_json: bool, directory: Path) -> int:
    """1 if something is wrong; notices do not count."""
    import os

    from understudy.cli.deploy_check import build, settings
    from understudy.cli.doctor import finding_json, shown
    from understudy.cli.findings import PROBLEM
    from understudy.errors import ConfigError

    if not check:
        raise ConfigError(t("cli.deploy.only_check", command=DEPLOY))
    found = settings.configuration_of(directory)
    findings = list(settings.look(directory, found))
    if all(finding.level != PROBLEM for finding in findings):  # a build of what is wrong takes minutes, and says less
        findings += build.look(directory, found, os.environ)
    is_well = all(finding.level != PROBLEM for finding in findings)
    if as_json:
        say_json({"ok": is_well, "findings": [finding_json(finding) for finding in findings]})
        return Exit.OK if is_well else Exit.FAILED
    for finding in findings:
        say_lines(shown(finding).split("\n"))
    say("\n" + t("cli.check.well" if is_well else "cli.check.unwell"))
    return Exit.OK if is_well else Exit.FAILED
