"""`understudy daemon-control` against a real hub and a real daemon that may not be updated."""

from __future__ import annotations

import contextlib
import json
import subprocess

import pytest

from tests import prepared
from tests.cli.program import understudy
from tests.hub_process import running_hub
from tests.waiting import eventually


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_hub(tmp_path_factory.mktemp("control")) as process:
        yield process


@pytest.fixture(scope="module")
def daemon(hub, tmp_path_factory):
    data = tmp_path_factory.mktemp("daemon")
    env = {**hub.env, "UNDERSTUDY_HEARTBEAT_INTERVAL": "200ms", "UNDERSTUDY_ALLOW_UPDATE": "false"}
    command = ["daemon", "--id", "mini", "--data", str(data)]
    with (data / "log").open("wb") as log:
        process = prepared.start(command, env=env, stdout=log, stderr=log)
    eventually(lambda: any(d["daemonId"] == "mini" for d in hub.get("/api/daemons")["daemons"]), within_s=20)
    yield process
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(60)
    process.kill()
    process.wait(60)


@pytest.fixture
def cli(hub, tmp_path):
    """Runs a command as a client of the hub, in an empty directory."""

    def run(*arguments, **more):
        return understudy(*arguments, env={**hub.env, **more}, cwd=tmp_path)

    return run


@pytest.mark.usefixtures("daemon")
def test_drain_and_resume_are_waited_for(cli, hub):
    done = cli("daemon-control", "mini", "drain", "--wait")
    assert (done.code, done.out) == (0, "drain of mini is done. nothing runs, nothing is claimed\n"), done.err
    assert hub.get("/api/daemons/mini")["state"] == "draining"
    done = cli("daemon-control", "mini", "resume", "--wait", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["state"] == "done"
    eventually(lambda: hub.get("/api/daemons/mini")["state"] == "healthy", within_s=5)


@pytest.mark.usefixtures("daemon")
def test_without_wait_it_is_asked_and_that_is_all(cli):
    done = cli("daemon-control", "mini", "resume")
    assert (done.code, done.out) == (0, "")
    assert "next heartbeat" in done.err


def test_restart_is_done_when_another_boot_says_so(cli, hub, daemon):
    before = hub.get("/api/daemons/mini")["bootId"]
    done = cli("daemon-control", "mini", "restart", "--wait")
    assert done.code == 0, done.err
    assert hub.get("/api/daemons/mini")["bootId"] > before
    assert daemon.poll() is None


@pytest.mark.usefixtures("daemon")
def test_a_failure_is_an_exit_code(cli):
    done = cli("daemon-control", "mini", "update", "--version", "9.9.9", "--wait")
    assert done.code == 1
    assert "UNDERSTUDY_ALLOW_UPDATE" in done.out


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("nobody", "drain"), 5),
        (("mini", "explode"), 2),
        (("mini", "update"), 2),
        (("mini", "update", "--version", "1", "--wheel", "/x-1-py3-none-any.whl", "--sha256", "0" * 64), 2),
        (("mini", "update", "--wheel", "/x-1-py3-none-any.whl"), 2),
        (("mini", "update", "--wheel", "/x-1-py3-none-any.whl", "--sha256", "zz"), 2),
        (("mini", "drain", "--expires", "600"), 2),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(cli, arguments, code):
    done = cli("daemon-control", *arguments)
    assert done.code == code, (done.out, done.err)
    assert done.err


def test_it_needs_an_admin_key(cli, hub):
    done = cli("daemon-control", "mini", "drain", ADMIN_API_KEY="")
    assert done.code == 4, (done.out, done.err)
