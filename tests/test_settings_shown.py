"""Settings as people may see them: what is in force, from where, and no secret."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from understudy import config
from understudy.config.policy import hub_inputs
from understudy.config.shown import SettingShown, settings_shown


def shown_of(
    environ: dict[str, str], folder: Path, saved: dict[str, str] | None = None, **options: object
) -> dict[str, SettingShown]:
    loaded = config.load(environ, folder, **options)
    given = hub_inputs(loaded.settings, environ, folder, config.environment_keys(loaded.settings))
    return {row.name: row for row in settings_shown(loaded, given.secrets, saved)}


def test_each_value_has_its_origin(tmp_path: Path) -> None:
    (tmp_path / "understudy.toml").write_text('late_after = "4m"\nport = 9000\n')
    shown = shown_of({"UNDERSTUDY_DOWN_AFTER": "10m", "UNDERSTUDY_LATE_AFTER": ""}, tmp_path, port=9001)
    file = str(tmp_path / "understudy.toml")
    assert [(shown[name].value, shown[name].origin, shown[name].place) for name in (
        "host", "late_after", "down_after", "port",
    )] == [
        ("127.0.0.1", "default", ""),
        ("4m", "file", f"{file}: late_after"),
        ("10m", "environment", "UNDERSTUDY_DOWN_AFTER"),
        ("9001", "option", "--port"),
    ]  # fmt: skip
    assert shown["down_after"].default == "5m"


def test_what_was_adapted_says_so(tmp_path: Path) -> None:
    shown = shown_of({"UNDERSTUDY_LATE_AFTER": "20m"}, tmp_path)
    assert (shown["down_after"].origin, shown["down_after"].value) == ("adapted", "22m")
    shown = shown_of({"UNDERSTUDY_LATE_AFTER": "15s"}, tmp_path)
    assert (shown["late_after"].origin, shown["late_after"].place) == ("adapted", "UNDERSTUDY_LATE_AFTER")


def test_keys_that_were_made_are_saved_somewhere(tmp_path: Path) -> None:
    shown = shown_of({}, tmp_path, {"api_key": "/data/api-key"})
    assert (shown["api_key"].origin, shown["api_key"].place, shown["api_key"].is_set) == (
        "saved", "/data/api-key", True,
    )  # fmt: skip
    assert not shown["admin_api_key"].is_set


SECRETS = [row for row in config.table().values() if row.is_secret]


@pytest.mark.parametrize("row", SECRETS, ids=lambda row: row.name)
@pytest.mark.parametrize("way", ["environment", "file"])
def test_no_secret_leaves_the_room(tmp_path: Path, row: config.Setting, way: str) -> None:
    address = "https://hooks.example.com/services/T000/B000/very-secret-value-0123456789"
    secret = address if row.name != "badge" else "very-secret-value-0123456789"  # is no address
    environ = {"UNDERSTUDY_CONFIG": str(tmp_path / "my.toml")}
    (tmp_path / "my.toml").write_text("")
    if way == "environment":
        environ[row.env[0]] = secret
    else:
        (tmp_path / "secret").write_text(secret)
        environ[f"{row.env[0]}_FILE"] = str(tmp_path / "secret")
    shown = shown_of(environ, tmp_path)
    if row.of.section != "daemon":
        assert shown[row.name].is_set
        assert shown[row.name].value == ""
        assert shown[row.name].origin == "environment"
    assert b"very-secret" not in msgspec.json.encode(shown)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("NTFY_URL", "https://me:hunter2-hunter2@ntfy.example.com/topic", "hunter2-hunter2"),
        ("UNDERSTUDY_PROBE_URL", "https://probe.example.com/?token=hunter2-hunter2-abcdef", "hunter2-hunter2"),
        ("ANTHROPIC_BASE_URL", "https://me:hunter2-hunter2@proxy.example.com", "hunter2-hunter2"),
    ],
)
def test_a_secret_in_what_is_none_is_masked(tmp_path: Path, name: str, value: str, secret: str) -> None:
    assert secret.encode() not in msgspec.json.encode(shown_of({name: value}, tmp_path))


def test_what_only_daemons_read_is_left_out(tmp_path: Path) -> None:
    shown = shown_of({}, tmp_path)
    assert "claude_cli" not in shown
    assert "daemon_id" not in shown
    assert "prices" in shown


def test_the_password_of_libpq_is_one_of_the_store_on_postgres_only(tmp_path: Path) -> None:
    environ = {"PGPASSWORD": "hunter2-hunter2", "UNDERSTUDY_STORE": "postgresql://hub@db/u"}
    assert config.load(environ, tmp_path).settings.store_password == "hunter2-hunter2"
    shown = shown_of(environ, tmp_path)["store_password"]
    assert (shown.origin, shown.place, shown.value) == ("environment", "PGPASSWORD", "")
    assert config.load({"PGPASSWORD": "hunter2-hunter2"}, tmp_path).settings.store_password == ""
    environ["UNDERSTUDY_STORE"] = "postgresql://hub:stronger@db/u"
    assert config.load(environ, tmp_path).settings.store_password == "stronger"


@pytest.mark.parametrize("way", ["environment", "file"])
def test_the_password_of_the_store_is_a_secret_wherever_it_stands(tmp_path: Path, way: str) -> None:
    address = "postgresql://hub:hunter2%40hunter2@db.example.com/understudy"
    (tmp_path / "understudy.toml").write_text(f'store = "{address}"\n' if way == "file" else "")
    environ = {"UNDERSTUDY_STORE": address} if way == "environment" else {}
    shown = shown_of(environ, tmp_path)
    assert shown["store"].value == "postgresql://hub@db.example.com/understudy"
    assert [(shown[name].origin, shown[name].is_set) for name in ("store", "store_password")] == [(way, True)] * 2
    assert b"hunter2" not in msgspec.json.encode(shown)
    settings = config.load(environ, tmp_path).settings
    assert settings.store_password == "hunter2@hunter2"
    assert "hunter2" not in repr(settings)
    assert "hunter2@hunter2" in hub_inputs(settings, environ, tmp_path, {}).secrets
