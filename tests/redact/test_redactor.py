"""Known secrets go by value in each form in which they leak; JSON stays JSON; what is no text stays."""

from __future__ import annotations

import base64
import json
import sys
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.redact.corpus import GONE
from understudy.redact import MASK, Redactor, secrets_of

SECRET = 'correct horse/battery+"staple" ñ'


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        urllib.parse.quote(SECRET),
        urllib.parse.quote(SECRET, safe=""),
        urllib.parse.quote_plus(SECRET),
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
    ],
)
def test_a_known_secret_goes_in_each_form(form):
    assert Redactor([SECRET]).clean(f"sent {form}, refused") == f"sent {MASK}, refused"


@pytest.mark.parametrize("user", ["", "a", "ab", "abc", "someone"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_known_secret_goes_from_base64_wherever_it_begins(user, encode):
    encoded = encode(f"{user}:{SECRET}:more".encode()).decode()
    left = Redactor([SECRET]).clean(f"x={encoded}.")
    raw = base64.b64decode(encoded.translate(str.maketrans("-_", "+/")))
    assert SECRET.encode() in raw
    assert MASK in left
    assert len(left.replace(MASK, "")) <= len(encoded) - len(SECRET) * 4 // 3 + 8


def test_the_longest_secret_goes_first():
    assert Redactor(["abcdefgh", "abcdefgh-and-more"]).clean("abcdefgh-and-more") == MASK


def test_what_is_too_short_to_be_told_from_a_word_stays():
    assert Redactor(["secrets", ""]).clean("secrets of the trade") == "secrets of the trade"


def test_by_value_only_leaves_forms_alone():
    redactor = Redactor([SECRET]).by_value_only()
    assert redactor.clean(f"password=hunter2 {SECRET}") == f"password=hunter2 {MASK}"


def test_a_name_tells_about_what_stands_behind_it():
    told = {"password": "correct horse", "apiKey": "abc", "token": 1738591200123, "user": "me", "a": {"secret": "x y"}}
    left = {"password": MASK, "apiKey": MASK, "token": 1738591200123, "user": "me", "a": {"secret": MASK}}
    assert Redactor().clean_value(told) == left


def test_keys_are_cleaned_too_and_other_values_stay():
    value = {SECRET: 1, "list": (SECRET, None, True, 1.5, b"raw"), 7: "seven"}
    assert Redactor([SECRET]).clean_value(value) == {MASK: 1, "list": [MASK, None, True, 1.5, b"raw"], 7: "seven"}


def test_what_lies_too_deep_is_not_shown():
    value = SECRET
    for _ in range(2_000):
        value = [value]
    assert SECRET not in repr(Redactor().clean_value(value))


def test_secrets_of_an_environment_are_known_by_their_names():
    environ = {
        "GITHUB_TOKEN": "t1",
        "SLACK_WEBHOOK_URL": "https://hooks.slack.com/x",
        "DB_PASSWORD": "p",
        "UNDERSTUDY_API_KEY": "k",
        "UNDERSTUDY_API_KEY_FILE": "/run/secrets/key",
        "SSL_KEY": "/etc/ssl/key.pem",
        "KEYBOARD": "us",
        "PATH": "/bin",
    }
    assert set(secrets_of(environ)) == {"t1", "https://hooks.slack.com/x", "p", "k"}


texts = st.text() | st.sampled_from([case.text for case in GONE])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(texts | st.sampled_from(["password", "token"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values)
def test_json_stays_json(value):
    text = json.dumps(value, ensure_ascii=False)
    json.loads(Redactor([SECRET]).clean(text))


@given(texts, texts)
def test_to_clean_twice_changes_nothing_more(first, second):
    redactor = Redactor([SECRET])
    once = redactor.clean(f"{first} {second}\n{first}")
    assert redactor.clean(once) == once


LINE = "[2026-11-30T00:00:00Z] [INFO] [TaskQueue] Task t9 queued taskId=t9 daemon=mini position=3"


def test_a_line_of_a_log_in_which_nothing_is_hidden_costs_few_calls():
    """Each line of each log passes through here: one search of a hint is no call of its own."""
    redactor = Redactor(["a known secret"])
    redactor.clean(LINE)
    calls: list[str] = []
    sys.setprofile(lambda _, event, __: calls.append(event))
    try:
        assert redactor.clean(LINE) == LINE
    finally:
        sys.setprofile(None)
    assert len(calls) < 100
