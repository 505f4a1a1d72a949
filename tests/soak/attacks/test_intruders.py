"""Ways in, with real processes: code and settings of the current directory, guessed keys, logs, updates, open files."""

from __future__ import annotations

import http.client
import os
import pty
import re
import select
import stat
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import understudy
from tests.daemon.fake_hub import KEY as FAKE_KEY
from tests.daemon.fake_hub import FakeHub
from tests.daemon.live import living
from tests.hub_process import ADMIN_KEY, KEY, HubProcess, running_hub
from tests.ports import free_port
from tests.waiting import eventually

pytestmark = pytest.mark.soak
MODULE = [sys.executable, "-P", "-m", "understudy"]
SCRIPT = [str(Path(sysconfig.get_path("scripts")) / "understudy")]
TRAP = (
    'import os\nopen(os.environ["TRAP"], "a").write(__name__ + "\\n")\nraise SystemExit("a stranger\'s code was run")\n'
)
OTHERS = (
    "click",
    "msgspec",
    "psutil",
    "urllib3",
    "uvicorn",
    "starlette",
    "httptools",
    "sitecustomize",
    "usercustomize",
)
EVIL = "mini\n[2026-11-29T09:00:00.000Z] [CRITICAL] forged\r\x1b[2J\x1b]0;owned\x07\x9b31m\x90q\x9c\u202egnp\u2028x"
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


# ---- code, settings and modes ------------------------------------------------------------------


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A directory with a stranger's module for every name that Python or we may import."""
    folder = tmp_path / "cloned"
    for name in ("understudy", *sys.stdlib_module_names, *OTHERS):
        (folder / name).mkdir(parents=True)
        for file in ("__init__.py", "__main__.py"):
            (folder / name / file).write_text(TRAP)
        (folder / f"{name}.py").write_text(TRAP)
    return folder


@contextmanager
def everything_open() -> Iterator[None]:
    """Within, whatever is made without a mode is everybody's."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def open_paths(folder: Path) -> dict[str, str]:
    found = {path: stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*") if not path.is_symlink()}
    return {str(path): oct(mode) for path, mode in found.items() if mode & 0o077}


@pytest.mark.parametrize("program", [MODULE, SCRIPT], ids=["module", "script"])
def test_no_code_of_the_current_directory_and_nothing_open(program: list[str], tmp_path: Path, trapped: Path) -> None:
    """`up`, with hub, daemon, guard and runs, typed in a cloned project, with umask 0."""
    home, sprung, log = tmp_path / "home", tmp_path / "sprung", tmp_path / "up.log"
    home.mkdir(mode=0o700)
    folders = {f"XDG_{name}_HOME": str(home / name) for name in ("DATA", "CONFIG", "STATE")}
    env = {**os.environ, **folders, "HOME": str(home), "TRAP": str(sprung), "UNDERSTUDY_LOG_DIR": str(home / "logs")}
    command = [*program, "up", "--port", "0", "--data", str(home / "var"), "--", "/bin/sh", "-c", "cat; echo done"]
    with (
        everything_open(),
        log.open("wb") as said,
        subprocess.Popen(command, env=env, cwd=trapped, stderr=said, stdout=said) as up,
    ):
        try:
            eventually(lambda: "Ctrl-C stops" in log.read_text() or up.poll() is not None, what="up", within_s=60)
            done = subprocess.run(
                [*program, "submit", "hello", "--wait"],
                env=env,
                cwd=trapped,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert (done.returncode, done.stdout.strip()) == (0, "hellodone"), done.stderr
            assert open_paths(home) == {}
        finally:
            up.terminate()
            up.wait(60)
    assert not sprung.exists(), sprung.read_text()
    assert open_paths(home) == {}


@pytest.mark.parametrize(
    "words", ["drill --help", "doctor", "service status", "service install", "hub --port 0", "daemon"]
)
def test_no_command_takes_code_of_the_current_directory(words: str, tmp_path: Path, trapped: Path) -> None:
    sprung = tmp_path / "sprung"
    env = {**os.environ, "HOME": str(tmp_path), "TRAP": str(sprung), "UNDERSTUDY_HUB": "http://127.0.0.1:9"}
    for program in (MODULE, SCRIPT):
        process = subprocess.Popen([*program, *words.split()], env=env, cwd=trapped, stdout=-3, stderr=-3)
        try:
            process.wait(6)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait(60)
    assert not sprung.exists(), sprung.read_text()


def test_a_drill_takes_no_code_of_the_current_directory(tmp_path: Path, trapped: Path) -> None:
    sprung = tmp_path / "sprung"
    env = {**os.environ, "TRAP": str(sprung), "TMPDIR": str(tmp_path)}
    done = subprocess.run([*MODULE, "drill"], env=env, cwd=trapped, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert not sprung.exists(), sprung.read_text()


def test_a_strangers_env_file_gives_the_daemon_no_hub(tmp_path: Path) -> None:
    """Neither instead of the saved hub nor where none was ever saved."""
    cloned, home = tmp_path / "cloned", tmp_path / "home"
    cloned.mkdir()
    home.mkdir()
    with closing(FakeHub()) as stranger, closing(FakeHub()) as ours:
        (cloned / ".env").write_text(f"UNDERSTUDY_HUB={stranger.url}\nUNDERSTUDY_API_KEY={FAKE_KEY}\n")
        env = {**os.environ, "HOME": str(home), "UNDERSTUDY_DATA": str(home / "data")}
        unknown = subprocess.run([*MODULE, "daemon"], env=env, cwd=cloned, capture_output=True, check=False, timeout=60)
        assert unknown.returncode not in (0, 70), unknown.stderr
        save_hub(env, ours.url)
        process = subprocess.Popen([*MODULE, "daemon", "--", "/bin/cat"], env=env, cwd=cloned, stderr=-3)
        try:
            eventually(ours.beats, what="a beat for the saved hub", within_s=60)
        finally:
            process.terminate()
            process.wait(60)
        assert stranger.seen == []


def save_hub(env: dict[str, str], url: str) -> None:
    code = (
        "import sys; from pathlib import Path; from understudy.cli.saved import Saved, save;"
        "save(Path(sys.argv[1]), Saved(sys.argv[2], sys.argv[3]))"
    )
    Path(env["UNDERSTUDY_DATA"]).mkdir(exist_ok=True)
    subprocess.run([sys.executable, "-P", "-c", code, env["UNDERSTUDY_DATA"], url, FAKE_KEY], check=True, env=env)


# ---- keys and conversations --------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.2"])
@pytest.mark.parametrize("key", ["hub", "x" * 40, "password123456789"])
def test_a_weak_key_never_listens_for_others(host: str, key: str, tmp_path: Path) -> None:
    port = free_port()
    env = {**os.environ, "UNDERSTUDY_API_KEY": key}
    if host == "127.0.0.2":
        env["UNDERSTUDY_PUBLIC_URL"] = "https://hub.example"
    done = understudy("hub", "--host", host, "--port", str(port), "--data", str(tmp_path / "hub"), env=env)
    assert done.code == 2, done.err
    assert key not in done.err.replace("hub.", "").replace(" hub", "") or key == "hub"


GUESSERS, GUESS_S = 200, 8.0


def test_guessing_with_many_connections_is_slow_and_holds_up_no_owner(tmp_path: Path, report: Any) -> None:
    with running_hub(tmp_path / "hub") as hub:
        asked, until = [0] * GUESSERS, time.monotonic() + GUESS_S

        def guess(nth: int) -> None:
            line = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=30)
            while time.monotonic() < until:
                try:
                    line.request("GET", "/api/queue", headers={"X-API-Key": f"usk_guess{nth}-{asked[nth]}"})
                    line.getresponse().read()
                except (OSError, http.client.HTTPException):
                    line.close()
                    continue
                asked[nth] += 1
            line.close()

        guessers = [threading.Thread(target=guess, args=(nth,)) for nth in range(GUESSERS)]
        for thread in guessers:
            thread.start()
        waits = []
        while time.monotonic() < until:
            began = time.monotonic()
            assert hub.ask("GET", "/api/queue", key=KEY).status == 200
            waits.append(time.monotonic() - began)
            time.sleep(0.1)
        for thread in guessers:
            thread.join()
        rate = sum(asked) / GUESS_S
        assert rate <= 1.5 * GUESSERS  # a second each
        assert sorted(waits)[len(waits) // 2] < 1.0
        report(f"{rate:.0f} guesses/s by {GUESSERS} connections; the owner waited {max(waits):.2f} s at most")


def test_a_key_reads_no_conversation_of_another(tmp_path: Path) -> None:
    with running_hub(tmp_path / "hub") as hub:
        talk = {"conversation": {"channel": "slack", "user_id": "U1"}}
        spy = hub.ask("POST", "/api/keys", {"name": "n", "scopes": ["submit"]}, key=ADMIN_KEY).body["key"]
        answered(hub, KEY, "my pin is 4711", talk)
        for way in (talk, {"conversation": "slack:U1"}, {"metadata": {"channel": "slack", "user_id": "U1"}}):
            assert "4711" not in str(answered(hub, spy, "what was said?", way))
        assert "what was said" not in str(answered(hub, KEY, "and?", talk)["context"])


def answered(hub: HubProcess, key: str, content: str, fields: dict[str, Any]) -> dict[str, Any]:
    assert hub.ask("POST", "/api/queue", {"content": content, **fields}, key=key).status == 201
    granted = hub.ask("POST", "/api/queue/claim", {"workerId": "w", "max": 1}, key=KEY).body["tasks"][0]
    task = granted["task"]
    body = {"success": True, "output": "ok", "workerId": "w", "token": granted["lease"]["token"]}
    assert hub.ask("POST", f"/api/result/{task['id']}", body, key=KEY).status == 200
    return dict(task)


# ---- updates and logs --------------------------------------------------------------------------

PATHS = ("../..", "..", "/etc", "../../../precious", "1.0/../../..", "a\0b", "é", "")


class UpdatingHub(FakeHub):
    """Offers updates whose ids and versions are paths."""

    def _beat(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status, answer = super()._beat(body)
        more = {"kind": "update", "expiresInSec": 600, "sha256": "0" * 64}
        orders = [{"id": path, "version": "1.0", **more} for path in PATHS]
        orders += [{"id": f"directive-{n}", "version": path, **more} for n, path in enumerate(PATHS)]
        return status, answer | {"directives": orders}


def test_an_update_whose_id_or_version_is_a_path_reaches_none(tmp_path: Path) -> None:
    for folder in ("precious", "data", "data/precious"):
        (tmp_path / folder).mkdir()
    with (
        closing(UpdatingHub()) as hub,
        living(hub.url, tmp_path / "data", "/bin/cat", heartbeat_interval_ms=200) as daemon,
    ):

        def refused() -> set[str]:
            named = [one for beat in hub.beats() for one in beat.get("directives", ())]
            return {one["id"] for one in named if one["state"] == "failed"}

        eventually(lambda: refused() >= {f"directive-{n}" for n in range(len(PATHS))}, what="refusals", within_s=60)
        hub.submit("t1")
        eventually(lambda: "t1" in hub.results, what="work")
        assert daemon.process.poll() is None
    assert (tmp_path / "precious").is_dir()
    assert (tmp_path / "data" / "precious").is_dir()
    environments = tmp_path / "data" / "daemon" / "environments"
    assert not environments.exists() or {path.name for path in environments.iterdir()} <= {"original"}


@pytest.mark.parametrize("form", ["pretty", "json"])
def test_names_from_outside_steer_neither_log_nor_terminal(form: str, tmp_path: Path) -> None:
    with running_hub(tmp_path / "hub", log_form=form, log_level="debug", log_dir=tmp_path / "logs") as hub:
        for field in ("daemonId", "workerId", "bootId", "machineId", "version"):
            body = {"daemonId": "mini", "bootId": "b", "machineId": "m", "seq": 1} | {field: EVIL}
            hub.ask("POST", "/api/queue/heartbeat", body, key=KEY)
        hub.ask("POST", "/api/daemon/register", {"daemonId": "mini", "version": EVIL, "capabilities": [EVIL]}, key=KEY)
        sent = {"content": EVIL, "source": EVIL, "metadata": {"channel": EVIL, EVIL: EVIL}}
        hub.ask("POST", "/api/queue", sent, key=KEY)
        hub.ask("POST", "/api/queue", {"content": EVIL}, key=KEY)
        claim = {"workerId": EVIL, "requestId": EVIL}
        hub.ask("POST", "/api/queue/claim", claim, key=KEY)
        for granted in hub.ask("POST", "/api/queue/claim", {"workerId": "w", "max": 9}, key=KEY).body["tasks"]:
            body = {"success": False, "error": EVIL, "workerId": "w", "token": granted["lease"]["token"]}
            hub.ask("POST", f"/api/result/{granted['task']['id']}", body, key=KEY)
        raw_request(hub.port)
        env = {**os.environ, **hub.env, "TERM": "xterm"}
        for words in (
            "tasks",
            "tasks --json",
            "daemons",
            "status",
            "tail --no-follow",
            "tail --format json --no-follow",
            "incidents",
            "doctor",
        ):
            shown = in_a_terminal([*MODULE, *words.split()], env)
            assert not STEERS.search(without_paint(shown)), (words, shown)
    logs = [hub.log, *(path.read_text("utf-8") for path in (tmp_path / "logs").iterdir())]
    assert any("forged" in log for log in logs)
    for log in logs:
        assert not STEERS.search(log)
        assert all(line.startswith(("[", "{", "=", " ")) for line in log.splitlines()), log
        assert not any(line.endswith("[CRITICAL] forged") for line in log.splitlines())


def raw_request(port: int) -> None:
    """A path and headers that no client library would send."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as line:
        line.connect()
        assert line.sock is not None
        line.sock.sendall(b"GET /\x1b[2J\x9b31m HTTP/1.1\r\nHost: \x1b]0;owned\x07\r\nX-API-Key: \x1b[1mx\r\n\r\n")
        line.sock.recv(65_536)


def in_a_terminal(command: list[str], env: dict[str, str]) -> str:
    """What a person would see: all that the command wrote to its terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, env=env, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said, until = b"", time.monotonic() + 60
        try:
            while time.monotonic() < until and select.select([ours], [], [], 60)[0]:
                said += os.read(ours, 65_536)
        except OSError:  # its end
            pass
        finally:
            os.close(ours)
            process.wait(60)
    return said.decode("utf-8", "surrogateescape")


def without_paint(shown: str) -> str:
    """Our own colours and line ends are allowed."""
    return re.sub(r"\x1b\[[0-9;]{0,9}m", "", shown).replace("\r\n", "\n")
