"""What people write is read right or refused with its place, whatever editor, shell or system it comes from."""

from __future__ import annotations

import pytest

from understudy.cli.service_program import write_secrets
from understudy.config import assignment, assignments, decoded_as_is, read_given, secrets_in
from understudy.config.given_text import BYTES_MAX, decoded
from understudy.config.reading import load, secret_text
from understudy.errors import ConfigError

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be"]
TEXT = "port = 9000\nhost = '127.0.0.1' # ハブ\n"


def marked(text, encoding):
    """As editors write it: UTF-16 with a byte order mark."""
    return (f"\ufeff{text}" if "16" in encoding else text).encode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_settings_are_read_in_every_marked_encoding_with_any_line_end(tmp_path, encoding, end):
    (tmp_path / "understudy.toml").write_bytes(marked(TEXT.replace("\n", end), encoding))
    assert load({}, tmp_path).settings.port == 9000


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_keys_are_read_in_every_marked_encoding(tmp_path, encoding, end):
    (tmp_path / "key").write_bytes(marked(f"usk_secret{end}", encoding))
    assert secret_text(tmp_path / "key", "X") == "usk_secret"
    environ = {"UNDERSTUDY_API_KEY_FILE": str(tmp_path / "key")}
    assert secrets_in(load(environ, tmp_path / "none").settings) == ("usk_secret",)


ODD = " p w€ü\t"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("secret", [ODD, "two\r\nlines", "ends in one\n\n", "\n first"])
def test_a_password_is_kept_byte_for_byte(tmp_path, secret, end):
    (tmp_path / "password").write_bytes(f"{secret}{end or chr(10)}".encode())
    for name in ("SMTP_PASSWORD", "NTFY_TOKEN", "UNDERSTUDY_WEBHOOK_SECRET"):
        environ = {f"{name}_FILE": str(tmp_path / "password")}
        assert secrets_in(load(environ, tmp_path / "none").settings) == (secret,)
        assert secrets_in(load({name: secret}, tmp_path / "none").settings) == (secret,)


def test_a_password_in_the_service_s_file_is_the_same(tmp_path):
    write_secrets({"SMTP_PASSWORD_FILE": (tmp_path / "it", "a \n")})
    assert secret_text(tmp_path / "it", "X") == "a \n"


def test_a_password_has_a_limit_and_no_nul(tmp_path):
    for raw in ("x" * 513, "a\0b"):
        with pytest.raises(ConfigError, match="SMTP_PASSWORD"):
            load({"SMTP_PASSWORD": raw}, tmp_path)


def test_a_file_of_white_space_is_no_secret(tmp_path):
    (tmp_path / "it").write_text(" \n")
    with pytest.raises(ConfigError, match="SMTP_PASSWORD_FILE"):
        load({"SMTP_PASSWORD_FILE": str(tmp_path / "it")}, tmp_path)


@pytest.mark.parametrize("raw", [b"a\nb\ncaf\xe9 secret", "a\nb\ncafé secret".encode("utf-16-le"), b"a\nb\n\0"])
def test_what_cannot_be_read_is_refused_with_its_place_and_the_way_out(tmp_path, raw):
    file = tmp_path / "understudy.toml"
    file.write_bytes(raw)
    for read in (lambda: load({}, tmp_path), lambda: secret_text(file, "KEY")):
        with pytest.raises(ConfigError, match=r"line 3: .*iconv") as refused:
            read()
        assert str(file) in refused.value.message
        assert "secret" not in refused.value.message.replace(str(file), "")


def test_a_file_is_read_up_to_its_limit(tmp_path):
    (tmp_path / "x").write_bytes(b"#" * BYTES_MAX)
    assert len(read_given(tmp_path / "x", "x")) == BYTES_MAX
    (tmp_path / "x").write_bytes(b"#" * (BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="larger"):
        read_given(tmp_path / "x", "x")


def test_line_ends_of_a_task_stay():
    assert decoded_as_is(b"\xef\xbb\xbfa\r\nb", "stdin") == "a\r\nb"
    assert decoded(b"a\r\nb\rc", "stdin") == "a\nb\nc"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("export A=b", "b"),
        ("export\tA=b", "b"),
        ("  export \t A = b  ", "b"),
        ("A=b # a comment", "b"),
        ("A=b\t# a comment", "b"),
        ("A=b#c", "b#c"),
        ("A=# nothing", ""),
        ("A=", ""),
        ('A="b # c"', "b # c"),
        ("A='b \"c\" \\n' # said", 'b "c" \\n'),
        ('A="b \\"c\\" \\\\ \\$d \\n"', 'b "c" \\ $d \n'),
        ('A="b\\d"', "b\\d"),
        ('A="one\ntwo"\nB=c', "one\ntwo"),
        ("A='one\n\n# two'", "one\n\n# two"),
        ('A=b"c"', 'b"c"'),
    ],
)
def test_assignments_are_read_as_shells_and_docker_write_them(line, value):
    assert assignments(f"# first\n\n{line}\nZ=last", "x")["A"] == value
    assert assignments(line, "x", ("A",)) == {"A": value}


@pytest.mark.parametrize("line", ["A='b", 'A="b\nB=c', 'A="b"c', "A='b' c", 'A="b\\"'])
def test_quotes_that_are_not_closed_are_refused_with_their_line(line):
    with pytest.raises(ConfigError, match="x, line 2: the quote"):
        assignments(f"Z=z\n{line}", "x")


@pytest.mark.parametrize("line", ["A", "2A=b", "A-B=c", "=b", "{"])
def test_what_is_no_assignment_is_refused_with_its_line(line):
    with pytest.raises(ConfigError, match="x, line 5"):
        assignments(f"\n# z\nY='1\n2'\n{line}", "x")


def test_lines_of_other_programs_are_no_matter_of_ours():
    text = "what is this\nOTHER='never closed\nUNDERSTUDY_HUB=http://h\nMORE=\"x\nUNDERSTUDY_API_KEY=k\n"
    assert assignments(text, "x", ("UNDERSTUDY_HUB", "UNDERSTUDY_API_KEY")) == {
        "UNDERSTUDY_HUB": "http://h",
        "UNDERSTUDY_API_KEY": "k",
    }


def test_a_line_within_a_value_is_no_assignment():
    assert assignments('OTHER="\nUNDERSTUDY_HUB=http://stranger\n"\n', "x", ("UNDERSTUDY_HUB",)) == {}


@pytest.mark.parametrize("value", ["a", "a b", "a\nb\n", "a\r\nb", "\"'`$\\", " # no comment", "é€\t", "x\\n", ""])
def test_what_is_written_is_read_again_byte_for_byte(value):
    assert assignments(decoded(f"{assignment('A', value)}\n".encode(), "x"), "x") == {"A": value}


def test_a_variable_in_another_encoding_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match="UNDERSTUDY_HUB, line 1"):
        load({"UNDERSTUDY_HUB": "http://caf\udce9"}, tmp_path)


def test_no_home_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError("Could not determine home")))
    from understudy.config import user_data_dir

    with pytest.raises(ConfigError, match="UNDERSTUDY_DATA"):
        user_data_dir({})
