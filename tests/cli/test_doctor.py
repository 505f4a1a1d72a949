"""`doctor`: each thing that can be wrong is found, with its reason and the command that fixes it."""

from __future__ import annotations

import contextlib
import getpass
import http.server
import json
import os
import shutil
import socket
import threading
from dataclasses import replace
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from tests.cli.program import understudy
from tests.hub_process import ADMIN_KEY, KEY, running_hub
from understudy import __version__
from understudy.cli import findings
from understudy.cli.client import HubClient
from understudy.cli.doctor import finding_json
from understudy.cli.findings import examine
from understudy.cli.findings.finding import PROBLEM, AutomaticFix, Finding
from understudy.cli.findings.hub import clock
from understudy.cli.findings.service import _keys as key_findings
from understudy.cli.machine import is_lingering
from understudy.daemon.service import State
from understudy.daemon.service.commands import CommandOutcome


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_hub(
        tmp_path_factory.mktemp("doctor"), late_after="1s", down_after="2s", heartbeat_interval="500ms"
    ) as h:
        yield h


def found(here, **environ):
    environ = {"UNDERSTUDY_DATA": str(here / "data"), **environ}
    return {finding.name: finding for finding in examine(environ, here)}


@contextlib.contextmanager
def answering(pages, date_offset_s=0):
    """A server that gives these JSON bodies by path, with a clock of its own."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            status, body = pages.get(self.path.partition("?")[0], (400, {"error": "x"}))
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = answer  # noqa: N815

        def date_time_string(self, timestamp=None):
            import time

            return formatdate(time.time() + date_offset_s, usegmt=True)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


HEALTHY = {
    "daemonId": "mini",
    "state": "healthy",
    "bootId": "boot-1",
    "version": __version__,
    "lastSeenAt": "2026-02-04T14:13:28.213Z",
    "lateAt": "2026-02-04T14:16:28.213Z",
    "intervalSec": 10,
    "silentForSec": 1,
}
PAGES = {
    "/health": (200, {"status": "ok", "version": __version__, "startedAt": "2026-02-04T14:13:28.213Z"}),
    "/ready": (200, {"ready": True, "store": {"writable": True, "commitMs": 1}}),
    "/api/tasks": (200, {"tasks": []}),
    "/api/daemons": (200, {"daemons": [HEALTHY]}),
    "/api/deployments": (200, {"deployments": [{"host": "elsewhere"}]}),
    "/api/incidents": (200, {"incidents": []}),
    "/api/events": (200, {"events": []}),
}


def examined(tmp_path, pages=None, offset_s=0, **environ):
    with answering({**PAGES, **(pages or {})}, offset_s) as url:
        return found(tmp_path, UNDERSTUDY_HUB=url, UNDERSTUDY_API_KEY=KEY, **environ)


def test_a_well_hub_has_no_problem(tmp_path):
    seen = examined(tmp_path)
    assert {name for name, finding in seen.items() if finding.level != "ok"} <= {"channels", "takeover"}
    assert set(seen) >= {"hub", "clock", "store", "key", "daemon"}


def test_no_hub_known(tmp_path):
    finding = found(tmp_path)["hub"]
    assert (finding.level, finding.fix) == ("problem", "understudy up")


def test_hub_unreachable(tmp_path):
    finding = found(tmp_path, UNDERSTUDY_HUB="http://127.0.0.1:9", UNDERSTUDY_API_KEY=KEY)["hub"]
    assert finding.level == "problem"
    assert "UNDERSTUDY_HUB" in finding.why
    assert "understudy up" in finding.fix


def test_port_taken_by_somebody_else(tmp_path):
    finding = examined(tmp_path, {"/health": (200, b"<html>hello")})["port"]
    assert finding.level == "problem"
    assert "--port" in finding.fix


@pytest.mark.parametrize("health", [{"status": "ok", "uptime": 3}, {"status": "healthy", "queue": {}}])
def test_a_hub_that_is_not_understudy_or_too_old(tmp_path, health):
    finding = examined(tmp_path, {"/health": (200, health)})["foreign_hub"]
    assert finding.level == "problem"
    assert "is not understudy, or it is too old" in finding.what
    assert "UNDERSTUDY_HUB" in finding.fix


def test_port_taken_by_somebody_silent(tmp_path, monkeypatch):
    monkeypatch.setattr(findings, "ANSWER_S", 0.2)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(5)
        url = f"http://127.0.0.1:{other.getsockname()[1]}"
        assert found(tmp_path, UNDERSTUDY_HUB=url, UNDERSTUDY_API_KEY=KEY)["port"].level == "problem"


def test_key_missing(tmp_path, hub):
    assert found(tmp_path, UNDERSTUDY_HUB=hub.url)["key"].level == "problem"


def test_key_wrong(tmp_path, hub):
    finding = found(tmp_path, UNDERSTUDY_HUB=hub.url, ASSISTANT_API_KEY="wrong")["key"]
    assert finding.level == "problem"
    assert "ASSISTANT_API_KEY" in finding.what
    assert "understudy keys create" in finding.fix


@pytest.mark.parametrize(
    ("scopes", "level", "lacks"),
    [
        (["read"], "notice", "submit, work, memory"),
        (["submit"], "problem", "read, work, memory"),
        (["work", "memory", "submit"], "problem", "read"),
    ],
)
def test_key_without_a_scope(tmp_path, hub, scopes, level, lacks):
    made = hub.post("/api/keys", {"name": "some", "scopes": scopes}, key=ADMIN_KEY)
    finding = found(tmp_path, UNDERSTUDY_HUB=hub.url, UNDERSTUDY_API_KEY=made["key"])["scope"]
    assert finding.level == level
    assert finding.what.endswith(f": {lacks}.")


@pytest.mark.parametrize(
    "answer",
    [
        (500, {"error": "Internal error"}),
        (503, b"<html>Service Unavailable</html>"),
        (403, b"<html>Forbidden</html>"),
        (200, b"<html>Welcome</html>"),
    ],
)
def test_key_that_nobody_has_judged_is_not_called_valid(tmp_path, answer):
    finding = examined(tmp_path, {"/api/results": answer})["key"]
    assert finding.level == "notice"
    assert "scopes work, memory: " in finding.what


def test_looking_at_scopes_changes_nothing(tmp_path, hub):
    before = hub.get("/api/tasks")
    found(tmp_path, UNDERSTUDY_HUB=hub.url, UNDERSTUDY_API_KEY=KEY)
    assert hub.get("/api/tasks") == before


@pytest.mark.parametrize(("offset_s", "word"), [(3600, "behind"), (-3600, "ahead")])
def test_clock_off(tmp_path, offset_s, word):
    finding = examined(tmp_path, offset_s=offset_s)["clock"]
    assert (finding.level, word in finding.what) == ("problem", True)
    assert "set-ntp" in finding.fix


def test_a_date_beyond_all_calendars_stops_no_doctor():
    hub = HubClient("http://hub.example")
    hub.date = "Mon, 01 Jan 99999999999 00:00:00 GMT"
    assert list(clock(hub)) == []


def test_certificates_may_be_everybodys(tmp_path):
    """`doctor --fix` made the certificates of the whole machine root's alone."""
    path = tmp_path / "ca.pem"
    path.write_text("certificates")
    path.chmod(0o644)
    state = State(is_installed=True, env={"UNDERSTUDY_CA_FILE": str(path), "UNDERSTUDY_API_KEY_FILE": str(path)})
    assert [finding.name for finding in key_findings("daemon", state)] == ["mode"]
    assert list(key_findings("daemon", replace(state, env={"UNDERSTUDY_CA_FILE": str(path)}))) == []


def test_a_user_without_a_name_is_asked_for_by_number(monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    asked = []
    assert is_lingering(lambda argv: asked.append(argv) or CommandOutcome(0, "Linger=no")) is False
    assert asked[0][2] == str(os.getuid())


def test_rows_that_cannot_be_read_are_counted(tmp_path):
    pages = {"/ready": (200, {"ready": True, "store": {"writable": True, "commitMs": 1, "unreadable": 3}})}
    found = examined(tmp_path, pages)["unreadable"]
    assert found.level == "notice"
    assert "3" in found.what
    assert "tail --search hub.unjudged" in found.fix


@pytest.mark.parametrize("status", [503, 200])
def test_store_not_writable(tmp_path, status):
    pages = {"/ready": (status, {"ready": False, "store": {"writable": False}})}
    finding = examined(tmp_path, pages)["store"]
    assert (finding.level, "df -h" in finding.fix) == ("problem", True)


def test_alarm_stuck(tmp_path):
    assert (
        examined(tmp_path, {"/ready": (503, {"ready": False, "store": {"writable": True}})})["alarm"].level == "problem"
    )


def test_a_hub_that_drains_has_no_silent_alarm(tmp_path):
    pages = {"/ready": (503, {"ready": False, "draining": True, "store": {"writable": True}})}
    seen = examined(tmp_path, pages)
    assert (seen["hub"].level, seen["hub"].what) == ("notice", "The hub is stopping; it still serves.")
    assert "alarm" not in seen


def test_a_hub_that_drains_and_cannot_write_has_that_problem(tmp_path):
    pages = {"/ready": (503, {"ready": False, "draining": True, "store": {"writable": False}})}
    assert examined(tmp_path, pages)["store"].level == "problem"


def test_disk_full(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(findings.machine, "shutil", SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=5 << 20)))
    finding = examined(tmp_path)["disk"]
    assert (finding.level, "5 MiB" in finding.what) == ("problem", True)
    assert shutil.disk_usage(tmp_path)


def test_nobody_alive(tmp_path, hub):
    finding = found(tmp_path, UNDERSTUDY_HUB=hub.url, UNDERSTUDY_API_KEY=KEY)["daemons"]
    assert finding.level == "problem"
    assert "understudy service install" in finding.fix


def test_the_only_daemon_is_late_but_may_be_alive(tmp_path):
    seen = examined(tmp_path, {"/api/daemons": (200, {"daemons": [{**HEALTHY, "state": "late"}]})})
    assert (seen["daemons"].level, seen["daemons"].what) == ("problem", "No daemon is healthy.")


@pytest.mark.parametrize("state", ["late", "down", "stuck"])
def test_daemon_silent(tmp_path, state):
    row = {**HEALTHY, "state": state, "silentForSec": 400, "reason": "logged out"}
    finding = examined(tmp_path, {"/api/daemons": (200, {"daemons": [row]})})["daemon"]
    assert finding.level == "problem"
    assert f"mini is {state}, silent for 6 min 40 s (reason: logged out)" in finding.what
    assert "daemons forget mini" in finding.fix


def test_old_version(tmp_path):
    row = {**HEALTHY, "bootId": "b", "version": "0.0.1"}
    assert examined(tmp_path, {"/api/daemons": (200, {"daemons": [row]})})["version"].level == "notice"
    health = {**PAGES["/health"][1], "version": "9.9"}
    assert "9.9" in examined(tmp_path, {"/health": (200, health)})["version"].why


def test_hub_and_daemon_on_one_machine(tmp_path):
    pages = {"/api/deployments": (200, {"deployments": [{"host": "mini.local"}]})}
    finding = examined(tmp_path, pages)["machine"]
    assert (finding.level, "share" in finding.what or "one machine" in finding.what) == ("notice", True)


def test_a_setting_that_is_wrong(tmp_path):
    assert examined(tmp_path, UNDERSTUDY_LATE_AFTER="3")["settings"].level == "problem"
    assert examined(tmp_path, UNDERSTUDY_LATE_AFTER="15s")["settings"].level == "notice"
    pager = {"UNDERSTUDY_WEBHOOK_URL": "https://w", "UNDERSTUDY_WEBHOOK_FORMAT": "alertmanager"}
    assert examined(tmp_path, **pager, UNDERSTUDY_REPLY_TO="webhook")["settings"].level == "notice"


def test_a_problem_is_exit_code_1_with_what_why_and_mend(tmp_path, hub):
    done = understudy("doctor", env=hub.env, cwd=tmp_path)
    assert done.code == 1
    assert "✗ No daemon is healthy." in done.out
    assert "    → understudy service install (or `understudy daemon` in a terminal)" in done.out
    told = json.loads(understudy("doctor", "--json", env=hub.env, cwd=tmp_path).out)
    assert told["ok"] is False
    assert {finding["name"] for finding in told["findings"]} >= {"hub", "store", "clock", "key", "daemons"}


def with_row(tmp_path, **changes):
    """What is found when this is the only daemon."""
    return examined(tmp_path, {"/api/daemons": (200, {"daemons": [{**HEALTHY, **changes}]})})


@pytest.mark.parametrize(
    ("executor", "state", "mend"),
    [
        ("claude_code", "missing", "npm install -g @anthropic-ai/claude-code"),
        ("claude_code", "logged_out", "claude setup-token"),
        ("claude_code", "expired", "claude setup-token"),
        ("claude_code", "no_credit", "billing"),
        ("codex", "logged_out", "codex login"),
        ("my_own", "missing", "log in to my_own"),
    ],
)
def test_an_assistant_that_cannot_work(tmp_path, executor, state, mend):
    finding = with_row(tmp_path, auth={executor: state, "diagnostic": "ok"})["login"]
    assert finding.level == "problem"
    assert executor in finding.what
    assert mend in finding.fix


def test_a_token_that_ends_soon_is_a_notice(tmp_path):
    finding = with_row(tmp_path, auth={"claude_code": "expiring:2026-12-24"})["login"]
    assert (finding.level, "2026-12-24" in finding.what) == ("notice", True)
    assert finding.why == "It works until then. After that day its tasks fail, and none is claimed for it."


@pytest.mark.parametrize("auth", [{}, {"claude_code": "ok"}, {"claude_code": "unknown"}, None])
def test_assistants_that_work_are_not_mentioned(tmp_path, auth):
    assert "login" not in with_row(tmp_path, auth=auth)


@pytest.mark.parametrize(("interval_s", "is_told"), [(10, False), (60, False), (61, True), (90, True), (300, True)])
def test_warnings_too_often_because_of_the_interval(tmp_path, interval_s, is_told):
    """Late after 180 s: three beats of 60 s fit, three of 61 s do not."""
    seen = with_row(tmp_path, intervalSec=interval_s)
    assert ("interval" in seen) is is_told
    if is_told:
        assert seen["interval"].fix.startswith(f"understudy daemons set mini --late-after {3 * interval_s}s")


def test_warnings_too_often_because_of_sleep(tmp_path):
    from understudy.clock import SystemClock, iso

    now = SystemClock().now_ms()
    rows = [{"daemonId": "mini", "openedAt": iso(now - 3_600_000 * hour)} for hour in (1, 2, 3, 4, 30)]
    finding = examined(tmp_path, {"/api/incidents": (200, {"incidents": rows})})["often"]
    assert "4 times" in finding.what
    assert "--expected-sleep" in finding.fix
    assert "often" not in examined(tmp_path, {"/api/incidents": (200, {"incidents": rows[1:]})})


def test_a_daemon_that_is_started_again_and_again(tmp_path):
    event = {"name": "daemon.restarting", "fields": {"daemonId": "mini", "startsLastHour": 12}}
    finding = examined(tmp_path, {"/api/events": (200, {"events": [event]})})["churn"]
    assert (finding.level, "12 times" in finding.what) == ("problem", True)


def test_a_hub_that_is_started_again_and_again(tmp_path):
    from understudy.clock import SystemClock, iso

    rows = [{"host": "elsewhere", "createdAt": iso(SystemClock().now_ms() - 60_000)}] * 6
    finding = examined(tmp_path, {"/api/deployments": (200, {"deployments": rows})})["hub_churn"]
    assert (finding.level, "6 times" in finding.what) == ("problem", True)
    seen = examined(tmp_path, {"/api/deployments": (200, {"deployments": rows[1:]})})
    assert "hub_churn" not in seen


def test_a_daemon_of_the_older_kind(tmp_path):
    assert "forget mini" in with_row(tmp_path, bootId="")["old"].fix


def test_the_json_of_a_finding_keeps_its_keys():
    shown = finding_json(Finding("hub", PROBLEM, "what", "why", "a fix", AutomaticFix("start_service", "hub")))
    assert list(shown) == ["name", "level", "what", "why", "mend", "remedy"]
    assert (shown["mend"], shown["remedy"]) == ("a fix", {"kind": "start_service", "target": "hub"})
