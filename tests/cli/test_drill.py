"""`understudy drill`, for real: the whole story is seen, whatever is missing is named, and nothing is left."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import tempfile

import psutil
import pytest

from tests import prepared
from tests.cli.program import environ, understudy
from tests.hub_process import running_hub
from tests.waiting import eventually
from understudy.cli.children import LoggedChild
from understudy.cli.drill import command, live, stage, steps
from understudy.cli.drill.narrator import Narrator
from understudy.cli.drill.stage import DrillLimits, Stage
from understudy.cli.drill.steps import NotSeenError, play
from understudy.cli.drill.story import STEPS, DrillStory


@contextlib.contextmanager
def drilling(folder, *arguments):
    """A drill in the background whose folders are below `folder`, with what it said so far."""
    log = folder / "drill.log"
    env = environ(TMPDIR=str(folder), UNDERSTUDY_LANG="en", UNDERSTUDY_HUB="http://127.0.0.1:1")
    with log.open("wb") as said:
        process = prepared.start(["drill", *arguments], env=env, stdout=said, stderr=said)
    try:
        yield process, log.read_text
    finally:
        process.kill()
        process.wait()


def alive(folder):
    """Processes that were told of this folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and any(str(folder) in word for word in process.cmdline()):
                found.append(process)
    return found


def folders(folder):
    return [path for path in folder.iterdir() if path.name.startswith("understudy-drill-")]


def test_the_whole_story_happens_and_nothing_is_left(tmp_path):
    done = understudy("drill", "--json", env=environ(TMPDIR=str(tmp_path)), within_s=60)
    told = json.loads(done.out)
    assert done.code == 0, told
    assert [step["name"] for step in told["steps"]] == [name for name, _ in STEPS]
    assert all(step["ok"] for step in told["steps"])
    silent = {step["name"]: step["silentMs"] for step in told["steps"] if "silentMs" in step}
    assert silent["warning"] < silent["critical"]
    assert done.err == ""
    assert (folders(tmp_path), alive(tmp_path)) == ([], [])


def test_a_hub_that_dies_is_named_with_the_step_and_its_logs_are_kept(tmp_path):
    with drilling(tmp_path) as (process, said):
        eventually(lambda: "waiting for WARNING" in said(), within_s=40)
        (hub,) = [p for p in alive(tmp_path) if "hub" in p.cmdline()]
        hub.kill()
        assert process.wait(30) == 1
    # on a busy machine the WARNING may have come before the kill
    assert re.search(r"the drill stopped at step `(?:warning|critical)`: the hub ended with code -9", said())
    (kept,) = folders(tmp_path)
    assert f"Data and logs are kept in {kept}" in said()
    assert (kept / "logs" / "daemon.log").exists()
    eventually(lambda: not alive(tmp_path))


def test_ctrl_c_leaves_nothing(tmp_path):
    with drilling(tmp_path) as (process, said):
        eventually(lambda: "starting a daemon" in said(), within_s=40)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert folders(tmp_path) == []
    eventually(lambda: not alive(tmp_path))


@pytest.mark.parametrize("name", ["hub", "daemon"])
def test_an_interruption_while_a_process_starts_leaves_neither_process_nor_folder(tmp_path, monkeypatch, name):
    class Interrupted(LoggedChild):
        def __init__(self, started, *arguments, **more):
            super().__init__(started, *arguments, **more)
            if started == name:
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(stage, "LoggedChild", Interrupted)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        command._play(is_kept=False, as_json=True)
    assert folders(tmp_path) == []
    eventually(lambda: not alive(tmp_path))


class Impatient(Narrator):
    """From one step on there is no margin."""

    def __init__(self, name, monkeypatch):
        super().__init__(as_json=True)
        self._name, self._patch = name, monkeypatch

    def begin(self, name):
        super().begin(name)
        if name == self._name:
            self._patch.setattr(steps, "MARGIN_MS", 500)


def test_an_alarm_that_never_comes_is_named(tmp_path, monkeypatch):
    step, setting = "warning", {"UNDERSTUDY_LATE_AFTER": "1h", "UNDERSTUDY_DOWN_AFTER": "2h"}
    narrator = Impatient(step, monkeypatch)
    scene = Stage(tmp_path, DrillLimits(), setting)
    try:
        with pytest.raises(NotSeenError, match=f"stopped at step `{step}`: not seen within"):
            play(STEPS, DrillStory(scene), narrator)
    finally:
        scene.close()
    assert [told["ok"] for told in narrator.steps][-1] is False


def test_a_live_drill_that_is_ended_forgets_its_made_up_daemon(tmp_path):
    """Left behind, it would be a real CRITICAL five minutes later."""
    with running_hub(tmp_path) as hub:
        hub.post("/api/queue/heartbeat", {"daemonId": "real", "intervalSec": 600})
        with (tmp_path / "drill.log").open("wb") as log:
            drill = prepared.start(["drill", "--live", "--yes"], env=hub.env, stdout=log)
        ids = lambda: [row["daemonId"] for row in hub.get("/api/daemons")["daemons"]]  # noqa: E731
        try:
            eventually(lambda: len(ids()) == 2, within_s=30, what="a made-up daemon")
            drill.terminate()
            assert drill.wait(30) == 130
        finally:
            drill.kill()
            drill.wait()
        assert ids() == ["real"]


def test_a_live_drill_forgets_its_made_up_daemon_although_nobody_reads_what_it_says(monkeypatch):
    forgotten = []

    def nobody_reads(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr(live, "connect", lambda **_: None)
    monkeypatch.setattr(live, "play", nobody_reads)
    monkeypatch.setattr(live.Narrator, "end", nobody_reads)
    monkeypatch.setattr(live.MadeUp, "forget", lambda made_up: forgotten.append(made_up.id))
    with pytest.raises(BrokenPipeError):
        live.play_live(is_agreed=True, as_json=True)
    assert len(forgotten) == 1


def test_live_uses_a_made_up_daemon_and_forgets_it(tmp_path):
    with running_hub(tmp_path) as hub:
        refused = understudy("drill", "--live", "--yes", env=hub.env)
        assert (refused.code, "no daemon of this hub is healthy" in refused.err) == (1, True)
        unasked = understudy("drill", "--live", env=hub.env)
        assert (unasked.code, "--yes" in unasked.err) == (2, True)
        daemon = ["daemon", "--id", "real", "--data", str(tmp_path / "real"), "--", "cat"]
        with (tmp_path / "real.log").open("wb") as log:
            real = prepared.start(daemon, env=hub.env, stderr=log)
        try:
            eventually(lambda: any(d["state"] == "healthy" for d in hub.get("/api/daemons")["daemons"]))
            task_id = hub.post("/api/queue", {"content": "work goes on", "needs": []})["taskId"]
            done = understudy("drill", "--live", "--yes", env=hub.env, within_s=60)
            assert hub.get(f"/api/result/{task_id}")["success"] is True
            left = [row["daemonId"] for row in hub.get("/api/daemons")["daemons"]]
            events = hub.get("/api/events?search=daemon.&limit=1000")["events"]
        finally:
            real.terminate()
            real.wait(60)
    assert done.code == 0, done
    made_up = re.search(r"(drill-\w+) sends heartbeats", done.out)[1]
    story = [e["name"] for e in events if e["fields"].get("daemonId") == made_up]
    assert [
        name for name in story if name in ("daemon.late", "daemon.down", "daemon.recovered", "daemon.forgotten")
    ] == [
        "daemon.late",
        "daemon.down",
        "daemon.recovered",
        "daemon.forgotten",
    ]
    assert not [e for e in events if e["fields"].get("daemonId") == "real" and e["level"] != "info"]
    assert left == ["real"]
