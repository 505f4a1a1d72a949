"""Half a surrogate pair in JSON from outside costs one character, never the whole document."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.daemon.home import Home
from understudy.daemon.spool import Spool
from understudy.errors import BadRequestError
from understudy.wire import foreign_json
from understudy.wire.daemons import HeartbeatBody
from understudy.wire.decode import decode
from understudy.wire.foreign_json import object_of, parsed, whole
from understudy.wire.limits import VALUES_MAX
from understudy.wire.memory import MemorySaveBody
from understudy.wire.tasks import ReleaseBody, RenewBody, ResultBody, StatusBody
from understudy.worker.executors import AssistantSession
from understudy.worker.executors.events import JsonLines
from understudy.worker.results import RunResult

HALVES = [rb"\ud83d", rb"\uDE00", b"\xed\xa0\xbd", rb"\ud83d\ud83d\ude00"]
pieces = st.sampled_from([rb"\\", rb"\ud83d", rb"\ude00", rb"\n", b"a", rb"\u0041", rb"\"", rb"\uDBFF", "あ".encode()])


@given(st.lists(pieces, max_size=8))
def test_every_text_is_what_a_lenient_reader_makes_of_it(parts):
    raw = b'"' + b"".join(parts) + b'"'
    expected = json.loads(raw).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert parsed(raw) == expected
    assert json.loads(whole(raw)) == expected


def test_what_is_whole_stays_as_it_came():
    for raw in (b'{"a":"\\\\ud83d"}', b'"\\ud83d\\ude00"', b'"\0\\ud83d"', '"한국어"'.encode(), b"{}"):
        assert whole(raw) == raw


@pytest.mark.parametrize("half", HALVES)
def test_a_result_of_a_request_is_taken(half):
    body = decode(b'{"workerId":"w","success":true,"output":"done ' + half + b' ok"}', ResultBody)
    assert body.output.startswith("done \ufffd")
    assert body.output.endswith(" ok")


def test_other_rubbish_is_refused_as_ever():
    for body in (b'{"workerId":"w","output":"\xff"}', b'{"workerId":"\\ud83d', b'{"workerId":"\\ud8'):
        with pytest.raises(BadRequestError):
            decode(body, ResultBody)
    with pytest.raises(BadRequestError, match="Validation failed"):
        decode(b'{"workerId":7,"success":true,"output":"\\ud83d"}', ResultBody)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_what_is_nested_too_deeply_is_rubbish_too(opening):
    for raw in (opening * 20_000, f'{{"id": "s", "unknown": {opening * 20_000}'):
        assert object_of(raw.encode()) is None
        for shape in (AssistantSession, dict[str, object]):
            with pytest.raises(msgspec.MsgspecError):
                parsed(raw.encode(), shape)


TOO_MUCH = {"deep": b"[" * 101 + b"]" * 101, "manifold": b"[" + b"[]," * VALUES_MAX + b"[]]"}


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_what_a_parser_would_take_long_for_is_not_parsed(kind, monkeypatch):
    raw = b'{"type":"x","id":' + TOO_MUCH[kind] + b"}"
    assert object_of(raw, is_from_hub=True) is not None, "it is JSON, and a claim may bring as much"
    monkeypatch.setattr(foreign_json, "parsed", pytest.fail)
    assert object_of(raw) is None
    reader = JsonLines()
    assert list(reader.feed(raw + b"\n")) == []
    assert reader.skipped == 1


def test_as_many_values_as_a_request_may_hold_are_read():
    assert object_of(b'{"id":[' + b"1," * VALUES_MAX + b"1]}") == {"id": [1] * (VALUES_MAX + 1)}


@pytest.mark.parametrize("half", HALVES)
def test_assistants_services_and_the_spool_are_read_too(half, tmp_path):
    line = b'{"type":"result","result":"x ' + half + b'"}'
    (event,) = JsonLines().feed(line + b"\n")
    assert event["result"].startswith("x \ufffd")
    assert object_of(line) == event
    home = Home(tmp_path, "mini")
    kept = msgspec.json.encode(RunResult("a", "t1", 1, success=True, finished_at=1, output="XX"))
    (home.spool / "a.json").write_bytes(kept.replace(b"XX", half))
    (result,) = Spool(home).load()
    assert result.output.startswith("\ufffd")


@pytest.mark.parametrize("piece", [rb"\ud83d", b"\xed\xa0\xbd", rb"\\", rb"\ud83d\ude00"])
def test_a_megabyte_of_the_worst_is_read_in_one_go(piece):
    parsed(b'"' + piece * ((1 << 20) // len(piece)) + b'\\ud83d"')


@pytest.mark.parametrize("shape", [HeartbeatBody, RenewBody, ReleaseBody, StatusBody, MemorySaveBody])
def test_a_nul_costs_one_character_and_no_sign_of_life(shape):
    body = {
        "workerId": "w",
        "reason": "a\0b",
        "progress": "a\0b",
        "loops": {"a\0b": {"x": "a\0b"}},
        "token": 1,
        "running": [{"taskId": "t", "token": 1, "progress": "a\0b", "checkpoint": ["a\0b"]}],
        "status": "a\0b",
        "user_id": {"id": "u\0"},
        "channel": "c\0",
        "role": "user",
        "content": "a\0b",
    }
    read = msgspec.json.encode(decode(msgspec.json.encode(body), shape)).decode()
    assert "\ufffd" in read
    assert "\\u0000" not in read
