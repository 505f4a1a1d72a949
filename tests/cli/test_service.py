"""`understudy service`: real daemons and hubs, kept by a played systemd or launchd, and seen at a real hub."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import plistlib
import signal
import stat
import subprocess
import sys

import psutil
import pytest

from tests.cli.services import on_a_mac, on_linux
from tests.environment import environment_seen_of
from tests.hub_process import KEY, running_hub
from tests.ports import free_port
from tests.waiting import eventually
from understudy.cli.service_program import SYSTEM, program_of, refuse_secrets, secret_files
from understudy.config import assignments
from understudy.daemon import installation
from understudy.daemon.index import SOURCES
from understudy.errors import ConfigError
from understudy.wire.proxies import NAMES as PROXIES
from understudy.worker.executors import claude_code, codex


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_hub(tmp_path_factory.mktemp("service")) as h:
        yield h


@pytest.fixture
def linux(tmp_path, hub):
    with on_linux(tmp_path, UNDERSTUDY_HUB=hub.url, UNDERSTUDY_API_KEY=KEY) as machine:
        yield machine


@pytest.fixture
def mac(tmp_path, hub):
    with on_a_mac(tmp_path, UNDERSTUDY_HUB=hub.url, UNDERSTUDY_API_KEY=KEY) as machine:
        yield machine


@pytest.fixture(params=["linux", "mac"])
def machine(request):
    return request.getfixturevalue(request.param)


def boot_id(hub):
    return hub.get("/api/daemons/mini")["bootId"]


def test_a_daemon_from_install_to_uninstall(machine, hub):
    done = machine("service", "install", "--json")
    assert done.code == 0, done.err
    state = json.loads(done.out)
    assert (state["role"], state["state"]) == ("daemon", "running")
    first = boot_id(hub)
    assert hub.get("/api/daemons/mini")["state"] == "healthy"

    assert machine("service", "status").code == 0
    assert machine("service", "restart").code == 0
    second = boot_id(hub)
    assert second > first, "success is said only after a heartbeat with a new bootId"

    assert machine("service", "stop").code == 0
    assert machine("service", "status").code == 1
    assert machine("service", "start").code == 0
    assert boot_id(hub) > second

    pid = json.loads(machine("service", "status", "--json").out)["pid"]
    assert machine("service", "uninstall").code == 0
    assert "not installed" in machine("service", "status").out
    eventually(lambda: not psutil.pid_exists(pid), what="the daemon's end")


def test_a_stop_is_quiet_only_if_it_was_announced(linux, hub):
    assert linux("service", "install").code == 0
    assert linux("service", "stop", "--planned", "--for", "2h").code == 0
    shown = hub.get("/api/daemons/mini")
    assert (shown["state"], shown["reason"], "quietUntil" in shown) == ("stopped", "planned", True)

    assert linux("service", "start").code == 0
    assert "reason" not in hub.get("/api/daemons/mini")
    assert linux("service", "stop").code == 0
    shown = hub.get("/api/daemons/mini")
    assert (shown["state"], "reason" in shown) == ("stopped", False)

    told = linux("service", "stop", "--planned")
    assert "understudy daemons pause mini" in told.err


def test_only_the_stop_of_a_daemon_is_announced(linux):
    assert linux("service", "stop", "--for", "2h").code == 2
    assert linux("service", "stop", "--planned", "--for", "12000d").code == 2  # no beat could say it
    assert linux("service", "stop", "--planned", "--for", "0s").code == 2  # 0 would be for ever
    assert linux("service", "stop", "hub", "--planned").code == 2


def test_no_secret_is_in_any_file_of_the_service_or_in_ps(machine):
    machine.is_prepared = False  # the unit's own command line and environment, as others see them
    machine.environ["UNDERSTUDY_TASK_ENV_PASS"] = "GITHUB_TOKEN"
    machine.environ["GITHUB_TOKEN"] = "ghp_0123456789abcdef"
    done = machine("service", "install", "--json")
    assert done.code == 0, done.err
    state = json.loads(done.out)
    file = machine.unit if machine.unit.exists() else machine.plist
    for secret in (KEY, "ghp_0123456789abcdef"):
        assert secret not in file.read_text()
        assert secret not in " ".join(psutil.Process(state["pid"]).cmdline())
        assert secret not in done.out + done.err
    kept = [path for path in (machine.data / "service").rglob("*") if path.is_file()]
    assert {path.name for path in kept} == {"api-key", "env"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    assert KEY not in json.dumps(environment_seen_of(psutil.Process(state["pid"])))


def test_what_the_owner_lets_through_reaches_the_task(linux, hub):
    linux.environ["UNDERSTUDY_TASK_ENV_PASS"] = "GITHUB_TOKEN"
    linux.environ["GITHUB_TOKEN"] = "a-token-of-the-owner"
    code = "import os; print(len(os.environ['GITHUB_TOKEN']), 'characters')"
    assert linux("service", "install", "daemon", "--", sys.executable, "-c", code).code == 0
    told = linux("submit", "go", "--wait")
    assert told.out.strip() == "20 characters", told.err


def test_dry_run_shows_it_and_does_nothing(machine):
    done = machine("service", "install", "--dry-run")
    assert done.code == 0
    assert KEY not in done.out
    assert "api-key" in done.out
    if machine.system.names == ("launchctl",):
        text = done.out.split("\n", 1)[1]
        assert plistlib.loads(text[: text.index("</plist>") + 8].encode())["Label"] == "org.understudy.daemon"
    else:
        assert "WatchdogSec=60" in done.out
    assert not machine.data.exists()
    assert not machine.system.asked
    assert not machine.unit.exists()
    assert not machine.plist.exists()


def test_a_chosen_data_directory_gives_the_unit_its_hub(linux, tmp_path):
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    (chosen / "understudy.toml").write_text('hub = "https://chosen.example"\napi_key = "of-chosen"\n')
    for name in ("UNDERSTUDY_HUB", "UNDERSTUDY_API_KEY"):
        del linux.environ[name]
    done = linux("service", "install", "--dry-run", "--data", str(chosen))
    assert done.code == 0, done.err
    assert "UNDERSTUDY_HUB=https://chosen.example" in done.out
    assert f"UNDERSTUDY_DATA={chosen}" in done.out


def test_an_env_file_may_name_the_data_directory(linux, tmp_path):
    del linux.environ["UNDERSTUDY_DATA"]
    (tmp_path / "given").write_text(f"UNDERSTUDY_DATA={tmp_path}/chosen\n")
    done = linux("service", "install", "--dry-run", "--env-file", "given")
    assert done.code == 0, done.err
    assert f"UNDERSTUDY_DATA={tmp_path}/chosen" in done.out
    assert f"{tmp_path}/chosen/service/daemon/api-key" in done.out


def test_a_daemon_keeps_its_own_channels(linux):
    """With them it tells by itself that the hub is out of reach."""
    linux.environ |= {"SLACK_BOT_TOKEN": "xoxb-1-secret", "SLACK_CHANNEL_ID": "C1", "PIP_INDEX_URL": "https://u:pw@i"}
    plan = json.loads(linux("service", "install", "--dry-run", "--json").out)
    assert {path.rpartition("/")[2] for path in plan["keyFiles"]} == {"api-key", "slack-bot-token", "env"}
    assert "SLACK_CHANNEL_ID=C1" in plan["content"]
    assert "secret" not in plan["content"]
    assert "PIP_" not in plan["content"]


@pytest.mark.parametrize("role", ["daemon", "hub"])
def test_no_password_of_an_address_or_proxy_is_in_a_unit_and_none_is_lost(linux, role):
    linux.environ |= {
        "NTFY_URL": "https://me:first-word@ntfy.example/alerts",
        "HTTPS_PROXY": "http://me:second/word@proxy.example:3128",
        "UNDERSTUDY_PROBE_URL": "https://me:third-word@probe.example",
        "NO_PROXY": "intranet",
    }
    plan = json.loads(linux("service", "install", role, "--dry-run", "--json").out)
    assert not [word for word in ("first-word", "second/word", "third-word") if word in plan["content"]]
    assert "NO_PROXY=intranet" in plan["content"]
    environ = {**linux.environ, "UNDERSTUDY_DATA": str(linux.data)}
    (path, lines) = secret_files(role, environ, linux.data, None)["UNDERSTUDY_ENV_FILE"]
    assert f"UNDERSTUDY_ENV_FILE={path}" in plan["content"]
    kept = assignments(lines, "env")
    assert kept["NTFY_URL"] == linux.environ["NTFY_URL"]
    assert kept["HTTPS_PROXY"] == linux.environ["HTTPS_PROXY"]
    assert ("UNDERSTUDY_PROBE_URL" in kept) == (role == "hub")


def test_a_key_in_the_command_is_refused(linux):
    done = linux("service", "install", "daemon", "--", "assistant", "--key", KEY)
    assert done.code == 2
    assert "list of processes" in done.err
    assert KEY not in done.err


def test_success_is_not_said_without_a_heartbeat(tmp_path, monkeypatch):
    """The hub is not there: the service runs, and the command says what it knows."""
    monkeypatch.setenv("UNDERSTUDY_TEST", "1")
    with on_linux(tmp_path, UNDERSTUDY_HUB="http://127.0.0.1:9", UNDERSTUDY_API_KEY=KEY) as machine:
        from understudy.cli import service_proof

        done = machine("service", "install", "--no-verify")
        assert done.code == 0, done.err
        env = json.loads(machine("service", "status", "--json").out)["env"]
        monkeypatch.setattr(service_proof, "WITHIN_S", 0.3)
        proof = service_proof.proof_of("daemon", env)
        from understudy.cli.exits import ClientError
        from understudy.daemon.service import supervisor_of

        for name in ("HOME", "PATH"):
            monkeypatch.setenv(name, machine.environ[name])
        monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
        with pytest.raises(ClientError, match=r"no heartbeat of this start of mini.*doctor"):
            proof.wait(supervisor_of("daemon", machine.environ))


def test_a_daemon_that_cannot_start_is_told_with_its_log(linux):
    done = linux("service", "install", "daemon", "--", "/nowhere/assistant")
    assert done.code == 1
    assert "journalctl --user -u understudy-daemon.service" in done.err


def test_a_daemon_started_by_hand_is_named(linux):
    with subprocess.Popen(
        [sys.executable, "-m", "understudy", "daemon"], env=linux.environ, stderr=subprocess.PIPE
    ) as p:
        try:
            lock = linux.data / "daemons/mini/lock"
            eventually(lambda: lock.exists() and lock.read_text() == str(p.pid), what="its lock")
            done = linux("service", "install")
            assert done.code == 2
            assert f"kill {p.pid}" in done.err
        finally:
            p.terminate()
            p.communicate(timeout=60)


@pytest.mark.parametrize("verb", ["restart", "install"])
def test_a_service_is_not_stopped_from_inside(linux, hub, verb):
    script = f'"{sys.executable}" -m understudy service {verb} 2>&1; true'
    allowed = ",".join(name for name in linux.environ if name.startswith("UNDERSTUDY_") and "KEY" not in name)
    linux.environ["UNDERSTUDY_TASK_ENV_PASS"] = f"{allowed},PYTHONPATH"
    assert linux("service", "install", "daemon", "--", "sh", "-c", script).code == 0
    before = boot_id(hub)
    told = linux("submit", "go", "--wait")
    assert "another terminal" in told.out + told.err
    assert boot_id(hub) == before


@pytest.fixture
def signalled(mac):
    """A command that gets a signal while the old program ends → its exit code, and what it said."""

    def get(number, leaves_after_s, *verb):
        assert mac("service", "install", "--no-verify").code == 0
        mac.system.leaves_after_s = leaves_after_s
        words = [sys.executable, "-m", "understudy", "service", *(verb or ("restart", "--no-verify"))]
        pipe = subprocess.PIPE
        with subprocess.Popen(words, env=mac.environ, stdout=pipe, stderr=pipe, text=True) as restart:
            eventually(lambda: mac.system.times("launchctl", "bootout"), what="the end of the old program")
            restart.send_signal(number)
            said = "".join(restart.communicate(timeout=60))
        return restart.returncode, said

    return get


@pytest.mark.parametrize("verb", ["restart", "stop", "uninstall"])
def test_ctrl_c_while_the_old_program_ends_names_what_turns_it_on(signalled, verb):
    """`start` would find the old one running."""
    code, said = signalled(signal.SIGINT, 60, verb)
    assert code == 130, said
    assert "`understudy service restart daemon` turns it on" in said


def test_a_terminal_that_is_closed_while_the_old_program_ends_leaves_the_daemon_on(signalled, mac):
    code, said = signalled(signal.SIGHUP, 2)
    assert code == 0, said
    assert mac("service", "status").code == 0


def test_a_start_while_the_daemon_is_being_stopped_starts_it(linux, hub):
    """The process of the one that stops is no reason to start none: it would be off for good."""
    linux.environ["UNDERSTUDY_DRAIN"] = "60s"
    begun, go = linux.folder / "begun", linux.folder / "go"
    script = f"cat >/dev/null; touch '{begun}'; until [ -e '{go}' ]; do sleep 0.05; done"
    assert linux("service", "install", "--", "sh", "-c", script).code == 0
    assert linux("submit", "go").code == 0
    eventually(begun.exists, what="a run that keeps the daemon from its end")
    before = boot_id(hub)
    words = [sys.executable, "-m", "understudy", "service", "stop"]
    with subprocess.Popen(words, env=linux.environ, stdout=subprocess.DEVNULL) as stop:
        eventually(lambda: linux.system.stopping, what="a daemon that is being stopped")
        start = subprocess.Popen([*words[:-1], "start"], env=linux.environ, stdout=subprocess.DEVNULL)
        eventually(lambda: linux.system.times("systemctl", "--user", "--no-pager", "start"), what="its start")
        go.touch()
        assert (stop.wait(60), start.wait(60)) == (0, 0)
    assert boot_id(hub) != before


def test_a_hub_as_a_service(tmp_path):
    port = str(free_port())
    with on_linux(tmp_path, UNDERSTUDY_PORT=port, ADMIN_API_KEY=KEY, UNDERSTUDY_API_KEY="usk_" + "b" * 32) as machine:
        machine.environ["NTFY_URL"] = "http://me:word@127.0.0.1:1/alerts"  # its channel is read from that file
        done = machine("service", "install", "hub", "--json")
        assert done.code == 0, done.err
        url = f"http://127.0.0.1:{port}"
        shown = machine("deployments", "list", "--json", UNDERSTUDY_HUB=url)
        assert len(json.loads(shown.out)["deployments"]) == 1
        channels = json.loads(machine("status", "--json", UNDERSTUDY_HUB=url).out)["channels"]
        assert [row["name"] for row in channels if row["configured"]] == ["ntfy"]
        assert machine("service", "restart", "hub").code == 0
        shown = machine("deployments", "list", "--json", UNDERSTUDY_HUB=url)
        assert len(json.loads(shown.out)["deployments"]) == 2
        kept = sorted(path.name for path in (machine.data / "service").rglob("*") if path.is_file())
        assert kept == ["admin-api-key", "env", "understudy-api-key"]
        assert machine("service", "uninstall", "hub").code == 0
        assert {"READY=1", "STOPPING=1"} <= set(machine.system.reported)


def test_a_machine_without_user_services_is_told(linux):
    linux.system.is_there = False
    done = linux("service", "install")
    assert done.code == 1
    assert "enable-linger" in done.err
    assert not linux.unit.exists()


def test_a_channel_that_is_wrong_is_told_before_anything_is_written(linux):
    linux.environ |= {"SMTP_URL": "smtp://me:a-secret@127.0.0.1:25", "SMTP_FROM": "a@b", "SMTP_TO": "c@d"}
    done = linux("service", "install", "hub", "--dry-run")
    assert (done.code, "password" in done.err) == (2, True)
    assert "a-secret" not in done.out + done.err


def test_a_service_that_ends_with_the_session_is_told(linux):
    linux.system.lingers = False
    assert "loginctl enable-linger" in linux("service", "install").err


def test_japanese(linux):
    done = linux("service", "status", UNDERSTUDY_LANG="ja")
    assert "インストールされていません" in done.out
    assert os.environ.get("UNDERSTUDY_LANG") is None


@pytest.mark.parametrize("before", [(), ("--id", "daemon"), ("--id=mini", "--json"), ("daemon",)])
def test_a_command_alone_is_the_daemons(linux, before):
    done = linux("service", "install", *before, "--dry-run", "--", "cat", "--", "hub")
    assert done.code == 0, done.err
    assert '"daemon" "--" "cat" "--" "hub"' in done.out.replace('\\"', '"')


def test_a_hub_runs_no_command(linux):
    done = linux("service", "install", "hub", "--", "cat")
    assert done.code == 2
    assert "only a daemon" in done.err


def test_relative_names_mean_the_same_in_the_shell_and_under_the_service(linux, hub):
    """The service runs in another directory than the shell that installed it."""
    (linux.folder / "my-assistant").write_text('#!/bin/sh\necho "$(cat "$1")"\n')
    (linux.folder / "my-assistant").chmod(0o755)
    (linux.folder / "words.txt").write_text("from a file beside it")
    linux.environ |= {"UNDERSTUDY_WORKSPACES": "ws", "UNDERSTUDY_CLAUDE_CLI": "./claude"}
    linux.environ["PATH"] = f":bin:{linux.environ['PATH']}"
    (linux.folder / "ws").mkdir()
    assert linux("service", "install", "--", "./my-assistant", "words.txt").code == 0
    assert linux("submit", "go", "--wait").out.strip() == "from a file beside it"
    unit = linux.unit.read_text()
    assert f"UNDERSTUDY_WORKSPACES={linux.folder / 'ws'}" in unit
    assert f"UNDERSTUDY_CLAUDE_CLI={linux.folder / 'claude'}" in unit
    assert f"PATH={linux.folder / 'bin'}:" in unit


def test_what_assistants_and_installer_have_in_the_shell_they_have_under_the_service(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept = {*claude_code.ENV_KEPT, *codex.ENV_KEPT, *installation.ENV_KEPT, *SOURCES}
    in_unit = {name for name in kept if name in SYSTEM or name.lower() in PROXIES}
    ambient = {name: f"https://{name.lower()}" if name.endswith("_URL") else name for name in kept}
    ambient |= {
        "ANTHROPIC_API_KEY": "key-of-the-gateway",
        "PIP_CONSTRAINT": "c.txt",
    }  # the latter would fail every update
    program = program_of("daemon", ambient, tmp_path / "data", ("understudy",), ())
    path, text = secret_files("daemon", ambient, tmp_path / "data", None)["UNDERSTUDY_ENV_FILE"]
    found = assignments(text, str(path))
    assert in_unit <= set(program.env)
    assert kept - in_unit - {"TMPDIR", "TZ"} == set(found) - {"ANTHROPIC_API_KEY"}
    assert found["CODEX_HOME"] == str(tmp_path / "CODEX_HOME")
    assert found["PIP_CLIENT_CERT"] == str(tmp_path / "PIP_CLIENT_CERT")
    assert found["OPENAI_BASE_URL"] == "https://openai_base_url"


def test_a_hub_as_a_service_trusts_whom_the_shell_trusts(tmp_path):
    given = {"SSL_CERT_FILE": "/etc/corporate.pem", "CODEX_HOME": "/x"}
    path, text = secret_files("hub", given, tmp_path, None)["UNDERSTUDY_ENV_FILE"]
    assert assignments(text, str(path)) == {"SSL_CERT_FILE": "/etc/corporate.pem"}


def test_secrets_of_several_lines_reach_the_task(linux, hub):
    secret = "-----BEGIN KEY-----\r\n'\"$HOME` \\n #\n-----END KEY-----\n"
    linux.environ |= {"UNDERSTUDY_TASK_ENV_PASS": "PEM", "PEM": secret}
    code = "import os, hashlib; print(hashlib.sha256(os.environb[b'PEM']).hexdigest())"
    assert linux("service", "install", "--", sys.executable, "-c", code).code == 0
    assert linux("submit", "go", "--wait").out.strip() == hashlib.sha256(secret.encode()).hexdigest()


@pytest.mark.parametrize("word", ["a\x1bb", b"caf\xe9"])
def test_what_no_unit_can_hold_is_refused(linux, word):
    done = linux("service", "install", "--dry-run", "--", "cat", word)
    assert done.code == 2, done.err
    assert "UTF-8" in done.err


def test_no_directory_writes_lines_of_its_own_into_a_unit(linux):
    linux.environ["UNDERSTUDY_DATA"] = f"{linux.data}\nExecStartPre=/bin/false"
    done = linux("service", "install", "hub", "--dry-run")
    assert (done.code, done.out) == (2, "")


@pytest.mark.parametrize("words", [("service", "install", "--dry-run"), ("daemon",), ("up",)])
@pytest.mark.parametrize("command", ["", "  "])
def test_an_empty_command_is_refused(linux, words, command):
    done = linux(*words, "--", command)
    assert done.code == 2, done.out
    assert "is empty" in done.err


@pytest.mark.parametrize(
    ("secret", "argv", "is_refused"),
    [
        ("cat", ("concatenate", "--mode=cats"), False),
        ("cat", ("my-tool", "cat"), True),
        ("cat", ("my-tool", "--key=cat"), True),
        ("12345678", ("my-tool", "--key=x12345678x"), True),
    ],
)
def test_a_short_key_is_no_part_of_a_word(secret, argv, is_refused):
    with pytest.raises(ConfigError) if is_refused else contextlib.nullcontext():
        refuse_secrets(argv, {"OPENAI_API_KEY": secret})


def test_a_dot_env_of_the_directory_installs_nothing(linux, tmp_path):
    """It may have come with somebody's repository."""
    for name in ("UNDERSTUDY_HUB", "UNDERSTUDY_API_KEY"):
        linux.environ.pop(name)
    (linux.folder / ".env").write_text(
        "UNDERSTUDY_HUB=http://stranger.example\nUNDERSTUDY_API_KEY=a-strangers-key-0123456789\n"
    )
    for words in (("service", "install", "--dry-run"), ("daemon",)):
        done = linux(*words)
        assert done.code == 2
        assert "no hub is configured" in done.err
    done = linux("service", "install", "--dry-run", "--env-file", ".env")
    assert "UNDERSTUDY_HUB=http://stranger.example" in done.out


def test_install_says_that_a_hub_is_new(linux, hub):
    assert "has not been used" in linux("service", "install").err
    assert "has not been used" not in linux("service", "install").err
