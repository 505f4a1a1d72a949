"""Names of conversations: no shared one, and none of another key, has that of a key's own conversation."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from understudy.coordinator.nouns import Task
from understudy.hub.conversations import conversation_fields
from understudy.hub.enqueue import conversation_of as stored_as
from understudy.wire.tasks import EnqueueBody
from understudy.worker.executors import TaskToRun
from understudy.worker.executors.prompt import conversation_of

OWNERS = ("key-01AB", "key-01AC", "key-9", "key-01ABC")
PARTS = st.sampled_from(
    (*OWNERS, "key-", "key", "/", ":", "%", "%2f", "%25", "2f", "slack", "alice", "K", "01AB", "\u4e16", " ", "'")
)
TEXTS = st.lists(PARTS, max_size=6).map("".join)
TRIPLES = st.tuples(st.sampled_from(("", *OWNERS)), TEXTS, TEXTS.filter(bool))
Triple = tuple[str, str, str]


def body_of(triple: Triple) -> EnqueueBody:
    _, channel, user = triple
    return EnqueueBody("q", conversation={"channel": channel, "user_id": user}, metadata={"user_id": user})


def claimed(triple: Triple, body: EnqueueBody, *, is_legacy: bool = False) -> TaskToRun:
    """The task as a worker gets it."""
    spec = msgspec.json.decode(msgspec.json.encode(body))
    channel, user = stored_as(body)
    task = Task("t", memory_of=triple[0], channel=channel, user_id=user)
    more = conversation_fields(task, msgspec.json.encode(spec).decode(), is_legacy=is_legacy)
    kept = {name: value for name, value in (spec | more).items() if name in ("content", "conversation", "metadata")}
    return msgspec.convert({"id": "t", **kept}, TaskToRun, strict=False)


def session(triple: Triple) -> str:
    return conversation_of(claimed(triple, body_of(triple)))


def old_user(triple: Triple) -> Any:
    """The user for whom an old daemon keeps memory itself."""
    return claimed(triple, body_of(triple), is_legacy=True).metadata["user_id"]


@given(TRIPLES, TRIPLES)
@example(("key-01AB", "slack", "alice"), ("", "slack", "key-01AB/alice"))
@example(("key-9", "slack", "x:key-01AB/y"), ("key-01AB", "slack:key-9/x", "y"))
@example(("key-01AB", "slack", "x:y"), ("", "slack:key-01AB/x", "y"))
def test_conversations_of_different_owners_have_different_names(one: Triple, other: Triple) -> None:
    if one[0] != other[0]:
        assert session(one) != session(other)
        assert old_user(one) != old_user(other)


@given(TRIPLES, TRIPLES)
@example(("", "slack", "key-01AB/alice"), ("", "slack", "key-01AB%2falice"))
def test_names_that_differ_are_spelled_differently(one: Triple, other: Triple) -> None:
    channels = [channel.lower() for _, channel, _ in (one, other)]
    if one[0] == other[0] and f"{channels[0]}:{one[2]}" != f"{channels[1]}:{other[2]}":
        assert session(one) != session(other)
    if one[0] == other[0] and one[2] != other[2]:
        assert old_user(one) != old_user(other)


@pytest.mark.parametrize(
    "name",
    [("slack", "U1"), ("slack:C1", "U1"), ("mail", "team/bob"), ("a/b", "c/d"), ("x", "100%"), ("Slack", "key-board")],
)
def test_an_ordinary_shared_name_stays_as_it_is(name: tuple[str, str]) -> None:
    assert session(("", *name)) == f"{name[0].lower()}:{name[1]}"
    assert old_user(("", *name)) == name[1]


@pytest.mark.parametrize("name", [("slack", "U1"), ("slack:C1", "U1"), ("a/b", "c/d%")])
def test_an_ordinary_name_of_a_key_has_its_id_before_the_user(name: tuple[str, str]) -> None:
    assert session(("key-01AB", *name)) == f"{name[0].lower()}:key-01AB/{name[1]}"


@given(TEXTS, st.sampled_from(OWNERS))
def test_a_text_that_names_channel_and_user_is_no_way_around(text: str, owner: str) -> None:
    body = EnqueueBody("q", conversation=text)
    if stored_as(body)[1]:
        name = conversation_of(claimed(("", "", ""), body))
        channel, user = stored_as(body)
        assert name != session((owner, channel, user))
        assert f":{owner}/" not in name
