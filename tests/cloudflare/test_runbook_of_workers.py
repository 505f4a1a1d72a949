"""The runbook of docs/cloudflare.md: the words that it looks for are in the log of a hub in an object."""

from __future__ import annotations

import asyncio
import re
from unittest.mock import patch

import pytest

from tests.cloudflare import evicted
from tests.cloudflare.evicted import Place
from tests.project.tree import ROOT

DOCUMENTS = ("docs/cloudflare.md", "docs/ja/cloudflare.md")


def words_of(name: str) -> list[str]:
    (found,) = re.findall(r"```text log\n(.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL)
    return str(found).splitlines()


async def _log() -> str:
    """The lines of a hub whose daemon beat, fell silent until it was down, and came back."""
    with patch.dict(evicted.ENVIRONMENT, UNDERSTUDY_LOG_LEVEL="debug"):
        place = Place()
        await place.beat(1)
        await place.sleep_through(20_000)
        await place.sleep_through(20_000)
        await place.beat(2)
    return place.lines.getvalue()


def test_each_line_of_the_runbook_is_in_the_log() -> None:
    log = asyncio.run(_log()).splitlines()
    for name in DOCUMENTS:
        for line in words_of(name):
            assert any(line in said for said in log), (name, line)


@pytest.mark.parametrize("word", ["heartbeat", "alarm", "CRITICAL"])
def test_the_commands_of_the_old_runbook_are_in_both_documents(word: str) -> None:
    for name in DOCUMENTS:
        assert f"wrangler@4 tail understudy --search {word}" in (ROOT / name).read_text("utf-8")
    assert len(words_of(DOCUMENTS[0])) == len(words_of(DOCUMENTS[1])) > 3
