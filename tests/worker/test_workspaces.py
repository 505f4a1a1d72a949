"""Where a run works, whose turn it is, and under which name its conversation is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.hub.enqueue import conversation_of as hub_conversation_of
from understudy.wire.tasks import EnqueueBody
from understudy.worker.executors import TaskToRun
from understudy.worker.executors.prompt import conversation_of
from understudy.worker.workspaces import Workspaces

AT_HOME = Workspaces(assistants="/data/workspace")


def task(**fields) -> TaskToRun:
    return TaskToRun(id="t1", content="x", **fields)


@pytest.mark.parametrize("name", ["..", ".", ".hidden", "a/b", "/etc", "../x", "a\0b", "x" * 65, "a\nb", "-x y"])
def test_a_path_is_no_name_of_a_workspace(tmp_path: Path, name: str):
    with pytest.raises(ValueError, match="cannot be the name of a workspace"):
        Workspaces(root=str(tmp_path)).directory(task(workspace=name), "claude_code")


def test_a_workspace_must_be_there(tmp_path: Path):
    (tmp_path / "site").mkdir()
    spaces = Workspaces(root=str(tmp_path))
    assert spaces.directory(task(workspace="site"), "command") == str(tmp_path / "site")
    with pytest.raises(ValueError, match="create the directory"):
        spaces.directory(task(workspace="other"), "command")
    with pytest.raises(ValueError, match="UNDERSTUDY_WORKSPACES"):
        AT_HOME.directory(task(workspace="site"), "command")


def test_without_a_name_an_assistant_has_its_own_place_and_a_command_the_daemons():
    assert AT_HOME.directory(task(), "claude_code") == "/data/workspace"
    assert AT_HOME.directory(task(), "command") is None


def test_what_runs_must_share_is_given_to_one_at_a_time():
    talk = {"channel": "Slack", "user_id": "U1"}
    alone = AT_HOME.turns(task(conversation=talk), "codex")
    assert alone == {"workspace ", "conversation slack:U1"}
    assert AT_HOME.turns(task(conversation=talk, workspace="a"), "command") == {"workspace a"}
    assert AT_HOME.turns(task(conversation=talk), "command") == frozenset()


@pytest.mark.parametrize(
    "fields",
    [
        {"conversation": {"channel": "Slack", "user_id": "U1"}},
        {"conversation": {"channel": "Slack", "userId": {"id": "U1"}}},
        {"conversation": "slack:U1"},
        {"metadata": {"channel": "SLACK", "user_id": "U1"}},
        {"metadata": {"userId": "U1"}, "source": "slack"},
        {"conversation": {"user_id": 7}, "source": "tg"},
        {},
        {"conversation": {"channel": "x"}},
    ],
)
def test_a_conversation_has_the_hubs_name(fields):
    channel, user = hub_conversation_of(EnqueueBody(content="x", **fields))
    assert conversation_of(task(**fields)) == (f"{channel}:{user}" if user else "")


def test_a_long_name_of_a_conversation_is_cut_like_the_hubs_and_is_still_one_keys():
    """Sessions are kept by these names, a thousand of them: with a memory key's megabyte each the disk was full."""
    long = {"channel": "C" * 1_000_000, "user_id": "u" * 1_000_000}
    assert len(conversation_of(task(conversation=long))) < 700
    assert len(conversation_of(task(metadata=long))) < 700
    named_by_the_hub = {"channel": "slack", "user_id": "key-" + "k" * 26 + "/" + "u" * 255}
    others = [
        conversation_of(task(conversation=named_by_the_hub | {"user_id": named_by_the_hub["user_id"] + x}))
        for x in "ab"
    ]
    assert len({*others}) == 2
