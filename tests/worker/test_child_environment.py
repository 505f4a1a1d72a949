"""What a run may see: an allowlist, what the owner wants through, one login; never what is ours."""

from __future__ import annotations

import pytest

from understudy.worker.executors.child_environment import child_env, credential, our_secrets

KEY = "usk_0123456789abcdefghjkmnpqrstvwxyz"


@pytest.mark.parametrize(
    "name",
    [
        *("UNDERSTUDY_API_KEY", "UNDERSTUDY_API_KEY_FILE", "ASSISTANT_API_KEY", "QUEUE_API_KEY", "WORKERS_API_KEY"),
        *("ADMIN_API_KEY", "SLACK_BOT_TOKEN", "SLACK_WEBHOOK_URL", "DISCORD_BOT_TOKEN", "TELEGRAM_BOT_TOKEN"),
        *("SMTP_PASSWORD", "NTFY_TOKEN", "DATABASE_URL", "PGPASSWORD", "CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT"),
        "CLAUDE_CODE_OAUTH_TOKEN",
    ],
)
def test_what_is_ours_is_not_passed_on_even_if_asked_for(name: str):
    assert child_env({name: "a-value-of-ours", "PATH": "/bin"}, (name,)) == {"PATH": "/bin"}


def test_a_value_of_ours_is_not_passed_on_under_another_name():
    ambient = {"SLACK_BOT_TOKEN": "xoxb-0123456789", "COPY": "Bearer xoxb-0123456789", "OTHER": f"k={KEY}", "MINE": "x"}
    assert child_env(ambient, ("COPY", "OTHER", "MINE"), (KEY,)) == {"MINE": "x"}


def test_short_values_and_settings_are_no_secrets():
    ambient = {"UNDERSTUDY_CAPACITY": "/usr/bin", "ADMIN_API_KEY": "short", "PATH": "/usr/bin", "LANG": "short"}
    assert our_secrets(ambient) == ()
    assert child_env(ambient, ()) == {"PATH": "/usr/bin", "LANG": "short"}


def test_what_the_owner_wants_through_is_passed_on():
    ambient = {"GITHUB_TOKEN": "ghp-1", "HOME": "/h", "LC_ALL": "C", "EDITOR": "vi"}
    assert child_env(ambient, ("GITHUB_TOKEN",)) == {"GITHUB_TOKEN": "ghp-1", "HOME": "/h", "LC_ALL": "C"}


def test_an_assistant_has_exactly_one_login_or_none():
    names = ("CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY")
    assert credential({"ANTHROPIC_API_KEY": "a", "CLAUDE_CODE_OAUTH_TOKEN": "b"}, names) == {names[0]: "b"}
    assert credential({"ANTHROPIC_API_KEY": "a", "CLAUDE_CODE_OAUTH_TOKEN": ""}, names) == {names[1]: "a"}
    assert credential({}, names) == {}
