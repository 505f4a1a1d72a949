"""`understudy hub`: it fails closed, makes keys for loopback only, and ends with whoever started it."""

from __future__ import annotations

import subprocess

import pytest

from tests import prepared
from tests.cli.program import PROGRAM, environ, understudy
from tests.hub_process import HubProcess, running_hub
from tests.waiting import eventually
from understudy.cli.hub import _has_stored_key
from understudy.cli.saved import Saved, load_saved, local_keys, save
from understudy.config import Settings
from understudy.coordinator.nouns import Key
from understudy.runtime.lock import FileLock, LockedError, hub_locks
from understudy.store.sqlite import SqliteStore


class KeylessHub(HubProcess):
    """One that was given no key."""

    def __init__(self, data_dir, **settings):
        super().__init__(data_dir, **settings)
        self.environ = {name: value for name, value in self.environ.items() if not name.endswith("API_KEY")}


@pytest.fixture
def keyless(tmp_path):
    process = KeylessHub(tmp_path / "hub")
    yield process.start()
    process.close()


def test_without_a_key_it_makes_two_and_says_where(keyless):
    api, admin = ((keyless.data_dir / name).read_text().strip() for name in ("api-key", "admin-key"))
    assert str(keyless.data_dir / "api-key") in keyless.log
    assert api not in keyless.log
    assert keyless.ask("GET", "/api/queue", key="").status == 401
    assert keyless.ask("GET", "/api/queue", key=api).status == 200
    assert keyless.ask("GET", "/api/keys", key=api).status == 403
    assert keyless.ask("GET", "/api/keys", key=admin).status == 200


def test_the_same_keys_are_good_after_a_restart(keyless):
    before = (keyless.data_dir / "api-key").read_text()
    assert keyless.stop() == 0
    keyless.start()
    assert (keyless.data_dir / "api-key").read_text() == before
    assert keyless.log.count("the hub made what was missing") == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "hub.example"])
def test_without_a_key_it_listens_to_this_machine_only(tmp_path, host):
    done = understudy("hub", "--host", host, "--port", "0", "--data", str(tmp_path), env=environ())
    assert done.code == 2
    assert f"listen on {host} without any key" in done.err
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_key_that_was_created_is_a_key(keyless, tmp_path):
    admin = (keyless.data_dir / "admin-key").read_text().strip()
    keyless.post("/api/keys", {"name": "only", "scopes": ["read"]}, key=admin)
    keyless.stop()
    for name in ("admin-key", "api-key"):
        (keyless.data_dir / name).unlink()
    log = tmp_path / "open.log"
    with log.open("wb") as stream:
        process = prepared.start(
            ["hub", "--host", "0.0.0.0", "--port", "0", "--data", str(keyless.data_dir)], stderr=stream
        )
    try:
        eventually(lambda: "Listening on http://0.0.0.0" in log.read_text(), within_s=15)
    finally:
        process.terminate()
    assert process.wait(60) == 0
    assert not (keyless.data_dir / "api-key").exists()


def test_a_valid_key_is_found_among_any_number_of_revoked_ones(tmp_path):
    store = SqliteStore(tmp_path / "hub.db")
    settings = Settings(host="0.0.0.0")
    revoked = [Key(f"key-{n:04}", "n", f"h{n}", "read", n, revoked_at=1) for n in range(1_200)]
    store.transaction(lambda tx: tx.save_many(revoked))
    store.close()
    assert not _has_stored_key(settings, tmp_path)
    store = SqliteStore(tmp_path / "hub.db")
    store.transaction(lambda tx: tx.save_many([Key("key-9", "n", "h", "read", 9)]))
    store.close()
    assert _has_stored_key(settings, tmp_path)


def test_a_second_hub_on_the_same_data_is_refused(tmp_path):
    with running_hub(tmp_path) as hub:
        done = understudy("hub", "--port", "0", "--data", str(hub.data_dir), env=hub.env)
        assert done.code == 1
        assert "in use by process" in done.err
        assert len(done.err.splitlines()) == 1
        done = understudy("hub", "--port", "0", "--data", str(hub.data_dir), env=hub.env | {"UNDERSTUDY_LANG": "ja"})
        assert "が使用中です。先にそちらを止めてください。" in done.err


def test_a_second_hub_on_the_same_store_is_refused(tmp_path):
    link = tmp_path / "link.db"
    with running_hub(tmp_path) as hub:
        link.symlink_to(hub.data_dir / "hub.db")
        env = hub.env | {"UNDERSTUDY_STORE": str(link)}
        done = understudy("hub", "--port", "0", "--data", str(tmp_path / "other"), env=env)
        assert done.code == 1
        assert f"The store {link} is in use by process" in done.err
        env |= {"UNDERSTUDY_LANG": "ja"}
        done = understudy("hub", "--port", "0", "--data", str(tmp_path / "other"), env=env)
        assert f"ストア {link} はプロセス" in done.err


def test_a_key_is_not_looked_for_in_the_store_of_a_running_hub(tmp_path):
    SqliteStore(tmp_path / "hub.db").close()
    with hub_locks(tmp_path, tmp_path / "hub.db"):
        (tmp_path / "other").mkdir()
        with pytest.raises(LockedError, match="The store"):
            _has_stored_key(Settings(host="0.0.0.0", store=str(tmp_path / "hub.db")), tmp_path / "other")


def test_a_second_hub_does_not_hide_the_first_from_commands(tmp_path):
    keys = local_keys(tmp_path)
    running = Saved("http://127.0.0.1:8787", keys.api_key, keys.admin_key, str(tmp_path))
    save(tmp_path, running)
    lock = FileLock(tmp_path / "hub.lock")
    lock.take("The data directory")
    assert understudy("hub", "--port", "9000", "--data", str(tmp_path)).code == 1
    lock.release()
    assert load_saved(tmp_path) == running


def test_a_port_that_is_taken_is_a_sentence(tmp_path):
    with running_hub(tmp_path) as hub:
        done = understudy("hub", "--port", str(hub.port), "--data", str(tmp_path / "other"), env=hub.env)
        assert done.code == 2
        assert "Cannot listen on" in done.err


def test_a_watchdog_that_nobody_can_call_is_refused_without_showing_it(tmp_path):
    done = understudy("hub", "--data", str(tmp_path), env=environ(UNDERSTUDY_WATCHDOG_URL="https://[secret"))
    assert (done.code, done.out) == (2, "")
    assert "UNDERSTUDY_WATCHDOG_URL: this is not an address" in done.err
    assert "secret" not in done.err


def test_a_wrong_setting_is_a_sentence(tmp_path):
    done = understudy("hub", "--data", str(tmp_path), env=environ(UNDERSTUDY_LATE_AFTER="180"))
    assert (done.code, done.out) == (2, "")
    assert "write 180s" in done.err


def test_an_adapted_setting_is_said_at_start(tmp_path):
    with running_hub(tmp_path, late_after="15s") as hub:
        assert "so 20s is used" in hub.log


def test_it_ends_when_its_parent_is_gone(tmp_path):
    command = [*PROGRAM, "hub", "--port", "0", "--data", str(tmp_path / "hub"), "--stop-at-eof"]
    log = tmp_path / "log"
    with log.open("wb") as stream, subprocess.Popen(command, stdin=subprocess.PIPE, stderr=stream) as process:
        try:
            eventually(lambda: "Listening on" in log.read_text(), within_s=15)
            process.stdin.close()
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert "Stopped" in log.read_text()


def test_sigterm_leaves_no_lock(tmp_path):
    with running_hub(tmp_path) as hub:
        lock = FileLock(hub.data_dir / "hub.lock")
        with pytest.raises(LockedError):
            lock.take("The data directory")
        assert hub.stop() == 0
        lock.take("The data directory")
        lock.release()


@pytest.mark.parametrize(
    "where", [("--host", "0.0.0.0"), ("--host", "::"), ("--host", "127.0.0.1", "public")], ids=["all", "all6", "proxy"]
)
@pytest.mark.parametrize(("name", "key"), [("UNDERSTUDY_API_KEY", "hub"), ("ADMIN_API_KEY", "x" * 40)])
def test_keys_that_can_be_guessed_are_refused_where_others_can_ask(tmp_path, where, name, key):
    public = {"UNDERSTUDY_PUBLIC_URL": "https://hub.example"} if "public" in where else {}
    env = environ(**{name: key}, **public)
    done = understudy("hub", *where[:2], "--port", "0", "--data", str(tmp_path), env=env)
    assert done.code == 2
    assert f"{name}: too easy to guess" in done.err
    assert "openssl rand -hex 32" in done.err
    assert list(tmp_path.iterdir()) == []


class WeakHub(HubProcess):
    """One whose key is easy to guess."""

    def __init__(self, data_dir, **settings):
        super().__init__(data_dir, **settings)
        self.environ |= {"UNDERSTUDY_API_KEY": "hub"}


def test_a_weak_key_is_taken_on_loopback(tmp_path):
    process = WeakHub(tmp_path / "hub")
    try:
        assert process.start().ask("GET", "/api/queue", key="hub").status == 200
    finally:
        process.close()
