"""The script that a Mac's owner runs: any shell reads it, it looks only, tells no secret, and ends whatever happens."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.project.tree import ROOT

SCRIPT = ROOT / "docs/mac-check.sh"
SHELLS = [shell for shell in ("sh", "dash", "bash", "zsh") if shutil.which(shell)]
SECRETS = {
    "usk_0123456789abcdef0123456789abcdef": "the hub's key",
    "sk-ant-oat01-abcdefghijklmnop": "a login",
    "xoxb-1234567890-abcdefghij": "a chat token",
    "hunter2-is-my-password": "what stands behind a name",
}
PRINTED = """org.understudy.daemon = {
\tactive count = 1
\tstate = running
\tpid = 4242
\tenvironment = {
\t\tSLACK_BOT_TOKEN => xoxb-1234567890-abcdefghij
\t\tDATABASE_PASSWORD => hunter2-is-my-password
\t}
\tpended nondemand spawn = inefficient
\tlast exit code = 78: EX_CONFIG
}
"""
SPOKEN = """UNDERSTUDY_API_KEY=usk_0123456789abcdef0123456789abcdef
login sk-ant-oat01-abcdefghijklmnop and xoxb-1234567890-abcdefghij
DATABASE_PASSWORD = hunter2-is-my-password
"""


def played(folder, name, text, code=0, first=""):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{first}\ncat <<'END'\n{text}END\nexit {code}\n")
    path.chmod(0o755)


@pytest.fixture
def mac(tmp_path):
    """A home with the files of a service, and a PATH with some of a Mac's commands."""
    home, commands = tmp_path / "home", tmp_path / "bin"
    data = home / "Library/Application Support/understudy"
    (data / "service/daemon").mkdir(parents=True)
    (data / "logs").mkdir()
    commands.mkdir()
    (data / "service/daemon/api-key").write_text(next(iter(SECRETS)))
    (data / "logs/daemon.stderr").write_text("Traceback\nValueError: hunter2-is-my-password\n")
    agents = home / "Library/LaunchAgents"
    agents.mkdir()
    (agents / "org.understudy.daemon.plist").write_text("<plist/>")
    played(commands, "launchctl", PRINTED)
    played(commands, "understudy", SPOKEN, code=1)
    played(commands, "pmset", " sleep 10\n powernap 1\n")
    env = {"PATH": f"{commands}:{os.environ['PATH']}", "HOME": str(home)}
    return home, commands, env


def ran(env, shell="sh", within_s=60):
    return subprocess.run([shell, SCRIPT], env=env, capture_output=True, text=True, timeout=within_s, check=False)


def tree(folder):
    return {path: (path.stat().st_mode, path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*")}


@pytest.mark.parametrize("shell", SHELLS)
def test_any_shell_can_read_it(shell):
    assert subprocess.run([shell, "-n", SCRIPT], check=False, capture_output=True).returncode == 0


def test_it_is_written_for_the_plainest_shell():
    if "dash" not in SHELLS:
        pytest.skip("dash is not here: the script was NOT tried with the plainest shell")
    assert SCRIPT.read_text().startswith("#!/bin/sh\n")


@pytest.mark.parametrize("shell", ["sh", *(shell for shell in SHELLS if shell == "dash")])
def test_it_tells_what_was_asked_for_no_secret_and_changes_nothing(mac, shell):
    home, _, env = mac
    before = tree(home)
    done = ran(env, shell)
    assert done.returncode == 0
    assert done.stderr == ""
    for section in ("system", "clock", "sleep", "login", "services", "files", "doctor", "dry run", "end"):
        assert f"== {section}" in done.stdout
    assert "pended nondemand spawn = inefficient" in done.stdout
    assert "last exit code = 78" in done.stdout
    assert "sleep 10" in done.stdout
    assert "-rw-" in done.stdout
    assert "1 ValueError" in done.stdout
    assert [meaning for secret, meaning in SECRETS.items() if secret in done.stdout] == []
    assert str(home) not in done.stdout
    assert tree(home) == before


def test_every_section_says_why(mac):
    lines = ran(mac[2]).stdout.splitlines()
    heads = [number for number, line in enumerate(lines) if line.startswith("== ") and line != "== end"]
    assert len(heads) > 10
    assert all(lines[number + 1].startswith("   why: ") for number in heads)


def test_a_machine_that_has_nothing_of_all_this_is_told_so(tmp_path):
    done = ran({"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
    assert done.returncode == 0
    assert "not here: launchctl" in done.stdout


def test_a_command_that_hangs_is_ended(mac):
    home, commands, env = mac
    text = SCRIPT.read_text()
    shorter = home.parent / "shorter.sh"
    shorter.write_text(text.replace("try 10 pmset -g\n", "try 1 pmset -g\n"))
    played(commands, "pmset", "", first='[ "$*" = "-g" ] && exec sleep 300')
    done = subprocess.run(["sh", shorter], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "exit code 137" in done.stdout
    assert "== end" in done.stdout


def test_it_only_looks():
    """No command in it that starts, stops, writes or sends."""
    code = [line for line in SCRIPT.read_text().splitlines() if not line.lstrip().startswith("#")]
    forbidden = ("sudo ", "curl ", "bootstrap", "bootout", "kickstart", "defaults write", "launchctl load", "nc ")
    assert [line for line in code if any(word in line for word in forbidden)] == []
    assert [line for line in code if "rm " in line] == ['    rm -f "$out"']
