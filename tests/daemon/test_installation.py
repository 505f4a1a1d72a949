"""Versions beside each other: what is fetched is checked before it is run, and what goes wrong changes nothing."""

from __future__ import annotations

import fcntl
import hashlib
import http.server
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from tests.daemon.raw_server import raw_server
from tests.waiting import allowed_s, eventually
from understudy import __version__
from understudy.clock import SystemClock
from understudy.daemon import installation as module
from understudy.daemon.directive_file import DirectiveFile
from understudy.daemon.home import Home
from understudy.daemon.index import OWN_INDEX, has_own_index
from understudy.daemon.installation import Installation, InstallError, launcher
from understudy.worker.directives import DirectiveOutcome, ReceivedDirective, SavedDirectives

NAME = "understudy-9.9.9-py3-none-any.whl"
SIMPLE, SRV = "simple", "///srv/wheels"  # apart: no file of the repository names a registry
CONTENT = b"not really a wheel"
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """A web server on loopback with one wheel → its URL."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / NAME).write_bytes(CONTENT)
    handler = partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{NAME}"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Quiet."""


def order(wheel: str | None = None, sha256: str | None = SHA, version: str | None = None) -> ReceivedDirective:
    return ReceivedDirective("directive-0123456789", "update", wheel=wheel, sha256=sha256, version=version)


def refused(data: Path, wanted: ReceivedDirective, timeout_ms: int = 20_000, env: dict[str, str] | None = None) -> str:
    """Why it is not installed; nothing of it is left."""
    made = Installation(data, env if env is not None else dict(os.environ))
    with pytest.raises(InstallError) as error:
        made.install(wanted, timeout_ms)
    assert list(made.environments.iterdir()) == []
    assert [path.name for path in made.root.iterdir()] == ["environments"]
    return error.value.message


def test_a_wheel_from_afar_is_fetched_and_checked(served: str, tmp_path: Path) -> None:
    assert "SHA-256" in refused(tmp_path / "data", order(served, "00" * 32))
    right = refused(tmp_path / "data", order(served))
    assert "SHA-256" not in right  # pip then finds that it is no zip
    assert "pip" in right or "python" in right


@pytest.mark.parametrize("times", [1, 3])
def test_a_wheel_that_has_moved_is_followed_but_not_for_ever(served: str, tmp_path: Path, times: int) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n"
    url, _ = raw_server(*[moved % f"/{NAME}".encode()] * (times - 1), moved % served.encode())
    why = refused(tmp_path / "data", order(f"{url}/{NAME}"))
    assert ("redirected too often" in why) == (times == 3)


def test_a_wheel_that_broke_off_is_fetched_anew(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT)
    url, thread = raw_server(head + CONTENT[:5], head + CONTENT)
    why = refused(tmp_path / "data", order(f"{url}/{NAME}"))
    assert "fetched" not in why
    assert "SHA-256" not in why
    thread.join(60)
    cut, _ = raw_server(*[head + CONTENT[:5]] * 3)
    assert "connection cut" in refused(tmp_path / "cut", order(f"{cut}/{NAME}"))


@pytest.mark.parametrize("path", [f"/tmp/\0/{NAME}", f"/tmp/\ud83d/{NAME}", f"http://[/{NAME}"])
def test_a_path_or_address_that_cannot_be_is_refused_as_every_other(tmp_path: Path, path: str) -> None:
    assert refused(tmp_path, order(path))


def test_a_wheel_that_moves_to_no_address_is_refused(tmp_path: Path) -> None:
    moved, _ = raw_server(b"HTTP/1.1 302 Found\r\nLocation: http://[/x\r\nContent-Length: 0\r\n\r\n")
    assert "could not be installed" in refused(tmp_path, order(f"{moved}/{NAME}"))


def test_a_wheel_that_drips_is_given_up_when_the_time_of_its_directive_is_over(tmp_path: Path) -> None:
    dripping, _ = raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 2500\r\n\r\n" + b"x" * 2_500, piece=1)
    began = time.monotonic()
    assert "too slow" in refused(tmp_path, order(f"{dripping}/{NAME}"), timeout_ms=1_500)
    assert time.monotonic() - began < allowed_s(5)


def test_a_wheel_that_is_not_there_is_said(served: str, tmp_path: Path) -> None:
    assert "404" in refused(tmp_path / "data", order(served.replace("9.9.9", "9.9.8")))
    assert "No such file" in refused(tmp_path / "data", order(str(tmp_path / NAME)))


@pytest.mark.parametrize("name", ["evil.sh", "a/../../b.whl;rm", "", "x.whl%00"])
def test_only_names_of_wheels_are_taken(tmp_path: Path, name: str) -> None:
    assert "no name of a wheel" in refused(tmp_path / "data", order(f"http://127.0.0.1:9/{name}"))


def test_a_wheel_has_a_limit(served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WHEEL_BYTES_MAX", len(CONTENT) - 1)
    assert "too large" in refused(tmp_path / "data", order(served))
    path = tmp_path / NAME
    path.write_bytes(CONTENT)
    assert "larger" in refused(tmp_path / "data", order(str(path)))


def test_a_version_comes_from_an_index_of_the_owner_or_with_its_hash(tmp_path: Path) -> None:
    """On the public index the name belongs to somebody else, whose program would be run."""
    env = {k: v for k, v in os.environ.items() if k not in OWN_INDEX}
    assert "PIP_INDEX_URL" in refused(tmp_path / "data", order(version="99.0", sha256=None), env=env)
    env["PIP_NO_INDEX"] = "1"
    assert "No matching distribution" in refused(tmp_path / "data", order(version="99.0", sha256=None), env=env)


def test_a_version_that_no_index_has_is_said(tmp_path: Path) -> None:
    env = {**os.environ, "PIP_NO_INDEX": "1"}
    assert "failed" in refused(tmp_path / "data", order(version="99.0"), env=env)


def test_what_takes_too_long_is_killed_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = f"sleep {time.monotonic_ns()}"
    slow = [sys.executable, "-c", f"import subprocess; subprocess.run(['sh', '-c', '{marker}; :'])"]
    monkeypatch.setattr(module, "_pip", lambda: slow)
    assert "in time" in refused(tmp_path / "data", order(version="1"), timeout_ms=700)
    eventually(lambda: not any(marker in " ".join(_argv(p)) for p in psutil.process_iter()), within_s=5)


def _argv(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_an_installer_that_brings_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_pip", lambda: ["/bin/sh", "-c", "exit 0"])
    assert "no wheel" in refused(tmp_path / "data", order(version="1"))


def test_an_installer_sees_no_secret_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    monkeypatch.setattr(module, "_pip", lambda: ["/bin/sh", "-c", f"env > {told}; exit 1"])
    env = {**os.environ, "UNDERSTUDY_API_KEY": "usk_secret", "PIP_INDEX_URL": "https://index.example"}
    refused(tmp_path / "data", order(version="1"), env=env)
    assert "usk_secret" not in told.read_text()
    assert "PIP_INDEX_URL=https://index.example" in told.read_text()


def test_an_installer_sees_of_its_variables_those_that_name_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others fail an installation into an environment of its own, or make another one of it."""
    told, here = tmp_path / "told", tmp_path / "here it is"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(module, "_pip", lambda: ["/bin/sh", "-c", f"env > {told}; exit 1"])
    refusing = ("CONSTRAINT", "NO_DEPS", "PREFIX", "REQUIREMENT", "REQUIRE_HASHES", "REQUIRE_VIRTUALENV", "TARGET")
    sources = {
        "PIP_CLIENT_CERT": "me.pem",
        "PIP_CERT": "~/ca.pem",
        "PIP_FIND_LINKS": "wheels /srv/w https://w.example",
        "PIP_RETRIES": "1",
        "REQUESTS_CA_BUNDLE": "ca.pem",
    }
    refused(tmp_path / "data", order(version="1"), env={**sources, **{f"PIP_{name}": "1" for name in refusing}})
    seen = dict(line.split("=", 1) for line in told.read_text().splitlines())
    assert {name: value for name, value in seen.items() if name.startswith(("PIP_", "REQ"))} == {
        "PIP_CLIENT_CERT": f"{here}/me.pem",
        "PIP_CERT": "~/ca.pem",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_FIND_LINKS": f"{(here / 'wheels').as_uri()} /srv/w https://w.example",
        "PIP_RETRIES": "1",
        "REQUESTS_CA_BUNDLE": f"{here}/ca.pem",
    }


def test_nothing_is_installed_once_the_daemon_is_stopped(tmp_path: Path) -> None:
    made = Installation(tmp_path)
    made.stop()
    with pytest.raises(InstallError, match="stopped"):
        made.install(order(version="1"), 5_000)


# ---- what a service starts


def test_the_launcher_starts_what_is_installed_as_long_as_there_was_no_update(tmp_path: Path) -> None:
    path = launcher(tmp_path)
    assert path == tmp_path / "daemon/current/bin/understudy"
    assert subprocess.check_output([path, "--version"], text=True) == f"understudy {__version__}\n"
    assert launcher(tmp_path) == path
    assert stat.S_IMODE((tmp_path / "daemon/environments").stat().st_mode) == 0o700


def test_the_launcher_is_mended_if_what_it_names_is_gone(tmp_path: Path) -> None:
    made = Installation(tmp_path)
    made.launcher()
    environment(made, "gone")
    made.switch("gone")
    (made.environments / "gone/bin/understudy").unlink()
    assert made.launcher().exists()


@pytest.mark.parametrize("python", ["/gone/.venv/bin/python", "/bin/echo"], ids=["moved away", "another one"])
def test_a_launcher_of_another_python_is_written_for_the_program_that_runs(tmp_path: Path, python: str) -> None:
    script = launcher(tmp_path).resolve()
    script.write_text(f"#!/bin/sh\nexec '{python}' -P -m understudy \"$@\"\n")
    assert subprocess.check_output([launcher(tmp_path), "--version"], text=True) == f"understudy {__version__}\n"


@pytest.mark.parametrize(
    "head", ["#!{}/python", "#!/bin/sh\n'''exec' \"{}/python\" \"$0\" \"$@\"\n' '''"], ids=["short", "long path"]
)
def test_an_update_whose_python_is_gone_makes_way_for_the_program_that_runs(tmp_path: Path, head: str) -> None:
    made = Installation(tmp_path)
    made.launcher()
    environment(made, "updated")
    folder = made.environments / "updated/bin"
    (folder / "understudy").write_text(head.format(folder) + "\nimport sys\n")
    (folder / "python").symlink_to(sys.executable)
    made.switch("updated")
    made.launcher()
    assert made.current.readlink().name == "updated"
    (folder / "python").unlink()
    (folder / "python").symlink_to("/gone/python3.11")
    made.launcher()
    assert made.current.readlink().name == "original"


def environment(made: Installation, name: str, age_s: float = 0) -> None:
    path = made.environments / name / "bin" / "understudy"
    path.parent.mkdir(parents=True)
    path.touch()
    os.utime(path.parents[1], (1_700_000_000 - age_s,) * 2)


def test_what_is_current_stays(tmp_path: Path) -> None:
    """Its daemon may be stopped just now, while another one of this data directory tidies up."""
    made = Installation(tmp_path)
    made.launcher()
    for name, age_s in (("a", 50), ("b", 40), ("c", 30), ("d", 20)):
        environment(made, name, age_s)
    made.switch("a")
    made.prune("", ["a"])
    assert {path.name for path in made.environments.iterdir()} == {"original", "a", "c", "d"}


def test_two_environments_are_kept_and_none_that_was_taken_back(tmp_path: Path) -> None:
    made = Installation(tmp_path)
    made.launcher()
    for name, age_s in (("a", 50), ("b", 40), ("c", 30), ("d", 20)):
        environment(made, name, age_s)
    environment(made, "9.9.9-0123456789AB")
    made.prune("a", ["directive-0123456789AB"])
    assert {path.name for path in made.environments.iterdir()} == {"original", "a", "d"}
    made.prune("d")
    assert {path.name for path in made.environments.iterdir()} == {"original", "a", "d"}


def test_the_environment_of_another_living_daemon_stays(tmp_path: Path) -> None:
    """It could start no guard any more, nor itself."""
    made, other, gone = Installation(tmp_path), Home(tmp_path, "other"), Home(tmp_path, "gone")
    made.launcher()
    for name, age_s in (("a", 60), ("b", 50), ("c", 40), ("d", 30)):
        environment(made, name, age_s)
    other.environment.write_text("a")
    gone.environment.write_text("b")
    lock = other.lock()
    made.prune("d", ["a"])
    assert {path.name for path in made.environments.iterdir()} == {"original", "a", "c", "d"}
    lock.release()
    made.prune("d")
    assert {path.name for path in made.environments.iterdir()} == {"original", "c", "d"}


@pytest.mark.parametrize("is_installed", [True, False])
def test_the_environment_that_another_daemon_is_about_to_run_in_stays(tmp_path: Path, is_installed: bool) -> None:
    """It drains, or pip is still at work, while the first of them has arrived in its own."""
    made, other = Installation(tmp_path), Home(tmp_path, "other")
    made.launcher()
    names = ("0.1.0-0000000000aa", "0.2.0-0000000000bb", "0.1.0-0000000000cc", "0.2.0-0000000000dd")
    for age_s, name in zip((60, 50, 40, 30), names, strict=True):
        environment(made, name, age_s)
    update = DirectiveOutcome("directive-0000000000bb", "update", "started", "b1")
    update = replace(update, environment=names[1] if is_installed else "")
    DirectiveFile(other, "b1").save(SavedDirectives((update,)))
    made.prune(names[3])
    assert {path.name for path in made.environments.iterdir()} == {"original", *names[1:]}
    DirectiveFile(other, "b1").save(SavedDirectives((replace(update, state="failed"),)))
    made.prune(names[3])
    assert {path.name for path in made.environments.iterdir()} == {"original", *names[2:]}


def test_an_update_of_ones_own_that_was_taken_back_goes(tmp_path: Path) -> None:
    made, home = Installation(tmp_path), Home(tmp_path, "mini")
    made.launcher()
    environment(made, "0.2.0-0000000000bb")
    update = DirectiveOutcome("directive-0000000000bb", "update", "started", "b1", environment="0.2.0-0000000000bb")
    DirectiveFile(home, "b1").save(SavedDirectives((update,)))
    made.prune("", [update.id])
    assert {path.name for path in made.environments.iterdir()} == {"original"}


def test_a_daemon_notes_its_environment_when_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path, "mini")
    directives = DirectiveFile(home, "boot-1")
    monkeypatch.setattr(directives.installation, "running", lambda: "1.2.3-abc")
    directives.load(has_arrived=False)
    assert home.environment.read_text() == "1.2.3-abc"


def test_a_link_to_nothing_stops_no_tidying(tmp_path: Path) -> None:
    """Nor what comes after it: the word that a restart or an update is done."""
    made = Installation(tmp_path)
    made.launcher()
    for name, age_s in (("a", 50), ("b", 40), ("c", 30)):
        environment(made, name, age_s)
    (made.environments / "nowhere").symlink_to(tmp_path / "gone")
    made.prune("c")
    assert {path.name for path in made.environments.iterdir()} == {"original", "b", "c", "nowhere"}


def test_a_new_environment_is_on_the_disk_of_a_mac_before_it_is_the_current_one_and_then_its_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There `fsync` alone ends in the cache of the drive."""
    made = Installation(tmp_path)
    environment(made, "new")
    steps: list[tuple[str, int]] = []
    monkeypatch.setattr(os, "fsync", lambda fd: steps.append(("written", os.fstat(fd).st_ino)))
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda fd, _: steps.append(("on disk", os.fstat(fd).st_ino)))
    module._sync(made.environments / "new")
    of_environments, of_root = (path.stat().st_ino for path in (made.environments, made.root))
    assert steps[-2:] == [("written", of_environments), ("on disk", of_environments)]
    script = (made.environments / "new/bin/understudy").stat().st_ino
    assert ("written", script) in steps
    assert [word for word, _ in steps].count("on disk") == 1, "one is enough for all that was written before"
    made.switch("new")
    assert steps[-2:] == [("written", of_root), ("on disk", of_root)]


def test_what_a_killed_installation_left_is_removed_later(tmp_path: Path) -> None:
    made = Installation(tmp_path)
    made.launcher()
    for name, age_s in (("left", 100_000), ("busy", 60)):
        folder = made.root / f".incoming-{name}"
        folder.mkdir()
        (folder / NAME).write_bytes(CONTENT)
        os.utime(folder, (SystemClock().now_ms() / 1000 - age_s,) * 2)
    made.prune("original")
    assert [path.name for path in made.root.glob(".incoming-*")] == [".incoming-busy"]


@pytest.mark.parametrize(
    "version", ["../../..", "..", "/etc", "1/../..", "", "-1", "1 2", "1\n", "1" * 65, "9.9.9;rm", "é"]
)
def test_a_version_that_is_none_reaches_no_path(tmp_path: Path, version: str) -> None:
    precious = tmp_path / "precious-0123456789"
    precious.mkdir()
    for wheel, sha256 in ((None, SHA), (None, None)):
        with pytest.raises(InstallError):
            Installation(tmp_path / "data", {"PIP_NO_INDEX": "1"}).install(order(wheel, sha256, version), 1_000)
    assert precious.is_dir()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("directive_id", ["", "../../../x", "a/b", "x" * 200, "a\n", "é"])
def test_an_id_that_is_none_reaches_no_path(tmp_path: Path, directive_id: str) -> None:
    precious = tmp_path / "data" / "precious"
    precious.mkdir(parents=True)
    wanted = ReceivedDirective(directive_id, "update", version="1.0", sha256=SHA)
    with pytest.raises(InstallError, match="no valid id"):
        Installation(tmp_path / "data", {}).install(wanted, 1_000)
    made = Installation(tmp_path / "data", {})
    (made.environments / "1.0-kept").mkdir(parents=True)
    made.prune("", (directive_id,))
    assert precious.is_dir()
    assert (made.environments / "1.0-kept").is_dir()


@pytest.mark.parametrize(
    ("sha256", "words"), [(None, "needs its SHA-256"), ("", "64 hexadecimal"), ("zz" * 32, "64 hexadecimal")]
)
def test_no_wheel_without_its_hash(served: str, tmp_path: Path, sha256: str | None, words: str) -> None:
    """The hub asks for it too, but it is this machine's to insist."""
    with pytest.raises(InstallError, match=words):
        Installation(tmp_path / "data", {}).install(order(served, sha256), 1_000)


def test_a_pipe_is_no_wheel(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    assert "no file" in refused(tmp_path / "data", order(str(tmp_path / NAME)))


@pytest.mark.parametrize("url", ["http://[/x.whl", "http://[::1/understudy-1-py3-none-any.whl"])
def test_an_address_that_is_none_is_said(tmp_path: Path, url: str) -> None:
    assert "no name of a wheel" in refused(tmp_path / "data", order(url))


@pytest.mark.parametrize(
    ("env", "is_own"),
    [
        ({}, False),
        ({"PIP_CONFIG_FILE": "/dev/null"}, False),
        ({"PIP_CONFIG_FILE": "/nowhere/pip.conf"}, False),
        ({"PIP_CONFIG_FILE": "{file}"}, True),
        ({"PIP_CONFIG_FILE": "{empty}"}, False),
        ({"PIP_CONFIG_FILE": "{file}", "PIP_INDEX_URL": f"https://pypi.org/{SIMPLE}"}, False),
        ({"PIP_NO_INDEX": "1"}, True),
        ({"PIP_NO_INDEX": "false"}, False),
        ({"PIP_NO_INDEX": "0"}, False),
        ({"PIP_INDEX_URL": "https://packages.example/simple"}, True),
        ({"PIP_INDEX_URL": "https://PyPI.org./simple"}, False),
        ({"PIP_INDEX_URL": f"https://user:word@test.pypi.org/{SIMPLE}"}, False),
        ({"PIP_INDEX_URL": f"file:{SRV}"}, True),
        ({"PIP_INDEX_URL": "https://[broken"}, False),
        ({"PIP_INDEX_URL": "https://packages.example", "PIP_EXTRA_INDEX_URL": f"https://pypi.org/{SIMPLE}"}, False),
        ({"PIP_INDEX_URL": "   "}, False),
        ({"HOME": "{home}"}, True),
        ({"HOME": "{home}", "PIP_CONFIG_FILE": "/dev/null"}, False),
        ({"HOME": "{mixed}", "PIP_INDEX_URL": "https://packages.example/simple"}, False),
        ({"HOME": "{mixed}", "PIP_CONFIG_FILE": "{file}"}, True),  # pip does not read what is in that home then
        ({"HOME": "{home}", "PIP_CONFIG_FILE": "{empty}"}, False),
        ({"HOME": "{home}", "PIP_CONFIG_FILE": "/nowhere/pip.conf"}, True),
        ({"HOME": "{install}"}, False),
        ({"HOME": "{download}"}, True),
        ({"HOME": "{public}", "PIP_CONFIG_FILE": "/nowhere/pip.conf"}, False),
        ({"PIP_CONFIG_FILE": "{large}"}, False),
        ({"PIP_CONFIG_FILE": "pip.conf"}, False),  # of the current directory, where pip is not started
        ({"PIP_INDEX_URL": "https://packages.example", "PIP_PYPI_URL": f"https://pypi.org/{SIMPLE}"}, False),
    ],
    ids=str,
)
def test_which_index_is_the_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], is_own: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://packages.example/simple\n")
    (tmp_path / "empty.conf").write_text("[global]\ntimeout = 3\n")
    names = {"file": tmp_path / "pip.conf", "empty": tmp_path / "empty.conf"}
    (tmp_path / "large.conf").write_text("[global]\nindex-url = https://packages.example/simple\n" + "#\n" * 40_000)
    names["large"] = tmp_path / "large.conf"
    own = "index-url = https://packages.example/simple"
    homes = {
        "home": f"[global]\n{own}",
        "mixed": "[global]\nextra-index-url = https://pypi.org",
        "install": f"[install]\n{own}",
        "download": f"[global]\nindex-url = https://pypi.org\n[download]\n{own}",
        "public": f"[global]\n{own}\n[download]\nindex-url = https://pypi.org",
    }
    for name, line in homes.items():
        names[name] = tmp_path / name
        (names[name] / ".config/pip").mkdir(parents=True)
        (names[name] / ".config/pip/pip.conf").write_text(f"{line}\n")
    assert has_own_index({name: value.format(**names) for name, value in env.items()}) is is_own
