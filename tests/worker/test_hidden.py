"""A process of ours gives nothing of its environment, memory or files to others of the same user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ordinary_user import ordinary_user
from understudy.worker.hidden import without_secrets

SECRET = "usk_0123456789abcdef"
VICTIM = """
import os, subprocess, sys
from understudy.worker.hidden import hide
{hide}
child = subprocess.run(["/bin/sh", "-c", "env"], capture_output=True, text=True).stdout
print(int("usk_" in child), os.environ["UNDERSTUDY_API_KEY"], flush=True)
sys.stdin.read()
"""
SPY = """
import os, sys
pid = sys.argv[1]
seen = []
for name in ("environ", "mem", "maps", "fd/0"):
    try:
        file = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_NONBLOCK)
        seen.append(name + "=" + os.read(file, 1 if name == "mem" else 65536).decode("latin-1"))
    except PermissionError:
        pass
    except OSError:
        seen.append(name)
print(len(seen), "usk_" in "".join(seen))
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="macOS has nothing like it")


def spied(call: str) -> tuple[str, str]:
    """(what the victim says of itself and its children, what another process of its user saw)."""
    user = ordinary_user()  # root may read everything
    env = {"UNDERSTUDY_API_KEY": SECRET, "PATH": os.environ["PATH"], **user.env}
    program = [*user.start, user.python, "-P", "-c"]
    victim = [*program, VICTIM.format(hide=call)]
    with subprocess.Popen(
        victim, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd="/"
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        said = process.stdout.readline().strip()
        spy = [*program, SPY, str(process.pid)]
        seen = subprocess.run(spy, capture_output=True, text=True, check=True, cwd="/", stdin=subprocess.DEVNULL)
        process.stdin.close()
    return said, seen.stdout.strip()


@linux
def test_a_hidden_process_gives_nothing_to_others_of_its_user() -> None:
    said, seen = spied("hide()")
    assert said == f"0 {SECRET}"  # it still knows its key, its children do not
    assert seen == "0 False"


@linux
def test_the_spy_of_this_test_would_see_it() -> None:
    said, seen = spied("")
    assert said == f"1 {SECRET}"
    assert seen.endswith("True")


@linux
def test_the_memory_that_the_kernel_shows_holds_no_secret() -> None:
    """Also root reads none, and nobody in the moment in which another program takes its place."""
    code = "from understudy.worker.hidden import hide; hide(); print(end='x', flush=True); import sys; sys.stdin.read()"
    env = {"UNDERSTUDY_API_KEY": SECRET, "PATH": os.environ["PATH"]}
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.read(1) == b"x"
        if os.geteuid() == 0:
            assert SECRET.encode() not in Path(f"/proc/{process.pid}/environ").read_bytes()
        else:
            with pytest.raises(PermissionError):
                Path(f"/proc/{process.pid}/environ").read_bytes()
        process.stdin.close()


def test_programs_that_are_none_of_ours_get_no_secret() -> None:
    ours = {"UNDERSTUDY_API_KEY": "k", "ADMIN_API_KEY": "k", "SLACK_WEBHOOK_URL": "u", "ANTHROPIC_API_KEY": "k"}
    kept = {"PATH": "/bin", "UNDERSTUDY_API_KEY_FILE": "/key", "UNDERSTUDY_HUB": "http://hub"}
    assert without_secrets(ours | kept) == kept


def test_an_address_with_a_password_is_a_secret_and_a_path_is_none() -> None:
    environ = {"UNDERSTUDY_STORE": "postgresql://hub:hush@db/u", "PGPASSWORD": "hush", "PGHOST": "db"}
    assert without_secrets(environ) == {"PGHOST": "db"}
    assert without_secrets({"UNDERSTUDY_STORE": "/var/hub.db"}) == {"UNDERSTUDY_STORE": "/var/hub.db"}
