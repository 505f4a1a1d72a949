"""Nothing secret leaves the daemon's machine or is shown by the hub: real processes, every place looked at."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.hub_process import KEY, running_hub
from tests.redact.corpus import GONE
from tests.waiting import eventually

OF_DAEMON = "s3cret value/of the daemon"
BY_KIND = {case.kind: case.secret for case in GONE}
FORMS = [BY_KIND[kind] for kind in ("Anthropic API key", "GitHub personal token", "Slack bot token", "JWT")]
SAID = "\n".join([*FORMS, OF_DAEMON, "commit 9c1185a5c5e9fc54612808977ee8f548b2258d31"])
SAYS = f"import sys; said = {SAID!r}; print(said); print(said, file=sys.stderr); sys.exit('failed' in sys.stdin.read())"


def daemon_of(hub, folder, **more):
    env = {**hub.env, "MAIL_PASSWORD": OF_DAEMON, "UNDERSTUDY_LOG_LEVEL": "debug", **more}
    command = [sys.executable, "-m", "understudy", "daemon", "--id", "d", "--data", str(folder), "--", sys.executable]
    log = (folder.parent / "daemon.log").open("w")
    with log:
        return subprocess.Popen([*command, "-c", SAYS], env=env, stdout=log, stderr=log)


def finished(hub, content):
    task_id = hub.post("/api/queue", {"content": content})["taskId"]
    eventually(lambda: hub.ask("GET", f"/api/result/{task_id}").status == 200, within_s=20)
    return task_id


@pytest.mark.parametrize(("redacts", "left"), [("true", []), ("false", FORMS)])
def test_a_run_that_says_secrets(tmp_path, redacts, left):
    with running_hub(tmp_path) as hub:
        daemon = daemon_of(hub, tmp_path / "daemon", UNDERSTUDY_REDACT_RESULTS=redacts)
        try:
            done, failed = finished(hub, "done"), finished(hub, "failed")
            result, error = hub.get(f"/api/result/{done}")["output"], hub.get(f"/api/result/{failed}")["error"]
            shown = [str(hub.get(path)) for path in ("/api/events?level=debug&limit=1000", f"/api/tasks/{failed}")]
        finally:
            daemon.terminate()
            daemon.wait(60)
        log = (tmp_path / "daemon.log").read_text()
        hub.stop()
        stored = b"".join(path.read_bytes() for path in hub.data_dir.glob("hub.db*"))
    assert "commit 9c1185a5c5e9fc54612808977ee8f548b2258d31" in result
    assert "Finished" in log
    for text in (result, error, *shown):
        assert [form for form in FORMS if form in text] in ([], left)
        assert OF_DAEMON not in text
    for form in FORMS:
        assert (form.encode() in stored) == (form in left)
        assert form not in log
        assert form not in hub.log
    assert OF_DAEMON.encode() not in stored
    assert OF_DAEMON not in log + hub.log


def test_what_an_old_daemon_reports_is_cleaned_by_the_hub(tmp_path):
    with running_hub(tmp_path) as hub:
        task_id = hub.post("/api/queue", {"content": "x"})["taskId"]
        hub.post("/api/queue/claim", {"workerId": "daemon_old_1738591200123"})
        body = {"id": task_id, "status": "failed", "output": {"said": [FORMS[0]]}, "error": f"refused: {KEY}"}
        hub.post(f"/api/result/{task_id}", body)
        left = hub.get(f"/api/result/{task_id}")
        assert left["output"] == {"said": ["[REDACTED]"]}
        assert left["error"] == "refused: [REDACTED]"


def test_what_events_tell_is_cleaned_when_shown(tmp_path):
    with running_hub(tmp_path) as hub:
        task_id = hub.post("/api/queue", {"content": "x"})["taskId"]
        hub.post("/api/queue/claim", {"workerId": "w"})
        hub.post(f"/api/queue/{task_id}/release", {"workerId": "w", "reason": f"no use: password={OF_DAEMON[:6]}"})
        told = hub.get("/api/events?search=lease.released")["events"]
        assert [event["fields"]["reason"] for event in told if event["name"] == "lease.released"] == [
            "no use: password=[REDACTED]"
        ]
        history = str(hub.get(f"/api/tasks/{task_id}")["history"])
        assert "s3cret" not in history
        assert "s3cret" not in hub.log
