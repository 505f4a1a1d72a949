"""docs/events.md names every event of the source, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOUNS = "alarm|budget|daemon|directive|heartbeat|hub|incident|key|lease|notice|result|session|takeover|task"
NAME = re.compile(rf'"((?:{NOUNS})\.[a-z_]+)"')
DOCUMENTED = re.compile(rf"`((?:{NOUNS})\.[a-z_]+)`")


def test_the_list_of_events_is_complete() -> None:
    folders = (ROOT / "src/understudy/coordinator", ROOT / "src/understudy/hub")
    source = "".join(path.read_text("utf-8") for folder in folders for path in folder.glob("*.py"))
    table = (ROOT / "docs/events.md").read_text("utf-8")
    assert set(DOCUMENTED.findall(table)) == set(NAME.findall(source))
