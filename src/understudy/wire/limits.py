"""Limits on what comes from outside (docs/contract.md, section 1); a limit of one field alone stands at that field."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

BODY_BYTES_MAX = 1 << 20
RESULT_BYTES_MAX = 8 << 20
MEMORY_CONTENT_BYTES_MAX = 64 << 10
CHECKPOINT_BYTES_MAX = 64 << 10
BATCH_TASKS_MAX = 1000
BATCH_RESULTS_MAX = 100
CLAIM_TASKS_MAX = 100
RUNNING_MAX = 256
PARTS_MAX = 32  # loops, or logins, that a daemon tells of; more are cut, not refused
PART_BYTES_MAX = 1 << 10  # of what it says of one
PARTS_BYTES_MAX = 4 << 10  # of all its loops, or of all its logins
DIRECTIVES_MAX = 16  # reports in one beat
CAPABILITIES_MAX = 64  # longer lists are cut, not refused
TAGS_MAX = 8
TAG_CHARS_MAX = 64
WAITING_POLLS_MAX = 4000
WAIT_S_MAX = 60  # of one long poll; `poll_wait` in config/table.py has the same bound
NESTING_MAX = 100  # answers wrap what was sent a few levels deeper; interpreters and parsers give up at about 1,000
VALUES_MAX = 200_000  # in one body, besides its texts: a parser takes some 20 ms for so many
INT_MAX = (1 << 53) - 1  # what a JavaScript number holds exactly

ID_PATTERN = r"^[A-Za-z0-9._:-]{1,128}$"
TIME_OF_DAY_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
VERSION_PATTERN = r"^[0-9A-Za-z][0-9A-Za-z.!+_-]{0,63}$"
SHA256_PATTERN = r"^[0-9a-fA-F]{64}$"
EXECUTOR_PATTERN = r"^[A-Za-z0-9._-]{1,55}$"
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def is_id(text: str) -> bool:
    """True if `text` is an id (docs/contract.md, section 1)."""
    return _ID.fullmatch(text) is not None


NO_LAST_NEWLINE = r"(?!\n)"  # in Python `$` alone lets one through; other readers of the schema do not need it


def whole(pattern: str) -> Meta:
    """A text that is all of a pattern `^…$`."""
    return Meta(pattern=pattern + NO_LAST_NEWLINE, extra_json_schema={"pattern": pattern})


Id = Annotated[str, whole(ID_PATTERN)]
WorkerName = Annotated[str, Meta(max_length=256)]
DaemonName = Annotated[str, Meta(min_length=1, max_length=256)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
ShortText = Annotated[str, Meta(max_length=256)]
Text = Annotated[str, Meta(max_length=4096)]
LongText = Annotated[str, Meta(max_length=BODY_BYTES_MAX)]
Tag = Annotated[str, Meta(min_length=1, max_length=TAG_CHARS_MAX)]
Tags = Annotated[list[Tag], Meta(max_length=TAGS_MAX)]
Count = Annotated[int, Meta(ge=0, le=INT_MAX)]
Token = Annotated[int, Meta(ge=0, le=INT_MAX)]
LeaseSec = Annotated[int, Meta(ge=1, le=600)]
