"""A run sees nothing of the programs that started it: hub, daemon, guard and `up`, for real."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from tests.cli.program import understudy
from tests.ordinary_user import folder_of_theirs, ordinary_user
from tests.waiting import eventually
from understudy.cli import status, submit, tail
from understudy.cli.commands import root
from understudy.cli.connection import HubAddress

KEY = "usk_0123456789abcdefghjkmnpqrstvwxyz"
# what a task does that was talked into it: look at every program that started it
SPY = """
import json, os
def status(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            return dict(line.split(":\\t", 1) for line in file.read().splitlines() if ":\\t" in line)
    except OSError:
        return {}
def role(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().decode("utf-8", "replace").split(chr(0))
    except OSError:
        return ""
    if "-m" not in words or "understudy" not in words[words.index("-m") + 1] or words[0] == "setpriv":
        return ""
    return "guard" if words[words.index("-m") + 1].endswith("guard") else words[words.index("-m") + 2]
def line(pid):
    pids = []
    while pid and pid != "0":
        pids.append(pid)
        pid = status(pid).get("PPid", "").strip()
    return pids
# the `up` that this run belongs to: programs of other tests have the same user, and may be starting just now
(up,) = (pid for pid in line(str(os.getpid())) if role(pid) == "up")
seen = {}
for pid in filter(str.isdecimal, os.listdir("/proc")):
    if not role(pid) or up not in line(pid) or str(os.getuid()) not in status(pid).get("Uid", "").split():
        continue
    seen.setdefault(role(pid), [])
    for name in ("environ", "mem", "maps", "fd/0", "cwd"):
        try:
            os.readlink(f"/proc/{pid}/{name}") if name == "cwd" else open(f"/proc/{pid}/{name}", "rb").close()
        except OSError:
            continue
        seen[role(pid)].append(name)
print(json.dumps(seen), {key: value for key, value in os.environ.items() if "usk_" in value})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has nothing like it")
def test_a_run_can_read_nothing_of_hub_daemon_guard_and_up():
    user = ordinary_user()
    with folder_of_theirs() as place:
        env = {"PATH": os.environ["PATH"], "HOME": str(place), **user.env, "UNDERSTUDY_API_KEY": KEY}
        data = ("--data", str(place / "var"))
        command = (*user.start, user.python, "-P", "-m", "understudy", "up", "--port", "0", *data)
        log = place / "up.log"
        with (
            log.open("wb") as stream,
            subprocess.Popen(
                [*command, "--", user.python, "-P", "-c", SPY], env=env, cwd="/", stdout=stream, stderr=stream
            ) as up,
        ):
            try:
                eventually(lambda: "Ctrl-C stops" in log.read_text() or up.poll(), what=log.read_text(), within_s=60)
                (url, *_) = re.findall(r"http://127\.0\.0\.1:\d+", log.read_text())
                done = understudy(
                    "submit", "go", "--wait", env={**os.environ, "UNDERSTUDY_HUB": url, "UNDERSTUDY_API_KEY": KEY}
                )
            finally:
                up.send_signal(signal.SIGINT)
                up.wait(60)
    assert done.code == 0, done.err
    seen, theirs = done.out.strip().split("} ")
    assert json.loads(seen + "}") == {"hub": [], "daemon": [], "guard": [], "up": []}
    assert theirs == "{}"


@pytest.mark.parametrize(
    ("module", "command"), [(tail, ["tail"]), (status, ["status", "--watch"]), (submit, ["submit", "go", "--wait"])]
)
def test_a_command_that_lasts_hides_its_key_from_runs(module, command, monkeypatch):
    class HiddenError(Exception):
        """It was asked for."""

    def hide():
        raise HiddenError

    monkeypatch.setattr(module, "hide", hide)
    monkeypatch.setattr(module, "connect", lambda: None, raising=False)
    monkeypatch.setattr(module, "connect_place", lambda: HubAddress("http://127.0.0.1:1", "test"), raising=False)
    monkeypatch.setattr(module, "enqueue", lambda *_, **__: {"taskId": "t1"}, raising=False)
    with pytest.raises(HiddenError):
        root.main(command, "understudy", standalone_mode=False)
