"""Tables, declared once: each has the fields of a noun as its columns; what is stored is changed here first."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from msgspec import Struct
from msgspec.structs import fields

from understudy.coordinator.nouns import (
    Attempt,
    Boot,
    Daemon,
    Deployment,
    Directive,
    Evidence,
    Hearing,
    Incident,
    Key,
    Link,
    Memory,
    Notice,
    Period,
    Progress,
    Result,
    Session,
    Task,
    TaskBody,
    Usage,
)
from understudy.coordinator.samples import Sample
from understudy.coordinator.takeover_nouns import Budget, Reservation, TakeoverState, TaskTakeover

SCHEMA_VERSION = 17  # the number of the last migration


class StoreCopy(Struct, frozen=True):
    """One row while a copy into this store is not finished (store/copying.py): no hub starts on it meanwhile."""

    id: int = 1
    source: str = ""  # the store that is copied, as it is shown to people
    state: str = ""  # the state of that store: a later run goes on only while it is the same
    noun: str = ""  # the table that is being copied; all before it are done
    place: str = ""  # the last key of it that is here, as JSON; "": none
    rows: int = 0  # copied so far
    began_at: int = 0  # wall


class Table:
    """One noun's table: its columns are the noun's encoded field names, in their order; the first ones are its key.

    `fixed` columns never change once a row is there, so saving it again leaves them (and their indexes) alone. To what
    is in `added` columns it adds, so that several hubs can count into one row; `greatest` ones keep the greater value.
    """

    def __init__(
        self,
        name: str,
        noun: type[Struct],
        keys: int = 1,
        fixed: tuple[str, ...] = (),
        *,
        added: tuple[str, ...] = (),
        greatest: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.noun = noun
        self.columns = tuple(f.encode_name for f in fields(noun))
        self.keys = self.columns[:keys]
        self.fixed = frozenset(fixed)
        self.changing = tuple(c for c in self.columns if c not in self.keys and c not in fixed)
        self.added = added
        self.greatest = greatest
        self.key_of: Callable[[Struct], Any] = attrgetter(*self.keys)  # a value, or a tuple where several make the key


TASK_FIXED = (
    "needs",
    "order_key",
    "priority",
    "source",
    "submitter",
    "dedup_key",
    "body_hash",
    "queued_at",
    "reply_to",
    "memory_of",
    "size_bytes",
)
NOTICE_FIXED = ("target", "kind", "incident_id", "task_id", "daemon_id", "chat", "thread", "created_at")
SAMPLE_GREATEST = ("waiting", "leased", "oldest_ms", "commit_max_ms")
TABLES: dict[type[Struct], Table] = {
    table.noun: table
    for table in (
        Table("hearing", Hearing),
        Table("task", Task, fixed=TASK_FIXED),
        Table("usage", Usage),
        Table("task_body", TaskBody),
        Table("attempt", Attempt, keys=2),
        Table("result", Result),
        Table("progress", Progress),
        Table("evidence", Evidence, fixed=("task_id", "token", "worker_id", "at", "reason", "body")),  # the first stays
        Table("daemon", Daemon),
        Table("boot", Boot, keys=2),
        Table("incident", Incident),
        Table("period", Period, keys=2),
        Table("api_key", Key),
        Table("memory", Memory),
        Table("deployment", Deployment),
        Table("directive", Directive, fixed=("daemon_id", "kind", "arguments", "asked_by", "asked_at")),
        Table("notice", Notice, fixed=NOTICE_FIXED),
        Table("link", Link),
        Table("sample", Sample, added=("beats", "requests", "commits", "commit_ms"), greatest=SAMPLE_GREATEST),
        Table("session", Session, fixed=("hash", "key_id", "key_mark", "owner", "scopes", "browser", "created_at")),
        Table("takeover_state", TakeoverState),
        Table("task_takeover", TaskTakeover),
        Table("budget", Budget),
        Table("reservation", Reservation, fixed=("task_id", "token", "worker_id", "model", "reserved_micro_usd", "at")),
        Table("store_copy", StoreCopy),
    )
}
KEY_OF = {noun: table.key_of for noun, table in TABLES.items()}
# Who may save what in a batch that runs beside those of other hubs (docs/adr/0015-beside-or-alone.md).
LOCKED: tuple[type[Struct], ...] = (Daemon, Task)  # locked when they are loaded, in this order
OWNERS: dict[
    type[Struct], dict[str, type[Struct]]
] = {  # saved by a batch that has locked one of those that these columns name
    **{noun: {"task_id": Task} for noun in (TaskBody, Attempt, Result, Progress, TaskTakeover, Evidence)},
    **{noun: {"daemon_id": Daemon} for noun in (Boot, Period, Incident, Directive)},
    Notice: {"task_id": Task, "daemon_id": Daemon},
}
