"""`understudy deploy cloudflare --check` with a wrangler of our own: settings, size, start, deadlines."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import understudy
from tests.waiting import eventually
from understudy.cli import start
from understudy.cli.deploy_check import build, programs, settings
from understudy.cli.findings import PROBLEM
from understudy.errors import ConfigError

SAID = "Total Upload: 2500.53 KiB / gzip: {kib} KiB"

SLEEPS = "import time; time.sleep(600)"
HANGS = f"""import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "{SLEEPS}"], start_new_session=True)
open(sys.argv[1], "w").write(str(child.pid))
{SLEEPS}
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """What `deploy init` writes, in a directory with a space, with packages that need no network."""
    directory = tmp_path / "a hub"
    assert start.run(["deploy", "init", "cloudflare", str(directory)]) == 0
    capsys.readouterr()
    (directory / "python_modules" / "msgspec").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    fake(tmp_path, "node", "echo v22.12.0")
    fake(tmp_path, "npx", f"echo '{SAID.format(kib=812.24)}'")
    return directory


def fake(tmp_path: Path, name: str, script: str) -> None:
    program = tmp_path / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def check(directory: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = start.run(["deploy", "cloudflare", "--check", "--json", str(directory)])
    return code, json.loads(capsys.readouterr().out)


def change(directory: Path, old: str, new: str, name: str = settings.FILE) -> None:
    text = (directory / name).read_text("utf-8")
    assert old in text
    (directory / name).write_text(text.replace(old, new), "utf-8")


def wrong(said: dict[str, Any]) -> list[str]:
    return [finding["name"] for finding in said["findings"] if finding["level"] == PROBLEM]


def test_what_is_written_passes(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = check(files, capsys)
    assert (code, wrong(said)) == (0, [])
    assert {"settings", "wrangler", "size", "start"} <= {finding["name"] for finding in said["findings"]}
    assert start.run(["deploy", "cloudflare", "--check", str(files)]) == 0
    shown = capsys.readouterr().out
    assert "812 KiB" in shown
    assert shown.endswith("it can be deployed.\n")


BINDING = '"bindings": [{ "name": "TASK_COORDINATOR", "class_name": "TaskCoordinator" }]'
BREAKS = [
    (BINDING, '"bindings": []', "binding"),
    (BINDING, BINDING.replace("TASK_C", "QUEUE_C"), "binding"),
    ('"tag": "v1", ', "", "migration"),
    ("new_sqlite_classes", "new_classes", "migration"),
    ('"enable_request_signal", ', "", "flags"),
    ('"python_workers", ', "", "flags"),
    ("2026-11-01", "2025-11-01", "date"),
    ('"UNDERSTUDY_LATE_AFTER": "3m"', '"UNDERSTUDY_LATE_AFTER": "soon"', "vars"),
    ('"UNDERSTUDY_LATE_AFTER": "3m"', '"UNDERSTUDY_API_KEY": "k"', "secret"),
    ('"UNDERSTUDY_LATE_AFTER": "3m"', '"SLACK_BOT_TOKEN": "t"', "secret"),
    ('"UNDERSTUDY_LATE_AFTER": "3m"', '"MINE": "xoxb-123456789012-abcdefghijkl"', "secret"),
    ('"UNDERSTUDY_LATE_AFTER": "3m"', '"UNDERSTUDY_TAKEOVER": ["answer"]', "shape"),
    ('"UNDERSTUDY_LATE_AFTER": "3m"', '"UNDERSTUDY_TAKEOVER_BUDGET_DAY": null', "shape"),
    ('"UNDERSTUDY_LATE_AFTER": "3m"', '"UNDERSTUDY_TAKEOVER_CALLS_AT_ONCE": 99', "vars"),
    ('"src/entry.py"', '"src/other.py"', "entry"),
    *[
        ('"UNDERSTUDY_LATE_AFTER": "3m"', text, "vars")
        for text in (
            '"SMTP_URL": "smtps://mail.test", "SMTP_TO": "a@b.test", "SMTP_FROM": "c@b.test"',
            '"UNDERSTUDY_QUIET_HOURS": "night"',
            '"UNDERSTUDY_QUIET_HOURS": "22:00-07:00@Asia/Nowhere"',
            '"UNDERSTUDY_PRICES": "a-model"',
            '"UNDERSTUDY_REPLY_TO": "pigeon:1"',
            '"NOTIFICATION_TYPE": "email"',
            '"UNDERSTUDY_API_KEY_FILE": "/dev/null"',
            '"UNDERSTUDY_CONFIG": "/dev/null"',
        )
    ],
]


@pytest.mark.parametrize(("old", "new", "name"), BREAKS, ids=[f"{name}-{n}" for n, (_, _, name) in enumerate(BREAKS)])
def test_each_setting_that_is_wrong_is_named_and_nothing_is_built(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, name: str
) -> None:
    fake(tmp_path, "npx", "touch built; exit 1")
    change(files, old, new)
    code, said = check(files, capsys)
    assert (code, wrong(said)) == (1, [name])
    assert all(finding["mend"] for finding in said["findings"] if finding["level"] == PROBLEM)


def test_numbers_and_switches_may_be_written_as_json_has_them(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = '"UNDERSTUDY_TAKEOVER_BUDGET_DAY": 0.5, "UNDERSTUDY_TAKEOVER_CALLS_AT_ONCE": 4, "UNDERSTUDY_DOCS": false'
    change(files, '"UNDERSTUDY_LATE_AFTER": "3m"', numbers)
    code, said = check(files, capsys)
    assert (code, wrong(said)) == (0, [])


@pytest.mark.parametrize(
    "given",
    [
        '"SLACK_CHANNEL_ID": "C0123456789", "UNDERSTUDY_REPLY_TO": "slack:C0123456789"',
        '"TELEGRAM_CHAT_ID": "-100123", "NOTIFICATION_TYPE": "telegram"',
        '"NTFY_URL": "https://ntfy.test/mine", "NOTIFICATION_TYPE": "slack, discord"',
        '"UNDERSTUDY_REPLY_TO": "discord"',
        '"UNDERSTUDY_WEBHOOK_FORMAT": "pagerduty"',
        '"UNDERSTUDY_TIME_ZONE": "Asia/Tokyo", "UNDERSTUDY_QUIET_HOURS": "22:00-07:00"',
    ],
)
def test_what_a_secret_may_complete_is_well(files: Path, capsys: pytest.CaptureFixture[str], given: str) -> None:
    change(files, '"UNDERSTUDY_LATE_AFTER": "3m"', given)
    _, said = check(files, capsys)
    assert "vars" not in {finding["name"] for finding in said["findings"]}


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ("from understudy.cloudflare.entry import Default\n", ["exports"]),
        (
            "from workers import DurableObject\nclass Default: ...\nclass TaskCoordinator(DurableObject): ...\n",
            ["alarm"],
        ),
        ("from workers import DurableObject\nclass Default: ...\nclass TaskCoordinator:\n def alarm(self): ...\n", []),
        ("from understudy.cloudflare.entry import Default, TaskCoordinator as H\nclass TaskCoordinator(H): ...\n", []),
        ("import (", ["entry"]),
    ],
)
def test_an_entry_without_its_classes_or_without_the_alarm_is_named(
    files: Path, capsys: pytest.CaptureFixture[str], entry: str, names: list[str]
) -> None:
    (files / "src" / "entry.py").write_text(entry)
    assert wrong(check(files, capsys)[1]) == names


@pytest.mark.parametrize("main", ["worker/app/entry.py", "entry.py"])
def test_the_entry_may_lie_elsewhere_and_import_what_lies_beside_it(
    files: Path, capsys: pytest.CaptureFixture[str], main: str
) -> None:
    change(files, '"src/entry.py"', f'"{main}"')
    (files / main).parent.mkdir(parents=True, exist_ok=True)
    entry = (files / "src" / "entry.py").read_text()
    (files / main).write_text(f"import near\nimport packed\n{entry}")
    (files / main).with_name("near.py").write_text("")
    (files / main).with_name("packed").mkdir()
    ((files / main).parent / "packed" / "__init__.py").write_text("")
    code, said = check(files, capsys)
    assert (code, wrong(said)) == (0, []), said


@pytest.mark.parametrize("main", ["../entry.py", "/entry.py", "src/../../entry.py"])
def test_an_entry_that_is_not_in_the_directory_is_named_and_not_run(
    files: Path, capsys: pytest.CaptureFixture[str], main: str
) -> None:
    change(files, '"src/entry.py"', f'"{main}"')
    (files.parent / "entry.py").write_text((files / "src" / "entry.py").read_text())
    assert wrong(check(files, capsys)[1]) == ["entry"]


def test_a_package_of_a_stranger_is_refused_and_another_version_is_noted(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (files / settings.PACKAGES).open("a") as requirements:
        requirements.write("understudy==0.1.0\n")
    assert wrong(check(files, capsys)[1]) == ["stranger"]
    (files / settings.OURS / "__init__.py").write_text('__version__ = "9.9"\n')
    change(files, "understudy==0.1.0\n", "", settings.PACKAGES)
    assert "version" in {finding["name"] for finding in check(files, capsys)[1]["findings"]}


@pytest.mark.parametrize("line", ["tzdata==2026.6\n", "typing_extensions==4.16.0\n"])
def test_a_package_that_is_needed_there_and_missing_is_named(
    files: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    change(files, line, "", settings.PACKAGES)
    assert wrong(check(files, capsys)[1]) == ["missing"]


def test_a_hub_that_is_too_large_is_refused_with_all_limits(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kib, expected in ((1535.9, 0), (1536, 1)):
        fake(tmp_path, "npx", f"echo '{SAID.format(kib=kib)}'")
        code, said = check(files, capsys)
        assert code == expected
    (size,) = [finding for finding in said["findings"] if finding["name"] == "size"]
    for limit in ("1536 KiB", "3 MiB", "10 MiB"):
        assert limit in size["what"]


def test_a_start_that_takes_too_long_is_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = (files / "src" / "entry.py").read_text()
    slow = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
    (files / "src" / "entry.py").write_text(entry + slow)
    assert wrong(check(files, capsys)[1]) == ["start"]


def test_what_wrangler_says_is_passed_on(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake(tmp_path, "npx", "echo 'Missing entry-point'; exit 1")
    code, said = check(files, capsys)
    assert (code, wrong(said)) == (1, ["wrangler"])
    assert "Missing entry-point" in str(said)


def test_an_older_node_gets_npms_own_and_no_key_goes_along(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "token-of-mine")
    heard = tmp_path / "heard"
    fake(tmp_path, "npx", f"echo \"$@ $CLOUDFLARE_API_TOKEN\" > '{heard}'; echo '{SAID.format(kib=1)}'")
    check(files, capsys)
    assert heard.read_text().split() == ["--yes", "-p", "wrangler@4", "wrangler", "deploy", "--dry-run"]
    fake(tmp_path, "node", "echo v20.20.2")
    check(files, capsys)
    assert heard.read_text().split()[1:3] == ["-p", "node@22"]


def test_without_npm_it_says_what_to_install(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bin" / "npx").unlink()
    assert start.run(["deploy", "cloudflare", "--check", str(files)]) == 2
    assert "install Node 22" in capsys.readouterr().err


def test_nothing_of_the_owner_is_touched(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def seen() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in files.rglob("*")}

    before = seen()
    check(files, capsys)
    assert seen() == before


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, "\xff"])
def test_a_configuration_that_cannot_be_read_is_a_sentence(
    files: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (files / settings.FILE).write_text(content, "latin-1")
    assert start.run(["deploy", "cloudflare", "--check", str(files)]) == 2
    assert "wrangler.jsonc cannot be read" in capsys.readouterr().err


def test_comments_and_last_commas_are_read_and_texts_stay_whole(tmp_path: Path) -> None:
    (tmp_path / settings.FILE).write_text('{/* a */ "a": "http://x, }", // b\n "b": [1, 2,],\n}')
    assert settings.configuration_of(tmp_path) == {"a": "http://x, }", "b": [1, 2]}
    with pytest.raises(ConfigError, match="cannot be read"):
        settings.configuration_of(tmp_path / "nowhere")


def test_a_program_that_takes_too_long_ends_with_all_that_it_started(tmp_path: Path) -> None:
    told = tmp_path / "child"
    ran = programs.run((sys.executable, "-c", HANGS, str(told)), tmp_path, 3.0, os.environ)
    assert ran.code is None
    if told.exists() and (pid := told.read_text()):
        eventually(lambda: not _is_alive(int(pid)), within_s=60, what="the end of what it started")


def _is_alive(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_without_the_option_it_says_how_to_deploy(tmp_path: Path) -> None:
    done = understudy("deploy", "cloudflare", str(tmp_path))
    assert done.code == 2
    assert "npx wrangler@4 deploy" in done.err


def test_the_limits_are_the_documented_ones() -> None:
    assert (build.GZIP_KIB_MAX, build.FREE_KIB_MAX, build.PAID_KIB_MAX) == (1536, 3072, 10240)
    assert (build.CPU_S_MAX, build.CLOUDFLARE_CPU_S_MAX) == (0.5, 1.0)
