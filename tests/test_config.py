"""Settings: units are asked for, the stronger source wins, what contradicts itself is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy import config
from understudy.config.worker_vars import texts_of
from understudy.errors import ConfigError


def load(tmp_path, toml="", **environ):
    if toml:
        (tmp_path / "understudy.toml").write_text(toml, "utf-8")
    return config.load(environ, tmp_path)


@pytest.mark.parametrize(
    ("text", "ms"),
    [("100ms", 100), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("1d", 86_400_000), ("1h30m", 5_400_000)],
)
def test_a_duration_has_a_unit(text, ms):
    assert config.duration_ms(text) == ms
    assert config.duration_ms(config.duration_text(ms)) == ms


@pytest.mark.parametrize("text", ["", "s", "5x", "-5s", "5 minutes", "1e3s", "s5"])
def test_what_is_no_duration_is_refused_with_examples(text):
    with pytest.raises(ValueError, match="100ms, 30s, 5m"):
        config.duration_ms(text)


def test_a_bare_number_is_refused_with_the_mend(tmp_path):
    with pytest.raises(ConfigError, match=r"UNDERSTUDY_LATE_AFTER: 180 has no unit: write 180s"):
        load(tmp_path, UNDERSTUDY_LATE_AFTER="180")


def test_defaults_hold_without_any_source(tmp_path):
    loaded = load(tmp_path)
    assert loaded.settings == config.Settings()
    assert loaded.notes == ()
    assert (loaded.settings.late_after_ms, loaded.settings.down_after_ms) == (180_000, 300_000)


def test_the_environment_is_stronger_than_the_file_and_an_option_than_both(tmp_path):
    toml = 'port = 9001\nlease_duration = "20s"\nprovides = ["machine", "gpu"]\ndocs = false\n'
    loaded = load(tmp_path, toml, UNDERSTUDY_PORT="9002")
    assert (loaded.settings.port, loaded.settings.lease_duration_ms) == (9002, 20_000)
    assert loaded.settings.provides == ("machine", "gpu")
    assert loaded.settings.docs is False
    assert loaded.origins["port"] == "UNDERSTUDY_PORT"
    assert config.load({"UNDERSTUDY_PORT": "9002"}, tmp_path, port=9003).settings.port == 9003


def test_an_empty_variable_is_not_set(tmp_path):
    assert load(tmp_path, UNDERSTUDY_PORT="").settings.port == 8787


def test_an_unknown_key_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"no setting 'late_aftr'. Did you mean late_after\?"):
        load(tmp_path, 'late_aftr = "15s"')


def test_an_unknown_variable_is_noted(tmp_path):
    (note,) = load(tmp_path, UNDERSTUDY_LATE_AFTR="15s").notes
    assert "Did you mean UNDERSTUDY_LATE_AFTER?" in note


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("port = 70000", "outside of 0 … 65535"),
        ("port = true", "not a whole number"),
        ('log_level = "loud"', "none of debug, info, warning, critical"),
        ('docs = "maybe"', "none of true, false"),
        ('lease_duration = "1s"', "outside of 2s … 10m"),
        ("late_after = 180", "write 180s"),
        ("= 3", "not valid TOML"),
        ('store = "mysql://x"', "mysql is not supported"),
        ('store = "postgresql://u:p@ss@x/d"', "not the address of a PostgreSQL database"),
        ('store = "postgresql:/u:pass@x/d"', "not the address of a PostgreSQL database"),
        ('store = "postgresql://u:one@x/d"\nstore_password = "two"', "given twice"),
        ('api_key = "two words"', "this is not a key"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(tmp_path, toml, says):
    with pytest.raises(ConfigError, match=says):
        load(tmp_path, toml)


def test_a_config_file_that_was_named_must_exist(tmp_path):
    with pytest.raises(ConfigError, match="check UNDERSTUDY_CONFIG"):
        load(tmp_path, UNDERSTUDY_CONFIG=str(tmp_path / "nowhere.toml"))


def test_every_secret_can_be_in_a_file(tmp_path):
    (tmp_path / "key").write_text("usk_secret_of_20_characters\n")
    secrets = [row for row in config.table().values() if row.is_secret]
    assert len(secrets) >= 5
    for row in secrets:
        environ = {f"{row.env[0]}_FILE": str(tmp_path / "key")}
        settings = config.load(environ, tmp_path).settings
        assert getattr(settings, row.attribute) == "usk_secret_of_20_characters"
        keys = {row.env[0]: "usk_secret_of_20_characters"} if row.of.section == "keys" else {}
        assert config.environment_keys(settings) == keys
    (tmp_path / "understudy.toml").write_text(f'admin_api_key_file = "{tmp_path / "key"}"')
    assert config.load({}, tmp_path).settings.admin_api_key == "usk_secret_of_20_characters"


def test_a_secret_in_two_places_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="UNDERSTUDY_API_KEY and UNDERSTUDY_API_KEY_FILE are both set"):
        load(tmp_path, UNDERSTUDY_API_KEY="a", UNDERSTUDY_API_KEY_FILE="b")


@pytest.mark.parametrize("is_file_first", [False, True])
def test_a_secret_and_its_file_are_not_both_in_the_file_of_settings(tmp_path, *, is_file_first):
    (tmp_path / "key").write_text("usk_other")
    lines = ['api_key = "usk_one"', 'api_key_file = "key"']
    with pytest.raises(ConfigError, match=r"understudy\.toml: api_key and api_key_file are both set"):
        load(tmp_path, "\n".join(reversed(lines) if is_file_first else lines))


def test_an_empty_secret_file_is_refused(tmp_path):
    (tmp_path / "key").write_text(" \n")
    with pytest.raises(ConfigError, match="empty"):
        load(tmp_path, UNDERSTUDY_API_KEY_FILE=str(tmp_path / "key"))


def test_no_secret_is_in_what_settings_show(tmp_path):
    settings = load(tmp_path, UNDERSTUDY_API_KEY="usk_secret", ADMIN_API_KEY="usk_other").settings
    assert "usk_" not in repr(settings)


def test_late_is_never_sooner_than_two_beats(tmp_path):
    loaded = load(tmp_path, UNDERSTUDY_LATE_AFTER="15s")
    assert loaded.settings.late_after_ms == 20_000
    (note,) = loaded.notes
    assert note.startswith("late_after 15s is shorter than twice the heartbeat interval of 10s:")
    assert note.endswith(": healthy daemons would be reported, so 20s is used")
    assert load(tmp_path, UNDERSTUDY_LATE_AFTER="20s").notes == ()


def test_down_keeps_its_distance_from_a_late_that_was_raised(tmp_path):
    settings = load(tmp_path, UNDERSTUDY_HEARTBEAT_INTERVAL="5m").settings
    assert (settings.late_after_ms, settings.down_after_ms) == (600_000, 720_000)


def test_of_late_and_down_the_one_that_nobody_set_gives_way(tmp_path):
    settings = load(tmp_path, UNDERSTUDY_DOWN_AFTER="60s").settings
    assert (settings.late_after_ms, settings.down_after_ms) == (36_000, 60_000)
    settings = load(tmp_path, UNDERSTUDY_LATE_AFTER="10m").settings
    assert (settings.late_after_ms, settings.down_after_ms) == (600_000, 720_000)


def test_late_and_down_that_contradict_each_other_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="must be longer than late_after"):
        load(tmp_path, UNDERSTUDY_LATE_AFTER="60s", UNDERSTUDY_DOWN_AFTER="60s")


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({"HOME": "/h"}, "linux", "/h/.local/share/understudy"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/x"}, "linux", "/x/understudy"),
        ({"HOME": "/h", "XDG_DATA_HOME": "relative"}, "linux", "/h/.local/share/understudy"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/x"}, "darwin", "/h/Library/Application Support/understudy"),
        ({"HOME": "/h", "UNDERSTUDY_DATA": "/d"}, "darwin", "/d"),
    ],
)
def test_data_is_kept_where_the_platform_keeps_it(environ, platform, expected):
    assert str(config.user_data_dir(environ, platform)) == expected


def test_every_setting_has_its_line_in_the_documentation():
    from tests.project.tree import documents

    text = documents()["docs/configuration.md"]
    assert [row.name for row in config.table().values() if f"`{row.name}`" not in text] == []
    assert [name for row in config.table().values() for name in row.env if f"`{name}`" not in text] == []


def test_names_of_the_first_daemon_are_understood_and_its_bare_numbers_are_milliseconds(tmp_path):
    old = {
        "CODEX_CLI": "/opt/codex",
        "WORK_DIR": "/w",
        "EXECUTION_TIMEOUT": "300000",
        "POLL_INTERVAL": "15000",
        "WORKER_ID": "mini",
        "LOG_DIR": "/logs",
    }
    settings = load(tmp_path, **old).settings
    assert (settings.codex_cli, settings.task_cwd, settings.daemon_id, settings.log_dir) == (
        "/opt/codex",
        "/w",
        "mini",
        "/logs",
    )
    assert (settings.execution_timeout_ms, settings.poll_wait_ms) == (300_000, 15_000)
    assert load(tmp_path, **old, UNDERSTUDY_POLL_WAIT="5s").settings.poll_wait_ms == 5_000
    assert load(tmp_path, EXECUTION_TIMEOUT="5m").settings.execution_timeout_ms == 300_000
    with pytest.raises(ConfigError, match="has no unit"):
        load(tmp_path, UNDERSTUDY_POLL_WAIT="15000")


def test_every_secret_setting_is_known_by_value(tmp_path):
    secrets = {row.env[0]: f"value-of-the-secret-{name}" for name, row in config.table().items() if row.is_secret}
    assert set(config.secrets_in(load(tmp_path, **secrets).settings)) == set(secrets.values())


def test_a_path_in_the_file_is_seen_from_the_file_as_the_service_sees_it(tmp_path, monkeypatch):
    (tmp_path / "key").write_text("usk_secret\n")
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    toml = 'workspaces = "ws"\nlog_dir = "/var/log"\nclaude_cli = "./bin/claude"\ncodex_cli = "codex"\n'
    found = load(tmp_path, toml + 'api_key_file = "key"').settings
    assert (found.workspaces, found.log_dir) == (str(tmp_path / "ws"), "/var/log")
    assert (found.claude_cli, found.codex_cli) == (str(tmp_path / "bin/claude"), "codex")
    assert found.api_key == "usk_secret"


def test_a_path_in_the_environment_is_seen_from_the_directory_of_the_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"WORK_DIR": "here", "UNDERSTUDY_LOG_DIR": "~/logs", "CODEX_CLI": "./codex", "UNDERSTUDY_CLAUDE_CLI": "cl"}
    found = load(tmp_path, **given).settings
    assert (found.task_cwd, found.log_dir) == (str(tmp_path / "here"), str(Path("~/logs").expanduser()))
    assert (found.codex_cli, found.claude_cli) == (str(tmp_path / "codex"), "cl")


def test_a_file_of_endless_brackets_is_no_toml(tmp_path):
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load(tmp_path, "a = " + "[" * 5_000 + "]" * 5_000)


def test_money_is_counted_in_micro_usd_and_shown_as_written(tmp_path):
    loaded = load(tmp_path, UNDERSTUDY_TAKEOVER_BUDGET_TASK="0.000001", UNDERSTUDY_TAKEOVER_BUDGET_DAY="$12.5")
    assert (loaded.settings.takeover_budget_task, loaded.settings.takeover_budget_day) == (1, 12_500_000)
    kind = config.table()["takeover_budget_day"].of.kind
    assert (kind.show(12_500_000), kind.show(1), kind.show(10_000_000)) == ("12.5", "0.000001", "10")
    for wrong in ("-1", "1e3", "0.0000001", "many"):
        with pytest.raises(ConfigError, match="not an amount in USD"):
            load(tmp_path, UNDERSTUDY_TAKEOVER_BUDGET_DAY=wrong)


def test_sources_are_a_table_of_the_file_or_one_line_of_the_environment(tmp_path):
    in_file = load(tmp_path, '[takeover_sources]\nslack = "answer"\ncron = "off"\n')
    assert in_file.settings.takeover_sources == (("cron", "off"), ("slack", "answer"))
    (tmp_path / "understudy.toml").unlink()
    assert load(tmp_path, UNDERSTUDY_TAKEOVER_SOURCES="mail=notify").settings.takeover_sources == (("mail", "notify"),)
    for wrong in ("mail", "mail=loud", "=answer"):
        with pytest.raises(ConfigError, match="none of off, notify, interim, answer"):
            load(tmp_path, UNDERSTUDY_TAKEOVER_SOURCES=wrong)


@pytest.mark.parametrize("name", ["UNDERSTUDY_PROBE_URL", "UNDERSTUDY_PUBLIC_URL", "ANTHROPIC_BASE_URL"])
@pytest.mark.parametrize("url", ["http://[::1", "http://a..b/", "http://h:99999", "h", "http://h/a b", "http://"])
def test_what_is_no_address_is_refused_with_its_name(tmp_path, name, url):
    with pytest.raises(ConfigError, match=f"^{name}: this is not an address") as refused:
        load(tmp_path, **{name: url})
    assert refused.value.message.endswith("write it like https://example.com/path")


def test_a_header_of_a_proxy_is_believed_from_named_proxies_only(tmp_path):
    with pytest.raises(ConfigError, match="UNDERSTUDY_TRUSTED_PROXIES"):
        load(tmp_path, UNDERSTUDY_TRUST_USER_HEADER="Remote-User")
    with pytest.raises(ConfigError, match="not an address or network"):
        load(tmp_path, UNDERSTUDY_TRUST_USER_HEADER="Remote-User", UNDERSTUDY_TRUSTED_PROXIES="10.0.0.1,anybody")
    with pytest.raises(ConfigError, match="name of a header"):
        load(tmp_path, UNDERSTUDY_TRUST_USER_HEADER="Remote User", UNDERSTUDY_TRUSTED_PROXIES="10.0.0.1")
    proxied = {"UNDERSTUDY_TRUST_USER_HEADER": "Remote-User", "UNDERSTUDY_TRUSTED_PROXIES": "10.0.0.0/8,::1"}
    settings = load(tmp_path, **proxied, UNDERSTUDY_TRUSTED_USERS="alice=admin,bob=read").settings
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1")
    assert dict(settings.trusted_users) == {"alice": "admin", "bob": "read"}


def test_variables_of_a_worker_are_settings_as_json_has_them():
    """A limit that was written as a number was no setting at all: the default applied, without a word."""
    given = {"A": "0.5", "B": 0.5, "C": 4, "D": 4.0, "E": True, "F": False, "G": ["x"], "H": None, "I": {"a": 1}}
    assert texts_of(given) == {"A": "0.5", "B": "0.5", "C": "4", "D": "4", "E": "true", "F": "false"}
