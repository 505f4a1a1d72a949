"""What stands in deploy/ cannot all be run here: its names, ports, paths and times are held to the code instead."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tests.project.tree import ROOT
from understudy import config
from understudy.api.openapi import PUBLIC
from understudy.cli.commands import root
from understudy.config.reading import table
from understudy.config.table import Settings
from understudy.runtime.hub.server import KEEP_ALIVE_S, STOP_WITHIN_S
from understudy.wire import limits

FOLDER = ROOT / "deploy"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
HUBS = {name: service for name, service in SERVICES.items() if name.startswith("hub-")}
DOCKERFILE = (FOLDER / "Dockerfile").read_text("utf-8")
CADDYFILE = (FOLDER / "Caddyfile").read_text("utf-8")
UNIT = (FOLDER / "systemd/understudy-hub@.service").read_text("utf-8")
IMAGES = [*re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)]
IMAGES += [service["image"] for service in SERVICES.values() if "build" not in service]


def env_of(name: str) -> dict[str, str]:
    """The lines of an environment file."""
    lines = (FOLDER / "systemd" / name).read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def settings_of(environ: dict[str, str], folder: Path) -> Settings:
    """The settings as a hub would read them, with secrets in files of ours."""
    secret = folder / "secret"
    secret.write_text("0123456789abcdef" * 4)
    known = {env for row in table().values() for env in row.env} | {
        f"{row.env[0]}_FILE" for row in table().values() if row.is_secret
    }
    assert set(environ) - known == set(), "no setting has that name"
    loaded = config.load({name: str(secret) if name.endswith("_FILE") else v for name, v in environ.items()}, folder)
    assert loaded.notes == ()
    return loaded.settings


def directives(name: str) -> list[str]:
    """All values of one directive of the unit."""
    return re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)


def paths() -> set[str]:
    """What every hub answers without a key."""
    return {path for path, *_ in PUBLIC}


def parsed(words: list[str]) -> click.Context:
    """A command line that the program takes."""
    name, *arguments = words
    command = root.get_command(click.Context(root), name)
    assert command is not None
    return command.make_context(name, arguments)


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_named_with_its_version(image: str) -> None:
    assert re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?(-[a-z-]+)?", image), image


@pytest.mark.parametrize("name", HUBS)
def test_a_hub_of_compose_starts_with_settings_that_exist(name: str, tmp_path: Path) -> None:
    service = HUBS[name]
    settings = settings_of(service["environment"], tmp_path)
    assert settings.hub_name == service["hostname"] == name
    assert settings.host == "0.0.0.0"
    assert int(re.findall(r"EXPOSE (\d+)", DOCKERFILE)[0]) == settings.port
    assert f":{settings.port}/health" in " ".join(service["healthcheck"]["test"])
    assert "/health" in paths()
    assert int(service["stop_grace_period"].removesuffix("s")) * 1000 > settings.hub_drain_ms + STOP_WITHIN_S * 1000
    assert [volume.partition(":")[0] for volume in service["volumes"]] == [name], "each has a data directory of its own"


def test_what_compose_names_is_declared_once_and_used() -> None:
    used = {name for service in SERVICES.values() for name in service.get("secrets", ())}
    assert used == set(COMPOSE["secrets"])
    made = re.search(r"for name in (.*); do", (FOLDER / "secrets.sh").read_text("utf-8"))
    assert made
    assert set(made[1].split()) == {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()} == used
    mounted = {v.partition(":")[0] for service in SERVICES.values() for v in service["volumes"]}
    assert {name for name in mounted if not name.startswith(".")} == set(COMPOSE["volumes"])
    assert all((FOLDER / name).is_file() for name in mounted if name.startswith("."))
    assert {name for service in SERVICES.values() for name in service.get("depends_on", ())} <= set(SERVICES)
    files = {value for service in SERVICES.values() for key, value in service["environment"].items() if "_FILE" in key}
    assert files == {f"/run/secrets/{name}" for name in used}


def test_compose_has_one_database_with_the_name_that_the_hubs_use() -> None:
    environment = SERVICES["postgres"]["environment"]
    user, database = environment["POSTGRES_USER"], environment["POSTGRES_DB"]
    assert {hub["environment"]["UNDERSTUDY_STORE"] for hub in HUBS.values()} == {
        f"postgresql://{user}@postgres:5432/{database}"
    }
    assert {user, database} <= set(SERVICES["postgres"]["healthcheck"]["test"])


def test_secrets_are_made_once_and_are_nobody_elses(tmp_path: Path) -> None:
    script = tmp_path / "secrets.sh"
    shutil.copy(FOLDER / "secrets.sh", script)
    first = made_by(script)
    assert all(re.fullmatch("[0-9a-f]{64}", secret) for secret in first.values())
    assert len(set(first.values())) == 3
    assert made_by(script) == first
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    assert "secrets/" in (FOLDER / ".gitignore").read_text("utf-8")


def made_by(script: Path) -> dict[str, str]:
    subprocess.run(["sh", str(script)], check=True, timeout=60)
    return {path.name: path.read_text("utf-8") for path in (script.parent / "secrets").iterdir()}


def test_the_image_is_built_from_what_is_there() -> None:
    copied = {word for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]}
    assert all((ROOT / name).exists() for name in copied)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    assert allowed == copied
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(re.findall(r"\.\[(\w+)\]", DOCKERFILE)) <= set(project["optional-dependencies"])
    (entry,) = re.findall(r'^ENTRYPOINT \["(.*)"\]', DOCKERFILE, re.MULTILINE)
    assert entry in project["scripts"]
    (command,) = re.findall(r"^CMD \[(.*)\]", DOCKERFILE, re.MULTILINE)
    words = command.replace('"', "").split(", ")
    assert str(parsed(words).params["data"]) in re.findall(r"^VOLUME (\S+)", DOCKERFILE, re.MULTILINE)


def test_the_proxy_asks_what_a_hub_answers_and_waits_for_longer_than_a_hub() -> None:
    assert set(re.findall(r"health_uri (\S+)", CADDYFILE)) <= paths()
    (waits,) = re.findall(r"response_header_timeout (\d+)s", CADDYFILE)
    assert int(waits) > limits.WAIT_S_MAX
    (kept,) = re.findall(r"keepalive (\d+)s", CADDYFILE)
    assert int(kept) < KEEP_ALIVE_S
    (interval,) = re.findall(r"health_interval (\d+)s", CADDYFILE)
    (timeout,) = re.findall(r"health_timeout (\d+)s", CADDYFILE)
    drain_s = config.duration_ms(env_of("hub.env")["UNDERSTUDY_HUB_DRAIN"]) / 1000
    assert int(interval) + int(timeout) < drain_s, "it must see 503 before the hub refuses anything"


def test_the_proxy_knows_every_hub() -> None:
    ports = {name: hub["environment"]["UNDERSTUDY_PORT"] for name, hub in HUBS.items()}
    assert set(SERVICES["caddy"]["environment"]["HUBS"].split()) == {f"{name}:{port}" for name, port in ports.items()}
    assert set(SERVICES["caddy"]["environment"]) == set(env_of("caddy.env")) == set(re.findall(r"{\$(\w+)}", CADDYFILE))
    local = {f"127.0.0.1:{env_of(f'hub-{name}.env')['UNDERSTUDY_PORT']}" for name in "ab"}
    assert set(env_of("caddy.env")["HUBS"].split()) == local
    assert len(local) == 2


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_unit_starts_a_hub_with_settings_that_exist(name: str, tmp_path: Path) -> None:
    given = dict(line.split("=", 1) for line in directives("Environment"))
    given = {key: value.replace("%H", "host").replace("%i", name) for key, value in given.items()}
    settings = settings_of({**given, **env_of("hub.env"), **env_of(f"hub-{name}.env")}, tmp_path)
    assert settings.hub_name == f"host:{name}"
    credentials = {line.split(":")[0] for line in directives("LoadCredential")}
    assert {value.removeprefix("%d/") for value in given.values() if "%d" in value} == credentials
    assert credentials == set(COMPOSE["secrets"])
    (start,) = directives("ExecStart")
    program, *words = shlex.split(start.replace("%i", name))
    assert Path(program).name == "understudy"
    assert str(parsed(words).params["data"]) == f"/var/lib/{directives('StateDirectory')[0].replace('%i', name)}"
    (stops,) = directives("TimeoutStopSec")
    assert int(stops) * 1000 > settings.hub_drain_ms + STOP_WITHIN_S * 1000


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "understudy-hub@a.service"
    unit.write_text(UNIT.replace("/opt/understudy/bin/understudy", shutil.which("true") or "/bin/true"), "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    assert str(unit.name) not in done.stderr, done.stderr


@pytest.mark.skipif(shutil.which("caddy") is None, reason="no caddy here")
def test_caddy_takes_its_file(tmp_path: Path) -> None:
    caddy = ["caddy", "adapt", "--validate", "--config", str(FOLDER / "Caddyfile"), "--adapter", "caddyfile"]
    environ = {**env_of("caddy.env"), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin:/usr/local/bin"}
    done = subprocess.run(caddy, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "127.0.0.1:8788" in done.stdout
