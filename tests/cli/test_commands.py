"""The client commands against a real hub and a real daemon."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys

import pytest

from tests import prepared
from tests.cli.program import PROGRAM, understudy
from tests.hub_process import ADMIN_KEY, KEY, running_hub
from tests.waiting import eventually


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_hub(tmp_path_factory.mktemp("commands")) as process:
        yield process


@pytest.fixture(scope="module")
def daemon(hub, tmp_path_factory):
    """One that answers in capitals, and fails when told to."""
    data = tmp_path_factory.mktemp("daemon")
    code = "import sys; text = sys.stdin.read(); print(text.upper()); sys.exit('fail' in text)"
    command = ["daemon", "--id", "mini", "--data", str(data), "--", sys.executable, "-c", code]
    with (data / "log").open("wb") as log:
        process = prepared.start(command, env=hub.env, stdout=log, stderr=log)
    eventually(lambda: any(d["daemonId"] == "mini" for d in hub.get("/api/daemons")["daemons"]), within_s=20)
    yield process
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(60)
    process.kill()


@pytest.fixture
def cli(hub, tmp_path):
    """Runs a command as a client of the hub, in an empty directory."""

    def run(*arguments, given="", **more):
        return understudy(*arguments, env={**hub.env, **more}, cwd=tmp_path, given=given)

    return run


@pytest.mark.usefixtures("daemon")
def test_submit_and_wait_prints_the_answer_alone(cli):
    done = cli("submit", "what can you do?", "--wait")
    assert (done.code, done.out, done.err) == (0, "WHAT CAN YOU DO?\n", "")


@pytest.mark.usefixtures("daemon")
def test_a_text_can_come_from_stdin(cli):
    assert cli("submit", "-", "--wait", given="ein Bär").out == "EIN BÄR\n"


@pytest.mark.usefixtures("daemon")
def test_a_failed_task_is_exit_code_1_and_a_sentence(cli):
    done = cli("submit", "please fail", "--wait")
    assert (done.code, done.out) == (1, "")
    assert "the task failed" in done.err
    assert "understudy task task-" in done.err
    found = cli("submit", "please fail again", "--wait", "--json")
    assert found.code == 1
    assert json.loads(found.out)["success"] is False


@pytest.mark.usefixtures("daemon")
def test_a_task_tells_its_story(cli):
    task_id = cli("submit", "tell me", "--source", "test").out.strip()
    eventually(lambda: json.loads(cli("task", task_id, "--json").out)["status"] == "done", within_s=15, every_s=0.2)
    lines = cli("task", task_id).out.splitlines()
    assert lines[0] == f"{task_id}  done"
    assert lines[1].strip() == "tell me"
    assert "from: test" in lines[2]
    assert any(line.startswith("1 ") and "mini" in line and line.endswith("done") for line in lines)
    story = [line for line in lines if "queued" in line or "claimed by" in line or line.endswith(f"{task_id} done")]
    assert len(story) >= 3
    assert lines[-1].strip() == "TELL ME"


def test_submit_says_where_the_answer_goes_and_who_may_give_it(cli, hub):
    unknown = cli("submit", "hi", "--reply-to", "nowhere:C1")
    assert (unknown.code, "replyTo.channel" in unknown.err) == (1, True)
    done = cli("submit", "hi", "--needs", "nobody-has-this", "--takeover", "never")
    assert hub.get(f"/api/tasks/{done.out.strip()}")["takeover"] == "never"


def test_submit_prints_the_id_alone(cli, hub):
    done = cli("submit", "later", "--needs", "gpu,big", "--priority", "low", "--on-loss", "wait", "--timeout", "2m")
    assert done.code == 0
    assert done.err == ""
    record = hub.get(f"/api/tasks/{done.out.strip()}")
    shown = {name: record[name] for name in ("needs", "priority", "onLoss", "timeoutSec", "source")}
    assert shown == {"needs": ["big", "gpu"], "priority": "low", "onLoss": "wait", "timeoutSec": 120, "source": "cli"}


def test_a_task_that_is_delayed_says_until_when(cli):
    task_id = cli("submit", "x", "--needs", "gpu", "--delay", "1h").out.strip()
    assert "· not before: 2" in cli("task", task_id).out
    cli("retry", task_id)
    assert "not before" not in cli("task", task_id).out


def test_text_may_be_enough(cli, hub):
    task_id = cli("submit", "x", "--needs", "none", "--delay", "1h").out.strip()
    assert hub.get(f"/api/tasks/{task_id}")["needs"] == []


@pytest.mark.parametrize("option", ["--id", "--dedup-key"])
def test_the_same_name_twice_is_one_task(cli, option):
    given = ("submit", "once", option, "my-own-name", "--needs", "gpu", "--json")
    first, second = json.loads(cli(*given).out), json.loads(cli(*given).out)
    assert first["taskId"] == second["taskId"]
    assert (first["created"], second["created"]) == (True, False)
    other = cli("submit", "something else", *given[2:])
    assert other.code == 1
    assert "did not accept" in other.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("submit", "  "), "no text"),
        (("submit", "x", "--timeout", "30"), "30 has no unit: write 30s"),
        (("submit", "x", "--timeout", "0s"), "outside of 1s"),
        (("submit", "x", "--needs", ""), "--needs is empty"),
        (("tasks", "--search="), "--search is empty"),
        (("notices", "--resend", ""), "--resend is empty"),
        (("hub", "--data", ""), "--data is empty"),
        (("daemons", "set", "mini", "--expected-sleep", "none", "--expected-sleep", ""), "--expected-sleep is empty"),
        (("hub", "--data"), "`understudy hub --help`"),
        (("daemon-control", "mini"), "Choose from: drain, resume, restart, update."),
        (("submit", "x", "--priority", "urgent"), "'urgent' is not one of"),
        (("submit", "x", "y"), "unexpected extra argument"),
        (("tail", "--since", "yesterday"), "'yesterday' is not a time"),
        (("daemons", "set", "mini"), "Give at least one"),
        (("daemons", "set", "mini", "--expected-sleep", "23-7"), "not a window of time"),
    ],
)
def test_wrong_use_is_exit_code_2_and_tells_the_right_one(cli, arguments, says):
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    assert says in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("task", "nobody"),
        ("cancel", "nobody"),
        ("retry", "nobody"),
        ("move", "nobody"),
        ("daemons", "pause", "nobody"),
        ("daemons", "resume", "nobody"),
        ("daemons", "forget", "nobody"),
        ("daemons", "set", "nobody", "--late-after", "5m"),
        ("incidents", "ack", "nobody"),
        ("keys", "revoke", "nobody"),
        ("keys", "rotate", "nobody"),
    ],
)
def test_what_is_not_there_is_exit_code_5(cli, arguments):
    done = cli(*arguments)
    assert (done.code, done.out) == (5, "")
    assert "nobody" in done.err
    assert len(done.err.splitlines()) == 1


def test_owners_steer_a_task(cli):
    task_id = cli("submit", "steer", "--needs", "gpu").out.strip()
    assert cli("move", task_id).code == 1
    assert cli("cancel", task_id).code == 0
    assert cli("cancel", task_id).code == 0
    assert cli("retry", task_id).code == 0
    assert json.loads(cli("task", task_id, "--json").out)["status"] == "pending"


def test_tasks_are_listed_and_filtered(cli):
    cli("submit", "find me, a needle", "--needs", "gpu", "--source", "hay")
    assert "needle" in cli("tasks", "--source", "hay").out
    assert json.loads(cli("tasks", "--search", "needle", "--json").out)["tasks"][0]["source"] == "hay"
    assert cli("tasks", "--source", "nowhere").out == ""
    assert "a higher --limit" in cli("tasks", "--limit", "1").err


@pytest.mark.usefixtures("daemon")
def test_status_shows_hub_and_daemons(cli, hub):
    out = cli("status").out
    assert hub.url in out
    assert "mini" in out
    assert "healthy" in out
    seen = json.loads(cli("status", "--json").out)
    assert seen["ready"]["ready"] is True
    assert [row["daemonId"] for row in seen["daemons"]] == ["mini"]


def test_status_is_watched_through_a_restart_of_the_hub_until_ctrl_c(tmp_path):
    """Where stdout is no terminal it is a line for each change."""
    log = tmp_path / "status.log"
    with (
        running_hub(tmp_path) as hub,
        log.open("wb") as stream,
        subprocess.Popen([*PROGRAM, "status", "--watch"], env=hub.env, stdout=stream) as watch,
    ):
        eventually(lambda: "queue:" in log.read_text(), within_s=20)
        hub.post("/api/queue/heartbeat", {"daemonId": "mini"})
        eventually(lambda: "mini: healthy" in log.read_text(), within_s=10)
        hub.kill()
        eventually(lambda: "does not answer" in log.read_text(), within_s=10)
        hub.start()
        eventually(lambda: "answers again" in log.read_text(), within_s=20)
        watch.send_signal(signal.SIGINT)
        assert watch.wait(60) == 130


@pytest.mark.usefixtures("daemon")
def test_limits_of_a_daemon_are_set_one_by_one(cli, hub):
    def settings():
        return hub.get("/api/daemons/mini")["settings"]

    assert cli("daemons", "set", "mini", "--late-after", "5m").code == 0
    assert cli("daemons", "set", "mini", "--down-after", "15m", "--expected-sleep", "23:00-07:00@UTC").code == 0
    window = {"from": "23:00", "to": "07:00", "tz": "UTC"}
    assert settings() == {"lateAfterSec": 300, "downAfterSec": 900, "expectedSleep": [window]}
    assert cli("daemons", "set", "mini", "--expected-sleep", "none").code == 0
    assert settings()["expectedSleep"] == []
    assert cli("daemons", "set", "mini", "--reset").code == 0
    assert settings() == {"lateAfterSec": None, "downAfterSec": None, "expectedSleep": []}
    assert cli("daemons", "set", "mini", "--late-after", "5m", "--down-after", "1m").code == 1
    for window in ("22:00-22:00@UTC", "22:00-07:00@Tokyo", "22-7"):
        refused = cli("daemons", "set", "mini", "--expected-sleep", window)
        assert refused.code in (1, 2), refused
        assert settings()["expectedSleep"] == []


@pytest.mark.usefixtures("daemon")
def test_a_pause_of_no_length_is_none_without_end(cli):
    assert cli("daemons", "pause", "mini", "--for", "0s").code == 2


def test_a_daemon_is_paused_and_resumed(cli):
    assert cli("daemons", "pause", "mini").code == 0
    assert "paused" in cli("daemons", "list").out
    assert cli("daemons", "resume", "mini").code == 0
    assert json.loads(cli("daemons", "list", "--json").out)["daemons"][0]["state"] == "healthy"


def test_a_key_is_shown_once(cli):
    made = cli("keys", "create", "laptop", "--scope", "read")
    secret = made.out.strip()
    assert made.out == f"{secret}\n"
    assert secret.startswith("usk_")
    assert secret not in made.err
    rows = json.loads(cli("keys", "list", "--json").out)["keys"]
    key_id = next(row["id"] for row in rows if row["name"] == "laptop")
    assert secret not in cli("keys", "list").out
    client = {"UNDERSTUDY_API_KEY": secret, "ADMIN_API_KEY": ""}
    assert eventually(lambda: cli("tasks", **client).code == 0)
    refused = cli("submit", "x", **client)
    assert (refused.code, "lacks the scope" in refused.err) == (4, True)
    rotated = cli("keys", "rotate", key_id)
    assert rotated.out.startswith("usk_")
    assert key_id in rotated.err
    assert cli("keys", "revoke", key_id).code == 0
    assert eventually(lambda: cli("tasks", **client).code == 4)
    assert cli("keys", "rotate", key_id).code == 1


def test_a_login_link_is_alone_on_the_last_line(cli):
    made = cli("login-link", "--scope", "admin")
    *_, link = made.out.splitlines()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/login/login_[0-9a-z]+", link)
    assert "once" in made.err
    shown = json.loads(cli("login-link", "--json").out)
    assert shown["url"].endswith(shown["path"])
    assert shown["expiresInSec"] == 600
    assert cli("login-link", ADMIN_API_KEY="").code == 4


def test_incidents_have_a_list_and_an_unknown_one_is_said_to_be_unknown(cli):
    assert cli("incidents", "list").code == 0
    for done in (cli("incidents", "snooze", "incident-1", "--for", "2h"), cli("incidents", "ack", "incident-1")):
        assert (done.code, "incident-1" in done.err) == (5, True)


def test_notices_and_channels_are_there_without_any(cli):
    assert json.loads(cli("notices", "--json").out) == {"notices": []}
    assert cli("notices", "--dead").code == 0
    assert cli("notices", "--resend", "notice-1").code == 5
    told = cli("notify", "test")
    assert (told.code, "SLACK_WEBHOOK_URL" in told.err) == (1, True)


def test_deployments_are_the_starts_of_the_hub(cli):
    (row,) = json.loads(cli("deployments", "list", "--json").out)["deployments"]
    assert row["versionId"] in cli("deployments", "list").out


def test_a_hub_that_is_not_there_is_exit_code_3_and_asks_the_right_question(cli):
    done = cli("tasks", UNDERSTUDY_HUB="http://127.0.0.1:9")
    assert (done.code, done.out) == (3, "")
    assert "Is it running?" in done.err


def test_a_wrong_key_is_exit_code_4(cli):
    done = cli("tasks", UNDERSTUDY_API_KEY="wrong-key", ADMIN_API_KEY="")
    assert (done.code, done.out) == (4, "")
    assert "does not know this key" in done.err
    assert "wrong-key" not in done.err


def test_no_key_is_exit_code_4_and_no_hub_2(cli):
    assert cli("tasks", UNDERSTUDY_API_KEY="", ADMIN_API_KEY="").code == 4
    assert cli("tasks", UNDERSTUDY_HUB="", UNDERSTUDY_API_KEY="", ADMIN_API_KEY="").code == 2


def test_a_secret_is_never_printed_except_when_made(cli, hub):
    for words in (("status",), ("keys", "list"), ("doctor",), ("tasks",), ("tail", "--no-follow")):
        done = cli(*words)
        assert KEY not in done.out + done.err
        assert ADMIN_KEY not in done.out + done.err
    assert KEY not in hub.log


def test_a_defect_is_a_sentence_and_with_debug_a_traceback(cli):
    script = (
        "import sys\nfrom understudy.cli import start\n"
        "start.root.invoke = lambda *_, **__: 1 / 0\nsys.exit(start.run(['tasks']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (70, "")
    assert done.stderr.startswith("understudy: this is a defect")
    assert "Traceback" not in done.stderr
    debug = {**os.environ, "UNDERSTUDY_DEBUG": "1"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=debug, capture_output=True, text=True, timeout=60, check=False)
    assert "ZeroDivisionError" in done.stderr
    assert "Traceback" in done.stderr


def test_a_reader_that_went_away_ends_the_command_quietly(hub):
    for number in range(30):
        hub.post("/api/queue", {"content": "x" * 4000, "id": f"long-{number}", "needs": ["gpu"]})
    command = [*PROGRAM, "tasks", "--json", "--limit", "1000"]
    with subprocess.Popen(command, env=hub.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert (process.wait(60), process.stderr.read()) == (141, b"")
