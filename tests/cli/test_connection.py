"""Where a client finds its hub and key, and that a key goes only where it may."""

from __future__ import annotations

import io
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.waiting import allowed_s
from understudy import config
from understudy.cli import saved
from understudy.cli.connection import find_place, place_to_serve
from understudy.cli.exits import RefusedError
from understudy.cli.saved import Saved, load_local_keys, load_saved, local_keys, save
from understudy.errors import ConfigError

HUB = "https://hub.example:9443"


@pytest.fixture
def here(tmp_path):
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


@pytest.fixture
def home(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def place(here, home, *, admin=False, **environ):
    return find_place({"UNDERSTUDY_DATA": str(home), **environ}, here, admin=admin)


def test_nothing_known_says_how_to_begin(here, home):
    with pytest.raises(ConfigError, match="understudy up"):
        place(here, home)


@pytest.mark.parametrize("hub", ["UNDERSTUDY_HUB", "WORKERS_URL"])
@pytest.mark.parametrize("key", ["UNDERSTUDY_API_KEY", "ASSISTANT_API_KEY"])
def test_the_environment_is_taken_first(here, home, hub, key):
    save(home, Saved("http://127.0.0.1:1", "saved-key"))
    (here / ".env").write_text("UNDERSTUDY_HUB=http://elsewhere\nUNDERSTUDY_API_KEY=near")
    found = place(here, home, **{hub: f"{HUB}/", key: "mine"})
    assert (found.url, found.url_from, found.key, found.key_from) == (HUB, hub, "mine", key)


def test_what_up_saved_is_found(here, home):
    save(home, Saved("http://127.0.0.1:8787", "saved-key", "saved-admin", "/var/x"))
    assert place(here, home).key == "saved-key"
    assert place(here, home, admin=True).key == "saved-admin"
    assert str(place(here, home).data) == "/var/x"


def test_a_saved_key_goes_to_the_saved_hub_only(here, home):
    save(home, Saved("http://127.0.0.1:8787", "saved-key"))
    assert place(here, home, UNDERSTUDY_HUB="http://localhost:8787").key == "saved-key"
    assert place(here, home, UNDERSTUDY_HUB="http://127.0.0.1:8788").key == ""
    assert place(here, home, UNDERSTUDY_HUB=HUB).key == ""


def test_a_dot_env_is_used_and_said_on_stderr(here, home, capsys):
    (here / ".env").write_text(f"# ours\nexport WORKERS_URL=\"{HUB}\"\nASSISTANT_API_KEY='near'  # it\nOTHER=1\n")
    found = place(here, home)
    assert (found.url, found.key) == (HUB, "near")
    said = capsys.readouterr()
    assert said.out == ""
    assert HUB in said.err
    assert str(here / ".env") in said.err
    assert "near" not in said.err


def test_an_address_out_of_a_dot_env_never_gets_another_key(here, home):
    (here / ".env").write_text(f"UNDERSTUDY_HUB={HUB}\n")
    with pytest.raises(RefusedError, match="Set UNDERSTUDY_HUB too"):
        place(here, home, UNDERSTUDY_API_KEY="mine")
    assert place(here, home).key == ""


def test_a_dot_env_cannot_have_files_read(here, home):
    (home / "secret").write_text("mine")
    (here / ".env").write_text(f"UNDERSTUDY_HUB={HUB}\nUNDERSTUDY_API_KEY_FILE={home / 'secret'}\n")
    assert place(here, home).key == ""


def test_admin_commands_prefer_the_admin_key_wherever_it_is(here, home):
    save(home, Saved("http://127.0.0.1:8787", "saved-key", "saved-admin"))
    environ = {"UNDERSTUDY_HUB": "http://127.0.0.1:8787", "UNDERSTUDY_API_KEY": "mine"}
    assert place(here, home, **environ).key == "mine"
    assert place(here, home, admin=True, **environ).key == "saved-admin"
    assert place(here, home, admin=True, **environ, ADMIN_API_KEY="boss").key == "boss"
    assert place(here, home, ADMIN_API_KEY="boss", UNDERSTUDY_HUB=HUB).key == "boss"


def test_a_key_without_an_address_means_the_hub_of_this_machine(here, home):
    assert place(here, home, UNDERSTUDY_API_KEY="mine", UNDERSTUDY_PORT="9000").url == "http://127.0.0.1:9000"


@pytest.mark.parametrize(
    "url",
    [
        *("hub.example", "ftp://hub", "http://", "http://hub:99999", "http://hub:0"),
        *(
            "http://[::1",
            "http://a..b",
            f"http://{'a' * 64}.example",
            "http://hub :1",
            "http://hub/\x01",
            "http://hub/ü",
        ),
    ],
)
def test_what_is_no_address_is_refused(here, home, url):
    with pytest.raises(ConfigError, match="not the address of a hub"):
        place(here, home, UNDERSTUDY_HUB=url)


@pytest.mark.parametrize("url", ["http://user:secret@hub", "http://hub/?key=secret", "http://hub/#secret"])
def test_an_address_with_a_secret_in_it_is_refused_without_showing_it(here, home, url):
    with pytest.raises(ConfigError) as refused:
        place(here, home, UNDERSTUDY_HUB=url)
    assert "secret" not in refused.value.message


def test_what_is_saved_is_for_its_owner_alone(tmp_path):
    path = save(tmp_path / "new", Saved("http://h", "k"))
    assert path.stat().st_mode & 0o077 == 0
    made = local_keys(tmp_path / "new")
    assert all(file.stat().st_mode & 0o077 == 0 for file in (tmp_path / "new").iterdir())
    again = local_keys(tmp_path / "new")
    assert again == made
    assert made.api_key != made.admin_key


@pytest.mark.parametrize("content", ["", "[]", "{", '{"hub": 3}', "\0", "[" * 20_000])
def test_a_broken_saved_file_is_as_good_as_none_or_text(tmp_path, content):
    (tmp_path / "client.json").write_text(content)
    saved = load_saved(tmp_path)
    assert saved is None or saved.hub == "3"


def test_a_dot_env_never_beats_the_saved_hub(here, home, capsys):
    save(home, Saved("http://127.0.0.1:8787", "saved-key"))
    (here / ".env").write_text(f"UNDERSTUDY_HUB={HUB}\nUNDERSTUDY_API_KEY=near\n")
    found = place(here, home)
    assert (found.url, found.key) == ("http://127.0.0.1:8787", "saved-key")
    said = capsys.readouterr().err
    assert HUB in said
    assert "near" not in said


def test_daemon_and_service_do_not_look_into_a_dot_env(here, home, monkeypatch):
    (here / ".env").write_text(f"UNDERSTUDY_HUB={HUB}\nUNDERSTUDY_API_KEY=near\n")
    monkeypatch.chdir(here)
    with pytest.raises(ConfigError, match="no hub is configured"):
        place_to_serve({"UNDERSTUDY_DATA": str(home)}, home, is_agreed=False)


@pytest.mark.parametrize("raw", [b"# caf\xe9\n", "UNDERSTUDY_HUB=http://x\n".encode("utf-16-le")])
def test_a_dot_env_that_cannot_be_read_stops_only_who_needs_it(here, home, capsys, raw):
    (here / ".env").write_bytes(raw)
    with pytest.raises(ConfigError, match="line 1"):
        place(here, home)
    save(home, Saved("http://127.0.0.1:8787", "saved-key"))
    assert place(here, home).key == "saved-key"
    assert "line 1" in capsys.readouterr().err


def test_a_chosen_data_directory_has_the_hub_its_key_and_its_certificates(here, home):
    chosen = here / "chosen"
    chosen.mkdir()
    save(home, Saved("http://127.0.0.1:8787", "saved-key"))
    (home / "understudy.toml").write_text('api_key = "of-the-user"\nca_file = "of-the-user.pem"\n')
    (chosen / "understudy.toml").write_text(f'hub = "{HUB}"\napi_key = "of-chosen"\nca_file = "ca.pem"\n')
    found = place_to_serve({"UNDERSTUDY_DATA": str(home)}, chosen, is_agreed=True)
    assert (found.url, found.key, found.ca_file) == (HUB, "of-chosen", str(chosen / "ca.pem"))


def test_what_up_saved_in_a_chosen_data_directory_is_known(here, home, capsys):
    save(home, Saved("http://127.0.0.1:8787", "saved-key"))
    save(here, Saved(HUB, "of-chosen"))
    found = place_to_serve({"UNDERSTUDY_DATA": str(home)}, here, is_agreed=False)
    assert (found.url, found.key, found.key_from) == (HUB, "of-chosen", str(here))
    assert capsys.readouterr().err == ""


def test_a_hub_of_a_chosen_data_directory_gets_no_key_that_is_for_another(here, home):
    (home / "understudy.toml").write_text('hub = "http://127.0.0.1:8787"\napi_key = "of-the-user"\n')
    (here / "understudy.toml").write_text(f'hub = "{HUB}"\n')
    with pytest.raises(RefusedError, match="no key"):
        place_to_serve({"UNDERSTUDY_DATA": str(home)}, here, is_agreed=True)


def test_a_chosen_data_directory_without_a_hub_means_the_users(here, home):
    (here / "understudy.toml").write_text('ca_file = "ca.pem"\n')
    (home / "understudy.toml").write_text(f'hub = "{HUB}"\napi_key = "of-the-user"\nca_file = "other.pem"\n')
    found = place_to_serve({"UNDERSTUDY_DATA": str(home)}, here, is_agreed=True)
    assert (found.url, found.key, found.ca_file) == (HUB, "of-the-user", str(here / "ca.pem"))


def test_a_key_in_the_file_of_a_chosen_data_directory_goes_to_the_hub_that_is_named(here, home):
    (here / "understudy.toml").write_text('api_key = "of-chosen"\n')
    environ = {"UNDERSTUDY_DATA": str(home), "UNDERSTUDY_HUB": "http://127.0.0.1:9000"}
    found = place_to_serve(environ, here, is_agreed=True)
    assert (found.url, found.key) == ("http://127.0.0.1:9000", "of-chosen")
    save(home, Saved(HUB, "saved-key"))
    found = place_to_serve({"UNDERSTUDY_DATA": str(home)}, here, is_agreed=True)
    assert (found.url, found.key) == ("http://127.0.0.1:8787", "of-chosen")


def test_a_key_that_the_user_has_saved_goes_to_the_same_hub_from_a_chosen_data_directory(here, home):
    save(home, Saved(HUB, "saved-key"))
    (here / "understudy.toml").write_text(f'hub = "{HUB}/"\n')
    found = place_to_serve({"UNDERSTUDY_DATA": str(home)}, here, is_agreed=False)
    assert (found.url, found.key) == (HUB, "saved-key")
    (here / "understudy.toml").unlink()
    found = place_to_serve({"UNDERSTUDY_DATA": str(home)}, here, is_agreed=False)
    assert (found.url, found.key) == (HUB, "saved-key")


def test_certificates_that_the_environment_names_are_found_as_settings_are(here, home, monkeypatch):
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    for given, meant in (
        ("~/ca.pem", home / "ca.pem"),
        ("ca.pem", here / "ca.pem"),
        (" /ca.pem ", "/ca.pem"),
        ("", ""),
    ):
        environ = {"UNDERSTUDY_DATA": str(home), "UNDERSTUDY_HUB": HUB, "UNDERSTUDY_CA_FILE": given}
        assert find_place(environ, None).ca_file == str(meant)
        assert find_place(environ, None).ca_file == config.load(environ, home).settings.ca_file


class Terminal(io.StringIO):
    """A person at a keyboard."""

    def isatty(self):
        return True


@pytest.fixture
def asked(monkeypatch):
    """Answers from a keyboard → the terminal that the question was put to."""

    def answers(text):
        monkeypatch.setattr("sys.stdin", Terminal(text))
        monkeypatch.setattr("sys.stderr", Terminal())
        return sys.stderr

    return answers


ENVIRON = {"UNDERSTUDY_HUB": HUB, "UNDERSTUDY_API_KEY": "mine"}


def serve(home, *, is_agreed=False):
    return place_to_serve({"UNDERSTUDY_DATA": str(home), **ENVIRON}, home, is_agreed=is_agreed).url


def test_a_hub_that_is_new_is_said_once(home, capsys):
    assert serve(home) == HUB
    assert f"{HUB} (from UNDERSTUDY_HUB) has not been used" in capsys.readouterr().err
    assert serve(home) == HUB
    assert capsys.readouterr().err == ""
    assert (home / "known-hubs").stat().st_mode & 0o077 == 0


def test_on_a_terminal_a_new_hub_is_asked_about(home, asked):
    terminal = asked("n\ny\n")
    with pytest.raises(RefusedError, match="not used"):
        serve(home)
    assert "Use it?" in terminal.getvalue()
    assert serve(home) == HUB
    asked("n\n")
    assert serve(home) == HUB


def test_yes_is_an_answer_given_before(home, asked):
    asked("n\n")
    assert serve(home, is_agreed=True) == HUB


def test_the_saved_hub_is_known(home, capsys):
    save(home, Saved(HUB, "mine"))
    assert serve(home) == HUB
    assert capsys.readouterr().err == ""


def test_a_directory_that_cannot_be_written_only_means_being_told_again(home):
    (home / "known-hubs").mkdir()
    assert serve(home) == HUB


def test_a_saved_address_that_is_none_hides_no_other(here, home):
    save(home, Saved("http://[::1", "saved-key"))
    assert place(here, home, UNDERSTUDY_HUB=HUB, UNDERSTUDY_API_KEY="mine").key == "mine"


def test_a_pipe_is_no_dot_env(here, home):
    """Nobody writes into it: who opened it would wait for ever, in every directory of that somebody."""
    os.mkfifo(here / ".env")
    found = []
    looking = threading.Thread(target=lambda: found.append(place(here, home, UNDERSTUDY_HUB=HUB)), daemon=True)
    looking.start()
    looking.join(allowed_s(5))
    assert [one.url for one in found] == [HUB]


@pytest.mark.parametrize("spoilt", [b"", b"\0" * 36, b"\xff"], ids=str)
def test_keys_that_a_crash_has_spoilt_are_made_anew(home, spoilt):
    before = local_keys(home)
    (home / "api-key").write_bytes(spoilt)
    made = local_keys(home)
    assert made.api_key.startswith("usk_")
    assert made.api_key != before.api_key


@pytest.mark.parametrize(("lost", "kept"), [("admin-key", "api-key"), ("api-key", "admin-key")])
def test_a_key_that_is_missing_is_made_without_changing_the_other(home, lost, kept):
    local_keys(home)
    before = {name: (home / name).read_text() for name in (lost, kept)}
    (home / lost).unlink()
    made = local_keys(home)
    assert (home / kept).read_text() == before[kept]
    assert (home / lost).read_text() != before[lost]
    assert local_keys(home) == made


@pytest.mark.parametrize("lost", ["admin-key", "api-key"])
def test_a_key_that_cannot_be_read_is_named_and_no_key_is_made(home, lost):
    local_keys(home)
    for name in ("api-key", "admin-key"):
        (home / name).unlink()
    (home / lost).symlink_to(home / lost)  # a loop: also root cannot open it
    with pytest.raises(ConfigError, match=f"{lost} cannot be read: "):
        local_keys(home)
    assert [file.name for file in home.iterdir() if file.name.endswith("-key")] == [lost]


def test_two_that_make_the_keys_at_once_have_the_same_ones(home, monkeypatch):
    """Both find none before either has made one."""
    both_looked = threading.Barrier(2, timeout=allowed_s(10))

    def made(path, make=saved._made, **options):
        if path.name == "api-key":
            both_looked.wait()
        return make(path, **options)

    monkeypatch.setattr(saved, "_made", made)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(local_keys, [home, home])
    assert first == second == load_local_keys(home)
